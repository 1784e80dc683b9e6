"""What a held statement would touch: the questions to ask PostgreSQL, and how to read its answers.

A judged `Statement` enters; the EXPLAIN and the count that may be asked about it leave, or the reason why they may
not. Planning runs functions, so nothing is asked about a statement that calls one which is not known to be harmless;
the count is built in PostgreSQL's own grammar from the statement's tree, and must itself be judged a plain read.

The count of an UPDATE or DELETE with further relations counts target rows once, as PostgreSQL changes them once,
however often the join meets them. The library that writes the count out loses brackets now and then, so what it wrote
is read again and must be the tree that was meant.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import postgast
from postgast import pg_query_pb2

from pgnotary.judge import grammar
from pgnotary.judge.catalog import BUILT_IN, Catalog
from pgnotary.judge.harmless_functions import HARMLESS_THOUGH_VOLATILE
from pgnotary.judge.meaning import weigh
from pgnotary.judge.reading import read
from pgnotary.judge.scope import UNSCOPED, Scope
from pgnotary.judge.secrets import discreet
from pgnotary.judge.statement import Part, Qualifier, Statement, StatementClass

__all__ = ["NO_QUESTIONS", "Questions", "questions", "read_estimate"]

_EXPLAINED = frozenset({StatementClass.INSERT, StatementClass.UPDATE, StatementClass.DELETE, StatementClass.MERGE})
_ROOTS = {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}
_CLAUSES = frozenset({"fromClause", "whereClause", "withClause"})
_PLACES = ("location", "list_start", "list_end")


@dataclass(frozen=True, slots=True)
class Questions:
    """What may be asked about a statement before it runs."""

    explain: bytes = b""
    count: bytes = b""
    unavailable: str = ""
    """Why nothing, or nothing exact, can be said."""


NO_QUESTIONS = Questions(unavailable="policy asks for no preview")


def questions(statement: Statement, catalog: Catalog = BUILT_IN, scope: Scope = UNSCOPED) -> Questions:
    """Return what may be asked about a held statement in that database and session."""
    doubtful = [part for part in statement.parts if part.doubt]
    if len(doubtful) != 1:
        return Questions(unavailable=f"{len(doubtful)} of its statements change something: a count needs exactly one")
    part = doubtful[0]
    if part.node not in _ROOTS or not part.tree or part.kind not in _EXPLAINED:
        return Questions(unavailable=_not_previewed(part))
    if part.planning:
        return Questions(unavailable=f"planning it could have effects: it {part.planning[0].reason}")
    text = statement.slice(part)
    explain = b"EXPLAIN (FORMAT JSON) " + text
    count, why = _count(text, part, catalog, scope)
    return Questions(explain, count, why)


def _not_previewed(part: Part) -> str:
    if part.wants_copy_data:
        return "its rows come from the client once it is approved: not countable before it runs"
    if part.node in ("SelectStmt", "ExplainStmt") and part.kind in _EXPLAINED:
        outer = "a query" if part.node == "SelectStmt" else "EXPLAIN ANALYZE"
        return f"a change inside {outer} is not previewed yet"
    return f"{part.kind.value.upper()} is not previewed yet"


def read_estimate(answer: str) -> int | None:
    """Return the planner's row estimate from EXPLAIN (FORMAT JSON), or None if its shape is unknown.

    The ModifyTable node itself says 0 without RETURNING; its child says how many rows it will be given. A rule that
    adds statements or takes the statement's place gives several plans, or none.
    """
    try:
        (explained,) = json.loads(answer)
        plan = explained["Plan"]
        if plan["Node Type"] != "ModifyTable":
            return None
        return int(
            sum(child["Plan Rows"] for child in plan["Plans"] if child["Parent Relationship"] in ("Outer", "Member"))
        )
    except (ValueError, LookupError, TypeError):
        return None


def _count(text: bytes, part: Part, catalog: Catalog, scope: Scope) -> tuple[bytes, str]:
    if part.node not in ("UpdateStmt", "DeleteStmt"):
        return b"", f"the rows of {part.kind.value.upper()} are estimated only"
    try:
        tree = grammar.unpacked(part.tree)
    except grammar.Unreadable as doubt:
        return b"", f"no count could be built: the text {doubt}"
    if sum(message.type in _ROOTS for message in grammar.messages(part.node, tree)) > 1:
        return b"", "a WITH clause changes data too: rows are estimated only"
    if "CurrentOfExpr" in tree.get("whereClause", {}):
        return b"", "WHERE CURRENT OF names the row where a cursor stands"
    if tree["relation"]["relname"] in _queries(tree) and "schemaname" not in tree["relation"]:
        return b"", f"the WITH query {tree['relation']['relname']} has the name of its target, which a count would read"
    try:
        count = _deparse(text, part.node)
        faithful = _is_about(count, tree)
    # A foreign library over a tree of any depth: whatever it stumbles over, there is no count.
    except Exception as error:
        return b"", f"no count could be built: {discreet(str(error), text)}"
    if not faithful:
        return b"", "no count could be built: its WHERE cannot be written out again as it is"
    if not all(part.qualifiers <= {Qualifier.SINGLE_READER} for part in weigh(read(count), catalog, scope).parts):
        return b"", "the count built from it is not a plain read"
    if volatile := [name for name in part.functions if name.rsplit(".", 1)[-1] in HARMLESS_THOUGH_VOLATILE]:
        return count, f"{', '.join(volatile)} may answer differently when it runs"
    return count, ""


def _queries(tree: Mapping[str, Any]) -> set[str]:
    """Return the names of the WITH queries; a SELECT would find them where UPDATE and DELETE find a table."""
    return {str(item["CommonTableExpr"]["ctename"]) for item in tree.get("withClause", {}).get("ctes", ())}


def _is_about(count: bytes, tree: Mapping[str, Any]) -> bool:
    """Say whether a count reads the relations of an UPDATE or DELETE, under its WHERE and its WITH."""
    (statement,) = grammar.parse(count)
    rows = statement.fields
    further = tree.get("fromClause", tree.get("usingClause", []))
    if further:
        rows = rows["fromClause"][0]["RangeSubselect"]["subquery"]["SelectStmt"]
    meant = {"fromClause": [{"RangeVar": tree["relation"]}, *further]}
    meant |= {name: tree[name] for name in ("whereClause", "withClause") if name in tree}
    return bool(_bare({name: rows[name] for name in rows if name in _CLAUSES}) == _bare(meant))


def _bare(tree: Any) -> Any:
    """Return a tree without its places in the text."""
    if isinstance(tree, list):
        return [_bare(item) for item in tree]
    if isinstance(tree, Mapping):
        return {name: _bare(item) for name, item in tree.items() if not name.endswith(_PLACES)}
    return tree


def _deparse(text: bytes, node: str) -> bytes:
    """Return `SELECT count(*)` over the rows that an UPDATE or DELETE names."""
    statement = postgast.parse(text.decode()).stmts[0].stmt
    source = statement.update_stmt if node == "UpdateStmt" else statement.delete_stmt
    further = source.from_clause if node == "UpdateStmt" else source.using_clause
    rows = pg_query_pb2.SelectStmt(limit_option=pg_query_pb2.LIMIT_OPTION_DEFAULT, op=pg_query_pb2.SETOP_NONE)
    rows.from_clause.add().range_var.CopyFrom(source.relation)
    rows.from_clause.extend(further)
    if source.HasField("where_clause"):
        rows.where_clause.CopyFrom(source.where_clause)
    if source.HasField("with_clause"):
        rows.with_clause.CopyFrom(source.with_clause)
    if further:
        target = source.relation
        rows = _distinct(rows, [target.alias.aliasname] if target.HasField("alias") else _names(target))
    counted = rows.target_list.add().res_target.val.func_call
    for word in ("pg_catalog", "count"):
        counted.funcname.add().string.sval = word
    counted.agg_star = True
    tree = pg_query_pb2.ParseResult(version=180004)
    tree.stmts.add().stmt.select_stmt.CopyFrom(rows)
    return postgast.deparse(tree).encode()


def _names(relation: pg_query_pb2.RangeVar) -> list[str]:
    return [name for name in (relation.catalogname, relation.schemaname, relation.relname) if name]


def _distinct(rows: pg_query_pb2.SelectStmt, names: list[str]) -> pg_query_pb2.SelectStmt:
    """Return a SELECT over the distinct rows of the target, of that name, among `rows`."""
    for column in ("tableoid", "ctid"):
        reference = rows.target_list.add().res_target.val.column_ref
        for name in (*names, column):
            reference.fields.add().string.sval = name
    rows.distinct_clause.add()
    outer = pg_query_pb2.SelectStmt(limit_option=pg_query_pb2.LIMIT_OPTION_DEFAULT, op=pg_query_pb2.SETOP_NONE)
    subselect = outer.from_clause.add().range_subselect
    subselect.subquery.select_stmt.CopyFrom(rows)
    subselect.alias.aliasname = "pgnotary_rows"
    return outer

"""What a held statement would touch: the questions to ask PostgreSQL, and how to read its answers.

A judged `Statement` enters; the EXPLAIN and the count that may be asked about it leave, or the reason why they may
not. Planning runs functions, so nothing is asked about a statement that calls one which is not known to be harmless;
the count is built in PostgreSQL's own grammar from the statement's tree, and must itself be judged a plain read.

The count of an UPDATE or DELETE with further relations counts target rows once, as PostgreSQL changes them once,
however often the join meets them.
"""

import json
from dataclasses import dataclass

import postgast
from postgast import pg_query_pb2

from pgnotary.judge import grammar
from pgnotary.judge.harmless import DML_MESSAGES, doubt_of
from pgnotary.judge.harmless_functions import HARMLESS_THOUGH_VOLATILE
from pgnotary.judge.policy import PROFILES, Action, verdict
from pgnotary.judge.reading import read
from pgnotary.judge.statement import Part, Statement, StatementClass

__all__ = ["Questions", "questions", "read_estimate"]

_EXPLAINED = frozenset({StatementClass.INSERT, StatementClass.UPDATE, StatementClass.DELETE, StatementClass.MERGE})
_ROOTS = {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}


@dataclass(frozen=True, slots=True)
class Questions:
    """What may be asked about a statement before it runs."""

    explain: bytes = b""
    count: bytes = b""
    unavailable: str = ""
    """Why nothing, or nothing exact, can be said."""


def questions(statement: Statement) -> Questions:
    """Return what may be asked about a held statement."""
    doubtful = [part for part in statement.parts if part.doubt]
    if len(doubtful) != 1:
        return Questions(unavailable=f"{len(doubtful)} of its statements change something: a count needs exactly one")
    part = doubtful[0]
    if part.node not in _ROOTS or part.tree is None or part.kind not in _EXPLAINED:
        return Questions(unavailable=f"{part.kind.value.upper()} is not previewed yet")
    if doubt := doubt_of(grammar.messages(part.node, part.tree), DML_MESSAGES):
        return Questions(unavailable=f"planning it could have effects: it {doubt}")
    text = statement.slice(part)
    explain = b"EXPLAIN (FORMAT JSON) " + text
    count, why = _count(text, part)
    return Questions(explain, count, why)


def read_estimate(answer: str) -> int | None:
    """Return the planner's row estimate from EXPLAIN (FORMAT JSON), or None if its shape is unknown.

    The ModifyTable node itself says 0 without RETURNING; its child says how many rows it will be given.
    """
    try:
        plan = json.loads(answer)[0]["Plan"]
        if plan["Node Type"] != "ModifyTable":
            return None
        return int(
            sum(child["Plan Rows"] for child in plan["Plans"] if child["Parent Relationship"] in ("Outer", "Member"))
        )
    except (ValueError, LookupError, TypeError):
        return None


def _count(text: bytes, part: Part) -> tuple[bytes, str]:
    if part.node not in ("UpdateStmt", "DeleteStmt"):
        return b"", f"the rows of {part.kind.value.upper()} are estimated only"
    if sum(message.type in _ROOTS for message in grammar.messages(part.node, part.tree or {})) > 1:
        return b"", "a WITH clause changes data too: rows are estimated only"
    try:
        count = _deparse(text, part.node)
    except (postgast.PgQueryError, ValueError, RecursionError) as error:
        return b"", f"no count could be built: {error}"
    if verdict(read(count), PROFILES["default"]).action is not Action.FORWARD:
        return b"", "the count built from it is not a plain read"
    if volatile := [name for name in part.functions if name.rsplit(".", 1)[-1] in HARMLESS_THOUGH_VOLATILE]:
        return count, f"{', '.join(volatile)} may answer differently when it runs"
    return count, ""


def _deparse(text: bytes, node: str) -> bytes:
    """Return `SELECT count(*)` over the rows that an UPDATE or DELETE names."""
    statement = postgast.parse(text.decode()).stmts[0].stmt
    source = statement.update_stmt if node == "UpdateStmt" else statement.delete_stmt
    further = source.from_clause if node == "UpdateStmt" else source.using_clause
    if source.where_clause.HasField("current_of_expr"):
        raise ValueError("WHERE CURRENT OF depends on a cursor")
    rows = pg_query_pb2.SelectStmt(limit_option=pg_query_pb2.LIMIT_OPTION_DEFAULT, op=pg_query_pb2.SETOP_NONE)
    rows.from_clause.add().range_var.CopyFrom(source.relation)
    rows.from_clause.extend(further)
    if source.HasField("where_clause"):
        rows.where_clause.CopyFrom(source.where_clause)
    if source.HasField("with_clause"):
        rows.with_clause.CopyFrom(source.with_clause)
    if further:
        name = source.relation.alias.aliasname or source.relation.relname
        rows = _distinct(rows, name)
    counted = rows.target_list.add().res_target.val.func_call
    for word in ("pg_catalog", "count"):
        counted.funcname.add().string.sval = word
    counted.agg_star = True
    tree = pg_query_pb2.ParseResult(version=180004)
    tree.stmts.add().stmt.select_stmt.CopyFrom(rows)
    return postgast.deparse(tree).encode()


def _distinct(rows: pg_query_pb2.SelectStmt, name: str) -> pg_query_pb2.SelectStmt:
    """Return a SELECT over the distinct target rows of `rows`."""
    for column in ("tableoid", "ctid"):
        reference = rows.target_list.add().res_target.val.column_ref
        reference.fields.add().string.sval = name
        reference.fields.add().string.sval = column
    rows.distinct_clause.add()
    outer = pg_query_pb2.SelectStmt(limit_option=pg_query_pb2.LIMIT_OPTION_DEFAULT, op=pg_query_pb2.SETOP_NONE)
    subselect = outer.from_clause.add().range_subselect
    subselect.subquery.select_stmt.CopyFrom(rows)
    subselect.alias.aliasname = "pgnotary_rows"
    return outer

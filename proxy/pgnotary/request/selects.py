"""SELECTs of ours that are made of a client's statement: a tree enters, a text leaves that is read again.

The library that writes trees out loses brackets now and then. Who makes a SELECT here compares what it says when it is
read again with what was meant: `bare` takes away what may differ.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import postgast
from postgast import pg_query_pb2

from pgnotary.judge import grammar
from pgnotary.judge.secrets import discreet

__all__ = [
    "Uncounted",
    "add_count",
    "around",
    "bare",
    "explained_in",
    "limit",
    "names_of",
    "queries_in",
    "root_of",
    "select",
    "written",
    "written_as",
]

_PLACES = ("location", "list_start", "list_end")


class Uncounted(Exception):
    """No count can be built; the message says why."""


def root_of(text: bytes, node: str) -> Any:
    """Return the root of a text of one statement, as the library has it; raises Uncounted."""
    try:
        statement = postgast.parse(text.decode()).stmts[0].stmt
    # A foreign library over a tree of any depth: whatever it stumbles over, there is no count.
    except Exception as error:
        raise Uncounted(f"no count could be built: {discreet(str(error), text)}") from error
    return {
        "UpdateStmt": statement.update_stmt,
        "DeleteStmt": statement.delete_stmt,
        "InsertStmt": statement.insert_stmt,
        "MergeStmt": statement.merge_stmt,
        "SelectStmt": statement.select_stmt,
        "ExplainStmt": statement.explain_stmt,
    }[node]


def explained_in(text: bytes) -> tuple[bytes, str, Mapping[str, Any]]:
    """Return the statement in an EXPLAIN: its text, its root in the grammar, its tree; raises Uncounted."""
    found = written_as(root_of(text, "ExplainStmt").query, text)
    (outer,), (inner,) = grammar.parse(text), grammar.parse(found)
    if bare(outer.fields["query"]) != bare({inner.node: inner.fields}):
        raise Uncounted("no count could be built: what it explains cannot be written out again as it is")
    return found, inner.node, inner.fields


def written(rows: pg_query_pb2.SelectStmt, text: bytes) -> bytes:
    """Return a SELECT of ours as text; `text` is what it was made of. Raises Uncounted."""
    node = pg_query_pb2.Node()
    node.select_stmt.CopyFrom(rows)
    return written_as(node, text)


def written_as(statement: pg_query_pb2.Node, text: bytes) -> bytes:
    """Return a statement of any kind as text; `text` is what it was made of. Raises Uncounted."""
    tree = pg_query_pb2.ParseResult(version=180004)
    tree.stmts.add().stmt.CopyFrom(statement)
    try:
        found = postgast.deparse(tree).encode()
        grammar.parse(found)
    except Exception as error:
        raise Uncounted(f"no count could be built: {discreet(str(error), text)}") from error
    return found


def bare(tree: Any) -> Any:
    """Return a tree without its places in the text."""
    if isinstance(tree, list):
        return [bare(item) for item in tree]
    if isinstance(tree, Mapping):
        return {name: bare(item) for name, item in tree.items() if not name.endswith(_PLACES)}
    return tree


def queries_in(tree: Mapping[str, Any]) -> set[str]:
    """Return the names of the WITH queries; a SELECT would find them where UPDATE and DELETE find a table."""
    return {str(item["CommonTableExpr"]["ctename"]) for item in tree.get("withClause", {}).get("ctes", ())}


def names_of(relation: pg_query_pb2.RangeVar) -> list[str]:
    """Return the parts of a relation's name, as it is spelled."""
    return [name for name in (relation.catalogname, relation.schemaname, relation.relname) if name]


def around(rows: pg_query_pb2.SelectStmt) -> pg_query_pb2.SelectStmt:
    """Return a SELECT without a list from the rows of another."""
    outer = pg_query_pb2.SelectStmt(limit_option=pg_query_pb2.LIMIT_OPTION_DEFAULT, op=pg_query_pb2.SETOP_NONE)
    subselect = outer.from_clause.add().range_subselect
    subselect.subquery.select_stmt.CopyFrom(rows)
    subselect.alias.aliasname = "pgnotary_rows"
    return outer


def add_count(rows: pg_query_pb2.SelectStmt) -> None:
    """Have a SELECT without a list give the number of its rows."""
    counted = rows.target_list.add().res_target.val.func_call
    for word in ("pg_catalog", "count"):
        counted.funcname.add().string.sval = word
    counted.agg_star = True


def select(rows: pg_query_pb2.SelectStmt, target: Any, columns: Iterable[str]) -> None:
    """Have a SELECT give these columns of its target."""
    names = [target.alias.aliasname] if target.HasField("alias") else names_of(target)
    for column in columns:
        reference = rows.target_list.add().res_target.val.column_ref
        for name in (*names, column):
            reference.fields.add().string.sval = name


def limit(rows: pg_query_pb2.SelectStmt, most: int) -> None:
    """Have a SELECT give so many rows at the most."""
    rows.limit_count.a_const.ival.ival = most
    rows.limit_option = pg_query_pb2.LIMIT_OPTION_COUNT

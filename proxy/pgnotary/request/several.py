"""The count of a statement that changes rows in its WITH, too: its tree enters, one SELECT that adds up all leaves.

All parts of such a statement see the rows as they stood before it, so each can be counted by itself. What a part reads
of another is known of a DELETE alone: its RETURNING gives rows as they stand, and a SELECT can stand in its place. A
part that reads what another inserts or sets is not counted, and so nothing is.

Source: PostgreSQL 18, "Data-Modifying Statements in WITH".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from postgast import pg_query_pb2

from pgnotary.judge import grammar
from pgnotary.request.counting import CHANGING, Source, source_in, values_of
from pgnotary.request.selects import Uncounted, bare, root_of, written_as

__all__ = ["Several", "is_several", "several_of"]

_ROOTS = {
    "InsertStmt": "insert_stmt",
    "UpdateStmt": "update_stmt",
    "DeleteStmt": "delete_stmt",
    "MergeStmt": "merge_stmt",
    "SelectStmt": "select_stmt",
}


@dataclass(frozen=True, slots=True)
class Several:
    """All changes of one statement."""

    count: bytes
    """The SELECT of the rows of all of them."""
    parts: int
    sources: tuple[Source, ...]
    """Of those whose rows are counted."""
    conflicts: bool
    """One of them has ON CONFLICT and may leave rows as they are."""
    listed: bool
    """One of them is an INSERT of a single list, in which a call may give any number of rows."""


@dataclass(frozen=True, slots=True)
class _Query:
    """One WITH query that a later part may read."""

    node: Any
    tree: Mapping[str, Any]


def is_several(node: str, tree: Mapping[str, Any]) -> bool:
    """Say whether a statement changes rows in its WITH; raises Unreadable for what the grammar does not know."""
    changes = sum(message.type in CHANGING for message in grammar.messages(node, tree))
    return changes > (node in CHANGING)


def several_of(text: bytes, node: str, tree: Mapping[str, Any]) -> Several:
    """Return what is counted of a statement that changes rows in its WITH; raises Uncounted or Unreadable."""
    statement = root_of(text, node)
    if "withClause" not in tree:
        raise Uncounted("a WITH inside its query changes data too")
    if tree["withClause"].get("recursive"):
        raise Uncounted("a WITH RECURSIVE that changes data is not taken apart")
    readable: list[_Query] = []
    hidden: set[str] = set()
    parts: list[tuple[str, Any, Mapping[str, Any]]] = []
    for item, each in zip(tree["withClause"]["ctes"], statement.with_clause.ctes, strict=True):
        fields = item["CommonTableExpr"]
        ((root, query),) = fields["ctequery"].items()
        message = getattr(each.common_table_expr.ctequery, _ROOTS[root])
        _require_readable(root, query, hidden)
        if root not in CHANGING:
            readable.append(_Query(each, item))
            continue
        parts.append((root, *_within(root, message, query, readable, text)))
        instead = _instead(each, item) if root == "DeleteStmt" else None
        if instead is None:
            hidden.add(str(fields["ctename"]))
        else:
            readable.append(instead)
    if node in CHANGING:
        own = {name: value for name, value in tree.items() if name != "withClause"}
        _require_readable(node, own, hidden)
        parts.append((node, *_within(node, statement, own, readable, text)))
    return _added_up(parts)


def _require_readable(root: str, query: Mapping[str, Any], hidden: set[str]) -> None:
    for message in grammar.messages(root, query):
        if message.type == "RangeVar" and message.fields.get("relname") in hidden:
            raise Uncounted(f"it reads what a part of its WITH returns: {message.fields['relname']}")


def _within(
    root: str, message: Any, query: Mapping[str, Any], readable: Sequence[_Query], text: bytes
) -> tuple[bytes, Mapping[str, Any]]:
    """Return a part by itself, under the WITH queries that it can read: its text and its tree."""
    if "withClause" in query:
        raise Uncounted("a part of its WITH has a WITH of its own")
    node = pg_query_pb2.Node()
    part = getattr(node, _ROOTS[root])
    part.CopyFrom(message)
    part.ClearField("with_clause")
    meant = dict(query)
    if readable:
        part.with_clause.ctes.extend(each.node for each in readable)
        meant["withClause"] = {"ctes": [each.tree for each in readable]}
    found = written_as(node, text)
    (again,) = grammar.parse(found)
    if again.node != root or bare(again.fields) != bare(meant):
        raise Uncounted("no count could be built: a part of it cannot be written out again as it is")
    return found, again.fields


def _instead(each: Any, item: Mapping[str, Any]) -> _Query | None:
    """Return the query of the rows that a DELETE returns; None if they cannot be told."""
    fields = item["CommonTableExpr"]
    delete = fields["ctequery"]["DeleteStmt"]
    returning = delete.get("returningClause", {})
    # A row that a join meets twice is returned once, and nobody knows as what.
    if "usingClause" in delete or "exprs" not in returning or returning.keys() - {"exprs"}:
        return None
    node = pg_query_pb2.Node()
    node.CopyFrom(each)
    message = each.common_table_expr.ctequery.delete_stmt
    select = pg_query_pb2.SelectStmt(limit_option=pg_query_pb2.LIMIT_OPTION_DEFAULT, op=pg_query_pb2.SETOP_NONE)
    select.target_list.extend(message.returning_clause.exprs)
    select.from_clause.add().range_var.CopyFrom(message.relation)
    meant: dict[str, Any] = {
        "targetList": returning["exprs"],
        "fromClause": [{"RangeVar": delete["relation"]}],
        "limitOption": "LIMIT_OPTION_DEFAULT",
        "op": "SETOP_NONE",
    }
    if "whereClause" in delete:
        select.where_clause.CopyFrom(message.where_clause)
        meant["whereClause"] = delete["whereClause"]
    node.common_table_expr.ctequery.Clear()
    node.common_table_expr.ctequery.select_stmt.CopyFrom(select)
    return _Query(node, {"CommonTableExpr": {**fields, "ctequery": {"SelectStmt": meant}}})


def _added_up(parts: Sequence[tuple[str, bytes, Mapping[str, Any]]]) -> Several:
    counts, sources, conflicts, listed = list[bytes](), list[Source](), False, False
    for root, text, tree in parts:
        conflict = tree.get("onConflictClause")
        conflicts |= conflict is not None and (conflict["action"] == "ONCONFLICT_NOTHING" or "whereClause" in conflict)
        spelled = values_of(tree) if root == "InsertStmt" else None
        if spelled is not None:
            listed |= spelled == 1
            counts.append(b"SELECT %d" % spelled)
        else:
            source = source_in(text, root, tree)
            sources.append(source)
            counts.append(source.count)
    added = b" UNION ALL ".join(b"(" + count + b")" for count in counts)
    count = b"SELECT pg_catalog.sum(pgnotary_parts.rows) FROM (" + added + b") AS pgnotary_parts (rows)"
    return Several(count, len(parts), tuple(sources), conflicts, listed)

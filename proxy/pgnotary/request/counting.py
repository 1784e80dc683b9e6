"""The count of a change, in PostgreSQL's own grammar: a statement's text enters, a SELECT over the same rows leaves.

What is counted is a plain read, or it is not counted. The count of an UPDATE or DELETE with further relations counts
target rows once, as PostgreSQL changes them once, however often the join meets them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from postgast import pg_query_pb2

from pgnotary.judge import grammar
from pgnotary.request.merging import count_of_merge
from pgnotary.request.selects import Uncounted, add_count, around, bare, queries_in, root_of, select, written

__all__ = [
    "CHANGING",
    "Source",
    "Uncounted",
    "is_about",
    "is_about_query",
    "is_steady_when_repeated",
    "met_by",
    "query_of",
    "rows_of",
    "source_in",
    "values_of",
]

CHANGING = frozenset({"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})
"""The roots in the grammar of what changes rows."""

_CLAUSES = frozenset({"fromClause", "whereClause", "withClause"})


@dataclass(frozen=True, slots=True)
class Source:
    """The rows that a change would meet."""

    count: bytes
    """The SELECT of their number."""
    text: bytes
    node: str
    tree: Mapping[str, Any]

    def keyed(self, columns: Sequence[str]) -> bytes:
        """Return a SELECT of these columns of the target's rows, however often each; raises Uncounted."""
        if self.node == "InsertStmt":
            raise Uncounted("the rows that an INSERT meets are not those that it gives")
        if self.node == "MergeStmt":
            raise Uncounted("which rows a MERGE does what to is not told")
        statement = root_of(self.text, self.node)
        rows = rows_of(statement, self.node)
        select(rows, statement.relation, columns)
        found = written(rows, self.text)
        if not is_about(grammar.parse(found)[0].fields, self.tree):
            raise Uncounted("its WHERE cannot be written out again as it is")
        return found


def source_in(text: bytes, node: str, tree: Mapping[str, Any]) -> Source:
    """Return the rows that an UPDATE, DELETE, MERGE or INSERT ... SELECT would meet, by its tree; raises Uncounted.

    Nothing in its WITH may change rows.
    """
    if node == "InsertStmt":
        return Source(_count_of_query(text, tree), text, node, tree)
    if "CurrentOfExpr" in tree.get("whereClause", {}):
        raise Uncounted("WHERE CURRENT OF names the row where a cursor stands")
    if tree["relation"]["relname"] in queries_in(tree) and "schemaname" not in tree["relation"]:
        name = tree["relation"]["relname"]
        raise Uncounted(f"the WITH query {name} has the name of its target, which a count would read")
    if node == "MergeStmt":
        return Source(count_of_merge(text, tree), text, node, tree)
    return Source(_count_of_rows(text, node, tree), text, node, tree)


def values_of(tree: Mapping[str, Any]) -> int | None:
    """Return how many rows an INSERT spells out, None if a query gives them."""
    query = tree.get("selectStmt", {}).get("SelectStmt")
    if query is None:
        return 1
    plain = query.keys() <= {"valuesLists", "limitOption", "op"} and "valuesLists" in query
    return len(query["valuesLists"]) if plain else None


def is_steady_when_repeated(node: str, tree: Mapping[str, Any], reads: Callable[[str], bool]) -> bool:
    """Say whether an UPDATE sets no column that its WHERE reads, and reads nothing else: then no run meets another.

    `reads` says whether a function of that name may read tables. Whether all that the WHERE seems to read are columns
    is for the catalog to say.
    """
    met = met_by(node, tree)
    if met is None or tree.keys() & {"fromClause", "withClause"}:
        return False
    own = {tree["relation"]["relname"], tree["relation"].get("alias", {}).get("aliasname", "")}
    changed = {target["ResTarget"]["name"] for target in tree.get("targetList", ())}
    for message in grammar.messages("Node", tree.get("whereClause", {})):
        if message.type in ("SubLink", "A_Indirection"):
            return False
        if message.type == "FuncCall" and reads(message.fields["funcname"][-1]["String"]["sval"]):
            return False
    return met.isdisjoint(changed) and met.isdisjoint(own)


def met_by(node: str, tree: Mapping[str, Any]) -> set[str] | None:
    """Return the names of the columns that the WHERE of an UPDATE seems to read; None if they cannot be told."""
    if node != "UpdateStmt":
        return None
    found = set[str]()
    for message in grammar.messages("Node", tree.get("whereClause", {})):
        if message.type == "ColumnRef":
            *_, last = message.fields["fields"]
            if "String" not in last:
                return None
            found.add(last["String"]["sval"])
    return found


def _count_of_rows(text: bytes, node: str, tree: Mapping[str, Any]) -> bytes:
    statement = root_of(text, node)
    rows = rows_of(statement, node)
    further = len(rows.from_clause) > 1
    if further:
        select(rows, statement.relation, ("tableoid", "ctid"))
        rows.distinct_clause.add()
        rows = around(rows)
    add_count(rows)
    count = written(rows, text)
    found = grammar.parse(count)[0].fields
    if further:
        found = found["fromClause"][0]["RangeSubselect"]["subquery"]["SelectStmt"]
    if not is_about(found, tree):
        raise Uncounted("no count could be built: its WHERE cannot be written out again as it is")
    return count


def _count_of_query(text: bytes, tree: Mapping[str, Any]) -> bytes:
    """Return the count of the rows that the query of an INSERT gives."""
    rows = query_of(text, tree)
    add_count(rows)
    count = written(rows, text)
    if not is_about_query(grammar.parse(count)[0].fields, tree):
        raise Uncounted("no count could be built: its query cannot be written out again as it is")
    return count


def query_of(text: bytes, tree: Mapping[str, Any]) -> pg_query_pb2.SelectStmt:
    """Return a SELECT without a list from the query of an INSERT; raises Uncounted."""
    statement = root_of(text, "InsertStmt")
    query = pg_query_pb2.SelectStmt()
    query.CopyFrom(statement.select_stmt.select_stmt)
    if "withClause" in tree:
        if query.HasField("with_clause"):
            raise Uncounted("no count could be built: it has two WITH clauses")
        query.with_clause.CopyFrom(statement.with_clause)
    return around(query)


def is_about_query(rows: Mapping[str, Any], tree: Mapping[str, Any]) -> bool:
    """Say whether a SELECT reads from the query of an INSERT, under its WITH."""
    found = rows["fromClause"][0]["RangeSubselect"]["subquery"]["SelectStmt"]
    meant = dict(tree["selectStmt"]["SelectStmt"])
    if "withClause" in tree:
        meant["withClause"] = tree["withClause"]
    return bool(bare(found) == bare(meant))


def is_about(rows: Mapping[str, Any], tree: Mapping[str, Any]) -> bool:
    """Say whether a SELECT reads the relations of an UPDATE or DELETE, under its WHERE and its WITH."""
    further = tree.get("fromClause", tree.get("usingClause", []))
    meant = {"fromClause": [{"RangeVar": tree["relation"]}, *further]}
    meant |= {name: tree[name] for name in ("whereClause", "withClause") if name in tree}
    return bool(bare({name: rows[name] for name in rows if name in _CLAUSES}) == bare(meant))


def rows_of(statement: Any, node: str) -> pg_query_pb2.SelectStmt:
    """Return `SELECT` without a list over the rows that an UPDATE or DELETE names."""
    rows = pg_query_pb2.SelectStmt(limit_option=pg_query_pb2.LIMIT_OPTION_DEFAULT, op=pg_query_pb2.SETOP_NONE)
    rows.from_clause.add().range_var.CopyFrom(statement.relation)
    rows.from_clause.extend(statement.from_clause if node == "UpdateStmt" else statement.using_clause)
    if statement.HasField("where_clause"):
        rows.where_clause.CopyFrom(statement.where_clause)
    if statement.HasField("with_clause"):
        rows.with_clause.CopyFrom(statement.with_clause)
    return rows

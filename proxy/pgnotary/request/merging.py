"""The count of a MERGE: its text enters, a SELECT leaves that counts the rows for which it does something.

Each row of the source meets the target's rows that match it, or none; of the WHEN clauses that fit, the first whose
condition holds says what is done. The SELECT joins in the same way and asks the same conditions in the same order; rows
of the target that no row of the source matches are counted beside that. A target row that two rows of the source would
change is an error of MERGE's own, so none needs to be counted once only.

The same SELECTs, with columns of the target, give the rows that stand and would be changed.

Source: PostgreSQL 18, "MERGE".
"""

from collections.abc import Iterable, Mapping
from typing import Any

from postgast import pg_query_pb2

from pgnotary.judge import grammar
from pgnotary.request.selects import (
    Uncounted,
    add_count,
    around,
    bare,
    limit,
    names_of,
    root_of,
    select,
    written,
)

__all__ = ["count_of_merge", "standing_in_merge"]

_BY_SOURCE = "MERGE_WHEN_NOT_MATCHED_BY_SOURCE"
_MATCHED = "MERGE_WHEN_MATCHED"


def count_of_merge(text: bytes, tree: Mapping[str, Any]) -> bytes:
    """Return the SELECT; raises Uncounted if none can be built."""
    statement = root_of(text, "MergeStmt")
    clauses = [each.merge_when_clause for each in statement.merge_when_clauses]
    alone = [each for each in clauses if each.match_kind == pg_query_pb2.MERGE_WHEN_NOT_MATCHED_BY_SOURCE]
    met = [each for each in clauses if each.match_kind != pg_query_pb2.MERGE_WHEN_NOT_MATCHED_BY_SOURCE]
    halves = [*([_joined(statement, met)] if met else ()), *([_unmatched(statement, alone)] if alone else ())]
    rows = halves[0] if len(halves) == 1 else around(_united(*halves))
    if statement.HasField("with_clause"):
        rows.with_clause.CopyFrom(statement.with_clause)
    add_count(rows)
    count = written(rows, text)
    clauses_of = [each["MergeWhenClause"] for each in tree["mergeWhenClauses"]]
    if not _is_about(grammar.parse(count)[0].fields, tree, clauses_of):
        raise Uncounted("no count could be built: its conditions cannot be written out again as they are")
    return count


def standing_in_merge(text: bytes, tree: Mapping[str, Any], columns: Iterable[str], most: int) -> bytes:
    """Return a SELECT of columns of the target's rows that stand and would be changed; raises Uncounted."""
    statement = root_of(text, "MergeStmt")
    clauses = [each.merge_when_clause for each in statement.merge_when_clauses]
    alone = [each for each in clauses if each.match_kind == pg_query_pb2.MERGE_WHEN_NOT_MATCHED_BY_SOURCE]
    matched = [each for each in clauses if each.match_kind == pg_query_pb2.MERGE_WHEN_MATCHED]
    if not alone and not matched:
        raise Uncounted("it only inserts: no row that stands is met")
    halves = []
    if matched:
        halves.append(_joined(statement, matched))
        halves[0].from_clause[0].join_expr.jointype = pg_query_pb2.JOIN_INNER
    if alone:
        halves.append(_unmatched(statement, alone))
    named = list(columns)
    for half in halves:
        select(half, statement.relation, named)
    rows = halves[0] if len(halves) == 1 else _united(*halves)
    if statement.HasField("with_clause"):
        rows.with_clause.CopyFrom(statement.with_clause)
    limit(rows, most)
    found = written(rows, text)
    again = grammar.parse(found)[0].fields
    met = [each["MergeWhenClause"] for each in tree["mergeWhenClauses"]]
    kept = [each for each in met if each["matchKind"] in (_BY_SOURCE, _MATCHED)]
    if not _is_about(again, tree, kept):
        raise Uncounted("the sample cannot be written out as the statement is")
    return found


def _united(first: pg_query_pb2.SelectStmt, second: pg_query_pb2.SelectStmt) -> pg_query_pb2.SelectStmt:
    both = pg_query_pb2.SelectStmt(limit_option=pg_query_pb2.LIMIT_OPTION_DEFAULT, op=pg_query_pb2.SETOP_UNION)
    both.all = True
    both.larg.CopyFrom(first)
    both.rarg.CopyFrom(second)
    return both


def _joined(statement: Any, clauses: list[pg_query_pb2.MergeWhenClause]) -> pg_query_pb2.SelectStmt:
    """Return a SELECT without a list of the rows of the source for which something is done."""
    rows = pg_query_pb2.SelectStmt(limit_option=pg_query_pb2.LIMIT_OPTION_DEFAULT, op=pg_query_pb2.SETOP_NONE)
    join = rows.from_clause.add().join_expr
    join.jointype = pg_query_pb2.JOIN_LEFT
    join.larg.CopyFrom(statement.source_relation)
    join.rarg.range_var.CopyFrom(statement.relation)
    join.quals.CopyFrom(statement.join_condition)
    case = rows.where_clause.case_expr
    for clause in clauses:
        _add_when(case, statement.relation, clause)
    case.defresult.a_const.boolval.boolval = False
    return rows


def _unmatched(statement: Any, clauses: list[pg_query_pb2.MergeWhenClause]) -> pg_query_pb2.SelectStmt:
    """Return a SELECT without a list of the rows of the target that no row of the source matches."""
    rows = pg_query_pb2.SelectStmt(limit_option=pg_query_pb2.LIMIT_OPTION_DEFAULT, op=pg_query_pb2.SETOP_NONE)
    rows.from_clause.add().range_var.CopyFrom(statement.relation)
    both = rows.where_clause.bool_expr
    both.boolop = pg_query_pb2.AND_EXPR
    negated = both.args.add().bool_expr
    negated.boolop = pg_query_pb2.NOT_EXPR
    link = negated.args.add().sub_link
    link.sub_link_type = pg_query_pb2.EXISTS_SUBLINK
    source = link.subselect.select_stmt
    source.limit_option, source.op = pg_query_pb2.LIMIT_OPTION_DEFAULT, pg_query_pb2.SETOP_NONE
    source.from_clause.add().CopyFrom(statement.source_relation)
    source.where_clause.CopyFrom(statement.join_condition)
    case = both.args.add().case_expr
    for clause in clauses:
        when = case.args.add().case_when
        if clause.HasField("condition"):
            when.expr.CopyFrom(clause.condition)
        else:
            when.expr.a_const.boolval.boolval = True
        when.result.a_const.boolval.boolval = clause.command_type != pg_query_pb2.CMD_NOTHING
    case.defresult.a_const.boolval.boolval = False
    return rows


def _add_when(case: pg_query_pb2.CaseExpr, target: pg_query_pb2.RangeVar, clause: pg_query_pb2.MergeWhenClause) -> None:
    """Have a CASE say whether a row that is met in one way, under one condition, is changed."""
    when = case.args.add().case_when
    both = when.expr.bool_expr
    both.boolop = pg_query_pb2.AND_EXPR
    met = both.args.add().null_test
    # Of a row of a table alone: the source may be anything, so it is asked for on this side.
    names = [target.alias.aliasname] if target.HasField("alias") else names_of(target)
    for name in (*names, "tableoid"):
        met.arg.column_ref.fields.add().string.sval = name
    matched = clause.match_kind == pg_query_pb2.MERGE_WHEN_MATCHED
    met.nulltesttype = pg_query_pb2.IS_NOT_NULL if matched else pg_query_pb2.IS_NULL
    if clause.HasField("condition"):
        both.args.add().CopyFrom(clause.condition)
    else:
        both.args.add().a_const.boolval.boolval = True
    when.result.a_const.boolval.boolval = clause.command_type != pg_query_pb2.CMD_NOTHING


def _is_about(rows: Mapping[str, Any], tree: Mapping[str, Any], clauses: list[Mapping[str, Any]]) -> bool:
    """Say whether a SELECT reads what a MERGE reads, as it does, and asks the conditions of these clauses."""
    alone = [each for each in clauses if each["matchKind"] == _BY_SOURCE]
    met = [each for each in clauses if each["matchKind"] != _BY_SOURCE]
    if bare(rows.get("withClause")) != bare(tree.get("withClause")):
        return False
    if not alone:
        return _is_joined(rows, tree, met)
    if not met:
        return _is_unmatched(rows, tree, alone)
    both = rows if "larg" in rows else rows["fromClause"][0]["RangeSubselect"]["subquery"]["SelectStmt"]
    return _is_joined(both["larg"], tree, met) and _is_unmatched(both["rarg"], tree, alone)


def _is_joined(rows: Mapping[str, Any], tree: Mapping[str, Any], clauses: list[Mapping[str, Any]]) -> bool:
    join = rows["fromClause"][0]["JoinExpr"]
    found = [join["larg"], join["rarg"], join["quals"]]
    meant = [tree["sourceRelation"], {"RangeVar": tree["relation"]}, tree["joinCondition"]]
    asked = [_beside(each["CaseWhen"]["expr"]) for each in rows["whereClause"]["CaseExpr"]["args"]]
    wanted = [_flat([each.get("condition", _TRUE)]) for each in clauses]
    return bool(bare(found) == bare(meant) and bare(asked) == bare(wanted))


def _is_unmatched(rows: Mapping[str, Any], tree: Mapping[str, Any], clauses: list[Mapping[str, Any]]) -> bool:
    negated, case = rows["whereClause"]["BoolExpr"]["args"]
    source = negated["BoolExpr"]["args"][0]["SubLink"]["subselect"]["SelectStmt"]
    found = [rows["fromClause"], source["fromClause"], source["whereClause"]]
    meant = [[{"RangeVar": tree["relation"]}], [tree["sourceRelation"]], tree["joinCondition"]]
    asked = [each["CaseWhen"]["expr"] for each in case["CaseExpr"]["args"]]
    wanted = [each.get("condition", _TRUE) for each in clauses]
    return bool(bare(found) == bare(meant) and bare(asked) == bare(wanted))


_TRUE = {"A_Const": {"boolval": {"boolval": True}}}


def _beside(conjunction: Mapping[str, Any]) -> list[Any]:
    """Return what stands beside the question how a row is met."""
    return _flat(conjunction["BoolExpr"]["args"][1:])


def _flat(conditions: list[Any]) -> list[Any]:
    """Return what an AND says that stands alone: written out beside another it may become one with that."""
    if len(conditions) == 1 and conditions[0].get("BoolExpr", {}).get("boolop") == "AND_EXPR":
        return list(conditions[0]["BoolExpr"]["args"])
    return conditions

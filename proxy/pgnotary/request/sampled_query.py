"""The sample of an INSERT: rows that its query gives, each value under the column of the target that it goes into.

The statement, the columns of its target and masks enter; a `Sampling` leaves. A value is masked by where it goes, and
by what it is made of.
"""

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any

from pgnotary.judge import grammar
from pgnotary.judge.naming import relation
from pgnotary.judge.statement import Name
from pgnotary.request.assigned import is_certain
from pgnotary.request.columns import Column, Columns
from pgnotary.request.counting import Source, is_about_query, query_of
from pgnotary.request.masks import Masks, row_names
from pgnotary.request.sample import MAX_COLUMNS, MAX_NAMED, Sample, SampleColumn
from pgnotary.request.sample_text import Sampling, around_sample, spelled, whole_name
from pgnotary.request.selects import Uncounted, limit, written

__all__ = ["given", "starred_in"]


def given(
    source: Source, target: Columns, starred: Columns | None, masks: Masks, rows: int, *, renamed: bool
) -> Sampling:
    """Return the sample of rows that the query of an INSERT gives; raises Uncounted or Unreadable.

    `starred` is the relation of a `SELECT * FROM relation`. `renamed`: something that it names gives masked values
    under names of its own.
    """
    inner = query_of(source.text, source.tree)
    inner.target_list.add().res_target.val.column_ref.fields.add().a_star.SetInParent()
    limit(inner, rows)
    text = written(inner, source.text)
    if not is_about_query(grammar.parse(text)[0].fields, source.tree):
        raise Uncounted("the sample cannot be written out as the statement is")
    into = _into(source, target)
    sources = [True] * len(into) if renamed else _sources(source, starred, masks, len(into))
    hidden = [masks.hides(target, column) or hides for column, hides in zip(into, sources, strict=True)]
    places = [place for place, hides in enumerate(hidden) if not hides]
    if not places:
        raise Uncounted("all that it would show is masked")
    masked = [column.name for column, hides in zip(into, hidden, strict=True) if hides]
    shown, left = places[:MAX_COLUMNS], places[MAX_COLUMNS:]
    sample = Sample(
        relation=whole_name(target),
        given=True,
        columns=tuple(SampleColumn(name=into[place].name, key=into[place].key) for place in shown),
        masked=tuple(masked[:MAX_NAMED]),
        masked_more=max(0, len(masked) - MAX_NAMED),
        more=len(left),
    )
    # What cannot be said is shown as the query gives it.
    values = [
        spelled(place, each if each.type and is_certain(each) else None) for place in shown for each in [into[place]]
    ]
    return Sampling(around_sample(text, values, len(into)), sample, rows)


def _into(source: Source, target: Columns) -> list[Column]:
    """Return the columns that the query's columns go into."""
    declared = {column.name: column for column in target.columns}
    if "cols" in source.tree:
        found = []
        for item in source.tree["cols"]:
            fields = item["ResTarget"]
            known = declared.get(str(fields["name"]))
            if known is None:
                raise Uncounted("it names a column that its target has not")
            # Of a part of a column nobody knows the type.
            found.append(known if "indirection" not in fields else replace(known, type=""))
        return found
    query = source.tree["selectStmt"]["SelectStmt"]
    while "larg" in query:
        query = query["larg"]
    listed = query.get("targetList", ())
    star = any(message.type == "A_Star" for item in listed for message in grammar.messages("ResTarget", _target(item)))
    every = list(target.as_declared)
    return every[: len(listed)] if listed and not star else every


def _target(item: Mapping[str, Any]) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = item["ResTarget"]
    return fields


def _sources(source: Source, starred: Columns | None, masks: Masks, wanted: int) -> list[bool]:
    """Return of each column of an INSERT's query whether its values may be made of masked ones."""
    query: Mapping[str, Any] = source.tree["selectStmt"]["SelectStmt"]
    if starred is not None:
        found = [masks.hides(starred, column) for column in starred.as_declared][:wanted]
        return found + [True] * (wanted - len(found))
    rows = row_names(source.node, source.tree)
    if "withClause" in source.tree and masks.hides_computed("WithClause", source.tree["withClause"], rows):
        return [True] * wanted
    return _listed(query, masks, rows, wanted)


def _listed(query: Mapping[str, Any], masks: Masks, rows: Set[str], wanted: int) -> list[bool]:
    """Return of each column of a SELECT, or of those that a UNION is made of, whether it may be made of masked ones."""
    outer = {name: query[name] for name in query if name not in ("targetList", "whereClause", "larg", "rarg")}
    if masks.hides_computed("SelectStmt", outer, rows):
        return [True] * wanted
    if "larg" in query:
        halves = (_listed(query[half], masks, rows, wanted) for half in ("larg", "rarg"))
        return [left or right for left, right in zip(*halves, strict=True)]
    listed = [masks.hides_computed("ResTarget", _target(item), rows) for item in query.get("targetList", ())]
    return listed if len(listed) == wanted else [True] * wanted


def starred_in(source: Source) -> Name | None:
    """Return the relation of an INSERT's `SELECT * FROM relation`; None if its query is any other."""
    if source.node != "InsertStmt" or "withClause" in source.tree:
        return None
    query = source.tree["selectStmt"]["SelectStmt"]
    match query.get("targetList"), query.get("fromClause"), "withClause" in query:
        case [{"ResTarget": {"val": {"ColumnRef": {"fields": [{"A_Star": _}]}}}}], [{"RangeVar": named}], False:
            return None if "colnames" in named.get("alias", {}) else relation(named)
    return None

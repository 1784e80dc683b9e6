"""The sample of an UPDATE, DELETE or MERGE: rows as they stand, and beside a column that is set what it would become.

The statement, the columns of its target and masks enter; a `Sampling` leaves. So do those of a table that is emptied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgnotary.judge import grammar
from pgnotary.judge.identifiers import quoted
from pgnotary.request.assigned import as_stored, is_certain, value_in
from pgnotary.request.becoming import Doubts
from pgnotary.request.columns import Column, Columns
from pgnotary.request.counting import Source, is_about, rows_of
from pgnotary.request.masks import Masks, row_names
from pgnotary.request.merging import standing_in_merge
from pgnotary.request.sample import MAX_COLUMNS, MAX_NAMED, Becomes, Sample, SampleColumn
from pgnotary.request.sample_text import Sampling, around_sample, spelled, whole_name
from pgnotary.request.selects import Uncounted, bare, limit, root_of, select, written

__all__ = ["IDENTITY", "emptied", "merged", "standing"]

IDENTITY = ("tableoid", "ctid")
"""Which row of the target it is."""
_MOST_MET = 50
"""Of a join: a target row may be met several times, and is shown once."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A column that is shown."""

    column: Column
    becomes: Becomes | None = None
    setting: Any = None
    """The expression that SET gives it, as the library has it, and as a tree."""
    tree: Mapping[str, Any] | None = None

    @property
    def shown(self) -> SampleColumn:
        return SampleColumn(name=self.column.name, key=self.column.key, becomes=self.becomes)


def standing(
    source: Source, target: Columns, masks: Masks, rows: int, doubts: Doubts, *, joined: bool, renamed: bool
) -> Sampling:
    """Return the sample of rows that an UPDATE or DELETE would meet; raises Uncounted or Unreadable.

    `joined`: a row may be met several times, and can be told from others. `doubts`: what is not asked. `renamed`:
    something that it names gives masked values under names of its own.
    """
    statement = root_of(source.text, source.node)
    settings = _settings(source, statement, masks, renamed=renamed) if source.node == "UpdateStmt" else {}
    asked, sample = _chosen(target, masks, settings, doubts)
    inner = rows_of(statement, source.node)
    select(inner, statement.relation, (*(IDENTITY if joined else ()), *(each.column.name for each in asked)))
    stand = len(inner.target_list)
    computed = [each for each in asked if each.becomes is Becomes.SHOWN]
    for each in computed:
        # Inside, so that a literal, a parameter or a ROW is read as being of that type, as SET reads it.
        inner.target_list.add().res_target.val.CopyFrom(as_stored(each.setting, each.column))
    every, most = written(inner, source.text), _MOST_MET if joined else rows
    limit(inner, most)
    text = written(inner, source.text)
    tree = grammar.parse(text)[0].fields
    again = zip(tree["targetList"][stand:], computed, strict=True)
    settings_again = [value_in(item["ResTarget"]["val"], each.tree or {}, each.column) for item, each in again]
    if not is_about(tree, source.tree) or bare(settings_again) != bare([each.tree for each in computed]):
        raise Uncounted("the sample cannot be written out as the statement is")
    values = list(map(spelled, range(stand + len(computed))))
    question, unlimited = around_sample(text, values), around_sample(every, values)
    return Sampling(question, sample, rows, joined, unlimited if joined and computed else b"", most)


def merged(source: Source, target: Columns, masks: Masks, rows: int, *, joined: bool) -> Sampling:
    """Return the sample of rows that stand and that a MERGE would change; raises Uncounted or Unreadable.

    What becomes of each is for its first WHEN clause that fits to say, so no new value is told.
    """
    settings: dict[str, tuple[Becomes, Any, Any]] = {}
    for item in source.tree["mergeWhenClauses"]:
        clause = item["MergeWhenClause"]
        if clause["commandType"] == "CMD_UPDATE":
            settings |= {str(each["ResTarget"]["name"]): (Becomes.UNTOLD, None, None) for each in clause["targetList"]}
    asked, sample = _chosen(target, masks, settings, Doubts(all=True))
    names = [*(IDENTITY if joined else ()), *(each.column.name for each in asked)]
    text = standing_in_merge(source.text, source.tree, names, _MOST_MET if joined else rows)
    return Sampling(around_sample(text, list(map(spelled, range(len(names))))), sample, rows, joined)


def emptied(target: Columns, masks: Masks, rows: int) -> Sampling:
    """Return the sample of a table that loses all its rows; raises Uncounted."""
    asked, sample = _chosen(target, masks, {}, Doubts())
    names = ", ".join(quoted(each.column.name) for each in asked)
    table = ".".join(map(quoted, target.relation))
    text = f"SELECT {names} FROM ONLY {table} LIMIT {rows}"  # noqa: S608  # of identifiers
    return Sampling(around_sample(text.encode(), list(map(spelled, range(len(asked))))), sample, rows)


def _settings(source: Source, statement: Any, masks: Masks, *, renamed: bool) -> dict[str, tuple[Becomes, Any, Any]]:
    """Return by column what SET makes of it: what is known, and its expression in both forms."""
    rows = row_names(source.node, source.tree)
    # Through what it joins, a masked column may stand under any name.
    beside = {name: source.tree[name] for name in ("fromClause", "withClause") if name in source.tree}
    renamed = renamed or (bool(beside) and masks.hides_computed("UpdateStmt", beside, rows))
    found: dict[str, tuple[Becomes, Any, Any]] = {}
    for item, each in zip(source.tree["targetList"], statement.target_list, strict=True):
        fields = item["ResTarget"]
        name, value, tree = str(fields["name"]), each.res_target.val, fields["val"]
        if "MultiAssignRef" in tree:
            several = tree["MultiAssignRef"]
            row, place = several["source"].get("RowExpr"), several["colno"] - 1
            if row is None:
                found[name] = (Becomes.UNTOLD, None, None)
                continue
            tree, value = row["args"][place], value.multi_assign_ref.source.row_expr.args[place]
        if "SetToDefault" in tree:
            found[name] = (Becomes.DEFAULT, None, None)
        elif "indirection" in fields:
            found[name] = (Becomes.UNTOLD, None, None)
        elif masks.hides_computed("Node", tree, rows) or (renamed and not tree.keys() <= {"A_Const", "ParamRef"}):
            found[name] = (Becomes.MASKED, None, None)
        else:
            found[name] = (Becomes.SHOWN, value, tree)
    return found


def _chosen(
    target: Columns, masks: Masks, settings: Mapping[str, tuple[Becomes, Any, Any]], doubts: Doubts
) -> tuple[list[_Asked], Sample]:
    """Return the columns that are shown: the primary key, what is set, the others; and the sample without its rows."""
    masked = [column.name for column in target.as_declared if masks.hides(target, column)]
    hidden = set(masked)
    unreadable = [column.name for column in target.as_declared if not column.readable and column.name not in hidden]
    hidden |= set(unreadable)
    open_ = [column for column in target.columns if column.name not in hidden]
    if not open_:
        raise Uncounted("there is no column that may be shown")
    ordered = sorted(open_, key=lambda column: (not column.key, not column.key and column.name not in settings))
    shown = []
    for column in ordered[:MAX_COLUMNS]:
        becomes, value, tree = settings.get(column.name, (None, None, None))
        # A foreign key that leads back may set a column behind the statement, whether it sets it or not.
        led_back = doubts.beside is not None and column.name in doubts.beside
        doubtful = doubts.all or led_back or column.name in doubts.set or not is_certain(column)
        if becomes is Becomes.SHOWN and doubtful:
            becomes = Becomes.UNTOLD
        if settings and becomes is None:
            becomes = Becomes.UNTOLD if column.generated or led_back or doubts.beside is None else None
        shown.append(_Asked(column, becomes, value, tree))
    return shown, Sample(
        relation=whole_name(target),
        columns=tuple(each.shown for each in shown),
        masked=tuple(masked[:MAX_NAMED]),
        masked_more=max(0, len(masked) - MAX_NAMED),
        unreadable=tuple(unreadable[:MAX_NAMED]),
        unreadable_more=max(0, len(unreadable) - MAX_NAMED),
        more=len(open_) - len(shown),
    )

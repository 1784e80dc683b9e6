"""A sample of rows, in words: what a preview says of it and its values enter, labels and texts leave, a row in each.

A value stands in quotes, a quote inside it doubled, unless it is a plain number: no value can end early and go on in
words of ours. What is not shown is said, each kind in its own words. Who shows the texts makes them safe.
"""

import re
from collections.abc import Iterator, Sequence

from pgnotary.audit.words import counted
from pgnotary.judge.identifiers import identifier
from pgnotary.request.sample import MAX_CHARACTERS, Becomes, Row, Sample, SampleColumn, Value

__all__ = ["sample_lines"]

_LABEL = "sample"
_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?")
_SAID = {
    Becomes.MASKED: "(masked)",
    Becomes.DEFAULT: "(its default)",
    Becomes.UNTOLD: "(not worked out)",
}


def sample_lines(sample: Sample | None, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Yield what the sample is of, each of its rows, and which columns are not in it."""
    if sample is None:
        return
    if sample.why:
        yield _LABEL, f"none: {sample.why}"
        return
    given = "that the query gives now, for" if sample.given else "as they stand now, of"
    columns = sample.columns
    becomes = " -> as they would become" if any(column.becomes for column in columns) else ""
    if all(column.becomes is Becomes.UNTOLD for column in columns):
        # Once for all, not with each value.
        columns = tuple(SampleColumn(name=column.name, key=column.key) for column in columns)
        becomes = "; what each of their columns becomes is not worked out"
    yield _LABEL, f"{counted(len(rows), 'row')} {given} {sample.relation}{becomes}"
    for number, row in enumerate(rows, 1):
        yield f"row {number}", ", ".join(_told(columns, row))
    if sample.masked:
        yield "masked", f"{_named(sample.masked, sample.masked_more)}: no approver is shown their values"
    if sample.unreadable:
        yield "unreadable", f"{_named(sample.unreadable, sample.unreadable_more)}: the role may not read them"
    if sample.more:
        yield _LABEL, f"AND {counted(sample.more, 'MORE COLUMN', 'MORE COLUMNS')}"


def _named(columns: Sequence[str], more: int) -> str:
    named = ", ".join(map(identifier, columns))
    return f"{named} AND {counted(more, 'MORE COLUMN', 'MORE COLUMNS')}" if more else named


def _told(columns: Sequence[SampleColumn], row: Row) -> Iterator[str]:
    new = iter(row[len(columns) :])
    for column, value in zip(columns, row, strict=False):
        told = f"{identifier(column.name)} {_spelled(value)}"
        if column.becomes is Becomes.SHOWN:
            told += f" -> {_spelled(next(new))}"
        elif column.becomes is not None:
            told += f" -> {_SAID[column.becomes]}"
        yield told


def _spelled(value: Value) -> str:
    if value.text is None:
        return "NULL"
    if value.is_cut:
        return f"{_quoted(value.text)} (its first {MAX_CHARACTERS} characters)"
    return value.text if _NUMBER.fullmatch(value.text) else _quoted(value.text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

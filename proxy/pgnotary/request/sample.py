"""A sample of the rows that a held statement would meet, as it is recorded: what it shows in clear, its values sealed.

Column names and what was left out stand in the `preview` entry; the values are one sealed value beside it. Rows enter
and bytes leave, and back again. A row has one value for each column, and then one for each column that becomes
`shown`, in the same order.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from pgnotary.errors import NotCanonical
from pgnotary.ledger.canonical import JSON, decode, encode

__all__ = [
    "MAX_CHARACTERS",
    "MAX_COLUMNS",
    "MAX_NAMED",
    "Becomes",
    "Row",
    "Sample",
    "SampleColumn",
    "Value",
    "in_json",
    "joined_rows",
    "opened_each",
    "opened_rows",
    "sealed_rows",
    "without",
]

MAX_CHARACTERS = 200
"""Of each value; of a longer one its beginning is kept."""
MAX_COLUMNS = 20
MAX_NAMED = 20
"""Of the columns that are masked, and of those that the role may not read; the others are counted."""


class Becomes(StrEnum):
    """What is known of the value that a column gets."""

    SHOWN = "shown"
    """It stands in the rows."""
    MASKED = "masked"
    DEFAULT = "default"
    """The column's default."""
    UNTOLD = "untold"
    """Nobody has worked it out."""


class SampleColumn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A column of a sample."""

    name: str
    key: bool = False
    """It is part of the primary key."""
    becomes: Becomes | None = None
    """Of a column that is set; else None."""


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All of a sample but its rows."""

    why: str = ""
    """Why there is none."""
    relation: str = ""
    given: bool = False
    """The rows are those that a query gives to an INSERT; else they are the relation's, as they stand."""
    columns: tuple[SampleColumn, ...] = ()
    masked: tuple[str, ...] = ()
    """Columns whose values are shown to nobody; they were not asked for."""
    masked_more: int = 0
    """How many there are beside these."""
    unreadable: tuple[str, ...] = ()
    """Columns that the role may not read."""
    unreadable_more: int = 0
    """How many there are beside these."""
    more: int = 0
    """How many columns may be shown, and are left out."""
    rows: int = 0

    @property
    def width(self) -> int:
        """How many values a row has."""
        return len(self.columns) + sum(column.becomes is Becomes.SHOWN for column in self.columns)


@dataclass(frozen=True, slots=True)
class Value:
    """A value as the server spells it."""

    text: str | None
    """None is NULL."""
    is_cut: bool = False
    """Only its beginning is there."""


Row = tuple[Value, ...]


def without(sample: Sample, rows: Iterable[Row], untold: Collection[str]) -> tuple[Sample, tuple[Row, ...]]:
    """Return a sample and its rows without what these columns become; each of them is one that is set."""
    columns = sample.columns
    becoming = [column.name for column in columns if column.becomes is Becomes.SHOWN]
    kept = [*range(len(columns)), *(len(columns) + at for at, name in enumerate(becoming) if name not in untold)]
    found = tuple(
        msgspec.structs.replace(each, becomes=Becomes.UNTOLD) if each.name in untold else each for each in columns
    )
    return msgspec.structs.replace(sample, columns=found), tuple(tuple(row[place] for place in kept) for row in rows)


def sealed_rows(rows: Iterable[Row]) -> bytes:
    """Return the canonical bytes that a preview commits to."""
    return encode({"rows": [[in_json(value) for value in row] for row in rows]})


def joined_rows(sealed: Sequence[bytes]) -> bytes:
    """Return what `sealed_rows` made of several samples as one, those of one behind those of another; b"" of none."""
    return encode({"rows": [row for each in sealed for row in _rows_in(each)]}) if sealed else b""


def in_json(value: Value) -> JSON:
    """Return a value as JSON: its text, {"begins": ...} of one that is cut, {"null": true}."""
    if value.text is None:
        return {"null": True}
    return {"begins": value.text} if value.is_cut else value.text


def opened_rows(sample: Sample, raw: bytes) -> tuple[Row, ...]:
    """Return what `sealed_rows` made of the rows of that sample; raises NotCanonical for anything else."""
    return opened_each([sample], raw)[0]


def opened_each(samples: Sequence[Sample], raw: bytes) -> tuple[tuple[Row, ...], ...]:
    """Return what `joined_rows` made of the rows of these samples; raises NotCanonical for anything else."""
    rows, found, place = _rows_in(raw), [], 0
    if len(rows) != sum(sample.rows for sample in samples):
        wanted = " + ".join(str(sample.rows) for sample in samples)
        raise NotCanonical(f"a sample of {len(rows)} rows, the preview says {wanted}")
    for sample in samples:
        own = rows[place : place + sample.rows]
        place += sample.rows
        if not all(isinstance(row, list) and len(row) == sample.width for row in own):
            raise NotCanonical(f"a sample whose rows have not {sample.width} values each")
        found.append(tuple(tuple(map(_opened, row)) for row in own))
    return tuple(found)


def _rows_in(raw: bytes) -> list[Any]:
    rows = decode(raw).get("rows")
    if not isinstance(rows, list):
        raise NotCanonical("a sample without rows")
    return rows


def _opened(value: Any) -> Value:
    match value:
        case str(text):
            return Value(text)
        case {"null": True, **others} if not others:
            return Value(None)
        case {"begins": str(text), **others} if not others:
            return Value(text, is_cut=True)
    raise NotCanonical("a sample with a value that is neither text, the beginning of one, nor NULL")

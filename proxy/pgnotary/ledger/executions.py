"""Many executions in one entry: what they have in common is written once, the rest in columns.

Executions enter one by one, the body of a `forwarded` entry leaves; a body enters, its executions leave in their order.
A statement costs about twenty bytes in this form, and a fifth of the time that an object for each would take to write,
check, read back and hash.

    since       when the first one began, UTC with microseconds
    alike       list of what executions have in common: `Alike`, without what is empty
    executions  columns of the same length, one place for each execution:
        text     n: its text is sealed as t<n>, here or in an earlier entry of its session
        alike    the place of what else is told of it in `alike`
        at_us    when it began, microseconds after `since`; before it, if the clock was set back
        took_us  microseconds
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec

from pgnotary.errors import NotCanonical
from pgnotary.ledger.canonical import JSON, encode, parse_timestamp, timestamp

__all__ = ["MAX_EXECUTIONS", "Alike", "Executed", "Executions", "executions_in"]

MAX_EXECUTIONS = 500
_MAX_BYTES = 57_000
"""What an entry may have before its last execution, which adds at most 7,000."""
# A comma for each column, and as many digits as its numbers have at most; 44 are the base64 of a commitment.
_EXECUTION_BYTES = 4 + 3 * 16 + 3
_SEAL_BYTES = len('"t9007199254740991":"",') + 44

_MICROSECOND = timedelta(microseconds=1)
_COLUMNS = ("text", "alike", "at_us", "took_us")


_Count = Annotated[int, msgspec.Meta(ge=0)]


class Alike(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is told of an execution beside its text and its time."""

    kind: str
    verdict: Literal["forward", "refuse"]
    """`forward`, or `refuse` if it was not sent."""
    tag: str = ""
    """The last command tag."""
    rows: _Count | None = None
    """The rows of all command tags."""
    sqlstate: str = ""
    would: str = ""
    """The rule that would have held it if policy held anything."""
    why: str = ""
    """Why it was undone."""
    copied_bytes: _Count | None = None
    copied_sha256: str = ""


class Executions:
    """The executions of one entry in the making; texts are numbers that are not given twice in a session."""

    __slots__ = ("_alike", "_at_us", "_bytes", "_of", "_since", "_text", "_took_us")

    def __init__(self, since: datetime) -> None:
        self._since = since
        self._alike: dict[Alike, int] = {}
        self._text: list[int] = []
        self._of: list[int] = []
        self._at_us: list[int] = []
        self._took_us: list[int] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._text)

    @property
    def full(self) -> bool:
        """Whether another one might not fit."""
        return len(self._text) >= MAX_EXECUTIONS or self._bytes > _MAX_BYTES

    def add(self, text: int, alike: Alike, at: datetime, took_us: int, *, sealed: bool) -> None:
        """Add one that began at `at`; `sealed` says whether its text is sealed in this entry.

        The texts in `alike` may have 1,100 characters at most, all together.
        """
        of = self._alike.get(alike)
        if of is None:
            of = self._alike[alike] = len(self._alike)
            self._bytes += len(encode(msgspec.to_builtins(alike))) + 1
        self._bytes += _EXECUTION_BYTES + _SEAL_BYTES if sealed else _EXECUTION_BYTES
        self._text.append(text)
        self._of.append(of)
        self._at_us.append((at - self._since) // _MICROSECOND)
        self._took_us.append(took_us)

    def body(self) -> dict[str, JSON]:
        """Return the body of their entry."""
        return {
            "since": timestamp(self._since),
            "alike": [msgspec.to_builtins(each) for each in self._alike],
            "executions": {"text": self._text, "alike": self._of, "at_us": self._at_us, "took_us": self._took_us},
        }


@dataclass(frozen=True, slots=True)
class Executed:
    """One execution, as its entry tells of it."""

    text: str
    """The name that its text is sealed under."""
    at: datetime
    took_us: int
    told: Mapping[str, JSON]
    """The fields of its `Alike`."""


def executions_in(body: Mapping[str, JSON]) -> Iterator[Executed]:
    """Yield the executions that a `forwarded` entry tells of; raises NotCanonical if its body is not of the form."""
    since, alike, columns = body.get("since"), body.get("alike"), body.get("executions")
    if not (isinstance(since, str) and isinstance(alike, Sequence) and isinstance(columns, Mapping)):
        raise NotCanonical("a forwarded entry without since, alike or executions")
    if len(body) != 3 or columns.keys() != set(_COLUMNS):
        raise NotCanonical("a forwarded entry with more, or with other columns, than one has")
    first = parse_timestamp(since)
    text, of, at_us, took_us = (_numbers(columns, name) for name in _COLUMNS)
    if not len(text) == len(of) == len(at_us) == len(took_us):
        raise NotCanonical("a forwarded entry with columns of different lengths")
    if not 0 < len(text) <= MAX_EXECUTIONS:
        raise NotCanonical(f"a forwarded entry with {len(text)} executions, expected 1 to {MAX_EXECUTIONS}")
    if min(*text, *took_us) < 0 or set(of) != set(range(len(alike))):
        raise NotCanonical("a forwarded entry with a number below 0, or with something that is told of no execution")
    for each in alike:
        _check_alike(each)
    for number, place, microseconds, took in zip(text, of, at_us, took_us, strict=True):
        told = alike[place] if 0 <= place < len(alike) else None
        if not isinstance(told, Mapping):
            raise NotCanonical(f"a forwarded entry that tells nothing of an execution: alike[{place}]")
        try:
            at = first + microseconds * _MICROSECOND
        except OverflowError as error:
            raise NotCanonical(f"a forwarded entry with an execution {microseconds} us after its first") from error
        yield Executed(f"t{number}", at, took, told)


def _check_alike(told: JSON) -> None:
    try:
        msgspec.convert(told, Alike)
    except msgspec.ValidationError as error:
        raise NotCanonical(f"a forwarded entry that tells of an execution: {error}") from error


def _numbers(columns: Mapping[str, JSON], name: str) -> Sequence[int]:
    column = columns.get(name)
    if not isinstance(column, list) or not all(type(each) is int for each in column):
        raise NotCanonical(f"a forwarded entry whose column {name} is no list of numbers")
    return column

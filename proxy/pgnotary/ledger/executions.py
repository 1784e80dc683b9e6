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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal, TypeVar

import msgspec

from pgnotary.errors import NotCanonical
from pgnotary.ledger.canonical import JSON, MAX_INT, encode, parse_timestamp, timestamp

__all__ = [
    "MAX_EXECUTIONS",
    "Alike",
    "Executed",
    "Executions",
    "Listed",
    "ListedBody",
    "Told",
    "executions_in",
    "told_in",
]

MAX_EXECUTIONS = 500
_MAX_BYTES = 57_000
"""What an entry may have before its last execution, which adds at most 7,000."""
# A comma for each column, and as many digits as its numbers have at most; 44 are the base64 of a commitment.
_EXECUTION_BYTES = 4 + 3 * 16 + 3
_SEAL_BYTES = len('"t9007199254740991":"",') + 44

_MICROSECOND = timedelta(microseconds=1)

_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]
_Time = Annotated[int, msgspec.Meta(ge=-MAX_INT, le=MAX_INT)]
_Number = TypeVar("_Number", bound=int)
_Column = Annotated[list[_Number], msgspec.Meta(min_length=1, max_length=MAX_EXECUTIONS)]


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


class _Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: _Column[_Count]
    alike: _Column[_Count]
    at_us: _Column[_Time]
    took_us: _Column[_Count]


class ListedBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body as it is written."""

    since: str
    alike: list[Alike]
    executions: _Columns


class Listed(Mapping[str, JSON]):
    """A body that was read in its form: a mapping like any other, which is made only if somebody looks."""

    __slots__ = ("_fields", "body")

    def __init__(self, body: ListedBody) -> None:
        self.body = body
        self._fields: dict[str, JSON] | None = None

    def __getitem__(self, name: str) -> JSON:
        if self._fields is None:
            self._fields = msgspec.to_builtins(self.body)
        return self._fields[name]

    def __contains__(self, name: object) -> bool:
        return name in ListedBody.__struct_fields__

    def __iter__(self) -> Iterator[str]:
        return iter(ListedBody.__struct_fields__)

    def __len__(self) -> int:
        return len(ListedBody.__struct_fields__)

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass(frozen=True, slots=True)
class Executed:
    """One execution, as its entry tells of it."""

    text: str
    """The name that its text is sealed under."""
    at: datetime
    took_us: int
    told: Mapping[str, JSON]
    """The fields of its `Alike`."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a `forwarded` entry tells of its executions, all together."""

    forwarded: int
    refused: int
    texts: frozenset[str]
    """The names that their texts are sealed under, here or before."""


def executions_in(body: Mapping[str, JSON]) -> Iterator[Executed]:
    """Yield the executions that a `forwarded` entry tells of; raises NotCanonical if its body is not of the form."""
    columns, alike, since = _read(body)
    told = [msgspec.to_builtins(each) for each in alike]
    rows = zip(columns.text, columns.alike, columns.at_us, columns.took_us, strict=True)
    for number, place, microseconds, took in rows:
        yield Executed(f"t{number}", _began(since, microseconds), took, told[place])


def told_in(body: Mapping[str, JSON]) -> Told:
    """Return how many executions a `forwarded` entry tells of, and of which texts, without looking at each.

    Raises NotCanonical whenever `executions_in` does.
    """
    columns, alike, _ = _read(body)
    refused = sum(columns.alike.count(place) for place, each in enumerate(alike) if each.verdict == "refuse")
    return Told(len(columns.text) - refused, refused, frozenset(f"t{number}" for number in set(columns.text)))


def _read(body: Mapping[str, JSON]) -> tuple[_Columns, list[Alike], datetime]:
    """Check a whole body, in a tenth of the time that a look at each number takes."""
    try:
        read = body.body if isinstance(body, Listed) else msgspec.convert(body, ListedBody)
    except msgspec.ValidationError as error:
        raise NotCanonical(f"a forwarded entry of another form than one has: {error}") from error
    columns, since = read.executions, parse_timestamp(read.since)
    if not len(columns.text) == len(columns.alike) == len(columns.at_us) == len(columns.took_us):
        raise NotCanonical("a forwarded entry with columns of different lengths")
    if set(columns.alike) != set(range(len(read.alike))):
        raise NotCanonical("a forwarded entry with something that is told of no execution, or with nothing told of one")
    _began(since, min(columns.at_us))
    _began(since, max(columns.at_us))
    return columns, read.alike, since


def _began(first: datetime, microseconds: int) -> datetime:
    try:
        return first + microseconds * _MICROSECOND
    except OverflowError as error:
        raise NotCanonical(f"a forwarded entry with an execution {microseconds} us after its first") from error

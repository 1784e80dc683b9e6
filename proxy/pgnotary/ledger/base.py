"""What a ledger stands on once its first entries are archived: all that is needed to go on, and to verify what follows.

The state at a cut enters, one canonical document leaves, and back. The roots of the complete subtrees stand for the
entries below, so that every later head and proof is what it would have been. No request is open at a cut; of open
sessions, of the numbers that requests have used, of the archive before and of the run is carried what a verifier would
know there. The hash of the document stands in the `archived` entry, so whoever has the archive can work it out anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from pgnotary.errors import NotCanonical
from pgnotary.ledger.canonical import JSON, decode, encode, parse_timestamp, timestamp
from pgnotary.ledger.tree import HASH_BYTES, Tree

__all__ = ["BASE_FORMAT", "Base", "CarriedRun", "CarriedSession", "Ranges", "merged", "read_base"]

BASE_FORMAT = "pgnotary/base/1"

Ranges = tuple[tuple[int, int], ...]
"""Numbers as (first, last), ascending, with gaps between them."""


@dataclass(frozen=True, slots=True)
class CarriedSession:
    """A session that is open at the cut."""

    name: str
    opened: Mapping[str, JSON]
    """The body of its `session-opened`."""
    held: int
    forwarded: int
    refused: int
    texts: Ranges
    """The n of each text t<n> that was sealed for it so far."""


@dataclass(frozen=True, slots=True)
class CarriedRun:
    """The run of a proxy that has no end before the cut, and promised not to be silent."""

    heartbeat_s: int
    """From 1 to a day: everything else promises nothing."""
    began: int
    """The place of its `proxy-started`."""
    clock: datetime
    """What the wall clock said when both clocks were told last,"""
    up_ms: int
    """and for how long the run had lasted."""
    told_at: int
    """The place of the entry that told both."""
    full: bool
    """Whether the last entry is `ledger-full`: behind it nothing is promised."""
    was_full: bool
    """Whether such an entry stands behind the one that told both clocks, and is not the last."""
    silences: tuple[tuple[int, int], ...]
    """Since both clocks were told: place of the entry before each that was too long, and its microseconds."""


@dataclass(frozen=True, slots=True)
class Base:
    """The state of a ledger behind its first `size` entries, none of which needs to be at hand any more."""

    ledger: str
    size: int
    """At least 1."""
    roots: tuple[bytes, ...]
    """Of the complete subtrees, left to right: one for each bit that is set in `size`."""
    prev: bytes
    """Leaf hash of the last of these entries."""
    time: datetime
    """Of the same entry."""
    allowed_signers: str | None
    """The roster in force; None if there is none that can be read."""
    highest: int
    """Of the numbers n that were used as R-n; 0 if none was."""
    free: Ranges
    """Those below it that were not used."""
    sessions: tuple[CarriedSession, ...]
    """By name."""
    archived: int
    """Where the last archive ended that an entry below tells of; 0 if none does."""
    run: CarriedRun | None
    """None if no run goes on over the cut that promised anything."""

    def tree(self) -> Tree:
        """The tree over the entries below; it grows on its own."""
        return Tree.of(self.size, self.roots)

    @property
    def raw(self) -> bytes:
        """The document; raises NotCanonical if the state does not fit one."""
        fields: dict[str, JSON] = {
            "v": BASE_FORMAT,
            "ledger": self.ledger,
            "size": self.size,
            "roots": [each.hex() for each in self.roots],
            "prev": self.prev.hex(),
            "time": timestamp(self.time),
            "used": {"highest": self.highest, "free": _listed(self.free)},
            "archived": self.archived,
            "sessions": [
                {
                    "session": each.name,
                    "opened": each.opened,
                    "held": each.held,
                    "forwarded": each.forwarded,
                    "refused": each.refused,
                    "texts": _listed(each.texts),
                }
                for each in self.sessions
            ],
        }
        if self.allowed_signers is not None:
            fields["allowed_signers"] = self.allowed_signers
        if self.run is not None:
            fields["run"] = {
                "heartbeat_s": self.run.heartbeat_s,
                "began": self.run.began,
                "clock": timestamp(self.run.clock),
                "up_ms": self.run.up_ms,
                "told_at": self.run.told_at,
                "full": self.run.full,
                "was_full": self.run.was_full,
                "silences": _listed(self.run.silences),
            }
        return encode(fields)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the document; raises NotCanonical."""
        return sha256(self.raw).digest()


_NEEDED = frozenset({"v", "ledger", "size", "roots", "prev", "time", "used", "sessions", "archived"})
_OPTIONAL = frozenset({"allowed_signers", "run"})
_MOST_S = 86_400
_OF_RUN = frozenset({"heartbeat_s", "began", "clock", "up_ms", "told_at", "full", "was_full", "silences"})
_OF_SESSION = frozenset({"session", "opened", "held", "forwarded", "refused", "texts"})


def read_base(raw: bytes) -> Base:
    """Read a document; raises NotCanonical."""
    fields = decode(raw)
    if fields.get("v") != BASE_FORMAT or fields.keys() - _OPTIONAL != _NEEDED:
        raise NotCanonical(f"not a base of the format {BASE_FORMAT!r} with all of its fields and no other")
    used, sessions, roots = fields["used"], fields["sessions"], fields["roots"]
    if not isinstance(used, Mapping) or used.keys() != {"highest", "free"}:
        raise NotCanonical("a base whose used numbers are not highest and free")
    read = [_session(each) for each in _list(sessions)]
    if [each.name for each in read] != sorted({each.name for each in read}):
        raise NotCanonical("a base whose sessions are not sorted by name")
    base = Base(
        ledger=_text(fields["ledger"]),
        size=_count(fields["size"]),
        roots=tuple(_hash(each) for each in _list(roots)),
        prev=_hash(fields["prev"]),
        time=parse_timestamp(_text(fields["time"])),
        allowed_signers=_text(fields["allowed_signers"]) if "allowed_signers" in fields else None,
        highest=_count(used["highest"]),
        free=_ranges(used["free"]),
        sessions=tuple(read),
        archived=_count(fields["archived"]),
        run=_run(fields["run"]) if "run" in fields else None,
    )
    if not base.size or len(base.roots) != base.size.bit_count():
        raise NotCanonical(f"a base of {base.size} entries with {len(base.roots)} roots")
    return base


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return the same numbers in ascending ranges with gaps between them."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def _listed(ranges: Ranges) -> list[JSON]:
    return [[first, last] for first, last in ranges]


def _session(said: JSON) -> CarriedSession:
    if not isinstance(said, Mapping) or said.keys() != _OF_SESSION or not isinstance(said["opened"], Mapping):
        raise NotCanonical("a base with a session that has other fields than one has")
    return CarriedSession(
        name=_text(said["session"]),
        opened=said["opened"],
        held=_count(said["held"]),
        forwarded=_count(said["forwarded"]),
        refused=_count(said["refused"]),
        texts=_ranges(said["texts"]),
    )


def _run(said: JSON) -> CarriedRun:
    if not isinstance(said, Mapping) or said.keys() != _OF_RUN:
        raise NotCanonical("a base with a run that has other fields than one has")
    full, was_full = said["full"], said["was_full"]
    if not isinstance(full, bool) or not isinstance(was_full, bool):
        raise NotCanonical("a base with a run that does not say yes or no to a full disk")
    if not 1 <= _count(said["heartbeat_s"]) <= _MOST_S:
        raise NotCanonical(f"a base with a run that promised an entry each {said['heartbeat_s']} s: that is none")
    return CarriedRun(
        heartbeat_s=_count(said["heartbeat_s"]),
        began=_count(said["began"]),
        clock=parse_timestamp(_text(said["clock"])),
        up_ms=_count(said["up_ms"]),
        told_at=_count(said["told_at"]),
        full=full,
        was_full=was_full,
        silences=tuple(_pair(each) for each in _list(said["silences"])),
    )


def _pair(said: JSON) -> tuple[int, int]:
    pair = _list(said)
    if len(pair) != 2:
        raise NotCanonical(f"a base with {said!r:.60} where two numbers are expected")
    return _count(pair[0]), _count(pair[1])


def _ranges(said: JSON) -> Ranges:
    found = []
    for each in _list(said):
        first, last = _pair(each)
        if first > last:
            raise NotCanonical(f"a base with the range {first} to {last}")
        found.append((first, last))
    if tuple(found) != merged(found):
        raise NotCanonical("a base with ranges that touch or are out of order")
    return tuple(found)


def _list(said: JSON) -> Sequence[JSON]:
    if isinstance(said, str) or not isinstance(said, Sequence):
        raise NotCanonical(f"a base with {said!r:.60} where a list is expected")
    return said


def _text(said: JSON) -> str:
    if not isinstance(said, str):
        raise NotCanonical(f"a base with {said!r:.60} where a text is expected")
    return said


def _count(said: JSON) -> int:
    if type(said) is not int or said < 0:
        raise NotCanonical(f"a base with {said!r:.60} where a number from 0 is expected")
    return said


def _hash(said: JSON) -> bytes:
    text = _text(said)
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != HASH_BYTES or found.hex() != text:
        raise NotCanonical(f"a base with {text!r:.80} where 64 hexadecimal digits are expected")
    return found

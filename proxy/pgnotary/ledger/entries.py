"""What is written for ever: one entry, from a draft to its canonical bytes, and back.

A `Draft` says what happened; its place in the ledger (`Position`) and the commitments of its sealed values are added by
whoever appends it; canonical bytes leave. Sealed values never enter the bytes. Formats 1 and 2: what is written so must
be read so for ever. Format 2 has what format 1 lacks (quorum, break-glass, policy, signed withdrawals); an entry that
says nothing of that is of format 1.

An entry is one canonical JSON object of at most 65,535 bytes:

    v        "pgnotary/entry/1", or "pgnotary/entry/2"
    ledger   the ledger's name, the origin of its checkpoints
    seq      its place, from 0 without gaps
    prev     leaf hash of the entry before it, in hex; 64 zeros for the first
    time     when it was appended, UTC with microseconds; never before the entry before it
    type     one of `EntryType`
    session, request   where it belongs, if it does
    after    leaf hash of the entry before it in the life of the same request
    body     fields by type
    seals    name -> commitment of a value kept beside the entry, base64
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from pgnotary.errors import NotCanonical
from pgnotary.ledger.canonical import (
    JSON,
    MAX_ENTRY_BYTES,
    MAX_INT,
    b64,
    decode,
    is_key,
    parse_timestamp,
    read_as,
    timestamp,
    unb64,
    written,
)
from pgnotary.ledger.executions import Listed, ListedBody
from pgnotary.ledger.tree import HASH_BYTES, leaf_hash

__all__ = [
    "BREAK_GLASS",
    "FIRST_PREV",
    "FORMAT",
    "FORMAT_2",
    "Draft",
    "Entry",
    "EntryType",
    "Filed",
    "Position",
    "Receipt",
    "encode_entry",
    "parse_entry",
    "write_entry",
]

FORMAT = "pgnotary/entry/1"
FORMAT_2 = "pgnotary/entry/2"
# It was never promised to last.
_BEFORE = "pgnotary/entry/0"
FIRST_PREV = bytes(32)


class EntryType(StrEnum):
    """What an entry tells."""

    STARTED = "proxy-started"
    STOPPED = "proxy-stopped"
    HEARTBEAT = "heartbeat"
    """Nothing else was to be told, and the proxy lives: silence is signed, too."""
    FULL = "ledger-full"
    """The ledger's disk is full: nothing is forwarded, nor recorded, from here to the next entry."""
    ROSTER = "roster"
    """The approvers in force from here on: body.allowed_signers."""
    OPENED = "session-opened"
    CLOSED = "session-closed"
    FORWARDED = "forwarded"
    """Executions of statements that needed no decision, summed up."""
    REQUEST = "request"
    """A statement was held: all of its context."""
    PREVIEW = "preview"
    DECISION = "decision"
    """body.document (what was signed, base64), body.signature (SSHSIG)."""
    REJECTED = "decision-rejected"
    """A decision that did not count, and why."""
    WITHDRAWN = "withdrawn"
    """By its requester's signed call: body.document, body.signature (SSHSIG)."""
    EXPIRED = "expired"
    ORPHANED = "orphaned"
    VOID = "void"
    """Approved, but not executed after all; if its requester took it back at that moment, as `withdrawn`."""
    INTENT = "intent"
    """About to be sent: written before the first byte goes upstream."""
    EXECUTED = "executed"
    """PostgreSQL has answered; nothing is committed yet."""
    ENDING = "ending"
    """Transaction control over an approved statement, written before it is sent."""
    OUTCOME = "outcome"
    REDACTED = "redacted"
    """Sealed values of earlier entries and their salts were deleted: body.document, body.signature (SSHSIG)."""
    ARCHIVED = "archived"
    """The entries before one are in a folder of their own: see `pgnotary.ledger.archived`."""
    POLICY = "policy"
    """The rules in force from here on: body.policy, their digest."""
    REVIEWED = "reviewed"
    """Somebody else has looked at what was approved by breaking the glass: body.document, body.signature (SSHSIG)."""


BREAK_GLASS = "break-glass"
"""The answer of a decision that somebody has made alone, in an emergency."""

_TYPES_OF_2 = frozenset({EntryType.POLICY, EntryType.REVIEWED})
_FIELDS_OF_2: Mapping[EntryType, frozenset[str]] = {
    EntryType.REQUEST: frozenset({"quorum", "break_glass"}),
    EntryType.DECISION: frozenset({"lacks"}),
    EntryType.INTENT: frozenset({"approvals"}),
    EntryType.WITHDRAWN: frozenset({"document", "signature"}),
    EntryType.VOID: frozenset({"by", "person", "key", "document", "signature"}),
}


def _format(type_: EntryType, body: Mapping[str, JSON]) -> str:
    """Return the format of an entry: the first that has all that it says."""
    broken = type_ is EntryType.DECISION and body.get("answer") == BREAK_GLASS
    says_more = type_ in _TYPES_OF_2 or broken or not _FIELDS_OF_2.get(type_, frozenset()).isdisjoint(body)
    return FORMAT_2 if says_more else FORMAT


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry that has no place in the ledger yet."""

    type: EntryType
    body: Mapping[str, JSON] = field(default_factory=dict)
    session: str | None = None
    request: str | None = None
    after: bytes | None = None
    """Leaf hash (32 bytes) of the entry before it in the life of the same request."""
    sealed: Mapping[str, bytes] = field(default_factory=dict)
    """Values that are committed to, not written: statement text, error details, reasons."""


class Position(msgspec.Struct, frozen=True):
    """Where an entry stands."""

    ledger: str
    seq: int
    prev: bytes
    time: datetime


class Entry(msgspec.Struct, frozen=True):
    """An entry as it stands in a ledger."""

    position: Position
    type: EntryType
    body: Mapping[str, JSON]
    session: str | None
    request: str | None
    after: bytes | None
    seals: Mapping[str, bytes]
    """Name -> commitment, 32 bytes."""
    raw: bytes
    """The canonical bytes: what is hashed."""
    leaf: bytes
    """Its leaf hash, 32 bytes."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an appender gives back for a draft that is durable."""

    entry: Entry
    opened: Mapping[str, tuple[bytes, bytes]]
    """Name -> (salt, value) of each sealed value."""

    @property
    def leaf(self) -> bytes:
        """The entry's leaf hash."""
        return self.entry.leaf

    def filed(self) -> "Filed":
        """Return it as it is put by."""
        return Filed(self.entry.raw, self.opened)


@dataclass(frozen=True, slots=True)
class Filed:
    """A receipt put by until it is asked for: as bytes it takes a fifth of the memory, and each look reads it anew."""

    raw: bytes
    """The entry's canonical bytes."""
    opened: Mapping[str, tuple[bytes, bytes]]
    """As in the receipt."""

    @property
    def entry(self) -> Entry:
        """The entry."""
        return parse_entry(self.raw)

    @property
    def leaf(self) -> bytes:
        """The entry's leaf hash."""
        return leaf_hash(self.raw)


def write_entry(draft: Draft, position: Position, commitments: Mapping[str, bytes]) -> Entry:
    """Return the entry that a draft becomes, read back from its bytes: what cannot be read must not be written.

    Raises NotCanonical if a value does not fit or the entry is too large.
    """
    fields: dict[str, JSON] = {
        "v": _format(draft.type, draft.body),
        "ledger": position.ledger,
        "seq": position.seq,
        "prev": position.prev.hex(),
        "time": timestamp(position.time),
        "type": draft.type.value,
        "body": dict(draft.body),
    }
    if draft.session is not None:
        fields["session"] = draft.session
    if draft.request is not None:
        fields["request"] = draft.request
    if draft.after is not None:
        fields["after"] = draft.after.hex()
    if commitments:
        fields["seals"] = {name: b64(value) for name, value in commitments.items()}
    raw, read = written(fields)
    if len(raw) > MAX_ENTRY_BYTES:
        raise NotCanonical(f"an entry of type {draft.type} has {len(raw)} bytes; at most {MAX_ENTRY_BYTES} fit")
    return _entry(raw, read)


def encode_entry(draft: Draft, position: Position, commitments: Mapping[str, bytes]) -> bytes:
    """Return the bytes of the entry that a draft becomes; raises NotCanonical."""
    return write_entry(draft, position, commitments).raw


_REQUIRED = frozenset({"v", "ledger", "seq", "prev", "time", "type", "body"})
_KNOWN = _REQUIRED | {"session", "request", "after", "seals"}
_TYPES = {each.value: each for each in EntryType}


class _Forwarded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry that lists executions, as nearly all entries of a busy ledger do."""

    v: Literal["pgnotary/entry/1"]
    type: Literal["forwarded"]
    ledger: str
    session: str
    seq: Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]
    prev: str
    time: str
    body: ListedBody
    seals: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


_FORWARDED = msgspec.json.Decoder(_Forwarded)


def parse_entry(raw: bytes) -> Entry:
    """Read an entry's bytes; raises NotCanonical naming the field that is missing, unknown or not of its form."""
    # In half the time: to verify a ledger, and to write one, is to read these.
    if (listed := read_as(_FORWARDED, raw)) is not None and all(map(is_key, listed.seals or ())):
        return _listed(raw, listed)
    return _entry(raw, decode(raw))


def _listed(raw: bytes, fields: _Forwarded) -> Entry:
    return Entry(
        position=Position(fields.ledger, fields.seq, _hash("prev", fields.prev), parse_timestamp(fields.time)),
        type=EntryType.FORWARDED,
        body=Listed(fields.body),
        session=fields.session,
        request=None,
        after=None,
        seals={name: _commitment(name, text) for name, text in fields.seals.items()} if fields.seals else {},
        raw=raw,
        leaf=leaf_hash(raw),
    )


def _entry(raw: bytes, fields: Mapping[str, JSON]) -> Entry:
    if (found := fields.get("v")) not in (FORMAT, FORMAT_2):
        old = ": it is read by the version that wrote it, begin a new ledger with this one" if found == _BEFORE else ""
        raise NotCanonical(f"entry of format {found!r:.60}, expected {FORMAT!r} or {FORMAT_2!r}{old}")
    if not _REQUIRED <= fields.keys() <= _KNOWN:
        if missing := _REQUIRED - fields.keys():
            raise NotCanonical(f"entry lacks {', '.join(sorted(missing))}")
        raise NotCanonical(f"entry has unknown {', '.join(sorted(fields.keys() - _KNOWN))}")
    type_ = _TYPES.get(_text(fields, "type"))
    if type_ is None:
        raise NotCanonical(f"entry of unknown type {fields['type']!r}")
    body = _object(fields, "body")
    if found != (expected := _format(type_, body)):
        raise NotCanonical(f"entry of type {type_} and format {found!r}, but what it says is of {expected!r}")
    seq = fields["seq"]
    if type(seq) is not int or seq < 0:
        raise NotCanonical(f"entry with seq {seq!r}, expected a number from 0")
    return Entry(
        position=Position(
            _text(fields, "ledger"), seq, _hash("prev", _text(fields, "prev")), parse_timestamp(_text(fields, "time"))
        ),
        type=type_,
        body=body,
        session=_text(fields, "session") if "session" in fields else None,
        request=_text(fields, "request") if "request" in fields else None,
        after=_hash("after", _text(fields, "after")) if "after" in fields else None,
        seals={name: _commitment(name, value) for name, value in _object(fields, "seals").items()}
        if "seals" in fields
        else {},
        raw=raw,
        leaf=leaf_hash(raw),
    )


def _text(fields: Mapping[str, JSON], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise NotCanonical(f"entry with {name} {value!r}, expected a string")
    return value


def _hash(name: str, text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    # It takes upper case and spaces too.
    if len(found) != HASH_BYTES or found.hex() != text:
        raise NotCanonical(f"entry with {name} {text!r}, expected 64 hexadecimal digits")
    return found


def _commitment(name: str, value: JSON) -> bytes:
    found = unb64(value) if isinstance(value, str) else b""
    if len(found) != HASH_BYTES:
        raise NotCanonical(f"entry with the seal {name!r:.60} that is no commitment: expected 32 bytes in base64")
    return found


def _object(fields: Mapping[str, JSON], name: str) -> Mapping[str, JSON]:
    value = fields[name]
    if not isinstance(value, Mapping):
        raise NotCanonical(f"entry with {name} that is not an object")
    return value

"""Heads that somebody remembers, a line each: what an approver's command keeps and an auditor's `verify --heads` reads.

A text enters, heads leave whose signatures have been checked, or BadCheckpoint naming the line; heads enter, a text
leaves. A line is canonical JSON:

    v        "pgnotary/head/1"
    key      the verifier key that the note was checked with, and that it is checked with again
    note     the signed checkpoint, a C2SP note
    seen_at  when it was newest, by the clock of the machine that remembers it

So files of several machines can be joined with `cat`. Whether the heads agree with a ledger is not known here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pgnotary.errors import BadCheckpoint, NotCanonical
from pgnotary.ledger.canonical import decode, encode, parse_timestamp, timestamp
from pgnotary.ledger.checkpoint import Checkpoint, parse_vkey, verify

__all__ = ["HEAD_FORMAT", "MAX_HEADS_BYTES", "Remembered", "heads_text", "read_heads", "remembered"]

HEAD_FORMAT = "pgnotary/head/1"

# About ten thousand ledgers, or one ledger on ten thousand machines.
MAX_HEADS_BYTES = 4 << 20

_FIELDS = {"v", "key", "note", "seen_at"}


@dataclass(frozen=True, slots=True)
class Remembered:
    """A head whose signature was good."""

    key: str
    """The verifier key, as `NoteKey.text` writes it."""
    note: str
    seen_at: datetime
    checkpoint: Checkpoint
    """What the note says."""

    @property
    def line(self) -> str:
        """Its line, with its end."""
        fields = {"v": HEAD_FORMAT, "key": self.key, "note": self.note, "seen_at": timestamp(self.seen_at)}
        return encode(fields).decode() + "\n"


def remembered(note: str, key: str, seen_at: datetime) -> Remembered:
    """Return the head in a note that the key has signed; raises BadCheckpoint."""
    return Remembered(parse_vkey(key).text, note, seen_at, verify(note, key))


def heads_text(heads: Iterable[Remembered]) -> str:
    """Return the text of a file with these heads."""
    return "".join(each.line for each in heads)


def read_heads(text: bytes) -> list[Remembered]:
    """Return the heads in a file; raises BadCheckpoint for whatever is not one, naming its line."""
    if len(text) > MAX_HEADS_BYTES:
        raise BadCheckpoint(f"more than {MAX_HEADS_BYTES} bytes of remembered heads")
    *lines, rest = text.split(b"\n")
    if rest:
        raise BadCheckpoint(f"line {len(lines) + 1} has no end: the file was cut")
    return [_read(number, line) for number, line in enumerate(lines, 1)]


def _read(number: int, line: bytes) -> Remembered:
    try:
        fields = decode(line)
        if fields.keys() != _FIELDS or fields["v"] != HEAD_FORMAT:
            raise NotCanonical(f"not {HEAD_FORMAT} with key, note and seen_at")
        key, note, seen_at = (fields[name] for name in ("key", "note", "seen_at"))
        if not (isinstance(key, str) and isinstance(note, str) and isinstance(seen_at, str)):
            raise NotCanonical("key, note or seen_at is no text")
        return remembered(note, key, parse_timestamp(seen_at))
    except (NotCanonical, BadCheckpoint) as error:
        raise BadCheckpoint(f"line {number} is no remembered head: {error}") from error

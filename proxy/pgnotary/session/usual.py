"""The usual bytes: one chunk that is exactly what runs one text, or exactly the whole answer to that.

A chunk enters as the network gave it; what stands in it leaves, or None if it is anything else, or if anything about it
would need a second look. Messages are found by their lengths, and no object is made of any of them. Only the portal
without a name is usual: it needs no Close.

Source: PostgreSQL 18, "Message Formats"; libpq sends a batch as one chunk, and so do the drivers.
"""

from struct import Struct

import msgspec

from pgnotary.wire.frames import HEADER_BYTES
from pgnotary.wire.messages import SYNC, command_tag, execute

__all__ = ["QUERY_ANSWER", "Execution", "execution", "query", "tag"]

_length = Struct("!i").unpack_from
_count = Struct("!H").unpack_from
_header = Struct("!Bi").unpack_from
_DATA_ROW, _COMPLETE = b"DC"
_READY = b"Z\0\0\0\5I"
_MAX_TAG_BYTES = HEADER_BYTES + len("SELECT ") + 15 + 1
"""Of more rows a ledger cannot tell."""

QUERY_ANSWER = b"TC"
_EXECUTED = execute(b"") + SYNC
_TAILS = {_EXECUTED: b"2C", b"D\0\0\0\6P\0" + _EXECUTED: b"2TC"}


class Execution(msgspec.Struct, frozen=True):
    """A batch up to its Sync that binds and executes one statement, once and to its end."""

    statement: bytes
    """Its name."""
    answer: bytes
    """The types of the messages that usually answer it, but for the rows."""
    text: bytes | None = None
    """What the batch prepares under the name before; None if it prepares nothing."""
    typed: bool = False
    """The Parse names types."""


def query(data: bytes) -> bytes | None:
    """Return the text of a chunk that is one Query."""
    last = len(data) - 1
    if last < HEADER_BYTES or data[0] != 0x51 or _length(data, 1)[0] != last or data.find(0, HEADER_BYTES) != last:
        return None
    return data[HEADER_BYTES:-1]


def execution(data: bytes) -> Execution | None:
    """Return what a chunk executes that is [Parse] Bind [Describe] Execute Sync."""
    if data[:1] == b"B":
        return _bound(data, 0)
    if data[:1] != b"P" or len(data) <= HEADER_BYTES:
        return None
    end = 1 + _length(data, 1)[0]
    name_end = data.find(0, HEADER_BYTES, end)
    text_end = data.find(0, name_end + 1, end)
    if name_end < 0 or text_end < 0 or text_end + 3 > end or end > len(data):
        return None
    (types,) = _count(data, text_end + 1)
    bound = _bound(data, end) if end == text_end + 3 + 4 * types else None
    name = data[HEADER_BYTES:name_end]
    if bound is None or bound.statement != name:
        return None
    return Execution(name, b"1" + bound.answer, data[name_end + 1 : text_end], types > 0)


def _bound(data: bytes, at: int) -> Execution | None:
    """Return what a chunk executes whose Bind begins there."""
    name_at = at + HEADER_BYTES + 1
    if len(data) <= name_at or data[at] != 0x42 or data[name_at - 1]:
        return None
    end = at + 1 + _length(data, at + 1)[0]
    # A negative length would count from the end of the chunk.
    if end <= name_at or (name_end := data.find(0, name_at, end)) < 0:
        return None
    answer = _TAILS.get(data[end:])
    return None if answer is None else Execution(data[name_at:name_end], answer)


def tag(data: bytes, answer: bytes) -> str | None:
    """Return the command tag in a chunk that is a whole answer: messages of these types, rows, and `ready, idle`."""
    if not data.endswith(_READY):
        return None
    at, last, place, places, found = 0, len(data) - len(_READY), 0, len(answer), None
    while at < last:
        kind, length = _header(data, at)
        after = at + 1 + length
        if length < 4 or after > last:
            return None
        if kind != _DATA_ROW:
            if place == places or kind != answer[place]:
                return None
            place += 1
            if kind == _COMPLETE:
                if after - at > _MAX_TAG_BYTES:
                    return None
                found = command_tag(data[at + HEADER_BYTES : after])
        at = after
    return found if place == places else None

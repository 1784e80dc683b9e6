"""Cuts a stream of bytes into whole messages, by offsets, without decoding them.

Chunks of bytes enter, in whatever pieces the network made of them; `Frame`s leave, each a whole message with its type,
its body and its original bytes. If they are wanted in runs, one Frame holds what has come of rows or COPY data; but
for the length of the runs the result never depends on where the chunks were cut. COPY data that is longer than we read
leaves in pieces, each a message of its own: where one ends means nothing to PostgreSQL. A length that PostgreSQL itself
would refuse is refused from the length word alone, before anything is buffered; a type we do not know ends the stream.

Source: PostgreSQL 18, "Message Formats"; limits from SocketBackend() in src/backend/tcop/postgres.c and libpq/pqcomm.h.
"""

from collections.abc import Iterator, Mapping
from struct import Struct
from types import MappingProxyType

import msgspec

from pgnotary.errors import ClientProtocolError, TooLarge, UpstreamProtocolError

__all__ = ["HEADER_BYTES", "Frame", "FrameCutter", "backend_frames", "frontend_frames"]

HEADER_BYTES = 5
_LENGTH = Struct("!i")
_HEADER = Struct("!Bi")

# PQ_SMALL_MESSAGE_LIMIT, PQ_LARGE_MESSAGE_LIMIT, PG_MAX_AUTH_TOKEN_LENGTH: the highest length word that the server
# accepts for each type, and the word counts itself. Its own messages are as long as the large limit without the word.
_SMALL = 10_000
_LARGE = 0x3FFF_FFFE
_PASSWORD = 65_535
_FROM_SERVER = _LARGE + 4


class Frame(msgspec.Struct, frozen=True):
    """One whole message, or a run of `count` messages of one type."""

    type: bytes
    """The type byte, e.g. b"Q"."""
    raw: bytes
    """The message as it came, header included: what is forwarded."""
    count: int = 1
    """More than 1 only for DataRow of the server and CopyData of either side."""

    @property
    def body(self) -> bytes:
        """What follows the header of its only message."""
        return self.raw[HEADER_BYTES:]

    def bodies(self) -> Iterator[bytes]:
        """Yield what follows each header."""
        start = 0
        while start < len(self.raw):
            end = start + 1 + _LENGTH.unpack_from(self.raw, start + 1)[0]
            yield self.raw[start + HEADER_BYTES : end]
            start = end


class FrameCutter:
    """Cuts one direction of one connection; feed it chunks, take the frames.

    Raises the direction's protocol error on a length or a type that it cannot accept. After that the stream is lost.
    """

    def __init__(
        self,
        limits: Mapping[int, int],
        fault: type[Exception],
        cap: int = _FROM_SERVER,
        caps: Mapping[int, int] = MappingProxyType({}),
        runs: bytes = b"",
        pieces: bytes = b"",
    ) -> None:
        """`runs`: the types whose messages need not leave one by one; `pieces`: those that may leave in pieces."""
        self._limits = limits
        self._fault = fault
        self._cap = cap
        self._caps = caps
        self._runs = runs
        self._pieces = pieces
        self._buffer = bytearray()
        self._lost = False

    @property
    def pending_bytes(self) -> int:
        """How many bytes wait for the rest of their message."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Yield each message that `chunk` completes, in order; what is whole in it is cut where it lies.

        All of them must be taken: who stops in between, or was told of an error, has lost the stream.
        """
        if self._lost:
            raise self._fault("the rest of this stream was given up")
        start, size = 0, len(chunk)
        self._lost = True
        try:
            while start < size:
                if self._buffer:
                    taken = chunk[start : start + self._wanted()]
                    start += len(taken)
                    self._buffer += taken
                    if not self._wanted():
                        yield self._put_together()
                    continue
                if size - start < HEADER_BYTES:
                    break
                end = start + 1 + self._length(chunk, start)
                if end > size or end - start - HEADER_BYTES > self._cap:
                    self._buffer += chunk[start : start + HEADER_BYTES]
                    start += HEADER_BYTES
                    continue
                count = 1
                if chunk[start] in self._runs:
                    end, count = self._run(chunk, start, end)
                raw = chunk[start:end]
                start = end
                yield Frame(raw[:1], raw, count)
            self._lost = False
        finally:
            self._buffer += chunk[start:]

    def _wanted(self) -> int:
        """Return how many bytes are missing of the message that has come in part; of its header first."""
        found = len(self._buffer)
        if found < HEADER_BYTES:
            return HEADER_BYTES - found
        whole = 1 + self._length(self._buffer, 0)
        return (min(whole, HEADER_BYTES + self._cap) if self._buffer[0] in self._pieces else whole) - found

    def _put_together(self) -> Frame:
        """Return the message that has come in parts, or as much of it as we read, as a message of its own."""
        raw = bytes(self._buffer)
        self._buffer.clear()
        rest = 1 + self._length(raw, 0) - len(raw)
        if rest:
            raw = _HEADER.pack(raw[0], len(raw) - 1) + raw[HEADER_BYTES:]
            self._buffer += _HEADER.pack(raw[0], rest + 4)
        return Frame(raw[:1], raw)

    def _run(self, chunk: bytes, start: int, end: int) -> tuple[int, int]:
        """Return where the run that begins with the message from `start` to `end` ends, and of how many it is.

        It ends before whatever is not whole and in order; an object for each of a million rows would cost more than all
        else that is done with them.
        """
        size, kind, unpack, count = len(chunk), chunk[start], _HEADER.unpack_from, 1
        if size > self._cap:
            return end, count  # One of them may be longer than we read.
        last = size - HEADER_BYTES
        while end <= last:
            found, length = unpack(chunk, end)
            after = end + 1 + length
            if found != kind or after > size or length < 4:
                break
            end = after
            count += 1
        return end, count

    def _length(self, data: bytes | bytearray, start: int) -> int:
        kind = data[start]
        (length,) = _LENGTH.unpack_from(data, start + 1)
        limit = self._limits.get(kind)
        if limit is None:
            raise self._fault(f"unknown message type {bytes([kind])!r}: expected one of PostgreSQL protocol 3.0")
        if not 4 <= length <= limit:
            raise self._fault(f"invalid length {length} of message {chr(kind)!r}: expected 4 to {limit}")
        cap = self._caps.get(kind, self._cap)
        if length - 4 > cap and kind not in self._pieces:
            raise TooLarge(f"message {chr(kind)!r} of {length - 4} bytes is longer than the {cap} that pgnotary reads")
        return int(length)


_FRONTEND = {ord(kind): _SMALL for kind in "CDEHSXcf"} | {ord(kind): _LARGE for kind in "QPBFd"} | {ord("p"): _PASSWORD}
_BACKEND = {ord(kind): _FROM_SERVER for kind in "RKSNAETDCIZtnsGHWcdV123v"}


def frontend_frames(cap_bytes: int, *, bind_bytes: int = 0, runs: bool = False) -> FrameCutter:
    """Return a cutter for what clients send; `cap_bytes` bounds the body of any one message (TooLarge beyond).

    `bind_bytes` bounds that of a Bind instead, if it is more. With `runs`, COPY data need not come one by one, nor
    whole.
    """
    copied = b"d" if runs else b""
    caps = {ord("B"): bind_bytes} if bind_bytes else {}
    return FrameCutter(_FRONTEND, ClientProtocolError, cap_bytes, caps, runs=copied, pieces=copied)


def backend_frames(*, runs: bool = False) -> FrameCutter:
    """Return a cutter for what PostgreSQL sends; with `runs`, rows and COPY data need not come one by one."""
    return FrameCutter(_BACKEND, UpstreamProtocolError, runs=b"Dd" if runs else b"")

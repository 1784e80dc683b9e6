"""Readers in processes of their own: large and deep texts are read there, never on the event loop.

A text enters `Workers.read`, a Statement leaves, whatever the text does to its reader: if it takes too long, too much
memory, or its life, the text comes out as one part of class `unknown` that says so, and is held. Few read at once; the
others wait in order, not long and not many. `Readings` keeps what was read until its session asks for the verdict, and
is the only way by which the loop reads anything: nothing that `needs_worker` names is ever parsed there.
"""

import asyncio
import logging
import socket
from collections import OrderedDict
from contextvars import copy_context
from types import TracebackType
from typing import Self

import msgspec

from pgnotary.judge.gate import needs_worker
from pgnotary.judge.reading import read
from pgnotary.judge.second import ON_THE_LOOP, bounds
from pgnotary.judge.statement import Finding, Part, Qualifier, Statement, StatementClass
from pgnotary.serve.nursery import LENGTH_BYTES, MAX_ANSWER_BYTES, Limits, Nursery, Read, read_with_time

__all__ = ["Readings", "Workers", "is_unread"]

# Reading is all processor: two of them leave most machines some for the loop.
_READERS = 2

_MAX_WAITING = 64
_MAX_WAIT_S = 2.0

# Beyond a reader's own timer, for a nursery that does not move.
_GRACE_S = 1.0

_MAX_REMEMBERED_BYTES = 16 << 20

_decoder = msgspec.msgpack.Decoder(tuple[Part, ...])
_log = logging.getLogger(__name__)


class Workers:
    """The readers of one proxy.

    Make them before the event loop runs and before there are threads; they end with the context, or with the proxy.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        readers: int = _READERS,
        max_waiting: int = _MAX_WAITING,
        max_wait_s: float = _MAX_WAIT_S,
        read: Read = read_with_time,
    ) -> None:
        self._limits = limits or Limits()
        self._nursery = Nursery(self._limits, read)
        self._free: asyncio.Queue[int] = asyncio.Queue()
        for slot in range(readers):
            self._free.put_nowait(slot)
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._waiting = 0

    @property
    def pid(self) -> int:
        """The process whose children the readers are."""
        return self._nursery.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all readers and wait, some milliseconds, until they are gone; what is being read comes out unread."""
        self._nursery.close()

    async def read(self, text: bytes) -> Statement:
        """Return what a text says, or that it could not be read; raises nothing but CancelledError."""
        if self._waiting == self._max_waiting:
            return _unread(text, f"was not read: as many as may wait for a reader already do: {self._waiting}")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._max_wait_s):
                slot = await self._free.get()
        except TimeoutError:
            return _unread(text, f"was not read: no reader was free within {_seconds(self._max_wait_s)}")
        finally:
            self._waiting -= 1
        try:
            return await self._read_in(slot, text)
        finally:
            self._nursery.end(slot)
            self._free.put_nowait(slot)

    async def _read_in(self, slot: int, text: bytes) -> Statement:
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            async with asyncio.timeout(self._limits.wall_s + _GRACE_S):
                return Statement(text, await self._ask(slot, text))
        except TimeoutError:
            _log.error("the nursery of readers does not answer", extra={"nursery": self.pid})
        except OSError as error:
            _log.error("no reader for a text", extra={"nursery": self.pid, "error": str(error)})
            return _unread(text, "was not read: no reader could be started, pgnotary has to be started again")
        except (EOFError, msgspec.MsgspecError, RecursionError) as error:
            _log.warning("a reader has died", extra={"bytes": len(text), "error": type(error).__name__})
            if clock() - started < self._limits.processor_s:
                return _unread(text, "was not read: its reader died of it")
        return _unread(text, f"took longer to read than {_seconds(self._limits.processor_s)}")

    async def _ask(self, slot: int, text: bytes) -> tuple[Part, ...]:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self._nursery.lend(slot, theirs)
            ours.settimeout(0)
            try:
                await loop.sock_sendall(ours, len(text).to_bytes(LENGTH_BYTES) + text)
                size = int.from_bytes(await _receive(ours, LENGTH_BYTES))
                if size > MAX_ANSWER_BYTES:
                    raise EOFError(f"the answer has {size} bytes, more than {MAX_ANSWER_BYTES}")
                return _decoder.decode(await _receive(ours, size))
            except (BrokenPipeError, ConnectionResetError) as error:
                raise EOFError("the reader is gone") from error


async def _receive(reader: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    received = bytearray()
    while len(received) < size:
        chunk = await loop.sock_recv(reader, size - len(received))
        if not chunk:
            raise EOFError("the reader is gone")
        received += chunk
    return bytes(received)


def _seconds(seconds: float) -> str:
    return f"{round(seconds * 1000)} ms"


def _unread(text: bytes, why: str) -> Statement:
    finding = Finding(Qualifier.UNREAD, f"the text {why}", "gate")
    return Statement(text, (Part(StatementClass.UNKNOWN, "", 0, len(text), (finding,)),))


def is_unread(statement: Statement) -> bool:
    """Say whether nobody has read the text, for whatever reason."""
    return any(not part.node and Qualifier.UNREAD in part.qualifiers for part in statement.parts)


class Readings:
    """What texts say, under any catalog and policy: read on the loop, or by a worker and remembered."""

    def __init__(self, max_bytes: int = _MAX_REMEMBERED_BYTES) -> None:
        self._remembered: OrderedDict[bytes, Statement] = OrderedDict()
        self._max_bytes = max_bytes
        self._bytes = 0

    def ready(self, text: bytes) -> bool:
        """Say whether `read` answers at once; otherwise a worker has to read the text first."""
        return text in self._remembered or not needs_worker(text)

    def remember(self, text: bytes, statement: Statement) -> None:
        """Keep what a worker has read; the text that was not asked for longest is forgotten first."""
        self._forget(text)
        self._remembered[text] = statement
        self._bytes += len(text)
        while self._bytes > self._max_bytes and len(self._remembered) > 1:
            self._forget(next(iter(self._remembered)))

    def read(self, text: bytes) -> Statement:
        """Return what a text says; raises InvalidText if it is not UTF-8, LookupError if it is not ready.

        What a worker could not read is told once: the next time it may be able to.
        """
        if (found := self._remembered.get(text)) is not None:
            self._remembered.move_to_end(text)
            if is_unread(found):
                self._forget(text)
            return found
        if needs_worker(text):
            raise LookupError(f"a text of {len(text)} bytes was to be read on the event loop")
        here = copy_context()
        here.run(bounds.set, ON_THE_LOOP)
        return here.run(read, text)

    def _forget(self, text: bytes) -> None:
        if self._remembered.pop(text, None) is not None:
            self._bytes -= len(text)

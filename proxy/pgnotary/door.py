"""A door to the network for HTTP: who may come in at all, for how long, and with how many bytes.

Accepted sockets enter; each carries one call, over TLS if there is a certificate, and is closed. Too many from one
address, or altogether, are closed before any byte of theirs is read and before a handshake is paid for. Who is slow to
say what they want is cut off, and so is who says too much: nobody holds a place longer than a call takes.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from pgnotary.bucket import Bucket
from pgnotary.errors import ConfigError
from pgnotary.ports import accepting, bind
from pgnotary.rates import Rates, network_of

__all__ = ["CALL_S", "HEAD_S", "MAX_CALL_BYTES", "MAX_CONNECTIONS", "Call", "Door", "Listening", "http_log"]

log = logging.getLogger(__name__)


class _Ours(logging.Filter):
    """Keeps out what callers do wrong: aiohttp writes a traceback for each, up to 16 KB of whatever somebody sent."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError | ConnectionError)


http_log = logging.getLogger("pgnotary.http")
"""Where aiohttp tells of a call that failed by a fault of ours: no caller can fill a disk with it."""
http_log.addFilter(_Ours())

# From the end of the handshake to the end of the headers, and from there to the end of the answer.
HEAD_S = 10.0
CALL_S = 60.0
_HANDSHAKE_S = 10.0
_GOODBYE_S = 5.0
MAX_CONNECTIONS = 256
"""At once, unless a configuration says otherwise."""
# A call's headers and its body.
MAX_CALL_BYTES = 32_768 + 65_536
# Connections are cheaper than calls, and may be as many more: who calls too often shall be told so.
_PER_CALL = 2
_AT_ONCE = 3
# Of all addresses together, which bounds what handshakes take from those whose statements pass through here.
_ALL_PER_S = 200.0


@dataclass(frozen=True, slots=True)
class Listening:
    """Where HTTP is spoken, and how much of it is taken."""

    key: str
    """In the configuration, for error messages."""
    host: str
    port: int
    certificate: Callable[[], ssl.SSLContext | None]
    """What to show to a connection that comes now; None: plain HTTP, on loopback."""
    max_connections: int = MAX_CONNECTIONS
    max_connections_per_address: int = 32
    calls_per_s: float = 20.0


class Door:
    """Counts who is inside."""

    def __init__(self, listening: Listening, monotonic: Callable[[], float]) -> None:
        self._listening = listening
        self._inside: Counter[str] = Counter()
        self._calls: dict[asyncio.BaseProtocol, Call] = {}
        """By aiohttp's protocol."""
        per_s = listening.calls_per_s * _PER_CALL
        self._rates = Rates(max(int(per_s * _AT_ONCE), 1), per_s, monotonic)
        self._all = Bucket(int(_ALL_PER_S * _AT_ONCE), _ALL_PER_S, monotonic)
        self.refused = 0
        """How many connections were closed at once, ever."""

    @contextlib.asynccontextmanager
    async def open(self, server: Callable[[], web.RequestHandler]) -> AsyncIterator[tuple[str, int]]:
        """Let calls in until left; yields the address that was bound. Raises ConfigError if it cannot be."""
        host, port = self._listening.host, self._listening.port
        try:
            listeners = await bind(host, port)
        except OSError as error:
            raise ConfigError(
                f"{self._listening.key}: cannot listen at {host} port {port}: {error.strerror or error}; "
                "stop what listens there, or choose another port"
            ) from error
        bound = listeners[0].getsockname()
        async with asyncio.TaskGroup() as tasks:
            entering: set[asyncio.Task[None]] = set()

            def accept(plug: socket.socket) -> None:
                task = tasks.create_task(self._enter(plug, server), name="caller")
                entering.add(task)
                task.add_done_callback(entering.discard)

            async with accepting(listeners, accept):
                try:
                    yield bound[0], bound[1]
                finally:
                    for task in list(entering):
                        task.cancel()

    def called(self, protocol: asyncio.BaseProtocol, limit_s: float | None = CALL_S) -> None:
        """Note that the headers of a call are complete; its answer may take so long. Not for calls by the socket."""
        if (call := self._calls.get(protocol)) is not None:
            call.limit(limit_s)

    async def _enter(self, plug: socket.socket, server: Callable[[], web.RequestHandler]) -> None:
        """Bring one connection in, or close it; raises nothing."""
        loop = asyncio.get_running_loop()
        try:
            address = network_of(str(plug.getpeername()[0]))
        except OSError:
            plug.close()
            return
        crowded = self._inside.total() >= self._listening.max_connections
        crowded = crowded or self._inside[address] >= self._listening.max_connections_per_address
        if crowded or not self._rates.take(address) or not self._all.take():
            self.refused += 1
            plug.close()
            return
        self._inside[address] += 1
        inner = server()
        call = self._calls[inner] = Call(inner, lambda: self._leave(inner, address))
        tls = self._listening.certificate()
        try:
            if tls is None:
                await loop.connect_accepted_socket(lambda: call, plug)
            else:
                await loop.connect_accepted_socket(
                    lambda: call,
                    plug,
                    ssl=tls,
                    ssl_handshake_timeout=_HANDSHAKE_S,
                    ssl_shutdown_timeout=_GOODBYE_S,
                )
        except OSError as error:
            log.debug("TLS handshake of a caller failed", extra={"client": address, "why": str(error)})
            call.leave()
        except BaseException:
            call.leave()
            raise

    def _leave(self, inner: asyncio.BaseProtocol, address: str) -> None:
        if self._calls.pop(inner, None) is not None:
            self._inside[address] -= 1
            if not self._inside[address]:
                del self._inside[address]


class Call(asyncio.Protocol):
    """One connection with one call: passes everything on to aiohttp, within limits, and tells of its end."""

    def __init__(self, inner: web.RequestHandler, leave: Callable[[], None]) -> None:
        self._inner = inner
        self.leave = leave
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._bytes = 0

    def limit(self, limit_s: float | None) -> None:
        """End the connection after so long, instead of the limit before; None: it may last."""
        if self._timer is not None:
            self._timer.cancel()
        if limit_s is not None:
            self._timer = asyncio.get_running_loop().call_later(limit_s, self._abort)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self.limit(HEAD_S)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._bytes += len(data)
        if self._bytes > MAX_CALL_BYTES:
            self._abort()
        else:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """No more will come: aiohttp answers what it has, and closes."""
        self._inner.eof_received()
        return None

    def pause_writing(self) -> None:
        """Who is at the other end does not read."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """They read again."""
        self._inner.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """It has ended."""
        self.limit(None)
        self._inner.connection_lost(exc)
        self.leave()

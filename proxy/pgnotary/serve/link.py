"""One connection, over TCP or a Unix socket, the same for both legs: first it is read, then it speaks.

During the login a coroutine asks for exactly the bytes it needs (`read_exactly`, `read_frame`); what came beyond them
stays in a bounded buffer and is looked at by nobody. `attach` then hands the buffer, and from there on everything that
happens, to a `Receiver`, in the order it happened. A byte is never lost, doubled or interpreted between the two phases,
the end of the peer's stream does not close our half, and what we cannot write at once is bounded by whoever heeds
`write_blocked`.

`start_tls` turns it into an encrypted one, between two reads of the login: what came before in plain text is never read
as if it had come encrypted, because it refuses to start if there is any, and what comes later goes into the handshake.
TLS has no half-open connections: there the end of the peer's stream is the end of both.

Sources: asyncio, "Transports and Protocols"; tcp(7) for the socket options.
"""

import asyncio
import contextlib
import socket
import ssl
from typing import Protocol, cast

from pgnotary.wire.frames import HEADER_BYTES, Frame, FrameCutter

__all__ = ["HIGH_WATER_BYTES", "LOGIN_BUFFER_BYTES", "Link", "Receiver"]

# What may wait to be written before we stop reading on the other side; asyncio's own default.
HIGH_WATER_BYTES = 64 * 1024
# More than the longest start-up packet (10,004 bytes): what a peer may send ahead before we stop reading it.
LOGIN_BUFFER_BYTES = 16 * 1024

# A dead peer is noticed within two minutes; the kernel alone would wait two hours, and NATs forget much sooner.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
_USER_TIMEOUT = {"TCP_USER_TIMEOUT": 120_000}
_NO_DELAY = {"TCP_NODELAY": 1}


class Receiver(Protocol):
    """Who takes over a link after the login. Called from the event loop, one call at a time."""

    def data(self, chunk: bytes) -> None:
        """Take the next bytes, cut wherever the network cut them; an exception ends the connection."""

    def eof(self) -> None:
        """Learn that the peer will send nothing more; our half stays open until we close it."""

    def lost(self, error: Exception | None) -> None:
        """Learn that the connection is gone, both ways; None if we closed it ourselves. Nothing follows."""

    def writable(self, *, ready: bool) -> None:
        """Learn that writing should pause (False) because the peer reads too slowly, or may go on (True)."""


class Link(asyncio.Protocol):
    """One connection to a client or to PostgreSQL. Exactly one owner reads, writes and closes it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._receiver: Receiver | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._wanted = 0
        self._eof = False
        self._lost = False
        self._error: Exception | None = None
        self._paused = False
        self._write_blocked = False
        self.peer = "unknown"
        """Who is at the other end: `address:port`, `unix`, or `unknown` if they had gone before we looked."""

    @property
    def address(self) -> str:
        """Where the other end is, without the port: what they cannot change as they like."""
        return self.peer.rpartition(":")[0] or self.peer

    @property
    def tls(self) -> ssl.SSLObject | None:
        """What the handshake has agreed on; None in plain text."""
        # uvloop's transports have it even in plain text, and it is None there.
        found: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        return found

    @property
    def buffered_bytes(self) -> int:
        """How many bytes came that nobody has asked for yet; 0 once a receiver is attached."""
        return len(self._buffer)

    @property
    def write_blocked(self) -> bool:
        """Whether more than HIGH_WATER_BYTES wait to be written: read no more of what would be written here."""
        return self._write_blocked

    async def read_exactly(self, count: int) -> bytes:
        """Return the next `count` bytes; only before `attach`.

        Raises ConnectionResetError if the peer ends before them. Cancelled, it has consumed nothing.
        """
        while len(self._buffer) < count:
            if self._eof or self._lost:
                raise ConnectionResetError(f"the peer left after {len(self._buffer)} of {count} bytes") from self._error
            self._wanted = count
            self.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
                self._wanted = 0
        wanted = bytes(self._buffer[:count])
        del self._buffer[:count]
        return wanted

    async def read_frame(self, cutter: FrameCutter) -> Frame:
        """Return the next typed message, whole and not a byte more; only before `attach`.

        `cutter` refuses unknown types and lengths from the header alone, so its limits bound what is buffered here.
        """
        header = await self.read_exactly(HEADER_BYTES)
        frames = list(cutter.feed(header))
        if not frames:
            rest = int.from_bytes(header[1:], "big") + 1 - HEADER_BYTES
            frames = list(cutter.feed(await self.read_exactly(rest)))
        return frames[0]

    async def start_tls(self, context: ssl.SSLContext, *, server_hostname: str | None = None) -> None:
        """Do the handshake, as the client if there is a `server_hostname`; only before `attach`, and once.

        `buffered_bytes` must be 0, and the caller must not have waited since it saw that. Raises ssl.SSLError or
        another OSError if the handshake fails; then, as after cancellation, the connection is gone.
        """
        if self._buffer:
            raise ValueError(f"{len(self._buffer)} bytes came before TLS was to start")
        plain, self._paused = self._transport, False
        try:
            encrypted = await asyncio.get_running_loop().start_tls(
                plain, self, context, server_side=server_hostname is None, server_hostname=server_hostname
            )
        except BaseException as error:
            plain.abort()
            # uvloop tells nobody of the end of a connection that was lost before its handshake.
            self._lost = True
            if isinstance(error, UnicodeDecodeError):
                raise ConnectionResetError("a name in the certificate of the peer is no text") from error
            raise
        if encrypted is None:
            raise ConnectionResetError("the peer left during the TLS handshake")
        self._transport = encrypted
        encrypted.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        if self._paused:
            # A flood that came right behind the handshake has paused the transport beneath.
            plain.resume_reading()
            encrypted.pause_reading()

    def attach(self, receiver: Receiver) -> None:
        """Hand over to `receiver`, first all that has happened and it has not seen, before this returns."""
        self.resume_reading()
        self._receiver = receiver
        chunk = bytes(self._buffer)
        self._buffer.clear()
        if chunk:
            receiver.data(chunk)
        if self._write_blocked:
            receiver.writable(ready=False)
        if self._eof:
            receiver.eof()
        if self._lost:
            receiver.lost(self._error)

    def write(self, data: bytes) -> None:
        """Send, or queue what the peer does not take yet; after the end of the connection it does nothing."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Take no more bytes from the network; the peer feels it once the kernel's buffers are full."""
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes from the network again."""
        if self._paused and not self._ended:
            self._paused = False
            self._transport.resume_reading()

    @property
    def gone_already(self) -> bool:
        """Whether the peer will send nothing more, or the connection is lost."""
        return self._eof or self._lost

    def close(self, patience_s: float | None = None) -> None:
        """Send what is queued, then close; what is not closed by then is aborted after `patience_s`.

        Over TLS the peer is asked to close, too, and who never answers would keep a descriptor for half a minute.
        """
        if patience_s is not None and not self._lost:
            asyncio.get_running_loop().call_later(patience_s, self._abort_if_there)
        # Closed once more, the TLS transport of Python 3.11.2 forgets what it stands for, and cannot be aborted either.
        if not self._transport.is_closing():
            self._transport.close()

    async def gone(self, patience_s: float) -> None:
        """Wait until the connection that was closed is gone; abort it after that long. Only before `attach`.

        Over TLS the peer is asked to close, too, and one that never answers would keep its file descriptor for half a
        minute.
        """
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    while not self._lost:
                        self._waiter = asyncio.get_running_loop().create_future()
                        await self._waiter
        finally:
            self._waiter = None
            if not self._lost:
                self.abort()

    def _abort_if_there(self) -> None:
        if not self._lost:
            self.abort()

    def abort(self) -> None:
        """Close at once; what is queued is dropped."""
        self._transport.abort()

    @property
    def _ended(self) -> bool:
        # Resumed after the end of the stream, asyncio would read that end once more.
        return self._eof or self._lost or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        # Now, since a TLS transport that has lost its connection knows neither.
        self.peer = _peer(transport)
        # macOS refuses options for a peer that has gone already; then `connection_lost` comes next.
        with contextlib.suppress(OSError):
            _tune(self._transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._receiver is not None:
            self._receiver.data(data)
            return
        self._buffer += data
        if len(self._buffer) >= max(self._wanted, LOGIN_BUFFER_BYTES):
            self.pause_reading()
        if self._wanted and len(self._buffer) >= self._wanted:
            self._wake()

    def eof_received(self) -> bool:
        """Called by asyncio; keeps our half open, if there are halves."""
        self._eof = True
        self._wake()
        if self._receiver is not None:
            self._receiver.eof()
        return self.tls is None

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._lost = True
        self._error = exc
        self._wake()
        if self._receiver is not None:
            self._receiver.lost(exc)

    def pause_writing(self) -> None:
        """Called by asyncio."""
        self._write_blocked = True
        if self._receiver is not None:
            self._receiver.writable(ready=False)

    def resume_writing(self) -> None:
        """Called by asyncio."""
        self._write_blocked = False
        if self._receiver is not None:
            self._receiver.writable(ready=True)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _peer(transport: asyncio.BaseTransport) -> str:
    if transport.get_extra_info("socket").family == socket.AF_UNIX:
        return "unix"
    name = transport.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if name else "unknown"


def _tune(plug: socket.socket) -> None:
    if plug.family not in (socket.AF_INET, socket.AF_INET6):
        return
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Linux has TCP_KEEPIDLE for what macOS calls TCP_KEEPALIVE, and only Linux has TCP_USER_TIMEOUT.
    for name, value in (_KEEPALIVE | _USER_TIMEOUT | _NO_DELAY).items():
        option = getattr(socket, name, None)
        if option is not None:
            plug.setsockopt(socket.IPPROTO_TCP, option, value)

"""Where clients arrive: for each connection the first look that tells TLS from plain text.

An accepted socket enters, a `Link` leaves. With TLS configured, the first byte is looked at and left where
it is: 0x16 begins a handshake (PostgreSQL 17's sslnegotiation=direct), which counts only if it has agreed on ALPN
`postgresql`, so that what was meant for a server of another protocol is never read as ours. What fails here is told to
the log, not to the client: nobody knows yet whether it speaks our protocol.

The event loop's own server is of no use here: by the time that it shows a connection it may have read from it (uvloop
does, even if `connection_made` pauses it), and a handshake cannot be given back what was read.

Sources: PostgreSQL 18, "SSL Session Encryption"; ProcessSSLStartup() in src/backend/tcop/backend_startup.c.
"""

import asyncio
import contextlib
import logging
import socket
import ssl

from pgnotary.serve.link import Link
from pgnotary.serve.tls import ALPN, ServerTls

__all__ = ["arrive", "encrypt"]

log = logging.getLogger(__name__)

# ContentType.handshake: RFC 8446, section 5.1. No start-up packet begins with it, it would be of 369 MB.
_HANDSHAKE = b"\x16"


async def arrive(plug: socket.socket, tls: ServerTls | None, *, deadline_s: float) -> Link:
    """Return the link of an accepted connection, encrypted if it began with a handshake.

    Raises OSError, and the connection is closed, if it leaves, waits longer than `deadline_s`, or its handshake fails.
    """
    loop = asyncio.get_running_loop()
    peer = _named(plug)
    # Not taken from what is returned: with `ssl`, uvloop 0.22 returns a protocol of its own instead.
    link = Link()
    try:
        async with asyncio.timeout(deadline_s):
            if tls is None or await _first_byte(plug) != _HANDSHAKE:
                await loop.connect_accepted_socket(lambda: link, plug)
                return link
            # From here on the loop alone closes the socket: when we would, its number may be another connection's.
            await loop.connect_accepted_socket(lambda: link, plug, ssl=tls.context)
    except TimeoutError as error:
        raise ConnectionAbortedError("nothing came in time") from error
    except ssl.SSLError as error:
        raise _failed(peer, error) from error
    agreed = link.tls.selected_alpn_protocol() if link.tls else None
    if agreed != ALPN:
        link.abort()
        raise _failed(peer, f"direct TLS has to agree on ALPN {ALPN!r}, and the client did not offer it")
    return link


async def encrypt(link: Link, tls: ServerTls) -> None:
    """Answer an SSLRequest and do the handshake; nothing may have come behind it. Raises OSError if that fails."""
    peer = link.peer
    link.write(b"S")
    try:
        await link.start_tls(tls.context)
    except ssl.SSLError as error:
        raise _failed(peer, error) from error


def _failed(peer: str, why: object) -> ConnectionAbortedError:
    log.info("TLS handshake failed", extra={"client": peer, "why": str(why)})
    return ConnectionAbortedError(f"TLS handshake failed: {why}")


async def _first_byte(plug: socket.socket) -> bytes:
    """Return the first byte without taking it; b"" if none will come. After an error the socket is closed."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as opened:
        opened.enter_context(plug)
        while True:
            with contextlib.suppress(BlockingIOError):
                first = plug.recv(1, socket.MSG_PEEK)
                opened.pop_all()
                return first
            readable = loop.create_future()
            loop.add_reader(plug, _resolve, readable)
            try:
                await readable
            finally:
                loop.remove_reader(plug)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _named(plug: socket.socket) -> str:
    try:
        host, port, *_ = plug.getpeername()
    except OSError:
        return "unknown"
    return f"{host}:{port}"

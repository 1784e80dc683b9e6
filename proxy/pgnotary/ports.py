"""Ports to listen at: an address enters, sockets leave, and each connection as it comes.

Sockets, not servers of the event loop: who accepts by hand may look at a connection, or refuse it, before any byte of
it is read.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence

__all__ = ["accepting", "bind"]

log = logging.getLogger(__name__)

_BACKLOG = 100
# Out of file descriptors, asyncio's own server waits as long before it accepts again.
_ACCEPT_RETRY_S = 1.0


async def bind(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen at each address of `host`; raises OSError, and leaves none open then."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as opened:
        listeners = [
            opened.enter_context(socket.create_server(address[:2], family=family, backlog=_BACKLOG))
            for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found)
        ]
        opened.pop_all()
    for listener in listeners:
        listener.settimeout(0)
    return listeners


@contextlib.asynccontextmanager
async def accepting(
    listeners: Sequence[socket.socket], accept: Callable[[socket.socket], object]
) -> AsyncIterator[None]:
    """Hand each connection to `accept`, which owns it; at the end the listeners are closed."""
    with contextlib.ExitStack() as opened:
        for listener in listeners:
            opened.enter_context(listener)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(_accept(listener, accept), name="accept") for listener in listeners]
            try:
                yield
            finally:
                for task in running:
                    task.cancel()


async def _accept(listener: socket.socket, accept: Callable[[socket.socket], object]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            plug, _ = await loop.sock_accept(listener)
        except ConnectionError:
            # It left while it waited to be accepted.
            continue
        except OSError as error:
            log.warning("no connection can be accepted: %s", error)
            await asyncio.sleep(_ACCEPT_RETRY_S)
            continue
        accept(plug)

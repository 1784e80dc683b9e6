"""The approval API's place in the file system: a Unix socket that its owner and group may use, and nobody else.

A path enters, a bound socket leaves, and who serves at it. What a dead process left behind is removed; a socket that
somebody listens at, or a file that is no socket, is never touched. No user fills the places of all others, and those
of root and of whom the proxy runs as are never filled by others at all.
"""

import asyncio
import errno
import os
import socket
import stat
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import cast

from aiohttp import web

from pgnotary.door import Call
from pgnotary.errors import ConfigError

__all__ = ["MAX_EACH", "MAX_LOCAL", "MAX_OTHERS", "SOCKET_MODE", "Site", "bind", "identity", "remove", "user_of"]

SOCKET_MODE = 0o660
MAX_LOCAL = 128
"""Connections at once: each takes a file descriptor that a client could have."""
MAX_OTHERS = 96
"""Of these, by users who are neither root nor whom the proxy runs as: those can stop it anyway."""
MAX_EACH = 32
"""Of these, by one user."""
# What Linux says of who has connected: process, user and group (unix(7), SO_PEERCRED).
_PEER = struct.Struct("iII")
_ROOT = 0


class Site(web.BaseSite):
    """Serves at a socket that is bound already, so many at once, each of whom says in time what they want."""

    def __init__(self, runner: web.AppRunner, bound: socket.socket) -> None:
        super().__init__(runner)
        self._bound = bound
        self._inside: Counter[int] = Counter()
        """By user."""
        self._calls: dict[asyncio.BaseProtocol, Call] = {}
        """By aiohttp's protocol."""
        self._trusted = frozenset({_ROOT, os.geteuid()})

    @property
    def name(self) -> str:
        """Its address, for people."""
        return f"unix:{self._bound.getsockname()}"

    async def start(self) -> None:
        """Listen."""
        await super().start()
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner is not set up")

        def enter(transport: asyncio.Transport) -> None:
            user = user_of(transport.get_extra_info("socket"))
            if not self._has_room_for(user):
                transport.close()
                return
            self._inside[user] += 1
            inner = server()
            call = self._calls[inner] = Call(inner, lambda: self._leave(inner, user))
            transport.set_protocol(call)
            call.connection_made(transport)

        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Entering(enter), sock=self._bound, backlog=self._backlog)

    def called(self, protocol: asyncio.BaseProtocol) -> None:
        """Note that the headers of a call are complete; its answer may take its time. Not for calls by the network."""
        if (call := self._calls.get(protocol)) is not None:
            call.limit(None)

    def _has_room_for(self, user: int) -> bool:
        if self._inside.total() >= MAX_LOCAL:
            return False
        others = sum(inside for each, inside in self._inside.items() if each not in self._trusted)
        return user in self._trusted or (others < MAX_OTHERS and self._inside[user] < MAX_EACH)

    def _leave(self, inner: asyncio.BaseProtocol, user: int) -> None:
        del self._calls[inner]
        self._inside[user] -= 1
        if not self._inside[user]:
            del self._inside[user]


class _Entering(asyncio.Protocol):
    """A connection of which it is not known yet whose it is."""

    def __init__(self, enter: Callable[[asyncio.Transport], None]) -> None:
        self._enter = enter

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bring it in, or close it."""
        # uvloop's transports do not inherit from asyncio's.
        self._enter(cast("asyncio.Transport", transport))


def user_of(plug: socket.socket) -> int:
    """Return whose process has connected; where the kernel does not tell, it is one of ours."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.geteuid()
    _, user, _ = _PEER.unpack(plug.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(user)


def bind(path: Path) -> socket.socket:
    """Return a socket bound to `path`, not yet listening; raises ConfigError."""
    _clear(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        # Before anybody listens: until then every connection is refused, whatever the umask made of the mode.
        path.chmod(SOCKET_MODE)
    except OSError as error:
        bound.close()
        raise ConfigError(f"approval.socket: cannot listen at {path}: {error}") from error
    return bound


def identity(path: Path) -> tuple[int, int]:
    """Return what tells the file at `path` from one that replaces it: device and inode."""
    found = path.lstat()
    return found.st_dev, found.st_ino


def remove(path: Path, made: tuple[int, int]) -> None:
    """Remove the socket at `path` if it is still the one that was made."""
    try:
        if identity(path) == made:
            path.unlink()
    except FileNotFoundError:
        pass


def _clear(path: Path) -> None:
    """Make `path` free, if what is there is the socket of a dead process."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"approval.socket: cannot look at {path}: {error}") from error
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"approval.socket: {path} exists and is not a socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        found = probe.connect_ex(str(path))
    if found == errno.ECONNREFUSED:
        path.unlink(missing_ok=True)
    elif found != errno.ENOENT:
        said = "" if found == 0 else f" ({os.strerror(found)})"
        raise ConfigError(f"approval.socket: another process listens at {path}{said}; stop it or choose another path")

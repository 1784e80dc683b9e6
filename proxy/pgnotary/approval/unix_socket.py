"""The approval API's place in the file system: a Unix socket that its owner and group may use, and nobody else.

A path enters, a bound socket leaves, and who serves at it. What a dead process left behind is removed; a socket that
somebody listens at, or a file that is no socket, is never touched.
"""

import asyncio
import errno
import os
import socket
import stat
from pathlib import Path

from aiohttp import web

from pgnotary.door import Through
from pgnotary.errors import ConfigError

__all__ = ["MAX_LOCAL", "SOCKET_MODE", "Site", "bind", "identity", "remove"]

SOCKET_MODE = 0o660
MAX_LOCAL = 128
"""Connections at once: each takes a file descriptor that a client could have."""


class Site(web.BaseSite):
    """Serves at a socket that is bound already, so many at once."""

    def __init__(self, runner: web.AppRunner, bound: socket.socket) -> None:
        super().__init__(runner)
        self._bound = bound
        self._inside = 0

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

        def entering() -> asyncio.Protocol:
            if self._inside >= MAX_LOCAL:
                return _OneTooMany()
            self._inside += 1
            return Through(server(), self._leave)

        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(entering, sock=self._bound, backlog=self._backlog)

    def _leave(self) -> None:
        self._inside -= 1


class _OneTooMany(asyncio.Protocol):
    """A connection that is closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()


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

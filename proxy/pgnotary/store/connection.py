"""aiosqlite's connection, and a whole piece of work done in its thread in one turn.

A function of the plain connection enters, what it returns leaves. Each call through aiosqlite crosses to the thread and
back, which takes longer than most statements of SQLite: a transaction of eight of them would wait eight times.
"""

import sqlite3
from collections.abc import Callable
from typing import TypeVar

import aiosqlite

__all__ = ["Connection", "connected"]

_T = TypeVar("_T")


class Connection(aiosqlite.Connection):
    """As aiosqlite's; made by `connected`."""

    async def run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Return what `work` returns, called in the connection's thread: it must keep to what it was given.

        Whoever is cancelled only stops waiting: the work is done all the same.
        """
        done: _T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        return done


async def connected(uri: str, timeout_s: float) -> Connection:
    """Open the file behind an URI, in autocommit mode; `timeout_s` is how long a foreign lock is waited for."""
    opened = Connection(lambda: sqlite3.connect(uri, uri=True, isolation_level=None, timeout=timeout_s), 64)
    await opened
    return opened

"""What sessions of the server itself notice of what others do meanwhile: their latencies, and what is locked.

Work enters that is to be done again and again; a `Beside` leaves. The sessions ask with a pause between, as people and
programs do; without one, a small machine would have nothing left for the work.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import psycopg

__all__ = ["Beside", "Connection", "Others", "Work", "opened", "strongest"]

_PAUSE_S = 0.002
_LOOK_S = 0.02
_LOCKS = """
SELECT DISTINCT l.relation::regclass::text, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND l.pid <> ALL (%s)
"""
# The weakest first: https://www.postgresql.org/docs/current/explicit-locking.html
_MODES = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)

Connection = psycopg.AsyncConnection[tuple[object, ...]]
Work = Callable[[], Awaitable[object]]


async def opened(stack: AsyncExitStack, where: str) -> Connection:
    """Return a connection that sends simple queries, outside of blocks, as psql does."""
    cursor = psycopg.AsyncClientCursor
    connection = await psycopg.AsyncConnection.connect(where, autocommit=True, cursor_factory=cursor)
    stack.push_async_callback(connection.close)
    return connection


@dataclass(frozen=True, slots=True)
class Beside:
    """What was noticed."""

    selects: Sequence[float]
    """What SELECT 1 took each time, in milliseconds, sorted."""
    updates: Sequence[float]
    """The same of an UPDATE of one row."""
    done: int
    """How often the work was done meanwhile."""
    locks: frozenset[tuple[str, str]]
    """The tables that were locked by anybody else, with the mode."""


class Others:
    """Three sessions: one selects, one updates rows of `table` by its `id`, one looks at what is locked."""

    def __init__(self, selecting: Connection, updating: Connection, looking: Connection, table: str, rows: int) -> None:
        self._selecting = selecting
        self._updating = updating
        self._looking = looking
        self._table = table
        self._rows = rows
        # The same rows in each run.
        self._random = random.Random(1)
        self._ours = [each.info.backend_pid for each in (selecting, updating, looking)]

    async def beside(self, seconds: float, work: Sequence[Work] = ()) -> Beside:
        """Return what they notice while each piece of work is done again and again, all pieces at once."""
        deadline = time.monotonic() + seconds
        async with asyncio.TaskGroup() as tasks:
            working = [tasks.create_task(_again(deadline, each)) for each in work]
            selects = tasks.create_task(_timed(deadline, self._selecting, lambda: "SELECT 1"))
            updates = tasks.create_task(_timed(deadline, self._updating, self._update))
            locks = tasks.create_task(self._locks(deadline))
        done = sum(each.result() for each in working)
        return Beside(selects.result(), updates.result(), done, locks.result())

    def _update(self) -> str:
        return f"UPDATE {self._table} SET status = 'paid' WHERE id = {self._random.randint(1, self._rows)}"

    async def _locks(self, deadline: float) -> frozenset[tuple[str, str]]:
        found = set[tuple[str, str]]()
        while time.monotonic() < deadline:
            cursor = await self._looking.execute(_LOCKS, [self._ours])
            found |= {(str(table), str(mode)) for table, mode in await cursor.fetchall()}
            await asyncio.sleep(_LOOK_S)
        return frozenset(found)


async def _timed(deadline: float, connection: Connection, text: Callable[[], str]) -> list[float]:
    found = []
    while time.monotonic() < deadline:
        sent = text().encode()
        started = time.perf_counter()
        await connection.execute(sent)
        found.append((time.perf_counter() - started) * 1e3)
        await asyncio.sleep(_PAUSE_S)
    return sorted(found)


async def _again(deadline: float, work: Work) -> int:
    done = 0
    while time.monotonic() < deadline:
        await work()
        done += 1
    return done


def strongest(locks: frozenset[tuple[str, str]]) -> str:
    """Return the strongest mode of each table in words."""
    found = dict(sorted(locks, key=lambda each: _MODES.index(each[1])))
    return ", ".join(f"{mode} on {table}" for table, mode in sorted(found.items())) or "none"

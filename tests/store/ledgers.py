"""What the tests of this folder write, and into which ledger.

`append_for_ever` is for a process of its own: it appends until it is killed, and says what is durable.
"""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from nacl.signing import SigningKey

from pgnotary.ledger.checkpoint import vkey
from pgnotary.ledger.entries import Draft, EntryType, Receipt
from pgnotary.request.life import Move, State
from pgnotary.store import Append, Store
from pgnotary.store.appender import Appender
from pgnotary.store.sqlite import SqliteStore

LEDGER = "ledger.example.com/prod"
SEED = bytes(range(32))
VKEY = vkey(LEDGER, bytes(SigningKey(SEED).verify_key))
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def noon() -> datetime:
    return NOON


@asynccontextmanager
async def opened(path: Path, *, now: Callable[[], datetime] = noon) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path, LEDGER, SEED, now=now)
    try:
        yield store
    finally:
        await store.close()


async def one(store: Store, *group: Append) -> list[Receipt]:
    """Append one group; its receipts, or its error raised."""
    [result] = await store.append([group])
    if isinstance(result, Exception):
        raise result
    return result


def note(n: int = 0) -> Append:
    return Append(Draft(EntryType.FORWARDED, {"n": n}, session="S-1"))


def held(request: str) -> Append:
    draft = Draft(EntryType.REQUEST, {"kind": "delete"}, "S-1", request, None, {"statement": b"delete from t"})
    return Append(draft, Move(request, None, State.HELD))


def step(type_: EntryType, request: str, after: bytes, of: State, to: State) -> Append:
    return Append(Draft(type_, request=request, after=after), Move(request, of, to))


def edited(path: Path, *statements: str) -> None:
    """What somebody with a database editor does to a closed ledger."""
    db = sqlite3.connect(path, isolation_level=None)
    for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        db.execute(statement)
    db.close()


def append_for_ever(path: Path, said: Path) -> None:
    """Append groups of three, eight at a time, and write place and leaf of each entry to a file once it is durable."""
    with said.open("a", buffering=1) as file:
        asyncio.run(_endless(path, file))


async def _endless(path: Path, said: TextIO) -> None:
    async with opened(path) as store, Appender(store) as appender, asyncio.TaskGroup() as tasks:
        numbers = iter(range(await store.last_request_number() + 1, sys.maxsize))

        async def append() -> None:
            while True:
                n = next(numbers)
                for receipt in await appender.append(note(n), held(f"R-{n}"), note(n)):
                    said.write(f"{receipt.entry.position.seq} {receipt.leaf.hex()}\n")

        for _ in range(8):
            tasks.create_task(append())

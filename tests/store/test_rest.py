"""The WAL is emptied while nobody waits, within a COMMIT only where it grew without a pause, and stays bounded."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.check import check_ledger
from tests.store.ledgers import VKEY, note, one, opened

from pgnotary.errors import LedgerUnavailable
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.store import Append
from pgnotary.store.appender import Appender

# What the WAL holds when a COMMIT copies it: 4,096 frames of a page and 24 bytes.
FULL_WAL = 4096 * (4096 + 24)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def settled(path: Path) -> int:
    """How many entries are in the main file: whoever opens it so does not look into the WAL; -1 while it is written."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as db:
        try:
            return int(db.execute("SELECT count(*) FROM entry").fetchone()[0])
        except sqlite3.DatabaseError:
            return -1


def wal(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def large() -> Append:
    return Append(Draft(EntryType.FORWARDED, {}, "S-1", sealed={"t1": bytes(300_000)}))


async def test_a_commit_leaves_the_wal_to_a_quiet_moment(path: Path) -> None:
    async with opened(path) as store, Appender(store, probe_every_s=0.02) as appender:
        # More than SQLite's own limit of 1,000 pages.
        for _ in range(20):
            await appender.append(large())
        assert settled(path) < 20
        assert 1_000 * 4_096 < wal(path) < FULL_WAL
        while settled(path) < 20:
            await asyncio.sleep(0.01)
    assert len(check_ledger(path, VKEY)) == 20


async def test_a_wal_that_nobody_gives_a_moment_is_emptied_by_a_commit(path: Path) -> None:
    async with opened(path) as store:
        for _ in range(120):
            await one(store, large())
        assert settled(path) > 40
        # It begins anew once it is copied; the last COMMIT before may have gone beyond.
        assert wal(path) < FULL_WAL + 400_000


async def test_a_reader_keeps_back_what_is_settled_and_breaks_nothing(path: Path) -> None:
    async with opened(path) as store:
        await one(store, note())
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM entry").fetchone() == (1,)
            await one(store, note())
            await store.rest()
            assert settled(path) < 2
            await one(store, note())
        await store.rest()
        assert settled(path) == 3
    check_ledger(path, VKEY)


async def test_a_closed_store_does_not_rest(path: Path) -> None:
    async with opened(path) as store:
        pass
    with pytest.raises(LedgerUnavailable, match="closed"):
        await store.rest()

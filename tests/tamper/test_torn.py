"""A storage that keeps only a part of what was durable: the WAL cut anywhere, or with one bit flipped.

SQLite takes what is left of it for the whole, so the ledger is a good one that ends with an earlier batch. Nothing in
the file can tell; a head that somebody remembers does.
"""

import random
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.verify.builder import LEDGER, PROXY_SEED, VKEY

from pgnotary.audit.check import check
from pgnotary.errors import LedgerBroken
from pgnotary.ledger.checkpoint import Checkpoint, verify
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.store import Append
from pgnotary.store.reader import SqliteReader
from pgnotary.store.sqlite import SqliteStore

BATCH, BATCHES = 3, 8


@pytest.fixture
async def living(tmp_path: Path) -> Path:
    """The files of a store that is open, its newest batches in the WAL alone."""
    path = tmp_path / "ledger.db"
    store = await SqliteStore.open(path, LEDGER, PROXY_SEED, now=lambda: datetime(2026, 11, 20, tzinfo=UTC))
    body = {"version": "0.1", "profile": "default", "policy": "ab", "config": "cd"}
    for _ in range(BATCHES):
        await store.append([[Append(Draft(EntryType.STARTED, body)) for _ in range(BATCH)]])
    (tmp_path / "kept").mkdir()
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", tmp_path / "kept" / f"ledger.db{end}")
    (tmp_path / "head").write_text(store.checkpoint())
    await store.close()
    return tmp_path / "kept" / "ledger.db"


def left(kept: Path, wal: bytes, head: Checkpoint) -> int:
    """Verify what is left with another WAL; how many entries that are, all good but for the head."""
    folder = kept.parent.parent / "torn"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(kept, folder / "ledger.db")
    (folder / "ledger.db-wal").write_bytes(wal)
    with SqliteReader(folder / "ledger.db") as reader:
        size = check(reader, VKEY).entries
        if size == head.size:
            assert check(reader, VKEY, heads=[head]).witnessed == size
            return size
        with pytest.raises(LedgerBroken) as broken:
            check(reader, VKEY, heads=[head])
    [fault] = broken.value.faults
    assert fault.startswith(f"#{size} and what follows is missing: a remembered head covers {head.size}")
    return size


def test_a_wal_that_was_cut_or_changed_leaves_whole_batches_and_a_head_tells_what_is_missing(living: Path) -> None:
    wal = living.with_name("ledger.db-wal").read_bytes()
    head = verify((living.parent.parent / "head").read_text(), VKEY)
    assert head.size == BATCH * BATCHES
    assert left(living, wal, head) == head.size
    rng, sizes = random.Random(15), set()
    # The first frames make the tables; without those there is no ledger at all.
    for _ in range(12):
        sizes.add(left(living, wal[: rng.randrange(len(wal) // 3, len(wal))], head))
        changed = bytearray(wal)
        changed[rng.randrange(len(wal) // 3, len(wal))] ^= 1 << rng.randrange(8)
        sizes.add(left(living, bytes(changed), head))
    assert all(size % BATCH == 0 for size in sizes)
    assert len(sizes) > 3

"""The mark that is kept elsewhere: what extends it, what contradicts it, and what is written when."""

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.store.ledgers import LEDGER, SEED, VKEY, note, one, opened

from pgnotary.errors import ConfigError
from pgnotary.ledger.checkpoint import Checkpoint, sign, verify
from pgnotary.store.high_water import HighWater, Keeper, contradiction
from pgnotary.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def mark(tmp_path: Path) -> HighWater:
    (tmp_path / "elsewhere").mkdir()
    return HighWater(tmp_path / "elsewhere" / "mark", VKEY)


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(path) as store:
        for n in range(3):
            await one(store, note(n))
        yield store


async def why(mark: HighWater, store: SqliteStore) -> str | None:
    found = await contradiction(mark.read(), store)
    return found.why if found else None


async def test_a_ledger_that_extends_its_mark_is_good(store: SqliteStore, mark: HighWater) -> None:
    mark.write(store.checkpoint())
    assert await why(mark, store) is None
    await one(store, note())
    assert await why(mark, store) is None
    assert mark.read() == verify(mark.path.read_text(), VKEY)


async def test_a_ledger_restored_from_an_older_copy_is_shorter_than_its_mark(
    path: Path, mark: HighWater, tmp_path: Path
) -> None:
    async with opened(path) as store:
        await one(store, note())
    shutil.copy(path, tmp_path / "copy.db")
    async with opened(path) as store:
        await one(store, note())
        mark.write(store.checkpoint())
    async with opened(tmp_path / "copy.db") as store:
        found = await contradiction(mark.read(), store)
    assert found is not None
    assert "has 1 entries, its high-water mark says that 2 were signed" in found.message
    assert dict(found.fields)["why"] == "shorter"
    assert dict(found.fields)["size"] == 2


async def test_a_ledger_that_was_restored_and_grew_has_another_history(
    store: SqliteStore, mark: HighWater, tmp_path: Path
) -> None:
    async with opened(tmp_path / "other.db") as other:
        await one(other, note(99))
        mark.write(other.checkpoint())
    assert await why(mark, store) == "other-history"


async def test_a_mark_that_is_missing_matters_only_to_a_ledger_with_entries(
    store: SqliteStore, mark: HighWater, tmp_path: Path
) -> None:
    assert await why(mark, store) == "missing"
    async with opened(tmp_path / "new.db") as new:
        assert await why(mark, new) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"garbage\n",
        b"x" * 200_000,
        sign(Checkpoint(LEDGER, 1, bytes(32)), LEDGER, bytes(32)).encode(),
        sign(Checkpoint(LEDGER, 1, bytes(32)), LEDGER, SEED).encode()[:-20],
        sign(Checkpoint(LEDGER, 1, bytes(32)), LEDGER, SEED).replace("\n1\n", "\n0\n").encode(),
    ],
    ids=["empty", "bytes", "text", "endless", "another key", "cut", "changed"],
)
def test_what_is_no_mark_is_never_written_over(mark: HighWater, content: bytes) -> None:
    mark.path.write_bytes(content)
    with pytest.raises(ConfigError, match="is not a checkpoint under this ledger's key"):
        mark.read()


def test_another_ledgers_mark_is_never_taken(mark: HighWater) -> None:
    other = "ledger.example.com/other"
    mark.write(sign(Checkpoint(other, 9, bytes(32)), other, SEED))
    with pytest.raises(ConfigError, match=r"is of the ledger 'ledger\.example\.com/other'"):
        mark.read()


def test_what_cannot_be_read_is_said(mark: HighWater) -> None:
    mark.path.mkdir()
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory: expected a file"):
        mark.read()


def test_a_volume_that_is_not_mounted_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no folder: make it, or mount it"):
        HighWater(tmp_path / "not" / "mounted", VKEY).read()


async def test_the_mark_is_never_ahead_of_what_is_durable(path: Path, mark: HighWater) -> None:
    async with opened(path) as store:
        keeper = Keeper(mark, store)
        for n in range(20):
            await one(store, note(n))
            await keeper.keep()
            kept = mark.read()
            assert isinstance(kept, Checkpoint)
            # A second look at the file, as after a power cut.
            copy = path.with_name(f"{n}.db")
            for end in ("", "-wal"):
                shutil.copy(f"{path}{end}", f"{copy}{end}")
            async with opened(copy) as found:
                assert await contradiction(kept, found) is None


async def test_it_is_written_as_often_as_it_changes_and_no_more(
    store: SqliteStore, mark: HighWater, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(HighWater, "write", lambda self, note: written.append(note))
    keeper = Keeper(mark, store)
    for _ in range(3):
        await keeper.keep()
    assert written == [store.checkpoint()]


async def test_a_volume_that_is_gone_is_told_once_and_tried_again(
    store: SqliteStore, mark: HighWater, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper(mark, store, every_s=0.001)
    gone = mark.path.parent.with_name("gone")
    mark.path.parent.rename(gone)
    with caplog.at_level(logging.WARNING):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keeper.run())
            while not caplog.messages:
                await asyncio.sleep(0.002)
            await asyncio.sleep(0.01)
            gone.rename(mark.path.parent)
            while len(caplog.messages) < 2:
                await asyncio.sleep(0.002)
            keeper.stop()
    assert caplog.messages == ["the high-water mark cannot be written", "the high-water mark is written again"]
    assert await why(mark, store) is None


async def test_a_link_to_another_volume_stays_a_link(store: SqliteStore, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    link = tmp_path / "mark"
    link.symlink_to(tmp_path / "volume" / "mark")
    HighWater(link, VKEY).write(store.checkpoint())
    assert link.is_symlink()
    assert (tmp_path / "volume" / "mark").stat().st_mode & 0o777 == 0o600


async def test_a_write_that_is_killed_leaves_the_mark_before_it(
    store: SqliteStore, mark: HighWater, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark.write(store.checkpoint())
    before = mark.path.read_bytes()
    await one(store, note())
    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, _killed)
            with pytest.raises(KeyboardInterrupt):
                mark.write(store.checkpoint())
        assert mark.path.read_bytes() == before
        assert await why(mark, store) is None


def _killed(*_: object) -> None:
    raise KeyboardInterrupt

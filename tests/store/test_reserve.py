"""A disk that is full: that it was is recorded, and nothing else until there is room again."""

import asyncio
import errno
import os
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
from tests.check import check_ledger
from tests.store.ledgers import LEDGER, SEED, VKEY, noon, note
from tests.store.statements import surround

from pgnotary.errors import LedgerFull, LedgerUnavailable
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.store import Append
from pgnotary.store.appender import Appender
from pgnotary.store.reserve import Reserve
from pgnotary.store.sqlite import SqliteStore

_T = TypeVar("_T")

SIZE = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def reserve_of(path: Path, size: int = SIZE) -> Reserve:
    return Reserve(path.with_name("ledger.db.reserve"), size)


async def opened(path: Path, size: int = SIZE) -> SqliteStore:
    return await SqliteStore.open(path, LEDGER, SEED, now=noon, reserve=reserve_of(path, size))


def types(path: Path) -> list[str]:
    return [entry["type"] for entry in check_ledger(path, VKEY)]


class Disk:
    """A disk that is full for as many of SQLite's COMMITs as it is told, and for the reserve."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = 0
        self.reserve_full = False
        fallocate = os.posix_fallocate

        def meet(asked: str, call: Callable[[], _T]) -> _T:
            if self.full and asked == "COMMIT":
                self.full -= 1
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorname = "SQLITE_FULL"
                raise error
            return call()

        def _fallocate(file: int, at: int, size: int) -> None:
            fallocate(file, at, size)
            if self.reserve_full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        surround(monkeypatch, meet)
        monkeypatch.setattr(os, "posix_fallocate", _fallocate)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_the_room_is_really_taken_and_given_back(path: Path) -> None:
    reserve = reserve_of(path)
    file = path.with_name("ledger.db.reserve")
    reserve.make()
    reserve.make()
    found = file.stat()
    assert (found.st_size, stat.S_IMODE(found.st_mode)) == (SIZE, 0o600)
    assert found.st_blocks * 512 >= SIZE
    assert reserve.release()
    assert not file.exists()
    assert not reserve.release()


def test_what_cannot_be_taken_in_whole_is_not_taken(path: Path, disk: Disk) -> None:
    disk.reserve_full = True
    with pytest.raises(OSError, match="No space left"):
        reserve_of(path).make()
    assert list(path.parent.iterdir()) == []


def test_a_disk_without_room_behind_the_reserve_is_still_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.statvfs(path.parent)
    few = os.statvfs_result((*found[:3], 0, 0, *found[5:]))
    monkeypatch.setattr(os, "statvfs", lambda path: few)
    with pytest.raises(OSError, match="No space left"):
        reserve_of(path).make()
    assert list(path.parent.iterdir()) == []


async def test_a_full_disk_is_recorded_once_and_nothing_else_until_there_is_room_again(path: Path, disk: Disk) -> None:
    store = await opened(path)
    seen: list[str] = []
    told: list[str] = []
    try:
        async with Appender(store, probe_every_s=0.005) as appender:
            appender.watch(lambda down: seen.append("down" if down else "back"))
            appender.follow(lambda receipts: told.extend(receipt.entry.type.value for receipt in receipts))
            await appender.append(note())
            # The second COMMIT has the room that was released.
            disk.full, disk.reserve_full = 1, True
            with pytest.raises(LedgerFull, match="disk is full"):
                await appender.append(note())
            while len(told) < 2:
                await _turn()
            with pytest.raises(LedgerUnavailable):
                await appender.append(note())
            assert types(path) == told == ["forwarded", "ledger-full"]
            assert not path.with_name("ledger.db.reserve").exists()
            disk.reserve_full = False
            while appender.down:
                await _turn()
            await appender.append(note())
    finally:
        await store.close()
    assert types(path) == ["forwarded", "ledger-full", "forwarded"]
    assert check_ledger(path)[1]["body"] == {
        "why": "the ledger cannot be written: database or disk is full (SQLITE_FULL)"
    }
    # Twice down, for two reasons.
    assert (seen, path.with_name("ledger.db.reserve").stat().st_size) == (["down", "down", "back"], SIZE)


async def _turn() -> None:
    await asyncio.sleep(0.002)


async def test_a_disk_so_full_that_even_that_cannot_be_recorded_ends_nothing(path: Path, disk: Disk) -> None:
    store = await opened(path)
    try:
        async with Appender(store, probe_every_s=0.005) as appender:
            disk.full, disk.reserve_full = 2, True
            with pytest.raises(LedgerFull):
                await appender.append(note())
            while disk.full:
                await _turn()
            disk.reserve_full = False
            while appender.down:
                await _turn()
            await appender.append(note())
    finally:
        await store.close()
    assert types(path) == ["forwarded"]


async def test_without_a_reserve_a_full_disk_is_as_any_other_failure(path: Path, disk: Disk) -> None:
    store = await SqliteStore.open(path, LEDGER, SEED, now=noon)
    try:
        assert await store.last_words([note()]) == []
        assert store.head().size == 0
    finally:
        await store.close()


async def test_a_start_without_room_for_the_reserve_is_refused_and_says_what_to_do(path: Path, disk: Disk) -> None:
    disk.reserve_full = True
    with pytest.raises(LedgerFull, match="No space left on device") as refused:
        await opened(path)
    assert refused.value.hint == "free space where the ledger lies"


# A disk that is really full.


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small file system, and not everywhere")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_disk_that_is_really_full_holds_its_last_words_and_goes_on_once_it_is_freed(small: Path) -> None:
    path, filler = small / "ledger.db", small / "filler"
    store = await opened(path, 2 << 20)
    acknowledged = 0
    try:
        async with Appender(store, probe_every_s=0.01) as appender:
            _fill(filler)
            with suppress(LedgerFull):
                while True:
                    await appender.append(Append(Draft(EntryType.FORWARDED, {"x": "y" * 30_000}, "S-1")))
                    acknowledged += 1
            while types(path)[-1:] != ["ledger-full"]:
                await _turn()
            with pytest.raises(LedgerUnavailable):
                await appender.append(note())
            # Released by us, it is taken by somebody else at once: nothing more is recorded, and nothing is lost.
            _fill(small / "other")
            filler.unlink()
            while appender.down:
                await _turn()
            await appender.append(note())
    finally:
        await store.close()
    assert types(path) == ["forwarded"] * acknowledged + ["ledger-full", "forwarded"]


async def test_a_proxy_killed_between_the_release_and_its_last_words_starts_only_where_there_is_room(
    small: Path,
) -> None:
    path = small / "ledger.db"
    store = await opened(path, 2 << 20)
    await store.append([[note()]])
    await store.close()
    # All that the killed one has done.
    assert reserve_of(path, 2 << 20).release()
    _fill(small / "filler")
    with pytest.raises(LedgerFull):
        await opened(path, 2 << 20)
    (small / "filler").unlink()
    store = await opened(path, 2 << 20)
    await store.close()
    assert types(path) == ["forwarded"]


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - nothing else may stop it

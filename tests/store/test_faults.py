"""Storage that fails: at each of its steps, for want of room, for want of permission; and what must hold afterwards.

Every fault is tried in two forms: failed and nothing happened, failed but it happened.
"""

import asyncio
import itertools
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from tests.check import check_ledger
from tests.store.ledgers import LEDGER, SEED, VKEY, held, noon, note, one, opened
from tests.store.statements import surround
from tests.unprivileged import NOBODY, become_nobody, reachable_folder

from pgnotary.errors import LedgerUnavailable, RequestMoved
from pgnotary.request.life import State
from pgnotary.store.sqlite import SqliteStore

_T = TypeVar("_T")


class Faulty:
    """Lets one statement fail, before or after it took effect."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: BaseException = sqlite3.OperationalError("disk I/O error")
        self.happens = False
        self._countdown = -1
        surround(monkeypatch, self._meet)

    def _meet(self, _: str, call: Callable[[], _T]) -> _T:
        self._countdown -= 1
        if self._countdown != -1:
            return call()
        if self.happens:
            call()
        raise self.error

    def after(self, calls: int) -> None:
        """Let so many calls succeed and the next one fail."""
        self._countdown = calls

    def stop(self) -> bool:
        """Let no call fail any more; True if one did."""
        failed, self._countdown = self._countdown < 0, -1
        return failed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Faulty:
    return Faulty(monkeypatch)


FAILED = pytest.mark.parametrize("happens", [False, True], ids=["nothing happened", "it happened"])


@FAILED
@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk I/O error"), asyncio.CancelledError()], ids=repr)
async def test_an_append_that_fails_at_any_step_is_whole_or_absent_and_the_next_one_succeeds(
    path: Path, faulty: Faulty, error: BaseException, *, happens: bool
) -> None:
    faulty.error, faulty.happens = error, happens
    async with opened(path) as store:
        for n in itertools.count():
            group = [note(n), held(f"R-{n}")]
            faulty.after(n)
            [result] = await asyncio.gather(one(store, *group), return_exceptions=True)
            if not faulty.stop():
                break
            assert isinstance(result, LedgerUnavailable if isinstance(error, sqlite3.Error) else type(error))
            assert len(check_ledger(path, VKEY)) in ([2 * n, 2 * n + 2] if happens else [2 * n])
            [again] = await store.append([group])
            # It happened, although nobody was told: compare-and-set sees to it that it does not happen twice.
            assert isinstance(again, list) or (happens and isinstance(again, RequestMoved))
            assert await store.state(f"R-{n}") is State.HELD
            requests = [entry["request"] for entry in check_ledger(path, VKEY)[1::2]]
            assert requests == [f"R-{m}" for m in range(n + 1)]
    # Begin, savepoint, move, release, entries, sealed values, checkpoint, commit.
    assert n == 8


@FAILED
async def test_a_recovery_that_fails_at_any_step_is_begun_anew(path: Path, faulty: Faulty, *, happens: bool) -> None:
    faulty.happens = happens
    async with opened(path) as store:
        await one(store, note())
        for n in itertools.count():
            faulty.after(0)
            with pytest.raises(LedgerUnavailable, match="disk I/O error"):
                await store.probe()
            faulty.after(n)
            [result] = await asyncio.gather(store.probe(), return_exceptions=True)
            if not faulty.stop():
                break
            assert isinstance(result, LedgerUnavailable)
            assert len(check_ledger(path, VKEY)) == 1
        assert result is None
        assert store.head().size == 1
    assert n > 12


async def test_after_a_fault_nothing_is_built_on_what_only_the_wal_holds(path: Path, faulty: Faulty) -> None:
    async with opened(path) as store:
        await one(store, note())
        # An old snapshot keeps newer frames from being copied into the main file.
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM entry").fetchall()
        await one(store, note())
        faulty.after(0)
        with pytest.raises(LedgerUnavailable, match="disk I/O error"):
            await one(store, note())
        for _ in range(2):
            with pytest.raises(LedgerUnavailable, match="frames are kept back by a reader"):
                await one(store, note())
        reader.close()
        await one(store, note())
    assert len(check_ledger(path, VKEY)) == 3


@FAILED
async def test_an_opening_that_fails_at_any_step_lets_go_of_the_ledger(
    path: Path, faulty: Faulty, *, happens: bool
) -> None:
    faulty.happens = happens
    # Each form takes every other step: there are some fifty, and each needs a new file.
    for n in itertools.count(int(happens), 2):
        each = path.with_name(str(n))
        faulty.after(n)
        try:
            store = await SqliteStore.open(each, LEDGER, SEED, now=noon)
            await store.close()
        except LedgerUnavailable:
            pass
        failed = faulty.stop()
        async with opened(each) as store:
            await one(store, note())
        check_ledger(each, VKEY)
        if not failed:
            break
    assert n > 20


# What a process can only do to itself, so each of these runs in a process of its own.


def limited(size: int) -> None:
    """Let no file grow beyond `size` bytes: writing more gives EFBIG, as a full disk gives ENOSPC."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def without_room(path: Path) -> None:
    async with opened(path) as store:
        for n in range(3):
            await one(store, note())
            limited(0)
            for use in (store.append([[note()]]), store.probe(), store.append([[note()]])):
                with pytest.raises(LedgerUnavailable):
                    await use
            limited(resource.RLIM_INFINITY)
            await store.probe()
            assert len(check_ledger(path, VKEY)) == n + 1


async def with_room_for_a_part(path: Path) -> None:
    async def fill(store: SqliteStore) -> None:
        while True:
            [receipt] = await one(store, note())
            acknowledged.add(receipt.entry.position.seq)

    acknowledged: set[int] = set()
    async with opened(path) as store:
        for room in range(1, 60_000, 6_007):
            limited(os.stat(f"{path}-wal").st_size + room)  # noqa: PTH116
            with pytest.raises(LedgerUnavailable):
                await fill(store)
            limited(resource.RLIM_INFINITY)
            await store.probe()
            assert acknowledged <= {entry["seq"] for entry in check_ledger(path, VKEY)}
    assert acknowledged


async def without_permission(path: Path) -> None:
    async with opened(path) as store:
        await one(store, note())
        permit(path, 0o400, 0o500)
        # What is open stays writable, so something else has to fail first.
        limited(0)
        with pytest.raises(LedgerUnavailable):
            await one(store, note())
        limited(resource.RLIM_INFINITY)
        for file, folder in NOT_ENOUGH:
            permit(path, file, folder)
            for use in (store.append([[note()]]), store.probe(), store.append([[note()]])):
                with pytest.raises(LedgerUnavailable) as found:
                    await use
                print(oct(file), oct(folder), found.value, "-", found.value.hint)
        permit(path, 0o600, 0o700)
        await one(store, note())
        assert len(check_ledger(path, VKEY)) == 2
    for file, folder in NOT_ENOUGH:
        permit(path, file, folder)
        with pytest.raises(LedgerUnavailable):
            await SqliteStore.open(path, LEDGER, SEED, now=noon)
    permit(path, 0o600, 0o700)
    async with opened(path) as store:
        await one(store, note())
    assert len(check_ledger(path, VKEY)) == 3


# Of the files and their folder. With a folder that is only read-only, SQLite can go on: its files are all there.
NOT_ENOUGH = [(0o400, 0o500), (0o400, 0o700), (0o000, 0o700), (0o600, 0o000)]


def permit(path: Path, file: int, folder: int) -> None:
    path.parent.chmod(0o700)
    for each in path.parent.iterdir():
        each.chmod(file)
    path.parent.chmod(folder)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that an unprivileged child owns: who is root is stopped by no permission."""
    with reachable_folder() as folder:
        if os.getuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder


@pytest.mark.parametrize("story", [without_room, with_room_for_a_part, without_permission])
def test_the_ledger_is_unavailable_and_recovers(folder: Path, story: Callable[..., object]) -> None:
    command = [sys.executable, "-m", "tests.store.test_faults", story.__name__, str(folder / "ledger.sqlite")]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    print(told.stdout, told.stderr)
    assert told.returncode == 0


if __name__ == "__main__":
    become_nobody()
    asyncio.run(globals()[sys.argv[1]](Path(sys.argv[2])))

"""A backup of a ledger that is written meanwhile: whole, verified, never in another file's place, or not there."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.check import check_ledger
from tests.store.ledgers import VKEY, edited, held, note, one, opened

from pgnotary.errors import ConfigError, LedgerBroken
from pgnotary.store.appender import Appender
from pgnotary.store.backup import back_up
from pgnotary.store.reader import SqliteReader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "live").mkdir()
    return tmp_path / "live" / "ledger.db"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "backup").mkdir()
    return tmp_path / "backup" / "ledger.db"


def fill(path: Path, entries: int = 1) -> None:
    """Make a closed ledger."""

    async def appended() -> None:
        async with opened(path) as store:
            for n in range(entries):
                await one(store, held(f"R-{n + 1}"))

    asyncio.run(appended())


def aside(path: Path, target: Path, before: str = "") -> int:
    """Back up in a process of its own, as always, and return how that ended."""
    code = (
        f"import os, signal\nfrom pathlib import Path\nfrom pgnotary.store.backup import back_up\n"
        f"from pgnotary.store.reader import SqliteReader\n{before}\n"
        f"back_up(SqliteReader({str(path)!r}), Path({str(target)!r}), lambda copy: list(copy.entries()))"
    )
    return subprocess.run([sys.executable, "-c", code], check=False).returncode


def content(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, but for what readers write, too."""
    return {each.name: each.read_bytes() for each in folder.iterdir() if not each.name.endswith("-shm")}


def copied(path: Path, target: Path) -> int:
    """Back up, and return how many entries were found in the copy."""
    with SqliteReader(path) as reader:
        return back_up(reader, target, lambda copy: sum(1 for _ in copy.entries()))


async def test_a_backup_taken_while_the_writer_goes_on_is_one_moment_of_the_ledger(path: Path, target: Path) -> None:
    async with opened(path) as store, Appender(store) as appender:
        stop = asyncio.Event()

        async def write() -> int:
            n = 0
            while not stop.is_set():
                n += 1
                await appender.append(note(n), held(f"R-{n}"))
            return n

        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(write())
            found = [0]
            for n in range(3):
                while store.head().size <= found[-1]:
                    await asyncio.sleep(0)
                place = target.with_name(f"{n}.db")
                found.append(await asyncio.to_thread(copied, path, place))
                entries = check_ledger(place, VKEY)
                assert len(entries) == found[-1]
            stop.set()
        written = await writing
    assert 0 < found[1] < found[2] < found[3] <= 2 * written
    # A copy is a ledger: it can be opened and written to.
    async with opened(target.with_name("2.db")) as store:
        await one(store, note())
        assert len(await store.open_requests()) == found[3] // 2
    check_ledger(target.with_name("2.db"), VKEY)


async def test_a_backup_neither_writes_to_the_ledger_nor_copies_its_wal(path: Path, target: Path) -> None:
    async with opened(path) as store:
        for n in range(5):
            await one(store, note(n))
        before = content(path.parent)
        assert await asyncio.to_thread(aside, path, target) == 0
        assert content(path.parent) == before
        await one(store, note())
    assert len(check_ledger(target, VKEY)) == 5
    assert list(content(target.parent)) == ["ledger.db"]
    assert stat.S_IMODE(os.lstat(target).st_mode) == 0o600


def test_what_was_redacted_before_is_not_in_the_file(path: Path, target: Path) -> None:
    fill(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        # A ledger whose maker did not overwrite what was deleted.
        db.execute("PRAGMA secure_delete=OFF")
        db.execute("DELETE FROM sealed")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"delete from t" in path.read_bytes()
    assert copied(path, target) == 1
    assert b"delete from t" not in target.read_bytes()


@pytest.mark.parametrize("what", ["file", "empty", "folder", "dangling"])
def test_a_backup_takes_nobodys_place(path: Path, target: Path, what: str) -> None:
    fill(path)
    match what:
        case "file":
            target.write_bytes(b"an older backup")
        case "empty":
            target.touch()
        case "folder":
            target.mkdir()
        case _:
            target.symlink_to("nowhere")
    before = os.lstat(target)
    with pytest.raises(ConfigError, match="is there already"):
        copied(path, target)
    assert os.lstat(target) == before
    assert [each.name for each in target.parent.iterdir()] == ["ledger.db"]


def test_somebody_who_takes_the_place_meanwhile_keeps_it(path: Path, target: Path) -> None:
    fill(path)
    with SqliteReader(path) as reader, pytest.raises(ConfigError, match="is there already"):
        back_up(reader, target, lambda copy: target.write_text("mine"))
    assert target.read_text() == "mine"
    assert [each.name for each in target.parent.iterdir()] == ["ledger.db"]


def test_a_copy_that_is_found_bad_is_not_kept(path: Path, target: Path) -> None:
    fill(path)

    def look(copy: SqliteReader) -> None:
        raise LedgerBroken(["#0 is wrong"])

    with SqliteReader(path) as reader, pytest.raises(LedgerBroken):
        back_up(reader, target, look)
    assert list(target.parent.iterdir()) == []


def test_a_file_that_is_damaged_is_no_backup(path: Path, target: Path) -> None:
    fill(path, 200)
    with path.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(b"\xff" * 4096 * 3)
    with pytest.raises(LedgerBroken):
        copied(path, target)
    assert list(target.parent.iterdir()) == []


def test_a_folder_that_is_not_there_is_said(path: Path, target: Path) -> None:
    fill(path)
    with pytest.raises(ConfigError, match="there is no folder"):
        copied(path, target.parent / "no" / "ledger.db")


@pytest.mark.parametrize("step", ["fsync", "link", "unlink"])
def test_a_backup_killed_at_any_step_is_whole_or_not_there(path: Path, target: Path, step: str) -> None:
    fill(path, 5)
    killed = f"os.{step} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
    assert aside(path, target, killed) == -9
    assert all(each.name.startswith(".ledger.db.") for each in target.parent.iterdir() if each != target)
    if step == "unlink":
        assert len(check_ledger(target, VKEY)) == 5
        assert target.stat().st_nlink == 2
    else:
        assert not target.exists()
        assert copied(path, target) == 5


def test_a_ledger_that_was_edited_is_backed_up_as_it_is_for_who_looks(path: Path, target: Path) -> None:
    fill(path)
    edited(path, "UPDATE entry SET time = 'x'")
    assert copied(path, target) == 1
    with pytest.raises(AssertionError, match="columns"):
        check_ledger(target, VKEY)

"""Redacted values: found in none of the ledger's files, whatever has happened to the file before, and after a crash."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from aiosqlite import Connection
from tests.store.ledgers import note, one, opened

from pgnotary.errors import LedgerUnavailable, RedactionRefused
from pgnotary.ledger.entries import Draft, EntryType, Receipt
from pgnotary.store import Append
from pgnotary.store.reader import SqliteReader
from pgnotary.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    # Alone in its folder, so that all files there are the ledger's.
    folder = tmp_path / "ledger"
    folder.mkdir()
    return folder / "ledger.sqlite"


def sealed(value: bytes, name: str = "t1") -> Append:
    return Append(Draft(EntryType.FORWARDED, {"n": 0}, session="S-1", sealed={name: value}))


def redacting(*receipts: Receipt) -> Append:
    values = tuple((each.leaf, name) for each in receipts for name in each.opened)
    return Append(Draft(EntryType.REDACTED, {"why": "x"}), erases=values)


def remains(path: Path, *values: bytes) -> list[tuple[str, bytes]]:
    """Which of these bytes stand in which of the files of the ledger's folder."""
    files = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    return [(name, value) for name, content in files.items() for value in values if value in content]


def secrets_of(receipt: Receipt, mark: bytes) -> list[bytes]:
    """What must be found nowhere: the salt, and a mark that stands all over the value, in each of its pages."""
    return [mark, *(salt for salt, _ in receipt.opened.values())]


SIZES = [9, 40, 300, 950, 1_100, 4_090, 9_000, 50_000]


def marked(n: int, size: int) -> tuple[bytes, bytes]:
    mark = b"geheim-%05d " % n
    return mark, (mark * (size // len(mark) + 1))[: max(size, len(mark))]


async def filled(store: SqliteStore, count: int, seed: int = 3) -> list[tuple[bytes, Receipt]]:
    """Append values of all sizes, in transactions of their own, and return each with its mark."""
    chance = random.Random(seed)
    found = []
    for n in range(count):
        mark, value = marked(n, chance.choice(SIZES))
        found.append((mark, (await one(store, sealed(value)))[0]))
    return found


async def test_a_redacted_value_is_in_no_file_and_its_entry_stays(path: Path) -> None:
    async with opened(path) as store:
        appended = await filled(store, 60)
        gone = random.Random(4).sample(appended, 20)
        looked_for = [each for mark, receipt in gone for each in secrets_of(receipt, mark)]
        assert {value for _, value in remains(path, *looked_for)} == set(looked_for), "the search finds what is there"
        for _, receipt in gone:
            await one(store, redacting(receipt))
        assert store.is_erasing()
        assert await store.erase()
        assert not store.is_erasing()
        assert remains(path, *looked_for) == []
        # And it stays so, however much is written and deleted behind it.
        await filled(store, 60, seed=5)
        assert [each for each in remains(path, *looked_for) if each[1] not in {mark for mark, _ in gone}] == []
        assert store.head().size == 140
    kept = dict.fromkeys([receipt.leaf for _, receipt in appended], 1) | {receipt.leaf: 0 for _, receipt in gone}
    with SqliteReader(path) as reader:
        found = {each.raw: len(each.opened) for each in reader.entries()}
    assert [found[receipt.entry.raw] for _, receipt in appended] == [kept[receipt.leaf] for _, receipt in appended]


async def test_stale_copies_in_pages_that_were_split_long_ago_are_erased_as_well(path: Path) -> None:
    """Deleting with secure_delete and emptying the WAL leaves one of these 40 behind (SQLite 3.40.1)."""
    async with opened(path):
        pass
    chance = random.Random(2)
    db = sqlite3.connect(path, isolation_level=None)
    rows = []
    for n in range(200):
        leaf = sha256(b"2 %d" % n).digest()
        mark, value = marked(n, chance.choice([9, 40, 300, 950]))
        rows.append((leaf, mark))
        db.execute("INSERT INTO sealed VALUES (?, 't1', ?, ?)", (leaf, sha256(leaf).digest(), value))
    db.close()
    gone = [rows[n] for n in chance.sample(range(200), 40)]
    async with opened(path) as store:
        await store.append([[Append(Draft(EntryType.REDACTED), erases=((leaf, "t1"),))] for leaf, _ in gone])
        assert await store.erase()
        assert remains(path, *(mark for _, mark in gone)) == []


async def test_what_is_erased_and_the_entry_that_says_so_are_one_transaction(path: Path) -> None:
    async with opened(path) as store:
        [receipt] = await one(store, sealed(b"select 'geheim'"))
        [kept] = await store.kept(0)
        assert (kept.entry.leaf, kept.sizes) == (receipt.leaf, {"t1": 15})
        await one(store, redacting(receipt))
        assert [each.sizes for each in await store.kept(0)] == [{}]
        [second, other] = await store.append([[redacting(receipt)], [note()]])
        assert isinstance(second, RedactionRefused)
        assert "was redacted before" in str(second)
        assert not isinstance(other, Exception)
        assert [each.entry.type for each in other] == [EntryType.FORWARDED]
        assert await store.kept(1) == await store.kept(99) == []


async def test_a_value_that_is_being_deleted_is_copied_into_no_temporary_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite keeps what a savepoint may have to undo in /var/tmp, on whatever volume that is, from 64 KiB on."""
    mark = b"geheim-12345 "
    there: list[str] = []

    def look(store: SqliteStore) -> None:
        for each in Path("/proc/self/fd").iterdir():
            try:
                name = str(each.readlink())
                if "etilqs" in name and mark in each.read_bytes():
                    there.append(name)
            except FileNotFoundError:
                continue

    async with opened(path) as store:
        receipts = [(await one(store, sealed(mark * 5_000)))[0] for _ in range(4)]
        monkeypatch.setattr(SqliteStore, "_check_in_place", look)
        await one(store, redacting(*receipts))
        assert await store.erase()
    assert there == []


async def test_a_group_that_erases_one_value_that_is_not_kept_erases_none(path: Path) -> None:
    async with opened(path) as store:
        [receipt] = await one(store, sealed(b"geheim"))
        wrong = Append(Draft(EntryType.REDACTED), erases=((receipt.leaf, "t1"), (receipt.leaf, "t2")))
        with pytest.raises(RedactionRefused, match="t2 of the entry"):
            await one(store, wrong)
        assert [each.sizes for each in await store.kept(0)] == [{"t1": 6}]
        assert store.head().size == 1


async def test_a_reader_that_holds_the_wal_is_waited_for_and_nothing_is_claimed_meanwhile(path: Path) -> None:
    async with opened(path) as store:
        [receipt] = await one(store, sealed(b"geheim-geheim-geheim"))
        reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entry").fetchall()
        await one(store, redacting(receipt))
        assert not await store.erase()
        assert store.is_erasing()
        assert remains(path, b"geheim-geheim-geheim")
        await one(store, note())
        reader.execute("COMMIT")
        assert await store.erase()
        assert remains(path, b"geheim-geheim-geheim") == []
        reader.close()


async def test_where_else_the_same_text_is_sealed_is_told(path: Path) -> None:
    async with opened(path) as store:
        [first] = await one(store, sealed(b"select 'geheim'"))
        await one(store, sealed(b"select 'geheim'"), sealed(b"select 'Geheim'"))
        [_, last] = await one(store, sealed(b"x"), sealed(b"select 'geheim'", "statement"))
        values = [(first.leaf, "t1")]
        assert await store.copies(values, 9) == [(1, "t1"), (4, "statement")]
        assert await store.copies(values, 1) == [(1, "t1")]
        assert await store.copies([*values, (last.leaf, "statement")], 9) == [(1, "t1")]
        assert await store.copies([(first.leaf, "t9")], 9) == []


async def test_an_erasure_that_fails_leaves_the_mark_and_the_ledger_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path) as store:
        [receipt] = await one(store, sealed(b"geheim-geheim-geheim"))
        await one(store, redacting(receipt))

        async def full(_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patched:
            patched.setattr("pgnotary.store.sqlite.rewritten", full)
            with pytest.raises(LedgerUnavailable):
                await store.erase()
        assert store.is_erasing()
        await one(store, note())
        assert await store.erase()
        assert remains(path, b"geheim-geheim-geheim") == []


@pytest.mark.parametrize("step", ["mark", "committed", "rewritten"])
async def test_an_erasure_that_a_crash_interrupts_is_finished_at_the_next_start(path: Path, step: str) -> None:
    command = [sys.executable, "-m", "tests.store.test_redaction", str(path), step]
    done = await asyncio.to_thread(subprocess.run, command, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert remains(path, b"geheim-geheim-geheim")
    async with opened(path) as store:
        assert not store.is_erasing()
        if step == "mark":
            # It was not committed: nothing was redacted.
            assert store.head().size == 1
            assert remains(path, b"geheim-geheim-geheim")
        else:
            assert store.head().size == 2
            assert remains(path, b"geheim-geheim-geheim") == []


def test_a_value_that_was_deleted_without_a_redaction_is_a_fault_of_the_file(path: Path) -> None:
    async def fill() -> Sequence[Receipt]:
        async with opened(path) as store:
            return await one(store, sealed(b"a"), sealed(b"b"))

    first, _ = asyncio.run(fill())
    db = sqlite3.connect(path)
    db.execute("DELETE FROM sealed WHERE leaf = ?", (first.leaf,))
    db.commit()
    db.close()
    with SqliteReader(path) as reader:
        assert list(reader.index_faults()) == [
            "entry 0 has lost the value of its seal 't1', which no redaction names: it was deleted"
        ]


async def _die_at(path: Path, step: str) -> None:
    """Redact the only value of a new ledger, and be killed at a step."""
    from pgnotary.store import erasure

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async with opened(path) as store:
        [receipt] = await one(store, sealed(b"geheim-geheim-geheim"))
        # Around the product's own calls; it knows nothing of it.
        marking, rewriting = erasure.Mark.set, erasure.rewritten

        def marked_and_dead(mark: erasure.Mark) -> None:
            marking(mark)
            die()

        async def dead_before(_: object) -> None:
            die()

        async def dead_after(db: Connection) -> None:
            await rewriting(db)
            die()

        patched = pytest.MonkeyPatch()
        match step:
            case "mark":
                patched.setattr(erasure.Mark, "set", marked_and_dead)
            case "committed":
                patched.setattr("pgnotary.store.sqlite.rewritten", dead_before)
            case _:
                patched.setattr("pgnotary.store.sqlite.rewritten", dead_after)
        await one(store, redacting(receipt))
        await store.erase()


if __name__ == "__main__":
    asyncio.run(_die_at(Path(sys.argv[1]), sys.argv[2]))

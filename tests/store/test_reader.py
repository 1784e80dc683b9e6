"""What auditors read, from a ledger that is being written, closed, on a read-only medium, or spoiled."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.store.ledgers import VKEY, edited, held, note, one, opened, step
from tests.unprivileged import become_nobody, reachable_folder

from pgnotary.errors import ConfigError, LedgerBroken
from pgnotary.ledger.checkpoint import verify
from pgnotary.ledger.entries import Draft, EntryType, parse_entry
from pgnotary.ledger.seals import check_opened
from pgnotary.request.life import State
from pgnotary.store import Append, LedgerReader, StoredEntry
from pgnotary.store.reader import SqliteReader
from pgnotary.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """A ledger of five entries, open."""
    async with opened(path) as store:
        [first, _] = await one(store, held("R-1"), note(1))
        await one(store, note(2), held("R-2"))
        await one(store, step(EntryType.WITHDRAWN, "R-1", first.leaf, State.HELD, State.WITHDRAWN))
        yield store


@pytest.fixture
async def closed(store: SqliteStore, path: Path) -> Path:
    """The same ledger, closed."""
    await store.close()
    return path


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgnotary.store.reader._PAGE", 2)


def types(entries: Iterator[StoredEntry]) -> list[str]:
    return [parse_entry(entry.raw).type.value for entry in entries]


ALL = ["request", "forwarded", "forwarded", "request", "withdrawn"]


@pytest.mark.parametrize("page", [1, 2, 5, 256])
def test_entries_come_in_order_with_their_opened_seals(
    store: SqliteStore, path: Path, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgnotary.store.reader._PAGE", page)
    with SqliteReader(path) as reader:
        found = list(reader.entries())
    assert types(iter(found)) == ALL
    for stored in found:
        entry = parse_entry(stored.raw)
        assert stored.opened.keys() == entry.seals.keys()
        for name, (salt, value) in stored.opened.items():
            check_opened(name, salt, value, entry.seals[name])
    assert found[0].opened["statement"][1] == b"delete from t"


def test_a_closed_ledger_reads_the_same_and_stays_the_same(closed: Path) -> None:
    before = closed.read_bytes()
    with SqliteReader(closed) as reader:
        assert types(reader.entries()) == ALL
    assert closed.read_bytes() == before


def test_every_checkpoint_is_there_and_verifies(store: SqliteStore, path: Path, small_pages: None) -> None:
    reader: LedgerReader = SqliteReader(path)
    notes = list(reader.checkpoints())
    assert [verify(note, VKEY).size for note in notes] == [0, 2, 4, 5]
    assert notes[-1] == store.checkpoint()
    assert isinstance(reader, SqliteReader)
    reader.close()


async def test_what_is_appended_while_reading_comes_with_the_next_reading(
    store: SqliteStore, path: Path, small_pages: None
) -> None:
    with SqliteReader(path) as reader:
        entries, notes = reader.entries(), reader.checkpoints()
        next(entries), next(notes)
        await one(store, note())
        assert len(list(entries)) == 4
        assert len(list(notes)) == 3
        assert len(list(reader.entries())) == 6


async def test_a_reader_between_two_pages_does_not_keep_the_wal_from_being_emptied(
    store: SqliteStore, path: Path, small_pages: None
) -> None:
    with SqliteReader(path) as reader:
        entries = reader.entries()
        next(entries)
        await one(store, note())
        other = sqlite3.connect(path)
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall() == [(0, 0, 0)]
        other.close()
        assert len(list(entries)) == 4


def test_a_redacted_value_is_not_opened_and_its_entry_stays(closed: Path) -> None:
    edited(closed, "DELETE FROM sealed WHERE leaf = (SELECT leaf FROM entry WHERE seq = 0)")
    with SqliteReader(closed) as reader:
        found = list(reader.entries())
    assert types(iter(found)) == ALL
    assert [len(stored.opened) for stored in found] == [0, 0, 0, 1, 0]


async def test_an_empty_ledger_has_no_entries_and_one_checkpoint(path: Path) -> None:
    async with opened(path):
        pass
    with SqliteReader(path) as reader:
        assert list(reader.entries()) == []
        assert len(list(reader.checkpoints())) == 1


# What is no ledger.


def test_a_missing_file_is_named_and_not_made(path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no ledger at {path}"):
        SqliteReader(path)
    assert not path.exists()


def test_another_database_is_refused(path: Path) -> None:
    edited(path, "CREATE TABLE entry(seq)")
    with pytest.raises(ConfigError, match="not a pgnotary ledger"):
        SqliteReader(path)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("seq,leaf,raw\n" * 1000)
    with pytest.raises(ConfigError, match="file is not a database"):
        SqliteReader(path)


def test_a_newer_schema_is_refused(closed: Path) -> None:
    edited(closed, "PRAGMA user_version=3")
    with pytest.raises(ConfigError, match="schema version 3, this pgnotary knows 2"):
        SqliteReader(closed)


# What was spoiled.

VIEW = (
    "ALTER TABLE entry RENAME TO hidden",
    "CREATE VIEW entry AS SELECT seq, leaf, CASE WHEN random() % 2 THEN raw ELSE x'7b7d' END AS raw, time, type,"
    " request, session FROM hidden",
)
LOOSE = (
    "CREATE TABLE copy(seq INTEGER PRIMARY KEY, leaf, raw, time, type, request, session)",
    "INSERT INTO copy SELECT * FROM entry",
    "DROP TABLE entry",
    "ALTER TABLE copy RENAME TO entry",
)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (["DROP TABLE sealed"], "the file has no table sealed"),
        (["DROP TABLE entry"], "the file has no table entry"),
        (VIEW, "the file has a view 'entry', which no ledger has"),
        (LOOSE, "the table entry of the file is not made as that of a ledger"),
        (["CREATE TABLE more(x)"], "the file has a table 'more', which no ledger has"),
        (
            ["CREATE TRIGGER t AFTER INSERT ON entry BEGIN DELETE FROM sealed; END"],
            "the file has a trigger 't', which no ledger has",
        ),
        (
            ["DROP INDEX entry_request", "CREATE INDEX entry_request ON entry(request) WHERE request = 'R-2'"],
            "the index entry_request of the file is not made as that of a ledger",
        ),
    ],
)
async def test_a_file_that_is_not_made_of_a_ledgers_tables_is_refused(
    closed: Path, changes: list[str], fault: str
) -> None:
    edited(closed, *changes)
    with pytest.raises(LedgerBroken) as unread:
        SqliteReader(closed)
    assert fault in unread.value.faults
    with pytest.raises(LedgerBroken) as unwritten:
        async with opened(closed):
            pass
    assert fault in unwritten.value.faults


def test_a_copy_without_guard_rails_and_with_statistics_reads_the_same_and_is_noted(closed: Path) -> None:
    edited(closed, "ANALYZE", "DROP INDEX entry_session")
    with SqliteReader(closed) as reader:
        assert types(reader.entries()) == ALL
        (note,) = reader.notes()
    assert "the file lacks entry_session, entry_insert, checkpoint_insert, entry_UPDATE" in note


def test_a_ledgers_own_file_has_nothing_to_note(closed: Path) -> None:
    with SqliteReader(closed) as reader:
        assert list(reader.notes()) == []


def disguised(path: Path, table: str, *changes: str) -> None:
    """Put another table in the place of ours and give it our source, as who writes the schema by hand can."""
    with sqlite3.connect(path) as db:
        [(sql,)] = db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,))
    db.close()
    source = sql.replace("'", "''")
    edited(
        path,
        *changes,
        "PRAGMA writable_schema=ON",
        f"UPDATE sqlite_schema SET sql = '{source}' WHERE name = '{table}'",
    )


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE entry SET raw = 'text' WHERE seq = 3", "entry 3 is not made of bytes"),
        ("UPDATE entry SET raw = 17 WHERE seq = 0", "entry 0 is not made of bytes"),
    ],
)
def test_a_value_that_has_not_its_type_is_a_fault(closed: Path, change: str, fault: str) -> None:
    disguised(closed, "entry", *LOOSE, change)
    with SqliteReader(closed) as reader, pytest.raises(LedgerBroken, match=fault):
        list(reader.entries())


def test_a_checkpoint_that_is_no_text_is_a_fault(closed: Path) -> None:
    disguised(
        closed,
        "checkpoint",
        "CREATE TABLE c(size INTEGER PRIMARY KEY, note)",
        "INSERT INTO c SELECT size, CAST(note AS BLOB) FROM checkpoint",
        "DROP TABLE checkpoint",
        "ALTER TABLE c RENAME TO checkpoint",
    )
    with SqliteReader(closed) as reader, pytest.raises(LedgerBroken, match="over 0 entries is not a text"):
        list(reader.checkpoints())


@pytest.mark.parametrize("page", range(2, 20))
def test_a_damaged_page_is_a_fault_or_changes_nothing(closed: Path, page: int) -> None:
    with SqliteReader(closed) as reader:
        before = list(reader.entries())
    data = bytearray(closed.read_bytes())
    assert len(data) > 4096 * 5
    data[4096 * (page - 1) : 4096 * page] = b"\xa5" * len(data[4096 * (page - 1) : 4096 * page])
    closed.write_bytes(data)
    try:
        with SqliteReader(closed) as reader:
            assert list(reader.entries()) == before
    except LedgerBroken:
        pass


def test_a_clean_ledger_has_no_index_faults(closed: Path, small_pages: None) -> None:
    with SqliteReader(closed) as reader:
        assert list(reader.index_faults()) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE entry SET request = NULL WHERE seq = 4", "entry 4 says something else than its columns: request"),
        ("UPDATE entry SET session = 'S-2' WHERE seq = 1", "entry 1 says something else than its columns: session"),
        ("UPDATE entry SET time = '' WHERE seq = 2", "entry 2 says something else than its columns: time"),
        ("UPDATE entry SET type = 'x' WHERE seq = 3", "entry 3 says something else than its columns: type"),
        ("UPDATE entry SET leaf = zeroblob(32) WHERE seq = 0", "entry 0 says something else than its columns: leaf"),
        ("UPDATE entry SET raw = zeroblob(9) WHERE seq = 0", "entry 0 cannot be read: not JSON"),
        ("UPDATE entry SET seq = -7 WHERE seq = 0", "entry 0, kept as -7, says something else than its columns: seq"),
        (
            "UPDATE entry SET seq = 1099511627776 WHERE seq = (SELECT max(seq) FROM entry)",
            "entry 4, kept as 1099511627776, says something else than its columns: seq",
        ),
        ("UPDATE checkpoint SET size = -1 WHERE size = 0", "a checkpoint over 0 entries is kept as one over -1"),
    ],
)
def test_an_entry_hidden_from_a_search_is_found(closed: Path, change: str, fault: str) -> None:
    edited(closed, change)
    with SqliteReader(closed) as reader:
        found, *_ = reader.index_faults()
    assert found.startswith(fault)


async def test_a_session_that_is_hidden_from_a_search_behind_its_json_is_found(path: Path) -> None:
    """In JSON a backslash is two, and the column may hold both: the bytes agree, and the session is another one."""
    async with opened(path) as store:
        await one(store, Append(Draft(EntryType.FORWARDED, {}, session="a\\b")))
    with SqliteReader(path) as reader:
        assert list(reader.index_faults()) == []
    edited(path, "UPDATE entry SET session = replace(session, '\\', '\\\\')")
    with SqliteReader(path) as reader:
        assert list(reader.index_faults()) == ["entry 0 says something else than its columns: session"]


def test_a_row_under_the_lowest_number_that_there_is_cannot_hide(closed: Path, small_pages: None) -> None:
    lowest = -(2**63)
    edited(
        closed,
        f"INSERT INTO entry SELECT {lowest}, leaf, raw, time, type, request, session FROM entry WHERE seq = 2",
        f"INSERT INTO checkpoint SELECT {lowest}, note FROM checkpoint WHERE size = 0",
    )
    with SqliteReader(closed) as reader:
        raws = [each.raw for each in reader.entries()]
        assert raws[0] == raws[3]
        assert len(raws) == 6
        notes = list(reader.checkpoints())
        assert notes[0] == notes[1]
        assert next(reader.index_faults()).startswith(f"entry 2, kept as {lowest}, says something else")


def test_a_sealed_value_of_no_entry_is_found(closed: Path) -> None:
    edited(closed, "INSERT INTO sealed VALUES (zeroblob(32), 'statement', x'00', x'00')")
    with SqliteReader(closed) as reader:
        assert list(reader.index_faults()) == ["a sealed value 'statement' belongs to no entry"]


FINISHED = "request_state says that R-1 is 'held', its entries say withdrawn"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE request_state SET state = 'held' WHERE request = 'R-1'", FINISHED),
        ("DELETE FROM request_state WHERE request = 'R-2'", "request_state does not know R-2, its entries say held"),
        ("INSERT INTO request_state VALUES ('R-9', 'held', x'00')", "request_state knows 'R-9', which no entry asks"),
        (
            "UPDATE request_state SET leaf = x'00' WHERE request = 'R-2'",
            "request_state names another last entry of R-2",
        ),
        ("UPDATE request_state SET state = 'x' WHERE request = 'R-2'", "request_state says that R-2 is 'x'"),
    ],
)
async def test_a_request_that_stands_elsewhere_than_its_entries_say_is_found_and_never_built_on(
    closed: Path, change: str, fault: str
) -> None:
    edited(closed, change)
    with SqliteReader(closed) as reader:
        [found] = reader.index_faults()
    assert found.startswith(fault)
    with pytest.raises(LedgerBroken, match="request_state") as broken:
        async with opened(closed):
            pass
    assert broken.value.faults == (found,)
    with SqliteReader(closed) as reader:
        assert types(reader.entries()) == ALL


async def test_hiding_a_request_from_its_column_too_does_not_let_its_number_be_given_twice(closed: Path) -> None:
    edited(
        closed,
        "UPDATE entry SET request = NULL WHERE request = 'R-2'",
        "DELETE FROM request_state WHERE request = 'R-2'",
    )
    with pytest.raises(LedgerBroken, match="does not know R-2"):
        async with opened(closed):
            pass


async def test_a_request_whose_entry_was_changed_is_never_built_on(closed: Path) -> None:
    edited(closed, "UPDATE entry SET raw = CAST(replace(raw, 'delete', 'remove') AS BLOB) WHERE seq = 0")
    with pytest.raises(LedgerBroken, match="entry 0 is not what its leaf hash says"):
        async with opened(closed):
            pass


# Permissions, which stop nobody who is root: a child of no privilege reads.


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as folder:
        yield folder


def read_by_another(path: Path) -> str:
    command = [sys.executable, "-m", "tests.store.test_reader", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_ledger_on_a_read_only_medium_can_be_read(closed: Path, folder: Path) -> None:
    shutil.copy(closed, folder / "copy")
    (folder / "copy").chmod(0o444)
    folder.chmod(0o555)
    assert read_by_another(folder / "copy") == str(ALL)
    assert [each.name for each in folder.iterdir()] == ["copy"]


def test_entries_that_only_the_wal_holds_are_never_skipped(store: SqliteStore, path: Path, folder: Path) -> None:
    for end in ("", "-wal"):
        subprocess.run(["cp", f"{path}{end}", folder / f"copy{end}"], check=True)
        (folder / f"copy{end}").chmod(0o444)
    folder.chmod(0o555)
    assert read_by_another(folder / "copy").endswith("its folder must let you open the WAL")
    folder.chmod(0o777)
    assert read_by_another(folder / "copy") == str(ALL)


def test_a_file_that_may_not_be_read_is_named(closed: Path, folder: Path) -> None:
    shutil.copy(closed, folder / "copy")
    (folder / "copy").chmod(0o000)
    folder.chmod(0o755)
    assert read_by_another(folder / "copy") == (
        f"{folder / 'copy'} cannot be read as a ledger: unable to open database file;"
        " correct the path or its permissions"
    )


if __name__ == "__main__":
    become_nobody()
    try:
        with SqliteReader(sys.argv[1]) as reader:
            print(types(reader.entries()))
    except ConfigError as error:
        print(error)

"""Every single-bit flip in a ledger of 200 entries, in each column of each table: told, or excused with a reason.

An excuse is held to a test of its own: such a flip changes nothing that is told, and the proxy goes on.
"""

import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.tamper.adversary import deposit
from tests.tamper.flips import Cell, Table, cells, columns, remember_what_was_read, sampled
from tests.tamper.ground import grown
from tests.verify.builder import LEDGER, PROXY_SEED, VKEY, Ledger

from pgnotary.audit.check import check
from pgnotary.errors import ConfigError, LedgerBroken
from pgnotary.store.reader import SqliteReader
from pgnotary.store.sqlite import SqliteStore
from pgnotary.verify.checklist import Summary

EXCUSED = {
    "probe.id": "says nothing of the ledger: the row is written and read back to learn whether the storage works",
    "probe.count": "says nothing of the ledger: a number that grows with each probe",
}
"""Columns whose flips are told by nobody."""

# Of each column; four times as many of the entries themselves.
FEW = 6
MOST_LONG = 150


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with a checkpoint for each ten entries, as batches leave them."""
    ledger = grown(180)
    size = len(ledger.stored)
    assert size >= 200
    notes = [ledger.sign(each) for each in (*range(0, size, 10), size)]
    return deposit(tmp_path_factory.mktemp("bits") / "ledger.db", ledger.stored, notes)


@pytest.fixture(scope="module")
def table(path: Path) -> Iterator[Table]:
    opened = Table(path)
    with pytest.MonkeyPatch.context() as patch:
        remember_what_was_read(patch)
        yield opened
    opened.close()


def told(path: Path) -> Summary | None:
    """What is told of a ledger; None: that it was tampered with, or is none."""
    try:
        with SqliteReader(path) as reader:
            return check(reader, VKEY)
    except (LedgerBroken, ConfigError):
        return None


@pytest.fixture(scope="module")
def whole(path: Path, table: Table) -> Summary:
    found = told(path)
    assert found is not None
    return found


def flips(path: Path, column: str, *, long: bool) -> Iterator[tuple[Cell, int]]:
    of, rng = cells(path, column), random.Random(f"bits of {column}")
    assert of, column
    every = sum(cell.bits for cell in of)
    count = min(every, MOST_LONG) if long else (4 * FEW if column == "entry.raw" else FEW)
    if count == every:
        return ((cell, bit) for cell in of for bit in range(cell.bits))
    return sampled(of, count, rng)


@pytest.mark.parametrize("long", [False, pytest.param(True, marks=pytest.mark.long)], ids=["sampled", "long"])
def test_every_flipped_bit_is_told(
    path: Path, table: Table, whole: Summary, capsys: pytest.CaptureFixture[str], *, long: bool
) -> None:
    tried = impossible = 0
    untold: list[tuple[Cell, int]] = []
    for column in columns(path):
        if column in EXCUSED:
            continue
        before = tried
        for cell, bit in flips(path, column, long=long):

            def look(cell: Cell = cell, bit: int = bit) -> None:
                if told(path) is not None:
                    untold.append((cell, bit))

            possible = table.flip(cell, bit, look)
            tried += possible
            impossible += not possible
        assert tried > before, f"nothing of {column} was flipped"
    assert untold == []
    assert told(path) == whole, "not every flip was undone"
    if long:
        with capsys.disabled():
            print(f"\n{tried:,} flips of single bits, all told; {impossible} that no file can have")


async def test_what_is_excused_changes_nothing_that_is_told_and_the_proxy_goes_on(
    path: Path, table: Table, whole: Summary, tmp_path: Path
) -> None:
    assert set(EXCUSED) < set(columns(path))
    for column in EXCUSED:
        for cell, bit in sampled(cells(path, column), FEW, random.Random(column)):

            def look() -> None:
                assert told(path) == whole

            assert table.flip(cell, bit, look)
    copy = Path(shutil.copy(path, tmp_path / "ledger.db"))
    flipped = Table(copy)
    [number] = cells(copy, "probe.count")
    flipped._db.execute("UPDATE probe SET count = ?", (number.flipped(40),))
    flipped.close()
    store = await SqliteStore.open(copy, LEDGER, PROXY_SEED, now=lambda: datetime.now(UTC))
    await store.probe()
    await store.close()


def test_a_flip_in_the_numbers_of_the_file_itself_makes_it_no_ledger_or_changes_nothing(
    path: Path, table: Table, whole: Summary
) -> None:
    """The application id and the version of the schema stand in the header, beside all tables."""
    for pragma in ("application_id", "user_version"):
        [(value,)] = table._db.execute(f"PRAGMA {pragma}").fetchall()
        for bit in range(31):
            table._db.execute(f"PRAGMA {pragma}={value ^ 1 << bit}")
            found = told(path)
            assert found is None or (pragma == "user_version" and found == whole)
        table._db.execute(f"PRAGMA {pragma}={value}")


def test_the_ledger_has_something_in_every_column(path: Path) -> None:
    assert len(columns(path)) == 18
    assert all(cells(path, column) for column in columns(path))


def test_the_bits_of_a_small_ledger_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the numbers, and every third of the rest, but an entry's own bytes, of which others flip each one."""
    remember_what_was_read(monkeypatch)
    ledger = Ledger().start("bo")
    path = deposit(tmp_path / "ledger.db", ledger.stored, [ledger.sign(0), ledger.sign(2)])
    table, tried = Table(path), 0

    def look() -> None:
        assert told(path) is None

    for column in ("entry.seq", "entry.leaf", "entry.time", "entry.type", "checkpoint.size"):
        for cell in cells(path, column):
            bits = range(cell.bits) if isinstance(cell.value, int) else range(1, cell.bits, 3)
            tried += sum(table.flip(cell, bit, look) for bit in bits)
    table.close()
    assert tried > 400

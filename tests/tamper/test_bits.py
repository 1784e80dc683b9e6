"""Every single-bit flip in a ledger of 200 entries, in each column of each table: told, or excused with a reason.

An excuse is held to a test of its own: such a flip changes nothing that is told, and the proxy goes on.
"""

import pickle
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.tamper.adversary import deposit
from tests.tamper.flips import Cell, Table, cells, columns, remember_what_was_read, sampled
from tests.tamper.ground import grown
from tests.verify.builder import LEDGER, PROXY_SEED, VKEY, Ledger

from pgnotary.audit.check import check
from pgnotary.errors import ConfigError, LedgerBroken
from pgnotary.store import StoredEntry
from pgnotary.store.reader import SqliteReader
from pgnotary.store.sqlite import SqliteStore
from pgnotary.verify import checklist
from pgnotary.verify.archives import Cuts
from pgnotary.verify.checklist import Summary
from pgnotary.verify.heads import named
from pgnotary.verify.witnesses import Witnesses

EXCUSED = {
    "probe.id": "says nothing of the ledger: the row is written and read back to learn whether the storage works",
    "probe.count": "says nothing of the ledger: a number that grows with each probe",
}
"""Columns whose flips are told by nobody."""

# Of each column; four times as many of the entries themselves.
FEW = 6
COLUMNS = (
    "checkpoint.size", "checkpoint.note",
    "entry.seq", "entry.leaf", "entry.time", "entry.type", "entry.request", "entry.session",
    "request_state.request", "request_state.state", "request_state.leaf",
    "sealed.leaf", "sealed.name", "sealed.salt", "sealed.value",
)  # fmt: skip
"""Those that are flipped bit by bit in the file; of an entry's own bytes there are ten times as many as of the rest."""


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


@pytest.fixture(scope="module")
def look(path: Path, table: Table) -> Callable[[Iterable[tuple[Cell, int]]], tuple[int, int]]:
    """Flip bits in the file, one at a time, and return how many were told, and how many no file can have."""

    def looked(flips: Iterable[tuple[Cell, int]]) -> tuple[int, int]:
        tried = impossible = 0
        for cell, bit in flips:

            def is_told(cell: Cell = cell, bit: int = bit) -> None:
                assert told(path) is None, (cell, bit)

            possible = table.flip(cell, bit, is_told)
            tried += possible
            impossible += not possible
        return tried, impossible

    return looked


def test_a_flipped_bit_is_told_whichever_column_it_is_in(path: Path, whole: Summary, look: Any) -> None:
    for column in columns(path):
        if column not in EXCUSED:
            count = 4 * FEW if column == "entry.raw" else FEW
            tried, _ = look(sampled(cells(path, column), count, random.Random(f"bits of {column}")))
            assert tried, f"nothing of {column} was flipped"
    assert told(path) == whole, "not every flip was undone"


@pytest.mark.long
@pytest.mark.parametrize("column", COLUMNS)
def test_every_bit_of_a_column_is_told(
    path: Path, whole: Summary, look: Any, column: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tried, impossible = look((cell, bit) for cell in cells(path, column) for bit in range(cell.bits))
    assert tried
    assert told(path) == whole, "not every flip was undone"
    with capsys.disabled():
        print(f"\n{column}: {tried:,} flips of single bits, all told; {impossible} that no file can have")


@pytest.mark.parametrize(
    "every", [997, pytest.param(1, marks=pytest.mark.long)], ids=["a few bits of each", "every bit"]
)
def test_every_bit_of_an_entry_is_told_at_its_place(every: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Read up to the entry once, and on from there for each of its bits: of what is before it nothing is another."""
    ledger = grown(180)
    names = named(kept.raw for kept in ledger.stored)
    reading = checklist._Reading(VKEY, names, None, [ledger.sign()], Witnesses(None), Cuts(), None)
    tried = 0
    for place, kept in enumerate(ledger.stored):
        read_so_far = pickle.dumps(reading)
        for bit in range(place % every, 8 * len(kept.raw), every):
            changed = bytearray(kept.raw)
            changed[bit // 8] ^= 1 << bit % 8
            on = pickle.loads(read_so_far)
            on.take(StoredEntry(bytes(changed), kept.opened))
            for behind in () if on.findings.faults else ledger.stored[place + 1 : place + 2]:
                on.take(behind)
            if not on.findings.faults:
                on.finish(ledger.sign())
            # What it says of the one before it is a fault between the two.
            assert int(on.findings.faults[0].split()[0].removeprefix("#")) in (place - 1, place), (place, bit)
            tried += 1
        reading.take(kept)
    reading.finish(ledger.sign())
    assert reading.findings.faults == ()
    if every == 1:
        with capsys.disabled():
            print(f"\nentry.raw: {tried:,} flips of single bits, all told where they are")


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
    assert {*columns(path)} == {*COLUMNS, *EXCUSED, "entry.raw"}
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

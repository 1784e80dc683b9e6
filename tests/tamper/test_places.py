"""Each entry of a ledger of 200 deleted, swapped with the next, put in twice, and all from it on cut off: each is told.

The rows are moved as they are: none of it needs a key, but for the checkpoint over what is left of one that was cut.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tamper.adversary import Adversary, deposit
from tests.tamper.flips import remember_what_was_read
from tests.tamper.ground import grown
from tests.verify.builder import PROXY_SEED, VKEY

from pgnotary.audit.check import check
from pgnotary.errors import LedgerBroken
from pgnotary.ledger.checkpoint import Checkpoint, verify
from pgnotary.store.reader import SqliteReader

PLACES = [pytest.param(41, id="every 41st"), pytest.param(1, id="each", marks=pytest.mark.long)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ledger = grown(180)
    assert len(ledger.stored) >= 200
    notes = [ledger.sign(each) for each in (0, 100, len(ledger.stored))]
    return deposit(tmp_path_factory.mktemp("places") / "ledger.db", ledger.stored, notes)


@pytest.fixture(scope="module")
def head(path: Path) -> Checkpoint:
    """What somebody remembers: the newest."""
    return verify(Adversary(path, PROXY_SEED).checkpoints[-1], VKEY)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    remember_what_was_read(monkeypatch)


COLUMNS = "leaf, raw, time, type, request, session"


def done_to(path: Path, copy: Path, *statements: str) -> Path:
    copy.write_bytes(path.read_bytes())
    Adversary(copy, PROXY_SEED).sql("PRAGMA synchronous=OFF", *statements)
    return copy


def faults(path: Path, head: Checkpoint) -> tuple[str, ...]:
    with SqliteReader(path) as reader, pytest.raises(LedgerBroken) as broken:
        check(reader, VKEY, heads=[head])
    return broken.value.faults


def places(head: Checkpoint, step: int, until: int = 0) -> Iterator[int]:
    # The last ones always: nothing follows them that could be missed.
    return iter(sorted({*range(0, head.size - until, step), *range(head.size - 2 - until, head.size - until)}))


@pytest.mark.parametrize("step", PLACES)
def test_each_deletion_is_told(path: Path, head: Checkpoint, tmp_path: Path, step: int) -> None:
    for place in places(head, step):
        found = faults(done_to(path, tmp_path / "x.db", f"DELETE FROM entry WHERE seq = {place}"), head)
        gone = f"#{place} says seq {place + 1}, expected {place}: 1 entries are gone"
        assert gone in found or any(each.startswith(f"#{place} and what follows is missing") for each in found)


@pytest.mark.parametrize("step", PLACES)
def test_each_swap_is_told(path: Path, head: Checkpoint, tmp_path: Path, step: int) -> None:
    for place in places(head, step, until=1):
        swap = [
            f"UPDATE entry SET seq = -1 WHERE seq = {place}",
            f"UPDATE entry SET seq = {place} WHERE seq = {place + 1}",
            f"UPDATE entry SET seq = {place + 1} WHERE seq = -1",
        ]
        found = faults(done_to(path, tmp_path / "x.db", *swap), head)
        assert any(each.startswith(f"#{place} says seq {place + 1}, expected {place}") for each in found)


@pytest.mark.parametrize("step", PLACES)
def test_each_duplicate_is_told(path: Path, head: Checkpoint, tmp_path: Path, step: int) -> None:
    for place in places(head, step):
        twice = [
            f"UPDATE entry SET seq = -seq WHERE seq > {place}",
            "UPDATE entry SET seq = 1 - seq WHERE seq < 0",
            f"INSERT INTO entry SELECT {place + 1}, {COLUMNS} FROM entry WHERE seq = {place}",
        ]
        found = faults(done_to(path, tmp_path / "x.db", *twice), head)
        stands = f"#{place + 1} says seq {place}, expected {place + 1}: an entry stands twice"
        assert any(each.startswith(stands) for each in found)


@pytest.mark.parametrize("step", PLACES)
def test_each_cut_is_told(path: Path, head: Checkpoint, tmp_path: Path, step: int) -> None:
    """With a new checkpoint a ledger that was cut is good by itself: where it ends somebody has to remember."""
    adversary = Adversary(path, PROXY_SEED)
    for place in reversed([*places(head, step)]):
        del adversary.ledger.stored[place:]
        for notes in ({adversary.ledger.sign(0), adversary.ledger.sign()}, adversary.checkpoints):
            (tmp_path / "x.db").unlink(missing_ok=True)
            deposit(tmp_path / "x.db", adversary.ledger.stored, notes)
            missing = [each for each in faults(tmp_path / "x.db", head) if " what follows is missing: " in each]
            assert {each.split()[0] for each in missing} == {f"#{place}"}
            assert any(f"a remembered head covers {head.size} entries, here are {place}" in each for each in missing)
            assert (len(missing) > 1) is (notes is adversary.checkpoints)


def test_what_is_deleted_beside_the_entries_is_told(path: Path, head: Checkpoint, tmp_path: Path) -> None:
    """Of each other table a row is deleted; a checkpoint is one of several, and a probe tells nothing."""
    with SqliteReader(path) as reader:
        whole = check(reader, VKEY, heads=[head])

    def after(statement: str) -> dict[str, int]:
        copy = done_to(path, tmp_path / "x.db", statement)
        with SqliteReader(copy) as reader:
            summary = check(reader, VKEY, heads=[head])
        names = ("entries", "opened", "withheld", "checkpoints", "witnessed")
        return {name: getattr(summary, name) for name in names if getattr(summary, name) != getattr(whole, name)}

    one = "DELETE FROM sealed WHERE leaf = (SELECT leaf FROM sealed ORDER BY leaf LIMIT 1)"
    assert any("has lost the value of its seal" in each for each in faults(done_to(path, tmp_path / "x.db", one), head))
    assert after("DELETE FROM checkpoint WHERE size = 100") == {"checkpoints": whole.checkpoints - 1}
    assert after("DELETE FROM probe") == {}
    newest = "DELETE FROM checkpoint WHERE size > 100"
    assert any("#100 is not covered" in each for each in faults(done_to(path, tmp_path / "x.db", newest), head))
    for state in ("R-1", "R-999999"):
        copy = done_to(path, tmp_path / "x.db", f"DELETE FROM request_state WHERE request = '{state}'")
        assert any(f"request_state does not know {state}" in each for each in faults(copy, head))

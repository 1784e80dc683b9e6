"""`check_ledger` must be able to fail: each thing that it looks at, spoiled alone."""

import re
from pathlib import Path

import pytest
from nacl.signing import SigningKey
from tests.check import check_ledger
from tests.store.ledgers import LEDGER, VKEY, edited, held, note, one, opened, step

from pgnotary.ledger.checkpoint import vkey
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.life import Move, State
from pgnotary.store import Append, writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
async def closed(path: Path) -> Path:
    """A ledger of five entries: R-1 is denied, R-2 held."""
    async with opened(path) as store:
        [first, _] = await one(store, held("R-1"), note(1))
        await one(store, note(2), held("R-2"))
        await one(store, step(EntryType.DECISION, "R-1", first.leaf, State.HELD, State.DENIED))
    check_ledger(path, VKEY)
    return path


FIRST = " WHERE leaf = (SELECT leaf FROM entry WHERE seq = 0)"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("DELETE FROM entry WHERE seq = 2", "entry 2 is missing, the next one is 3"),
        (
            "UPDATE entry SET raw = CAST(raw || ' ' AS BLOB) WHERE seq = 1",
            "entry 1: the leaf is not the hash of its bytes",
        ),
        ("UPDATE entry SET leaf = zeroblob(32) WHERE seq = 2", "entry 2: the leaf is not the hash of its bytes"),
        ("UPDATE entry SET request = 'R-2' WHERE seq = 0", "entry 0: columns"),
        ("UPDATE entry SET session = NULL WHERE seq = 1", "entry 1: columns"),
        ("UPDATE entry SET type = 'void' WHERE seq = 1", "entry 1: columns"),
        ("UPDATE entry SET time = '' WHERE seq = 1", "entry 1: columns"),
        ("DELETE FROM checkpoint", "no checkpoint"),
        ("DELETE FROM checkpoint WHERE size = 5", "entry 4 and those behind it have no checkpoint"),
        ("DELETE FROM entry WHERE seq = 4", "entry 4 is missing, the newest checkpoint is over 5"),
        (
            "UPDATE checkpoint SET note = (SELECT note FROM checkpoint WHERE size = 4) WHERE size = 2",
            "checkpoint over entry 1: not over these entries",
        ),
        (
            "UPDATE checkpoint SET note = replace(note, '\u2014 ', '\u2014 x') WHERE size = 2",
            "over entry 1: signed by x",
        ),
        ("UPDATE sealed SET value = x'00'" + FIRST, "entry 0: does not commit to this statement"),
        ("UPDATE sealed SET salt = zeroblob(32)" + FIRST, "entry 0: does not commit to this statement"),
        ("UPDATE sealed SET name = 'reason'" + FIRST, "entry 0: does not commit to the reason"),
        ("UPDATE sealed SET leaf = zeroblob(32)" + FIRST, "the sealed statement belongs to no entry"),
        ("DELETE FROM request_state WHERE request = 'R-2'", "states of ['R-1'], entries of ['R-1', 'R-2']"),
        (
            "UPDATE request_state SET state = 'approved' WHERE request = 'R-2'",
            "entry 3 of R-2: the store says approved",
        ),
        (
            "UPDATE request_state SET leaf = zeroblob(32) WHERE request = 'R-1'",
            "entry 4 of R-1: the store knows another",
        ),
    ],
)
def test_what_was_spoiled_is_named(closed: Path, change: str, fault: str) -> None:
    edited(closed, change)
    with pytest.raises(AssertionError, match=re.escape(fault)):
        check_ledger(closed, VKEY)


def test_a_checkpoint_by_another_key_is_no_checkpoint(closed: Path) -> None:
    other = vkey(LEDGER, bytes(SigningKey(bytes(32)).verify_key))
    with pytest.raises(AssertionError, match="checkpoint over entry -1: not signed by this key"):
        check_ledger(closed, other)
    check_ledger(closed)


@pytest.mark.parametrize(
    ("appends", "fault"),
    [
        ([held("R-1"), Append(Draft(EntryType.PREVIEW, request="R-1"))], "entry 1 of R-1: not after the one before it"),
        ([Append(Draft(EntryType.FORWARDED, after=bytes(32)))], "entry 0: after something, but of no request"),
        ([Append(Draft(EntryType.VOID, request="R-1"))], "entry 0 of R-1: void cannot follow on ['None']"),
        (
            [Append(Draft(EntryType.WITHDRAWN, request="R-1"), Move("R-1", None, State.HELD))],
            "entry 0 of R-1: withdrawn cannot follow on ['None']",
        ),
    ],
)
async def test_a_life_that_cannot_be_is_named(
    path: Path, appends: list[Append], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unguarded(*_: object) -> bool:
        return True

    # The store itself does not write such lives.
    monkeypatch.setattr(writing, "_moved", unguarded)
    async with opened(path) as store:
        await one(store, *appends)
    with pytest.raises(AssertionError, match=re.escape(fault)):
        check_ledger(path, VKEY)

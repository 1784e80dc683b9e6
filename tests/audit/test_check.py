"""A ledger that grows while it is checked."""

from collections.abc import Iterator

import pytest
from tests.verify.builder import VKEY, Ledger, one_approval

from pgnotary.audit.check import check, vouched
from pgnotary.errors import LedgerBroken
from pgnotary.store import StoredEntry


class Growing:
    """A reader over a ledger that gains two entries whenever somebody looks at its checkpoints."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def entries(self) -> Iterator[StoredEntry]:
        return iter(list(self.ledger.stored))

    def checkpoints(self) -> Iterator[str]:
        notes = list(self.ledger.notes)
        self.ledger.forward("select 1")
        self.ledger.forward("select 1")
        return iter(notes)


def test_what_is_appended_during_the_check_is_left_to_the_next_one() -> None:
    assert check(Growing(one_approval()), VKEY).entries == 12


def test_damage_is_found_in_a_ledger_that_grows() -> None:
    ledger = one_approval()
    ledger.edit(3, lambda fields: fields["body"].update(extra="x"))
    with pytest.raises(LedgerBroken):
        check(Growing(ledger), VKEY)


def test_an_uncovered_entry_is_found_in_a_ledger_that_rests() -> None:
    ledger = one_approval()
    ledger.notes.pop()
    with pytest.raises(LedgerBroken, match="is not covered"):
        check(ledger, VKEY)


def test_a_remembered_checkpoint_is_put_in_its_place_whatever_its_size() -> None:
    ledger = one_approval()
    later = one_approval()
    later.forward("select 1")
    assert check(ledger, VKEY, remembered=[ledger.notes[5], ledger.notes[2]]).checkpoints == 14
    with pytest.raises(LedgerBroken, match="#12 and what follows is missing"):
        check(ledger, VKEY, remembered=[later.notes[-1]])


def test_a_ledger_without_any_checkpoint_is_not_believed() -> None:
    ledger = one_approval()
    ledger.notes.clear()
    with pytest.raises(LedgerBroken, match="nobody has signed"):
        check(ledger, VKEY)


def test_a_checkpoint_that_cannot_be_read_is_a_fault() -> None:
    ledger = one_approval()
    ledger.notes.append("rubbish")
    with pytest.raises(LedgerBroken, match="cannot be believed"):
        check(ledger, VKEY)


def test_an_empty_ledger_can_be_vouched_for() -> None:
    ledger = Ledger()
    ledger.notes.append(ledger.sign())
    assert next(vouched(check(ledger, VKEY), VKEY)).startswith("an empty ledger")

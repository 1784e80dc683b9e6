"""Readers that tell one thing to whoever verifies and another to whoever reads."""

from collections.abc import Iterator

import pytest
from tests.verify.builder import VKEY, Ledger, one_approval

from pgnotary.audit.story import stories
from pgnotary.audit.witness import Witnessed, covered
from pgnotary.errors import LedgerBroken
from pgnotary.ledger.tree import leaf_hash, root_of
from pgnotary.store import Head, StoredEntry


class TwoFaced:
    """A reader whose second reading says that mallory approved."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.readings = 0

    def entries(self) -> Iterator[StoredEntry]:
        self.readings += 1
        for stored in self.ledger.entries():
            raw = stored.raw.replace(b'"person":"eva"', b'"person":"bo"') if self.readings > 1 else stored.raw
            yield StoredEntry(raw, stored.opened)

    def checkpoints(self) -> Iterator[str]:
        return self.ledger.checkpoints()


def test_what_is_told_is_what_was_verified_or_nothing() -> None:
    reader = TwoFaced(one_approval())
    told = covered(reader, VKEY)
    assert [story.person for story in stories(told.entries())] == ["eva"]
    with pytest.raises(LedgerBroken, match="are not the 12 entries under head"):
        list(stories(told.entries()))


@pytest.mark.parametrize("vkey", [VKEY, None])
def test_an_entry_that_was_changed_under_the_newest_checkpoint_is_not_told(vkey: str | None) -> None:
    ledger = one_approval()
    ledger.edit(4, lambda fields: fields["body"].update(person="bo"))
    with pytest.raises(LedgerBroken):
        list(covered(ledger, vkey).entries())


def test_entries_behind_the_head_are_not_told_and_missing_ones_are_missed() -> None:
    ledger = one_approval()
    head = Head(5, root_of(leaf_hash(raw) for raw in ledger.raws[:5]))
    assert list(Witnessed(ledger, head).entries()) == ledger.stored[:5]
    del ledger.stored[4:]
    with pytest.raises(LedgerBroken):
        list(Witnessed(ledger, head).entries())


@pytest.mark.parametrize("note", ["rubbish", "a\nb\nc\n", "a\n1\n!\n\nx", ""])
@pytest.mark.parametrize("vkey", [VKEY, None])
def test_a_checkpoint_that_cannot_be_read_covers_nothing(note: str, vkey: str | None) -> None:
    ledger = one_approval()
    ledger.notes.append(note)
    with pytest.raises(LedgerBroken, match="the newest checkpoint cannot be believed"):
        covered(ledger, vkey)


def test_a_value_that_its_entry_does_not_commit_to_is_not_told() -> None:
    ledger = one_approval()
    salt, _ = ledger.stored[4].opened["statement"]
    ledger.stored[4].opened["statement"] = (salt, b"DROP TABLE orders")
    with pytest.raises(LedgerBroken, match="#4 the opened statement is not what its entry commits to"):
        list(stories(ledger.entries()))
    ledger.stored[4].opened["statement"] = ledger.stored[4].opened.pop("reason")
    ledger.stored[4].opened["more"] = (salt, b"x")
    with pytest.raises(LedgerBroken, match="#4 the opened"):
        list(stories(ledger.entries()))

"""Where drafts become entries: behind the end of a ledger, in order, whatever keeps the bytes.

A tail, a time and drafts enter; entries with their place, commitments and salts leave, and the signed checkpoint over
all of them. Nothing is written here, and the tail that a batch began with is never changed: if the storage fails, the
batch is dropped and nothing has happened.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pgnotary.errors import NotCanonical
from pgnotary.ledger.checkpoint import Checkpoint, sign
from pgnotary.ledger.entries import Draft, Position, Receipt, write_entry
from pgnotary.ledger.seals import commitment
from pgnotary.ledger.tree import Tree

__all__ = ["Batch", "Tail"]


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a ledger as it was last read from, or committed to, its storage: all that appending needs."""

    tree: Tree
    """Over all leaves; never changed once it is here."""
    leaf: bytes
    """The last entry's, or FIRST_PREV."""
    time: datetime
    """The last entry's; no entry's time lies before it."""
    note: str
    """The checkpoint over exactly these entries."""


class Batch:
    """The entries of one transaction."""

    def __init__(self, ledger: str, tail: Tail, now: datetime, salt: Callable[[], bytes]) -> None:
        self._ledger = ledger
        self._salt = salt
        self._leaf = tail.leaf
        # A clock that was set back must not put an entry before its predecessor.
        self._time = max(now.astimezone(UTC), tail.time)
        self._tree = Tree.of(tail.tree.size, tail.tree.roots)
        self.receipts: list[Receipt] = []
        """Of what was taken, in order."""

    def place(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Return the entries that these drafts become if they are taken next; raises NotCanonical."""
        receipts: list[Receipt] = []
        prev = self._leaf
        for seq, draft in enumerate(drafts, self._tree.size):
            opened = {name: (self._salt(), value) for name, value in draft.sealed.items()}
            try:
                seals = {name: commitment(name, salt, value) for name, (salt, value) in opened.items()}
            except ValueError as error:
                raise NotCanonical(str(error)) from error
            receipt = Receipt(write_entry(draft, Position(self._ledger, seq, prev, self._time), seals), opened)
            receipts.append(receipt)
            prev = receipt.leaf
        return receipts

    def take(self, receipts: Sequence[Receipt]) -> None:
        """Let these entries be the next ones."""
        for receipt in receipts:
            self._leaf = receipt.leaf
            self._tree.append(self._leaf)
        self.receipts += receipts

    def tail(self, seed: bytes) -> Tail:
        """Return the end of the ledger once this batch is durable, its checkpoint signed with the proxy's key."""
        note = sign(Checkpoint(self._ledger, self._tree.size, self._tree.root()), self._ledger, seed)
        return Tail(self._tree, self._leaf, self._time, note)

"""The roots that a ledger had at the sizes that decisions name: leaf hashes enter in order, roots leave.

A decision names the head that its approver saw, and nobody says how many entries may stand between the two. So the
sizes are collected in a first look over the entries, and in the second one exactly their roots are kept. Memory is
bounded by the number of decisions, and no number of entries in between lets a head go unchecked.
"""

from collections.abc import Collection, Iterable

from pgnotary.errors import DecisionRefused, NotCanonical
from pgnotary.ledger.base import Base
from pgnotary.ledger.entries import EntryType, parse_entry
from pgnotary.ledger.tree import Tree
from pgnotary.verify.signed import signed

__all__ = ["Heads", "named"]

# An entry is canonical, so one of this type has these bytes; others that have them too only cost time.
_DECISION = f'"type":"{EntryType.DECISION}"'.encode()


def named(entries: Iterable[bytes]) -> frozenset[int]:
    """Return the size of every head that a decision among these entries names; what cannot be read names none."""
    sizes = set()
    for raw in entries:
        if _DECISION in raw:
            try:
                sizes.add(signed(parse_entry(raw))[0].seen.size)
            except (NotCanonical, DecisionRefused):
                continue
    return frozenset(sizes)


class Heads:
    """A tree that only grows and can tell its root now and at each of the sizes that it was told to keep.

    It begins with the entries that a `base` stands for, if there is one.
    """

    def __init__(self, sizes: Collection[int], base: Base | None = None) -> None:
        self._sizes = sizes
        self._tree = base.tree() if base else Tree()
        self.floor = self._tree.size
        """Between 0 and this size no root can be told: the entries are in an archive."""
        # The root of nothing is always known: whose ledger it is tells only the first entry.
        self._roots = {0: Tree().root(), self.floor: self._tree.root()}

    @property
    def size(self) -> int:
        """How many leaves it has."""
        return self._tree.size

    @property
    def roots(self) -> tuple[bytes, ...]:
        """The roots of its complete subtrees, left to right."""
        return self._tree.roots

    def is_archived(self, size: int) -> bool:
        """Whether a head over so many entries lies in an archive that is not at hand."""
        return 0 < size < self.floor

    def root(self) -> bytes:
        """Return the root over all leaves, 32 bytes."""
        return self._tree.root()

    def append(self, leaf: bytes) -> None:
        """Add the next leaf hash."""
        self._tree.append(leaf)
        if self.size in self._sizes:
            self._roots[self.size] = self._tree.root()

    def root_at(self, size: int) -> bytes | None:
        """Return the root over the first `size` leaves, or None if it was not kept or is beyond the end."""
        return self._tree.root() if size == self.size else self._roots.get(size)

"""The roots that a ledger had at the sizes that signatures name: leaf hashes enter in order, roots leave.

A decision or a redaction names the head that its signer saw, and nobody says how many entries may stand between the
two. So the sizes are collected in a first look over the entries, and in the second one exactly their roots are kept.
The same look collects which entries redactions name. Memory is bounded by the number of both, and no number of entries
in between lets a head go unchecked.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pgnotary.errors import DecisionRefused, NotCanonical, RedactionRefused, ReviewRefused
from pgnotary.ledger.base import Base
from pgnotary.ledger.entries import EntryType, parse_entry
from pgnotary.ledger.tree import Tree
from pgnotary.request.redaction import redaction_in
from pgnotary.request.review import review_in
from pgnotary.verify.signed import signed

__all__ = ["Heads", "Named", "named"]

# An entry is canonical, so one of this type has these bytes; others that have them too only cost time.
_DECISION = f'"type":"{EntryType.DECISION}"'.encode()
_REVIEWED = f'"type":"{EntryType.REVIEWED}"'.encode()
_REDACTED = f'"type":"{EntryType.REDACTED}"'.encode()


@dataclass(frozen=True, slots=True)
class Named:
    """What signatures in a ledger name."""

    sizes: frozenset[int]
    """Of the heads that were seen."""
    redacted: frozenset[bytes]
    """The leaves of the entries of which values were redacted."""


def named(entries: Iterable[bytes]) -> Named:
    """Return what the decisions, reviews and redactions among these entries name; what cannot be read names nothing."""
    sizes: set[int] = set()
    leaves: set[bytes] = set()
    for raw in entries:
        try:
            if _DECISION in raw:
                sizes.add(signed(parse_entry(raw))[0].seen.size)
            elif _REVIEWED in raw:
                sizes.add(review_in(parse_entry(raw))[0].seen.size)
            elif _REDACTED in raw:
                redaction, _ = redaction_in(parse_entry(raw))
                sizes.add(redaction.seen.size)
                leaves.update(each.leaf for each in redaction.values)
        except (NotCanonical, DecisionRefused, RedactionRefused, ReviewRefused):
            continue
    return Named(frozenset(sizes), frozenset(leaves))


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

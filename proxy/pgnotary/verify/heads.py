"""The roots that a ledger had at its recent sizes: leaf hashes enter in order, the root at any size of late leaves.

A decision names the head that its approver saw, some entries back. Keeping every root would cost a tree walk for each
entry; so every 64th tree is kept whole with the leaves behind it, and a root is computed only when somebody asks.
Memory is bounded by the window; the head itself and what is inside the window are exact.
"""

from collections import deque
from copy import deepcopy

from pgnotary.ledger.tree import Tree

__all__ = ["WINDOW", "Heads"]

# An approver decides within the life of a request, minutes; this many entries are hours on a busy proxy, and 5 MB.
WINDOW = 131_072
_BLOCK = 64


class Heads:
    """A tree that only grows and can tell its root at any of at least its last `window` sizes."""

    def __init__(self, window: int = WINDOW) -> None:
        self._tree = Tree()
        self._blocks: deque[tuple[Tree, list[bytes]]] = deque(maxlen=window // _BLOCK + 1)
        self._blocks.append((Tree(), []))

    @property
    def size(self) -> int:
        """How many leaves it has."""
        return self._tree.size

    def root(self) -> bytes:
        """Return the root over all leaves, 32 bytes."""
        return self._tree.root()

    def append(self, leaf: bytes) -> None:
        """Add the next leaf hash."""
        if len(self._blocks[-1][1]) == _BLOCK:
            self._blocks.append((deepcopy(self._tree), []))
        self._blocks[-1][1].append(leaf)
        self._tree.append(leaf)

    def root_at(self, size: int) -> bytes | None:
        """Return the root over the first `size` leaves, or None if that is before the window or beyond the end."""
        oldest = self._blocks[0][0].size
        if not oldest <= size <= self.size:
            return None
        before, leaves = self._blocks[max(0, size - oldest - 1) // _BLOCK]
        tree = deepcopy(before)
        for leaf in leaves[: size - before.size]:
            tree.append(leaf)
        return tree.root()

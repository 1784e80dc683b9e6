"""Proofs about a large tree at a bounded cost: the roots of its complete subtrees are kept, its leaves are not.

Leaf hashes enter in order; for a proof it is said which few blocks of leaves must be read again, and with these in hand
its hashes leave. One block has 256 leaves; of everything above a hash stays in memory: 64 bytes for each block, so
256 KB for a million entries. A proof reads at most one block for each end that it has, however large the tree is.
Leaves that are read again are not believed: a proof made of others leads to no root that was signed.
"""

from collections.abc import Iterable, Mapping, Sequence

from pgnotary.ledger.tree import EMPTY_ROOT, HASH_BYTES, Tree, node_hash, root_of, split

__all__ = ["BLOCK", "Subtrees", "blocks_of"]

_BITS = 8
BLOCK = 1 << _BITS

# In the place of a root that went with the leaves below it; no SHA-256 that anybody has seen is zero.
_GONE = bytes(HASH_BYTES)


class Subtrees:
    """A tree that only grows, can tell its root at any size of which the last block is at hand, and make proofs."""

    __slots__ = ("_block", "_levels")

    def __init__(self) -> None:
        self._levels: list[bytearray] = []
        """On level n the roots over BLOCK << n leaves each, one behind the other."""
        self._block = Tree()
        """The leaves behind the last complete block."""

    @classmethod
    def of(cls, size: int, roots: Sequence[bytes]) -> "Subtrees":
        """A tree that goes on behind `size` leaves, given the roots of their complete subtrees, left to right.

        Of what is below it knows no more than these. Raises ValueError if `size` is no multiple of BLOCK.
        """
        blocks, rest = divmod(size, BLOCK)
        if rest or len(roots) != size.bit_count():
            raise ValueError(f"{len(roots)} subtrees of {size} leaves: expected whole blocks of {BLOCK}")
        tree = cls()
        left = list(roots)
        for level in range(blocks.bit_length()):
            count = blocks >> level
            # Lowest last: the smallest subtree is the rightmost one.
            last = [left.pop()] if count & 1 else []
            tree._levels.append(bytearray(_GONE * (count - len(last)) + b"".join(last)))
        return tree

    @property
    def size(self) -> int:
        """How many leaves were appended."""
        return self._blocks * BLOCK + self._block.size

    @property
    def _blocks(self) -> int:
        return len(self._levels[0]) // HASH_BYTES if self._levels else 0

    def append(self, leaf: bytes) -> None:
        """Add the next leaf hash."""
        self._block.append(leaf)
        if self._block.size < BLOCK:
            return
        node, level = self._block.root(), 0
        self._block = Tree()
        while True:
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += node
            count = len(self._levels[level]) // HASH_BYTES
            if count & 1:
                return
            node = node_hash(self._node(level, count - 2), self._node(level, count - 1))
            level += 1

    def tree(self) -> Tree:
        """The tree over all leaves so far, without what proofs need; it grows on its own."""
        blocks = self._blocks
        roots = [
            self._node(level, (blocks >> level) - 1)
            for level in reversed(range(blocks.bit_length()))
            if blocks >> level & 1
        ]
        return Tree.of(self.size, [*roots, *self._block.roots])

    def hashes(self, ranges: Iterable[tuple[int, int]], leaves: Mapping[int, Sequence[bytes]]) -> list[bytes]:
        """The hashes of a proof made of these subtrees; `leaves` are those of each block in `blocks_of(ranges)`.

        Raises ValueError if leaves are missing, or what is asked of lies below the ones that it began with.
        """
        return [self._root(low, high, leaves) for low, high in ranges]

    def root_at(self, size: int, leaves: Mapping[int, Sequence[bytes]]) -> bytes:
        """The root over the first `size` leaves; `leaves` are those of the blocks of this range."""
        return self._root(0, size, leaves) if size else EMPTY_ROOT

    def _node(self, level: int, number: int) -> bytes:
        at = number * HASH_BYTES
        found = bytes(self._levels[level][at : at + HASH_BYTES])
        if found == _GONE:
            raise ValueError(f"nothing is kept of the {BLOCK << level} leaves from {(BLOCK << level) * number} on")
        return found

    def _root(self, low: int, high: int, leaves: Mapping[int, Sequence[bytes]]) -> bytes:
        if not 0 <= low < high <= self.size:
            raise ValueError(f"no leaves {low} to {high} among {self.size}")
        size = high - low
        if size < BLOCK:
            number, at = divmod(low, BLOCK)
            found = leaves.get(number, ())[at : at + size]
            if len(found) != size:
                raise ValueError(f"{len(found)} of {size} leaves at hand from {low} on")
            return root_of(found)
        if size & (size - 1) == 0:
            level = size.bit_length() - 1 - _BITS
            return self._node(level, low >> _BITS >> level)
        middle = split(low, high)
        return node_hash(self._root(low, middle, leaves), self._root(middle, high, leaves))


def blocks_of(ranges: Iterable[tuple[int, int]]) -> frozenset[int]:
    """The numbers of the blocks whose leaves are needed for the hashes over these ranges.

    A subtree begins at a multiple of its size, so what is smaller than a block lies in one, and of a larger one only
    its ragged end is needed.
    """
    return frozenset(high // BLOCK for low, high in ranges if high % BLOCK) | frozenset(
        low // BLOCK for low, high in ranges if high - low < BLOCK
    )

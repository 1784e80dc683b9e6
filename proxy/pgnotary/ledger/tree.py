"""The Merkle tree over all entries: leaf hashes enter, a root and short proofs about it leave.

RFC 6962 section 2: a leaf is hashed behind a 0x00, a node behind a 0x01, so none passes for the other; a tree
is split at the largest power of two below its size. Proofs are built by the definition in that section and
checked by the algorithms of RFC 9162 sections 2.1.3.2 and 2.1.4.2, which know nothing but hashes and sizes.
Nothing is ever proven about an empty tree: it has a root, and every proof that names size 0 is refused.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

from pgnotary.errors import BadProof

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "Tree",
    "consistency_proof",
    "consistency_ranges",
    "inclusion_proof",
    "inclusion_ranges",
    "leaf_hash",
    "node_hash",
    "root_of",
    "split",
    "verify_consistency",
    "verify_inclusion",
]

HASH_BYTES = 32

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """The leaf of an entry's canonical bytes: `printf '\\0' | cat - entry | sha256sum`."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The node above two subtrees, given their hashes."""
    return sha256(b"\1" + left + right).digest()


class Tree:
    """A tree that only grows: append leaf hashes, ask for the root at any time.

    It keeps one hash for each bit set in its size (the roots of its complete subtrees, left to right), never
    the leaves: 64 hashes are enough for more entries than anyone will write.
    """

    __slots__ = ("_roots", "_size")

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._roots: list[bytes] = []
        self._size = 0
        for leaf in leaves:
            self.append(leaf)

    @property
    def size(self) -> int:
        """The number of leaves appended so far."""
        return self._size

    @property
    def roots(self) -> tuple[bytes, ...]:
        """The roots of the complete subtrees, left to right."""
        return tuple(self._roots)

    @classmethod
    def of(cls, size: int, roots: Iterable[bytes]) -> "Tree":
        """A tree of `size` leaves, given the roots of its complete subtrees, left to right."""
        tree = cls()
        tree._size, tree._roots = size, list(roots)
        if len(tree._roots) != size.bit_count():
            raise ValueError(f"{len(tree._roots)} subtrees do not make a tree of {size}")
        return tree

    def append(self, leaf: bytes) -> None:
        """Add the next leaf hash."""
        if len(leaf) != HASH_BYTES:
            raise ValueError(f"a leaf hash has {HASH_BYTES} bytes, not {len(leaf)}")
        roots = self._roots
        # As in binary addition: every trailing one of the size is a subtree that this leaf completes.
        carry = self._size
        while carry & 1:
            leaf = node_hash(roots.pop(), leaf)
            carry >>= 1
        roots.append(leaf)
        self._size += 1

    def root(self) -> bytes:
        """The root over all leaves so far; EMPTY_ROOT if there are none."""
        if not self._roots:
            return EMPTY_ROOT
        root = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            root = node_hash(left, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root of the tree over `leaves`, in their order."""
    return Tree(leaves).root()


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Which subtrees (from leaf, to the one before leaf) make the proof that leaf `index` is under `size` leaves.

    Lowest first: RFC 6962 section 2.1.1, PATH(m, D[n]).
    """
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in the first {size}")
    ranges: list[tuple[int, int]] = []
    low, high = 0, size
    while high - low > 1:
        middle = split(low, high)
        if index < middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
    ranges.reverse()
    return ranges


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """Which subtrees make the proof that the first `new` leaves begin with the first `old`.

    Lowest first: RFC 6962 section 2.1.2, SUBPROOF(m, D[n], b).
    """
    if not 0 < old <= new:
        raise ValueError(f"no proof from size {old} to {new}")
    ranges: list[tuple[int, int]] = []
    low, high = 0, new
    while old != high:
        middle = split(low, high)
        if old <= middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
    # If the walk never turned right, what remains is the old tree itself, whose root the verifier has.
    if low:
        ranges.append((low, high))
    ranges.reverse()
    return ranges


def inclusion_proof(leaves: Sequence[bytes], index: int, size: int) -> list[bytes]:
    """The hashes that lead from leaf `index` to the root of the first `size` leaves, lowest first."""
    if not 0 <= index < size <= len(leaves):
        raise ValueError(f"no leaf {index} in the first {size} of {len(leaves)}")
    return [root_of(leaves[low:high]) for low, high in inclusion_ranges(index, size)]


def consistency_proof(leaves: Sequence[bytes], old: int, new: int) -> list[bytes]:
    """The hashes that show the first `new` leaves to begin with the first `old`, lowest first."""
    if not 0 < old <= new <= len(leaves):
        raise ValueError(f"no proof from size {old} to {new} of {len(leaves)}")
    return [root_of(leaves[low:high]) for low, high in consistency_ranges(old, new)]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise BadProof unless `proof` shows `leaf` at `index` of the tree of `size` leaves under `root`.

    Size and root belong together only because one checkpoint names both: take them from there.
    """
    if not 0 <= index < size:
        raise BadProof(f"no leaf {index} in a tree of {size}")
    _check_hashes([leaf, root, *proof])
    node, at, last = leaf, index, size - 1
    for sibling in proof:
        if last == 0:
            raise BadProof(f"{len(proof)} hashes are too many for leaf {index} of {size}")
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            # At the right edge, levels where this node has no sibling carry it up unchanged.
            while at and not at & 1:
                at >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        at >>= 1
        last >>= 1
    if last != 0:
        raise BadProof(f"{len(proof)} hashes are too few for leaf {index} of {size}")
    if node != root:
        raise BadProof(f"leaf {index} is not under this root of {size} leaves")


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raise BadProof unless `proof` shows the newer tree to begin with all leaves of the older one."""
    if not 0 < old_size <= new_size:
        raise BadProof(f"no proof leads from size {old_size} to {new_size}")
    _check_hashes([old_root, new_root, *proof])
    if old_size == new_size:
        if proof or old_root != new_root:
            raise BadProof(f"two roots for the same {old_size} leaves")
        return
    # A complete old tree is itself the first node of the path, and is left out of the proof.
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not path:
        raise BadProof(f"an empty proof from size {old_size} to {new_size}")
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at >>= 1
        last >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise BadProof(f"{len(proof)} hashes are too many from size {old_size} to {new_size}")
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while at and not at & 1:
                at >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        at >>= 1
        last >>= 1
    if last != 0:
        raise BadProof(f"{len(proof)} hashes are too few from size {old_size} to {new_size}")
    if old != old_root:
        raise BadProof(f"the proof does not begin at the root of {old_size} leaves")
    if new != new_root:
        raise BadProof(f"the proof does not lead to the root of {new_size} leaves")


def split(low: int, high: int) -> int:
    """Where the tree over leaves low to high divides: at the largest power of two below its size."""
    return low + (1 << (high - low - 1).bit_length() - 1)


def _check_hashes(hashes: Iterable[bytes]) -> None:
    # Two hashes of other lengths could join into the same 64 bytes.
    for each in hashes:
        if len(each) != HASH_BYTES:
            raise BadProof(f"a hash of {len(each)} bytes, expected {HASH_BYTES}")

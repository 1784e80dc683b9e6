"""RFC 6962 trees: the published values, every small tree, every changed bit, and a naive tree beside ours."""

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgnotary.errors import BadProof
from pgnotary.ledger.tree import (
    EMPTY_ROOT,
    Tree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "tree.json").read_text(encoding="utf-8"))
PUBLISHED = [leaf_hash(bytes.fromhex(entry)) for entry in VECTORS["entries"]]

LEAVES = [leaf_hash(bytes([n])) for n in range(40)]
ROOTS = [root_of(LEAVES[:n]) for n in range(len(LEAVES) + 1)]


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word by word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\1" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962 section 2.1.1, word by word."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 6962 section 2.1.2, word by word."""
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*naive_subproof(m, leaves[:k], whole=whole), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], whole=False), naive_root(leaves[:k])]


def one_bit_off(hashes: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Each of the lists that differ in one bit of one hash; one bit of every byte, to bound the time."""
    for which, each in enumerate(hashes):
        for at in range(len(each)):
            changed = bytearray(each)
            changed[at] ^= 1 << (at + which) % 8
            yield [*hashes[:which], bytes(changed), *hashes[which + 1 :]]


def test_the_published_roots_hold_for_every_size() -> None:
    tree = Tree()
    assert tree.root() == EMPTY_ROOT
    for size, root in enumerate(VECTORS["roots"]):
        assert root_of(PUBLISHED[:size]).hex() == root
        assert tree.root().hex() == root
        assert tree.size == size
        if size < len(PUBLISHED):
            tree.append(PUBLISHED[size])


def test_the_published_proofs_are_made_and_accepted() -> None:
    for case in VECTORS["inclusion"]:
        proof = inclusion_proof(PUBLISHED, case["index"], case["size"])
        assert [each.hex() for each in proof] == case["proof"]
        root = bytes.fromhex(VECTORS["roots"][case["size"]])
        verify_inclusion(PUBLISHED[case["index"]], case["index"], case["size"], proof, root)
    for case in VECTORS["consistency"]:
        proof = consistency_proof(PUBLISHED, case["old"], case["new"])
        assert [each.hex() for each in proof] == case["proof"]
        old_root, new_root = (bytes.fromhex(VECTORS["roots"][case[key]]) for key in ("old", "new"))
        verify_consistency(case["old"], old_root, case["new"], new_root, proof)


def test_a_leaf_is_what_coreutils_make_of_a_zero_byte_and_the_entry() -> None:
    assert leaf_hash(b"{}") == sha256(b"\0{}").digest()
    assert node_hash(LEAVES[0], LEAVES[1]) == sha256(b"\1" + LEAVES[0] + LEAVES[1]).digest()


def test_every_inclusion_proof_in_every_small_tree_is_accepted_and_is_the_definitions() -> None:
    for size in range(1, len(LEAVES) + 1):
        for index in range(size):
            proof = inclusion_proof(LEAVES, index, size)
            assert proof == naive_path(index, LEAVES[:size])
            verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size])


def test_every_consistency_proof_between_small_trees_is_accepted_and_is_the_definitions() -> None:
    for new in range(1, len(LEAVES) + 1):
        for old in range(1, new + 1):
            proof = consistency_proof(LEAVES, old, new)
            assert proof == naive_subproof(old, LEAVES[:new])
            verify_consistency(old, ROOTS[old], new, ROOTS[new], proof)


def inclusion_is_accepted(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    try:
        verify_inclusion(leaf, index, size, proof, root)
    except BadProof:
        return False
    return True


def consistency_is_accepted(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    try:
        verify_consistency(old, old_root, new, new_root, proof)
    except BadProof:
        return False
    return True


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 16, 23, 40])
def test_no_changed_inclusion_proof_is_accepted(size: int) -> None:
    for index in range(size):
        proof = inclusion_proof(LEAVES, index, size)
        for leaf, root, *path in one_bit_off([LEAVES[index], ROOTS[size], *proof]):
            assert not inclusion_is_accepted(leaf, index, size, path, root)
        for other in range(size):
            assert other == index or not inclusion_is_accepted(LEAVES[index], other, size, proof, ROOTS[size])
        for path in ([*proof, bytes(32)], [bytes(32), *proof], [*proof, ROOTS[size]], proof[:-1], proof[1:]):
            assert path == proof or not inclusion_is_accepted(LEAVES[index], index, size, path, ROOTS[size])


@pytest.mark.parametrize("new", [2, 3, 4, 5, 7, 8, 9, 16, 23, 40])
def test_no_changed_consistency_proof_is_accepted(new: int) -> None:
    for old in range(1, new):
        proof = consistency_proof(LEAVES, old, new)
        for old_root, new_root, *path in one_bit_off([ROOTS[old], ROOTS[new], *proof]):
            assert not consistency_is_accepted(old, old_root, new, new_root, path)
        for path in ([*proof, bytes(32)], [bytes(32), *proof], [ROOTS[old], *proof], proof[:-1], proof[1:], []):
            assert not consistency_is_accepted(old, ROOTS[old], new, ROOTS[new], path)
        assert not consistency_is_accepted(old, ROOTS[new], new, ROOTS[old], proof)
        assert not consistency_is_accepted(new, ROOTS[old], old, ROOTS[new], proof)


def test_a_proof_of_another_length_than_its_sizes_demand_is_refused() -> None:
    path = inclusion_proof(LEAVES, 2, 4)
    with pytest.raises(BadProof, match="too many"):
        verify_inclusion(LEAVES[2], 2, 4, [*path, LEAVES[0]], ROOTS[4])
    with pytest.raises(BadProof, match="too few"):
        verify_inclusion(LEAVES[2], 2, 5, path, ROOTS[4])
    path = consistency_proof(LEAVES, 2, 4)
    with pytest.raises(BadProof, match="too many"):
        verify_consistency(2, ROOTS[2], 4, ROOTS[4], [*path, LEAVES[0]])
    with pytest.raises(BadProof, match="too few"):
        verify_consistency(2, ROOTS[2], 5, ROOTS[4], path)


def test_a_rewritten_history_has_no_consistency_proof() -> None:
    forged = [leaf_hash(b"forged"), *LEAVES[1:]]
    for old in range(1, len(LEAVES)):
        proof = consistency_proof(forged, old, len(forged))
        with pytest.raises(BadProof):
            verify_consistency(old, ROOTS[old], len(forged), root_of(forged), proof)


def test_two_roots_for_one_size_are_refused() -> None:
    verify_consistency(5, ROOTS[5], 5, ROOTS[5], [])
    with pytest.raises(BadProof, match="two roots"):
        verify_consistency(5, ROOTS[5], 5, ROOTS[6], [])
    with pytest.raises(BadProof):
        verify_consistency(5, ROOTS[5], 5, ROOTS[5], [ROOTS[5]])


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 1), (0, 8), (-1, 3), (9, 8)])
def test_nothing_is_proven_about_an_empty_or_a_shrinking_tree(old: int, new: int) -> None:
    with pytest.raises(BadProof):
        verify_consistency(old, EMPTY_ROOT, new, EMPTY_ROOT, [])
    with pytest.raises(ValueError, match="no proof"):
        consistency_proof(LEAVES, old, new)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3), (3, 3)])
def test_a_leaf_outside_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(BadProof):
        verify_inclusion(LEAVES[0], index, size, [], LEAVES[0])
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(LEAVES, index, size)


def test_hashes_of_another_length_are_refused_everywhere() -> None:
    left, right = LEAVES[:2]
    root = node_hash(left, right)
    verify_inclusion(left, 0, 2, [right], root)
    # The same 64 bytes under the node, cut elsewhere.
    with pytest.raises(BadProof, match="31 bytes"):
        verify_inclusion(left[:-1], 0, 2, [left[-1:] + right], root)
    with pytest.raises(BadProof, match="64 bytes"):
        verify_consistency(1, left + right, 2, root, [right])
    with pytest.raises(ValueError, match="32 bytes"):
        Tree([left[:-1]])


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=8), max_size=300), st.data())
def test_large_trees_agree_with_the_naive_one(entries: list[bytes], data: st.DataObject) -> None:
    leaves = [leaf_hash(entry) for entry in entries]
    assert root_of(leaves) == naive_root(leaves)
    if leaves:
        size = data.draw(st.integers(1, len(leaves)))
        index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
        root = naive_root(leaves[:size])
        verify_inclusion(leaves[index], index, size, inclusion_proof(leaves, index, size), root)
        verify_consistency(old, naive_root(leaves[:old]), size, root, consistency_proof(leaves, old, size))


@settings(max_examples=200)
@given(st.integers(1, 40), st.integers(0, 39), st.lists(st.sampled_from([*LEAVES, *ROOTS]), max_size=7))
def test_hashes_from_elsewhere_in_the_tree_prove_nothing_else(size: int, index: int, path: list[bytes]) -> None:
    accepted = inclusion_is_accepted(LEAVES[index], index, size, path, ROOTS[size])
    assert accepted == (index < size and path == inclusion_proof(LEAVES, index, size))

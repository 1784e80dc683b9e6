"""Proofs from kept subtrees are those of the definition, at every size, and read few leaves."""

import random
from collections.abc import Sequence

import pytest

from pgnotary.ledger.subtrees import BLOCK, Subtrees, blocks_of
from pgnotary.ledger.tree import (
    EMPTY_ROOT,
    Tree,
    consistency_proof,
    consistency_ranges,
    inclusion_proof,
    inclusion_ranges,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(n.to_bytes(4)) for n in range(5 * BLOCK + 77)]
EDGES = [n for at in range(0, len(LEAVES), BLOCK) for n in (at - 1, at, at + 1, at + 100) if 0 < n <= len(LEAVES)]


def grown(size: int) -> Subtrees:
    subtrees = Subtrees()
    for leaf in LEAVES[:size]:
        subtrees.append(leaf)
    return subtrees


def at_hand(ranges: Sequence[tuple[int, int]]) -> dict[int, list[bytes]]:
    return {number: LEAVES[number * BLOCK : (number + 1) * BLOCK] for number in blocks_of(ranges)}


def test_the_root_is_that_of_the_tree_at_every_size() -> None:
    subtrees, tree = Subtrees(), Tree()
    assert subtrees.tree().root() == EMPTY_ROOT == subtrees.root_at(0, {})
    for leaf in LEAVES:
        subtrees.append(leaf)
        tree.append(leaf)
        assert (subtrees.size, subtrees.tree().root()) == (tree.size, tree.root())


def test_the_tree_that_is_given_out_grows_on_its_own() -> None:
    subtrees = grown(700)
    tree = subtrees.tree()
    for leaf in LEAVES[700:]:
        tree.append(leaf)
    assert (subtrees.size, tree.root()) == (700, root_of(LEAVES))


@pytest.mark.parametrize("size", [*EDGES, len(LEAVES)])
def test_proofs_are_those_of_the_definition(size: int) -> None:
    subtrees, root = grown(size), root_of(LEAVES[:size])
    chance = random.Random(size)
    for index in {0, size - 1, size // 2, *(chance.randrange(size) for _ in range(20))}:
        ranges = inclusion_ranges(index, size)
        assert len(blocks_of(ranges)) <= 2
        proof = subtrees.hashes(ranges, at_hand(ranges))
        assert proof == inclusion_proof(LEAVES, index, size)
        verify_inclusion(LEAVES[index], index, size, proof, root)
    for old in {1, size, *(edge for edge in EDGES if edge <= size), *(chance.randrange(size) + 1 for _ in range(20))}:
        ranges = consistency_ranges(old, size)
        assert len(blocks_of(ranges)) <= 2
        proof = subtrees.hashes(ranges, at_hand(ranges))
        assert proof == consistency_proof(LEAVES, old, size)
        older = [(0, old)]
        assert len(blocks_of(older)) <= 1
        assert subtrees.root_at(old, at_hand(older)) == root_of(LEAVES[:old])
        verify_consistency(old, root_of(LEAVES[:old]), size, root, proof)


def test_leaves_that_are_missing_are_no_proof() -> None:
    subtrees = grown(300)
    with pytest.raises(ValueError, match="0 of 44 leaves at hand from 256 on"):
        subtrees.hashes([(256, 300)], {})
    with pytest.raises(ValueError, match="no leaves 0 to 301 among 300"):
        subtrees.root_at(301, {})


def test_a_tree_of_other_subtrees_than_its_size_has_is_none() -> None:
    with pytest.raises(ValueError, match="1 subtrees do not make a tree of 3"):
        Tree.of(3, [bytes(32)])

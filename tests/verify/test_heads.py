import pytest
from tests.verify.builder import Ledger, one_approval

from pgnotary.ledger.tree import leaf_hash, root_of
from pgnotary.request.decision import Seen
from pgnotary.verify.heads import Heads, Named, named

LEAVES = [leaf_hash(bytes([n % 256, n // 256])) for n in range(300)]


def grown(sizes: set[int]) -> Heads:
    heads = Heads(sizes)
    for leaf in LEAVES:
        heads.append(leaf)
    return heads


def test_the_root_at_every_size_that_was_asked_for_is_that_of_the_first_leaves() -> None:
    heads = grown(set(range(301)))
    assert all(heads.root_at(size) == root_of(LEAVES[:size]) for size in range(301))
    assert heads.root() == root_of(LEAVES)


@pytest.mark.parametrize("sizes", [set(), {7}, {7, 8, 299}])
def test_only_the_roots_that_were_asked_for_are_kept(sizes: set[int]) -> None:
    heads = grown(sizes)
    assert {size for size in range(-1, 302) if heads.root_at(size) is not None} == sizes | {0, 300}


def test_no_root_is_told_beyond_the_end_or_below_nothing() -> None:
    heads = Heads({2, -1})
    heads.append(LEAVES[0])
    assert heads.root_at(2) is None
    assert heads.root_at(-1) is None


def test_the_first_look_finds_every_head_that_a_decision_names() -> None:
    ledger = one_approval()
    ledger.ask("R-2")
    ledger.preview("R-2")
    ledger.decide("R-2", seen=Seen(3, bytes(32)))
    assert named(ledger.raws).sizes == {6, 3}
    assert named([*ledger.raws, b"", b'"type":"decision"', b'"type":"redacted"', b"\xff"]).sizes == {6, 3}
    assert named(Ledger().start().raws) == Named(frozenset(), frozenset())

from pgnotary.ledger.tree import leaf_hash, root_of
from pgnotary.verify.heads import Heads

LEAVES = [leaf_hash(bytes([n % 256, n // 256])) for n in range(300)]


def test_the_root_at_every_size_is_that_of_the_first_leaves() -> None:
    heads = Heads()
    for leaf in LEAVES:
        heads.append(leaf)
    assert all(heads.root_at(size) == root_of(LEAVES[:size]) for size in range(len(LEAVES) + 1))
    assert heads.root() == root_of(LEAVES)


def test_asking_for_a_root_changes_nothing() -> None:
    heads = Heads()
    for leaf in LEAVES:
        heads.append(leaf)
        heads.root_at(heads.size // 2)
    assert heads.root() == root_of(LEAVES)


def test_no_root_is_told_beyond_the_end_or_below_nothing() -> None:
    heads = Heads()
    heads.append(LEAVES[0])
    assert heads.root_at(2) is None
    assert heads.root_at(-1) is None


def test_a_size_before_the_window_is_not_known_any_more() -> None:
    heads = Heads(window=128)
    for leaf in LEAVES:
        heads.append(leaf)
    known = [size for size in range(301) if heads.root_at(size) is not None]
    assert known == list(range(known[0], 301))
    assert 128 <= 301 - known[0] < 200
    assert all(heads.root_at(size) == root_of(LEAVES[:size]) for size in known)

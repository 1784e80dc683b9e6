"""What is remembered of verdicts, and what is not."""

from pgnotary.judge.catalog import BUILT_IN, Catalog
from pgnotary.judge.policy import PROFILES, Action
from pgnotary.serve.verdicts import MAX_REMEMBERED, Verdicts


def test_a_text_that_comes_again_is_not_read_again() -> None:
    verdicts = Verdicts(PROFILES["default"])
    assert verdicts.judge(b"SELECT 1", BUILT_IN) is verdicts.judge(b"SELECT 1", BUILT_IN)


def test_the_same_text_in_a_database_with_other_functions_is_another_one() -> None:
    verdicts = Verdicts(PROFILES["default"])
    assert verdicts.judge(b"SELECT t.f FROM t", BUILT_IN)[1].action is Action.FORWARD
    assert verdicts.judge(b"SELECT t.f FROM t", Catalog(frozenset({"f"})))[1].action is Action.HOLD


def test_what_is_held_is_not_remembered() -> None:
    verdicts = Verdicts(PROFILES["default"])
    assert verdicts.judge(b"DELETE FROM t", BUILT_IN) is not verdicts.judge(b"DELETE FROM t", BUILT_IN)


def test_no_tree_of_what_is_forwarded_is_kept() -> None:
    statement, _ = Verdicts(PROFILES["default"]).judge(b"SELECT 1; SELECT 2", BUILT_IN)
    assert [part.tree for part in statement.parts] == [None, None]


def test_the_oldest_text_is_forgotten_first_and_one_that_came_again_is_not_old() -> None:
    verdicts = Verdicts(PROFILES["default"])
    first, second = verdicts.judge(b"SELECT 0", BUILT_IN), verdicts.judge(b"SELECT 1", BUILT_IN)
    for n in range(2, MAX_REMEMBERED):
        verdicts.judge(b"SELECT %d" % n, BUILT_IN)
    assert verdicts.judge(b"SELECT 0", BUILT_IN) is first
    verdicts.judge(b"SELECT 'one more'", BUILT_IN)
    assert verdicts.judge(b"SELECT 0", BUILT_IN) is first
    assert verdicts.judge(b"SELECT 1", BUILT_IN) is not second

"""What is needed of whom: what a file writes, what can never be met, and the strictest of several."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.errors import ConfigError
from pgnotary.judge.needs import ANYONE, ONE_OF_ANYONE, Group, GroupTable, Need, groups_of, needs_of, seated, strictest
from pgnotary.judge.policy import verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rules import PROFILES, Action, Rule, Wishes, policy_of
from pgnotary.judge.statement import StatementClass

DBA, OWNERS = Group("dba", ("ana", "bo")), Group("owners", ("cy",))
GROUPS = (DBA, OWNERS)


def test_words_become_needs_in_their_order() -> None:
    said = ("2 of dba", "1 of owners", "1 of anyone")
    assert needs_of("approvals", said, GROUPS) == (Need(2, "dba"), Need(1, "owners"), Need(1, ANYONE))
    assert needs_of("approvals", (), GROUPS) == ()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("two of dba",), "approvals is 'two of dba': expected a number and a group"),
        (("0 of dba",), "approvals is '0 of dba': expected a number"),
        (("2  of dba",), "approvals is '2  of dba': expected a number"),
        (("1 of dbas",), "there is no group 'dbas': expected one of dba, owners, anyone"),
        (("3 of dba",), "approvals is '3 of dba': dba has 2 (ana, bo), so that nobody could ever meet it"),
        (("1 of dba", "1 of dba"), "dba stands there twice"),
        (("99 of anyone",), "approvals are 99 approvals: expected at most 16"),
    ],
)
def test_what_can_never_be_met_is_told_at_the_start(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        needs_of("approvals", words, GROUPS)
    assert told in str(error.value)


def test_the_same_few_people_in_several_groups_are_not_several_people() -> None:
    groups = (Group("dba", ("ana", "bo")), Group("owners", ("Ana", "BO")))
    assert needs_of("approvals", ("1 of dba", "1 of owners"), groups)
    with pytest.raises(ConfigError, match="too few different people"):
        needs_of("approvals", ("2 of dba", "1 of owners"), groups)


@pytest.mark.parametrize(
    ("name", "people", "told"),
    [
        ("DBA", ("ana",), "group[0].name is 'DBA'"),
        ("anyone", ("ana",), "everybody on the roster"),
        ("dba", (), "group[0].people are 0"),
        ("dba", ("ana", "ANA"), "twice"),
        ("dba", ("ana bo",), "expected the name of one person"),
        ("dba", ("*",), "expected the name of one person"),
        ("dba", tuple(f"p{n}" for n in range(65)), "are 65: expected 1 to 64"),
    ],
)
def test_a_group_that_could_be_misread_is_refused(name: str, people: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        groups_of([GroupTable(name=name, people=people)])
    assert told in str(error.value)


def test_a_group_stands_there_once() -> None:
    with pytest.raises(ConfigError, match="twice"):
        groups_of([GroupTable(name="dba", people=("ana",)), GroupTable(name="dba", people=("bo",))])


_people = st.lists(st.sampled_from("abcde"), max_size=5, unique=True)
_chairs = st.lists(st.none() | st.frozensets(st.sampled_from("abcde"), min_size=1), max_size=5)


def _most(people: list[str], chairs: list[frozenset[str] | None]) -> int:
    """By trying every way to sit down."""
    return max(
        sum(who is not None and (chair is None or who in chair) for who, chair in zip(order, chairs, strict=True))
        for order in itertools.permutations([*people, *[None] * len(chairs)], len(chairs))
    )


@given(_people, _chairs)
def test_as_many_sit_as_can(people: list[str], chairs: list[frozenset[str] | None]) -> None:
    taken = seated(people, chairs)
    assert len(taken) == _most(people, chairs) == len(set(taken.values()))
    for at, who in taken.items():
        allowed = chairs[at]
        assert allowed is None or who in allowed


_needs = st.dictionaries(st.sampled_from(["x", "y", ANYONE]), st.integers(1, 2), min_size=1).map(
    lambda counts: tuple(Need(count, group) for group, count in counts.items())
)
_MEMBERS = {"x": frozenset("abc"), "y": frozenset("bcd"), ANYONE: None}


def _met(people: list[str], needs: tuple[Need, ...]) -> bool:
    chairs = [_MEMBERS[need.group] for need in needs for _ in range(need.count)]
    return len(seated(people, chairs)) == len(chairs)


@given(_needs, _needs, _people)
def test_whoever_meets_the_strictest_meets_each(
    one: tuple[Need, ...], other: tuple[Need, ...], people: list[str]
) -> None:
    if _met(people, strictest([one, other])):
        assert _met(people, one)
        assert _met(people, other)


def test_the_strictest_asks_nobody_twice_for_the_same() -> None:
    assert strictest([ONE_OF_ANYONE, (Need(2, "dba"),)]) == (Need(2, "dba"),)
    assert strictest([(Need(3),), (Need(2, "dba"),)]) == (Need(2, "dba"), Need(1))
    assert strictest([(Need(1, "dba"),), (Need(2, "dba"), Need(1, "owners"))]) == (Need(2, "dba"), Need(1, "owners"))


DROPS = Rule("policy/drops", Action.HOLD, (StatementClass.DROP,), wishes=Wishes(approvals=(Need(2, "dba"),)))
POLICY = policy_of(PROFILES["default"], (DROPS,), groups=GROUPS)


@pytest.mark.parametrize("text", [b"DELETE FROM a; DROP TABLE b", b"DROP TABLE b; DELETE FROM a"])
def test_an_attacker_does_not_get_a_drop_approved_by_fewer_behind_a_delete(text: bytes) -> None:
    assert verdict(read(text), POLICY).terms.approvals == (Need(2, "dba"),)


def test_what_no_rule_says_is_as_policy_says() -> None:
    policy = policy_of(PROFILES["default"], (DROPS,), groups=GROUPS, approvals=(Need(1, "owners"),))
    assert verdict(read(b"DELETE FROM a"), policy).terms.approvals == (Need(1, "owners"),)
    assert verdict(read(b"DELETE FROM a"), POLICY).terms.approvals == ()
    both = verdict(read(b"DELETE FROM a; DROP TABLE b"), policy).terms.approvals
    assert both == (Need(1, "owners"), Need(2, "dba"))


def test_the_digest_changes_with_groups_and_needs_and_stays_without() -> None:
    default = PROFILES["default"]
    plain = policy_of(default)
    assert plain.digest == policy_of(default, (), groups=(), approvals=ONE_OF_ANYONE).digest
    others = [
        policy_of(default, (), groups=GROUPS),
        policy_of(default, (), groups=(DBA, Group("owners", ("dan",)))),
        policy_of(default, (), groups=GROUPS, approvals=(Need(2, "dba"),)),
        policy_of(default, (), groups=GROUPS, break_glass="dba"),
        policy_of(default, (), groups=GROUPS, break_glass="owners"),
    ]
    assert len({each.digest for each in (plain, *others)}) == len(others) + 1


def test_the_digest_of_a_policy_without_any_of_it_is_what_it_was() -> None:
    # Of the version before there were groups.
    assert policy_of(PROFILES["default"]).digest == "ce55e174c134f70e970da66d5af9cee11c0f04ef550f269be434273752a754e6"

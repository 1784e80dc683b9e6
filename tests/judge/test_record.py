"""What a rule says of the record: only a rule that forwards says it, and a text is summed up only as a whole."""

import pytest

from pgnotary.errors import ConfigError
from pgnotary.judge.catalog import BUILT_IN
from pgnotary.judge.meaning import weigh
from pgnotary.judge.policy import verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rule_table import RuleTable, rules_of
from pgnotary.judge.rules import PROFILES, Record, policy_of
from pgnotary.judge.scope import UNSCOPED
from pgnotary.judge.statement import StatementClass

SUMMED = RuleTable(name="reads", result="forward", class_="select", record="summary")
EACH = RuleTable(name="reads", result="forward", class_="select", record="each")


@pytest.mark.parametrize("result", ["hold", "refuse"])
@pytest.mark.parametrize("record", ["each", "summary"])
def test_only_a_rule_that_forwards_may_say_it(result: str, record: str) -> None:
    with pytest.raises(ConfigError, match=r"rule\[0\].record is .*: expected only in a rule that forwards"):
        rules_of([RuleTable(name="x", result=result, record=record)])


@pytest.mark.parametrize("word", ["", "none"])
def test_another_word_is_an_error(word: str) -> None:
    with pytest.raises(ConfigError, match=r"rule\[0\].record is .*: expected one of each, summary"):
        rules_of([RuleTable(name="x", result="forward", record=word)])


def test_it_is_part_of_the_digest_and_each_is_the_default() -> None:
    summed, each, silent = (
        policy_of(PROFILES["default"], rules_of([table]))
        for table in (SUMMED, EACH, RuleTable(name="reads", result="forward", class_="select"))
    )
    assert summed.digest != each.digest == silent.digest
    assert all(rule.record is Record.EACH for profile in PROFILES.values() for rule in profile.rules)


def test_a_policy_that_sums_up_nothing_has_the_digest_that_it_had_before_any_could() -> None:
    digests = [policy_of(profile).digest for profile in PROFILES.values()]
    assert digests == [
        "ce55e174c134f70e970da66d5af9cee11c0f04ef550f269be434273752a754e6",
        "bc0fff77dabc7399cccaaff1acbec00ce96269dd533053612ea0085bcd874923",
        "116f62ebc7e7da0ccd94b4803949ebcb4881b2d68db6735b27b8d8692ec2b85b",
        "0756f916128730b42b868c0f1147b7e8ed2e2cdbf24cdd85c8615c8765698831",
    ]
    own = policy_of(PROFILES["default"], rules_of([EACH]))
    assert own.digest == "763565b86fe06fe877eaf206aa70a52dfb73412d302e50bb70f684cce3bab5a7"


@pytest.mark.parametrize(
    ("sql", "record"),
    [("SELECT 1", "summary"), ("SELECT 1; SELECT 2", "summary"), ("SELECT 1; SHOW work_mem", "each")],
)
def test_a_text_is_summed_up_only_if_all_of_it_is(sql: str, record: str) -> None:
    said = verdict(weigh(read(sql.encode()), BUILT_IN, UNSCOPED), policy_of(PROFILES["default"], rules_of([SUMMED])))
    assert (said.action, said.record) == ("forward", record)
    assert said.kind == StatementClass.SELECT


def test_what_would_have_been_held_is_listed() -> None:
    own = rules_of([SUMMED, RuleTable(name="writes", result="hold", class_="update")])
    said = verdict(
        weigh(read(b"SELECT 1; UPDATE t SET a = 1"), BUILT_IN, UNSCOPED), policy_of(PROFILES["observe"], own)
    )
    assert (said.action, said.would, said.record) == ("forward", "policy/writes", "each")

"""How a foreign suite's results are read and compared."""

from xml.etree.ElementTree import ParseError

import pytest
from tests.foreign.results import (
    ABSENT,
    Difference,
    Outcome,
    Result,
    by_reason,
    differences,
    read_results,
    totals,
)

JUNIT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest">
  <testcase classname="tests.test_a.TestA" name="test_good" time="0.1"><system-out>x</system-out></testcase>
  <testcase classname="tests.test_a" name="test_bad[a b]">
    <failure message="psycopg.errors.FeatureNotSupported: not carried&#10;LINE 1: CALL">the traceback</failure>
  </testcase>
  <testcase classname="tests.test_a" name="test_torn"></testcase>
  <testcase classname="tests.test_a" name="test_torn">
    <error message="failed on teardown with &quot;x&quot;">y</error>
  </testcase>
  <testcase classname="tests.test_a" name="test_not">
    <skipped type="pytest.skip" message="too old">z</skipped>
  </testcase>
  <testcase classname="" name="tests.test_b"><error>
    no message: collection failed
  </error></testcase>
</testsuite></testsuites>
"""
FAILED = Result(Outcome.FAILED, "0A000")
PASSED = Result(Outcome.PASSED)


def test_each_test_has_one_result_with_the_first_line_of_its_error() -> None:
    assert read_results(JUNIT) == {
        "tests.test_a.TestA::test_good": PASSED,
        "tests.test_a::test_bad[a b]": Result(Outcome.FAILED, "psycopg.errors.FeatureNotSupported: not carried"),
        "tests.test_a::test_torn": Result(Outcome.ERROR, 'failed on teardown with "x"'),
        "tests.test_a::test_not": Result(Outcome.SKIPPED, "too old"),
        "tests.test_b": Result(Outcome.ERROR, "no message: collection failed"),
    }


def test_results_that_end_too_early_are_no_results() -> None:
    with pytest.raises(ParseError):
        read_results(JUNIT[:-20])


def test_results_are_counted_by_their_outcome() -> None:
    counted = totals(read_results(JUNIT))
    assert [counted[outcome] for outcome in Outcome] == [0, 1, 1, 1, 2]


def test_only_other_outcomes_are_differences_not_other_reasons() -> None:
    other = Result(Outcome.FAILED, "another reason")
    assert differences({"a": FAILED, "b": PASSED, "c": PASSED}, {"a": other, "b": FAILED, "c": PASSED}) == [
        Difference("b", PASSED, FAILED)
    ]


def test_a_test_that_ran_in_one_way_alone_is_a_difference() -> None:
    assert differences({"a": PASSED}, {"b": PASSED}) == [
        Difference("a", PASSED, ABSENT),
        Difference("b", ABSENT, PASSED),
    ]


def test_differences_are_grouped_by_their_reason_the_most_frequent_first() -> None:
    rare, often = Result(Outcome.ERROR, "rare"), FAILED
    groups = by_reason(differences(dict.fromkeys("abcd", PASSED), {"a": rare, "b": often, "c": often, "d": PASSED}))
    assert [(reason, [each.test for each in group]) for reason, group in groups] == [
        ("0A000", ["b", "c"]),
        ("rare", ["a"]),
    ]

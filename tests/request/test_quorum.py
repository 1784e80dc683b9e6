"""Whose approvals a request needs: out of policy into its entry, out of its entry, and what is still missing."""

import pytest
from tests.verify.test_quorums import DBA, OWNERS

from pgnotary.errors import TooLarge
from pgnotary.judge.needs import ANYONE, Group, Need
from pgnotary.judge.rules import PROFILES, policy_of
from pgnotary.ledger.canonical import JSON
from pgnotary.request.quorum import Quorum, check_needs, people_in, quorum_fields, quorum_in

GROUPS = (Group("dba", ("ana", "bo")), Group("owners", ("cy", "Ana")))
POLICY = policy_of(PROFILES["default"], (), groups=GROUPS, break_glass="owners")
PLAIN = policy_of(PROFILES["default"])


def _quorum(*groups: dict[str, JSON]) -> Quorum:
    counts = [each["count"] for each in groups]
    return quorum_in({"needs": sum(count for count in counts if isinstance(count, int)), "quorum": list(groups)})


def test_the_usual_is_written_as_it_was_before_there_were_groups() -> None:
    assert quorum_fields((), PLAIN) == quorum_fields((Need(1),), PLAIN) == {"needs": 1}
    assert quorum_in({"needs": 1}).is_usual
    assert quorum_in({}).is_usual


def test_an_entry_has_the_people_of_its_time() -> None:
    fields = quorum_fields((Need(2, "dba"), Need(1, ANYONE)), POLICY)
    assert fields == {
        "needs": 3,
        "quorum": [{"count": 2, "group": "dba", "people": ["ana", "bo"]}, {"count": 1, "group": "anyone"}],
        "break_glass": ["cy", "Ana"],
    }
    assert quorum_in(fields).words("eva") == "2 of dba (ana, bo) and 1 of anyone on the roster"
    assert people_in(fields) == ("cy", "Ana")


def test_what_is_missing_is_told_without_who_has_approved_and_who_asks() -> None:
    quorum = _quorum(DBA, OWNERS)
    assert quorum.missing_words(()) == "2 more of dba and 1 more of owners"
    assert quorum.missing_words(["ANA", "cy"]) == "1 more of dba"
    assert [each.words("eva") for each in quorum.missing(["ANA", "cy"])] == ["1 of dba (bo)"]
    assert [each.words("bo") for each in quorum.missing(["ANA", "cy"])] == ["1 of dba (nobody but who asks)"]
    assert quorum.missing_words(["ana", "cy", "bo"]) == ""


def test_who_is_in_two_groups_makes_room_for_who_comes_later() -> None:
    quorum = _quorum({**DBA, "count": 1}, OWNERS)
    assert quorum.takes(["ana"], "bo")
    assert quorum.takes(["ana"], "cy")
    assert quorum.lacks(["ana", "cy"]) == quorum.lacks(["ana", "bo"]) == 0
    assert not quorum.takes(["ana", "cy"], "bo")
    assert not quorum.takes(["ana"], "Ana")
    assert not quorum.takes([], "eva")


def test_more_than_can_be_asked_for_is_refused_before_anybody_is_asked() -> None:
    check_needs((Need(8, "dba"), Need(8, "owners")))
    with pytest.raises(TooLarge, match="17 approvals together: at most 16"):
        check_needs((Need(8, "dba"), Need(9, "owners")))

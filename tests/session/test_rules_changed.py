"""Other rules come into force while a session goes on: what is under way ends under its own, what begins does not."""

from dataclasses import replace

import pytest
from tests.play import Play, approve, error, until
from tests.session.stories import held, in_a_block

from pgnotary.judge.needs import Need
from pgnotary.judge.rules import PROFILES, Action, Policy, Rule, Wishes, policy_of
from pgnotary.judge.statement import StatementClass
from pgnotary.serve.verdicts import Verdicts
from pgnotary.session.events import RulesChanged

STRICT = policy_of(PROFILES["strict"], (), approvals=(Need(2),))


NO_READS = policy_of(PROFILES["default"], (Rule("policy/no", Action.REFUSE, (StatementClass.SELECT,)),))
READ = "select 1"


def _changed(play: Play, policy: Policy = STRICT) -> RulesChanged:
    return RulesChanged(replace(play.state.rules, policy=policy), Verdicts(policy))


def test_what_is_held_keeps_the_rules_that_it_was_held_under_and_the_next_one_has_others(play: Play) -> None:
    before = play.state.rules.policy.digest
    held(play) >> _changed(play)
    assert play.state.rules.policy.digest == before
    play >> approve() << until("client ready I")
    assert play.ledger.body("request")["policy"] == before
    assert play.state.rules.policy.digest == STRICT.digest
    play >> "insert into t values (1)" << until("announce R-2")
    asked = play.ledger.body("request", "R-2")
    assert (asked["policy"], asked["needs"], asked["quorum"]) == (STRICT.digest, 2, [{"count": 2, "group": "anyone"}])


def test_what_begins_after_it_is_judged_by_the_new_ones_though_the_same_text_has_passed(play: Play) -> None:
    for _ in range(3):
        play >> READ << until("client ready I")
    assert play.state.refused == 0
    play >> _changed(play, NO_READS)
    play >> READ << until("client ready I")
    assert play.state.refused == 1


def test_a_transaction_that_began_under_others_is_not_vouched_for_when_it_is_prepared(play: Play) -> None:
    in_a_block(play) >> READ << until("client ready T")
    assert not _is_older(play)
    play >> _changed(play)
    assert _is_older(play)


def _is_older(play: Play) -> bool:
    assert play.state.block is not None
    return play.state.block.older_rules


def _of_production(result: Action, approvals: tuple[Need, ...] = ()) -> Policy:
    """Reads pass, and whatever else there is meets one rule."""
    reads = Rule("policy/reads", Action.FORWARD, (StatementClass.SELECT, StatementClass.TRANSACTION))
    return policy_of(PROFILES["default"], (reads, Rule("policy/rest", result, wishes=Wishes(approvals=approvals))))


@pytest.mark.parametrize("block", [False, True])
def test_what_only_the_wall_has_seen_write_needs_what_a_write_needs(play: Play, block: bool) -> None:
    play >> _changed(play, _of_production(Action.HOLD, (Need(2),)))
    play.server.on(READ, error("25006", "cannot execute INSERT in a read-only transaction"))
    (in_a_block(play) if block else play) >> READ << until("announce R-1")
    asked = play.ledger.body("request")
    assert (asked["rule"], asked["needs"]) == ("wall/25006", 2)


@pytest.mark.parametrize("block", [False, True])
def test_what_only_the_wall_has_seen_write_is_refused_where_a_write_is(play: Play, block: bool) -> None:
    play >> _changed(play, _of_production(Action.REFUSE))
    play.server.on(READ, error("25006", "cannot execute INSERT in a read-only transaction"))
    (in_a_block(play) if block else play) >> READ << until("client ERROR 0A000 refused by pgnotary...")
    play << until(f"client ready {'E' if block else 'I'}")
    assert play.state.refused == 1

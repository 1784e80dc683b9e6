"""Approvals that are not enough: the statement goes on waiting behind them, and what ends it stands behind them."""

import pytest
from tests.play import CLIENT_GONE, Play, after, approve, approve_in_part, deny, durable, until
from tests.session.stories import DELETE, held, in_a_block, runs_by_itself, worked_by_hand

from pgnotary.session import events

IN_PART = "client NOTICE 00000 R-1 approved by ana: fine (ledger #..."
CANCELLED = "client ERROR 57014 canceling statement due to user request"


def test_each_is_told_and_the_last_one_runs_it(play: Play) -> None:
    held(play) >> approve_in_part() << IN_PART
    play >> approve_in_part("cy", "1 more of owners") << "client NOTICE 00000 R-1 approved by cy: fine (ledger #..."
    play >> approve() << until("client DELETE 5") << "client ready I"
    assert play.ledger.life("R-1") == [
        "request", "preview", "decision approve", "decision approve", "decision approve", "intent", "executed",
        "outcome committed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ending", "said", "entry"),
    [
        (events.CancelRequested(), CANCELLED, "withdrawn cancel"),
        (after(900), "client ERROR 57014 R-1 expired: no decision in 15 min", "expired"),
        (deny(), "client ERROR 42501 R-1 denied by bo: not today", "decision deny"),
    ],
    ids=["cancel", "expiry", "denial"],
)
def test_what_ends_it_stands_behind_them(play: Play, ending: object, said: str, entry: str) -> None:
    held(play) >> approve_in_part() << IN_PART
    play >> ending << until(said) << "client ready I"  # type: ignore[operator]
    assert play.ledger.life("R-1")[2:] == ["decision approve", entry]
    assert DELETE not in play.server.heard


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_that_lost_to_one_is_recorded_behind_it(play: Play, times: int) -> None:
    worked_by_hand(held(play), server=False) >> events.CancelRequested() << "record withdrawn cancel"
    for _ in range(times):
        play >> approve_in_part()
        play >> durable << IN_PART << "record withdrawn cancel"
    play >> durable << "retire R-1" << CANCELLED << "client ready I"
    assert play.ledger.life("R-1")[2:] == ["decision approve"] * times + ["withdrawn cancel"]


def test_a_client_that_leaves_behind_one_withdraws(play: Play) -> None:
    held(in_a_block(play)) >> approve_in_part() << IN_PART
    play >> CLIENT_GONE << until("close")
    assert play.ledger.life("R-1")[2:] == ["decision approve", "withdrawn client-gone"]


def test_the_deadline_stays_where_it_was(play: Play) -> None:
    held(play) >> after(899) << until("client NOTICE 00000 R-1 still waiting for approval, 1 s left")
    play >> approve_in_part() << IN_PART
    play >> after(1) << until("client ERROR 57014 R-1 expired: no decision in 15 min") << "client ready I"


def test_one_that_overtakes_the_last_ones_delivery_is_no_end(play: Play) -> None:
    worked_by_hand(held(play), server=False) >> after(900) << "record expired"
    first, second = list(approve_in_part().do(play)), list(approve().do(play))
    play >> durable
    play >> first[0] << IN_PART << "record expired"
    play >> second[0]
    play >> durable << "retire R-1" << until("record intent")
    runs_by_itself(play) >> durable << until("client DELETE 5") << "client ready I"

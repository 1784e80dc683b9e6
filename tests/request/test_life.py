"""The life of a request: the moves of the table, and no others."""

import itertools

import pytest

from pgnotary.request.life import FINAL, MOVES, Move, State

LEGAL = {
    (None, "held"),
    ("held", "approved"),
    ("held", "denied"),
    ("held", "expired"),
    ("held", "withdrawn"),
    ("held", "orphaned"),
    ("approved", "intent"),
    ("approved", "void"),
    ("intent", "executed"),
    ("intent", "failed"),
    ("intent", "rolled-back"),
    ("intent", "unknown"),
    ("executed", "committed"),
    ("executed", "rolled-back"),
    ("executed", "unknown"),
    ("executed", "prepared"),
    ("prepared", "committed"),
    ("prepared", "rolled-back"),
    ("prepared", "unknown"),
    ("prepared", "resolved"),
    ("unknown", "prepared"),
    ("unknown", "resolved"),
}


@pytest.mark.parametrize(("of", "to"), list(itertools.product([None, *State], State)))
def test_a_move_can_be_made_exactly_if_the_table_has_it(of: State | None, to: State) -> None:
    if (of, to) in LEGAL:
        assert (Move("R-1", of, to).of, Move("R-1", of, to).to) == (of, to)
    else:
        with pytest.raises(ValueError, match="R-1: no move from"):
            Move("R-1", of, to)


def test_what_is_final_stays() -> None:
    assert {
        "denied",
        "expired",
        "withdrawn",
        "orphaned",
        "void",
        "failed",
        "committed",
        "rolled-back",
        "resolved",
    } == FINAL
    assert not FINAL & MOVES.keys()


def test_every_state_can_be_reached_and_every_life_can_end() -> None:
    reached, ahead = set(), [State.HELD]
    while ahead:
        state = ahead.pop()
        if state not in reached:
            reached.add(state)
            ahead.extend(MOVES.get(state, ()))
    assert reached == set(State)
    ending = set(FINAL)
    for _ in State:
        ending |= {state for state in State if MOVES.get(state, frozenset()) & ending}
    assert ending == set(State)


def test_nothing_is_executed_without_an_approval_and_an_intent() -> None:
    before = {to: {of for of in (None, *State) if to in MOVES.get(of, frozenset())} for to in State}
    assert before[State.EXECUTED] == {State.INTENT}
    assert before[State.INTENT] == {State.APPROVED}
    assert before[State.APPROVED] == {State.HELD}
    assert before[State.COMMITTED] == {State.EXECUTED, State.PREPARED}

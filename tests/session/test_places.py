"""Places for holds: counted exactly, by person and in all; a hold that finds none leaves the session as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.play import CLIENT_GONE, SERVER_GONE, Happening, Play, after, approve, deny, error, until
from tests.session.stories import DELETE, held, in_a_block, ran_in_a_block

from pgnotary.ledger.entries import EntryType
from pgnotary.session import events
from pgnotary.session.places import Places, TooManyHeld

REFUSED = "client ERROR 53300 1 statement of eva waits for approval already, at most 1 may (policy.max_held_per_person)"


def test_the_last_place_is_taken_once() -> None:
    places = Places(2, 10)
    places.enter("S-1", "eva")
    places.enter("S-2", "eva")
    with pytest.raises(TooManyHeld, match="2 statements of eva wait for approval already, at most 2 may"):
        places.enter("S-3", "eva")
    places.enter("S-4", "bo")


def test_all_together_have_a_limit_too() -> None:
    places = Places(5, 2)
    places.enter("S-1", "eva")
    places.enter("S-2", "bo")
    with pytest.raises(TooManyHeld, match=r"2 statements wait for approval already, at most 2 may \(policy.max_held\)"):
        places.enter("S-3", "ana")
    places.leave("S-1")
    places.enter("S-3", "ana")


def test_names_that_differ_only_in_case_are_one_person() -> None:
    places = Places(1, 10)
    places.enter("S-1", "eva")
    with pytest.raises(TooManyHeld):
        places.enter("S-2", "Eva")


def test_a_place_that_was_refused_or_left_twice_is_not_counted() -> None:
    places = Places(1, 10)
    places.enter("S-1", "eva")
    with pytest.raises(TooManyHeld):
        places.enter("S-2", "eva")
    places.leave("S-2")
    with pytest.raises(TooManyHeld):
        places.enter("S-2", "eva")
    places.leave("S-1")
    places.leave("S-1")
    assert len(places) == 0
    places.enter("S-2", "eva")
    with pytest.raises(TooManyHeld):
        places.enter("S-1", "eva")


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.sampled_from(["eva", "bo", "ana"]))))
def test_there_are_never_more_than_may_be_and_never_fewer_than_could_be(
    moves: list[tuple[bool, int, str]],
) -> None:
    places = Places(2, 4)
    model: dict[str, str] = {}
    for enters, number, person in moves:
        session = f"S-{number}"
        if not enters:
            places.leave(session)
            model.pop(session, None)
        elif session not in model:
            full = len(model) >= 4 or list(model.values()).count(person) >= 2
            if full:
                with pytest.raises(TooManyHeld):
                    places.enter(session, person)
            else:
                places.enter(session, person)
                model[session] = person
        assert len(places) == len(model)


# --- in a session -----------------------------------------------------------------------------------------------------


def _others_hold(play: Play) -> Places:
    """All places of the person are taken by another of their sessions."""
    play.state.places = Places(1, 10)
    play.state.places.enter("S-other", "eva")
    return play.state.places


def test_a_further_statement_is_refused_before_the_server_is_asked_about_it(play: Play) -> None:
    _others_hold(play)
    play >> DELETE << REFUSED << "client ready I"
    assert play.server.heard == []
    assert play.state.refused == 1
    play >> after(1) << "note 1"
    refusal = play.ledger.entries[-1]
    assert refusal.type is EntryType.FORWARDED
    assert "53300" in str(refusal.body)
    play >> "select 1" << until("client ready I")


def test_a_further_statement_inside_a_block_fails_the_block(play: Play) -> None:
    _others_hold(play)
    in_a_block(play) >> DELETE << "upstream Bind" << "upstream Sync" << REFUSED << "client ready E"
    play >> "rollback" << until("client ready I")


def test_the_statement_is_held_once_there_is_a_place(play: Play) -> None:
    _others_hold(play).leave("S-other")
    held(play)
    assert len(play.state.places) == 1


ENDS: dict[str, tuple[Happening, str]] = {
    "approved": (approve(), "client ready I"),
    "denied": (deny(), "client ready I"),
    "expired": (after(900), "client ready I"),
    "withdrawn": (events.CancelRequested(), "client ready I"),
    "client gone": (CLIENT_GONE, "close"),
    "server gone": (SERVER_GONE, "close"),
    "proxy stops": (events.Shutdown(), "close"),
}


@pytest.mark.parametrize("how", ENDS)
def test_every_end_of_a_hold_gives_its_place_back(play: Play, how: str) -> None:
    happening, line = ENDS[how]
    held(play) >> happening << until(line)
    assert len(play.state.places) == 0


def test_what_runs_is_not_held_any_more(play: Play) -> None:
    ran_in_a_block(in_a_block(play))
    assert len(play.state.places) == 0


def test_what_the_server_refuses_itself_takes_no_place(play: Play) -> None:
    play.server.on(f"PARSE {DELETE}", error("42P01", 'relation "t" does not exist'))
    play >> DELETE << until("client ready I")
    assert len(play.state.places) == 0


@pytest.mark.parametrize("type_", ["request", "preview"])
def test_what_cannot_be_recorded_takes_no_place(play: Play, type_: str) -> None:
    play.ledger.fails[type_] = False
    play >> DELETE << until("client ready I")
    assert len(play.state.places) == 0

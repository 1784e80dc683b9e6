"""The end of a session: what is open in its record is settled, as far as the ledger lets us."""

import pytest
from tests.play import CLIENT_GONE, SERVER_GONE, Play, after, durable, ledger_is_down, not_recorded, until
from tests.session.stories import in_a_block, ran_in_a_block, worked_by_hand

UNSETTLED = ["upstream Terminate", "close"]


def test_all_that_ran_in_the_open_block_is_rolled_back(play: Play) -> None:
    ran_in_a_block(ran_in_a_block(in_a_block(play)), "delete from u", "R-2") >> CLIENT_GONE
    play << "record outcome rolled-back" << "record outcome rolled-back" << "record session-closed" << UNSETTLED


def test_a_server_that_closes_has_rolled_back_the_open_block(play: Play) -> None:
    ran_in_a_block(in_a_block(play)) >> SERVER_GONE << "client FATAL 08006..." << "record outcome rolled-back"
    play << "record session-closed" << "close"


@pytest.mark.parametrize("happened", [False, True], ids=["not written", "written all the same"])
@pytest.mark.parametrize("failing", ["outcome", "session-closed"])
def test_what_cannot_be_recorded_does_not_keep_the_session(play: Play, failing: str, happened: bool) -> None:
    play.ledger.fails[failing] = happened
    ran_in_a_block(in_a_block(play)) >> CLIENT_GONE << until("close")


def test_the_end_waits_for_a_note_that_is_on_its_way(play: Play) -> None:
    worked_by_hand(play, server=False) >> "select 1" << until("client ready I")
    play >> after(1) << "note 1"
    play >> CLIENT_GONE
    play >> durable << "record session-closed"
    play >> durable << UNSETTLED


def test_the_end_does_not_wait_for_a_ledger_that_is_down(play: Play) -> None:
    worked_by_hand(play, server=False) >> "select 1" << until("client ready I")
    play >> after(1) << "note 1"
    play >> CLIENT_GONE
    play >> ledger_is_down << UNSETTLED


def test_the_end_does_not_begin_to_wait_for_a_ledger_that_is_down(play: Play) -> None:
    worked_by_hand(play, server=False) >> "select 1" << until("client ready I")
    play >> after(1) << "note 1"
    play >> ledger_is_down
    play >> CLIENT_GONE << UNSETTLED


def test_a_last_record_that_fails_is_the_last(play: Play) -> None:
    worked_by_hand(play) >> CLIENT_GONE << "record session-closed"
    play >> not_recorded() << UNSETTLED

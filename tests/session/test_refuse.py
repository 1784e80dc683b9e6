"""Saying no as PostgreSQL would: inside a block a refusal leaves it failed, by a message that can do nothing else."""

from tests.play import SERVER_GONE, Play, message, ready, server, until
from tests.session.stories import in_a_block, worked_by_hand

from pgnotary.session import actions
from pgnotary.wire import messages

REFUSED = "set transaction_read_only = off"


def test_a_block_is_failed_by_a_bind_of_a_statement_that_does_not_exist(play: Play) -> None:
    in_a_block(play) >> REFUSED << until("client ready E")
    sent = [action.data for action in play.said if isinstance(action, actions.ToUpstream)]
    assert sent[-1] == messages.bind_unknown_statement(b"pgnotary_refused") + messages.SYNC


def test_a_block_that_cannot_be_failed_ends_the_session(play: Play) -> None:
    worked_by_hand(in_a_block(play), ledger=False) >> REFUSED << "upstream Bind" << "upstream Sync"
    play >> server(message("2"), ready("T"))
    play << "client FATAL 08006 the server broke the protocol: a failing message left the transaction status at b'T'"
    play << "record forwarded + session-closed" << "close"


def test_a_server_lost_while_a_block_is_failed_ends_the_session(play: Play) -> None:
    worked_by_hand(in_a_block(play), ledger=False) >> REFUSED << "upstream Bind" << "upstream Sync"
    play >> SERVER_GONE << "client FATAL 08006 the server closed the connection"
    play << "record forwarded + session-closed" << "close"

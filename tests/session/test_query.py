"""A simple query: which way a verdict goes, in which state of the block and of the ledger."""

import pytest
from tests.listed import listed
from tests.play import (
    CLIENT_GONE,
    Play,
    after,
    error,
    ledger_is_back,
    ledger_is_down,
    message,
    until,
)
from tests.session.stories import DELETE, held, in_a_block

from pgnotary.session.events import ClientBytes

ABORTED = "client ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block"


def in_a_failed_block(play: Play) -> Play:
    play.server.on("select 1/0", error("22012", "division by zero"))
    in_a_block(play) >> "select 1/0" << until("client ready E")
    return play


@pytest.mark.parametrize(
    "text", ["select 1", DELETE, "begin", "savepoint a", "release a", "set timezone = 'UTC'", "commit prepared 'x'"]
)
def test_in_a_failed_block_nothing_is_sent(play: Play, text: str) -> None:
    heard = in_a_failed_block(play).server.heard.copy()
    play >> text << ABORTED << "client ready E"
    assert play.server.heard == heard


@pytest.mark.parametrize("text", ["commit; select 1", "begin; select 1; commit", "select 1; select 2"])
def test_in_a_failed_block_no_string_is_sent(play: Play, text: str) -> None:
    in_a_failed_block(play) >> text << ABORTED << "client ready E"


@pytest.mark.parametrize("text", ["rollback", "commit", "abort", "end", "prepare transaction 'x'"])
def test_a_failed_block_can_be_ended(play: Play, text: str) -> None:
    in_a_failed_block(play) >> text << f"upstream {text}" << "client ROLLBACK" << "client ready I"


def test_a_failed_block_answers_an_empty_query(play: Play) -> None:
    in_a_failed_block(play) >> "" << "upstream " << "client nothing to do" << "client ready E"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"prepare transaction '{'x' * 200}'", "the name of a prepared transaction has at most 199 bytes, not 200"),
        (f"commit prepared '{'é' * 100}'", "the name of a prepared transaction has at most 199 bytes, not 200"),
        ("commit prepared 'x'; select 1", "COMMIT PREPARED runs alone, outside any transaction block"),
        ("select 1; prepare transaction 'x'", "transaction control may share a message with other statements only..."),
        ("set transaction_read_only = off", "transaction_read_only decides what a signature means..."),
        ("copy t from stdin; select 1", "COPY FROM STDIN runs alone: send it in a message of its own"),
        ("select 1; vacuum", "MAINTENANCE runs alone, outside any transaction block"),
        ("commit; delete from t", "transaction control may share a message with other statements only as..."),
        ("begin; select 1", "transaction control may share a message with other statements only as..."),
    ],
)
def test_what_policy_refuses_is_not_sent(play: Play, text: str, why: str) -> None:
    play >> text << f"client ERROR 0A000 refused by pgnotary: {why}" << "client ready I"
    play >> after(1) << "note 1"
    assert listed(play.ledger.body("forwarded"))[0]["verdict"] == "refuse"
    assert play.server.heard == []


def test_a_refusal_fails_an_open_block(play: Play) -> None:
    in_a_block(play) >> "set transaction_read_only = off" << "upstream Bind" << "upstream Sync"
    play << "client ERROR 0A000 refused by pgnotary: transaction_read_only decides..." << "client ready E"
    play >> "set transaction_read_only = off" << ABORTED << "client ready E"


@pytest.mark.parametrize("inner", ["select 1", DELETE])
def test_a_bracket_is_not_carried_inside_a_block(play: Play, inner: str) -> None:
    in_a_block(play) >> f"begin; {inner}; commit" << "upstream Bind" << "upstream Sync"
    play << "client ERROR 0A000 BEGIN; ...; COMMIT in one message is carried only outside a transaction block"
    play << "client ready E"


def test_a_text_that_is_not_utf8_is_refused(play: Play) -> None:
    play >> ClientBytes(message("Q", b"select '\xff'\0")) << "client ERROR 22021 invalid byte sequence..."
    play << "client ready I"


@pytest.mark.parametrize(
    "text", ["select 1", DELETE, "begin", "commit", "", "prepare transaction 'x'", "commit prepared 'x'"]
)
def test_while_the_ledger_is_down_nothing_is_sent(play: Play, text: str) -> None:
    play >> ledger_is_down
    play >> text << "client ERROR 58030 the ledger cannot be written: disk full" << "client ready I"
    assert play.server.heard == []
    play >> ledger_is_back
    play >> "select 1" << "upstream select 1" << until("client ready I")


def test_while_the_ledger_is_down_no_string_gets_through_by_beginning_with_rollback(play: Play) -> None:
    in_a_block(play) >> ledger_is_down
    play >> "rollback; select 1" << "upstream Bind" << "upstream Sync" << "client ERROR 58030..." << "client ready E"


def test_while_the_ledger_is_down_a_rollback_outside_a_block_has_nothing_to_undo(play: Play) -> None:
    play >> ledger_is_down
    play >> "rollback" << "client ERROR 58030..." << "client ready I"


def test_a_text_that_cannot_be_read_is_held(play: Play) -> None:
    held(play, "select 1 as \u2028 x") >> CLIENT_GONE << until("close")

"""Forwarding: what is harmless goes through at once, byte for byte, and never outside the read-only wall."""

import pytest
from tests.listed import listed
from tests.play import (
    CLIENT_GONE,
    SERVER_GONE,
    Play,
    after,
    answers,
    approve,
    command,
    durable,
    error,
    ledger_is_back,
    ledger_is_down,
    message,
    ready,
    row,
    server,
    until,
)
from tests.session.stories import full, held, in_a_block, worked_by_hand

from pgnotary.session import actions, events
from pgnotary.wire import messages

OPEN_WALL = "upstream SAVEPOINT pgnotary_read; SET LOCAL transaction_read_only = on"
CLOSE_WALL = "upstream ROLLBACK TO SAVEPOINT pgnotary_read; RELEASE SAVEPOINT pgnotary_read"


def test_a_read_goes_through_at_once(play: Play) -> None:
    play >> "select 1"
    play << "upstream select 1" << "client columns" << "client row 1" << "client SELECT 1" << "client ready I"


def test_a_read_goes_through_byte_for_byte(play: Play) -> None:
    text = "  SELECT\t'\u00e9', 1 -- why\n; "
    play >> text << until("client ready I")
    (sent,) = [action.data for action in play.said if isinstance(action, actions.ToUpstream)]
    assert sent == messages.query(text.encode())


def test_rows_reach_the_client_before_the_answer_is_whole(play: Play) -> None:
    worked_by_hand(play) >> "select 1" << "upstream select 1"
    play >> server(row("1")) << "client row 1"
    play >> server(command("SELECT 1")) << "client SELECT 1"
    play >> server(ready("I")) << "client ready I"


def test_inside_a_block_a_read_runs_behind_a_read_only_savepoint(play: Play) -> None:
    in_a_block(play) >> "select 1"
    play << OPEN_WALL << "upstream select 1" << "client columns" << "client row 1" << "client SELECT 1"
    play << CLOSE_WALL << "client ready T"


@pytest.mark.parametrize("text", ["explain select 1", "copy t to stdout", "copy (select 1) to stdout"])
def test_everything_that_runs_code_of_the_database_is_walled_in(play: Play, text: str) -> None:
    in_a_block(play) >> text << OPEN_WALL << f"upstream {text}" << until(CLOSE_WALL) << "client ready T"


def test_each_read_of_a_string_has_its_own_wall_and_a_setting_outlasts_it(play: Play) -> None:
    in_a_block(play) >> "select 1; set statement_timeout = 1000; select 2" << OPEN_WALL << "upstream select 1"
    play << until(CLOSE_WALL) << "upstream set statement_timeout = 1000" << until(OPEN_WALL) << "upstream select 2"
    play << until(CLOSE_WALL) << "client ready T"


@pytest.mark.parametrize("text", ["show server_version", "set statement_timeout = 1000", ""])
def test_what_runs_no_code_needs_no_wall(play: Play, text: str) -> None:
    in_a_block(play) >> text << f"upstream {text}" << until("client ready T")


def test_a_block_that_asked_for_read_only_is_walled_all_the_same(play: Play) -> None:
    play >> "begin read only" << until("client ready T")
    play >> "select 1" << OPEN_WALL << "upstream select 1" << until(CLOSE_WALL) << "client ready T"


def test_what_nobody_has_seen_write_is_stopped_by_the_wall_and_held(play: Play) -> None:
    play.server.on("select * from spy", error("25006", "cannot execute INSERT in a read-only transaction"))
    in_a_block(play) >> "select * from spy" << OPEN_WALL << "upstream select * from spy"
    play << "upstream ROLLBACK TO SAVEPOINT pgnotary_read; RELEASE SAVEPOINT pgnotary_read" << until("announce R-1")
    assert play.ledger.body("request")["rule"] == "wall/25006"


def test_the_wall_of_a_failed_read_goes_with_the_savepoint_before_it(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    in_a_block(play) >> "savepoint mine" << until("client ready T")
    play >> "select 1/0" << until("client ready E")
    play >> "rollback to mine" << "upstream rollback to mine" << "client ROLLBACK" << "client ready T"
    play >> "select 1" << OPEN_WALL << until(CLOSE_WALL) << "client ready T"


def test_a_wall_that_cannot_be_set_ends_the_session(play: Play) -> None:
    in_a_block(play)
    worked_by_hand(play) >> "select 1" << OPEN_WALL
    play >> server(error("XX000", "no"), ready("E"))
    play << "client FATAL 08006 the server broke the protocol: the read-only savepoint could not be set..."
    play << "record forwarded + session-closed"
    play >> durable << "close"


def test_a_wall_that_cannot_be_taken_down_ends_the_session(play: Play) -> None:
    in_a_block(play)
    worked_by_hand(play) >> "select 1" << OPEN_WALL
    play >> answers() << "upstream select 1"
    play >> answers() << until(CLOSE_WALL)
    play >> server(error("XX000", "no"), ready("E"))
    play << "client FATAL 08006 the server broke the protocol: the read-only savepoint could not be undone..."
    play << "record forwarded + session-closed" >> durable << "close"


def test_copy_out_is_relayed(play: Play) -> None:
    play.server.on("copy t to stdout", message("H", b"\0\0\0"), message("d", b"1\n"), message("c"), command("COPY 1"))
    play >> "copy t to stdout" << "upstream copy t to stdout"
    play << "client copy out" << "client copy data" << "client copy done" << "client COPY 1" << "client ready I"


def test_an_empty_query_is_answered_by_the_server(play: Play) -> None:
    play >> "" << "upstream " << "client nothing to do" << "client ready I"


def test_a_bracket_of_reads_is_sent_slice_by_slice(play: Play) -> None:
    play >> "begin; select 1; select 2; commit"
    play << "upstream begin" << "upstream SET TRANSACTION READ WRITE" << "client BEGIN"
    play << OPEN_WALL << "upstream select 1" << until(CLOSE_WALL)
    play << OPEN_WALL << "upstream select 2" << until(CLOSE_WALL)
    play << "upstream commit" << "client COMMIT" << "client ready I"


def test_a_bracket_stops_where_postgresql_would(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    play >> "begin; select 1/0; select 2; commit" << until(OPEN_WALL) << "upstream select 1/0"
    play << "client ERROR 22012 division by zero" << "client ready E"
    play >> "rollback" << "upstream rollback" << "client ROLLBACK" << "client ready I"


def test_a_bracket_whose_begin_fails_goes_no_further(play: Play) -> None:
    play.server.on("begin", error("25001", "no"))
    play >> "begin; select 1; commit" << "upstream begin" << "client ERROR 25001 no" << "client ready I"


def test_the_engineers_reason_is_what_the_server_says(play: Play) -> None:
    play.server.reason = "PAY-2210"
    held(play)
    announced = next(action for action in play.said if isinstance(action, actions.Announce))
    assert announced.request.opened["reason"][1] == b"PAY-2210"


def test_what_was_forwarded_is_noted_once_a_second(play: Play) -> None:
    play >> "select 1" << until("client ready I")
    play >> "select 2" << until("client ready I")
    play >> after(1) << "note 2"
    play >> after(1)
    assert [each["tag"] for each in listed(play.ledger.body("forwarded"))] == ["SELECT 1", "SELECT 1"]


def test_an_error_of_the_server_is_noted_with_its_sqlstate(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    play >> "select 1/0" << until("client ready I")
    play >> after(1) << "note 1"
    assert listed(play.ledger.body("forwarded"))[0]["sqlstate"] == "22012"


def test_a_note_that_is_on_its_way_keeps_the_next_one_waiting(play: Play) -> None:
    worked_by_hand(play, server=False) >> "select 1" << until("client ready I")
    play >> after(1) << "note 1"
    play >> "select 2" << until("client ready I")
    play >> after(1)
    play >> durable << "note 1"


def test_a_full_batch_is_noted_at_once(play: Play) -> None:
    for _ in range(499):
        play >> "select 1" << until("client ready I")
    play >> "select 1" << until("client ready I") << "note 500"


def test_when_too_much_waits_for_the_disk_forwarding_waits_too(play: Play) -> None:
    full(play) >> "select 2"
    play >> durable << "upstream select 2" << "note 4000" << until("client ready I")


def test_who_waits_for_the_disk_is_told_that_it_is_lost(play: Play) -> None:
    full(play) >> "select 2"
    play >> ledger_is_down << "client ERROR 58030 the ledger cannot be written: disk full" << "client ready I"


def test_a_client_that_waits_for_the_disk_may_leave(play: Play) -> None:
    full(play) >> "select 2"
    play >> CLIENT_GONE
    play >> durable << "record " + " + ".join(["forwarded"] * 8) + " + session-closed"
    play >> durable << "upstream Terminate" << "close"


def test_a_client_that_leaves_while_the_disk_is_lost_is_let_go(play: Play) -> None:
    full(play) >> ledger_is_down
    play >> CLIENT_GONE << "upstream Terminate" << "close"


def test_a_server_that_leaves_while_the_disk_is_awaited_is_noticed(play: Play) -> None:
    full(play) >> "select 2"
    play >> SERVER_GONE << "client FATAL 08006 the server closed the connection"
    play >> ledger_is_down << "close"


def test_ctrl_c_while_the_disk_is_awaited_does_no_harm(play: Play) -> None:
    full(play) >> "select 2"
    play >> events.CancelRequested()
    play >> durable << "upstream select 2" << "note 4000" << until("client ready I")


def test_rollback_passes_when_the_disk_is_lost(play: Play) -> None:
    in_a_block(play)

    play >> ledger_is_down
    play >> "rollback" << "upstream rollback" << "client ROLLBACK" << "client ready I"
    play >> ledger_is_back
    play >> "select 1" << until("client ready I")


def test_a_text_that_turns_out_to_want_copy_data_is_told_that_there_is_none(play: Play) -> None:
    text = "\u00a0copy t from stdin"
    held(play, text)
    worked_by_hand(play, ledger=False) >> approve() << until("upstream BEGIN...")
    play >> answers() << "record intent" << f"upstream {text}"
    play >> server(message("G", b"\0\0\0")) << "upstream CopyFail"
    play >> server(error("57014", "COPY from stdin failed"), ready("E")) << "upstream ROLLBACK"
    play >> server(command("ROLLBACK"), ready("I")) << "record outcome failed"
    play << "client ERROR 57014 COPY from stdin failed" << "client ready I"

"""The session core: messages in order, one at a time; what must not be carried; how a session ends."""

import pytest
from tests.play import (
    CLIENT_GONE,
    SERVER_GONE,
    Play,
    after,
    answers,
    command,
    durable,
    error,
    ledger_is_down,
    message,
    not_recorded,
    ready,
    row,
    server,
    until,
)
from tests.session.stories import DELETE, held, in_a_block, runs_by_itself, worked_by_hand

from pgnotary.errors import NotCanonical
from pgnotary.judge.settings import PINNED
from pgnotary.session import actions, events
from pgnotary.session.events import ClientBytes
from pgnotary.session.inbox import MAX_MESSAGE_BYTES
from pgnotary.wire import messages

SYNC = messages.SYNC
PARSE = messages.parse(b"", b"set transaction_read_only = off")
BATCH = PARSE + message("B", b"\0\0\0\0\0\0\0\0") + message("D", b"P\0") + message("E", b"\0\0\0\0\0")
NOT_CARRIED = "client ERROR 0A000 refused by pgnotary: transaction_read_only decides..."
LEFT = ["record session-closed", "upstream Terminate", "close"]
UNANSWERED = "record forwarded + session-closed"
"""The server is gone, and so is its answer to what was forwarded."""
LEFT_AFTER_READS = ["record forwarded + session-closed", "upstream Terminate", "close"]
NOTIFICATION = message("A", bytes(4) + b"channel\0hello\0")


# --- one message at a time ------------------------------------------------------------------------------------------


def test_queries_sent_ahead_are_answered_one_after_the_other(play: Play) -> None:
    ahead = b"".join(messages.query(text) for text in (b"select 1", b"select 2", b"select 3"))
    worked_by_hand(play) >> ClientBytes(ahead) << "upstream select 1"
    play >> answers() << "client columns" << "client row 1" << "client SELECT 1" << "client ready I"
    play << "upstream select 2"
    play >> answers() << until("client ready I") << "upstream select 3"
    play >> answers() << until("client ready I")


def test_each_query_sent_ahead_is_judged_with_the_status_that_it_runs_under(play: Play) -> None:
    ahead = b"".join(messages.query(text) for text in (b"begin", b"select 1", b"rollback", b"select 1"))
    play >> ClientBytes(ahead) << "upstream begin" << until("client ready T")
    play << "upstream SAVEPOINT pgnotary_read..." << "upstream select 1" << until("client ready T")
    play << "upstream rollback" << until("client ready I")
    play << "upstream select 1" << until("client ready I")


def test_a_message_that_comes_in_pieces_waits_for_its_last(play: Play) -> None:
    whole = messages.query(b"select 1")
    for at in range(len(whole) - 1):
        play >> ClientBytes(whole[at : at + 1])
    play >> ClientBytes(whole[-1:]) << "upstream select 1" << until("client ready I")


def test_more_messages_than_may_be_sent_ahead_end_the_session(play: Play) -> None:
    worked_by_hand(play, ledger=False) >> "select 1" << "upstream select 1"
    """Who reads from the client has been told to stop long before."""
    long = "select '" + "x" * 1_000_000 + "'"
    play >> long >> long << "pause"
    for _ in range(31):
        play >> long
    play >> long << "resume"
    play >> answers() << until("client ready I") << "client FATAL 54000 more than 33554432 bytes..."
    play << until("close")


def test_a_message_longer_than_is_read_is_refused_from_its_length(play: Play) -> None:
    play >> ClientBytes(b"Q" + (MAX_MESSAGE_BYTES + 5).to_bytes(4, "big")) << "client FATAL 54000 message 'Q' of..."
    play << LEFT


# --- what is not carried --------------------------------------------------------------------------------------------


def test_an_extended_batch_gets_one_error_and_one_ready(play: Play) -> None:
    play >> ClientBytes(BATCH + SYNC) << NOT_CARRIED << "client ready I"
    play >> "select 1" << "upstream select 1" << until("client ready I")


def test_two_extended_batches_get_an_error_and_a_ready_each(play: Play) -> None:
    play >> ClientBytes(BATCH + SYNC + BATCH + SYNC)
    play << NOT_CARRIED << "client ready I" << NOT_CARRIED << "client ready I"


def test_everything_up_to_sync_is_skipped(play: Play) -> None:
    play >> ClientBytes(PARSE + messages.FLUSH) << NOT_CARRIED
    play >> ClientBytes(message("H") + messages.query(DELETE.encode()) + message("d", b"x"))
    play >> ClientBytes(SYNC) << "client ready I"
    assert play.server.heard == []


def test_an_extended_batch_fails_an_open_block(play: Play) -> None:
    in_a_block(play) >> ClientBytes(BATCH + SYNC) << "upstream Bind" << "upstream Sync" << NOT_CARRIED
    play << "client ready E"
    play >> ClientBytes(BATCH + SYNC) << NOT_CARRIED << "client ready E"


def test_sync_and_flush_alone_are_answered_here(play: Play) -> None:
    play >> ClientBytes(SYNC + message("H") + SYNC) << "client ready I" << "client ready I"
    in_a_block(play) >> ClientBytes(SYNC) << "client ready T"


def test_a_function_call_that_reads_no_large_object_is_refused(play: Play) -> None:
    play >> ClientBytes(message("F", bytes(12))) << "client ERROR 0A000 pgnotary carries a FunctionCall only of what..."
    play << "client ready I"


def loread(rest: bytes = b"") -> bytes:
    return message("F", (954).to_bytes(4, "big") + rest)


def test_a_function_call_that_reads_a_large_object_is_carried_as_it_came_and_noted(play: Play) -> None:
    play >> ClientBytes(loread(b"any")) << "upstream F" << "client V" << "client ready I"
    assert actions.ToUpstream(loread(b"any")) in play.said
    play >> after(61) << "note 1"
    assert "pg_catalog.loread" in str([each for each in play.said if isinstance(each, actions.Note)])
    play >> ledger_is_down >> ClientBytes(loread()) << "client ERROR 58030..." << "client ready I"
    assert play.state.refused == 0


def test_in_a_block_it_needs_no_wall_and_in_a_failed_one_it_is_not_sent(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    in_a_block(play) >> ClientBytes(loread()) << "upstream F" << "client V" << "client ready T"
    play >> "select 1/0" << until("client ready E")
    play >> ClientBytes(loread()) << "client ERROR 25P02..." << "client ready E"


def test_a_function_call_that_names_no_function_ends_no_session(play: Play) -> None:
    """PostgreSQL goes on, too."""
    play >> ClientBytes(message("F", b"\0\0\0")) << "client ERROR 08P01..." << "client ready I"


def test_the_answer_to_a_function_call_belongs_to_nothing_else(play: Play) -> None:
    play.server.on("select 1", message("V", b"\xff\xff\xff\xff"))
    play >> "select 1" << "upstream select 1" << "client FATAL 08006..." << until("close")


def test_a_function_call_fails_an_open_block(play: Play) -> None:
    in_a_block(play) >> ClientBytes(message("F", bytes(12))) << "upstream Bind" << "upstream Sync"
    play << "client ERROR 0A000..." << "client ready E"


@pytest.mark.parametrize("kind", "dcf")
def test_copy_messages_outside_a_copy_are_passed_over(play: Play, kind: str) -> None:
    play >> ClientBytes(message(kind, b"x\0" if kind == "f" else b""))
    play >> "select 1" << "upstream select 1" << until("client ready I")


@pytest.mark.parametrize("raw", [b"!\0\0\0\4", message("p", b"secret\0"), b"Q\0\0\0\3", b"Q\xff\xff\xff\xff"])
def test_what_is_no_message_ends_the_session(play: Play, raw: bytes) -> None:
    play >> ClientBytes(raw) << "client FATAL 08P01..." << LEFT


@pytest.mark.parametrize("body", [b"", b"select 1", b"select 1\0drop table t\0", b"\0\0"])
def test_a_query_that_is_not_one_string_ends_the_session(play: Play, body: bytes) -> None:
    play >> ClientBytes(message("Q", body)) << "client FATAL 08P01 invalid message format..." << LEFT
    assert play.server.heard == []


def test_what_came_before_a_broken_message_is_still_under_way(play: Play) -> None:
    worked_by_hand(play, ledger=False) >> ClientBytes(messages.query(b"select 1") + b"!\0\0\0\4") << "upstream select 1"
    play >> answers() << until("client ready I") << "client FATAL 08P01..." << LEFT_AFTER_READS


def test_nothing_is_read_after_a_broken_message(play: Play) -> None:
    worked_by_hand(play, ledger=False) >> ClientBytes(messages.query(b"select 1") + b"!\0\0\0\4") << "upstream select 1"
    for _ in range(10):
        play >> "select 2"
    play >> answers() << until("client ready I") << "client FATAL 08P01..." << LEFT_AFTER_READS


# --- cancels --------------------------------------------------------------------------------------------------------


def test_ctrl_c_is_passed_on_once_while_a_statement_runs(play: Play) -> None:
    worked_by_hand(play) >> "select 1" << "upstream select 1"
    play >> events.CancelRequested() << "cancel"
    play >> events.CancelRequested()
    play >> server(error("57014", "canceling statement due to user request"), ready("I"))
    play << "client ERROR 57014 canceling statement due to user request" << "client ready I"


def test_ctrl_c_while_nothing_runs_is_passed_over(play: Play) -> None:
    play >> events.CancelRequested()
    play >> "select 1" << "upstream select 1" << until("client ready I")


def test_nothing_new_is_sent_while_a_cancel_is_on_its_way(play: Play) -> None:
    worked_by_hand(play) >> "select 1" << "upstream select 1"
    play >> events.CancelRequested() << "cancel"
    play >> answers() << until("client ready I")
    play >> "select 2"
    play >> events.CancelDelivered() << "upstream select 2"


def test_a_cancel_that_is_on_its_way_cannot_hit_our_own_questions(play: Play) -> None:
    worked_by_hand(in_a_block(play)) >> "select 1" << "upstream SAVEPOINT pgnotary_read..."
    play >> answers() << "upstream select 1"
    play >> events.CancelRequested() << "cancel"
    play >> answers() << until("client SELECT 1")
    play >> events.CancelDelivered() << "upstream ROLLBACK TO SAVEPOINT pgnotary_read; RELEASE SAVEPOINT pgnotary_read"
    play >> answers() << "client ready T"


def test_a_server_lost_while_a_cancel_is_on_its_way_is_noticed(play: Play) -> None:
    worked_by_hand(in_a_block(play), ledger=False) >> "select 1" << "upstream SAVEPOINT pgnotary_read..."
    play >> answers() << "upstream select 1"
    play >> events.CancelRequested() << "cancel"
    play >> answers() << until("client SELECT 1")
    play >> SERVER_GONE << "client FATAL 08006..." << "record forwarded + session-closed" << "close"
    play >> events.CancelDelivered()


# --- the client leaves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaving", [CLIENT_GONE, ClientBytes(messages.TERMINATE)], ids=["end of file", "Terminate"])
def test_a_client_that_leaves_ends_the_session(play: Play, leaving: events.Event) -> None:
    play >> leaving << LEFT
    assert play.session.closed
    assert play.ledger.body("session-closed") == {"why": "client-gone", "forwarded": 0, "held": 0, "refused": 0}


def test_a_client_that_leaves_has_its_statement_cancelled(play: Play) -> None:
    worked_by_hand(play, ledger=False) >> "select 1" << "upstream select 1"
    play >> CLIENT_GONE << "cancel"
    play >> CLIENT_GONE
    play >> events.CancelDelivered()
    play >> answers() << LEFT_AFTER_READS


def test_what_was_sent_ahead_dies_with_the_client(play: Play) -> None:
    worked_by_hand(play, ledger=False) >> "select 1" << "upstream select 1"
    play >> "select 2"
    play >> ClientBytes(messages.TERMINATE + messages.query(b"select 3")) << "cancel"
    play >> answers() << LEFT_AFTER_READS
    assert play.server.heard == ["select 1"]


def test_nothing_follows_the_end(play: Play) -> None:
    play >> CLIENT_GONE << LEFT
    for event in (
        ClientBytes(messages.query(b"select 1")),
        events.UpstreamBytes(NOTIFICATION),
        SERVER_GONE,
        CLIENT_GONE,
        events.Tick(),
        events.Shutdown(),
        events.CancelRequested(),
        events.CancelDelivered(),
        events.Noted(),
        ledger_is_down,
    ):
        play >> event


# --- the server talks -----------------------------------------------------------------------------------------------


def test_what_the_server_says_unasked_is_relayed_in_order(play: Play) -> None:
    timezone = messages.parameter_status("TimeZone", "UTC")
    warning = message("N", b"SWARNING\0C01000\0Mmind the gap\0\0")
    play >> server(NOTIFICATION, timezone, warning)
    play << "client notification" << "client parameter TimeZone=UTC" << "client WARNING 01000 mind the gap"


def test_what_the_server_says_between_rows_stays_there(play: Play) -> None:
    worked_by_hand(play) >> "select 1" << "upstream select 1"
    play >> server(row("1"), NOTIFICATION, row("2"), command("SELECT 2"), NOTIFICATION, ready("I"))
    play << "client row 1" << "client notification" << "client row 2" << "client SELECT 2" << "client notification"
    play << "client ready I"


@pytest.mark.parametrize("cut", [False, True], ids=["in one piece", "cut"])
def test_what_follows_an_answer_belongs_to_the_next_question_wherever_the_bytes_are_cut(play: Play, cut: bool) -> None:
    warning = message("N", b"SWARNING\0C01000\0Mmind the gap\0\0")
    worked_by_hand(play) >> ClientBytes(messages.query(b"select 1") + messages.query(DELETE.encode()))
    play << "upstream select 1"
    play.state.scope_stale = True
    if cut:
        play >> server(command("SELECT 1"), ready("I"))
        play << "client SELECT 1" << "client ready I" << "upstream BEGIN READ ONLY; SELECT pg_catalog.to_json..."
        play >> server(warning)
    else:
        play >> server(command("SELECT 1"), ready("I"), warning)
        play << "client SELECT 1" << "client ready I" << "upstream BEGIN READ ONLY; SELECT pg_catalog.to_json..."


def test_a_notice_about_our_own_question_is_kept_to_ourselves(play: Play) -> None:
    worked_by_hand(play) >> DELETE << "upstream BEGIN READ ONLY..."
    play >> server(message("N", b"SWARNING\0C25001\0Mthere is already a transaction in progress\0\0"), NOTIFICATION)
    play << "client notification"


def test_the_status_that_the_client_sees_is_the_true_one(play: Play) -> None:
    worked_by_hand(play) >> "select 1" << "upstream select 1"
    play >> server(error("22012", "division by zero"), ready("I")) << "client ERROR 22012..." << "client ready I"


@pytest.mark.parametrize("name", [name for name in PINNED if name != "backslash_quote"])
def test_a_pinned_setting_that_changes_ends_the_session(play: Play, name: str) -> None:
    play >> server(messages.parameter_status(name, PINNED[name]))
    if name != "client_encoding":  # of which the client has its own
        play << f"client parameter {name}={PINNED[name]}"
    play >> server(messages.parameter_status(name, "nonsense"))
    play << f"client FATAL 08006 the server broke the protocol: {name} is nonsense now..."
    play << "record session-closed" << "close"


def test_a_server_that_closes_ends_the_session(play: Play) -> None:
    play >> SERVER_GONE << "client FATAL 08006 the server closed the connection" << "record session-closed" << "close"
    assert play.ledger.body("session-closed")["why"] == "08006 the server closed the connection"


def test_a_server_that_closes_during_a_read_ends_the_session(play: Play) -> None:
    worked_by_hand(play, ledger=False) >> "select 1" << "upstream select 1"
    play >> server(row("1")) << "client row 1"
    (
        play
        >> SERVER_GONE
        << "client FATAL 08006 the server closed the connection"
        << "record forwarded + session-closed"
        << "close"
    )


def test_a_server_that_ends_an_idle_session_says_so_itself(play: Play) -> None:
    play >> server(error("57P05", "terminating connection due to idle-session timeout", "FATAL"))
    play << "client FATAL 57P05 terminating connection due to idle-session timeout"
    play << "record session-closed" << "close"
    play >> SERVER_GONE


@pytest.mark.parametrize("severity", ["FATAL", "\u0412\u0410\u0416\u041d\u041e"], ids=["English", "Russian"])
def test_a_server_that_ends_the_session_during_a_read_says_so_once(play: Play, severity: str) -> None:
    worked_by_hand(play, ledger=False) >> "select 1" << "upstream select 1"
    play >> server(error("57P01", "terminating connection due to administrator command", severity))
    play << "client ..."
    play >> SERVER_GONE << "record forwarded + session-closed" << "close"


def test_a_server_that_ends_the_session_during_our_own_question_is_quoted(play: Play) -> None:
    worked_by_hand(play, ledger=False) >> DELETE << "upstream BEGIN READ ONLY..."
    play >> server(error("57P01", "terminating connection due to administrator command", "FATAL"))
    play >> SERVER_GONE << "client FATAL 57P01 terminating connection due to administrator command"
    play << "record session-closed" << "close"


@pytest.mark.parametrize(
    "raw",
    [
        message("R", bytes(4)),
        message("D", b"\0\0"),
        ready("I"),
        command("SELECT 1"),
        message("T", b"\0\0"),
        message("G", bytes(3)),
        message("1"),
        b"!\0\0\0\4",
        message("S", b"client_encoding\0"),
    ],
)
def test_what_nobody_asked_the_server_for_ends_the_session(play: Play, raw: bytes) -> None:
    play >> server(raw) << "client FATAL 08006 the server broke the protocol: ..." << "record session-closed" << "close"


@pytest.mark.parametrize(
    "raw",
    [
        message("R", b"\0\0\0\3"),
        message("W", bytes(3)),
        message("K", bytes(8)),
        ready("X"),
        message("Z", b""),
        command("SELECT 9007199254740992"),
        command("x" * 64),
        command("SELECT " + "9" * 5_000),
    ],
)
def test_what_is_no_answer_to_a_query_ends_the_session(play: Play, raw: bytes) -> None:
    worked_by_hand(play, ledger=False) >> "select 1" << "upstream select 1"
    (
        play
        >> server(raw)
        << "client FATAL 08006 the server broke the protocol: ..."
        << "record forwarded + session-closed"
        << "close"
    )


@pytest.mark.parametrize("raw", [message("G", bytes(3)), message("H", bytes(3)), message("D", b"\0\1\0\0\0\5x")])
def test_what_is_no_answer_to_our_own_question_ends_the_session(play: Play, raw: bytes) -> None:
    worked_by_hand(play, ledger=False) >> DELETE << "upstream BEGIN READ ONLY..."
    play >> server(raw) << "client FATAL 08006 the server broke the protocol: ..." << "record session-closed" << "close"


def test_an_answer_to_our_own_question_that_has_no_end_ends_the_session(play: Play) -> None:
    worked_by_hand(play, ledger=False) >> DELETE << "upstream BEGIN READ ONLY..."
    megabyte = row("x" * (1 << 20))
    play >> server(*[megabyte] * 16) << "client FATAL 08006..." << "record session-closed" << "close"


def test_nothing_of_the_server_is_heard_after_it_broke_the_protocol(play: Play) -> None:
    worked_by_hand(play) >> server(b"!\0\0\0\4") << "client FATAL 08006..." << "record session-closed"
    play >> server(NOTIFICATION, error("57P01", "bye", "FATAL"))
    play >> durable << "close"


# --- the end --------------------------------------------------------------------------------------------------------


def test_a_proxy_that_stops_says_so(play: Play) -> None:
    play >> events.Shutdown() << "client FATAL 57P01 terminating connection because pgnotary is stopping" << LEFT


def test_a_proxy_that_stops_lets_a_read_finish(play: Play) -> None:
    worked_by_hand(play, ledger=False) >> "select 1" << "upstream select 1"
    play >> "select 2"
    play >> events.Shutdown()
    play >> answers() << until("client ready I") << "client FATAL 57P01..." << LEFT_AFTER_READS


def test_nothing_follows_a_fatal_error(play: Play) -> None:
    worked_by_hand(play) >> events.Shutdown() << "client FATAL 57P01..." << "record session-closed"
    play >> server(NOTIFICATION)
    play >> "select 1"
    play >> CLIENT_GONE
    play >> after(60)
    play >> events.Shutdown()
    play >> durable << "upstream Terminate" << "close"


def test_what_nobody_expects_ends_the_session_in_order(play: Play) -> None:
    worked_by_hand(play, server=False) >> DELETE << until("record request")
    play >> durable << until("record preview")
    play >> not_recorded(NotCanonical("$.why: nested deeper than 16"))
    play << "client FATAL XX000 pgnotary cannot go on: $.why: nested deeper than 16" << "record session-closed"
    runs_by_itself(play) >> durable << "upstream Terminate" << "close"


def test_the_end_is_recorded_with_what_was_counted(play: Play) -> None:
    play >> "select 1" << until("client ready I")
    play >> "set transaction_read_only = off" << until("client ready I")
    held(play) >> events.CancelRequested() << until("client ready I")
    play >> CLIENT_GONE << LEFT_AFTER_READS
    assert play.ledger.body("session-closed") == {"why": "client-gone", "forwarded": 1, "held": 1, "refused": 1}


def path(value: str) -> bytes:
    return messages.parameter_status("search_path", value)


def asks_where_it_stands(play: Play) -> Play:
    """A question of ours about the scope is under way, and the server has answered none of it."""
    play.state.path_told = play.state.path_reported = path("public")
    play.state.scope_stale = True
    return worked_by_hand(play) >> "select 1" << "upstream BEGIN READ ONLY; ..."


def test_what_our_own_questions_set_search_path_to_is_not_told(play: Play) -> None:
    asks_where_it_stands(play) >> server(path("pg_catalog"))
    play >> server(path("public"))
    play >> answers() << "upstream select 1"
    play >> answers() << "client columns" << "client row 1" << "client SELECT 1" << "client ready I"


def test_what_search_path_has_become_meanwhile_is_told_before_the_client_goes_on(play: Play) -> None:
    asks_where_it_stands(play) >> server(path("pg_catalog"))
    play >> server(path("other"))
    play >> answers() << "upstream select 1"
    play >> answers() << "client columns" << "client row 1" << "client SELECT 1"
    play << "client parameter search_path=other" << "client ready I"


def test_what_the_client_sets_search_path_to_is_told_at_once(play: Play) -> None:
    play.state.path_told = play.state.path_reported = path("public")
    worked_by_hand(play) >> "set search_path = other" << "upstream set search_path = other"
    play >> server(path("other")) << "client parameter search_path=other"
    play >> answers() << "client SET" << "client ready I"

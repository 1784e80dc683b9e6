"""Running what was approved: the record one step ahead, the client one step behind, nothing that was not signed."""

from datetime import timedelta

import pytest
from tests.play import (
    CLIENT_GONE,
    KEYS,
    SERVER_GONE,
    Play,
    after,
    answers,
    approve,
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
    wall_clock_set,
)
from tests.session.stories import (
    COUNTED,
    DELETE,
    GIVES_XID,
    MARKED,
    SAME,
    XID,
    held,
    in_a_block,
    ran_in_a_block,
    runs_by_itself,
    worked_by_hand,
)

from pgnotary.request.life import State
from pgnotary.request.openssh import fingerprint
from pgnotary.request.roster import Roster, Signer, common
from pgnotary.session import actions, events
from pgnotary.session.events import ClientBytes
from pgnotary.wire import messages

BEGIN = f"upstream BEGIN; SET TRANSACTION READ WRITE; {XID}"
NOTHING_CHANGED = (row('{"track_counts": "on", "cursors": null, "changed": null}'), command("SELECT 1"))
COUNTS = (*NOTHING_CHANGED, command("SET CONSTRAINTS"), *NOTHING_CHANGED)
NOTICE = "client NOTICE 00000 R-1 approved by bo: fine (ledger #2)"
APPROVED = ["retire R-1", NOTICE]
UNWALL = "upstream ROLLBACK TO SAVEPOINT pgnotary_read; RELEASE SAVEPOINT pgnotary_read"
WALL = "upstream SAVEPOINT pgnotary_read; SET LOCAL transaction_read_only = on"
LEFT = ["record session-closed", "upstream Terminate", "close"]
UNKNOWN = "client FATAL 08007 the outcome is not known"
DISK_FULL = "ERROR 58030 the ledger cannot be written: disk full"


def sent(play: Play) -> Play:
    """The approved statement is on its way to the server, which is worked by hand."""
    worked_by_hand(held(play), ledger=False) >> approve() << APPROVED << BEGIN
    return play >> answers() << "record intent" << f"upstream {DELETE}"


def sent_in_a_block(play: Play) -> Play:
    """The same inside the client's block."""
    worked_by_hand(held(in_a_block(play)), ledger=False) >> approve() << APPROVED << f"upstream {XID}"
    return play >> answers() << "record intent" << f"upstream {DELETE}"


def test_the_record_is_one_step_ahead_and_the_client_one_step_behind(play: Play) -> None:
    worked_by_hand(held(play)) >> approve() << APPROVED << BEGIN
    play >> answers() << "record intent"
    play >> durable << f"upstream {DELETE}"
    play >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed"
    play >> durable << "upstream COMMIT"
    play >> answers() << "record outcome committed"
    play >> durable << "client DELETE 5" << "client ready I"
    assert play.ledger.body("intent") == {
        "xid": "771",
        "timeline": "00000001",
        "upstream_pid": 4711,
        "system_identifier": "7400000000000000001",
        "where": "wrapped",
    }
    assert play.ledger.body("executed") == {
        "tags": ["DELETE 5"],
        "took_us": 0,
        "rows": 5,
        "changed": [],
    }
    assert play.ledger.body("outcome") == {"result": "committed", "ended": "autocommit", "rows": 5, "xid": "771"}


def test_inside_a_block_the_outcome_waits_for_its_end(play: Play) -> None:
    worked_by_hand(held(in_a_block(play))) >> approve() << APPROVED << f"upstream {XID}"
    play >> answers() << "record intent"
    play >> durable << f"upstream {DELETE}"
    play >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed"
    play >> durable << "client DELETE 5" << "client ready T"
    assert play.ledger.body("intent")["where"] == "block"


def test_what_was_approved_is_sent_byte_for_byte(play: Play) -> None:
    text = "/* \u00e9 */  delete\tfrom t -- all of it\n ; "
    held(play, text) >> approve() << until("client ready I")
    assert actions.ToUpstream(messages.query(text.encode())) in play.said


def test_rows_reach_the_client_at_once_and_only_the_completion_waits(play: Play) -> None:
    sent(play) >> server(message("T", b"\0\0"), row("1"), row("2")) << "client columns" << "client row 1"
    play << "client row 2"
    play >> server(command("DELETE 2"), ready("T")) << SAME
    play >> server(row(str(play.server.xid), play.server.mark), command("SELECT 1"), ready("T")) << COUNTED
    play >> server(*COUNTS, ready("T"))
    play << "record executed" << "upstream COMMIT"
    play >> server(command("COMMIT"), ready("I")) << "record outcome committed" << "client DELETE 2" << "client ready I"


def test_an_error_of_the_statement_is_recorded_before_it_is_told(play: Play) -> None:
    worked_by_hand(sent(play)) >> server(error("23503", "violates foreign key constraint"), ready("E"))
    play << "upstream ROLLBACK"
    play >> server(command("ROLLBACK"), ready("I")) << "record outcome failed"
    play >> durable << "client ERROR 23503 violates foreign key constraint" << "client ready I"
    assert play.ledger.body("outcome")["sqlstate"] == "23503"


def test_an_error_inside_a_block_leaves_it_failed(play: Play) -> None:
    sent_in_a_block(play) >> server(error("23503", "violates foreign key constraint"), ready("E"))
    play << "record outcome failed" << "client ERROR 23503 violates foreign key constraint" << "client ready E"


def test_a_commit_that_fails_has_rolled_back(play: Play) -> None:
    play.server.on("COMMIT", error("23503", "violates foreign key constraint"))
    held(play) >> approve() << until("upstream COMMIT") << "record outcome rolled-back"
    play << "client ERROR 23503 violates foreign key constraint" << "client ready I"
    assert play.ledger.body("outcome")["sqlstate"] == "23503"


def test_a_commit_that_leaves_the_transaction_open_is_rolled_back(play: Play) -> None:
    sent(play) >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed" << "upstream COMMIT"
    play >> server(error("57014", "canceling statement"), ready("E")) << "upstream ROLLBACK"
    play >> server(command("ROLLBACK"), ready("I")) << "record outcome rolled-back"
    play << "client ERROR 57014 canceling statement" << "client ready I"


def test_a_commit_that_the_server_turns_into_a_rollback_is_told_as_an_error(play: Play) -> None:
    sent(play) >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed" << "upstream COMMIT"
    play >> server(command("ROLLBACK"), ready("I")) << "record outcome rolled-back"
    play << "client ERROR 55000 R-1 was not committed: the server answered ['ROLLBACK']" << "client ready I"


def test_more_rows_than_were_approved_are_rolled_back(play: Play) -> None:
    held(play) >> approve(max_rows=4) << until(COUNTED) << "record executed" << "upstream ROLLBACK"
    play << "record outcome rolled-back"
    play << "client ERROR 55000 R-1 rolled back: 5 rows affected, approved for at most 4" << "client ready I"
    assert play.server.committed == []


def test_as_many_rows_as_were_approved_are_committed(play: Play) -> None:
    held(play) >> approve(max_rows=5) << until("client DELETE 5") << "client ready I"
    assert play.server.committed == [DELETE]


def test_more_rows_than_were_approved_fail_the_block(play: Play) -> None:
    held(in_a_block(play)) >> approve(max_rows=4) << until(COUNTED) << "record executed"
    (
        play
        << "upstream Bind"
        << "upstream Sync"
        << "record outcome rolled-back"
        << "client ERROR 55000..."
        << "client ready E"
    )
    play >> "commit" << "upstream commit" << "client ROLLBACK" << "client ready I"
    assert play.server.committed == []


def test_a_transaction_that_cannot_be_opened_makes_the_approval_void(play: Play) -> None:
    play.server.on(GIVES_XID, error("25006", "cannot assign TransactionIds"))
    held(play) >> approve() << APPROVED << BEGIN << "upstream ROLLBACK" << "record void"
    play << "client ERROR 25006 no read-write transaction could be opened..." << "client ready I"
    assert play.ledger.life("R-1")[-1] == "void"


def test_a_transaction_that_cannot_be_opened_at_all_makes_the_approval_void(play: Play) -> None:
    play.server.on("BEGIN", error("53200", "out of memory"))
    held(play) >> approve() << APPROVED << BEGIN << "record void" << "client ERROR 53200..." << "client ready I"


def test_a_block_that_cannot_go_on_makes_the_approval_void(play: Play) -> None:
    play.server.on(GIVES_XID, error("25006", "cannot assign TransactionIds"))
    held(in_a_block(play)) >> approve() << APPROVED << f"upstream {XID}" << "record void"
    play << "client ERROR 25006..." << "client ready E"


def test_nobody_is_asked_about_a_change_by_a_user_who_is_read_only() -> None:
    with Play(user_read_only=True) as play:
        play >> DELETE << "client ERROR 25006 cannot execute DELETE in a read-only transaction" << "client ready I"
        assert play.server.heard == []


# --- several statements in one message ------------------------------------------------------------------------------


def test_a_held_string_runs_slice_by_slice_its_reads_behind_the_wall(play: Play) -> None:
    text = "select 1; delete from t; delete from u"
    held(play, text) >> approve() << until("record intent")
    (play << WALL << "upstream select 1" << UNWALL)
    play << MARKED << "upstream delete from t" << SAME
    play << MARKED << "upstream delete from u" << SAME << COUNTED
    play << "record executed" << "upstream COMMIT" << "record outcome committed"
    play << "client columns" << "client row 1" << "client SELECT 1"
    play << "client DELETE 5" << "client DELETE 5" << "client ready I"
    executed = play.ledger.body("executed")
    assert (executed["tags"], executed["rows"]) == (["SELECT 1", "DELETE 5", "DELETE 5"], 10)


def test_an_error_in_a_held_string_undoes_all_of_it(play: Play) -> None:
    play.server.on("delete from u", error("42P01", 'relation "u" does not exist'))
    held(play, "delete from t; delete from u") >> approve() << until("upstream ROLLBACK") << "record outcome failed"
    play << "client DELETE 5" << 'client ERROR 42P01 relation "u" does not exist' << "client ready I"
    assert play.server.committed == []


def test_a_held_bracket_runs_slice_by_slice_and_is_answered_in_order(play: Play) -> None:
    held(play, "begin; select 1; delete from t; commit") >> approve() << APPROVED
    play << f"upstream begin; SET TRANSACTION READ WRITE; {XID}" << "record intent"
    play << "upstream SAVEPOINT pgnotary_read; SET LOCAL transaction_read_only = on" << "upstream select 1"
    play << UNWALL << MARKED << "upstream delete from t" << SAME << COUNTED
    play << "record executed" << "upstream commit" << "record outcome committed"
    play << "client BEGIN" << "client columns" << "client row 1" << "client SELECT 1" << "client DELETE 5"
    play << "client COMMIT" << "client ready I"


def test_a_held_bracket_that_ends_in_rollback_has_rolled_back(play: Play) -> None:
    held(play, "begin; delete from t; rollback") >> approve() << until("record executed") << "upstream rollback"
    play << "record outcome rolled-back"
    play << "client BEGIN" << "client DELETE 5" << "client ROLLBACK" << "client ready I"


def test_an_error_in_a_held_bracket_leaves_its_block_open_and_failed(play: Play) -> None:
    play.server.on("delete from u", error("42P01", 'relation "u" does not exist'))
    held(play, "begin; delete from t; delete from u; commit") >> approve() << until("upstream delete from u")
    play << "record outcome failed"
    play << "client BEGIN" << "client DELETE 5" << 'client ERROR 42P01 relation "u" does not exist' << "client ready E"
    play >> "select 1" << "client ERROR 25P02..." << "client ready E"
    play >> "commit" << "upstream commit" << "client ROLLBACK" << "client ready I"


def test_a_held_bracket_that_asks_for_read_only_runs_read_only(play: Play) -> None:
    held(play, "begin read only; delete from t; commit") >> approve() << APPROVED
    play << f"upstream begin read only; {XID}" << "record intent" << "upstream delete from t"
    play << "record outcome failed" << "client BEGIN" << "client ERROR 25006..." << "client ready E"


def test_more_results_than_can_be_kept_back_are_rolled_back(play: Play) -> None:
    text = "delete from t; select 1"
    worked_by_hand(held(play, text), ledger=False) >> approve() << until(BEGIN)
    play >> answers() << "record intent" << "upstream delete from t"
    play >> answers() << SAME
    play >> answers() << WALL >> answers() << "upstream select 1"
    megabyte = row("x" * (1 << 20))
    play >> server(message("T", b"\0\0"), *[megabyte] * 9)
    (play >> server(megabyte, command("SELECT 10"), ready("T")) << UNWALL)
    play >> server(command("RELEASE"), ready("T")) << "upstream ROLLBACK"
    play >> server(command("ROLLBACK"), ready("I")) << "record outcome rolled-back"
    play << "client ERROR 54000 R-1 rolled back: more results follow..." << "client ready I"


def test_more_results_of_a_bracket_than_can_be_kept_back_are_rolled_back(play: Play) -> None:
    megabyte = row("x" * (1 << 20))
    play.server.on("select 1", *[megabyte] * 5, command("SELECT 5"))
    held(play, "begin; delete from t; select 1; select 1; commit") >> approve() << until("upstream ROLLBACK")
    play << "record outcome rolled-back" << "client ERROR 54000..." << "client ready I"


def test_an_error_after_more_results_than_can_be_kept_back_is_told(play: Play) -> None:
    text = "delete from t; select 1"
    worked_by_hand(held(play, text), ledger=False) >> approve() << until(BEGIN)
    play >> answers() << "record intent" << "upstream delete from t"
    play >> answers() << SAME
    play >> answers() << WALL >> answers() << "upstream select 1"
    play >> server(*[row("x" * (1 << 20))] * 9, error("22012", "division by zero"), ready("E"))
    play << "upstream ROLLBACK"
    play >> server(command("ROLLBACK"), ready("I")) << "record outcome failed"
    play << "client ERROR 22012 division by zero" << "client ready I"


@pytest.mark.parametrize(
    "text",
    [
        "drop table t",
        "truncate t",
        "do 'delete from t'",
        "call f()",
        "select f()",
        "delete from t; select f()",
        "execute p",
    ],
)
def test_what_is_more_than_a_change_of_rows_passes_no_ceiling(play: Play, text: str) -> None:
    play.server.prepared[b"p"] = "prepare p as delete from t"
    held(play, text) >> approve(max_rows=1_000) << until("upstream ROLLBACK") << "record outcome rolled-back"
    play << "client ERROR 55000 R-1 rolled back: its rows cannot be counted, approved for at most 1000"
    play << "client ready I"
    assert play.server.committed == []


def test_what_is_more_than_a_change_of_rows_is_recorded_without_a_count(play: Play) -> None:
    held(play, "select f()") >> approve() << until("client ready I")
    assert "rows" not in play.ledger.body("executed")
    assert "rows" not in play.ledger.body("outcome")


def test_rows_are_recorded_of_nothing_but_what_committed(play: Play) -> None:
    held(play) >> approve(max_rows=4) << until("client ready I")
    assert play.ledger.body("outcome")["result"] == "rolled-back"
    assert "rows" not in play.ledger.body("outcome")


def test_a_statement_that_is_taken_back_before_its_intent_does_not_run(play: Play) -> None:
    worked_by_hand(held(play), ledger=False) >> approve() << APPROVED << BEGIN
    play >> events.CancelRequested()
    play >> answers() << "upstream ROLLBACK"
    play >> answers() << "record void" << "client ERROR 57014 canceling statement due to user request"
    play << "client ready I"
    assert DELETE not in play.server.heard


def test_a_statement_that_is_taken_back_before_it_is_sent_does_not_run(play: Play) -> None:
    worked_by_hand(held(play), server=False) >> approve() << APPROVED << BEGIN << "record intent"
    play >> events.CancelRequested()
    play >> durable << "upstream ROLLBACK" << "record outcome rolled-back"
    play >> durable << "client ERROR 57014 canceling statement due to user request" << "client ready I"
    assert DELETE not in play.server.heard


VOID_FOR_ITS_KEY = "client ERROR 55000 R-1 does not run: the approval by bo does not count any more"


def test_a_key_that_left_the_roster_before_the_intent_makes_the_approval_void(play: Play) -> None:
    worked_by_hand(held(play), ledger=False) >> approve() << APPROVED << BEGIN
    play.roster = common(play.roster, Roster(()))
    runs_by_itself(play) >> answers() << "record void" << "upstream ROLLBACK" << VOID_FOR_ITS_KEY << "client ready I"
    assert play.ledger.body("void")["why"] == f"nobody on the roster has the key {fingerprint(KEYS['bo'])}"
    assert DELETE not in play.server.heard
    play >> "select 1" << until("client ready I")


def test_a_key_that_left_the_roster_while_the_intent_was_written_sends_nothing(play: Play) -> None:
    worked_by_hand(held(play), server=False) >> approve() << APPROVED << BEGIN << "record intent"
    play.roster = Roster(())
    play >> durable << "upstream ROLLBACK" << "record outcome rolled-back"
    play >> durable << VOID_FOR_ITS_KEY << "client ready I"
    assert DELETE not in play.server.heard


@pytest.mark.parametrize("is_revoked", [True, False], ids=["revoked", "taken back"])
def test_a_server_that_is_lost_while_that_is_undone_leaves_an_outcome(play: Play, *, is_revoked: bool) -> None:
    worked_by_hand(held(play)) >> approve() << APPROVED << BEGIN
    play >> answers() << "record intent"
    if is_revoked:
        play.roster = Roster(())
    else:
        play >> events.CancelRequested()
    play >> durable << "upstream ROLLBACK"
    play >> events.UpstreamGone() << "record outcome unknown"
    assert DELETE not in play.server.heard


def test_a_key_that_left_the_roster_fails_the_block(play: Play) -> None:
    worked_by_hand(held(in_a_block(play)), ledger=False) >> approve() << APPROVED << f"upstream {XID}"
    play.roster = Roster(())
    runs_by_itself(play) >> answers() << "record void" << "upstream Bind" << "upstream Sync" << VOID_FOR_ITS_KEY
    play << "client ready E"
    assert DELETE not in play.server.heard


def test_a_key_that_expired_before_the_intent_makes_the_approval_void(play: Play) -> None:
    play.roster = Roster((Signer("bo", KEYS["bo"], valid_before=play.now.wall),))
    worked_by_hand(held(play), ledger=False) >> approve() << APPROVED << BEGIN
    play >> after(1)
    runs_by_itself(play) >> answers() << "record void" << "upstream ROLLBACK" << VOID_FOR_ITS_KEY << "client ready I"
    assert "was valid until" in play.ledger.body("void")["why"]


def test_a_key_that_ended_is_not_young_again_when_the_clock_is_set_back(play: Play) -> None:
    worked_by_hand(held(play), server=False) >> approve() << APPROVED << BEGIN << "record intent"
    intent = play.ledger.entries[-1]
    play >> wall_clock_set(-3_600)
    ended = intent.position.time - timedelta(seconds=1)
    assert play.now.wall < ended
    play.roster = Roster((Signer("bo", KEYS["bo"], valid_before=ended),))
    play >> durable << "upstream ROLLBACK" << "record outcome rolled-back"
    play >> durable << VOID_FOR_ITS_KEY << "client ready I"
    assert DELETE not in play.server.heard


def test_a_key_that_became_somebody_elses_makes_the_approval_void(play: Play) -> None:
    worked_by_hand(held(play), ledger=False) >> approve() << APPROVED << BEGIN
    play.roster = Roster((Signer("ana", KEYS["bo"]),))
    runs_by_itself(play) >> answers() << "record void" << "upstream ROLLBACK" << VOID_FOR_ITS_KEY << "client ready I"
    assert play.ledger.body("void")["why"].endswith("is ana's now")


def test_a_server_lost_while_a_void_approval_is_undone_leaves_the_void(play: Play) -> None:
    worked_by_hand(held(play), ledger=False) >> approve() << APPROVED << BEGIN
    play.roster = Roster(())
    play >> answers() << "record void" << "upstream ROLLBACK"
    play >> SERVER_GONE << "client FATAL 08006..." << until("close")
    assert play.ledger.life("R-1")[-1] == "void"


def test_a_roster_that_changes_otherwise_changes_nothing(play: Play) -> None:
    worked_by_hand(held(play), ledger=False) >> approve() << APPROVED << BEGIN
    play.roster = Roster((Signer("bo", KEYS["bo"]),))
    runs_by_itself(play) >> answers() << until("client DELETE 5") << "client ready I"


def test_a_cancel_of_one_statement_is_none_of_the_next_one(play: Play) -> None:
    held(play) >> events.CancelRequested() << "record withdrawn cancel" << until("client ready I")
    held(play, request="R-2") >> approve("R-2") << until("client DELETE 5") << "client ready I"


def test_a_bracket_whose_commit_fails_has_answered_its_parts(play: Play) -> None:
    play.server.on("commit", error("23503", "violates foreign key constraint"))
    held(play, "begin; delete from t; commit") >> approve() << until("record outcome rolled-back")
    play << "client BEGIN" << "client DELETE 5" << "client ERROR 23503 violates..." << "client ready I"


UNREAD = "/**/" * 40


def test_a_text_that_nobody_could_read_and_that_ended_the_block_leaves_everything_in_it_unknown(play: Play) -> None:
    text = f"vacuum {UNREAD}"
    play.server.on(text, command("COMMIT"))
    ran_in_a_block(in_a_block(play))
    held(play, text, "R-2") >> approve("R-2") << until("record outcome unknown")
    play << "client FATAL 08007..." << "record outcome unknown" << until("close")
    assert set(play.ledger.states.values()) == {State.UNKNOWN}


# --- the client leaves, or takes it back ----------------------------------------------------------------------------


def test_a_client_that_left_before_it_was_sent_makes_the_approval_void(play: Play) -> None:
    worked_by_hand(held(play), ledger=False) >> approve() << APPROVED << BEGIN
    play >> CLIENT_GONE
    play >> answers() << "record void" << LEFT
    assert DELETE not in play.server.heard


def test_a_client_that_left_while_the_intent_was_written_has_run_nothing(play: Play) -> None:
    worked_by_hand(held(play), server=False) >> approve() << APPROVED << BEGIN << "record intent"
    play >> CLIENT_GONE
    play >> durable << "record outcome rolled-back"
    runs_by_itself(play) >> durable << LEFT
    assert DELETE not in play.server.heard


def test_a_client_that_leaves_while_it_runs_has_it_cancelled_and_rolled_back(play: Play) -> None:
    sent(play) >> CLIENT_GONE << "cancel"
    play >> events.CancelDelivered()
    play >> answers() << SAME >> answers() << "upstream ROLLBACK"
    play >> answers() << "record outcome rolled-back" << LEFT
    assert play.ledger.body("outcome")["why"] == "R-1 rolled back: the client has gone"


def test_a_client_that_leaves_while_it_runs_in_a_block_has_the_block_undone(play: Play) -> None:
    sent_in_a_block(play) >> ClientBytes(messages.TERMINATE) << "cancel"
    play >> events.CancelDelivered()
    play >> answers() << SAME >> answers() << "upstream Bind" << "upstream Sync"
    play >> answers() << "record outcome rolled-back" << LEFT


def test_a_client_that_leaves_during_our_commit_leaves_it_alone(play: Play) -> None:
    sent(play) >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed" << "upstream COMMIT"
    play >> CLIENT_GONE
    play >> answers() << "record outcome committed" << LEFT


def test_ctrl_c_while_it_runs_cancels_it(play: Play) -> None:
    sent(play) >> events.CancelRequested() << "cancel"
    play >> events.CancelDelivered()
    play >> server(error("57014", "canceling statement due to user request"), ready("E")) << "upstream ROLLBACK"
    play >> server(command("ROLLBACK"), ready("I")) << "record outcome failed"
    play << "client ERROR 57014 canceling statement due to user request" << "client ready I"


def test_a_cancel_that_is_on_its_way_cannot_hit_our_commit(play: Play) -> None:
    sent(play) >> events.CancelRequested() << "cancel"
    play >> answers()
    (
        play
        >> events.CancelDelivered()
        << SAME
        >> answers()
        << COUNTED
        >> answers()
        << "record executed"
        << "upstream COMMIT"
    )
    play >> answers() << "record outcome committed" << "client DELETE 5" << "client ready I"


def test_ctrl_c_during_our_commit_is_too_late(play: Play) -> None:
    sent(play) >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed" << "upstream COMMIT"
    play >> events.CancelRequested()
    play >> answers() << "record outcome committed" << "client DELETE 5" << "client ready I"


def test_a_proxy_that_stops_lets_finish_what_runs(play: Play) -> None:
    sent(play) >> events.Shutdown()
    play >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed" << "upstream COMMIT"
    play >> answers() << "record outcome committed" << "client DELETE 5" << "client ready I"
    play << "client FATAL 57P01..." << LEFT


def test_a_client_that_breaks_the_protocol_while_it_runs_gets_its_answer_first(play: Play) -> None:
    sent(play) >> ClientBytes(b"\0\0\0\0\0")
    play >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed" << "upstream COMMIT"
    play >> answers() << "record outcome committed" << "client DELETE 5" << "client ready I"
    play << "client FATAL 08P01..." << LEFT


# --- the server leaves ----------------------------------------------------------------------------------------------


def test_a_server_lost_before_the_intent_makes_the_approval_void(play: Play) -> None:
    worked_by_hand(held(play), ledger=False) >> approve() << APPROVED << BEGIN
    play >> SERVER_GONE << "record void" << "client FATAL 08006 the server closed the connection"
    play << "record session-closed" << "close"


@pytest.mark.parametrize("block", [False, True], ids=["outside", "inside a block"])
def test_a_server_lost_while_it_runs_leaves_the_outcome_unknown(play: Play, block: bool) -> None:
    (sent_in_a_block if block else sent)(play) >> SERVER_GONE << "record outcome unknown" << UNKNOWN
    play << "record session-closed" << "close"


def test_a_server_lost_while_the_intent_is_written_leaves_the_outcome_unknown(play: Play) -> None:
    worked_by_hand(held(play), server=False) >> approve() << APPROVED << BEGIN << "record intent"
    play >> SERVER_GONE
    play >> durable << "record outcome unknown"
    runs_by_itself(play) >> durable << UNKNOWN << "record session-closed" << "close"
    assert DELETE not in play.server.heard


def test_a_server_lost_before_our_commit_leaves_the_outcome_unknown(play: Play) -> None:
    worked_by_hand(sent(play)) >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed"
    play >> SERVER_GONE
    runs_by_itself(play) >> durable << "record outcome unknown" << UNKNOWN << "record session-closed" << "close"


def test_a_server_lost_during_our_commit_leaves_the_outcome_unknown(play: Play) -> None:
    sent(play) >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed" << "upstream COMMIT"
    play >> SERVER_GONE << "record outcome unknown" << UNKNOWN << "record session-closed" << "close"
    assert play.ledger.life("R-1")[-2:] == ["executed", "outcome unknown"]


def test_a_server_lost_after_the_commit_changes_nothing(play: Play) -> None:
    sent(play) >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed" << "upstream COMMIT"
    worked_by_hand(play) >> answers() << "record outcome committed"
    play >> SERVER_GONE
    runs_by_itself(play) >> durable << "client DELETE 5" << "client ready I" << "client FATAL 08006..."
    play << "record session-closed" << "close"


def test_a_server_that_ends_the_session_while_it_runs_leaves_the_outcome_unknown(play: Play) -> None:
    sent(play) >> server(error("57P01", "terminating connection due to administrator command", "FATAL"))
    play >> SERVER_GONE << "record outcome unknown" << UNKNOWN << "record session-closed" << "close"


def test_a_server_that_ends_the_session_after_the_commit_has_its_say_after_the_answer(play: Play) -> None:
    sent(play) >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed" << "upstream COMMIT"
    worked_by_hand(play) >> answers() << "record outcome committed"
    play >> server(error("57P01", "terminating connection due to administrator command", "FATAL"))
    runs_by_itself(play) >> durable << "client DELETE 5" << "client ready I"
    play << "client FATAL 57P01 terminating connection due to administrator command"
    play << "record session-closed" << "close"


def test_a_server_lost_during_our_rollback_leaves_the_outcome_unknown(play: Play) -> None:
    worked_by_hand(held(play), ledger=False) >> approve(max_rows=4) << APPROVED << BEGIN
    play >> answers() << "record intent" << f"upstream {DELETE}"
    play >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed" << "upstream ROLLBACK"
    play >> SERVER_GONE << "record outcome unknown" << UNKNOWN << "record session-closed" << "close"


@pytest.mark.parametrize("block", [False, True], ids=["outside", "inside a block"])
def test_a_pinned_setting_that_an_approved_statement_changed_ends_the_session_with_a_truthful_record(
    play: Play, block: bool
) -> None:
    (sent_in_a_block if block else sent)(play)
    play >> server(messages.parameter_status("standard_conforming_strings", "off"), command("DO"), ready("T"))
    play << "record outcome unknown" << UNKNOWN << "record session-closed" << "close"


def test_a_statement_that_ended_our_transaction_leaves_the_outcome_unknown(play: Play) -> None:
    sent(play) >> server(command("DELETE 5"), ready("I")) << "record outcome unknown" << UNKNOWN << LEFT


def test_a_rollback_that_fails_leaves_the_outcome_unknown(play: Play) -> None:
    sent(play) >> server(error("XX000", "no"), ready("E")) << "upstream ROLLBACK"
    play >> server(error("XX000", "no"), ready("E")) << "record outcome unknown" << UNKNOWN << LEFT


def test_a_block_that_does_not_fail_when_told_to_leaves_the_outcome_unknown(play: Play) -> None:
    worked_by_hand(held(in_a_block(play)), ledger=False) >> approve(max_rows=1) << APPROVED << f"upstream {XID}"
    play >> answers() << "record intent" << f"upstream {DELETE}"
    play >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed"
    play << "upstream Bind" << "upstream Sync"
    play >> server(message("2"), ready("T")) << "record outcome unknown" << UNKNOWN << LEFT


# --- the ledger fails -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("happened", [False, True], ids=["not written", "written all the same"])
def test_without_a_recorded_intent_nothing_is_sent(play: Play, happened: bool) -> None:
    play.ledger.fails["intent"] = happened
    held(play) >> approve() << until("record intent") << "upstream ROLLBACK" << f"client {DISK_FULL}"
    play << "client ready I"
    assert DELETE not in play.server.heard


def test_without_a_recorded_intent_the_block_fails(play: Play) -> None:
    play.ledger.fails["intent"] = False
    held(in_a_block(play)) >> approve() << until("record intent") << "upstream Bind" << "upstream Sync"
    play << f"client {DISK_FULL}" << "client ready E"


@pytest.mark.parametrize("happened", [False, True], ids=["not written", "written all the same"])
def test_what_ran_and_cannot_be_recorded_is_rolled_back(play: Play, happened: bool) -> None:
    play.ledger.fails["executed"] = happened
    held(play) >> approve() << until("record executed") << "upstream ROLLBACK" << f"client {DISK_FULL}"
    play << "client ready I"
    assert play.server.committed == []


def test_what_ran_in_a_block_and_cannot_be_recorded_fails_the_block(play: Play) -> None:
    play.ledger.fails["executed"] = False
    held(in_a_block(play)) >> approve() << until("record executed") << "upstream Bind" << "upstream Sync"
    play << f"client {DISK_FULL}" << "client ready E"
    play >> "commit" << "upstream commit" << "client ROLLBACK" << "client ready I"


@pytest.mark.parametrize("happened", [False, True], ids=["not written", "written all the same"])
def test_an_outcome_that_cannot_be_recorded_is_told_as_unknown(play: Play, happened: bool) -> None:
    play.ledger.fails["outcome"] = happened
    held(play) >> approve() << until("record outcome committed")
    play << "client FATAL 08007 the outcome could not be recorded" << LEFT


@pytest.mark.parametrize("happened", [False, True], ids=["not written", "written all the same"])
def test_a_server_lost_after_a_record_that_failed_is_told_as_unknown(play: Play, happened: bool) -> None:
    sent(play).ledger.fails["executed"] = happened
    play >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed" << "upstream ROLLBACK"
    play >> SERVER_GONE << "record outcome unknown" << "client FATAL 08007..." << "record session-closed" << "close"


@pytest.mark.parametrize("happened", [False, True], ids=["not written", "written all the same"])
def test_a_void_that_cannot_be_recorded_still_runs_nothing(play: Play, happened: bool) -> None:
    worked_by_hand(held(play), ledger=False) >> approve() << APPROVED << BEGIN
    play.ledger.fails["void"] = happened
    play >> CLIENT_GONE
    play >> answers() << "record void" << LEFT
    assert DELETE not in play.server.heard


def test_a_ledger_that_goes_down_while_it_runs_is_noticed_at_the_next_record(play: Play) -> None:
    worked_by_hand(sent(play)) >> ledger_is_down
    play >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed"
    play >> not_recorded() << "upstream ROLLBACK"
    play >> answers() << f"client {DISK_FULL}" << "client ready I"


def test_the_time_it_took_is_recorded(play: Play) -> None:
    sent(play) >> after(2)
    runs_by_itself(play) >> answers() << until("client ready I")
    assert play.ledger.body("executed")["took_us"] == 2_000_000


def test_two_approved_statements_in_a_row_are_two_lives(play: Play) -> None:
    held(play) >> approve() << until("client ready I")
    held(play, "delete from u", "R-2") >> approve("R-2") << until("client ready I")
    assert play.ledger.life("R-1") == play.ledger.life("R-2")


def test_an_earlier_approved_statement_of_the_block_survives_nothing(play: Play) -> None:
    held(ran_in_a_block(in_a_block(play)), "delete from u", "R-2") >> approve("R-2", max_rows=1)
    play << until("client ready E")
    play >> "rollback" << until("record outcome rolled-back") << "client ROLLBACK" << "client ready I"
    assert play.ledger.life("R-1")[-1] == play.ledger.life("R-2")[-1] == "outcome rolled-back"

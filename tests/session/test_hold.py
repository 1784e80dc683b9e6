"""A hold: what is asked and recorded before anybody decides, and every way in which it can end."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.listed import listed
from tests.play import (
    CLIENT_GONE,
    SERVER_GONE,
    START,
    Play,
    after,
    answers,
    approve,
    command,
    deny,
    durable,
    error,
    ledger_is_back,
    ledger_is_down,
    message,
    not_recorded,
    ready,
    row,
    server,
    taken_back,
    until,
    wall_clock_set,
)
from tests.session.stories import DELETE, held, in_a_block, in_the_queue, runs_by_itself, worked_by_hand

from pgnotary.errors import LedgerUnavailable, NotCanonical
from pgnotary.judge.meaning import weigh
from pgnotary.judge.reading import read
from pgnotary.ledger.canonical import b64
from pgnotary.request.preview import questions
from pgnotary.request.roster import Roster
from pgnotary.session import actions, events
from pgnotary.session.events import ClientBytes
from pgnotary.wire import messages

LOOK = "upstream BEGIN READ ONLY; SET LOCAL statement_timeout = 2000; SET LOCAL lock_timeout = 200"
LOOK_IN_BLOCK = "upstream SAVEPOINT pgnotary_look; SET LOCAL transaction_read_only = on; SET LOCAL statement_timeout..."
CLOSE_IN_BLOCK = "upstream ROLLBACK TO SAVEPOINT pgnotary_look; RELEASE SAVEPOINT pgnotary_look"
CONTEXT = "upstream SELECT current_user, session_user..."
PARSED = [f"upstream Parse {DELETE}", "upstream Close", "upstream Sync"]
COUNT = "upstream SELECT pg_catalog.count(*) FROM t WHERE id < 6"
FIRST_FIGURE = "upstream SAVEPOINT pgnotary_figure; SET LOCAL statement_timeout = 2000; SET LOCAL jit = off"
HOLDERS = "upstream WITH RECURSIVE weighed (oid, children) AS (..."
FIGURE = "upstream ROLLBACK TO SAVEPOINT pgnotary_figure; SET LOCAL statement_timeout = 2000"
FACTS = "upstream WITH RECURSIVE named (oid, target, children) AS (..."
HELD = "client NOTICE 00000 R-1 held for approval: DELETE on t, 5 rows (counted), rule default/hold-delete"
FATAL_SHUTDOWN = "client FATAL 57P01 terminating connection because pgnotary is stopping"
CANCELLED = "client ERROR 57014 canceling statement due to user request"
TAKEN_BACK = taken_back()
BY_EVA = {"by": "requester", "person": "eva", "key": TAKEN_BACK.key}
SIGNED = {"document": b64(TAKEN_BACK.call.raw), "signature": TAKEN_BACK.call.signature}


def test_a_statement_is_looked_at_recorded_and_announced_in_this_order(play: Play) -> None:
    worked_by_hand(play) >> DELETE << LOOK
    play >> answers() << CONTEXT
    play >> answers() << PARSED
    play >> answers() << "record request"
    play >> durable << FIRST_FIGURE
    play >> answers() << FACTS
    play >> answers() << FIGURE
    play >> answers() << f"upstream EXPLAIN (FORMAT JSON) {DELETE}"
    play >> answers() << FIGURE
    play >> answers() << COUNT
    play >> answers() << f"{FIGURE}; SET LOCAL jit = off"
    play >> answers() << HOLDERS
    play >> answers() << "upstream ROLLBACK"
    play >> answers() << "record preview"
    play >> durable << HELD << "announce R-1"
    assert play.server.status == "I"


def test_who_has_to_wait_for_a_look_asks_the_server_nothing_before(play: Play) -> None:
    in_the_queue(play) >> after(60)
    play >> events.MayLook() << LOOK << until("record preview") << HELD << "announce R-1" << "looked"
    play >> events.MayLook()
    play >> approve() << until("client ready I")


@pytest.mark.parametrize("block", [False, True], ids=["outside", "inside a block"])
def test_ctrl_c_in_the_queue_for_a_look_takes_effect_at_once(play: Play, block: bool) -> None:
    in_the_queue(in_a_block(play) if block else play) >> events.CancelRequested()
    play << (["upstream Bind", "upstream Sync"] if block else []) << CANCELLED << "looked"
    play << f"client ready {'E' if block else 'I'}"
    play >> events.MayLook()
    play >> after(1) << "note 1"
    (entry,) = play.ledger.entries
    assert [(run["verdict"], run["sqlstate"]) for run in listed(entry.body)] == [("refuse", "57014")]


@pytest.mark.parametrize("leaving", [CLIENT_GONE, ClientBytes(messages.TERMINATE)], ids=["end of file", "Terminate"])
def test_who_leaves_the_queue_for_a_look_asked_nobody(play: Play, leaving: events.Event) -> None:
    in_the_queue(play) >> leaving << "looked" << until("close")
    assert [entry.type for entry in play.ledger.entries] == ["forwarded", "session-closed"]
    assert DELETE not in "".join(map(str, play.server.heard))


def test_a_proxy_that_stops_waits_for_nobody_in_the_queue_for_a_look(play: Play) -> None:
    in_the_queue(play) >> events.Shutdown() << "looked" << FATAL_SHUTDOWN << until("close")


def test_a_server_that_closes_in_the_queue_for_a_look_ends_the_session(play: Play) -> None:
    in_the_queue(play) >> SERVER_GONE << "looked" << "client FATAL 08006 the server closed the connection"
    play << until("close")


def test_a_look_that_fails_is_over(play: Play) -> None:
    play.server.on(f"PARSE {DELETE}", error("42P01", 'relation "t" does not exist'))
    in_the_queue(play) >> events.MayLook() << until('client ERROR 42P01 relation "t" does not exist')
    play << "looked" << "client ready I"


def test_inside_a_block_the_look_is_a_savepoint_that_is_rolled_back(play: Play) -> None:
    in_a_block(play) >> DELETE << LOOK_IN_BLOCK << CONTEXT << PARSED << "record request" << until(COUNT)
    play << until(HOLDERS) << CLOSE_IN_BLOCK << "record preview" << HELD << "announce R-1"
    assert play.server.status == "T"
    assert not play.server.read_only


def test_the_request_says_what_would_run_and_where(play: Play) -> None:
    held(play)
    body = play.ledger.body("request")
    assert {name: body[name] for name in ("user", "person", "database", "role", "kind", "block", "rule")} == {
        "user": "eva",
        "person": "eva",
        "database": "shop",
        "role": "app_rw",
        "kind": "delete",
        "block": "none",
        "rule": "default/hold-delete",
    }
    announced = next(action for action in play.said if isinstance(action, actions.Announce))
    assert announced.request.opened["statement"][1] == DELETE.encode()
    assert announced.preview.entry.body["exact"] == 5
    assert announced.preview.entry.body["estimate"] == 4


@pytest.mark.parametrize(
    ("failing", "left"),
    [
        (questions(weigh(read(DELETE.encode()))).facts.decode(), {"estimate"}),
        ("EXPLAIN (FORMAT JSON) " + DELETE, {"exact"}),
        (COUNT.removeprefix("upstream "), {"estimate"}),
    ],
)
def test_a_figure_that_fails_is_shown_as_failed_and_leaves_the_next_ones_asked(
    play: Play, failing: str, left: set[str]
) -> None:
    play.server.on(failing, error("57014", "canceling statement due to statement timeout"))
    held(play)
    preview = play.ledger.body("preview")
    assert preview.keys() & {"exact", "at_most", "estimate"} == left
    assert preview["obtained"].keys() == left
    assert preview["status"] == "partly"
    assert preview["why"].endswith("failed with SQLSTATE 57014 (query_canceled)")
    assert preview.get("caveats") == (["unseen"] if failing.startswith("WITH") else None)
    announced = next(action for action in play.said if isinstance(action, actions.Announce))
    assert announced.preview.opened == {}


def test_each_figure_says_how_and_when_it_was_obtained(play: Play) -> None:
    held(play)
    preview = play.ledger.body("preview")
    assert {name: each["how"] for name, each in preview["obtained"].items()} == {
        "exact": "count",
        "estimate": "explain",
    }
    assert all(each["at"].endswith("Z") and each["took_us"] >= 0 for each in preview["obtained"].values())
    assert preview["relation_rows"] == 20


def test_an_estimate_beyond_all_numbers_is_no_reason_to_fail(play: Play) -> None:
    plan = '[{"Plan": {"Node Type": "ModifyTable", "Plans": [{"Parent Relationship": "Outer", "Plan Rows": 1e300}]}}]'
    play.server.on(f"EXPLAIN (FORMAT JSON) {DELETE}", row(plan), command("EXPLAIN"))
    held(play)
    assert play.ledger.body("preview")["estimate"] == 2**53 - 1


def test_what_the_server_itself_refuses_is_answered_and_not_held(play: Play) -> None:
    play.server.on(f"PARSE {DELETE}", error("42P01", 'relation "t" does not exist'))
    play >> DELETE << LOOK << CONTEXT << PARSED << "upstream ROLLBACK"
    play << 'client ERROR 42P01 relation "t" does not exist' << "client ready I"
    assert play.ledger.entries == []


def test_what_the_server_itself_refuses_fails_the_block_too(play: Play) -> None:
    play.server.on(f"PARSE {DELETE}", error("42P01", 'relation "t" does not exist'))
    in_a_block(play) >> DELETE << until(CLOSE_IN_BLOCK) << "upstream Bind" << "upstream Sync"
    play << 'client ERROR 42P01 relation "t" does not exist' << "client ready E"


def test_a_look_that_cannot_be_opened_holds_nothing(play: Play) -> None:
    play.server.on("SET LOCAL lock_timeout = 200", error("22023", "no"))
    play >> DELETE << LOOK << "upstream ROLLBACK"
    play << "client ERROR 55000 the server refused a read-only look at the statement..." << "client ready I"


def test_a_look_that_cannot_be_opened_inside_a_block_fails_the_block(play: Play) -> None:
    play.server.on("SET LOCAL lock_timeout = 200", error("22023", "no"))
    in_a_block(play) >> DELETE << LOOK_IN_BLOCK
    play << "client ERROR 55000 the server refused a read-only look at the statement..." << "client ready E"


def test_a_look_that_cannot_be_closed_ends_the_session_and_the_request(play: Play) -> None:
    play.server.on("ROLLBACK", error("XX000", "no"))
    play >> DELETE << until("upstream ROLLBACK") << "record withdrawn upstream-lost" << "retire R-1"
    play << "client FATAL 08006 the server broke the protocol: the read-only look could not be closed..."
    play << "record session-closed" << "close"


@pytest.mark.parametrize("inside", [False, True])
def test_a_look_that_is_too_slow_to_close_is_closed_again(play: Play, inside: bool) -> None:
    closing = CLOSE_IN_BLOCK if inside else "upstream ROLLBACK"
    play.server.slow.add(closing.removeprefix("upstream "))
    (in_a_block(play) if inside else play) >> DELETE << until(closing) << closing << until("announce R-1")
    play >> approve() << until("client DELETE 5") << until(f"client ready {'T' if inside else 'I'}")
    assert play.server.slow == set()


def test_a_context_that_cannot_be_read_ends_the_session(play: Play) -> None:
    worked_by_hand(play, ledger=False) >> DELETE << LOOK
    play >> answers() << CONTEXT
    play >> server(row("app_rw"), command("SELECT 1"), ready("T"))
    play << "client FATAL 08006..." << "record session-closed" << "close"


def test_a_denied_statement_is_not_sent(play: Play) -> None:
    held(play) >> deny() << "retire R-1" << "client ERROR 42501 R-1 denied by bo: not today" << "client ready I"
    assert DELETE not in play.server.heard


HOSTILE = "fine\nNOTICE:  R-2 denied\x1b]52;c;cm0=\x07\u202e\0"
HARMLESS = r"fine\nNOTICE:  R-2 denied\x1b]52;c;cm0=\x07\u202e\x00"


def test_what_an_approver_signed_as_a_reason_cannot_write_on_the_engineers_terminal(play: Play) -> None:
    held(play) >> deny(reason=HOSTILE) << until(f"client ERROR 42501 R-1 denied by bo: {HARMLESS}") << "client ready I"
    held(play, request="R-2") >> approve("R-2", reason=HOSTILE)
    play << until(f"client NOTICE 00000 R-2 approved by bo: {HARMLESS} (ledger...") << until("client ready I")


def test_a_denial_inside_a_block_leaves_the_block_failed(play: Play) -> None:
    held(in_a_block(play)) >> deny() << "retire R-1" << "upstream Bind" << "upstream Sync"
    play << "client ERROR 42501 R-1 denied by bo: not today" << "client ready E"
    play >> "rollback" << until("client ready I")


def test_a_hold_expires(play: Play) -> None:
    held(play) >> after(899) << "client NOTICE 00000 R-1 still waiting for approval, 1 s left"
    play >> after(1) << "record expired" << "retire R-1"
    play << "client ERROR 57014 R-1 expired: no decision in 15 min" << "client ready I"


@pytest.mark.parametrize("hours", [1, -1])
def test_a_hold_ends_at_its_monotonic_deadline_whatever_the_wall_clock_says(play: Play, hours: int) -> None:
    held(play)
    said = play.ledger.body("request")["expires_at"]
    play >> wall_clock_set(hours * 3_600)
    play >> after(899) << "client NOTICE 00000 R-1 still waiting for approval, 1 s left"
    play >> wall_clock_set(-hours * 7_200)
    play >> after(1) << "record expired" << "retire R-1"
    play << "client ERROR 57014 R-1 expired: no decision in 15 min" << "client ready I"
    assert play.ledger.body("request")["expires_at"] == said


@pytest.mark.parametrize("hours", [1, -1])
def test_a_decision_counts_for_the_session_whatever_the_wall_clock_says(play: Play, hours: int) -> None:
    held(play) >> wall_clock_set(hours * 3_600)
    play >> approve() << until("client DELETE 5") << "client ready I"


def test_a_hold_that_expires_inside_a_block_leaves_it_failed(play: Play) -> None:
    held(in_a_block(play)) >> after(900) << "record expired" << "retire R-1" << "upstream Bind" << "upstream Sync"
    play << "client ERROR 57014 R-1 expired: no decision in 15 min" << "client ready E"


def test_a_hold_ends_before_the_servers_own_idle_timer_does(play: Play) -> None:
    play.server.timers = ("0", "35", "0")
    held(play) >> after(29.9)
    play >> after(0.1) << "record expired" << "retire R-1"
    play << "client ERROR 57014 R-1 expired: no decision in 30 s" << "client ready I"


def test_a_reminder_comes_every_thirty_seconds(play: Play) -> None:
    held(play) >> after(29)
    play >> after(1) << "client NOTICE 00000 R-1 still waiting for approval, 870 s left"
    play >> after(29)
    play >> after(1) << "client NOTICE 00000 R-1 still waiting for approval, 840 s left"


def test_a_client_that_asked_for_silence_sees_no_notices(play: Play) -> None:
    play.server.level = "warning"
    play >> DELETE << until("record preview") << "announce R-1"
    play >> after(60)
    play >> approve() << "retire R-1" << "upstream BEGIN..." << until("client DELETE 5") << "client ready I"


def test_ctrl_c_withdraws(play: Play) -> None:
    held(play) >> events.CancelRequested() << "record withdrawn cancel" << "retire R-1" << CANCELLED
    play << "client ready I"
    play >> "select 1" << until("client ready I")


def test_what_its_requester_takes_back_from_elsewhere_ends_as_after_ctrl_c_and_holds_what_they_signed(
    play: Play,
) -> None:
    held(play) >> TAKEN_BACK << "record withdrawn requester" << "retire R-1"
    play << "client ERROR 57014 canceling statement due to user request" << "client ready I"
    entry = next(each for each in play.ledger.entries if each.type == "withdrawn")
    assert entry.body == BY_EVA | SIGNED
    assert DELETE not in play.server.heard


def test_what_no_verifier_would_take_for_their_signature_is_not_recorded_as_one(play: Play) -> None:
    """The key has left the roster since the call was admitted."""
    held(play).roster = Roster(())
    play >> TAKEN_BACK << "record withdrawn requester" << until("client ready I")
    assert play.ledger.body("withdrawn") == BY_EVA


@pytest.mark.parametrize(("seconds", "is_signed"), [(-300, True), (-420, False)])
def test_a_clock_that_was_set_back_since_the_request_accuses_nobody(
    play: Play, *, seconds: int, is_signed: bool
) -> None:
    held(play) >> taken_back(called_at=START + timedelta(seconds=seconds)) << until("client ready I")
    assert ("document" in play.ledger.body("withdrawn")) == is_signed


def test_what_was_taken_back_is_not_taken_for_the_next_statement(play: Play) -> None:
    worked_by_hand(held(play), server=False) >> TAKEN_BACK << "record withdrawn requester"
    play >> TAKEN_BACK
    runs_by_itself(play) >> durable << "retire R-1" << CANCELLED << "client ready I"
    held(play, request="R-2") >> approve("R-2") << until("client DELETE 5") << "client ready I"


def test_what_was_taken_back_from_elsewhere_does_not_run_though_it_was_approved_a_moment_before(play: Play) -> None:
    worked_by_hand(held(play), server=False) >> TAKEN_BACK << "record withdrawn requester"
    play >> approve()
    play >> durable << "retire R-1" << "record void requester"
    play >> durable << CANCELLED << "client ready I"
    assert DELETE not in play.server.heard
    why = "withdrawn by requester while it was being approved"
    assert play.ledger.body("void") == {"why": why} | BY_EVA | SIGNED


def test_ctrl_c_inside_a_block_leaves_it_failed(play: Play) -> None:
    held(in_a_block(play)) >> events.CancelRequested() << "record withdrawn cancel" << "retire R-1"
    play << "upstream Bind" << "upstream Sync" << CANCELLED << "client ready E"


def test_ctrl_c_before_the_statement_is_held_withdraws_it_as_soon_as_it_is(play: Play) -> None:
    worked_by_hand(play, ledger=False) >> DELETE << LOOK
    play >> events.CancelRequested()
    runs_by_itself(play) >> answers() << until("announce R-1")
    play << "record withdrawn cancel" << "retire R-1" << CANCELLED << "client ready I"


def test_a_late_ctrl_c_does_not_withdraw_the_next_statement(play: Play) -> None:
    worked_by_hand(held(play), server=False) >> events.CancelRequested() << "record withdrawn cancel"
    play >> events.CancelRequested()
    runs_by_itself(play) >> durable << "retire R-1" << CANCELLED << "client ready I"
    held(play, request="R-2") >> approve("R-2") << until("client DELETE 5") << "client ready I"


@pytest.mark.parametrize("leaving", [CLIENT_GONE, ClientBytes(messages.TERMINATE)], ids=["end of file", "Terminate"])
@pytest.mark.parametrize("block", [False, True], ids=["outside", "inside a block"])
def test_a_client_that_leaves_withdraws(play: Play, leaving: events.Event, block: bool) -> None:
    held(in_a_block(play) if block else play) >> leaving << "record withdrawn client-gone" << "retire R-1"
    play << "record session-closed" << "upstream Terminate" << "close"
    assert DELETE not in play.server.heard


def test_a_client_that_leaves_before_its_statement_is_held_withdraws_it(play: Play) -> None:
    worked_by_hand(play) >> DELETE << LOOK
    play >> CLIENT_GONE
    runs_by_itself(play) >> answers() << until("announce R-1")
    play << "record withdrawn client-gone" << "retire R-1" << "record session-closed" << "upstream Terminate" << "close"


def test_a_proxy_that_stops_withdraws(play: Play) -> None:
    held(play) >> events.Shutdown() << "record withdrawn parting" << "retire R-1" << FATAL_SHUTDOWN
    play << "record session-closed" << "upstream Terminate" << "close"


def test_later_messages_wait_in_order(play: Play) -> None:
    held(play) >> "select 1"
    play >> "select 2"
    play >> deny() << until("client ready I") << "upstream select 1" << until("client ready I")
    play << "upstream select 2" << until("client ready I")


def test_more_messages_than_may_wait_end_the_session(play: Play) -> None:
    held(play) >> ("select '" + "x" * 4_000 + "'")
    play >> ("select '" + "y" * 4_000 + "'") << "record withdrawn parting" << "retire R-1"
    play << "client FATAL 54000 more than 4096 bytes of messages wait behind..."
    play << "record session-closed" << "upstream Terminate" << "close"


def test_a_client_that_breaks_the_protocol_withdraws(play: Play) -> None:
    held(play) >> ClientBytes(b"\0\0\0\0\0") << "record withdrawn parting" << "retire R-1"
    play << "client FATAL 08P01 unknown message type..." << "record session-closed" << "upstream Terminate" << "close"


def test_the_server_may_go_on_talking(play: Play) -> None:
    held(play) >> server(message("A", bytes(4) + b"channel\0hello\0")) << "client notification"
    play >> server(messages.parameter_status("TimeZone", "UTC")) << "client parameter TimeZone=UTC"
    play >> server(message("N", b"SWARNING\0C01000\0Mmind the gap\0\0")) << "client WARNING 01000 mind the gap"


def test_a_server_that_closes_withdraws(play: Play) -> None:
    held(play) >> SERVER_GONE << "record withdrawn upstream-lost" << "retire R-1"
    play << "client FATAL 08006 the server closed the connection" << "record session-closed" << "close"


def test_a_server_that_ends_the_session_has_the_last_word(play: Play) -> None:
    held(play) >> server(error("57P01", "terminating connection due to administrator command", "FATAL"))
    play << "record withdrawn upstream-lost" << "retire R-1"
    play << "client FATAL 57P01 terminating connection due to administrator command"
    play << "record session-closed" << "close"
    play >> SERVER_GONE


def test_a_pinned_setting_that_changes_withdraws(play: Play) -> None:
    held(play) >> server(messages.parameter_status("client_encoding", "LATIN1"))
    play << "record withdrawn upstream-lost" << "retire R-1"
    play << "client FATAL 08006 the server broke the protocol: client_encoding is LATIN1 now..."
    play << "record session-closed" << "close"


def test_a_server_lost_during_the_look_leaves_no_request_open(play: Play) -> None:
    worked_by_hand(play, ledger=False) >> DELETE << LOOK
    play >> answers() << CONTEXT
    play >> answers() << PARSED
    play >> answers() << "record request" << FIRST_FIGURE
    play >> SERVER_GONE << "record withdrawn upstream-lost" << "retire R-1" << "client FATAL 08006..."
    play << "record session-closed" << "close"
    assert play.ledger.life("R-1") == ["request", "withdrawn upstream-lost"]


def test_a_server_lost_before_the_request_is_durable_leaves_no_request_open(play: Play) -> None:
    worked_by_hand(play) >> DELETE << LOOK
    play >> answers() << CONTEXT
    play >> answers() << PARSED
    play >> answers() << "record request"
    play >> SERVER_GONE
    play >> durable << "record withdrawn upstream-lost"
    play >> durable << "retire R-1" << "client FATAL 08006..." << "record session-closed"
    play >> durable << "close"


def test_a_server_lost_while_the_preview_is_written_withdraws(play: Play) -> None:
    worked_by_hand(play, server=False) >> DELETE << until("record request")
    play >> durable << until("record preview")
    play >> SERVER_GONE
    play >> durable << HELD << "announce R-1" << "record withdrawn upstream-lost"
    play >> durable << "retire R-1" << "client FATAL 08006..." << "record session-closed"
    play >> durable << "close"


@pytest.mark.parametrize("happened", [False, True], ids=["not written", "written all the same"])
def test_what_cannot_be_asked_for_is_refused(play: Play, happened: bool) -> None:
    play.ledger.fails["request"] = happened
    play >> DELETE << until("record request") << "upstream ROLLBACK"
    play << "client ERROR 58030 the ledger cannot be written: disk full" << "client ready I"
    assert DELETE not in play.server.heard


@pytest.mark.parametrize("happened", [False, True], ids=["not written", "written all the same"])
def test_what_cannot_be_shown_to_approvers_is_refused(play: Play, happened: bool) -> None:
    play.ledger.fails["preview"] = happened
    play >> DELETE << until("record preview")
    play << "client ERROR 58030 the ledger cannot be written: disk full" << "client ready I"


def test_what_cannot_be_asked_for_inside_a_block_fails_the_block(play: Play) -> None:
    play.ledger.fails["request"] = False
    in_a_block(play) >> DELETE << until("record request") << CLOSE_IN_BLOCK << "upstream Bind" << "upstream Sync"
    play << "client ERROR 58030..." << "client ready E"


def test_a_request_too_large_to_record_is_refused(play: Play) -> None:
    play.state.who = replace(play.state.who, application="x" * 70_000)
    worked_by_hand(play, server=False) >> DELETE << until("record request")
    play >> not_recorded(NotCanonical("an entry of type request has 70700 bytes")) << "upstream ROLLBACK"
    play << "client ERROR 54000 the request cannot be recorded: an entry of type request..." << "client ready I"


def test_a_statement_is_refused_while_the_ledger_is_down(play: Play) -> None:
    play >> ledger_is_down
    play >> DELETE << "client ERROR 58030 the ledger cannot be written: disk full" << "client ready I"
    play >> ledger_is_back
    held(play)


@pytest.mark.parametrize("happened", [False, True], ids=["not written", "written all the same"])
def test_a_withdrawal_that_cannot_be_recorded_still_closes_the_request_to_decisions(play: Play, happened: bool) -> None:
    play.ledger.fails["withdrawn"] = happened
    held(play) >> events.CancelRequested() << "record withdrawn cancel" << "retire R-1" << CANCELLED
    play << "client ready I"


# --- a decision and an ending at once -------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True], ids=["decided first", "moved first"])
def test_what_its_requester_took_back_does_not_run_though_it_was_approved_a_moment_before(
    play: Play, late: bool
) -> None:
    worked_by_hand(held(play), server=False) >> events.CancelRequested() << "record withdrawn cancel"
    decided = list(approve().do(play))
    if not late:
        play >> decided[0]
    play >> durable
    if late:
        play >> decided[0]
    play << "retire R-1" << "record void"
    play >> durable << CANCELLED << "client ready I"
    assert play.ledger.life("R-1")[2:] == ["decision approve", "void"]
    assert DELETE not in play.server.heard


def test_a_denial_a_moment_before_ctrl_c_is_told_as_a_denial(play: Play) -> None:
    worked_by_hand(held(play), server=False) >> events.CancelRequested() << "record withdrawn cancel"
    play >> deny()
    play >> durable << "retire R-1" << "client ERROR 42501 R-1 denied by bo: not today" << "client ready I"


def test_an_approval_a_moment_before_the_deadline_counts(play: Play) -> None:
    worked_by_hand(held(play), server=False) >> after(900) << "record expired"
    play >> approve()
    play >> durable << "retire R-1" << until("record intent")
    runs_by_itself(play) >> durable << until("client DELETE 5") << "client ready I"


@pytest.mark.parametrize("leaving", [CLIENT_GONE, SERVER_GONE, events.Shutdown()], ids=lambda each: type(each).__name__)
def test_an_approval_that_comes_as_the_session_ends_is_void(play: Play, leaving: events.Event) -> None:
    worked_by_hand(held(play), server=False) >> leaving << "record withdrawn..."
    play >> approve()
    play >> durable << "retire R-1" << "record void"
    worked_by_hand(play, ledger=False) >> durable << until("record session-closed") << until("close")
    assert play.ledger.life("R-1")[2:] == ["decision approve", "void"]


def test_a_decision_that_never_comes_is_not_waited_for_for_ever(play: Play) -> None:
    worked_by_hand(held(play), server=False) >> events.CancelRequested() << "record withdrawn cancel"
    list(approve().do(play))
    play >> durable
    play >> events.CancelRequested()
    play >> after(9)
    play >> after(1) << "retire R-1" << CANCELLED << "client ready I"


def test_a_deadline_that_lost_to_a_decision_is_not_tried_again_and_again(play: Play) -> None:
    worked_by_hand(held(play), server=False) >> after(900) << "record expired"
    decided = list(approve().do(play))
    play >> durable
    play >> after(1)
    play >> decided[0] << "retire R-1" << until("record intent")


def test_a_decision_over_one_request_never_runs_another(play: Play) -> None:
    worked_by_hand(held(play), server=False) >> events.CancelRequested() << "record withdrawn cancel"
    approval = list(approve().do(play))
    play >> not_recorded(LedgerUnavailable("the ledger cannot be written")) << "retire R-1" << CANCELLED
    play << "client ready I"
    runs_by_itself(play)
    held(play, "drop table t", "R-2")
    play >> approval[0]
    play >> approve("R-2") << "retire R-2" << until("client ready I")
    assert play.ledger.life("R-1") == ["request", "preview", "decision approve"]


def test_a_decision_that_came_too_late_never_runs_the_next_statement(play: Play) -> None:
    worked_by_hand(held(play), server=False) >> events.CancelRequested() << "record withdrawn cancel"
    play >> approve()
    play >> not_recorded(LedgerUnavailable("the ledger cannot be written")) << "retire R-1" << CANCELLED
    play << "client ready I"
    runs_by_itself(play)
    held(play, "drop table t", "R-2")
    assert "drop table t" not in play.server.heard


def test_a_request_is_decided_once(play: Play) -> None:
    decided = list(approve().do(held(play)))
    play >> decided[0] << until("client DELETE 5") << "client ready I"
    play >> decided[0]
    held(play, request="R-2")


def test_a_string_of_several_statements_is_held_as_one(play: Play) -> None:
    text = "select 1; delete from t; delete from u"
    play >> text << LOOK << CONTEXT << "record request" << until("record preview")
    rows = "about 10 rows (in all, but may be others when it runs)"
    play << f"client NOTICE 00000 R-1 held for approval: DELETE on t; DELETE on u, {rows}, rule..." << "announce R-1"
    assert [part["kind"] for part in play.ledger.body("request")["parts"]] == ["select", "delete", "delete"]
    preview = play.ledger.body("preview")
    # This server tells the same relation of both, so the second may meet what the first has changed.
    assert [(each["place"], each.get("exact"), each["estimate"]) for each in preview["statements"]] == [
        (2, 5, 4),
        (3, None, 5),
    ]
    assert preview["statements"][1]["caveats"] == ["earlier-parts"]
    assert (preview["status"], preview["estimate"]) == ("partly", 10)


def test_the_limit_of_a_hold_inside_a_block_is_that_of_open_transactions(play: Play) -> None:
    play.server.timers = ("7", "0", "0")
    held(in_a_block(play)) >> after(2) << "record expired"
    play << "retire R-1" << until("client ready E")

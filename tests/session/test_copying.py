"""COPY FROM STDIN: the client's data pass only to a COPY that may run and takes them, counted and digested."""

import hashlib

import pytest
from tests.play import (
    CLIENT_GONE,
    COPY_IN,
    SERVER_GONE,
    Call,
    Play,
    answers,
    approve,
    deny,
    durable,
    error,
    judge,
    message,
    ready,
    server,
    until,
)
from tests.session.stories import COUNTED, SAME, held, in_a_block, worked_by_hand

from pgnotary.session import actions, events
from pgnotary.session.events import ClientBytes
from pgnotary.session.forward import note_effects
from pgnotary.session.inbox import MAX_MESSAGE_BYTES
from pgnotary.session.manner import Manner
from pgnotary.wire import messages
from pgnotary.wire.frames import frontend_frames

COPY = "copy t from stdin"
DELETE = "delete from t"
RUN = messages.parse(b"", COPY.encode()) + messages.bind(b"", b"") + messages.execute(b"")
DONE = message("c")
SYNC = messages.SYNC


def data(*rows: str) -> ClientBytes:
    return ClientBytes(b"".join(message("d", row.encode()) for row in rows))


def copying(play: Play, text: str = COPY) -> Play:
    """An approved COPY takes data."""
    held(play, text) >> approve()
    return play << until(f"upstream {text}") << "client copy in"


def test_what_is_held_asks_for_no_data_before_it_is_approved(play: Play) -> None:
    held(play, COPY)
    assert COPY not in play.server.heard
    assert play.ledger.body("preview")["why"].startswith("its rows come from the client once it is approved")
    play >> approve() << until(f"upstream {COPY}") << "client copy in"


def test_data_pass_to_a_copy_and_are_counted_and_digested(play: Play) -> None:
    copying(play) >> data("one\n") << "upstream CopyData" >> data("two\n", "3\n") << ["upstream CopyData"] * 2
    play >> ClientBytes(DONE) << "upstream CopyDone" << SAME << COUNTED << "record executed" << "upstream COMMIT"
    play << "record outcome committed" << "client COPY 5" << "client ready I"
    body = play.ledger.body("executed")
    assert play.server.copied == b"one\ntwo\n3\n"
    assert (body["rows"], body["copied_bytes"]) == (5, 10)
    assert body["copied_sha256"] == hashlib.sha256(b"one\ntwo\n3\n").hexdigest()
    assert "copied_bytes" not in play.ledger.body("outcome")


def test_commit_waits_for_the_answer_to_the_last_of_the_data(play: Play) -> None:
    worked_by_hand(copying(play), ledger=False) >> data("1") << "upstream CopyData"
    play >> ClientBytes(DONE) << "upstream CopyDone"
    assert play.server.committed == []


def test_in_a_block_the_outcome_is_the_blocks(play: Play) -> None:
    copying(in_a_block(play)) >> data("1") << "upstream CopyData" >> ClientBytes(DONE) << "upstream CopyDone"
    play << SAME << COUNTED << "record executed" << "client COPY 5" << "client ready T"
    play >> "commit" << until("client COMMIT") << "client ready I"
    assert play.server.committed == [COPY]
    assert play.ledger.body("outcome")["result"] == "committed"


def test_more_rows_than_were_signed_are_rolled_back(play: Play) -> None:
    held(play, COPY) >> approve(max_rows=4) << until("client copy in")
    play >> data("1") << "upstream CopyData" >> ClientBytes(DONE) << "upstream CopyDone" << SAME << COUNTED
    play << "record executed" << "upstream ROLLBACK"
    play << "record outcome rolled-back" << "client ERROR 55000 R-1 rolled back: 5 rows affected..." << "client ready I"
    assert play.ledger.body("executed")["copied_bytes"] == 1


# --- what comes too early, too late, or without any COPY --------------------------------------------------------------


def test_data_that_came_before_they_were_asked_for_wait_for_that(play: Play) -> None:
    play >> ClientBytes(messages.query(COPY.encode()) + message("d", b"1\n") + DONE) << until("announce R-1")
    assert play.server.copying == ""
    play >> approve() << until(f"upstream {COPY}") << "client copy in" << "upstream CopyData" << "upstream CopyDone"
    play << SAME << until("client COPY 5") << "client ready I"


@pytest.mark.parametrize("ending", [deny(), events.CancelRequested()], ids=["denied", "withdrawn"])
def test_data_behind_a_copy_that_does_not_run_go_nowhere(play: Play, ending: events.Event) -> None:
    play >> ClientBytes(messages.query(COPY.encode()) + message("d", b"1\n")) << until("announce R-1")
    play >> ending << until("client ready I") >> data("2\n") >> ClientBytes(DONE + message("f", b"\0"))
    play >> "select 1" << until("upstream select 1") << until("client ready I")
    assert COPY not in play.server.heard


def test_extended_data_behind_a_denial_are_passed_over_up_to_the_sync(play: Play) -> None:
    play >> ClientBytes(RUN + SYNC + message("d", b"1") + DONE + SYNC) << until("announce R-1")
    play >> deny() << "retire R-1" << "client ERROR 42501 R-1 denied by bo: not today" << ["client ready I"] * 2


def test_data_without_a_copy_go_nowhere(play: Play) -> None:
    play >> data("1") >> ClientBytes(DONE) >> ClientBytes(message("f", b"why\0"))
    play >> "select 1" << until("upstream select 1") << until("client ready I")


def test_data_behind_an_error_of_the_server_go_nowhere(play: Play) -> None:
    copying(play) >> data("bad\n") << "upstream CopyData" << "upstream ROLLBACK" << "record outcome failed"
    play << "client ERROR 22P02 invalid input syntax" << "client ready I"
    play >> data("2\n") >> ClientBytes(DONE) >> "select 1" << until("upstream select 1") << until("client ready I")
    body = play.ledger.body("outcome")
    assert (body["sqlstate"], body["copied_bytes"]) == ("22P02", 4)


def test_data_that_come_while_an_error_is_being_settled_go_nowhere(play: Play) -> None:
    worked_by_hand(copying(play)) >> data("bad\n") << "upstream CopyData"
    play >> server(error("22P02", "bad"), ready("E")) << "upstream ROLLBACK" >> data("2") >> ClientBytes(DONE)
    play.server.by_hand = play.ledger.by_hand = False
    play.server.copying, play.server.status = "", "I"
    play >> server(message("C", b"ROLLBACK\0"), ready("I")) << "record outcome failed"
    play << "client ERROR 22P02 bad" << "client ready I"


def test_of_a_copy_that_never_asked_for_data_nothing_is_told(play: Play) -> None:
    play.server.on(COPY, error("42P01", 'relation "t" does not exist'))
    held(play, COPY) >> approve() << until("record outcome failed") << "client ERROR 42P01..." << "client ready I"
    assert "copied_bytes" not in play.ledger.body("outcome")


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "together"])
def test_what_waits_is_sent_as_soon_as_it_is_asked_for_whatever_comes_with_that(play: Play, *, apart: bool) -> None:
    worked_by_hand(held(play, COPY), server=False) >> approve() << until("record intent")
    worked_by_hand(play, ledger=False) >> durable << f"upstream {COPY}" >> data("1")
    said = [COPY_IN, error("42809", "a view") + ready("E")]
    play >> Call("the server", lambda _: map(events.UpstreamBytes, said if apart else [b"".join(said)]))
    play << "client copy in" << "upstream CopyData" << "upstream ROLLBACK"


def test_a_client_that_gives_up_fails_it(play: Play) -> None:
    copying(play) >> data("1\n") << "upstream CopyData" >> ClientBytes(message("f", b"enough\0")) << "upstream CopyFail"
    play << "upstream ROLLBACK" << "record outcome failed"
    play << "client ERROR 57014 COPY from stdin failed: enough" << "client ready I"
    assert play.server.committed == []


# --- statements beside data -------------------------------------------------------------------------------------------


def test_a_statement_in_the_middle_of_data_is_never_sent_and_ends_the_session(play: Play) -> None:
    copying(play) >> ClientBytes(message("d", b"1\n") + messages.query(DELETE.encode()))
    play << "upstream CopyData" << "upstream CopyFail" << "upstream ROLLBACK" << "record outcome failed"
    play << "client ERROR 08P01 unexpected message type 0x51 during COPY from stdin"
    play << "client FATAL 08P01 terminating connection because protocol synchronization was lost"
    play << until("close")
    assert DELETE not in play.server.heard
    assert play.ledger.body("outcome")["sqlstate"] == "08P01"


@pytest.mark.parametrize("kind", ["Q", "P", "B", "E", "D", "C", "F"])
def test_only_data_flush_and_sync_may_come(play: Play, kind: str) -> None:
    copying(play) >> ClientBytes(message("H") + SYNC + message(kind, bytes(12))) << "upstream CopyFail"
    play << "upstream ROLLBACK" << "record outcome failed"
    play << f"client ERROR 08P01 unexpected message type 0x{ord(kind):02X} during COPY from stdin" << until("close")


def test_a_statement_right_behind_the_data_is_judged_by_itself(play: Play) -> None:
    copying(play) >> ClientBytes(message("d", b"1\n") + DONE + messages.query(DELETE.encode()))
    play << "upstream CopyData" << "upstream CopyDone" << until("client ready I") << until("announce R-2")
    assert DELETE not in play.server.heard


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_a_statement_behind_an_error_that_is_on_its_way_is_judged_by_itself(play: Play, *, extended: bool) -> None:
    """The server has left COPY already: what is sent to it now it would run."""
    play >> ClientBytes(RUN + SYNC if extended else messages.query(COPY.encode())) << until("announce R-1")
    play >> approve() << until("client copy in")
    worked_by_hand(play, ledger=False) >> data("bad") << "upstream CopyData"
    play >> ClientBytes(messages.query(DELETE.encode()) + SYNC) << "upstream CopyFail"
    play << ["upstream Sync"] * extended >> answers(2)
    play << (until("client ERROR 22P02...") if extended else until("upstream ROLLBACK"))
    play.unread.clear()
    worked_by_hand(play, server=False, ledger=False) >> answers()
    play << until("client ready I" if extended else "announce R-2")
    assert DELETE not in play.server.heard


@pytest.mark.parametrize("at", range(1, 60))
def test_a_query_inside_data_stays_data_wherever_it_is_cut(play: Play, at: int) -> None:
    smuggled = message("d", b"1\n" + messages.query(DELETE.encode()) + message("c")) + DONE
    copying(play) >> Call("cut", lambda _: [ClientBytes(smuggled[:at]), ClientBytes(smuggled[at:])])
    play << "upstream CopyData" << "upstream CopyDone" << until("client COPY 5") << "client ready I"
    assert DELETE not in play.server.heard


def test_several_statements_in_one_message_are_refused(play: Play) -> None:
    play >> f"{COPY}; {DELETE}"
    play << "client ERROR 0A000 refused by pgnotary: COPY FROM STDIN runs alone: send it in a message of its own"
    play << "client ready I"


def test_where_nothing_may_be_written_nobody_is_asked() -> None:
    with Play(user_read_only=True) as reader:
        for said in (messages.query(COPY.encode()), RUN + SYNC):
            reader >> ClientBytes(said + message("d", b"1") + DONE)
            reader << "client ERROR 25006 cannot execute COPY FROM in a read-only transaction" << "client ready I"


# --- the extended protocol --------------------------------------------------------------------------------------------


def test_an_extended_copy_is_followed_by_one_sync_behind_its_data(play: Play) -> None:
    play >> ClientBytes(RUN + SYNC) << until("announce R-1") >> approve() << until("client 2")
    worked_by_hand(play << "client copy in", ledger=False) >> data("1\n") << "upstream CopyData"
    play >> ClientBytes(DONE + SYNC) << "upstream CopyDone" << "upstream Sync"  # or the server would keep its answer
    worked_by_hand(play, server=False, ledger=False) >> answers() << until("record executed") << "client COPY 5"
    play << until("upstream Sync") << until("client ready I")
    assert play.server.committed == [COPY]


def test_the_sync_that_was_sent_ahead_of_the_data_is_not_answered(play: Play) -> None:
    play >> ClientBytes(RUN + SYNC) << until("announce R-1") >> approve() << until("client copy in")
    play >> ClientBytes(SYNC + message("H"))
    play >> ClientBytes(message("d", b"1") + DONE) << until("client COPY 5")
    (
        play
        >> ClientBytes(SYNC)
        << until("client ready I")
        >> "select 1"
        << until("upstream select 1")
        << until("client ready I")
    )


def test_an_extended_copy_without_anything_ahead_of_its_data_runs(play: Play) -> None:
    play >> ClientBytes(RUN + message("d", b"1") + DONE + SYNC) << until("announce R-1") >> approve()
    play << until("client copy in") << "upstream CopyData" << "upstream CopyDone" << "upstream Sync"
    play << until("client COPY 5") << until("client ready I")


def test_data_between_an_extended_error_and_its_end_go_nowhere(play: Play) -> None:
    play >> ClientBytes(RUN + SYNC) << until("announce R-1") >> approve() << until("client copy in")
    worked_by_hand(play, ledger=False) >> data("bad") << "upstream CopyData" >> answers() << "upstream Sync"
    play >> data("more") >> ClientBytes(DONE)


def test_data_between_bind_and_execute_are_passed_over(play: Play) -> None:
    bound = messages.parse(b"", DELETE.encode()) + messages.bind(b"", b"")
    play >> ClientBytes(bound + message("d", b"1") + messages.execute(b"") + SYNC) << until("announce R-1")
    play >> approve() << until("client DELETE 5") << until("client ready I")


def test_an_extended_copy_that_fails_gets_its_sync_from_us_and_one_ready(play: Play) -> None:
    play >> ClientBytes(RUN + SYNC) << until("announce R-1") >> approve() << until("client copy in")
    play >> data("bad") << "upstream CopyData" << "upstream Sync" << "record outcome failed"
    play << "client ERROR 22P02 invalid input syntax" << until("upstream Sync")
    play >> data("more") >> ClientBytes(DONE + messages.query(DELETE.encode())) >> ClientBytes(SYNC) << "client ready I"
    assert DELETE not in play.server.heard


@pytest.mark.parametrize("extended", [True, False], ids=["extended", "simple"])
def test_a_copy_that_fails_as_soon_as_it_has_asked_for_data_is_followed_by_one_ready(
    play: Play, extended: bool
) -> None:
    """So does COPY to a view: the server has read nothing then, and would answer a Sync that was sent ahead."""
    play.server.on(COPY, COPY_IN, error("42809", 'cannot copy to view "t"'))
    play >> ClientBytes(RUN + SYNC if extended else messages.query(COPY.encode())) << until("announce R-1")
    play >> approve() << until("client ERROR 42809...")
    play << (until("upstream Sync") if extended else "client ready I")
    play >> data("1") >> ClientBytes(DONE + SYNC * extended)
    play << ["client ready I"] * extended
    play >> "select 1" << until("upstream select 1") << until("client ready I")


@pytest.mark.parametrize("behind", [messages.close_portal(b""), messages.parse(b"", b"select 1"), RUN])
def test_nothing_but_an_end_may_stand_between_execute_and_the_data(play: Play, behind: bytes) -> None:
    play >> ClientBytes(RUN + behind + SYNC)
    play << "client ERROR 0A000 the data of COPY FROM STDIN must follow its one Execute..." << "client ready I"


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [CLIENT_GONE, ClientBytes(messages.TERMINATE)], ids=["lost", "Terminate"])
def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(play: Play, left: events.Event) -> None:
    copying(play) >> data("1\n") << "upstream CopyData" >> left << "cancel" << "upstream CopyFail"
    play >> events.CancelDelivered() << "upstream ROLLBACK" << "record outcome failed" << until("close")
    assert play.server.committed == []


def test_a_client_that_leaves_before_it_was_asked_for_data_leaves_nothing_behind(play: Play) -> None:
    worked_by_hand(worked_by_hand(held(play, COPY), server=False) >> approve() << until("record intent"))
    play >> durable << f"upstream {COPY}" >> CLIENT_GONE << "cancel" >> answers() << "upstream CopyFail"
    worked_by_hand(play, server=False, ledger=False) >> events.CancelDelivered()
    play >> answers() << "upstream ROLLBACK" << "record outcome failed" << until("close")


def test_a_proxy_that_stops_fails_it(play: Play) -> None:
    copying(play) >> events.Shutdown() << "upstream CopyFail" << "upstream ROLLBACK" << "record outcome failed"
    play << "client ERROR 57014 COPY from stdin failed: the session ends" << "client ready I"
    play << "client FATAL 57P01..." << until("close")


def test_a_server_that_goes_in_the_middle_leaves_the_outcome_unknown(play: Play) -> None:
    copying(play) >> data("1") << "upstream CopyData" >> SERVER_GONE << "record outcome unknown"
    play << "client FATAL 08007 the outcome is not known" << until("close")
    assert play.ledger.body("outcome")["copied_bytes"] == 1


def test_a_cancel_goes_to_the_server_and_data_go_on(play: Play) -> None:
    copying(play) >> events.CancelRequested() << "cancel" >> data("1") << "upstream CopyData"
    play.server.copying, play.server.status = "", "E"
    play >> events.CancelDelivered() >> server(error("57014", "canceling statement"), ready("E")) << "upstream ROLLBACK"
    play << until("client ERROR 57014 canceling statement") << "client ready I"


def test_a_second_request_for_data_is_the_servers_breach(play: Play) -> None:
    copying(play) >> server(COPY_IN) << "client copy in" << "record outcome unknown" << until("close")


# --- memory -----------------------------------------------------------------------------------------------------------


def test_data_leave_at_once_however_much_they_are(play: Play) -> None:
    copying(play)
    chunk = ClientBytes(message("d", bytes(8_000)) * 40)
    for _ in range(200):
        (sent,) = play.session.receive(chunk, play.now)
        assert sent == actions.ToUpstream(chunk.data)  # neither kept nor paused: the links do that


def test_data_that_wait_for_a_copy_stop_the_reading(play: Play) -> None:
    """Between the query and the server's word nothing is sent, so nothing more may be read either."""
    worked_by_hand(held(play, COPY), ledger=False) >> approve() << until("upstream BEGIN...")
    play >> ClientBytes(message("d", bytes(300_000)) * 4) << "pause"


def test_one_long_message_of_data_leaves_in_pieces(play: Play) -> None:
    copying(play)
    long = message("d", bytes(range(250)) * 20_000)
    sent = b""
    for at in range(0, len(long), 100_000):
        for action in play.session.receive(ClientBytes(long[at : at + 100_000]), play.now):
            assert isinstance(action, actions.ToUpstream)
            sent += action.data
        assert len(sent) >= at - MAX_MESSAGE_BYTES
    pieces = list(frontend_frames(1 << 30).feed(sent))
    assert b"".join(piece.body for piece in pieces) == long[5:]
    assert {piece.type for piece in pieces} == {b"d"}
    assert max(len(piece.body) for piece in pieces) == MAX_MESSAGE_BYTES


def test_rows_that_are_copied_change_no_catalog_that_others_would_have_to_ask_for(play: Play) -> None:
    for text, generation in ((COPY, 0), ("copy t from '/x'", 1)):
        note_effects(play.state, judge(text.encode())[0].parts, [Manner.READ_WRITE])
        assert play.generation == generation

"""The extended protocol: judged at Parse and at Bind, names as the server has them, our own work out of the way."""

import pytest
from tests.listed import listed
from tests.play import Play, after, answers, approve, error, ledger_is_down, message, server, until
from tests.session.stories import DELETE, held, in_a_block, worked_by_hand

from pgnotary.judge.catalog import Catalog, Relation
from pgnotary.judge.scope import Scope
from pgnotary.session import events
from pgnotary.session.events import ClientBytes
from pgnotary.session.state import SharedCatalog
from pgnotary.wire import messages
from pgnotary.wire.messages import FLUSH, SYNC

PINNED = "set transaction_read_only = off"
REFUSED = "client ERROR 0A000 refused by pgnotary: transaction_read_only decides..."
OPENING = ["upstream Parse SAVEPOINT pgnotary_read", "upstream Parse SET LOCAL transaction_read_only = on"]
CLOSING = ["upstream Parse ROLLBACK TO SAVEPOINT pgnotary_read", "upstream Parse RELEASE SAVEPOINT pgnotary_read"]


def parse(text: str, name: str = "") -> bytes:
    return messages.parse(name.encode(), text.encode())


def bind(name: str = "", portal: str = "") -> bytes:
    return messages.bind(portal.encode(), name.encode())


def execute(portal: str = "", rows: int = 0) -> bytes:
    return message("E", portal.encode() + b"\0" + rows.to_bytes(4, "big"))


def describe(name: str = "") -> bytes:
    return message("D", b"S" + name.encode() + b"\0")


def close(name: str) -> bytes:
    return messages.close_statement(name.encode())


def run(text: str, name: str = "") -> bytes:
    return parse(text, name) + bind(name) + execute()


BIG = messages.bind(b"", b"s", b"\0\0\0\1" + (600_000).to_bytes(4, "big") + b"x" * 600_000) + execute()


def told(play: Play) -> list[str]:
    """Take what was said to the client so far, and forget the rest."""
    found = [line.removeprefix("client ") for line in play.unread if line.startswith("client ")]
    play.unread.clear()
    return found


def sent(play: Play) -> list[str]:
    found = [line.removeprefix("upstream ") for line in play.unread if line.startswith("upstream ")]
    play.unread.clear()
    return found


def test_a_batch_is_sent_as_it_is_and_answered_as_it_comes(play: Play) -> None:
    play >> ClientBytes(run("select 1") + SYNC) << "upstream Parse select 1" << "upstream Bind" << "upstream Execute"
    play << "upstream Sync" << "client 1" << "client 2" << "client row 1" << "client SELECT 1" << "client ready I"


def test_nothing_is_sent_before_the_batch_is_whole(play: Play) -> None:
    for piece in (parse("select 1"), bind(), execute()):
        play >> ClientBytes(piece)
    play >> ClientBytes(SYNC) << "upstream Parse select 1" << until("client ready I")


def test_what_is_refused_is_refused_at_its_parse(play: Play) -> None:
    play >> ClientBytes(run(PINNED) + SYNC) << REFUSED << "client ready I"
    assert play.server.heard == []


def test_what_stands_before_a_refusal_is_answered_and_what_is_behind_it_is_passed_over(play: Play) -> None:
    play >> ClientBytes(run("select 1") + run(PINNED) + run("select 2") + SYNC)
    play << "upstream Parse select 1" << until("client SELECT 1") << REFUSED << "client ready I"
    assert PINNED not in play.server.heard
    play >> ClientBytes(run("select 3") + SYNC) << "upstream Parse select 3" << until("client ready I")


def test_a_refusal_inside_a_block_fails_it(play: Play) -> None:
    in_a_block(play) >> ClientBytes(run(PINNED) + SYNC) << "upstream Bind" << "upstream Sync" << REFUSED
    play << "client ready E"


def test_an_error_of_the_server_is_the_only_one(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    play >> ClientBytes(run("select 1/0") + run(PINNED) + SYNC)
    play << until("client ERROR 22012 division by zero") << "client ready I"


def test_a_query_behind_an_error_is_passed_over_to_the_next_sync(play: Play) -> None:
    play >> ClientBytes(run(PINNED) + messages.query(b"select 1") + SYNC + messages.query(b"select 2"))
    play << REFUSED << "client ready I" << "upstream select 2" << until("client ready I")


def test_a_query_without_a_sync_before_it_ends_what_was_open(play: Play) -> None:
    play >> ClientBytes(run("select 1") + messages.query(b"select 2"))
    play << "upstream Parse select 1" << "upstream Bind" << "upstream Execute" << "upstream Sync"
    play << until("client SELECT 1") << "upstream select 2" << until("client ready I")


# --- names ----------------------------------------------------------------------------------------------------------


def test_a_name_stands_for_what_the_server_took_not_for_what_was_asked(play: Play) -> None:
    """Parse s1, which exists: the server keeps the old one, and a Bind runs that."""
    play >> ClientBytes(parse("select 1", "s1") + SYNC) << until("client ready I")
    play >> ClientBytes(parse("select 2", "s1") + SYNC) << until("client ERROR 42P05...") << "client ready I"
    assert play.state.names.statements == {b"s1": b"select 1"}
    play >> ClientBytes(bind("s1") + execute() + SYNC) << until("client ready I")
    assert play.server.heard[-1] == "select 1"


def test_a_portal_runs_what_was_bound_whatever_its_name_is_given_to_later(play: Play) -> None:
    play >> ClientBytes(parse("select 1") + bind(portal="p") + parse("select 2") + execute("p") + SYNC)
    play << until("client ready I")
    assert play.server.heard[-1] == "select 1"


@pytest.mark.parametrize(
    ("batch", "what"),
    [
        (bind("nobody") + execute(), '26000 prepared statement "nobody" does not exist'),
        (execute("nobody"), '34000 portal "nobody" does not exist'),
        (bind(), '26000 prepared statement "" does not exist'),
    ],
)
def test_a_name_that_we_do_not_know_is_not_passed_on(play: Play, batch: bytes, what: str) -> None:
    play.server.prepared[b"nobody"] = DELETE
    play.server.portals[b"nobody"] = DELETE
    play >> ClientBytes(batch + SYNC) << f"client ERROR {what}" << "client ready I"
    assert play.server.heard == []


def test_a_closed_statement_is_gone(play: Play) -> None:
    play >> ClientBytes(parse("select 1", "s") + close("s") + bind("s") + SYNC)
    play << until("client ERROR 26000...") << "client ready I"


def test_a_portal_does_not_outlive_its_transaction(play: Play) -> None:
    play >> ClientBytes(parse("select 1") + bind(portal="p") + SYNC) << until("client ready I")
    play >> ClientBytes(execute("p") + SYNC) << "client ERROR 34000..." << "client ready I"


def test_inside_a_block_a_portal_lives_on(play: Play) -> None:
    in_a_block(play) >> ClientBytes(parse("select 1") + bind(portal="p") + SYNC) << until("client ready T")
    play >> ClientBytes(execute("p") + SYNC) << until(CLOSING[0]) << until("client ready T")
    assert "select 1" in play.server.heard
    assert "select 1" not in play.server.writable


def test_where_a_portal_lived_on_the_commit_itself_is_read_only(play: Play) -> None:
    """A cursor WITH HOLD or a deferred trigger that the read has left behind runs at COMMIT."""
    in_a_block(play) >> ClientBytes(parse("select 1") + bind(portal="p") + SYNC) << until("client ready T")
    play >> "commit" << "upstream SET LOCAL transaction_read_only = on" << "upstream commit" << until("client ready I")


def test_what_was_bound_behind_a_wall_that_was_undone_is_gone(play: Play) -> None:
    in_a_block(play) >> ClientBytes(parse("select 1") + bind(portal="p") + execute("p") + SYNC)
    play << until("client ready T")
    play >> ClientBytes(execute("p") + SYNC)
    play << until('client ERROR 34000 portal "p" does not exist') << until("client ready E")


def test_read_write_cannot_be_asked_for_by_a_flush_and_used_behind_it(play: Play) -> None:
    """It would make the implicit transaction of a read writable, were both in one."""
    play >> ClientBytes(run("set transaction read write") + FLUSH)
    assert sent(play)[-2:] == ["Execute", "Sync"]


@pytest.mark.parametrize("end", [SYNC, FLUSH + SYNC])
def test_what_is_parsed_or_bound_beside_transaction_control_is_walled_all_the_same(play: Play, end: bytes) -> None:
    """A Bind plans, and a plan may run an immutable function; it must not do so in the COMMIT's piece."""
    in_a_block(play)
    play >> ClientBytes(parse("select 1", "s") + bind("s", "p") + run("commit") + end)
    lines = [line for line in sent(play) if line.startswith(("Parse", "Sync"))]
    assert lines.index("Parse select 1") > lines.index("Parse SET LOCAL transaction_read_only = on")
    assert "Sync" in lines[lines.index("Parse select 1") : lines.index("Parse commit")]


def test_a_setting_in_a_block_outlasts_the_walls_around_it(play: Play) -> None:
    in_a_block(play) >> ClientBytes(run("select 1") + run("set statement_timeout = 1") + run("select 2") + SYNC)
    lines = [line.removeprefix("Parse ") for line in sent(play) if line.startswith("Parse")]
    undo = lines.index("RELEASE SAVEPOINT pgnotary_read")
    assert lines[undo + 1 : undo + 3] == ["set statement_timeout = 1", "SAVEPOINT pgnotary_read"]


def test_a_control_whose_name_a_read_may_have_given_to_another_is_compared_first(play: Play) -> None:
    """A function behind a view can DEALLOCATE, and PREPARE a DELETE under the name of our SAVEPOINT."""
    in_a_block(play) >> ClientBytes(parse("savepoint a", "s") + SYNC) << until("client ready T")
    play >> "select 1" << until("client ready T")
    play.server.prepared[b"s"] = "delete from t"
    play >> ClientBytes(bind("s") + execute() + SYNC) << until("client SAVEPOINT") << until("client ready T")
    assert "delete from t" not in play.server.heard


def test_a_failed_block_that_a_batch_saves_does_not_believe_a_name_of_before(play: Play) -> None:
    """While the block is failed no name can be made sure of; behind the ROLLBACK TO it would run."""
    play.server.on("select 1/0", error("22012", "division by zero"))
    in_a_block(play) >> ClientBytes(parse("savepoint b", "s") + SYNC) << until("client ready T")
    play >> "savepoint a" << until("client ready T")
    play >> "select 1/0" << until("client ready E")
    play.server.prepared[b"s"] = "delete from t"
    play >> ClientBytes(run("rollback to a") + bind("s") + execute() + SYNC)
    play << until("client ROLLBACK") << until("client SAVEPOINT") << until("client ready T")
    assert "delete from t" not in play.server.heard


def test_the_empty_text_is_a_name_that_may_stand_for_something_else_too(play: Play) -> None:
    in_a_block(play) >> ClientBytes(parse("", "s") + SYNC) << until("client ready T")
    play.server.prepared[b"s"] = "delete from t"
    play >> ClientBytes(run("select 1") + run("savepoint a") + bind("s") + execute() + SYNC)
    play << until("client SAVEPOINT") << until("client ready T")
    assert "delete from t" not in play.server.heard


def test_a_portal_of_the_empty_text_that_was_bound_before_is_not_executed(play: Play) -> None:
    in_a_block(play) >> ClientBytes(parse("", "s") + bind("s", "p") + SYNC) << until("client ready T")
    play >> ClientBytes(parse("select 1") + bind() + execute(rows=1) + SYNC) << until("client ready T")
    play >> ClientBytes(execute("p") + SYNC) << until("client ERROR 34000...") << until("client ready E")


def test_nothing_is_held_where_the_commit_must_be_read_only(play: Play) -> None:
    in_a_block(play) >> ClientBytes(parse("select 1") + bind(portal="p") + SYNC) << until("client ready T")
    play >> DELETE << until("client ERROR 55000 a portal of the driver's...") << until("client ready E")


def test_a_wall_is_undone_under_a_portal_where_the_commit_must_write(play: Play) -> None:
    held(in_a_block(play), DELETE) >> approve() << until("client ready T")
    play >> ClientBytes(parse("select 1") + bind(portal="p") + SYNC) << until(CLOSING[0]) << until("client ready T")
    play >> ClientBytes(execute("p") + SYNC) << until("client ERROR 34000...") << until("client ready E")


def test_a_set_transaction_that_was_prepared_comes_before_any_snapshot(play: Play) -> None:
    text = "set transaction isolation level repeatable read"
    play >> ClientBytes(parse(text, "s") + SYNC) << until("client ready I")
    in_a_block(play) >> ClientBytes(bind("s") + execute() + SYNC)
    assert [line for line in sent(play) if line.startswith("Parse")] == [f"Parse {text}"]


def test_a_portal_of_a_control_that_was_bound_before_is_not_executed(play: Play) -> None:
    """A function behind a view can CLOSE it, and OPEN another under its name."""
    in_a_block(play) >> ClientBytes(parse("savepoint a", "s") + bind("s", "p") + SYNC) << until("client ready T")
    play >> "select 1" << until("client ready T")
    play >> ClientBytes(execute("p") + SYNC) << until("client ERROR 34000...")
    play << until("client ready E")


def test_a_control_that_was_bound_just_before_is_executed(play: Play) -> None:
    """As pg8000 sends COMMIT: Bind, Flush, Execute, Flush, Sync."""
    in_a_block(play) >> ClientBytes(parse("commit") + SYNC) << until("client ready T")
    play >> ClientBytes(bind() + FLUSH) << until("client 2")
    play >> ClientBytes(execute() + FLUSH) << until("client COMMIT")
    play >> ClientBytes(SYNC) << until("client ready I")


def test_a_control_of_before_cannot_hide_behind_a_read_of_the_same_batch(play: Play) -> None:
    in_a_block(play) >> ClientBytes(parse("savepoint a", "s") + SYNC) << until("client ready T")
    play.server.prepared[b"s"] = "delete from t"
    play >> ClientBytes(run("select 1") + bind("s") + execute() + SYNC)
    play << until("client SAVEPOINT") << until("client ready T")
    assert "delete from t" not in play.server.heard


def test_a_simple_query_destroys_the_unnamed_statement_for_us_too(play: Play) -> None:
    play >> ClientBytes(parse("select 1") + SYNC) << until("client ready I")
    play >> "select 2" << until("client ready I")
    play >> ClientBytes(bind() + SYNC) << "client ERROR 26000..." << "client ready I"


def test_an_unnamed_parse_that_fails_leaves_no_unnamed_statement(play: Play) -> None:
    play.server.on("PARSE select nonsense", error("42703", "no such column"))
    play >> ClientBytes(parse("select 1") + SYNC) << until("client ready I")
    play >> ClientBytes(parse("select nonsense") + SYNC) << until("client ERROR 42703...") << "client ready I"
    play >> ClientBytes(bind() + SYNC) << "client ERROR 26000..." << "client ready I"


def test_a_name_that_something_signed_gave_to_another_statement_is_not_believed(play: Play) -> None:
    play >> ClientBytes(parse("select 1", "s9") + parse("select 2", "kept") + SYNC) << until("client ready I")
    held(play, "do 'deallocate, prepare'") >> approve() << until("client ready I")
    play.server.prepared[b"s9"] = DELETE
    play >> ClientBytes(bind("s9") + execute() + SYNC)
    play << until("client ERROR 26000...") << "client ready I"
    play >> ClientBytes(bind("kept") + execute() + SYNC) << until("client ready I")
    assert play.server.heard[-1] == "select 2"


@pytest.mark.parametrize("batch", [parse("select 1", "pgnotary_x"), parse("select 1") + bind(portal="pgnotary_x")])
def test_our_own_names_are_nobody_elses(play: Play, batch: bytes) -> None:
    play >> ClientBytes(batch + SYNC) << until("client ERROR 0A000 names that begin with pgnotary_ are pgnotary's own")
    play << "client ready I"


def test_a_statement_is_judged_again_when_it_is_bound(play: Play) -> None:
    play >> ClientBytes(parse("select t.tell from t", "s") + SYNC) << until("client ready I")
    play.generation += 1
    play.server.functions = '["tell"]'
    play >> ClientBytes(bind("s") + execute() + SYNC) << until("announce R-1")
    assert "select t.tell from t" not in play.server.heard


# --- blocks ---------------------------------------------------------------------------------------------------------


def test_a_block_begun_by_the_extended_protocol_is_read_write_and_keeps_what_was_prepared(play: Play) -> None:
    (
        play
        >> ClientBytes(run("begin") + SYNC)
        << until("client 2")
        << "upstream Close"
        << "upstream Parse SET TRANSACTION READ WRITE"
    )
    play << until("client BEGIN") << "client ready T"
    assert play.server.read_only is False
    assert play.state.names.statements == {b"": b"begin"}


def test_reads_inside_a_block_stay_behind_the_wall(play: Play) -> None:
    in_a_block(play) >> ClientBytes(run("select 1") + SYNC)
    lines = sent(play)
    assert [line for line in lines if line.startswith("Parse")] == [
        *(line.removeprefix("upstream ") for line in OPENING),
        "Parse select 1",
        *(line.removeprefix("upstream ") for line in CLOSING),
    ]
    assert "select 1" not in play.server.writable


def test_a_begin_in_front_of_its_first_statement_is_a_piece_of_its_own(play: Play) -> None:
    """As JDBC and psycopg's pipelines send it."""
    play >> ClientBytes(run("begin") + run("select 1") + run("commit") + SYNC)
    assert told(play) == ["1", "2", "BEGIN", "1", "2", "row 1", "SELECT 1", "1", "2", "COMMIT", "ready I"]
    assert "select 1" not in play.server.writable


def test_an_error_in_a_block_skips_the_rest_of_the_batch(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    play >> ClientBytes(run("begin") + run("select 1/0") + run("commit") + SYNC)
    assert told(play) == ["1", "2", "BEGIN", "1", "2", "ERROR 22012 division by zero", "ready E"]
    assert "commit" not in play.server.heard


def test_the_commit_of_an_approved_statement_is_announced_whichever_protocol_sends_it(play: Play) -> None:
    held(in_a_block(play)) >> approve() << until("client ready T")
    play >> ClientBytes(run("commit") + SYNC) << "record ending commit"
    play << "upstream Parse commit" << until("record outcome committed") << "client COMMIT" << "client ready I"


# --- Flush ----------------------------------------------------------------------------------------------------------


def test_a_flush_behind_a_parse_is_a_sync_that_nobody_sees(play: Play) -> None:
    """The server would hold its locks, and its statement_timeout would tick, until the Sync came."""
    play >> ClientBytes(parse("select 1") + describe() + FLUSH) << "upstream Parse select 1" << "upstream Describe"
    play << "upstream Sync" << "client 1" << "client t" << "client n"
    play >> ClientBytes(bind() + execute() + SYNC) << "upstream Bind" << until("client ready I")


def test_a_flush_behind_an_execute_keeps_the_portal(play: Play) -> None:
    play >> ClientBytes(parse("select 1") + bind(portal="p") + execute("p", 1) + FLUSH)
    play << "upstream Parse select 1" << "upstream Bind" << "upstream Execute" << "upstream Flush"
    play << until("client SELECT 1")
    play >> ClientBytes(execute("p") + SYNC) << "upstream Execute" << "upstream Sync" << until("client ready I")


def test_what_a_flush_leaves_open_does_not_keep_the_catalog_from_ageing(play: Play) -> None:
    """Within an implicit transaction that never ended, a function could be changed unseen for more than a minute."""
    play >> ClientBytes(run("select 1 from t") + FLUSH) << until("client SELECT 1")
    play >> after(61) << "note 1"
    (
        play
        >> ClientBytes(run("select 1 from t") + FLUSH)
        << "upstream Sync"
        << "upstream Close"
        << "upstream Parse BEGIN READ ONLY"
    )
    play << until("client SELECT 1")


def test_what_a_flush_left_open_is_ended_before_a_simple_query(play: Play) -> None:
    play >> ClientBytes(run("select 1") + FLUSH) << until("client SELECT 1")
    play >> "select 2" << "upstream Sync" << "upstream select 2" << until("client ready I")


def test_an_error_before_a_flush_is_told_at_once_and_the_sync_is_passed_on(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    play >> ClientBytes(run("select 1/0") + FLUSH) << until("client ERROR 22012...")
    play >> ClientBytes(run("select 1")) >> ClientBytes(SYNC) << "upstream Sync" << "client ready I"
    assert "select 1" not in play.server.heard


# --- the record -----------------------------------------------------------------------------------------------------


def test_each_execution_of_a_batch_is_noted(play: Play) -> None:
    play >> ClientBytes(run("select 1") + run("select 2") + SYNC) << until("client ready I")
    play >> after(1) << "note 2"
    executions = listed(play.ledger.body("forwarded"))
    assert [(each["tag"], each["verdict"]) for each in executions] == [("SELECT 1", "forward")] * 2


def test_what_is_refused_is_noted_with_its_text(play: Play) -> None:
    play >> ClientBytes(run(PINNED) + SYNC) << REFUSED << "client ready I"
    (draft,) = play.state.log.take()
    assert draft.sealed == {"t1": PINNED.encode()}


def test_while_the_ledger_is_down_nothing_is_forwarded(play: Play) -> None:
    play >> ledger_is_down
    play >> ClientBytes(run("select 1") + SYNC) << "client ERROR 58030..." << "client ready I"
    assert play.server.heard == []


def test_a_batch_that_does_not_end_is_run_as_far_as_it_has_come(play: Play) -> None:
    play >> ClientBytes(parse("select 1", "s") + SYNC) << until("client ready I")
    play >> ClientBytes(BIG * 5)
    assert told(play) == ["2", "row 1", "SELECT 1"] * 3 + ["2"]
    play >> ClientBytes(SYNC)
    assert told(play) == ["row 1", "SELECT 1", "2", "row 1", "SELECT 1", "ready I"]


def test_a_batch_without_an_end_is_run_when_its_client_waits(play: Play) -> None:
    """As libpq does in pipeline mode: the server's error would come at once, and the client asks for nothing more."""
    play.server.on("select 2", error("22012", "division by zero"))
    play >> ClientBytes(run("select 1") + run("select 2") + run("select 3")) >> after(1)
    assert play.server.heard == []
    play >> after(1)
    assert told(play) == ["1", "2", "row 1", "SELECT 1", "1", "2", "ERROR 22012 division by zero"]
    play >> ClientBytes(SYNC) << until("client ready I")
    assert "select 3" not in play.server.heard


def test_a_batch_that_still_grows_is_waited_for(play: Play) -> None:
    play >> after(0) >> ClientBytes(parse("select 1")) >> after(1)
    play >> ClientBytes(bind()) >> after(1)
    play >> ClientBytes(execute()) >> after(1)
    assert play.server.heard == []
    play >> ClientBytes(SYNC) << "upstream Parse select 1" << until("client ready I") << "note 1"


def test_what_is_held_waits_for_its_execute_however_late(play: Play) -> None:
    play >> ClientBytes(parse(DELETE) + bind()) >> after(1) >> after(1)
    assert told(play) == ["1", "2"]
    assert play.server.committed == []
    play >> ClientBytes(execute() + SYNC) << until("announce R-1")
    play >> approve() << until("client DELETE 5") << until("client ready I")


def test_no_more_is_read_from_a_client_than_can_be_dealt_with_soon(play: Play) -> None:
    worked_by_hand(play) >> "select 1" << "upstream select 1"
    play >> ClientBytes(parse("select 1", "s") + BIG + SYNC) >> ClientBytes(BIG + SYNC) << "pause"
    play >> answers() << until("upstream Parse select 1") << until("upstream Sync")
    play >> answers() << until("client ready I") << until("upstream Sync") << "resume"
    play >> answers() << until("client ready I")


@pytest.mark.parametrize(("kind", "body"), [("P", b"abc"), ("B", b"a\0b"), ("E", b"\0"), ("D", b"X\0"), ("C", b"S")])
def test_a_message_that_is_none_is_an_error_as_it_is_for_the_server(play: Play, kind: str, body: bytes) -> None:
    play >> ClientBytes(run("select 1") + message(kind, body) + SYNC)
    play << until("client ERROR 08P01 invalid message format...") << "client ready I"


def test_a_cancel_reaches_a_batch_that_runs(play: Play) -> None:

    worked_by_hand(play) >> ClientBytes(run("select 1") + SYNC) << until("upstream Sync")
    play >> events.CancelRequested() << "cancel"
    play >> server(message("1"), message("2"), error("57014", "canceling statement"), message("Z", b"I"))
    play << until("client ERROR 57014...") << "client ready I"


def test_a_fatal_error_behind_a_flush_is_the_last_that_the_client_hears(play: Play) -> None:
    worked_by_hand(play, ledger=False) >> ClientBytes(run("select 1") + FLUSH) << until("upstream Flush")
    play >> server(error("57P01", "terminating connection", "FATAL")) << "client FATAL 57P01..."
    play >> ClientBytes(SYNC) >> events.UpstreamGone() << "record forwarded + session-closed" << "close"


@pytest.mark.parametrize(
    "text",
    [
        "set default_transaction_read_only = off",
        "set default_transaction_read_only to default",
        "reset default_transaction_read_only",
        "set local default_transaction_read_only = off",
        "set session characteristics as transaction read write",
    ],
)
def test_the_wall_is_not_set_down_by_the_extended_protocol(play: Play, text: str) -> None:
    """The client's own read only by default is kept by us: the server never hears of it under its true name."""
    play >> ClientBytes(run(text) + SYNC) << until("client ready I")
    in_a_block(play) >> ClientBytes(run(text) + SYNC) << until("client ready T")
    run_there = [heard for heard in play.server.heard if "read_only" in heard and ": " not in heard]
    assert run_there
    assert all("pgnotary.default_transaction_read_only" in heard for heard in run_there)


@pytest.mark.parametrize("end", ["rollback", "commit"])
def test_what_runs_behind_the_end_of_a_block_is_looked_up_where_nobody_knows(play: Play, end: str) -> None:
    """The end of a block takes a search_path back: what only the old one finds must not be taken for another."""
    two = {"t": {"app": Relation("r"), "public": Relation("v", reading_calls=True)}}
    catalog = Catalog(known=True, relations=two)
    play.state.catalog = catalog
    play.state.shared = SharedCatalog(catalog, at=play.clock, generation=0)
    play.state.scope = Scope(("pg_catalog", "app"), "eva")
    in_a_block(play)
    assert play.state.block
    play.state.block.rescoped = True
    play >> ClientBytes(run("select 1 from t") + run(end) + run("select 1 from t") + SYNC)
    play << until("announce R-1")
    assert play.server.heard.count("select 1 from t") == 1


def typed(text: str, *oids: int) -> bytes:
    """A Parse that names the types of its parameters."""
    types = len(oids).to_bytes(2, "big") + b"".join(oid.to_bytes(4, "big") for oid in oids)
    return message("P", b"\0" + text.encode() + b"\0" + types)


def test_a_parameter_of_a_type_with_code_is_not_bound(play: Play) -> None:
    """The text shows only $1: Bind makes a value of a domain, and runs its check."""
    catalog = Catalog(known=True, types=frozenset({"d"}))
    play.state.catalog = catalog
    play.state.shared = SharedCatalog(catalog, at=play.clock, generation=0)
    play >> ClientBytes(typed("select $1", 16_400) + bind() + execute() + SYNC)
    play << "client ERROR 0A000 a parameter's type may call what nobody has read" << "client ready I"
    play >> ClientBytes(typed("select $1", 23, 16_400) + bind() + execute() + SYNC) << until("client ready I")
    assert play.server.heard == []
    play >> ClientBytes(typed("select $1, $2", 23, 0) + bind() + execute() + SYNC) << until("client SELECT 1")
    play << "client ready I"


def test_where_no_type_has_code_a_parameter_may_be_of_any(play: Play) -> None:
    play >> ClientBytes(typed("select $1", 16_400) + bind() + execute() + SYNC) << until("client SELECT 1")
    play << "client ready I"


def test_parameter_types_that_are_cut_off_break_the_protocol_where_they_must_be_known(play: Play) -> None:
    catalog = Catalog(known=True, types=frozenset({"d"}))
    play.state.catalog = catalog
    play.state.shared = SharedCatalog(catalog, at=play.clock, generation=0)
    play >> ClientBytes(message("P", b"\0select $1\0\0\2\0\0\0\27") + SYNC)
    play << "client ERROR 08P01 invalid message format..." << "client ready I"
    assert play.server.heard == []

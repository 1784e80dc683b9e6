"""What a batch holds or writes: answered as a whole, in a transaction that the client's Sync ends."""

import pytest
from tests.play import Play, approve, deny, error, not_recorded, until
from tests.session.stories import DELETE, in_a_block
from tests.session.test_batch import bind, describe, execute, parse, run, sent, told

from pgnotary.request.life import State
from pgnotary.session import events
from pgnotary.session.events import ClientBytes
from pgnotary.wire import messages
from pgnotary.wire.messages import FLUSH, SYNC

OTHER = "delete from u"


def test_what_is_held_runs_once_it_is_signed_and_is_committed_by_the_sync(play: Play) -> None:
    play >> ClientBytes(run(DELETE) + SYNC) << until("announce R-1")
    assert DELETE not in play.server.heard
    play >> approve() << until("record intent") << until("client DELETE 5") << "record ending commit"
    play << until("record outcome committed") << "client ready I"
    assert play.server.committed == [DELETE]
    assert play.ledger.body("intent")["where"] == "batch"


def test_nothing_of_it_is_sent_before_it_is_signed_but_what_is_analysed_read_only(play: Play) -> None:
    play >> ClientBytes(parse(DELETE, "s") + describe("s") + FLUSH) << until("client n")
    play >> ClientBytes(bind("s") + execute() + SYNC) << until("announce R-1")
    assert DELETE not in play.server.heard
    assert not play.server.portals
    play >> approve() << until("client DELETE 5") << until("client ready I")


def test_a_denial_is_an_error_in_the_batch_and_undoes_what_it_has_done(play: Play) -> None:
    play >> ClientBytes(run(DELETE) + run(OTHER) + run("select 1") + SYNC) << until("announce R-1")
    play >> approve() << until("client DELETE 5") << until("announce R-2")
    play >> deny("R-2") << until("client ERROR 42501...") << until("record outcome rolled-back") << "client ready I"
    assert play.server.committed == []
    assert play.ledger.states == {"R-1": State.ROLLED_BACK, "R-2": State.DENIED}


def test_an_error_behind_it_undoes_it(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    play >> ClientBytes(run(DELETE) + run("select 1/0") + run("select 2") + SYNC) << until("announce R-1")
    play >> approve() << until("client ERROR 22012...") << until("record outcome rolled-back") << "client ready I"
    assert play.server.committed == []
    assert "select 2" not in play.server.heard


def test_several_that_are_signed_are_one_transaction(play: Play) -> None:
    play >> ClientBytes(run(DELETE) + run(OTHER) + SYNC) << until("announce R-1") >> approve() << until("announce R-2")
    assert [entry.body["block"] for entry in play.ledger.entries if entry.type == "request"] == ["none", "open"]
    play >> approve("R-2") << until("record ending commit") << until("client ready I")
    assert play.server.committed == [DELETE, OTHER]
    assert set(play.ledger.states.values()) == {State.COMMITTED}


def test_a_commit_that_fails_is_told_at_the_sync(play: Play) -> None:
    play.server.on("COMMIT", error("23505", "a deferred constraint"))
    play >> ClientBytes(run(DELETE) + SYNC) << until("announce R-1") >> approve() << until("client DELETE 5")
    play << until("record outcome rolled-back") << "client ERROR 23505 a deferred constraint" << "client ready I"


def test_a_query_in_an_open_batch_commits_what_the_batch_has_changed(play: Play) -> None:
    play >> ClientBytes(run(DELETE) + messages.query(b"select 1")) << until("announce R-1") >> approve()
    play << until("record outcome committed") << until("upstream select 1") << until("client ready I")
    assert play.server.committed == [DELETE]


def test_an_execute_that_comes_behind_a_flush_brings_its_bind_with_it(play: Play) -> None:
    play >> ClientBytes(parse(DELETE) + bind() + FLUSH) << until("client 1") << "client 2"
    assert "Bind" not in sent(play)
    play >> ClientBytes(execute() + SYNC) << until("announce R-1") >> approve()
    assert told(play)[-2:] == ["DELETE 5", "ready I"]
    assert play.server.committed == [DELETE]


def test_a_bind_that_is_never_executed_is_never_sent(play: Play) -> None:
    play >> ClientBytes(parse(DELETE) + bind(portal="p") + SYNC) << until("client 2") << "client ready I"
    play >> ClientBytes(execute("p") + SYNC) << until("client ERROR 34000...") << "client ready I"
    assert DELETE not in play.server.heard


@pytest.mark.parametrize(
    "batch",
    [
        parse(DELETE) + bind(portal="a") + bind(portal="b") + execute("a") + execute("b"),
        parse(DELETE) + bind() + run("select 1") + execute(),
        parse(DELETE) + bind(portal="a") + execute("b"),
        parse(DELETE) + bind() + execute() + execute(),
    ],
)
def test_a_bind_and_an_execute_that_do_not_come_together_are_refused(play: Play, batch: bytes) -> None:
    play >> ClientBytes(batch + SYNC)
    if not play.unread or "announce R-1" in play.unread:
        play << until("announce R-1") >> approve()
    play << until("client ERROR...") << until("client ready I")
    assert play.server.committed == []


@pytest.mark.parametrize(("end", "committed"), [("commit", [DELETE]), ("rollback", [])])
def test_commit_and_rollback_behind_a_change_of_the_same_batch_end_what_is_open(
    play: Play, end: str, committed: list[str]
) -> None:
    """As PostgreSQL does; asyncpg rolls an executemany back so."""
    play >> ClientBytes(run(DELETE) + run(end) + run("select 1") + SYNC) << until("announce R-1") >> approve()
    play << until("record outcome...") << until(f"client {end.upper()}") << until("client SELECT 1")
    play << until("client ready I")
    assert play.server.committed == committed


def test_a_begin_behind_a_change_of_the_same_batch_makes_what_is_open_the_clients_block(play: Play) -> None:
    play >> ClientBytes(run(DELETE) + run("begin") + SYNC) << until("announce R-1") >> approve()
    play << until("client BEGIN") << "client ready T"
    assert play.server.committed == []
    play >> "commit" << "record ending commit" << until("record outcome committed") << until("client ready I")
    assert play.server.committed == [DELETE]


def test_other_transaction_control_behind_a_change_of_the_same_batch_is_refused(play: Play) -> None:
    play >> ClientBytes(run(DELETE) + run("savepoint a") + SYNC) << until("announce R-1") >> approve()
    play << until("client ERROR 0A000 this transaction control cannot follow a change...")
    play << until("record outcome rolled-back") << "client ready I"
    assert play.server.committed == []


def test_begin_and_commit_around_it_in_one_batch_are_the_clients_own(play: Play) -> None:
    play >> ClientBytes(run("begin") + run(DELETE) + run("commit") + SYNC) << until("announce R-1") >> approve()
    play << until("record intent") << until("record outcome committed") << "client COMMIT" << "client ready I"
    assert play.ledger.body("intent")["where"] == "block"


def test_it_is_undone_when_the_ledger_goes_down_before_the_commit(play: Play) -> None:
    play >> ClientBytes(run(DELETE) + FLUSH) << until("announce R-1") >> approve() << until("client DELETE 5")
    play.ledger.by_hand = True
    play >> ClientBytes(SYNC) << "record ending commit"
    play >> not_recorded() << until("upstream Parse ROLLBACK") << until("client FATAL 08007...")
    play << until("record session-closed")
    assert play.server.committed == []


def test_a_client_that_leaves_before_its_sync_commits_nothing(play: Play) -> None:
    play >> ClientBytes(run(DELETE) + FLUSH) << until("announce R-1") >> approve() << until("client DELETE 5")
    play >> events.ClientGone() << until("record outcome rolled-back") << until("close")
    assert play.server.committed == []


def test_a_statement_whose_name_the_preview_gave_away_does_not_run(play: Play) -> None:
    play >> ClientBytes(parse(DELETE, "s") + SYNC) << until("client ready I")
    play >> ClientBytes(bind("s") + execute() + SYNC) << until("announce R-1")
    play.server.prepared[b"s"] = "delete from everything"
    play >> approve() << until("client ERROR 55000 the prepared statement is another one now") << "client ready I"
    assert play.server.committed == []
    assert play.ledger.states == {"R-1": State.VOID}


def test_in_a_failed_block_nobody_is_asked(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    in_a_block(play) >> ClientBytes(run("select 1/0") + SYNC) << until("client ready E")
    play >> ClientBytes(run(DELETE) + SYNC) << "client ERROR 25P02..." << "client ready E"
    assert play.ledger.states == {}


def test_a_bind_alone_in_a_failed_block_is_no_more_done_than_any_other(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    in_a_block(play) >> ClientBytes(parse(DELETE, "s") + run("select 1/0") + SYNC) << until("client ready E")
    play >> ClientBytes(bind("s") + SYNC) << "client ERROR 25P02..." << "client ready E"


def test_a_rollback_whose_bind_comes_alone_ends_a_failed_block(play: Play) -> None:
    """pg8000 sends it so."""
    play.server.on("select 1/0", error("22012", "division by zero"))
    in_a_block(play) >> ClientBytes(run("select 1/0") + SYNC) << until("client ready E")
    play >> ClientBytes(parse("rollback", "s") + SYNC) << until("client ready E")
    play >> ClientBytes(bind("s") + FLUSH) << "client 2"
    play >> ClientBytes(execute() + SYNC) << until("client ROLLBACK") << "client ready I"


@pytest.mark.parametrize("setting", ["set local statement_timeout = 1", "set transaction isolation level serializable"])
def test_what_a_batch_sets_holds_for_the_rest_of_it(play: Play, setting: str) -> None:
    """A Sync of ours behind it would end what is local to the transaction."""
    play >> ClientBytes(run(setting) + run("select 1") + SYNC)
    lines = [line.removeprefix("Parse ") for line in sent(play) if line.startswith("Parse")]
    assert lines.index("BEGIN") < lines.index(setting) < lines.index("select 1") < lines.index("COMMIT")


def test_a_setting_alone_needs_no_block_of_ours(play: Play) -> None:
    play >> ClientBytes(run("set statement_timeout = 1") + SYNC) << "upstream Parse set statement_timeout = 1"
    play << until("client SET") << "client ready I"


def test_many_executions_of_one_text_are_one_request(play: Play) -> None:
    play >> ClientBytes(parse(DELETE, "s") + (bind("s") + execute()) * 3 + SYNC) << until("announce R-1")
    assert play.ledger.body("request")["executions"] == 3
    play >> approve(max_rows=14) << until("client ERROR 55000 R-1 rolled back: 15 rows affected...")
    play << until("client ready I")
    assert play.server.committed == []

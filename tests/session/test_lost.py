"""A server that goes away while a statement runs: the record has the statement, and whether its fate is known."""

import pytest
from tests.listed import listed
from tests.play import CLIENT_GONE, SERVER_GONE, Play, after, answers, error, until
from tests.session.stories import asked_anew, worked_by_hand

from pgnotary.ledger.executions import MAX_EXECUTIONS
from pgnotary.session.events import ClientBytes
from pgnotary.wire import messages
from pgnotary.wire.messages import FLUSH, SYNC

INSERT = "insert into t values (1)"
RECORDED = "record forwarded + session-closed"


@pytest.fixture
def known(play: Play) -> Play:
    """A session that knows its database: without a catalog no INSERT is plain."""
    return asked_anew(play)


def run(text: str) -> bytes:
    return messages.parse(b"", text.encode()) + messages.bind(b"", b"") + messages.execute(b"")


def recorded(play: Play) -> list[tuple[str, str | None]]:
    """Return command tag and SQLSTATE of what the last `forwarded` entry lists."""
    return [(each.get("tag", ""), each.get("sqlstate")) for each in listed(play.ledger.body("forwarded"))]


@pytest.mark.parametrize("text", ["select 1", "select 1; show work_mem"])
def test_what_a_lost_server_has_told_of_a_read_cannot_stay_out_of_the_record(play: Play, text: str) -> None:
    worked_by_hand(play, ledger=False) >> text << f"upstream {text}"
    play >> SERVER_GONE << "client FATAL 08006 the server closed the connection" << RECORDED << "close"
    assert recorded(play) == [("", "08006")]


def test_so_it_is_in_a_batch_for_each_that_was_sent(play: Play) -> None:
    worked_by_hand(play, ledger=False) >> ClientBytes(run("select 1") + run("select 2") + SYNC)
    play << until("upstream Sync") >> SERVER_GONE << "client FATAL 08006..." << RECORDED << "close"
    assert recorded(play) == [("", "08006"), ("", "08006")]


def test_a_change_whose_commit_has_no_answer_is_unknown_to_the_client_and_in_the_record(known: Play) -> None:
    worked_by_hand(known, ledger=False) >> INSERT
    while "upstream COMMIT" not in known.unread:
        known.unread.clear()
        known >> answers()
    known.unread.clear()
    known >> SERVER_GONE << "client FATAL 08007 the server went away during COMMIT..." << RECORDED << "close"
    assert recorded(known)[-1] == ("", "08007")


def test_a_change_whose_commit_was_not_sent_yet_is_not_unknown(known: Play) -> None:
    worked_by_hand(known, ledger=False) >> INSERT
    while f"upstream {INSERT}" not in known.unread:
        known.unread.clear()
        known >> answers()
    known.unread.clear()
    known >> SERVER_GONE << "client FATAL 08006..." << RECORDED << "close"
    assert recorded(known)[-1] == ("", "08006")


def test_a_batch_that_fails_at_its_commit_is_recorded_as_undone(known: Play) -> None:
    known.server.on("COMMIT", error("23503", "violates a foreign key"))
    known >> ClientBytes(run(INSERT) + SYNC) << until("client ERROR 23503 violates a foreign key")
    known << "client ready I"
    (draft,) = known.state.log.take()
    executed = listed(draft.body)[-1]
    assert (executed["tag"], executed["sqlstate"], executed["why"]) == ("INSERT 0 5", "23503", "undone with its batch")


def test_what_an_error_in_its_batch_has_undone_is_recorded_as_undone(known: Play) -> None:
    known.server.on("select 1/0", error("22012", "division by zero"))
    known >> ClientBytes(run(INSERT) + run("select 1/0") + SYNC) << until("client ERROR 22012 division by zero")
    known << until("client ready I")
    (draft,) = known.state.log.take()
    found = {each["kind"]: (each.get("sqlstate"), each.get("why")) for each in listed(draft.body)}
    assert found["insert"] == (None, "undone with its batch")
    assert found["select"] == ("22012", None)


def test_a_batch_that_commits_is_recorded_as_it_ran(known: Play) -> None:
    known >> ClientBytes(run(INSERT) + SYNC) << until("client ready I")
    (draft,) = known.state.log.take()
    executed = listed(draft.body)[-1]
    assert (executed["tag"], executed.get("sqlstate"), executed.get("why")) == ("INSERT 0 5", None, None)


def test_a_batch_whose_client_leaves_it_open_is_recorded_as_undone(known: Play) -> None:
    known >> ClientBytes(run(INSERT) + FLUSH) << until("client INSERT 0 5")
    known >> CLIENT_GONE << until("close")
    executed = listed(known.ledger.body("forwarded"))[-1]
    assert (executed["tag"], executed["why"]) == ("INSERT 0 5", "the session ended in its transaction")


def test_what_an_error_leaves_of_ours_on_the_server_is_closed_before_the_name_is_used_again(known: Play) -> None:
    """Else the next statement of ours ends the session: 42P05."""
    known.server.on("COMMIT", error("23503", "violates a foreign key"))
    known >> ClientBytes(run(INSERT) + SYNC) << until("client ready I")
    known >> ClientBytes(run(INSERT) + SYNC) << "upstream Close" << "upstream Parse BEGIN" << until("client ready I")


def test_a_batch_that_is_left_open_cannot_keep_what_it_ran_out_of_the_record(known: Play) -> None:
    known >> ClientBytes(run(INSERT) + FLUSH) << until("client INSERT 0 5")
    known >> after(1) << "note 2"
    executed = listed(known.ledger.body("forwarded"))[-1]
    assert (executed["tag"], executed["why"]) == ("INSERT 0 5", "its batch was not committed yet")


def test_a_batch_without_end_is_recorded_as_it_grows(known: Play) -> None:
    known >> ClientBytes(run(INSERT) + FLUSH) << until("client INSERT 0 5")
    for _ in range(MAX_EXECUTIONS):
        known >> ClientBytes(run("select 1") + FLUSH)
        known.unread.clear()
    assert known.state.block is not None
    assert len(known.state.block.ran) < MAX_EXECUTIONS

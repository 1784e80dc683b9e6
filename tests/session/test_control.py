"""Transaction control: blocks that may write, and the fate of what was approved in them, durable before it is told."""

import pytest
from tests.play import (
    CLIENT_GONE,
    SERVER_GONE,
    Play,
    answers,
    approve,
    command,
    durable,
    error,
    ledger_is_back,
    ledger_is_down,
    not_recorded,
    ready,
    server,
    until,
)
from tests.session.stories import DELETE, held, in_a_block, ran_in_a_block, runs_by_itself, worked_by_hand

from pgnotary.errors import RequestMoved
from pgnotary.judge.rules import PROFILES, policy_of
from pgnotary.request.life import State
from pgnotary.serve.verdicts import Verdicts
from pgnotary.session import events

LIFE = ["request", "preview", "decision approve", "intent", "executed"]


def test_a_block_is_made_read_write_before_the_client_hears_of_it(play: Play) -> None:
    worked_by_hand(play) >> "begin" << "upstream begin"
    play >> answers() << "upstream SET TRANSACTION READ WRITE"
    play >> answers() << "client BEGIN" << "client ready T"


@pytest.mark.parametrize("text", ["begin read only", "start transaction isolation level serializable, read only"])
def test_a_block_that_wants_to_be_read_only_stays_so(play: Play, text: str) -> None:
    play >> text << f"upstream {text}" << "client BEGIN" << "client ready T"


def test_no_block_is_made_read_write_for_a_read_only_user() -> None:
    with Play(user_read_only=True) as play:
        play >> "begin" << "upstream begin" << "client BEGIN" << "client ready T"


def test_a_begin_inside_a_block_is_the_servers_to_answer(play: Play) -> None:
    in_a_block(play) >> "begin" << "upstream begin" << "client BEGIN" << "client ready T"


def test_a_begin_that_fails_opens_nothing(play: Play) -> None:
    play.server.on("begin", error("53200", "out of memory"))
    play >> "begin" << "upstream begin" << "client ERROR 53200 out of memory" << "client ready I"
    assert play.state.block is None


def test_a_block_that_cannot_be_made_read_write_ends_the_session(play: Play) -> None:
    play.server.on("SET TRANSACTION READ WRITE", error("25001", "no"))
    play >> "begin" << "upstream begin" << "upstream SET TRANSACTION READ WRITE"
    play << "client FATAL 08006 the server broke the protocol: a new block could not be made READ WRITE..."
    play << "record session-closed" << "close"


@pytest.mark.parametrize("ending", ["commit", "end", "rollback", "abort"])
def test_a_block_without_approved_statements_ends_without_a_record(play: Play, ending: str) -> None:
    in_a_block(play) >> ending << f"upstream {ending}" << until("client ready I")
    assert play.ledger.entries == []


@pytest.mark.parametrize("ending", ["commit", "rollback", "savepoint s", "release s", "rollback to s"])
def test_control_outside_a_block_is_the_servers_to_answer(play: Play, ending: str) -> None:
    play.server.on(ending, error("25P01", "there is no transaction in progress"))
    play >> ending << f"upstream {ending}"
    play << "client ERROR 25P01 there is no transaction in progress" << "client ready I"


def test_a_commit_is_durable_before_it_is_sent_and_its_outcome_before_it_is_told(play: Play) -> None:
    worked_by_hand(ran_in_a_block(in_a_block(play))) >> "commit" << "record ending commit"
    play >> durable << "upstream commit"
    play >> answers() << "record outcome committed"
    play >> durable << "client COMMIT" << "client ready I"
    assert play.ledger.life("R-1") == [*LIFE, "ending commit", "outcome committed"]
    assert play.ledger.body("outcome") == {"result": "committed", "ended": "commit", "rows": 5, "xid": "771"}


def test_a_rollback_is_durable_before_it_is_sent(play: Play) -> None:
    worked_by_hand(ran_in_a_block(in_a_block(play))) >> "rollback" << "record ending rollback"
    play >> durable << "upstream rollback"
    play >> answers() << "record outcome rolled-back"
    play >> durable << "client ROLLBACK" << "client ready I"


def test_each_approved_statement_of_a_block_gets_its_own_outcome(play: Play) -> None:
    ran_in_a_block(ran_in_a_block(in_a_block(play)), "delete from u", "R-2") >> "commit"
    play << "record ending commit" << "record ending commit" << "upstream commit"
    play << "record outcome committed" << "record outcome committed" << "client COMMIT" << "client ready I"
    assert play.server.committed == [DELETE, "delete from u"]


def test_a_commit_that_fails_has_rolled_back(play: Play) -> None:
    play.server.on("commit", error("23503", "violates foreign key constraint"))
    ran_in_a_block(in_a_block(play)) >> "commit" << "record ending commit" << "upstream commit"
    play << "record outcome rolled-back" << "client ERROR 23503 violates foreign key constraint" << "client ready I"
    assert play.ledger.body("outcome")["sqlstate"] == "23503"


def test_a_commit_of_a_failed_block_has_rolled_back(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    ran_in_a_block(in_a_block(play)) >> "select 1/0" << until("client ready E")
    play >> "commit" << "record ending commit" << "upstream commit"
    play << "record outcome rolled-back" << "client ROLLBACK" << "client ready I"


def test_a_commit_that_was_itself_cancelled_settles_nothing(play: Play) -> None:
    worked_by_hand(ran_in_a_block(in_a_block(play)), ledger=False) >> "commit" << until("upstream commit")
    play >> events.CancelRequested() << "cancel"
    play >> server(error("57014", "canceling statement due to user request"), ready("E"))
    play << "client ERROR 57014..." << "client ready E"
    play >> events.CancelDelivered()
    play >> "rollback" << "record ending rollback" << "upstream rollback"
    play >> server(command("ROLLBACK"), ready("I")) << "record outcome rolled-back"
    play << "client ROLLBACK" << "client ready I"


def test_a_block_that_a_savepoint_saves_after_a_commit_that_never_began_is_committed(play: Play) -> None:
    ran_in_a_block(in_a_block(play)) >> "savepoint a" << until("client ready T")
    play.server.on("commit", error("22P05", "a character has no equivalent in the encoding"))
    play >> "commit" << "record ending commit" << "upstream commit" << "client ERROR 22P05..." << "client ready E"
    play >> "rollback to a" << "upstream rollback to a" << "client ROLLBACK" << "client ready T"
    del play.server.scripted["commit"]
    play >> "commit" << "record ending commit" << "upstream commit" << "record outcome committed"
    play << "client COMMIT" << "client ready I"
    assert play.server.committed == [DELETE]


@pytest.mark.parametrize(("text", "tag"), [("rollback to odd", "ROLLBACK"), ("release odd", "RELEASE")])
def test_a_savepoint_that_only_the_server_knows_ends_the_session_and_undoes_all(
    play: Play, text: str, tag: str
) -> None:
    play.server.on(text, command(tag))
    ran_in_a_block(in_a_block(play)) >> text << until("client FATAL 08006 the server broke the protocol...")
    play << "record outcome unknown" << until("close")
    assert play.server.committed == []


def test_commit_and_chain_opens_a_block_that_knows_nothing_of_the_one_before(play: Play) -> None:
    ran_in_a_block(in_a_block(play)) >> "commit and chain" << until("record outcome committed")
    play << "client COMMIT" << "client ready T"
    ran_in_a_block(play, "delete from u", "R-2") >> "rollback" << until("record outcome rolled-back")
    play << "client ROLLBACK" << "client ready I"
    assert play.server.committed == [DELETE]


def test_rolling_back_to_a_savepoint_undoes_what_ran_since(play: Play) -> None:
    ran_in_a_block(in_a_block(play)) >> "savepoint a" << until("client ready T")
    worked_by_hand(ran_in_a_block(play, "delete from u", "R-2")) >> "rollback to a" << "record ending rollback-to"
    play >> durable << "upstream rollback to a"
    play >> answers() << "record outcome rolled-back"
    play >> durable << "client ROLLBACK" << "client ready T"
    assert play.ledger.body("ending", "R-2")["savepoint"] == "a"
    play >> "commit" << "record ending commit"
    play >> durable << "upstream commit"
    play >> answers() << "record outcome committed"
    play >> durable << "client COMMIT" << "client ready I"
    assert play.ledger.life("R-1")[-1] == "outcome committed"
    assert play.server.committed == [DELETE]


def test_what_was_undone_is_not_settled_again(play: Play) -> None:
    in_a_block(play) >> "savepoint a" << until("client ready T")
    ran_in_a_block(play) >> "rollback to a" << until("client ready T")
    play >> "rollback to a" << "upstream rollback to a" << "client ROLLBACK" << "client ready T"
    play >> "commit" << "upstream commit" << "client COMMIT" << "client ready I"


def test_releasing_a_savepoint_leaves_what_ran_since_to_the_block(play: Play) -> None:
    in_a_block(play) >> "savepoint a" << until("client ready T")
    ran_in_a_block(play) >> "release a" << "upstream release a" << "client RELEASE" << "client ready T"
    play >> "rollback to a" << "upstream rollback to a" << "client ERROR 3B001..." << "client ready E"
    play >> "rollback" << until("record outcome rolled-back") << "client ROLLBACK" << "client ready I"


def test_rolling_back_a_failed_block_to_a_savepoint_makes_it_usable(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    ran_in_a_block(in_a_block(play)) >> "savepoint a" << until("client ready T")
    play >> "select 1/0" << until("client ready E")
    play >> "rollback to a" << "upstream rollback to a" << "client ROLLBACK" << "client ready T"
    play >> "commit" << until("record outcome committed") << "client COMMIT" << "client ready I"


def test_a_rollback_to_a_savepoint_that_fails_undoes_nothing_in_the_record(play: Play) -> None:
    in_a_block(play) >> "savepoint a" << until("client ready T")
    worked_by_hand(ran_in_a_block(play), ledger=False) >> "rollback to a" << until("upstream rollback to a")
    play >> server(error("57014", "canceling statement"), ready("E")) << "client ERROR 57014..." << "client ready E"
    play.server.status = "E"
    runs_by_itself(play) >> "rollback" << "record ending rollback" << "upstream rollback"
    play << "record outcome rolled-back" << "client ROLLBACK" << "client ready I"


def test_a_server_lost_during_commit_leaves_the_outcome_unknown(play: Play) -> None:
    worked_by_hand(ran_in_a_block(in_a_block(play)), ledger=False) >> "commit" << until("upstream commit")
    play >> SERVER_GONE << "record outcome unknown"
    play << "client FATAL 08007 the server went away during COMMIT: whether it committed is not known"
    play << "record session-closed" << "close"


def test_a_server_lost_during_rollback_has_rolled_back(play: Play) -> None:
    worked_by_hand(ran_in_a_block(in_a_block(play)), ledger=False) >> "rollback" << until("upstream rollback")
    play >> SERVER_GONE << "record outcome rolled-back" << "client FATAL 08006 the server closed the connection"
    play << "record session-closed" << "close"


def test_a_server_lost_while_undoing_has_rolled_back(play: Play) -> None:
    in_a_block(play) >> "savepoint a" << until("client ready T")
    worked_by_hand(ran_in_a_block(play), ledger=False) >> "rollback to a" << until("upstream rollback to a")
    play >> SERVER_GONE << "client FATAL 08006 the server closed the connection"
    play << "record outcome rolled-back" << "record session-closed" << "close"


def test_a_server_that_says_nonsense_to_a_commit_leaves_the_outcome_unknown(play: Play) -> None:
    worked_by_hand(ran_in_a_block(in_a_block(play)), ledger=False) >> "commit" << until("upstream commit")
    play >> server(ready("?")) << "record outcome unknown" << "client FATAL 08007..."
    play << "record session-closed" << "close"


def test_a_server_lost_during_the_commit_of_plain_reads_needs_no_record(play: Play) -> None:
    worked_by_hand(in_a_block(play), ledger=False) >> "commit" << "upstream commit"
    play >> SERVER_GONE << "client FATAL 08007..." << "record session-closed" << "close"


@pytest.mark.parametrize("happened", [False, True], ids=["not written", "written all the same"])
def test_a_commit_that_cannot_be_announced_is_not_sent(play: Play, happened: bool) -> None:
    play.ledger.fails["ending"] = happened
    ran_in_a_block(in_a_block(play)) >> "commit" << "record ending commit" << "upstream Bind" << "upstream Sync"
    play << "client ERROR 58030 the ledger cannot be written: disk full" << "client ready E"
    # Nobody knows what is the newest entry in its life: only the next start can go on with it.
    play >> "rollback" << "upstream rollback" << "client FATAL 08007 the outcome could not be recorded"
    play << "record session-closed" << "upstream Terminate" << "close"
    assert play.server.committed == []


def test_one_record_that_failed_does_not_keep_the_others_from_being_settled(play: Play) -> None:
    play.ledger.fails["ending"] = True
    ran_in_a_block(ran_in_a_block(in_a_block(play)), "delete from u", "R-2") >> "commit" << until("client ready E")
    play >> "rollback" << "record ending rollback" << "upstream rollback" << "record outcome rolled-back"
    play << "client FATAL 08007..." << "record session-closed" << "upstream Terminate" << "close"
    assert play.ledger.life("R-2")[-1] == "outcome rolled-back"
    assert play.ledger.life("R-1")[-1] == "ending commit"


def test_a_rollback_to_that_cannot_be_announced_is_not_sent(play: Play) -> None:
    in_a_block(play) >> "savepoint a" << until("client ready T")
    play.ledger.fails["ending"] = False
    ran_in_a_block(play) >> "rollback to a" << "record ending rollback-to" << "upstream Bind" << "upstream Sync"
    play << "client ERROR 58030..." << "client ready E"
    play >> CLIENT_GONE << "record session-closed" << "upstream Terminate" << "close"


@pytest.mark.parametrize("happened", [False, True], ids=["not written", "written all the same"])
def test_an_outcome_that_cannot_be_recorded_is_told_as_unknown(play: Play, happened: bool) -> None:
    play.ledger.fails["outcome"] = happened
    ran_in_a_block(in_a_block(play)) >> "commit" << until("upstream commit") << "record outcome committed"
    play << "client FATAL 08007 the outcome could not be recorded"
    play << "record session-closed" << "upstream Terminate" << "close"


def test_a_rollback_passes_while_the_ledger_is_down(play: Play) -> None:
    in_a_block(play) >> ledger_is_down
    play >> "select 1" << "upstream Bind" << "upstream Sync"
    play << "client ERROR 58030 the ledger cannot be written: disk full" << "client ready E"
    play >> "commit" << "client ERROR 58030..." << "client ready E"
    play >> "rollback to a" << "client ERROR 58030..." << "client ready E"
    play >> "rollback" << "upstream rollback" << "client ROLLBACK" << "client ready I"
    play >> "select 1" << "client ERROR 58030..." << "client ready I"
    play >> ledger_is_back
    play >> "select 1" << "upstream select 1" << until("client ready I")


def test_a_rollback_of_an_approved_statement_while_the_ledger_is_down_is_sent_and_told_as_unrecorded(
    play: Play,
) -> None:
    worked_by_hand(ran_in_a_block(in_a_block(play)), server=False) >> ledger_is_down
    play >> "rollback" << "record ending rollback"
    play >> not_recorded() << "upstream rollback" << "client FATAL 08007 the outcome could not be recorded"
    play << "record session-closed" >> not_recorded() << "upstream Terminate" << "close"
    assert play.server.status == "I"


def test_a_commit_whose_record_does_not_follow_any_more_is_told_as_unrecorded(play: Play) -> None:
    worked_by_hand(ran_in_a_block(in_a_block(play)), server=False) >> "commit" << "record ending commit"
    play >> durable << "upstream commit" << "record outcome committed"
    play >> not_recorded(RequestMoved("R-1", State.EXECUTED)) << "client FATAL 08007 the outcome could not be recorded"
    play << "record session-closed" >> durable << "upstream Terminate" << "close"
    assert play.server.committed == [DELETE]


def test_a_commit_whose_announcement_does_not_follow_any_more_is_not_sent(play: Play) -> None:
    worked_by_hand(ran_in_a_block(in_a_block(play)), server=False) >> "commit" << "record ending commit"
    play >> not_recorded(RequestMoved("R-1", State.EXECUTED)) << "upstream Bind" << "upstream Sync"
    play << "client ERROR 58030 R-1 has gone on without this session" << "client ready E"
    assert play.server.committed == []


def test_a_client_that_leaves_does_not_take_its_commit_back(play: Play) -> None:
    worked_by_hand(ran_in_a_block(in_a_block(play)), ledger=False) >> "commit" << until("upstream commit")
    play >> CLIENT_GONE
    play >> answers() << "record outcome committed" << "record session-closed" << "upstream Terminate" << "close"


def test_ctrl_c_reaches_a_commit_as_it_would_without_us(play: Play) -> None:
    worked_by_hand(in_a_block(play), ledger=False) >> "commit" << "upstream commit"
    play >> events.CancelRequested() << "cancel"
    play >> answers() << "client COMMIT" << "client ready I"
    play >> events.CancelDelivered()


def test_the_end_of_a_session_in_a_block_is_the_end_of_its_statements(play: Play) -> None:
    ran_in_a_block(in_a_block(play)) >> CLIENT_GONE << "record outcome rolled-back" << "record session-closed"
    play << "upstream Terminate" << "close"
    assert play.ledger.body("outcome")["why"] == "the session ended in its transaction"
    assert play.server.committed == []


def test_a_second_statement_may_be_held_in_the_same_block(play: Play) -> None:
    held(ran_in_a_block(in_a_block(play)), "delete from u", "R-2")
    assert play.ledger.body("request", "R-2")["block"] == "open"
    assert play.ledger.body("request", "R-2")["statements_before"] == 1
    play >> approve("R-2") << until("client ready T")
    play >> "commit" << until("client ready I")


def test_a_commit_without_an_answer_does_not_say_that_what_was_forwarded_is_undone(play: Play) -> None:
    play.state.judges = Verdicts(policy_of(PROFILES["forward-all"]))
    in_a_block(play) >> "insert into t values (1)" << until("client ready T")
    worked_by_hand(play, ledger=False) >> "commit" << until("upstream commit")
    play >> SERVER_GONE << until("close")
    said = str([each.body for each in play.ledger.entries if each.type.value in ("forwarded", "session-closed")])
    assert "whether it undoes 1 statement forwarded before it in its block is not known" in said
    assert "undone" not in said


def test_a_server_that_goes_inside_a_block_undoes_what_was_forwarded(play: Play) -> None:
    play.state.judges = Verdicts(policy_of(PROFILES["forward-all"]))
    in_a_block(play) >> "insert into t values (1)" << until("client ready T")
    play >> SERVER_GONE << until("close")
    assert "1 statement forwarded in its open transaction is undone" in str(play.ledger.entries[-1].body)

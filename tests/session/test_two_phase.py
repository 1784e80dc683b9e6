"""Two-phase commit: what is left behind prepared, and who may end it without a signature of their own."""

import pytest
from tests.play import (
    CLIENT_GONE,
    SERVER_GONE,
    Happening,
    Play,
    answers,
    approve,
    command,
    deny,
    durable,
    error,
    not_recorded,
    ready,
    server,
    until,
)
from tests.session.stories import DELETE, in_a_block, ran_in_a_block, runs_by_itself, worked_by_hand

from pgnotary.errors import RequestMoved
from pgnotary.request.life import State
from pgnotary.session.actions import Announce
from pgnotary.session.events import ClientBytes
from pgnotary.session.prepared_transactions import PreparedTransaction, Signed
from pgnotary.wire import messages

PREPARE = "prepare transaction 'x'"
COMMIT = "commit prepared 'x'"
ROLLBACK = "rollback prepared 'x'"
LIFE = [
    "request",
    "preview",
    "decision approve",
    "intent",
    "executed",
    "ending prepare-transaction",
    "outcome prepared",
]
SCOPE = "upstream BEGIN READ ONLY; SELECT pg_catalog.to_json..."
ASKS = "upstream SELECT p.transaction..."
XID = "upstream SELECT pg_catalog.pg_current_xact_id()..."


def prepared(play: Play) -> Play:
    """A signed DELETE waits prepared as x."""
    return ran_in_a_block(in_a_block(play)) >> PREPARE << until("client PREPARE TRANSACTION") << "client ready I"


def by_others(play: Play, xid: str = "900") -> Play:
    """Somebody who never came through here has prepared a DELETE as x."""
    play.server.waiting["x"] = (xid, ["delete from secrets"])
    return play


def known(play: Play) -> PreparedTransaction:
    """What is remembered of x."""
    found = play.prepared.find("x", "00000001/771", play.state.who.system_identifier)
    assert found is not None
    return found


def run(text: str) -> bytes:
    return messages.parse(b"", text.encode()) + messages.bind(b"", b"") + messages.execute(b"") + messages.SYNC


# --- PREPARE TRANSACTION ----------------------------------------------------------------------------------------------


def test_it_is_durable_before_it_is_sent_and_its_outcome_before_it_is_told(play: Play) -> None:
    worked_by_hand(ran_in_a_block(in_a_block(play))) >> PREPARE << XID
    play >> answers() << "record ending prepare-transaction"
    play >> durable << f"upstream {PREPARE}"
    play >> answers() << "record outcome prepared"
    play >> durable << "client PREPARE TRANSACTION" << "client ready I"
    assert play.ledger.life("R-1") == LIFE
    assert play.ledger.body("ending")["gid"] == "x"
    assert play.ledger.body("outcome") == {"result": "prepared", "ended": "prepared", "gid": "x", "xid": "771"}


def test_what_was_only_forwarded_is_prepared_without_a_record_of_its_own(play: Play) -> None:
    in_a_block(play) >> "select * from t for update" << until("client ready T")
    play >> PREPARE << XID << f"upstream {PREPARE}" << "client PREPARE TRANSACTION" << "client ready I"
    assert play.ledger.entries == []
    assert play.state.forwarded == 2


def test_in_the_extended_protocol_it_is_the_same(play: Play) -> None:
    ran_in_a_block(in_a_block(play)) >> ClientBytes(run(PREPARE)) << until("record ending prepare-transaction")
    play << "upstream Parse prepare transaction 'x'" << until("record outcome prepared")
    play << until("client PREPARE TRANSACTION") << "client ready I"
    play >> ClientBytes(run(COMMIT)) << until("client COMMIT PREPARED") << "client ready I"
    assert play.server.committed == [DELETE]


def test_a_failed_block_is_rolled_back_by_it(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    ran_in_a_block(in_a_block(play)) >> "select 1/0" << until("client ready E")
    play >> PREPARE << "record ending prepare-transaction" << f"upstream {PREPARE}"
    play << "record outcome rolled-back" << "client ROLLBACK" << "client ready I"
    assert len(play.prepared) == 0


def test_a_name_that_is_taken_rolls_the_block_back(play: Play) -> None:
    ran_in_a_block(in_a_block(by_others(play))) >> PREPARE << until("record outcome rolled-back")
    play << "client ERROR 42710 transaction identifier is already in use" << "client ready I"
    assert len(play.prepared) == 0


def test_outside_a_block_it_is_the_servers_to_answer(play: Play) -> None:
    play >> PREPARE << f"upstream {PREPARE}" << "client ROLLBACK" << "client ready I"


def test_it_cannot_follow_a_change_in_the_same_batch(play: Play) -> None:
    both = run(DELETE).removesuffix(messages.SYNC) + run(PREPARE)
    play >> ClientBytes(both) << until("announce R-1") >> approve()
    play << until("client ERROR 0A000 this transaction control cannot follow a change...")
    play << until("record outcome rolled-back") << "client ready I"
    assert (play.server.waiting, play.server.committed) == ({}, [])


def test_a_bracket_may_end_in_it_unless_something_in_it_is_held(play: Play) -> None:
    play >> f"begin; select 1; {PREPARE}" << until(f"upstream {PREPARE}") << "client PREPARE TRANSACTION"
    play << "client ready I"
    play >> COMMIT << until("client COMMIT PREPARED") << "client ready I"
    (
        play
        >> f"begin; {DELETE}; {PREPARE}"
        << until("client ERROR 0A000 refused by pgnotary: what is held is prepared...")
    )
    play << "client ready I"
    assert play.server.waiting == {}


def test_what_a_read_has_left_behind_is_prepared_behind_the_wall(play: Play) -> None:
    in_a_block(play) >> "select 1" << until("client ready T")
    assert play.state.block is not None
    play.state.block.loose = True
    play >> PREPARE << XID << "upstream SET LOCAL transaction_read_only = on" << f"upstream {PREPARE}"
    play << "client PREPARE TRANSACTION" << "client ready I"


def test_it_is_not_sent_if_it_cannot_be_recorded(play: Play) -> None:
    (
        worked_by_hand(ran_in_a_block(in_a_block(play)), server=False)
        >> PREPARE
        << until("record ending prepare-transaction")
    )
    play >> not_recorded() << "upstream Bind" << "upstream Sync" << "client ERROR 58030..." << "client ready E"
    assert play.server.waiting == {}


def test_an_id_that_cannot_be_read_is_told_and_nothing_is_prepared(play: Play) -> None:
    worked_by_hand(in_a_block(play)) >> PREPARE << XID
    play >> server(error("57014", "canceling statement due to user request"), ready("E"))
    play << "client ERROR 57014..." << "client ready E"


def test_a_server_that_goes_meanwhile_leaves_it_unknown(play: Play) -> None:
    worked_by_hand(ran_in_a_block(in_a_block(play)), ledger=False) >> PREPARE << XID
    play >> answers() << "record ending prepare-transaction" << f"upstream {PREPARE}"
    play >> SERVER_GONE << "record outcome unknown"
    play << "client FATAL 08007 the server went away during PREPARE TRANSACTION: whether it is prepared is not known"
    play << "record session-closed" << "close"


def test_a_client_that_goes_meanwhile_does_not_stop_it(play: Play) -> None:
    worked_by_hand(ran_in_a_block(in_a_block(play)), ledger=False) >> PREPARE << XID
    play >> answers() << until(f"upstream {PREPARE}")
    play >> CLIENT_GONE
    play >> answers() << "record outcome prepared" << "record forwarded + session-closed"
    play << until("close")


def test_an_answer_that_nobody_expects_ends_the_session(play: Play) -> None:
    play.server.on(PREPARE, command("COMMIT"))
    ran_in_a_block(in_a_block(play)) >> PREPARE << until("client FATAL 08006 the server broke the protocol...")
    play << "record outcome unknown" << until("close")


def test_what_ends_with_the_transaction_ends(play: Play) -> None:
    bound = messages.parse(b"", b"select 1") + messages.bind(b"p", b"") + messages.SYNC
    in_a_block(play) >> ClientBytes(bound) << until("client ready T")
    play >> PREPARE << until("client ready I")
    play >> ClientBytes(messages.execute(b"p") + messages.SYNC) << "client ERROR 34000..." << "client ready I"


# --- COMMIT PREPARED and ROLLBACK PREPARED ----------------------------------------------------------------------------


def test_what_came_through_here_is_committed_without_another_signature(play: Play) -> None:
    worked_by_hand(prepared(play)) >> COMMIT << SCOPE
    play >> answers() << until(ASKS)
    play >> answers() << "record ending commit-prepared"
    play >> durable << f"upstream {COMMIT}"
    play >> answers() << "record outcome committed"
    play >> durable << "client COMMIT PREPARED" << "client ready I"
    assert play.ledger.life("R-1") == [*LIFE, "ending commit-prepared", "outcome committed"]
    assert play.ledger.body("outcome") == {
        "result": "committed",
        "ended": "commit-prepared",
        "rows": 5,
        "gid": "x",
        "xid": "771",
    }
    assert play.ledger.body("ending")["through"] == play.state.who.session
    assert play.server.committed == [DELETE]
    assert len(play.prepared) == 0


def test_what_came_through_here_is_rolled_back_without_another_signature(play: Play) -> None:
    prepared(play) >> ROLLBACK << until(ASKS) << "record ending rollback-prepared" << f"upstream {ROLLBACK}"
    play << "record outcome rolled-back" << "client ROLLBACK PREPARED" << "client ready I"
    assert play.server.committed == []


def test_what_was_only_forwarded_needs_no_signature_in_the_end_either(play: Play) -> None:
    in_a_block(play) >> "select * from t for update" << until("client ready T")
    play >> PREPARE << until("client ready I")
    play >> COMMIT << until(ASKS) << f"upstream {COMMIT}" << "client COMMIT PREPARED" << "client ready I"


@pytest.mark.parametrize("text", [COMMIT, ROLLBACK])
@pytest.mark.parametrize("extended", [False, True])
def test_what_others_have_prepared_is_held(play: Play, text: str, extended: bool) -> None:
    by_others(play) >> (ClientBytes(run(text)) if extended else text) << until("announce R-1")
    play >> deny() << until("client ready I")
    assert not any(text in heard for heard in play.server.heard if "pgnotary_examined" not in heard)
    assert "x" in play.server.waiting


def test_another_transaction_of_the_same_name_is_held(play: Play) -> None:
    by_others(prepared(play)) >> COMMIT << until("announce R-2")
    play >> deny("R-2") << until("client ready I")
    assert play.server.committed == []


def test_people_see_what_the_name_stands_for_and_it_runs_outside_any_transaction(play: Play) -> None:
    by_others(play) >> COMMIT << until("announce R-1")
    asked = next(entry for entry in play.ledger.entries if entry.type == "request")
    assert "prepared" in asked.seals
    play >> approve() << until("record intent") << "upstream SET default_transaction_read_only = off"
    play << f"upstream {COMMIT}" << "upstream SET default_transaction_read_only = on" << "record executed"
    play << "record outcome committed" << "client COMMIT PREPARED" << "client ready I"
    assert play.ledger.body("intent")["where"] == "outside"


def test_a_name_cannot_make_a_line_of_what_people_read(play: Play) -> None:
    play.server.waiting["x\ny:"] = ("900", [])
    play.server.locked = "odd\nAccessShareLock on a"
    play >> "commit prepared 'x\ny:'" << until("announce R-1")
    (announced,) = [action for action in play.said if isinstance(action, Announce)]
    lines = announced.request.opened["prepared"][1].decode().split("\n")
    assert lines[0] == r"'x\ny:':"
    assert lines[-1] == r'RowExclusiveLock on public."odd\nAccessShareLock on a"'
    assert len(lines) == 4
    play >> deny() << until("client ready I")


def test_another_transaction_than_the_one_that_was_signed_is_not_committed(play: Play) -> None:
    by_others(play) >> COMMIT << until("announce R-1")
    by_others(play, xid="901") >> approve() << until("record void")
    play << "client ERROR 55000 another prepared transaction has that name now" << "client ready I"
    assert play.server.committed == []


def test_a_name_that_is_free_by_the_time_of_the_decision_is_not_sent(play: Play) -> None:
    by_others(play) >> COMMIT << until("announce R-1")
    play.server.waiting.clear()
    play >> approve() << until("record void")
    play << "client ERROR 55000 no prepared transaction has that name any more" << "client ready I"


def test_nobody_is_asked_about_a_name_that_the_server_does_not_know(play: Play) -> None:
    play >> COMMIT << until(ASKS) << 'client ERROR 42704 prepared transaction with identifier "x" does not exist'
    play << "client ready I"


def test_nobody_is_asked_about_what_the_role_may_not_end(play: Play) -> None:
    play.server.owner = "f"
    by_others(play) >> COMMIT << until(ASKS) << "client ERROR 42501 permission denied to finish prepared transaction"
    play << "client ready I"


def test_inside_a_block_nobody_is_asked(play: Play) -> None:
    in_a_block(prepared(play)) >> COMMIT << "upstream Bind" << "upstream Sync"
    play << "client ERROR 25001 COMMIT PREPARED cannot run inside a transaction block" << "client ready E"


def test_what_the_server_refuses_stays_prepared(play: Play) -> None:
    play.server.on(COMMIT, error("42501", "permission denied"))
    prepared(play) >> COMMIT << until(ASKS) << "record ending commit-prepared" << f"upstream {COMMIT}"
    play << "client ERROR 42501 permission denied" << "client ready I"
    del play.server.scripted[COMMIT]
    (
        play
        >> COMMIT
        << until(ASKS)
        << "record ending commit-prepared"
        << f"upstream {COMMIT}"
        << "record outcome committed"
    )
    play << "client COMMIT PREPARED" << "client ready I"


def test_a_server_that_goes_while_it_commits_leaves_it_unknown(play: Play) -> None:
    worked_by_hand(prepared(play), ledger=False) >> COMMIT << SCOPE
    play >> answers() << until(ASKS)
    play >> answers() << "record ending commit-prepared" << f"upstream {COMMIT}"
    play >> SERVER_GONE << "record outcome unknown"
    play << "client FATAL 08007 the server went away during COMMIT PREPARED: whether it took effect is not known"
    play << until("close")
    assert len(play.prepared) == 0


def test_an_answer_that_is_no_end_leaves_it_unknown(play: Play) -> None:
    play.server.on(COMMIT, command("SELECT 1"))
    prepared(play) >> COMMIT << until("record outcome unknown") << until("close")


def test_a_commit_that_cannot_be_announced_is_not_sent_and_not_tried_again(play: Play) -> None:
    worked_by_hand(prepared(play), server=False) >> COMMIT << until(ASKS) << "record ending commit-prepared"
    play >> not_recorded() << "client ERROR 58030..." << "client ready I"
    (
        runs_by_itself(play)
        >> COMMIT
        << until(ASKS)
        << "client ERROR 58030 a record about R-1 failed..."
        << "client ready I"
    )
    assert play.server.committed == []


def test_an_outcome_that_cannot_be_recorded_is_told_as_unknown(play: Play) -> None:
    worked_by_hand(prepared(play), server=False) >> COMMIT << until(ASKS) << "record ending commit-prepared"
    play >> durable << f"upstream {COMMIT}" << "record outcome committed"
    play >> not_recorded() << "client FATAL 08007 the outcome could not be recorded"
    play << "record forwarded + session-closed"
    play >> durable << until("close")


@pytest.mark.parametrize(
    ("happens", "fate", "rest"),
    [
        (answers(), "committed", "client ready I"),
        (SERVER_GONE, "unknown", "record forwarded + session-closed"),
    ],
)
def test_it_stays_known_as_taken_until_its_fate_is_recorded(
    play: Play, happens: Happening, fate: str, rest: str
) -> None:
    worked_by_hand(prepared(play)) >> COMMIT << SCOPE
    play >> answers() << until(ASKS)
    play >> answers() << "record ending commit-prepared"
    play >> durable << f"upstream {COMMIT}"
    play >> happens << f"record outcome {fate}"
    assert known(play).taken
    play >> durable << until(rest)
    assert len(play.prepared) == 0


def of_two(play: Play) -> Play:
    """R-1 and R-2 wait prepared as x, and their COMMIT PREPARED has been carried out."""
    prepared(play)
    known(play).signed.append(Signed("R-2", "S-1", bytes(32), 1))
    play.ledger.states["R-2"], play.ledger.last["R-2"] = play.ledger.states["R-1"], bytes(32)
    worked_by_hand(play, server=False) >> COMMIT << until(ASKS) << "record ending commit-prepared"
    play >> durable << "record ending commit-prepared"
    return play >> durable << f"upstream {COMMIT}" << "record outcome committed"


def test_a_fate_that_somebody_else_has_recorded_is_told_as_the_server_told_it(play: Play) -> None:
    of_two(play) >> not_recorded(RequestMoved("R-1", State.RESOLVED)) << "record outcome committed"
    play >> durable << "client COMMIT PREPARED" << "client ready I"
    assert len(play.prepared) == 0


def test_a_fate_that_is_recorded_by_nobody_is_told_as_such_and_the_others_are_recorded(play: Play) -> None:
    of_two(play) >> not_recorded(RequestMoved("R-1", State.PREPARED)) << "record outcome committed"
    play >> durable << "client FATAL 08007 the outcome could not be recorded" << "record forwarded + session-closed"
    play >> durable << until("close")
    assert play.ledger.states["R-2"] is State.COMMITTED
    assert len(play.prepared) == 0


def test_what_has_gone_on_without_the_session_is_not_ended(play: Play) -> None:
    worked_by_hand(prepared(play), server=False) >> COMMIT << until(ASKS) << "record ending commit-prepared"
    play >> not_recorded(RequestMoved("R-1", State.PREPARED))
    play << "client ERROR 58030 R-1 has gone on without this session" << "client ready I"
    assert play.server.committed == []


def test_two_sessions_cannot_end_the_same_one_at_once(play: Play) -> None:
    prepared(play)
    play.prepared.find("x", "00000001/771", play.state.who.system_identifier).taken = True  # type: ignore[union-attr]
    (
        play
        >> COMMIT
        << until(ASKS)
        << 'client ERROR 55000 prepared transaction with identifier "x" is busy'
        << "client ready I"
    )


def test_what_was_signed_in_another_session_is_settled_there(play: Play) -> None:
    prepared(play)
    known(play).signed[0].session = "S-00000009"
    play >> COMMIT << until("client ready I")
    assert {entry.session for entry in play.ledger.entries[-2:]} == {"S-00000009"}


def test_what_an_earlier_policy_let_pass_is_held_and_settled_all_the_same(play: Play) -> None:
    prepared(play)
    known(play).vouched = False
    play >> COMMIT << until("announce R-2")
    play >> approve("R-2") << until("client COMMIT PREPARED") << "client ready I"
    assert play.ledger.life("R-1")[-2:] == ["ending commit-prepared", "outcome committed"]
    assert play.ledger.life("R-2")[-1] == "outcome committed"


def test_a_transaction_of_another_cluster_is_not_known(play: Play) -> None:
    signed = [Signed("R-1", "S-1", bytes(32), 5)]
    play.prepared.add(PreparedTransaction("x", "771", "00000001", "another", vouched=True, signed=signed))
    by_others(play, xid="771") >> COMMIT << until("announce R-1")
    play >> deny() << until("client ready I")

"""Nobody has signed it: what it changes and does not say, or leaves behind for COMMIT to run, does not stay."""

import pytest
from tests.listed import listed
from tests.play import Play, after, answers, approve, error, until
from tests.session.stories import asked_anew, in_a_block, runs_by_itself, worked_by_hand

from pgnotary.session import counted, events

INSERT = "insert into t values (1)"
LOCKS = "select pg_advisory_xact_lock(1)"


@pytest.fixture
def known(play: Play) -> Play:
    """A session that knows its database."""
    return asked_anew(play)


def test_what_is_changed_and_not_said_is_rolled_back(known: Play) -> None:
    known.server.unsaid[INSERT] = "u"
    known >> INSERT << until("upstream ROLLBACK")
    (
        known
        << "client ERROR 55000 undone: it changed public.u (10 deleted), which nothing in its text says"
        << "client ready I"
    )
    assert known.server.committed == []
    known >> "select 1" << until("upstream select 1") << until("client ready I")


def test_an_insert_deletes_nothing_of_its_own_table_either(known: Play) -> None:
    known.server.unsaid[INSERT] = "t"
    known >> INSERT << until("upstream ROLLBACK") << "client ERROR 55000 undone: it changed public.t (10 deleted), ..."
    known << "client ready I"
    assert known.server.committed == []


def test_what_was_changed_before_is_not_its_own(known: Play) -> None:
    """Something signed in the same block has emptied the table."""
    delete = "delete from t where id < 6"
    known.server.unsaid[delete] = "t"
    in_a_block(known) >> delete << until("announce R-1") >> approve() << until("client ready T")
    known >> INSERT << until("client INSERT 0 5") << "client ready T"
    known >> "commit" << until("client COMMIT") << "client ready I"
    assert known.server.committed == [delete, INSERT]


def test_in_the_clients_block_that_fails_the_block(known: Play) -> None:
    known.server.unsaid[INSERT] = "u"
    (
        in_a_block(known)
        >> INSERT
        << until("client ERROR 55000 undone: it changed public.u (10 deleted), ...")
        << "client ready E"
    )
    known >> "commit" << until("client ROLLBACK") << "client ready I"
    assert known.server.committed == []


@pytest.mark.parametrize("text", [INSERT, "select nextval('s')", "select 1 from t for update"])
def test_a_cursor_that_is_left_behind_is_as_bad_as_a_change(known: Play, text: str) -> None:
    known.server.unsaid[text] = "cursor"
    known >> text << until("upstream ROLLBACK")
    known << "client ERROR 55000 undone: it left a cursor WITH HOLD behind, ..." << "client ready I"


def test_so_it_is_where_a_lock_outlives_the_wall(known: Play) -> None:
    known.server.unsaid[LOCKS] = "cursor"
    in_a_block(known) >> LOCKS << until("client ERROR 55000 undone: it left a cursor WITH HOLD behind, ...")
    known << "client ready E"


def test_and_beside_what_was_signed(known: Play) -> None:
    """The record says that nothing stayed, and the session goes on."""
    declares = "declare c cursor for select 1"
    known.server.unsaid[declares] = "cursor"
    known >> f"{declares}; delete from t" << until("announce R-1") >> approve() << until("upstream ROLLBACK")
    known << "record outcome rolled-back" << "client ERROR 55000 undone: it left a cursor WITH HOLD behind, ..."
    known << until("client ready I")
    assert known.server.committed == []


def test_a_cursor_with_hold_and_a_change_in_one_text_are_refused_before_anybody_is_asked(known: Play) -> None:
    known >> "declare c cursor with hold for select 1; delete from t"
    known << "client ERROR 55000 a cursor WITH HOLD and a change cannot share a transaction: ..." << "client ready I"


def test_what_cannot_be_counted_does_not_stay(known: Play) -> None:
    known.server.on(counted.QUESTIONS[False, True].decode(), error("57014", "too slow"))
    known >> INSERT << until("upstream ROLLBACK")
    known << "client ERROR 57014 undone: what it changed could not be counted: ..." << "client ready I"
    assert known.server.committed == []


def test_the_record_says_what_it_was(known: Play) -> None:
    known.server.unsaid[INSERT] = "u"
    known >> INSERT << until("client ready I") >> after(1) << "note 2"
    last = listed(known.ledger.body("forwarded"))[-1]
    assert (last["sqlstate"], last["why"]) == (
        "55000",
        "undone: it changed public.u (10 deleted), which nothing in its text says",
    )


def test_in_one_message_with_its_begin_it_fails_that_block_and_is_recorded(known: Play) -> None:
    known.server.unsaid[INSERT] = "u"
    known >> f"begin; select 1; {INSERT}; commit" << until("client ERROR 55000 undone: ...") << "client ready E"
    known >> "rollback" << until("client ready I") >> after(1) << "note 2"
    assert [each["sqlstate"] for each in listed(known.ledger.body("forwarded")) if "why" in each] == ["55000"]
    assert known.server.committed == []


def test_where_nothing_is_counted_nothing_is_let_through(known: Play) -> None:
    known.server.counting = "off"
    known >> INSERT << until("upstream ROLLBACK")
    known << "client ERROR 55000 what it would change cannot be counted: track_counts is off" << "client ready I"
    assert INSERT not in known.server.heard


def test_what_is_taken_back_while_we_count_does_not_run(known: Play) -> None:
    worked_by_hand(in_a_block(known), ledger=False)
    known >> INSERT << f"upstream {counted.QUESTIONS[False, False].decode()}" >> events.CancelRequested()
    runs_by_itself(known)
    known >> answers() << until("client ERROR 57014 canceling statement due to user request") << "client ready E"
    assert INSERT not in known.server.heard


# --- cursors WITH HOLD ------------------------------------------------------------------------------------------------

HELD_CURSOR = "declare c cursor with hold for select 1"


@pytest.mark.parametrize("change", [INSERT, "delete from t"])
def test_a_cursor_with_hold_that_is_still_there_keeps_changes_out_of_its_block(known: Play, change: str) -> None:
    known.server.unsaid[HELD_CURSOR] = "cursor c"
    in_a_block(known) >> HELD_CURSOR << until("client ready T")
    known >> change << until("client ERROR 55000 a cursor WITH HOLD and a change cannot share a transaction: ...")
    known << "client ready E"
    assert change not in known.server.heard


def test_one_that_was_closed_does_not(known: Play) -> None:
    in_a_block(known) >> HELD_CURSOR << until("client ready T") >> "close c" << until("client ready T")
    known >> INSERT << until("client INSERT 0 5") << "client ready T"


def test_in_a_failed_block_nothing_is_counted(known: Play) -> None:
    known.server.on("select 1/0", error("22012", "division by zero"))
    in_a_block(known) >> "select 1/0" << until("client ready E")
    known >> INSERT << "client ERROR 25P02 current transaction is aborted, ..." << "client ready E"
    assert counted.QUESTIONS[False, False].decode() not in known.server.heard

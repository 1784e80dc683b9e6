"""What the log of a session counts: bounded like what it lists, written once, and no text is kept."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from tests.listed import executions_of
from tests.play import LEDGER, SESSION

from pgnotary.ledger.canonical import MAX_INT
from pgnotary.ledger.entries import FIRST_PREV, Draft, Position, encode_entry
from pgnotary.ledger.summaries import summaries_in
from pgnotary.session.forwarded import ForwardLog

AT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def counted(draft: Draft) -> dict[str, tuple[int, int]]:
    """Return executions and rows of each kind."""
    assert draft.sealed == {}
    return {each.kind: (each.executions, each.rows) for each in summaries_in(draft.body)}


def test_what_is_counted_stands_behind_what_is_listed_and_seals_nothing() -> None:
    log = ForwardLog(SESSION)
    log.sum_up(b"a", "select", AT, 1, ["SELECT 1"])
    log.sum_up(b"b", "insert", AT, 1, ["INSERT 0 1"])
    log.add(b"c", "select", AT, 1, ["SELECT 1"])
    log.sum_up(b"d; e", "select", AT, 1, ["SELECT 2", "SET", "SELECT 3"])
    assert len(log) == 4
    listed, summed = log.take()
    assert listed.sealed == {"t1": b"c"}
    assert counted(summed) == {"insert": (1, 1), "select": (2, 6)}
    assert (len(log), log.take()) == (0, ())


def test_what_was_taken_is_not_counted_again() -> None:
    log = ForwardLog(SESSION)
    for rows in (1, 2):
        log.sum_up(b"a", "select", AT, 1, [f"SELECT {rows}"])
        (draft,) = log.take()
        assert counted(draft) == {"select": (1, rows)}


def test_it_is_written_before_as_many_wait_as_may() -> None:
    log = ForwardLog(SESSION)
    for _ in range(2_000):
        assert not log.batch_ready
        log.sum_up(b"a", "select", AT, 1, ["SELECT 1"])
    assert log.batch_ready
    for _ in range(2_000):
        assert not log.full
        log.sum_up(b"a", "select", AT, 1, ["SELECT 1"])
    assert log.full
    assert len(log.take()) == 1
    assert (log.full, log.batch_ready) == (False, False)


def test_what_is_listed_and_what_is_counted_fills_the_same_room() -> None:
    log = ForwardLog(SESSION)
    for _ in range(2_000):
        log.add(b"a", "select", AT, 1, [])
        assert not log.full
        log.sum_up(b"a", "insert", AT, 1, [])
    assert log.full


def test_what_no_sum_can_hold_is_listed() -> None:
    log = ForwardLog(SESSION)
    log.sum_up(b"rows", "select", AT, 1, [f"SELECT {MAX_INT}"])
    log.sum_up(b"one more", "select", AT, 1, ["SELECT 1"])
    log.sum_up(b"more than there can be", "delete", AT, 1, [f"DELETE {MAX_INT}", "DELETE 1"])
    assert len(log) == 3
    listed, summed = drafts = log.take()
    assert list(listed.sealed.values()) == [b"one more", b"more than there can be"]
    assert counted(summed) == {"select": (1, MAX_INT)}
    for draft in drafts:
        encode_entry(draft, Position(LEDGER, 1, FIRST_PREV, AT), dict.fromkeys(draft.sealed, bytes(32)))


@given(st.lists(st.tuples(st.sampled_from(["select", "insert"]), st.binary(max_size=20), st.booleans())))
def test_every_execution_is_listed_or_counted_once_however_they_are_mixed(ran: list[tuple[str, bytes, bool]]) -> None:
    log = ForwardLog(SESSION)
    for kind, text, is_counted in ran:
        (log.sum_up if is_counted else log.add)(text, kind, AT, 1, [])
    assert len(log) == len(ran)
    assert sum(executions_of(draft.body) for draft in log.take()) == len(ran)

"""The record of what was forwarded: nothing is lost, each text is sealed once, an entry is never too large."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from tests.listed import listed
from tests.play import LEDGER, SESSION

from pgnotary.judge.statement import StatementClass
from pgnotary.ledger.canonical import MAX_ENTRY_BYTES
from pgnotary.ledger.entries import FIRST_PREV, Position, encode_entry
from pgnotary.session.forwarded import ForwardLog

AT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def add(log: ForwardLog, text: str, *tags: str, sqlstate: str = "", took_us: int = 1) -> None:
    log.add(text.encode(), "select", AT, took_us, list(tags), sqlstate)


def test_each_distinct_text_is_sealed_once() -> None:
    log = ForwardLog(SESSION)
    for text in ("a", "b", "a"):
        add(log, text)
    (first,) = log.take()
    assert first.sealed == {"t1": b"a", "t2": b"b"}
    assert [each["text"] for each in listed(first.body)] == ["t1", "t2", "t1"]
    add(log, "a")
    (second,) = log.take()
    assert second.sealed == {}


def test_what_is_taken_is_gone() -> None:
    log = ForwardLog(SESSION)
    add(log, "a")
    assert len(log) == 1
    assert len(log.take()) == 1
    assert len(log) == 0
    assert log.take() == ()


def test_the_rows_of_a_string_are_added_up() -> None:
    log = ForwardLog(SESSION)
    add(log, "a", "SELECT 2", "SET", "SELECT 3")
    (draft,) = log.take()
    assert listed(draft.body) == [
        {
            "text": "t1",
            "kind": "select",
            "at": "2026-11-20T09:00:00.000000Z",
            "took_us": 1,
            "verdict": "forward",
            "tag": "SELECT 3",
            "rows": 5,
        }
    ]


def test_a_batch_is_ready_before_the_log_is_full() -> None:
    log = ForwardLog(SESSION)
    for _ in range(500):
        assert not log.batch_ready
        add(log, "a")
    assert log.batch_ready
    assert not log.full
    for _ in range(3_500):
        add(log, "a")
    assert log.full


def test_a_log_of_many_texts_names_each_for_itself() -> None:
    log = ForwardLog(SESSION)
    for n in range(2_001):
        add(log, f"select {n}")
        log.take()
    add(log, "select 0")
    (draft,) = log.take()
    assert draft.sealed == {"t2002": b"select 0"}


EXECUTIONS = st.lists(
    st.tuples(
        st.text(max_size=50),
        st.lists(st.sampled_from(["SELECT 3002399751580330", "SET", "CREATE MATERIALIZED VIEW"]), max_size=3),
        st.sampled_from(["", "25006", "XX000"]),
    ),
    max_size=450,
)


@given(EXECUTIONS)
def test_every_execution_is_in_exactly_one_entry_that_fits(executions: list[tuple[str, list[str], str]]) -> None:
    log = ForwardLog(SESSION)
    for text, tags, sqlstate in executions:
        add(log, text, *tags, sqlstate=sqlstate, took_us=10**12)
    texts: dict[str, bytes] = {}
    found: list[bytes] = []
    for draft in log.take():
        texts |= draft.sealed
        position = Position(LEDGER, 2**40, FIRST_PREV, AT)
        assert len(encode_entry(draft, position, dict.fromkeys(draft.sealed, bytes(32)))) <= MAX_ENTRY_BYTES
        found += [texts[each["text"]] for each in listed(draft.body)]
    assert found == [text.encode() for text, _, _ in executions]


def test_an_entry_of_the_longest_executions_fits() -> None:
    log = ForwardLog(SESSION)
    kind = max(StatementClass, key=len)
    for n in range(200):
        log.add(b"%d" % n, kind, AT, 2**52, ["REFRESH MATERIALIZED VIEW".ljust(63, "x")], "XX000", refused=True)
    (draft,) = log.take()
    position = Position(LEDGER, 2**40, FIRST_PREV, AT)
    assert len(encode_entry(draft, position, dict.fromkeys(draft.sealed, bytes(32)))) <= MAX_ENTRY_BYTES

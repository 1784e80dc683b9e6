"""Executions in columns: each comes back as it was added, what they have in common stands once, an entry fits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.errors import NotCanonical
from pgnotary.ledger.canonical import MAX_ENTRY_BYTES, MAX_INT, decode, encode
from pgnotary.ledger.entries import FIRST_PREV, Draft, EntryType, Position, encode_entry
from pgnotary.ledger.executions import MAX_EXECUTIONS, Alike, Executed, Executions, executions_in

AT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
READ = Alike(kind="select", verdict="forward", tag="SELECT 1", rows=1)

ALIKE = st.builds(
    Alike,
    kind=st.sampled_from(["select", "insert"]),
    verdict=st.sampled_from(["forward", "refuse"]),
    tag=st.sampled_from(["", "SELECT 1"]),
    rows=st.none() | st.integers(0, MAX_INT),
    why=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    copied_bytes=st.none() | st.just(4),
)
TIMES = st.integers(-(10**9), 10**12).map(lambda us: AT + timedelta(microseconds=us))
EXECUTIONS = st.lists(st.tuples(st.integers(1, 9), ALIKE, TIMES, st.integers(0, MAX_INT)), min_size=1, max_size=20)


def body_of(*executions: tuple[int, Alike, datetime, int]) -> dict[str, Any]:
    made = Executions(AT)
    for text, alike, at, took_us in executions:
        made.add(text, alike, at, took_us, sealed=False)
    return decode(encode(made.body()))


def test_what_two_have_in_common_is_written_once() -> None:
    other = Alike(kind="insert", verdict="forward", tag="INSERT 0 3", rows=3, sqlstate="", would="rule/x")
    later = AT + timedelta(milliseconds=2)
    assert body_of((1, READ, AT, 120), (2, other, later, 90), (1, READ, later, 7)) == {
        "since": "2026-11-20T09:00:00.000000Z",
        "alike": [
            {"kind": "select", "verdict": "forward", "tag": "SELECT 1", "rows": 1},
            {"kind": "insert", "verdict": "forward", "tag": "INSERT 0 3", "rows": 3, "would": "rule/x"},
        ],
        "executions": {"text": [1, 2, 1], "alike": [0, 1, 0], "at_us": [0, 2_000, 2_000], "took_us": [120, 90, 7]},
    }


@given(EXECUTIONS)
def test_each_comes_back_as_it_was_added(executions: list[tuple[int, Alike, datetime, int]]) -> None:
    found = list(executions_in(body_of(*executions)))
    assert [(each.text, each.at, each.took_us) for each in found] == [
        (f"t{text}", at, took_us) for text, _, at, took_us in executions
    ]
    fields = ("kind", "verdict", "tag", "rows", "why", "copied_bytes")
    for each, (_, alike, _, _) in zip(found, executions, strict=True):
        assert each.told == {name: getattr(alike, name) for name in fields if getattr(alike, name) not in (None, "")}


def test_one_that_began_before_the_first_since_the_clock_was_set_back_keeps_its_time() -> None:
    (first, second) = executions_in(body_of((1, READ, AT, 1), (1, READ, AT - timedelta(hours=1), 1)))
    assert (first.at, second.at) == (AT, AT - timedelta(hours=1))


@pytest.mark.parametrize("why", ["", "\x01" * 1_000])
def test_an_entry_that_is_not_full_has_room_for_any_other(why: str) -> None:
    made = Executions(AT)
    texts = 0
    while not made.full:
        texts += 1
        alike = Alike(
            kind="maintenance", verdict="refuse", tag="X" * 63, rows=MAX_INT - texts, sqlstate="XX000", why=why
        )
        made.add(MAX_INT - texts, alike, AT + timedelta(days=9_000), MAX_INT, sealed=True)
    sealed = {f"t{MAX_INT - n}": bytes(32) for n in range(1, texts + 1)}
    draft = Draft(EntryType.FORWARDED, made.body(), session="S-00000001", sealed=sealed)
    position = Position("a-ledger.example/" + "x" * 60, 2**40, FIRST_PREV, AT)
    assert len(encode_entry(draft, position, sealed)) <= MAX_ENTRY_BYTES
    assert len(made) == texts < MAX_EXECUTIONS


def test_an_entry_of_the_usual_ones_is_full_when_it_has_as_many_as_it_may() -> None:
    made = Executions(AT)
    while not made.full:
        made.add(1, READ, AT, 1, sealed=False)
    assert len(made) == MAX_EXECUTIONS
    assert len(encode(made.body())) < 25 * MAX_EXECUTIONS


BODY = body_of((1, READ, AT, 120))


@pytest.mark.parametrize(
    "change",
    [
        {"since": 7},
        {"since": "2026"},
        {"alike": []},
        {"alike": [7]},
        {"alike": {}},
        {"executions": []},
        {"executions": {**BODY["executions"], "took_us": []}},
        {"executions": {**BODY["executions"], "took_us": [-1]}},
        {"executions": {**BODY["executions"], "text": [-1]}},
        {"executions": {**BODY["executions"], "more": [1]}},
        {"executions": {name: [] for name in BODY["executions"]}},
        {"executions": {name: [0] * 501 for name in BODY["executions"]}},
        {"more": 1},
        {"alike": [*BODY["alike"], {"kind": "x", "verdict": "forward"}]},
        {"alike": [{}]},
        {"alike": [{**BODY["alike"][0], "verdict": "foo"}]},
        {"alike": [{**BODY["alike"][0], "rows": -5}]},
        {"alike": [{**BODY["alike"][0], "rows": "x"}]},
        {"alike": [{**BODY["alike"][0], "more": 1}]},
        {"executions": {**BODY["executions"], "text": ["1"]}},
        {"executions": {**BODY["executions"], "text": "1"}},
        {"executions": {**BODY["executions"], "alike": [-1]}},
        {"since": "9999-12-31T23:59:59.999999Z", "executions": {**BODY["executions"], "at_us": [1]}},
    ],
)
def test_a_body_of_another_form_is_refused(change: dict[str, Any]) -> None:
    assert list(executions_in(BODY)) == [Executed("t1", AT, 120, BODY["alike"][0])]
    with pytest.raises(NotCanonical):
        list(executions_in(BODY | change))

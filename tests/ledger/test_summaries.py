"""Executions that are only counted: their digest is that of the page, and what is written is read, nothing else."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.errors import NotCanonical
from pgnotary.judge.statement import StatementClass
from pgnotary.ledger.canonical import JSON, MAX_ENTRY_BYTES, MAX_INT, decode, encode
from pgnotary.ledger.entries import FIRST_PREV, Draft, EntryType, Position, encode_entry
from pgnotary.ledger.summaries import Summaries, Summary, summaries_in

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "summary.json").read_text(encoding="utf-8"))
AT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
LATER = AT + timedelta(seconds=1)


def digest(*texts: bytes) -> str:
    """Return what docs/ledger-format.md says."""
    lengths_and_texts = b"".join(len(text).to_bytes(8, "big") + text for text in texts)
    return hashlib.sha256(b"pgnotary/summary/1\n" + lengths_and_texts).hexdigest()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_golden_digests_never_change(vector: dict[str, Any]) -> None:
    made, texts = Summaries(), [bytes.fromhex(text) for text in vector["texts"]]
    for text in texts:
        assert made.add(text, "select", AT, 1, 0)
    (summary,) = summaries_in(made.body())
    assert summary.sha256 == digest(*texts) == vector["sha256"]


def test_an_entry_says_this_and_no_more() -> None:
    made = Summaries()
    made.add(b"a", StatementClass.SELECT, AT, 2, 2)
    made.add(b"bc", StatementClass.SELECT, LATER, 3, 5)
    assert made.body() == {
        "summaries": [
            {
                "kind": "select",
                "executions": 2,
                "rows": 7,
                "took_us": 5,
                "first": "2026-11-20T09:00:00.000000Z",
                "last": "2026-11-20T09:00:01.000000Z",
                "sha256": digest(b"a", b"bc"),
            }
        ]
    }


KINDS = st.sampled_from(["select", "insert", "show"])
EXECUTIONS = st.lists(st.tuples(KINDS, st.binary(max_size=20), st.integers(0, 9), st.integers(0, 9)), min_size=1)


@given(EXECUTIONS)
def test_what_was_counted_is_read_by_kind_in_order(ran: list[tuple[str, bytes, int, int]]) -> None:
    made = Summaries()
    for kind, text, took_us, rows in ran:
        assert made.add(text, kind, AT, took_us, rows)
    expected = []
    for kind in sorted({kind for kind, *_ in ran}):
        texts, times, rows_of = zip(*(rest for of, *rest in ran if of == kind), strict=True)
        expected.append(Summary(kind, len(texts), sum(rows_of), sum(times), AT, AT, digest(*texts)))
    assert list(summaries_in(decode(encode(made.body())))) == expected


def test_what_a_sum_cannot_hold_is_not_counted() -> None:
    made = Summaries()
    assert made.add(b"a", "select", AT, MAX_INT, MAX_INT)
    before = made.body()
    assert not made.add(b"b", "select", LATER, 1, 0)
    assert not made.add(b"b", "select", LATER, 0, 1)
    assert not made.add(b"b", "insert", LATER, 0, MAX_INT + 1)
    assert made.body() == before


def test_an_entry_of_all_kinds_and_the_largest_sums_fits() -> None:
    made = Summaries()
    for kind in StatementClass:
        assert made.add(b"a", kind, AT, MAX_INT, MAX_INT)
    draft = Draft(EntryType.FORWARDED, made.body(), session="S-00000001")
    assert len(encode_entry(draft, Position("x" * 200, 2**40, FIRST_PREV, AT), {})) <= MAX_ENTRY_BYTES
    assert len(list(summaries_in(draft.body))) == len(StatementClass)


GOOD: dict[str, JSON] = {
    "kind": "select",
    "executions": 4,
    "rows": 0,
    "took_us": 0,
    "first": "2026-11-20T09:00:00.000000Z",
    "last": "2026-11-20T08:00:00.000000Z",
    "sha256": "9c" * 32,
}


def test_a_clock_that_was_set_back_is_no_fault() -> None:
    assert [each.executions for each in summaries_in({"summaries": [GOOD]})] == [4]


@pytest.mark.parametrize(
    "change",
    [
        {"executions": 0},
        {"executions": -1},
        {"executions": True},
        {"executions": "4"},
        {"rows": -1},
        {"rows": False},
        {"took_us": "fast"},
        {"kind": 7},
        {"kind": ""},
        {"first": "yesterday"},
        {"first": 7},
        {"last": "tomorrow"},
        {"sha256": 7},
        {"sha256": "9c"},
        {"sha256": "9C" * 32},
        {"sha256": "9c" * 32 + "\n"},
        {"text": "t1"},
    ],
)
def test_a_summary_that_is_not_of_the_form_is_refused(change: dict[str, JSON]) -> None:
    with pytest.raises(NotCanonical):
        list(summaries_in({"summaries": [GOOD | change]}))


@pytest.mark.parametrize("name", GOOD)
def test_a_summary_lacks_nothing(name: str) -> None:
    with pytest.raises(NotCanonical, match="without exactly"):
        list(summaries_in({"summaries": [{key: value for key, value in GOOD.items() if key != name}]}))


@pytest.mark.parametrize("kinds", [["select", "insert"], ["select", "select"]])
def test_kinds_stand_once_and_in_order(kinds: list[str]) -> None:
    with pytest.raises(NotCanonical, match="not sorted by kind: "):
        list(summaries_in({"summaries": [GOOD | {"kind": kind} for kind in kinds]}))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"summaries": 7},
        {"summaries": []},
        {"summaries": [7]},
        {"summaries": GOOD},
        {"summaries": [GOOD], "alike": []},
    ],
)
def test_an_entry_that_counts_has_a_list_of_summaries_and_nothing_else(body: dict[str, JSON]) -> None:
    with pytest.raises(NotCanonical):
        list(summaries_in(body))

"""A shape stands for all texts that differ in integers alone; what is remembered is bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.errors import PgnotaryError
from pgnotary.judge.grammar import Unreadable, scan
from pgnotary.judge.policy import Verdict
from pgnotary.judge.rules import Action
from pgnotary.judge.statement import Part, StatementClass
from pgnotary.session.plain import MAX_TEXT_BYTES, MAX_TEXTS, PlainRead, PlainReads, shape

READ = PlainRead(
    Part(StatementClass.SELECT, "SelectStmt", 0, 8), Verdict(Action.FORWARD, StatementClass.SELECT, "rule", "why")
)
ALPHABET = "abeExXoO_019 \t\r\n,.()*=<>;:+-'\"$/\\éπ\0"
# What does not fit into an integer is read as a numeric.
NUMBERS = {"ICONST", "FCONST"}
WORDS = st.sampled_from("select|from|t|1|007|99999999999|1.5|1e5|0x1f|1_000|a1|$1|'1'|--1\n|/*1*/|E'1'|- 1".split("|"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"select a from t where id = 17", b"select a from t where id = 0"),
        (b"select 1,2;", b"select 0,0;"),
        (b"select -5", b"select -0"),
        (b"select a1, t2.b3 from t2 limit 10", b"select a1, t2.b3 from t2 limit 0"),
    ],
)
def test_integers_do_not_count(text: bytes, expected: bytes) -> None:
    assert shape(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"select 1.5, .5, 5., 1e5, 0x1f, 0b1, 1_000, a.b1",
        b"select 007",
        b"select '1'",
        b'select "1"',
        b"select $1",
        b"select E'1'",
        b"select 1 -- 1",
        b"select 1 /* 1 */",
        b"select 1 \xc3\xa9",
        b"select 1 \0",
        b"select 1 @ 2",
        b"",
    ],
)
def test_what_is_not_simple_keeps_its_bytes(text: bytes) -> None:
    assert shape(text) == text


@given(st.one_of(st.text(ALPHABET, max_size=40), *(st.lists(WORDS, max_size=8).map(gap.join) for gap in ("", " "))))
def test_a_shape_has_the_tokens_of_its_text_with_other_integers(text: str) -> None:
    data = text.encode()
    if (found := shape(data)) == data:
        return
    try:
        before = scan(data)
    except (Unreadable, PgnotaryError):
        # Nobody cuts it into tokens: then the server refuses it, and so does it the shape.
        with pytest.raises((Unreadable, PgnotaryError)):
            scan(found)
        return
    after = scan(found)
    for one, other in zip(before, after, strict=True):
        was, now = data[one.start : one.end], found[other.start : other.end]
        assert (was, one.name) == (now, other.name) or (was.isdigit() and now == b"0" and one.name in NUMBERS)


def test_a_text_of_a_known_shape_is_not_judged_again() -> None:
    asked: list[bytes] = []

    def judge(text: bytes) -> PlainRead | None:
        asked.append(text)
        return READ if text.startswith(b"select") else None

    reads = PlainReads()
    for text in (b"select 1", b"select 2", b"delete 1", b"delete 2"):
        assert (reads.find(text, judge) is READ) is text.startswith(b"select")
    assert asked == [b"select 1", b"delete 1"]


def test_what_could_not_be_judged_is_judged_the_next_time() -> None:
    def busy(text: bytes) -> PlainRead | None:
        raise LookupError(text)

    reads = PlainReads()
    with pytest.raises(LookupError):
        reads.find(b"select 1", busy)
    assert reads.find(b"select 1", lambda _: READ) is READ


def test_what_was_read_says_the_whole_text() -> None:
    statement = READ.statement(b"select 1234567")
    assert statement.slice(statement.parts[0]) == b"select 1234567"


def test_what_is_remembered_is_bounded() -> None:
    reads = PlainReads()
    for n in range(MAX_TEXTS + 1):
        reads.find(b"select a%d" % n, lambda _: READ)
    assert len(reads._found) == 1
    assert reads.find(b"select " + b"1" * MAX_TEXT_BYTES, lambda _: READ) is None

"""The gate: what no reader may be trusted with, and why it has to be there."""

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp
from tests.judge.texts import ATTACKS, CORPUS, FORWARDED, PSQL, REFUSED

from pgnotary.errors import InvalidText
from pgnotary.judge import grammar, second
from pgnotary.judge.gate import MAX_JUDGED_BYTES, UNSEEN, first_word, needs_worker, tokens_of
from pgnotary.judge.grammar import MAX_COMMENT_DEPTH, Unreadable
from pgnotary.judge.reading import read
from pgnotary.judge.refusals import refusal
from pgnotary.judge.statement import Finding, Part, Qualifier, Statement, StatementClass

FOOLS_THE_SECOND_READER = {
    "U+2028 before a dollar quote": "gate",
    "no-break space before a dollar quote": "gate",
    "an operator cut by a comment": "re-lexing",
    "an operator cut by a comment, one statement": "re-lexing",
    "a parameter taken for a dollar quote": "re-lexing",
    "a dollar at the end": "re-lexing",
    "row locks behind a dollar": "re-lexing",
}
"""Attacks that sqlglot takes for one harmless SELECT when it is given the raw text, and what stands against each."""


def _is_one_plain_read(sql: str) -> bool:
    roots = [root for root in sqlglot.parse(sql, read="postgres") if root]
    writes = (exp.DML, exp.DDL, exp.Into, exp.Lock, exp.Command)
    return len(roots) == 1 and not any(isinstance(node, writes) for node in roots[0].walk())


@pytest.mark.parametrize(("name", "guard"), FOOLS_THE_SECOND_READER.items())
def test_the_raw_text_fools_the_second_reader_and_its_guard_does_not_let_it(name: str, guard: str) -> None:
    text = ATTACKS[name].encode()
    assert _is_one_plain_read(ATTACKS[name])
    if guard == "gate":
        with pytest.raises(Unreadable, match="outside a literal"):
            tokens_of(text)
    else:
        assert not _is_one_plain_read(second.relex(text, tokens_of(text)))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"", ""),
        (b" ;\t\n\f\r\v;COMMIT", "commit"),
        (b"-- a\nrollback to x", "rollback"),
        (b"-- a\rsavepoint x", "savepoint"),
        (b"-- a", ""),
        (b"/* /* */ begin */ End", "end"),
        (b"/*/ begin */ abort", "abort"),
        (b"/* never closed begin", ""),
        (b"'begin'", ""),
        ("\u00a0begin".encode(), ""),
        (b"\xff begin", ""),
        (b"pREPARE_x", "prepare_x"),
    ],
)
def test_the_first_word_of_a_text_that_nobody_can_read(text: bytes, word: str) -> None:
    assert first_word(text) == word


@pytest.mark.parametrize(
    "character", ["\u00a0", "\u2028", "\u3000", "\ufeff", "\u200b", "\u0085", "\x1c", "\x7f", "\v"]
)
def test_odd_white_space_passes_only_inside_literals_and_comments(character: str) -> None:
    for sql in (f"SELECT a{character}", f'SELECT 1 AS "a{character}"', f"SELECT {character}'a'"):
        with pytest.raises(Unreadable, match=f"U\\+{ord(character):04X} outside a literal"):
            tokens_of(sql.encode())
    for sql in (f"SELECT 'a{character}'", f"SELECT $$a{character}$$", f"SELECT 1 /* a{character} */ -- {character}"):
        assert tokens_of(sql.encode())


@pytest.mark.parametrize(
    "sql", ["SELECT \u00e9 FROM \u0442", 'SELECT "\U0001f600"', "SELECT\t1\r\n\f", "SELECT '\u00e9' \u00e9"]
)
def test_letters_of_every_alphabet_and_plain_white_space_pass(sql: str) -> None:
    assert tokens_of(sql.encode())


@pytest.mark.parametrize("text", [b"SELECT 1\0", b"SELECT '\0'", b"SELECT 1 --\0\n", b"\0"])
def test_no_text_with_a_nul_is_read(text: bytes) -> None:
    with pytest.raises(Unreadable):
        tokens_of(text)


@pytest.mark.parametrize("text", [b"SELECT '\xff'", b"\xc3", b"SELECT '\xed\xa0\x80'", b"SELECT '\xc0\xa7'"])
def test_what_is_not_utf_8_is_refused_like_the_server_would(text: bytes) -> None:
    with pytest.raises(InvalidText, match="invalid byte sequence") as caught:
        read(text)
    assert caught.value.sqlstate == "22021"


def test_the_longest_text_is_read_and_the_next_byte_is_too_much() -> None:
    text = b"SELECT '" + b"x" * (MAX_JUDGED_BYTES - 9) + b"'"
    assert not read(text).parts[0].doubt
    assert "is 1048577 bytes long; at most 1048576 are read" in read(text + b" ").parts[0].doubt


def test_comment_openings_are_counted_before_any_parser_sees_them() -> None:
    assert not read(b"SELECT 1" + b"/**/" * MAX_COMMENT_DEPTH).parts[0].doubt
    assert "comment openings" in read(b"SELECT 1" + b"/**/" * (MAX_COMMENT_DEPTH + 1)).parts[0].doubt


# --- what an event loop must not read ---------------------------------------------------------------------------------


def test_what_tools_and_people_send_is_read_on_the_loop() -> None:
    assert [sql for sql in (*FORWARDED, *REFUSED) if needs_worker(sql.encode())] == []
    assert [row["id"] for row in CORPUS if needs_worker(row["sql"].encode())] == []
    assert [row["name"] for row in PSQL if needs_worker(row["sql"].encode())] == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT '" + "x" * 16_384 + "'",
        "SELECT 1 WHERE a IN (" + ",".join(["1"] * 600) + ")",
        "SELECT 1 WHERE " + "a = 1 AND " * 400 + "true",
        "SELECT " + "NOT " * 1_200 + "true",
        "SELECT 1;" * 500,
        "/*" * 700,
        "SELECT " + "ARRAY[" * 8 + "1" + "]" * 8,
        "SELECT a" + "[1]" * 30,
        "SELECT a" + " [ 1 ]\n" * 30,
        "SELECT " + ", ".join(["((((((1))))))"] * 4),
    ],
    ids=lambda sql: sql[:24],
)
def test_what_is_large_long_or_deep_is_not(sql: str) -> None:
    assert needs_worker(sql.encode())


def test_a_closing_bracket_without_its_opening_one_digs_no_pit() -> None:
    assert not needs_worker(b"SELECT '" + b")" * 100 + b"'" + b"(1)" * 10)
    assert needs_worker(b")" * 100 + b"[" * 8)


_FRAGMENTS = [
    *("SELECT", " ", "\n", "a", "1", "1.5e3", "1..2", "$1", ",", "(", ")[", "::", "<=>", "'it''s'", 'U&"x"', "\u00e9"),
    *("E'\\''", "$$b c$$", "/* d, e */", "--f\n", "_g", "0x1F", "1_000", ":=", "=>", "a.b", ";", "\u00a0"),
]


@given(st.lists(st.sampled_from(_FRAGMENTS), max_size=60).map("".join))
def test_tokens_are_never_counted_too_low(sql: str) -> None:
    """The count goes without a lexer; repeated until it is at the limit, the text says what was counted."""
    text = sql.encode()
    try:
        tokens = len(grammar.scan(text))
    except Unreadable:
        return
    times = 1_201 // max(tokens, 1) + 1
    assert tokens == 0 or needs_worker(b" ".join([text] * times))


# --- the first word ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [b"/*" * 500_000, b"/**/" * 250_000 + b"COMMIT", b"--\n" * 300_000 + b"COMMIT", b"/*" * 999 + b"*/" * 999]
)
def test_a_first_word_behind_too_many_comments_is_refused_unseen(text: bytes) -> None:
    assert first_word(text) == UNSEEN
    unread = Finding(Qualifier.UNREAD, "the text took too long to read")
    refused = refusal(Statement(text, (Part(StatementClass.UNKNOWN, "", 0, len(text), (unread,)),)))
    assert refused is not None
    assert refused.rule == "refuse/unreadable-control"
    assert "it begins with /*, whose effect must be known" in refused.reason


def test_a_first_word_is_found_behind_many_comments_and_any_white_space() -> None:
    assert first_word(b"/**/" * 400 + b"--\n" * 100 + b" " * 900_000 + b"COMMIT") == "commit"

"""What an approver sees of a hostile statement."""

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.approval.office import MemoryLedger

from pgnotary.approval.bodies import EntryPaper, RequestPaper
from pgnotary.approval.papers import Paper, read_paper
from pgnotary.cli.paper_view import describe, facts, span, statement_lines, table_row

_MARGIN = re.compile(r" *[0-9]* [|:~]( |$)")


def _paper(**how: Any) -> Paper:
    asked, shown = MemoryLedger().hold(**how)
    entry, preview = (EntryPaper(entry=each.entry.raw, opened=dict(each.opened)) for each in (asked, shown))
    return read_paper(RequestPaper(id="R-1", request=entry, preview=preview), "R-1")


def _shown(**how: Any) -> str:
    return "\n".join(describe(_paper(**how), datetime.now(UTC)))


def test_everything_that_is_signed_is_shown() -> None:
    paper = _paper()
    shown = "\n".join(describe(paper, datetime.now(UTC)))
    for name, value in {**paper.request.body, **paper.preview.body}.items():
        if name in ("parts", "expires_at", "block", "statements_before", "took_us", "bytes", "kind"):
            continue
        for each in value if isinstance(value, list) else [value]:
            text = f"{each:,}" if name in ("exact", "estimate") else str(each)
            assert text in shown, name
    for text in ("DELETE on public.orders", "PAY-2210 purge", "50 bytes", "runs in a transaction of its own", "41 ms"):
        assert text in shown
    assert paper.request.leaf.hex() in shown
    assert paper.preview.leaf.hex() in shown


def test_an_open_block_is_told() -> None:
    assert "3 statements have run in it" in _shown(block="open", statements_before=3)


def test_a_preview_without_a_count_says_why_and_never_zero() -> None:
    shown = _shown(exact=None)
    assert "rows unknown" in shown
    assert "DROP is not previewed yet" in shown
    assert "0 rows" not in shown


def test_fields_of_a_newer_version_are_shown() -> None:
    assert "parameters = ['1', '2']" in _shown(parameters=["1", "2"])


def test_several_statements_in_one_text_are_told() -> None:
    parts = [{"kind": kind, "start": 0, "end": 1} for kind in ("transaction", "delete", "transaction")]
    assert "3 statements: transaction, delete, transaction" in _shown(parts=parts)


@pytest.mark.parametrize("field", ["person", "user", "application", "client", "database", "search_path", "rule", "why"])
def test_no_field_reaches_the_terminal_raw(field: str) -> None:
    shown = _shown(**{field: "x\x1b[2J\u202e\u200b\nR-2 approved"})
    assert "x\\u{1b}[2J\\u{202e}\\u{200b}\\u{a}R-2 approved" in shown
    assert "\x1b" not in shown


def test_escapes_and_bidi_marks_in_a_statement_are_shown_and_told() -> None:
    shown = _shown(statement="DELETE FROM orders /* \u202e1 = di EREHW */ \x1b[8m; \x1b[0m")
    assert "/* \\u{202e}1 = di EREHW */ \\u{1b}[8m; \\u{1b}[0m" in shown
    assert "do not show as themselves" in shown


def test_letters_that_look_like_others_are_told() -> None:
    shown = _shown(statement="DELETE FROM \u043erders")
    assert "\u043e U+043E" in shown
    assert "outside ASCII" not in _shown()


def test_ten_thousand_blank_lines_hide_nothing() -> None:
    statement = "DELETE FROM orders\n" + "\n" * 10_000 + "-- harmless\n" + "   \t \n" * 10_000 + "; DROP TABLE users"
    lines = list(statement_lines(statement, 100))
    assert len(lines) < 12
    assert lines[0] == "    1 | DELETE FROM orders"
    assert "~ 9,998 more blank lines" in lines[3]
    assert lines[-1] == "20003 | ; DROP TABLE users"


def test_a_long_line_of_spaces_hides_nothing() -> None:
    lines = list(statement_lines("DELETE FROM orders" + " " * 100_000 + "; DROP TABLE users", 100))
    assert len(lines) < 8
    assert "DROP TABLE users" in lines[-1]
    assert "more blank lines" in lines[-2]


def test_a_statement_cannot_imitate_its_margin() -> None:
    forged = "DELETE FROM orders" + " " * 90 + "   2 | WHERE id = 1\n     ~ 9 more blank lines\ndigest  sha256:00"
    lines = list(statement_lines(forged, 100))
    assert [line[:6] for line in lines] == ["   1 |", "     :", "   2 |", "   3 |"]


def test_a_huge_statement_is_shown_whole() -> None:
    statement = "DELETE FROM orders WHERE id IN (" + ", ".join(str(number) for number in range(100_000)) + ")"
    lines = list(statement_lines(statement, 100))
    assert "".join(line[7:].ljust(100) for line in lines).rstrip() == statement


@given(st.text(alphabet=st.characters(codec="utf-8")), st.integers(min_value=2, max_value=60))
def test_every_line_stands_behind_its_margin_and_fits(statement: str, width: int) -> None:
    for line in statement_lines(statement, width):
        found = _MARGIN.match(line)
        assert found
        columns = sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in line[found.end() :])
        assert columns <= width or "more blank lines" in line
        assert line.isprintable()


@given(st.text(alphabet="ab\n \t\x1b", min_size=1))
def test_no_visible_character_of_a_statement_is_lost(statement: str) -> None:
    shown = "".join(_MARGIN.sub("", line, count=1) for line in statement_lines(statement, 40) if " ~ " not in line)
    expected = statement.replace("\x1b", "\\u{1b}")
    assert re.sub(r"\s", "", shown) == re.sub(r"\s", "", expected)


def test_a_row_of_the_table_holds_no_foreign_line() -> None:
    paper = _paper(relations=["public.a\nR-9  0s", "\x1b[1m"], exact=None, preview={"status": "partly", "estimate": 7})
    row = table_row(paper, datetime.now(UTC))
    assert row[5:7] == ("DELETE on public.a\\u{a}R-9  0s, \\u{1b}[1m", "~7")


@pytest.mark.parametrize(
    ("seconds", "words"), [(-5, "0s"), (0, "0s"), (31, "31s"), (869, "14:29"), (3_600, "1h 00m"), (90_000, "25h 00m")]
)
def test_lengths_of_time_are_short(seconds: int, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words


def test_an_expired_request_says_so() -> None:
    assert "which has passed" in "\n".join(describe(_paper(), datetime.now(UTC) + timedelta(hours=1)))


def test_json_holds_the_exact_statement_and_the_leaves() -> None:
    paper = _paper(statement="DELETE FROM orders -- \u202e")
    found = facts(paper)
    assert found["statement"] == "DELETE FROM orders -- \u202e"
    assert found["request_leaf"] == paper.request.leaf.hex()
    assert found["preview"] == paper.preview.body

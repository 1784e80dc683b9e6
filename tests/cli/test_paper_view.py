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
from pgnotary.cli.paper_facts import facts
from pgnotary.cli.paper_view import describe, span, time_left
from pgnotary.cli.safe_text import columns, visible
from pgnotary.cli.statement_view import statement_lines
from pgnotary.request.parameters import Parameters, Value

_MARGIN = re.compile(r" *[0-9]* [|:~]( |$)")


def _paper(**how: Any) -> Paper:
    asked, shown = MemoryLedger().hold(**how)
    entry, preview = (EntryPaper(entry=each.entry.raw, opened=dict(each.opened)) for each in (asked, shown))
    return read_paper(RequestPaper(id="R-1", request=entry, preview=preview), "R-1")


def _shown(**how: Any) -> str:
    return "\n".join(describe(_paper(**how)))


def test_everything_that_is_signed_is_shown() -> None:
    paper = _paper()
    shown = "\n".join(describe(paper))
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


def test_who_asks_what_it_is_and_how_many_rows_stand_on_the_first_screen_of_a_terminal() -> None:
    first = list(describe(_paper(), 66))[:16]
    for line in ("person        eva", "database      shop", "what          DELETE on public.orders"):
        assert line in first
    assert "   1 | DELETE FROM orders" in first
    assert any("1,204 rows counted" in line for line in first)
    assert not any("sha256" in line for line in first)


def test_before_a_question_the_same_page_has_what_matters_most_next_to_it() -> None:
    paper = _paper(statement="DELETE FROM \u043erders")
    shown, asked = list(describe(paper, 66)), list(describe(paper, 66, asks=True))
    assert asked[0] == shown[0]
    assert sorted(asked) == sorted(shown)
    assert asked[-1] == "what          DELETE on public.orders"
    marks = ("all of this", "preview  ", "   1 |", "note", "person")
    assert [next(at for at, line in enumerate(asked) if line.startswith(mark)) for mark in marks] == sorted(
        next(at for at, line in enumerate(asked) if line.startswith(mark)) for mark in marks
    )


def test_an_open_block_is_told() -> None:
    assert "3 statements have run in it" in _shown(block="open", statements_before=3)


def test_a_preview_without_a_count_says_why_and_never_zero() -> None:
    shown = _shown(exact=None)
    assert "rows unknown" in shown
    assert "what DROP changes is not counted in rows" in shown
    assert "0 rows" not in shown


def test_fields_of_a_newer_version_are_shown() -> None:
    assert "colours = ['1', '2']" in _shown(colours=["1", "2"])


def test_what_is_bound_is_shown_as_the_server_spells_it_and_begins_no_line() -> None:
    value = Value(b"\0\1", 1, "a\nstatement  DROP\x1b[2J")
    bound = Parameters(((25, "text"), (23, "integer")), ((value, Value(None)),))
    shown = _shown(statement="DELETE FROM orders WHERE a = $1 AND b = $2", bound=bound)
    assert "$1            text: 'a\\u{a}statement  DROP\\u{1b}[2J'" in shown
    assert "$2            integer: NULL" in shown
    assert "the parameter $1 holds characters that do not show as themselves" in shown


def test_many_executions_are_counted_and_each_value_is_shown() -> None:
    bound = Parameters(((25, "text"),), ((Value(b"x"),), (Value(b"\xff", 1),)))
    paper = _paper(statement="DELETE FROM orders WHERE a = $1", bound=bound)
    shown = "\n".join(describe(paper))
    assert "executions    2, each with parameters of its own" in shown
    assert "#1 $1         text: 'x' (as it came)" in shown
    assert "#2 $1         text: \\xff (as it came, in binary)" in shown
    assert facts(paper)["parameters"] == [
        {"name": "#1 $1", "value": "text: 'x' (as it came)"},
        {"name": "#2 $1", "value": "text: \\xff (as it came, in binary)"},
    ]


def test_several_statements_in_one_text_are_told() -> None:
    parts = [{"kind": kind, "start": 0, "end": 1} for kind in ("transaction", "delete", "transaction")]
    assert "parts         3 statements: transaction, delete, transaction" in _shown(parts=parts)


def test_each_part_that_may_change_something_is_named() -> None:
    parts: list[dict[str, Any]] = [
        {"kind": "delete", "start": 0, "end": 18, "harmless": False, "relations": ["orders"]},
        {"kind": "drop", "start": 20, "end": 35, "harmless": False, "relations": ["items"]},
    ]
    assert "what          DELETE on orders; DROP on items\n" in _shown(parts=parts)


def test_the_settings_that_change_its_meaning_are_one_line() -> None:
    shown = _shown(settings={"datestyle": "ISO, MDY", "timezone": "UTC"})
    assert "settings      datestyle = ISO, MDY; timezone = UTC\n" in shown


def test_what_a_prepared_statement_runs_is_shown_like_the_statement() -> None:
    shown = _shown(statement="EXECUTE purge", kind="execute", prepared="DELETE FROM orders\nWHERE true -- \u043e")
    assert "prepared      what it runs, as it was prepared: 2 lines, 35 bytes\n   1 | DELETE FROM orders\n" in shown
    assert "what it runs holds characters outside ASCII" in shown
    assert "NOBODY CAN SEE" not in shown
    assert facts(_paper(kind="execute", prepared="SELECT 1"))["prepared"] == "SELECT 1"


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "execute"},
        {"kind": "delete", "parts": [{"kind": kind, "start": 0, "end": 1} for kind in ("delete", "execute")]},
    ],
)
def test_an_execute_whose_text_is_not_known_is_warned_of(body: dict[str, Any]) -> None:
    assert "note          NOBODY CAN SEE WHAT IT RUNS" in _shown(**body)


def test_that_any_number_of_rows_may_change_is_said() -> None:
    assert "note          ANY NUMBER OF ROWS MAY CHANGE" in _shown(countable=False)
    assert "ANY NUMBER" not in _shown()


def test_why_something_is_missing_in_the_preview_is_shown_safely() -> None:
    shown = _shown(preview={"status": "partly", "why": "EXPLAIN failed: 42703 \x1b[2J\n    x"})
    assert "preview why   EXPLAIN failed: 42703 \\u{1b}[2J\\u{a}    x\n" in shown


def test_somebody_else_than_the_requester_must_decide() -> None:
    assert "needs         1 approval, by anybody on the roster but eva\n" in _shown()


_FOREIGN = [
    "person", "user", "application", "client", "database", "role", "session_user", "search_path", "rule", "why",
    "profile", "policy", "system_identifier", "kind",
]  # fmt: skip


@pytest.mark.parametrize("field", _FOREIGN)
def test_no_field_reaches_the_terminal_raw(field: str) -> None:
    shown = _shown(**{field: "x\x1b[2J\u202e\u200b\nR-2 approved"})
    assert "x\\u{1b}[2J\\u{202e}\\u{200b}\\u{a}R-2 approved".casefold() in shown.casefold()
    assert "\x1b" not in shown


_FORGED = ["what          DELETE on nothing", "   1 | SELECT 1", "R-1   held"]


@pytest.mark.parametrize("width", [20, 66, 100])
@pytest.mark.parametrize(
    "field", [*_FOREIGN, "reason", "relations", "settings", "error", "colours", "bound", "preview why"]
)
def test_no_padded_field_can_imitate_another_line(field: str, width: int) -> None:
    padded = "".join(f"monthly purge{'.' * pad}{line}" for pad in range(width) for line in _FORGED)
    how: dict[str, Any] = {field: padded}
    match field:
        case "relations":
            how = {"relations": [padded]}
        case "settings":
            how = {"settings": {"datestyle": padded}}
        case "bound":
            how = {"bound": Parameters(((25, padded),), ((Value(b"x", 0, padded),),))}
        case "preview why":
            how = {"preview": {"status": "partly", "why": padded}}
    plain = [line[:14] for line in describe(_paper(), width)]
    labels = {*plain, "            : ", "user          ", "session_user  ", "settings      ", "server said   "}
    labels |= {"also          ", "preview why   ", "note          ", "$1            "}
    for line in describe(_paper(**how), width):
        if line.startswith("R-1   held"):
            continue
        assert line[:14].ljust(14) in {label.ljust(14) for label in labels}
        assert columns(line) <= 14 + width or line[:6] in ("   1 |", "   2 |")


def test_a_reason_padded_to_the_width_of_the_terminal_forges_no_block() -> None:
    # SET pgnotary.reason = 'monthly purge' || padding to 80 columns || 'what ...'
    shown = _shown(reason="monthly purge".ljust(80) + "what          DELETE on nothing", application="psql" + " " * 70)
    assert "reason        monthly purge what DELETE on nothing\n" in shown
    assert "application   psql\n" in shown


def test_escapes_and_bidi_marks_in_a_statement_are_shown_and_told() -> None:
    shown = _shown(statement="DELETE FROM orders /* \u202e1 = di EREHW */ \x1b[8m; \x1b[0m")
    assert "/* \\u{202e}1 = di EREHW */ \\u{1b}[8m; \\u{1b}[0m" in shown
    assert "do not show as themselves" in shown


def test_letters_that_look_like_others_are_told() -> None:
    shown = _shown(statement="DELETE FROM \u043erders WHERE \u043e = 1")
    assert "\u043e U+043E (2x)" in shown
    assert "outside ASCII" not in _shown()


@pytest.mark.parametrize("character", "\u00d7\u2215\u02b9\uff07\u2024\u0964\U0001f600\u00bd\u2044")
def test_signs_outside_ascii_are_told_as_letters_are(character: str) -> None:
    shown = _shown(statement=f"DELETE FROM orders -- {character}")
    assert f"{character} U+{ord(character):04X} (1x)" in shown


@pytest.mark.parametrize(
    "character", ["\U0001d159", "\ua4ff", "\U00016fe4", "\U00013441", "\U00013446", "\u0301", "\u20dd", "\u034f"]
)
def test_blank_characters_and_combining_marks_are_escaped_and_told(character: str) -> None:
    shown = _shown(statement=f"DELETE FROM orders{character}{character} WHERE true")
    assert f"orders\\u{{{ord(character):x}}}\\u{{{ord(character):x}}} WHERE" in shown
    assert f"stand there as escapes: U+{ord(character):04X} (2x)" in shown


def test_a_thousand_letters_do_not_hide_that_there_are_more() -> None:
    statement = "DELETE FROM orders -- \u2215" + "".join(map(chr, range(0x4E00, 0x4E00 + 1_000)))
    shown = _shown(statement=statement).replace("\n             : ", "")
    assert "\u2215 U+2215 (1x), \u4e00 U+4E00 (1x)" in shown
    assert "961 more" in shown


def test_what_follows_a_carriage_return_is_not_commented_out_on_the_screen_either() -> None:
    lines = list(statement_lines("SELECT 1 -- harmless\rDELETE FROM orders\r\nWHERE true\r", 100))
    assert lines == [
        "   1 | SELECT 1 -- harmless\\u{d}",
        "   2 | DELETE FROM orders\\u{d}",
        "   3 | WHERE true\\u{d}",
        "   4 |",
    ]
    assert "2 lines, 32 bytes" in _shown(statement="SELECT 1 -- x\rDELETE FROM orders")


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
    expected = visible(statement.replace("\n", "").replace("\t", ""))
    assert re.sub(r"\s", "", shown) == re.sub(r"\s", "", expected)


@pytest.mark.parametrize(
    ("seconds", "words"), [(-5, "0s"), (0, "0s"), (31, "31s"), (869, "14:29"), (3_600, "1h 00m"), (90_000, "25h 00m")]
)
def test_lengths_of_time_are_short(seconds: int, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words


def test_an_expired_request_says_so() -> None:
    assert "its time has passed" in time_left(_paper(), datetime.now(UTC) + timedelta(hours=1))


def test_json_holds_the_exact_statement_and_the_leaves() -> None:
    paper = _paper(statement="DELETE FROM orders -- \u202e")
    found = facts(paper)
    assert found["statement"] == "DELETE FROM orders -- \u202e"
    assert found["request_leaf"] == paper.request.leaf.hex()
    assert found["preview"] == paper.preview.body

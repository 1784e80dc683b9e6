"""Foreign text is shown with every character that it holds."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.cli.safe_text import broken, columns, cut, cut_before, one_line, phrases, pieces, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("DELETE FROM orders", "DELETE FROM orders"),
        ("\x1b[2J\x1b[H", "\\u{1b}[2J\\u{1b}[H"),
        ("\x9b2J", "\\u{9b}2J"),
        ("a\u202eb\u2066c", "a\\u{202e}b\\u{2066}c"),
        ("a\u200b\u200d\ufeffb\u00adc", "a\\u{200b}\\u{200d}\\u{feff}b\\u{ad}c"),
        ("a\u00a0b\u3000c\u2028d", "a\\u{a0}b\\u{3000}c\\u{2028}d"),
        ("\u3164\u2800\ufe0f\U000e0041", "\\u{3164}\\u{2800}\\u{fe0f}\\u{e0041}"),
        ("\ud800", "\\u{d800}"),
        ("\r\n\t\0\x7f", "\\u{d}\\u{a}\\u{9}\\u{0}\\u{7f}"),
        ("e\u0301\u20dd", "e\\u{301}\\u{20dd}"),
        ("\U0001d159\ua4ff\U00016fe4\U00013442", "\\u{1d159}\\u{a4ff}\\u{16fe4}\\u{13442}"),
        ("Grüße, 你好, E'\\n'", "Grüße, 你好, E'\\n'"),
        ("\\u{202e}", "\\u{5c}u{202e}"),
    ],
)
def test_what_does_not_show_as_itself_is_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_lines_can_be_kept() -> None:
    assert visible("a\n\tb\rc", lines=True) == "a\n    b\\u{d}c"


@given(st.text())
def test_nothing_is_left_that_moves_a_cursor_or_hides(text: str) -> None:
    for character in visible(text):
        assert character == " " or unicodedata.category(character)[0] not in "CZ"


@given(st.text(alphabet="a\\u{}0\u202e\u200b\x1b"), st.text(alphabet="a\\u{}0\u202e\u200b\x1b"))
def test_different_texts_stay_different(one: str, other: str) -> None:
    assert (visible(one) == visible(other)) == (one == other)


@given(st.text(), st.integers(min_value=2, max_value=50))
def test_pieces_are_the_whole_text_and_none_is_wider_than_its_width(text: str, width: int) -> None:
    found = list(pieces(visible(text), width))
    assert "".join(found) == visible(text)
    assert all(columns(piece) <= width for piece in found)


@given(st.text(alphabet="ab \u754c"), st.integers(min_value=2, max_value=12))
def test_phrases_are_the_whole_text_too_and_none_is_wider_or_empty(text: str, width: int) -> None:
    found = list(phrases(text, width))
    assert "".join(found) == text
    assert all(columns(piece) <= width for piece in found)
    assert all(found) or found == [""]


def test_phrases_end_before_a_space_if_one_is_near_the_end_of_the_line() -> None:
    assert list(phrases("a lock that nobody waits for", 15)) == ["a lock that", " nobody waits", " for"]
    assert list(phrases("DELETE on public.subscription", 20)) == ["DELETE on public.sub", "scription"]


@given(st.text(), st.integers(min_value=3, max_value=50))
def test_what_is_cut_fits_and_says_so(text: str, width: int) -> None:
    shown = visible(text)
    found = cut(shown, width)
    assert columns(found) <= width
    assert found == shown or (found.endswith("…") and shown.startswith(found[:-1]))


@given(st.text(), st.integers(min_value=3, max_value=50))
def test_what_is_cut_before_its_end_fits_and_says_so(text: str, width: int) -> None:
    shown = visible(text)
    found = cut_before(shown, width)
    assert columns(found) <= width
    assert found == shown or (found.startswith("…") and shown.endswith(found[1:]))


def test_padding_is_one_space() -> None:
    assert one_line("monthly   purge" + " " * 500 + "x") == "monthly purge x"


@pytest.mark.parametrize("filler", [" ", "x", "\u754c"])
def test_a_long_error_cannot_begin_a_line_of_a_terminal(filler: str) -> None:
    text = "pgnotary: " + filler * 150 + "approved  R-1  ledger #5"
    first, *rest = broken(text, 80).split("\n")
    assert first.startswith("pgnotary: ")
    assert rest
    assert all(line.startswith("  ") for line in rest)
    assert all(columns(line) <= 80 for line in (first, *rest))
    assert broken(text, None) == text

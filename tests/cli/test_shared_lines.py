"""Texts share the lines of a terminal: none takes the room of the others, and none goes on at the left edge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.cli.shared_lines import fair_widths, flowing

PARTS = {"who": 1, "what": 3, "rule": 1}
_needs = st.fixed_dictionaries(dict.fromkeys(PARTS, st.integers(min_value=0, max_value=400)))


@pytest.mark.parametrize(
    ("who", "what", "rule", "room", "widths"),
    [
        (3, 20, 10, 80, (3, 20, 10)),
        (300, 300, 300, 48, (12, 24, 12)),
        (3, 300, 300, 55, (3, 36, 16)),
        (300, 9, 8, 51, (34, 9, 8)),
        (300, 300, 5, 10, (6, 6, 5)),
    ],
)
def test_what_one_does_not_need_the_others_share(
    who: int, what: int, rule: int, room: int, widths: tuple[int, int, int]
) -> None:
    assert tuple(fair_widths({"who": who, "what": what, "rule": rule}, PARTS, room).values()) == widths


@given(_needs, st.integers(min_value=18, max_value=200))
def test_no_column_is_lost_or_left_empty_while_another_lacks_it(needs: dict[str, int], room: int) -> None:
    widths = fair_widths(needs, PARTS, room)
    assert all(min(needs[name], 6) <= width <= needs[name] for name, width in widths.items())
    assert sum(widths.values()) == min(sum(needs.values()), room)


def test_what_does_not_fit_stands_below_and_never_at_the_left_edge() -> None:
    words = ["eva", "x" * 30, "DELETE orders", "R-2  " * 9]
    assert list(flowing("R-1  ", words, 40)) == [
        "R-1    eva",
        f"       {'x' * 30}",
        "       DELETE orders",
        "       R-2  R-2  R-2  R-2  R-2 ",
        "          R-2  R-2  R-2  R-2  ",
    ]
    assert list(flowing("R-1  ", words, None)) == ["R-1    " + "  ".join(words)]

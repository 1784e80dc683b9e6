import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.verify.numbers import Numbers


@given(st.lists(st.integers(min_value=1, max_value=30)))
def test_an_id_is_new_exactly_once_in_whatever_order_they_come(drawn: list[int]) -> None:
    numbers, seen = Numbers(), set[int]()
    for number in drawn:
        assert numbers.take(f"R-{number}") is (number not in seen)
        seen.add(number)
        assert all(numbers.taken(f"R-{each}") is (each in seen) for each in range(1, 32))


@pytest.mark.parametrize(
    "text", ["", "R-", "R-0", "R-01", "R--1", "r-1", "R-1x", "R-\u0661", "R-" + "9" * 16, "../R-1"]
)
def test_what_is_not_an_id_is_never_new(text: str) -> None:
    assert not Numbers().take(text)


def test_a_number_far_ahead_costs_one_gap() -> None:
    numbers = Numbers()
    assert numbers.take("R-999999999999999")
    assert numbers.take("R-5")
    assert not numbers.taken("R-6")

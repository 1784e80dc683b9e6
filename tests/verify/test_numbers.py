import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.audit.standalone import _Ids
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


@pytest.mark.parametrize("take", [Numbers().take, _Ids().use])
def test_a_ledger_full_of_gaps_does_not_take_the_square_of_its_length(take: Callable[[str], bool]) -> None:
    # Whoever writes a ledger chooses its numbers: a gap behind every one of them is no fault.
    began = time.process_time()
    assert take("R-999999999")
    assert all(take(f"R-{2 * n}") for n in range(1, 20_001))
    assert not any(take(f"R-{2 * n}") for n in range(1, 20_001))
    assert time.process_time() - began < 10


@given(st.lists(st.integers(min_value=1, max_value=30)))
def test_both_verifiers_know_the_same_ids(drawn: list[int]) -> None:
    numbers, ids = Numbers(), _Ids()
    for number in drawn:
        assert numbers.take(f"R-{number}") is ids.use(f"R-{number}")
    assert all(numbers.taken(f"R-{each}") is ids.is_used(f"R-{each}") for each in range(1, 32))

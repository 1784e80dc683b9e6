"""How often something may happen."""

from hypothesis import given
from hypothesis import strategies as st

from pgnotary.bucket import Bucket


def test_a_full_bucket_gives_its_size_at_once_and_then_its_rate() -> None:
    clock = [100.0]
    bucket = Bucket(3, 0.5, lambda: clock[0])
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock[0] += 1.9
    assert not bucket.take()
    clock[0] += 0.2
    assert [bucket.take(), bucket.take()] == [True, False]


def test_an_empty_bucket_says_when_it_has_something() -> None:
    clock = [100.0]
    bucket = Bucket(1, 0.5, lambda: clock[0])
    assert bucket.empty_for_s == 0
    bucket.take()
    clock[0] += 0.5
    assert bucket.empty_for_s == 1.5
    clock[0] += 1.5
    assert bucket.empty_for_s == 0


@given(st.lists(st.floats(min_value=0, max_value=100), max_size=60))
def test_no_span_of_time_has_more_than_its_size_and_rate_allow(waits: list[float]) -> None:
    clock = [0.0]
    bucket = Bucket(5, 0.2, lambda: clock[0])
    taken = 0
    for wait in waits:
        clock[0] += wait
        taken += bucket.take()
    assert taken <= 5 + clock[0] * 0.2 + 1e-6

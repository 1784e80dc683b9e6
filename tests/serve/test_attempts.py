"""Guesses at passwords wait for each other, and make only those wait who use the same name from the same address."""

import asyncio
import itertools
from collections.abc import Callable

import pytest

from pgnotary.errors import StatementError
from pgnotary.serve.attempts import WRONG_AT_ONCE, Attempts

GUESSER, OTHER = "10.0.0.1", "10.0.0.2"


def stopped() -> float:
    """A clock that stands still: nothing comes back."""
    return 0.0


def clock() -> Callable[[], float]:
    return asyncio.get_running_loop().time


async def waits(attempts: Attempts, address: str, name: str = "eva") -> bool:
    """Say whether somebody from there has to wait."""
    turn = asyncio.ensure_future(attempts.turn(address, name))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    done = turn.done()
    turn.cancel()
    return not done


async def test_some_may_be_wrong_and_then_the_next_waits() -> None:
    attempts = Attempts(stopped)
    for _ in range(WRONG_AT_ONCE):
        assert not await waits(attempts, GUESSER)
        attempts.failed(GUESSER, "eva")
    assert await waits(attempts, GUESSER)
    assert not await waits(attempts, OTHER)
    assert not await waits(attempts, GUESSER, "bo")


async def test_right_passwords_cost_nothing() -> None:
    attempts = Attempts(stopped, at_once=1)
    for _ in range(1_000):
        await attempts.turn(GUESSER, "eva")
    assert not await waits(attempts, GUESSER)


async def test_who_waits_has_a_turn_in_time() -> None:
    attempts = Attempts(clock(), at_once=1, per_s=50)
    async with asyncio.timeout(20):
        for _ in range(5):
            await attempts.turn(GUESSER, "eva")
            attempts.failed(GUESSER, "eva")


async def test_guesses_that_wait_together_are_looked_at_one_after_the_other() -> None:
    attempts = Attempts(clock(), at_once=1, per_s=20)
    attempts.failed(GUESSER, "eva")
    looked_at: list[float] = []

    async def guess() -> None:
        await attempts.turn(GUESSER, "eva")
        looked_at.append(clock()())
        attempts.failed(GUESSER, "eva")

    await asyncio.gather(*(guess() for _ in range(5)))
    # A timer may be early by its resolution.
    assert all(later - earlier > 0.04 for earlier, later in itertools.pairwise(looked_at))


async def test_only_so_many_wait_together() -> None:
    attempts = Attempts(stopped, at_once=1)
    attempts.failed(GUESSER, "eva")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempts.turn(GUESSER, "eva")) for _ in range(20)]
        await asyncio.sleep(0)
        with pytest.raises(StatementError, match="too many wrong passwords") as told:
            await attempts.turn(GUESSER, "eva")
        assert told.value.sqlstate == "53300"
        for task in tasks:
            task.cancel()
    assert await waits(attempts, GUESSER), "those who left made room"


async def test_who_has_left_does_not_wait_any_more() -> None:
    attempts = Attempts(stopped, at_once=1)
    attempts.failed(GUESSER, "eva")
    with pytest.raises(ConnectionResetError):
        await attempts.turn(GUESSER, "eva", lambda: True)


@pytest.mark.parametrize(
    ("one", "another", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("unix", "unix", True),
        ("unix", "10.0.0.1", False),
    ],
)
async def test_what_one_client_may_call_from_is_one_address(one: str, another: str, *, same: bool) -> None:
    attempts = Attempts(stopped, at_once=1)
    attempts.failed(one, "eva")
    assert await waits(attempts, another) is same


async def test_what_is_remembered_is_bounded_and_the_newest_stays() -> None:
    attempts = Attempts(stopped, at_once=1)
    for number in range(10_001):
        attempts.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "eva")
    assert await waits(attempts, "10.0.39.16")
    assert not await waits(attempts, "10.0.0.0")

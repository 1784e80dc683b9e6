"""Turns at what keeps an event loop busy: one in each round, in the order in which they were waited for."""

import asyncio

from pgnotary.serve.turns import Turns


async def _round() -> None:
    await asyncio.sleep(0)


async def test_a_turn_is_free_until_it_is_taken_and_again_in_the_next_round() -> None:
    turns = Turns()
    found = [turns.free]
    turns.take()
    turns.take()
    found.append(turns.free)
    await _round()
    assert [*found, turns.free] == [True, False, True]


async def test_who_waits_has_a_turn_in_the_order_of_coming_one_in_each_round() -> None:
    turns, had = Turns(), list[tuple[int, int]]()
    rounds = 0

    async def wait(name: int) -> None:
        await turns.wait()
        had.append((name, rounds))

    async with asyncio.TaskGroup() as tasks:
        for name in range(5):
            tasks.create_task(wait(name))
        while len(had) < 5:
            assert turns.free is (rounds == 0)
            await _round()
            rounds += 1
    assert [name for name, _ in had] == [0, 1, 2, 3, 4]
    assert len({when for _, when in had}) == 5


async def test_nobody_goes_between_those_who_wait() -> None:
    turns = Turns()
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(turns.wait()) for _ in range(3)]
        await _round()
        while not all(task.done() for task in waiting):
            assert not turns.free
            await _round()


async def test_the_turn_of_who_has_left_is_the_next_ones() -> None:
    turns = Turns()
    turns.take()
    async with asyncio.TaskGroup() as tasks:
        gone, stays = (tasks.create_task(turns.wait()) for _ in range(2))
        await _round()
        gone.cancel()
        async with asyncio.timeout(10):
            await stays
    assert gone.cancelled()

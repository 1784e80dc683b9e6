"""Looks at the server: so many at once, in the order of coming, and whoever leaves makes room."""

import asyncio

import pytest

from pgnotary.serve.looks import Looks


async def _round() -> None:
    await asyncio.sleep(0)


class Queue:
    """Names ask for looks; `begun` has them in the order in which they may."""

    def __init__(self, at_once: int, patience_s: float = 60.0) -> None:
        self.looks = Looks(at_once, patience_s)
        self.begun: list[str] = []

    def ask(self, *names: str) -> None:
        for name in names:
            self.looks.ask(name, lambda name=name: self.begun.append(name))  # type: ignore[misc]


async def test_so_many_look_at_once_and_the_next_when_one_is_done() -> None:
    queue = Queue(2)
    queue.ask(*"abcd")
    assert queue.begun == []
    await _round()
    assert queue.begun == ["a", "b"]
    queue.looks.end("b")
    await _round()
    assert queue.begun == ["a", "b", "c"]
    queue.looks.end("a")
    queue.looks.end("c")
    await _round()
    assert queue.begun == ["a", "b", "c", "d"]


async def test_who_leaves_the_queue_is_passed_over() -> None:
    queue = Queue(1)
    queue.ask(*"abc")
    queue.looks.end("b")
    queue.looks.end("a")
    await _round()
    assert queue.begun == ["c"]


async def test_who_leaves_before_they_are_called_is_not_called_and_may_ask_again() -> None:
    queue = Queue(1)
    queue.ask(*"ab")
    queue.looks.end("a")
    queue.ask("a")
    await _round()
    assert queue.begun == ["b"]
    queue.looks.end("b")
    await _round()
    assert queue.begun == ["b", "a"]


async def test_an_end_without_a_look_gives_nobody_a_second_place() -> None:
    queue = Queue(1)
    queue.looks.end("z")
    queue.ask(*"ab")
    queue.looks.end("z")
    await _round()
    assert queue.begun == ["a"]


async def test_who_takes_long_keeps_nobody_waiting_for_ever() -> None:
    queue = Queue(1, patience_s=0.02)
    queue.ask(*"ab")
    async with asyncio.timeout(10):
        while queue.begun != ["a", "b"]:
            await asyncio.sleep(0.005)
    queue.looks.end("a")
    queue.looks.end("b")
    queue.ask("a")
    await _round()
    assert queue.begun == ["a", "b", "a"]


async def test_nobody_looks_twice_at_once() -> None:
    queue = Queue(1)
    queue.ask(*"ab")
    for name in "ab":
        with pytest.raises(ValueError, match="second look"):
            queue.ask(name)

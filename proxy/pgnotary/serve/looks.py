"""Looks at the server: how many statements that are to be held may be asked about at once, in the order they came.

Who wants to ask enters `ask` and is called when it is their turn; `end` gives the turn back, had or not. A look keeps a
server busy for tens of milliseconds, and asks for a plan and for counts: a thousand at once would starve everybody
else's statements, and would keep a thousand questions in memory.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Looks"]

_AT_ONCE = 8


class Looks:
    """The looks of one proxy; a session has one at most."""

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        self._at_once = at_once
        self._waiting: OrderedDict[object, Callable[[], None]] = OrderedDict()
        self._looking: dict[object, asyncio.Handle] = {}

    def ask(self, who: object, begin: Callable[[], None]) -> None:
        """Have `begin` called when it is the turn of `who`: soon, and never from here."""
        if who in self._waiting or who in self._looking:
            raise ValueError("a second look at once")
        self._waiting[who] = begin
        self._admit()

    def end(self, who: object) -> None:
        """Give the turn back, or the place among those who wait; `begin` is not called any more."""
        self._waiting.pop(who, None)
        if (begun := self._looking.pop(who, None)) is not None:
            begun.cancel()
            self._admit()

    def _admit(self) -> None:
        while self._waiting and len(self._looking) < self._at_once:
            who, begin = self._waiting.popitem(last=False)
            self._looking[who] = asyncio.get_running_loop().call_soon(begin)

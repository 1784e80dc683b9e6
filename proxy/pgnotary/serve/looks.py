"""Looks at the server: how many statements that are to be held may be asked about at once, in the order they came.

Who wants to ask enters `ask` and is called when it is their turn; `end` gives the turn back, had or not. A look keeps a
server busy for tens of milliseconds, and asks for a plan and for counts: a thousand at once would starve everybody
else's statements, and would keep a thousand questions in memory. Who takes longer is left alone, but does not keep
others waiting: the next one begins.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Looks"]

_AT_ONCE = 8
# A count may take longer, and a client that reads none of its answers stops its server's for as long as it likes.
_PATIENCE_S = 2.0


class Looks:
    """The looks of one proxy; a session has one at most."""

    def __init__(self, at_once: int = _AT_ONCE, patience_s: float = _PATIENCE_S) -> None:
        self._at_once = at_once
        self._patience_s = patience_s
        self._waiting: OrderedDict[object, Callable[[], None]] = OrderedDict()
        self._looking: dict[object, tuple[asyncio.Handle, asyncio.TimerHandle]] = {}

    def ask(self, who: object, begin: Callable[[], None]) -> None:
        """Have `begin` called when it is the turn of `who`: soon, and never from here."""
        if who in self._waiting or who in self._looking:
            raise ValueError("a second look at once")
        self._waiting[who] = begin
        self._admit()

    def end(self, who: object) -> None:
        """Give the turn back, or the place among those who wait; `begin` is not called any more."""
        self._waiting.pop(who, None)
        for handle in self._looking.pop(who, ()):
            handle.cancel()
        self._admit()

    def _admit(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and len(self._looking) < self._at_once:
            who, begin = self._waiting.popitem(last=False)
            self._looking[who] = (loop.call_soon(begin), loop.call_later(self._patience_s, self.end, who))

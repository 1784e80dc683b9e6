"""Turns at what takes an event loop milliseconds: one in each of its rounds, so that nobody waits for more than one.

Who wants to do such a thing enters `wait` and leaves when it is their turn, in the order they came; who finds the turn
`free` takes it at once. Between two turns the loop looks after all its connections: a thousand texts that nobody has
read yet, all sent at once, delay any other client by one of them, not by all.
"""

import asyncio
from collections import deque

__all__ = ["Turns"]


class Turns:
    """The turns of one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._taken = False

    @property
    def free(self) -> bool:
        """Whether nobody has had a turn in this round, nor waits for one."""
        return not self._taken

    def take(self) -> None:
        """Have the turn of this round, waited for or free."""
        if not self._taken:
            self._taken = True
            asyncio.get_running_loop().call_soon(self._next)

    async def wait(self) -> None:
        """Return when it is our turn."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        self.take()
        await turn

    def _next(self) -> None:
        """Begin a round."""
        self._taken = False
        while self._waiting and not self._taken:
            turn = self._waiting.popleft()
            # Whoever was cancelled wants none.
            if not turn.done():
                turn.set_result(None)
                self.take()

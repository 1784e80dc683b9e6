"""What the client has sent and nobody has taken up yet: its messages in order, and how much more may come.

Messages enter at one end and leave at the other; `heed` says when the client should not be read from, and when again.
While a statement is held it is read all the same, or nobody would see it leave; then what may wait is bounded strictly.
"""

from collections import deque

from pgnotary.errors import TooLarge
from pgnotary.session.actions import PauseClient, ResumeClient
from pgnotary.wire.frames import Frame

__all__ = ["MAX_BIND_BYTES", "MAX_MESSAGE_BYTES", "Inbox"]

MAX_MESSAGE_BYTES = 1 << 20
"""A longer message is refused from its length word. pgbouncer's default is 2 GiB; a statement must fit a seal."""
MAX_BIND_BYTES = 16 << 20
"""The values of a Bind are no statement; PostgreSQL takes a gigabyte."""

# How much may wait before nothing more is read from the client, and how little before it is read again.
_HIGH_WATER_BYTES = 1 << 20
_LOW_WATER_BYTES = 256 << 10
# What is read at once, and the longest message, may come on top.
_MOST_BYTES = 2 * MAX_BIND_BYTES


class Inbox:
    """The client's messages that wait."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._paused = False

    def __bool__(self) -> bool:
        return bool(self._frames)

    def add(self, frame: Frame, *, held_bytes: int | None) -> None:
        """Let a message wait; raises TooLarge beyond `held_bytes`, which bounds it while a statement is held."""
        self._frames.append(frame)
        self._bytes += len(frame.raw)
        limit = _MOST_BYTES if held_bytes is None else held_bytes
        if self._bytes > limit:
            raise TooLarge(f"more than {limit} bytes of messages wait behind a statement that is held or running")

    def take(self) -> Frame:
        """Return the first message that waits."""
        frame = self._frames.popleft()
        self._bytes -= len(frame.raw)
        return frame

    def put_back(self, frame: Frame) -> None:
        """Let a message wait again, before all others."""
        self._frames.appendleft(frame)
        self._bytes += len(frame.raw)

    def clear(self) -> None:
        """Forget all that waits."""
        self._frames.clear()
        self._bytes = 0

    def heed(self, *, held: bool) -> PauseClient | ResumeClient | None:
        """Return what is to be done so that no more is read than can be dealt with soon."""
        if self._paused and (held or self._bytes < _LOW_WATER_BYTES):
            self._paused = False
            return ResumeClient()
        if not self._paused and not held and self._bytes > _HIGH_WATER_BYTES:
            self._paused = True
            return PauseClient()
        return None

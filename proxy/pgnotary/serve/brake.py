"""The brake of one link: nothing is read from it as long as anybody has a reason.

Reasons are put and taken away; reading stops with the first and goes on when the last is gone.
"""

from collections.abc import Hashable

from pgnotary.serve.link import Link

__all__ = ["Brake"]


class Brake:
    """Stops and starts reading from one link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._reasons: set[Hashable] = set()

    def put(self, reason: Hashable) -> None:
        """Read nothing for this reason."""
        self._reasons.add(reason)
        self._link.pause_reading()

    def take(self, reason: Hashable) -> None:
        """Let this reason be gone, if it was one."""
        self._reasons.discard(reason)
        if not self._reasons:
            self._link.resume_reading()

"""The brake of one link: nothing is read from it as long as anybody has a reason.

Reasons are put and taken away; reading stops with the first and goes on when the last is gone.
"""

from pgnotary.serve.link import Link

__all__ = ["Brake"]


class Brake:
    """Stops and starts reading from one link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._reasons: list[object] = []
        """There are hardly ever two; an empty set would take four times the memory."""

    def put(self, reason: object) -> None:
        """Read nothing for this reason."""
        if reason not in self._reasons:
            self._reasons.append(reason)
        self._link.pause_reading()

    def take(self, reason: object) -> None:
        """Let this reason be gone, if it was one."""
        if reason in self._reasons:
            self._reasons.remove(reason)
        if not self._reasons:
            self._link.resume_reading()

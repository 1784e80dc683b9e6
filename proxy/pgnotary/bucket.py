"""A token bucket: how often something may happen. The time enters, yes or no leaves."""

from collections.abc import Callable

__all__ = ["Bucket"]


class Bucket:
    """Holds up to `size` tokens and gains `per_s` of them each second; full at first."""

    def __init__(self, size: int, per_s: float, monotonic: Callable[[], float]) -> None:
        self._size = size
        self._per_s = per_s
        self._monotonic = monotonic
        self._tokens = float(size)
        self._at = monotonic()

    @property
    def empty_for_s(self) -> float:
        """How long it takes until there is a token; 0 if there is one."""
        self._fill()
        return max(1 - self._tokens, 0) / self._per_s

    def take(self) -> bool:
        """Take a token, if there is one."""
        self._fill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _fill(self) -> None:
        now = self._monotonic()
        self._tokens = min(self._tokens + (now - self._at) * self._per_s, self._size)
        self._at = now

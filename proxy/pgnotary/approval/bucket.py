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

    def take(self) -> bool:
        """Take a token, if there is one."""
        now = self._monotonic()
        self._tokens = min(self._tokens + (now - self._at) * self._per_s, self._size)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

"""Guesses at passwords: after some that were wrong, the next for the same name from the same address waits, and so on.

Address and name of a client enter before its proof is looked at, and leave when it may be. A right password costs
nothing, however many come at once. Who guesses makes nobody wait but those who come as the same name from the same
address: a name alone is not counted, or anybody could keep a person out, nor is an address, which many may share. An
IPv6 network of 64 bits is one address.
"""

import asyncio
import ipaddress
from collections.abc import Callable

from pgnotary.bucket import Bucket
from pgnotary.errors import StatementError

__all__ = ["Attempts"]

# A person who tries all passwords they know is done with the first, and a whole day has 86,400 seconds.
WRONG_AT_ONCE = 20
WRONG_PER_S = 1.0
# Each that waits holds one of the places for logins.
_MAX_WAITING = 20
# How long somebody waits who has left.
_LOOK_S = 0.5
_MAX_KEPT = 10_000
_IPV6_NETWORK_BITS = 64


class _TooManyGuesses(StatementError):
    sqlstate = "53300"


class Attempts:
    """What has been guessed lately."""

    def __init__(
        self, monotonic: Callable[[], float], *, at_once: int = WRONG_AT_ONCE, per_s: float = WRONG_PER_S
    ) -> None:
        self._monotonic = monotonic
        self._at_once = at_once
        self._per_s = per_s
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._waiting: dict[tuple[str, str], int] = {}

    async def turn(self, address: str, name: str, gone: Callable[[], bool] = lambda: False) -> None:
        """Return when a proof may be looked at, at once.

        Raises a StatementError if too many wait, and ConnectionResetError if the client is `gone` meanwhile.
        """
        key = (_network(address), name)
        bucket = self._buckets.get(key)
        if bucket is None or not bucket.empty_for_s:
            return
        waiting = self._waiting.get(key, 0)
        if waiting >= _MAX_WAITING:
            raise _TooManyGuesses("too many wrong passwords for this name from here", hint="Try again in a minute.")
        self._waiting[key] = waiting + 1
        try:
            while wait_s := bucket.empty_for_s:
                await asyncio.sleep(min(wait_s, _LOOK_S))
                if gone():
                    raise ConnectionResetError("the client left while it waited for its turn")
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]

    def failed(self, address: str, name: str) -> None:
        """Count a wrong proof; only right behind `turn`, with no wait between them."""
        key = (_network(address), name)
        # The newest stands last, so that what is forgotten first has not been heard of for longest.
        bucket = self._buckets.pop(key, None) or Bucket(self._at_once, self._per_s, self._monotonic)
        bucket.take()
        self._buckets[key] = bucket
        if len(self._buckets) > _MAX_KEPT:
            del self._buckets[next(iter(self._buckets))]


def _network(address: str) -> str:
    """Return what counts as one address; text that is none, like that of a Unix socket, is itself."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_NETWORK_BITS), strict=False))
    return str(found)

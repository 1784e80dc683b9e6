"""Guesses at passwords: after some that were wrong, the next from the same address waits, and so on.

The address of a client enters before its proof is looked at, and leaves when it may be. A right password costs nothing,
however many come at once. Names are not counted: who could make a name wait could keep a person out; and nobody is ever
locked out, only slow beside whoever guesses at the same address. An IPv6 network of 64 bits is one address.
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
_MAX_ADDRESSES = 10_000
_IPV6_NETWORK_BITS = 64


class _TooManyGuesses(StatementError):
    sqlstate = "53300"


class Attempts:
    """What each address has guessed lately."""

    def __init__(
        self, monotonic: Callable[[], float], *, at_once: int = WRONG_AT_ONCE, per_s: float = WRONG_PER_S
    ) -> None:
        self._monotonic = monotonic
        self._at_once = at_once
        self._per_s = per_s
        self._buckets: dict[str, Bucket] = {}
        self._waiting: dict[str, int] = {}

    async def turn(self, address: str) -> None:
        """Return when a proof from there may be looked at, at once; raises a StatementError if too many wait."""
        network = _network(address)
        bucket = self._buckets.get(network)
        if bucket is None or not bucket.empty_for_s:
            return
        waiting = self._waiting.get(network, 0)
        if waiting >= _MAX_WAITING:
            raise _TooManyGuesses("too many wrong passwords from this address", hint="Try again in a minute.")
        self._waiting[network] = waiting + 1
        try:
            while wait_s := bucket.empty_for_s:  # noqa: ASYNC110  # time passes, nobody could set an event
                await asyncio.sleep(wait_s)
        finally:
            self._waiting[network] -= 1
            if not self._waiting[network]:
                del self._waiting[network]

    def failed(self, address: str) -> None:
        """Count a wrong proof; only right behind `turn`, with no wait between them."""
        network = _network(address)
        # The newest stands last, so that what is forgotten first has not been heard of for longest.
        bucket = self._buckets.pop(network, None) or Bucket(self._at_once, self._per_s, self._monotonic)
        bucket.take()
        self._buckets[network] = bucket
        if len(self._buckets) > _MAX_ADDRESSES:
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

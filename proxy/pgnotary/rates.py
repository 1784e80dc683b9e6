"""How often each of many may do something: a name and the time enter, yes or no leaves. Memory is bounded."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from ipaddress import IPv6Address, ip_address

from pgnotary.bucket import Bucket

__all__ = ["MOST_REMEMBERED", "Rates", "network_of"]

# Whoever has more addresses than this has a bucket's fill for each anyway.
MOST_REMEMBERED = 4_096


class Rates:
    """A bucket for each name."""

    def __init__(self, size: int, per_s: float, monotonic: Callable[[], float]) -> None:
        self._size, self._per_s, self._monotonic = size, per_s, monotonic
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()

    def take(self, name: Hashable) -> bool:
        """Take a token of this name's, if there is one."""
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket(self._size, self._per_s, self._monotonic)
            if len(self._buckets) > MOST_REMEMBERED:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(name)
        return bucket.take()


def network_of(host: str) -> str:
    """Return what one caller is likely to have of addresses: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> 64 << 64))

"""From transactions to figures: what one run of a workload came to, and several runs beside each other.

Measured is what all clients do at once: from a moment after the last one's first transaction to the last sample of
processor time before the first one stopped. What came before and after (logins, caches being filled) is left out.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.processor import Meter
from bench.workloads import Transaction

__all__ = ["Reading", "added_us", "percentile", "reading", "spread", "window"]

_WARM_S = 0.25


@dataclass(frozen=True, slots=True)
class Reading:
    """One run."""

    per_s: float
    """Transactions a second, all clients together."""
    processor_us: float
    """Of the proxy, for each transaction; 0 without a proxy."""
    p50_us: float
    p99_us: float


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: a value that was measured."""
    rank = max(-(-len(sorted_values) * share // 1), 1)
    return sorted_values[int(rank) - 1]


def window(transactions: Sequence[Transaction]) -> tuple[float, float]:
    """Return from when until when all clients were at work, without the first moments."""
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    for each in transactions:
        first[each.client] = min(each.ended, first.get(each.client, each.ended))
        last[each.client] = max(each.ended, last.get(each.client, each.ended))
    return max(first.values()) + _WARM_S, min(last.values())


def reading(transactions: Sequence[Transaction], meter: Meter, seconds: float) -> Reading:
    """Return the figures of that many seconds, if there were as many; raises ValueError if there are none at all."""
    if not transactions:
        raise ValueError("no transaction ended")
    begin, finish = window(transactions)
    (start, used_before), (end, used_after) = meter.between(begin, min(finish, begin + seconds))
    within = sorted(each.took_us for each in transactions if start < each.ended <= end)
    if not within:
        raise ValueError("no transaction ended between two samples")
    return Reading(
        per_s=len(within) / (end - start),
        processor_us=(used_after - used_before) / len(within) * 1e6,
        p50_us=percentile(within, 0.5),
        p99_us=percentile(within, 0.99),
    )


def added_us(found: Sequence[Reading], direct: Sequence[Reading], which: Callable[[Reading], float]) -> list[float]:
    """Return by how much each run's latency is above that of the direct run beside it."""
    return [which(one) - which(other) for one, other in zip(found, direct, strict=True)]


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Return median (least..most)."""
    shown = [f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values))]
    return f"{shown[0]} ({shown[1]}..{shown[2]})"

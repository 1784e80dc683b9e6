"""What is counted of a running proxy, and how it is told to Prometheus.

Entries of the ledger enter once they are durable, and what others count when they are asked; a page of the text
exposition format leaves. Statements pay nothing for it: what was forwarded is counted from the entries that sum it up,
at most a second late. No name, text or value of anybody's is in it.

Sources: Prometheus, "Exposition formats" (text format 0.0.4) and "Metric and label naming".
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from pgnotary import __version__
from pgnotary.errors import LedgerUnavailable
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import EntryType, Receipt

__all__ = ["Gauge", "Vitals"]

Gauge = tuple[str, str, Callable[[], float]]
"""Name, help, and what it is now; a name that ends in _total is told as a counter."""

_DECISIONS = ("approve", "deny", "rejected")
_STATEMENTS = ("forward", "hold", "refuse")
_ENDS = ("withdrawn", "expired", "void", "orphaned")
_OUTCOMES = ("committed", "rolled-back", "failed", "unknown")


class Vitals:
    """Counters of one proxy since its start."""

    def __init__(self, gauges: Sequence[Gauge]) -> None:
        self._gauges = gauges
        # All labels from the start: a series that begins with its first event hides that event from rate().
        self._statements: Counter[str] = Counter(dict.fromkeys(_STATEMENTS, 0))
        self._decisions: Counter[str] = Counter(dict.fromkeys(_DECISIONS, 0))
        self._ends: Counter[str] = Counter(dict.fromkeys(_ENDS, 0))
        self._outcomes: Counter[str] = Counter(dict.fromkeys(_OUTCOMES, 0))
        self._entries = 0
        self._failures = 0

    def witness(self, receipts: Sequence[Receipt]) -> None:
        """Learn of entries that are durable."""
        self._entries += len(receipts)
        for receipt in receipts:
            body = receipt.entry.body
            match receipt.entry.type:
                case EntryType.FORWARDED:
                    self._statements.update(_verdicts(body))
                case EntryType.REQUEST:
                    self._statements["hold"] += 1
                case EntryType.DECISION:
                    self._decisions[str(body.get("answer"))] += 1
                case EntryType.REJECTED:
                    self._decisions["rejected"] += 1
                case EntryType.OUTCOME:
                    self._outcomes[str(body.get("result"))] += 1
                case type_ if type_.value in _ENDS:
                    self._ends[type_.value] += 1
                case _:
                    pass

    def ledger_turned(self, down: LedgerUnavailable | None) -> None:
        """Learn that the ledger cannot be written any more, or can be again."""
        self._failures += down is not None

    def page(self) -> str:
        """Return all of it in Prometheus' text format."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield from _metric(
            "pgnotary_build_info", "gauge", "The version that runs.", {f'{{version="{__version__}"}}': 1}
        )
        statements = "Statements by verdict; a batch of the extended protocol may hold several."
        yield from _labelled("pgnotary_statements_total", statements, "verdict", self._statements)
        decisions = "Decisions by answer; rejected are those that did not count."
        yield from _labelled("pgnotary_decisions_total", decisions, "answer", self._decisions)
        ends = "Requests that ended without having run."
        yield from _labelled("pgnotary_requests_ended_total", ends, "end", self._ends)
        outcomes = "What became of statements that were approved and ran."
        yield from _labelled("pgnotary_outcomes_total", outcomes, "result", self._outcomes)
        appended = "Entries appended to the ledger."
        yield from _metric("pgnotary_ledger_appends_total", "counter", appended, {"": self._entries})
        failures = "How often the ledger could no longer be written, or failed in another way."
        yield from _metric("pgnotary_ledger_append_failures_total", "counter", failures, {"": self._failures})
        for name, told, now in self._gauges:
            yield from _metric(name, "counter" if name.endswith("_total") else "gauge", told, {"": now()})


def _verdicts(body: Mapping[str, JSON]) -> Counter[str]:
    """Return how many executions an entry tells of, by verdict, without looking at each."""
    found: Counter[str] = Counter()
    summaries, alike, columns = body.get("summaries"), body.get("alike"), body.get("executions")
    for each in summaries if isinstance(summaries, list) else ():
        counted = each.get("executions") if isinstance(each, dict) else None
        found["forward"] += counted if isinstance(counted, int) else 0
    if isinstance(alike, list) and isinstance(columns, dict) and isinstance(places := columns.get("alike"), list):
        for place, count in Counter(places).items():
            common = alike[place] if isinstance(place, int) and place < len(alike) else None
            if isinstance(common, dict):
                found[str(common.get("verdict"))] += count
    return found


def _labelled(name: str, told: str, label: str, counted: Mapping[str, int]) -> Iterator[str]:
    yield from _metric(name, "counter", told, {f'{{{label}="{value}"}}': n for value, n in sorted(counted.items())})


def _metric(name: str, kind: str, told: str, values: Mapping[str, float]) -> Iterator[str]:
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} {kind}"
    for labels, value in values.items():
        yield f"{name}{labels} {value:.17g}"

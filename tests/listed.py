"""The executions of a `forwarded` entry, each with all that is told of it: what tests compare."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pgnotary.ledger.canonical import timestamp
from pgnotary.ledger.executions import Alike, Executions, executions_in
from pgnotary.ledger.summaries import summaries_in

__all__ = ["executions_of", "forwarded_body", "listed"]


def listed(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the executions of an entry's body in their order."""
    return [
        {"text": each.text, "at": timestamp(each.at), "took_us": each.took_us, **each.told}
        for each in executions_in(body)
    ]


def forwarded_body(executions: Iterable[tuple[int, Alike]], at: datetime, took_us: int = 900) -> dict[str, Any]:
    """Return the body of an entry of executions at the same time, each given by the number of its text."""
    made = Executions(at)
    for text, alike in executions:
        made.add(text, alike, at, took_us, sealed=False)
    return made.body()


def executions_of(body: Mapping[str, Any]) -> int:
    """Return how many executions an entry's body lists, or counts."""
    return sum(each.executions for each in summaries_in(body)) if "summaries" in body else len(listed(body))

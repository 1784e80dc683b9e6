"""Executions of which no text is kept: for each kind counts, and a digest by which a list of texts can be checked.

Executions enter one by one, the body of a `forwarded` entry leaves; a body enters, its summaries leave in their order.

    summaries   list sorted by kind, no kind twice: `Summary`, with times as UTC with microseconds

The digest is SHA-256 over a prefix of its own and the texts in their order, each behind its length in bytes as eight
bytes, most significant first; so who has the application's own log can tell whether it is what ran.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from pgnotary.errors import NotCanonical
from pgnotary.ledger.canonical import JSON, MAX_INT, parse_timestamp, timestamp

__all__ = ["Summaries", "Summary", "summaries_in"]

_PREFIXED = hashlib.sha256(b"pgnotary/summary/1\n")
_FIELDS = frozenset({"kind", "executions", "rows", "took_us", "first", "last", "sha256"})
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Summary:
    """What is told of the executions of one kind."""

    kind: str
    executions: int
    """At least one."""
    rows: int
    """The rows of all command tags."""
    took_us: int
    """Of all of them together."""
    first: datetime
    """When the first of them began."""
    last: datetime
    """When the last of them began."""
    sha256: str


class Summaries:
    """The summaries of one entry in the making."""

    __slots__ = ("_of_kind",)

    def __init__(self) -> None:
        self._of_kind: dict[str, _Counting] = {}

    def add(self, text: bytes, kind: str, at: datetime, took_us: int, rows: int) -> bool:
        """Count one execution that began at `at`; False if an entry could not hold a sum then: nothing is counted."""
        counting = self._of_kind.get(kind) or _Counting(at)
        took_us += counting.took_us
        rows += counting.rows
        if took_us > MAX_INT or rows > MAX_INT:
            return False
        self._of_kind[kind] = counting
        counting.executions += 1
        counting.took_us, counting.rows, counting.last = took_us, rows, at
        counting.update(len(text).to_bytes(8, "big") + text)
        return True

    def body(self) -> dict[str, JSON]:
        """Return the body of their entry."""
        return {"summaries": [{"kind": kind, **counting.told()} for kind, counting in sorted(self._of_kind.items())]}


class _Counting:
    """Of one kind."""

    __slots__ = ("_digest", "executions", "first", "last", "rows", "took_us", "update")

    def __init__(self, first: datetime) -> None:
        self.first = self.last = first
        self.executions = self.rows = self.took_us = 0
        self._digest = _PREFIXED.copy()
        self.update = self._digest.update

    def told(self) -> dict[str, JSON]:
        return {
            "executions": self.executions,
            "rows": self.rows,
            "took_us": self.took_us,
            "first": timestamp(self.first),
            "last": timestamp(self.last),
            "sha256": self._digest.hexdigest(),
        }


def summaries_in(body: Mapping[str, JSON]) -> Iterator[Summary]:
    """Yield the summaries that a `forwarded` entry tells of; raises NotCanonical if its body is not of the form."""
    listed = body.get("summaries")
    if not isinstance(listed, list) or not listed or len(body) > 1:
        raise NotCanonical("a forwarded entry whose summaries are no list, or not all that it says")
    before = ""
    for each in listed:
        summary = _summary(each)
        if summary.kind <= before:
            raise NotCanonical(f"a forwarded entry whose summaries are not sorted by kind: {summary.kind!r:.40}")
        before = summary.kind
        yield summary


def _summary(told: JSON) -> Summary:
    if not isinstance(told, Mapping) or told.keys() != _FIELDS:
        raise NotCanonical(f"a summary without exactly {', '.join(sorted(_FIELDS))}")
    executions, rows, took_us = (_count(told, name) for name in ("executions", "rows", "took_us"))
    kind, first, last, sha256 = (_text(told, name) for name in ("kind", "first", "last", "sha256"))
    if not executions:
        raise NotCanonical("a summary of nothing")
    if not _SHA256.fullmatch(sha256):
        raise NotCanonical(f"a summary whose sha256 is {sha256!r:.70}, expected 64 digits of hex in lower case")
    return Summary(kind, executions, rows, took_us, parse_timestamp(first), parse_timestamp(last), sha256)


def _count(told: Mapping[str, JSON], name: str) -> int:
    value = told[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise NotCanonical(f"a summary whose {name} is {value!r:.40}, expected a count")
    return value


def _text(told: Mapping[str, JSON], name: str) -> str:
    value = told[name]
    if not isinstance(value, str):
        raise NotCanonical(f"a summary whose {name} is no text")
    return value

"""The record of what was forwarded: executions in entries of many, each distinct text sealed once in its session.

Executions enter, drafts of `forwarded` entries leave, at most one batch a second or whenever one is full. A statement
costs tens of bytes, and none if it is only counted; nobody waits for the disk. What is not durable yet is bounded, by
executions, whichever way they are recorded: `full` says when forwarding must wait.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from pgnotary.judge.secret_values import words_masked
from pgnotary.ledger.canonical import MAX_INT
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.ledger.executions import MAX_EXECUTIONS, Alike, Executions
from pgnotary.ledger.summaries import Summaries
from pgnotary.wire.messages import rows_of

__all__ = ["ForwardLog"]

_MAX_WAITING = 8 * MAX_EXECUTIONS
# A summary is as long whatever it counts: so many that a second is hardly ever cut, and far from where sessions wait.
_COUNTED_AT_ONCE = _MAX_WAITING // 2
_MAX_KNOWN_TEXTS = 2_000
# A longer text is known by its digest: what a session remembers must not grow with what it runs.
_MAX_KNOWN_BYTES = 256
_MAX_WHY = 1_000


class ForwardLog:
    """What one session has forwarded and not yet recorded."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._complete: list[Draft] = []
        self._executions: Executions | None = None
        """Of the entry in the making, if there are any."""
        self._sealed: dict[str, bytes] = {}
        """Texts that come first in it."""
        self._summaries = Summaries()
        self._counted = 0
        """How many executions these are of."""
        self._waiting = 0
        """How many executions all of this is of."""
        self.batch_ready = False
        """Whether as much waits as is written together: an entry, or more if the last ones took their time."""
        self._texts: dict[bytes | str, int] = {}
        self._named = 0

    def __len__(self) -> int:
        return self._waiting

    @property
    def full(self) -> bool:
        """Whether nothing more may be forwarded until what waits is durable."""
        return self._waiting >= _MAX_WAITING

    def add(
        self,
        text: bytes,
        kind: str,
        at: datetime,
        took_us: int,
        tags: Sequence[str],
        sqlstate: str = "",
        *,
        refused: bool = False,
        would: str = "",
        why: str = "",
        copied: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Note one execution, or one refusal.

        `would` is the rule that would have held it if policy held anything, `why` what it did that was undone, `copied`
        what is told of the data of a COPY.
        """
        executions = self._executions
        if executions is None or executions.full:
            self._complete_entry()
            executions = self._executions = Executions(at)
        if len(tags) == 1 and not (sqlstate or refused or would or why or copied):
            alike = _usual(str(kind), tags[0])
        else:
            alike = _alike(str(kind), tags, sqlstate, refused=refused, would=would, why=why, copied=copied)
        key = text if len(text) <= _MAX_KNOWN_BYTES else hashlib.sha256(text).hexdigest()
        number = self._texts.get(key)
        new = number is None
        if number is None:
            number = self._name(key)
            self._sealed[f"t{number}"] = text
        executions.add(number, alike, at, took_us, sealed=new)
        self.batch_ready |= executions.full
        self._waiting += 1

    def sum_up(self, text: bytes, kind: str, at: datetime, took_us: int, tags: Sequence[str]) -> None:
        """Count one execution that ran without an error, and keep its text in nothing but the digest of its kind.

        What no sum can hold is listed.
        """
        rows = _rows_of(tags[0]) if len(tags) == 1 else _rows(tags)
        if self._summaries.add(text, str(kind), at, took_us, rows or 0):
            self._counted += 1
            self._waiting += 1
            self.batch_ready |= self._counted >= _COUNTED_AT_ONCE
        else:
            self.add(text, kind, at, took_us, tags)

    def take(self) -> tuple[Draft, ...]:
        """Return all that waits as drafts, each no larger than an entry may be, and forget it."""
        self._complete_entry()
        if self._counted:
            self._complete.append(Draft(EntryType.FORWARDED, self._summaries.body(), session=self._session))
            self._summaries, self._counted = Summaries(), 0
        drafts, self._complete, self._waiting, self.batch_ready = tuple(self._complete), [], 0, False
        return drafts

    def _name(self, key: bytes | str) -> int:
        if len(self._texts) >= _MAX_KNOWN_TEXTS:
            self._texts.clear()
        self._named += 1
        self._texts[key] = self._named
        return self._named

    def _complete_entry(self) -> None:
        if self._executions is not None:
            body = self._executions.body()
            self._complete.append(Draft(EntryType.FORWARDED, body, session=self._session, sealed=self._sealed))
            self._executions, self._sealed = None, {}


@lru_cache(maxsize=256)
def _usual(kind: str, tag: str) -> Alike:
    return _alike(kind, (tag,))


def _alike(
    kind: str,
    tags: Sequence[str],
    sqlstate: str = "",
    *,
    refused: bool = False,
    would: str = "",
    why: str = "",
    copied: Mapping[str, Any] = MappingProxyType({}),
) -> Alike:
    rows = _rows(tags)
    return Alike(
        kind=kind,
        verdict="refuse" if refused else "forward",
        tag=tags[-1] if tags else "",
        rows=None if rows is None or rows > MAX_INT else rows,
        sqlstate=sqlstate,
        would=would,
        why=words_masked(why)[:_MAX_WHY],
        **copied,
    )


_rows_of = lru_cache(maxsize=256)(rows_of)


def _rows(tags: Sequence[str]) -> int | None:
    """Return how many rows command tags count together; None if none of them counts any."""
    counts = [rows for rows in map(rows_of, tags) if rows is not None]
    return sum(counts) if counts else None

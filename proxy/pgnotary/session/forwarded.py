"""The record of what was forwarded: executions summed up, each distinct text sealed once in its session.

Executions enter, drafts of `forwarded` entries leave, at most one batch a second or whenever one is full. A statement
costs tens of bytes; nobody waits for the disk. What is not durable yet is bounded: `full` says when forwarding must
wait.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from pgnotary.judge.secret_values import words_masked
from pgnotary.ledger.canonical import JSON, timestamp
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.wire.messages import rows_of

__all__ = ["ForwardLog"]

# An execution takes about 150 bytes, an entry holds 65,535.
_PER_ENTRY = 200
# Written together they cost the disk no more than one; many would keep the event loop from everything else.
_ENTRIES_AT_ONCE = 2
_MAX_WAITING = 4_000
_MAX_KNOWN_TEXTS = 2_000
# A longer text is known by its digest: what a session remembers must not grow with what it runs.
_MAX_KNOWN_BYTES = 256


@dataclass(slots=True)
class _Execution:
    """One execution, or one refusal, as it was told; it is written as JSON only when its entry is."""

    text: str
    kind: str
    at: datetime
    took_us: int
    tags: Sequence[str]
    sqlstate: str
    refused: bool
    would: str
    why: str
    copied: Mapping[str, JSON]

    def written(self) -> dict[str, JSON]:
        """Return what the entry says of it."""
        execution: dict[str, JSON] = {
            "text": self.text,
            "kind": str(self.kind),
            "at": timestamp(self.at),
            "took_us": self.took_us,
            "verdict": "refuse" if self.refused else "forward",
        }
        if self.would:
            execution["would"] = self.would
        if self.why:
            execution["why"] = words_masked(self.why)
        execution |= self.copied
        if self.tags:
            execution["tag"] = self.tags[-1]
            counts = [rows for rows in map(rows_of, self.tags) if rows is not None]
            if counts:
                execution["rows"] = sum(counts)
        if self.sqlstate:
            execution["sqlstate"] = self.sqlstate
        return execution


class ForwardLog:
    """What one session has forwarded and not yet recorded."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._executions: list[_Execution] = []
        self._texts: dict[bytes | str, str] = {}
        self._unsealed: dict[str, bytes] = {}
        self._named = 0

    def __len__(self) -> int:
        return len(self._executions)

    @property
    def batch_ready(self) -> bool:
        """Whether as much waits as is written together."""
        return len(self._executions) >= _PER_ENTRY * _ENTRIES_AT_ONCE

    @property
    def full(self) -> bool:
        """Whether nothing more may be forwarded until what waits is durable."""
        return len(self._executions) >= _MAX_WAITING

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
        copied: Mapping[str, JSON] = MappingProxyType({}),
    ) -> None:
        """Note one execution, or one refusal.

        `would` is the rule that would have held it if policy held anything, `why` what it did that was undone, `copied`
        what is told of the data of a COPY.
        """
        name = self._name(text)
        self._executions.append(_Execution(name, kind, at, took_us, tags, sqlstate, refused, would, why, copied))

    def _name(self, text: bytes) -> str:
        key = text if len(text) <= _MAX_KNOWN_BYTES else hashlib.sha256(text).hexdigest()
        if (name := self._texts.get(key)) is None:
            if len(self._texts) >= _MAX_KNOWN_TEXTS:
                self._texts.clear()
            self._named += 1
            name = self._texts[key] = f"t{self._named}"
            self._unsealed[name] = text
        return name

    def take(self) -> tuple[Draft, ...]:
        """Return all that waits as drafts, each no larger than an entry may be, and forget it."""
        drafts = []
        for start in range(0, len(self._executions), _PER_ENTRY):
            batch = self._executions[start : start + _PER_ENTRY]
            names = {execution.text for execution in batch}
            sealed = {name: self._unsealed.pop(name) for name in sorted(names & self._unsealed.keys())}
            body = {"executions": [execution.written() for execution in batch]}
            drafts.append(Draft(EntryType.FORWARDED, body, session=self._session, sealed=sealed))
        self._executions.clear()
        return tuple(drafts)

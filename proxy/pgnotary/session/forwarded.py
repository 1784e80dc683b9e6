"""The record of what was forwarded: executions summed up, each distinct text sealed once in its session.

Executions enter, drafts of `forwarded` entries leave, at most one batch a second or whenever one is full. A statement
costs tens of bytes; nobody waits for the disk. What is not durable yet is bounded: `full` says when forwarding must
wait.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from pgnotary.judge.secret_values import words_masked
from pgnotary.ledger.canonical import JSON, timestamp
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.wire.messages import rows_of

__all__ = ["ForwardLog"]

# An execution takes about 150 bytes, an entry holds 65,535.
_PER_ENTRY = 200
_MAX_WAITING = 4_000
_MAX_KNOWN_TEXTS = 2_000


class ForwardLog:
    """What one session has forwarded and not yet recorded."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._executions: list[dict[str, JSON]] = []
        self._texts: dict[bytes, str] = {}
        self._unsealed: dict[str, bytes] = {}
        self._named = 0

    def __len__(self) -> int:
        return len(self._executions)

    @property
    def batch_ready(self) -> bool:
        """Whether a whole entry's worth waits."""
        return len(self._executions) >= _PER_ENTRY

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
        tags: list[str],
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
        execution: dict[str, JSON] = {
            "text": self._name(text),
            "kind": kind,
            "at": timestamp(at),
            "took_us": took_us,
            "verdict": "refuse" if refused else "forward",
        }
        if would:
            execution["would"] = would
        if why:
            execution["why"] = words_masked(why)
        execution |= copied
        if tags:
            execution["tag"] = tags[-1]
            counts = [rows for rows in map(rows_of, tags) if rows is not None]
            if counts:
                execution["rows"] = sum(counts)
        if sqlstate:
            execution["sqlstate"] = sqlstate
        self._executions.append(execution)

    def _name(self, text: bytes) -> str:
        digest = hashlib.sha256(text).digest()
        if digest not in self._texts:
            if len(self._texts) >= _MAX_KNOWN_TEXTS:
                self._texts.clear()
            self._named += 1
            self._texts[digest] = f"t{self._named}"
            self._unsealed[f"t{self._named}"] = text
        return self._texts[digest]

    def take(self) -> tuple[Draft, ...]:
        """Return all that waits as drafts, each no larger than an entry may be, and forget it."""
        drafts = []
        for start in range(0, len(self._executions), _PER_ENTRY):
            batch = self._executions[start : start + _PER_ENTRY]
            names = {str(execution["text"]) for execution in batch}
            sealed = {name: self._unsealed.pop(name) for name in sorted(names & self._unsealed.keys())}
            drafts.append(Draft(EntryType.FORWARDED, {"executions": list(batch)}, session=self._session, sealed=sealed))
        self._executions.clear()
        return tuple(drafts)

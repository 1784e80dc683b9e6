"""A preview in the making: questions are put one by one, and what each says is kept with how and when it was obtained.

Texts of questions enter; what becomes the body of a `preview` entry leaves. Each question has a savepoint and a limit
of time of its own, so that one that fails leaves the next ones asked, and is noted as a failure, never as zero.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pgnotary.ledger.canonical import JSON, MAX_INT, encode, timestamp
from pgnotary.request.cascades import MOST
from pgnotary.request.conditions import in_words
from pgnotary.session.inject import put
from pgnotary.session.parameters import bound_to
from pgnotary.session.sent import Sent
from pgnotary.session.state import SessionState
from pgnotary.session.steps import Answer, Step, ask

__all__ = ["Figures", "total"]

_FIRST = b"SAVEPOINT pgnotary_figure"
_NEXT = b"ROLLBACK TO SAVEPOINT pgnotary_figure"
# JIT would take a hundred times as long to compile the question about the catalog as the server takes to answer it.
_NO_JIT = b"SET LOCAL jit = off"
_BUDGET = 5
"""How many limits of one question all of them may take together; what is left is not asked."""
_MAX_LISTS_BYTES = 48_000
"""Of an entry's 65,535: what else is said in a preview stands beside its lists."""
_MAX_WHY = 2_000


@dataclass(slots=True)
class Figures:
    """What is known so far."""

    state: SessionState
    types: Sequence[int]
    sent: Sent
    started: float
    body: dict[str, JSON] = field(default_factory=dict)
    obtained: dict[str, JSON] = field(default_factory=dict)
    lists: dict[str, list[JSON]] = field(default_factory=dict)
    """By name; each is cut to what fits when all are there."""
    why: list[str] = field(default_factory=list)
    sealed: dict[str, bytes] = field(default_factory=dict)
    asked: int = 0
    """How many questions were put in the same frame."""
    took_us: int = 0
    """What the last question took."""
    began: float = field(init=False)
    """When these were begun; `started` is when those of the whole text were."""

    def __post_init__(self) -> None:
        """Look at the clock."""
        self.began = self.state.now.monotonic

    def set(self, figure: str, rows: int, how: str) -> None:
        """Keep a number of rows; there may be more than a ledger's numbers can say."""
        self.body[figure] = min(rows, MAX_INT)
        self.note_time(figure, how)

    def note_time(self, figure: str, how: str) -> None:
        """Keep when the last question was answered, which told a figure."""
        self.obtained[figure] = {"at": timestamp(self.state.now.wall), "took_us": self.took_us, "how": how}

    def ask(self, what: str, text: bytes, *, ours: bool = False) -> Generator[Step, Any, list[str] | None]:
        """Return the only column of an answer, row by row; None if the question failed, which is then noted."""
        rows = yield from self.rows(what, text, ours=ours)
        return None if rows is None else [row[0] or "" for row in rows if row]

    def rows(
        self, what: str, text: bytes, *, ours: bool = False, executions: int | None = None
    ) -> Generator[Step, Any, Sequence[Sequence[str | None]] | None]:
        """Return the rows of an answer; None if the question failed, which is then noted.

        One that is made of the client's text is put once for each time that it is bound, or for the first `executions`.
        """
        limit = b"SET LOCAL statement_timeout = %d" % self.state.rules.preview_timeout_ms
        frame = (_NEXT if self.asked else _FIRST, limit, *((_NO_JIT,) if ours else ()))
        self.asked += 1
        started = self.state.now.monotonic
        answer = yield from put(self.state, *frame)
        if answer.error is None:
            answer = yield from self._put(text, ours=ours, executions=executions)
        self.took_us = int((self.state.now.monotonic - started) * 1_000_000)
        if answer.error is not None:
            self.why.append(f"{what} failed with {in_words(answer.error.sqlstate)}")
            return None
        return answer.rows

    def _put(self, text: bytes, *, ours: bool, executions: int | None) -> Generator[Step, Any, Answer]:
        if self.sent.extended and not ours:
            sent = self.sent if executions is None else replace(self.sent, bounds=self.sent.bounds[:executions])
            return (yield from ask(bound_to(text, self.types, sent)))
        return (yield from put(self.state, text))

    @property
    def is_late(self) -> bool:
        """Whether the questions have taken all the time that they may."""
        return self.state.now.monotonic - self.started > _BUDGET * self.state.rules.preview_timeout_ms / 1_000

    def number(self, answer: Iterable[str]) -> int | None:
        """Return the sum of an answer of numbers, or None if there is nothing or something is not known."""
        return total(int(text) if text else None for text in answer)

    def told(self, share: int = 1) -> dict[str, JSON]:
        """Return what a preview says of them, in the room that one of so many has."""
        body = self.body | self._fitting(_MAX_LISTS_BYTES // share)
        counted = body.keys() & {"exact", "at_most"}
        if self.why:
            body["why"] = "; ".join(self.why)[: _MAX_WHY // share]
        partly = counted or body.keys() & {"estimate", "takes", "lock"}
        body["status"] = "measured" if counted and not self.why else "partly" if partly else "unavailable"
        if self.obtained:
            body["obtained"] = self.obtained
        return body

    def _fitting(self, most: int) -> dict[str, JSON]:
        """Return what fits of the lists, without those that are empty; `name_more` says how many are left out."""
        shown = {name: items[:MOST] for name, items in self.lists.items() if items}
        while sum(len(encode(items)) for items in shown.values()) > most:
            longest = max(shown, key=lambda name: len(encode(shown[name])))
            shown[longest] = shown[longest][: len(shown[longest]) // 2]
        more = {f"{name}_more": len(self.lists[name]) - len(items) for name, items in shown.items()}
        body: dict[str, JSON] = dict(shown.items())
        return body | {name: number for name, number in more.items() if number}


def total(counts: Iterable[int | None]) -> int | None:
    """Return the sum, or None if there is nothing or something is not known."""
    found = list(counts)
    known = [count for count in found if count is not None]
    return sum(known) if known and len(known) == len(found) else None

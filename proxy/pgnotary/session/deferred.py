"""What COMMIT would run of its own accord, looked at again, run before it and counted: it may change any rows.

What has been fired may defer more, so it is fired until that changes nothing: without a row that is changed no trigger
is put off.

The approved statements of a block that is about to be committed enter; why it must not be leaves, or nothing. Nothing
is run for a block without a number of rows to hold it to, but what its COMMIT would run must be what was signed. What
is added here may be of any statement in the block, so it counts as other rows, against what all of its approvals
together leave room for.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from pgnotary.request.ended import Ended
from pgnotary.session.block import Pending
from pgnotary.session.changes import BEFORE, BEHIND, NOTHING, Counters, changes, counters_in
from pgnotary.session.inject import put
from pgnotary.session.state import IN_BLOCK, SessionState
from pgnotary.session.steps import Answer, Step
from pgnotary.session.waiting import WAITING, replaced, waiting_in
from pgnotary.wire.messages import Diagnostic, error_response

__all__ = ["FIRE", "Fired", "Stopped", "fire", "run_deferred"]

FIRE = b"SET CONSTRAINTS ALL IMMEDIATE"
# Who defers more often than that, from trigger to trigger, does it to hide.
_MOST_TIMES = 20


@dataclass(frozen=True, slots=True)
class Fired:
    """What has been changed when all that was deferred has run."""

    answer: Answer
    """The server's last one: an error in it is one of what has run, if `has_counted`."""
    before: Counters
    behind: Counters
    has_counted: bool
    """The server was able to count."""
    is_all: bool = True
    """Nothing is deferred any more."""


def fire(state: SessionState, question: bytes) -> Generator[Step, Any, Fired]:
    """Run what is deferred, and count before it, by this question, and behind it."""
    answer = yield from put(state, question, FIRE, BEHIND)
    if answer.error is not None:
        return Fired(answer, NOTHING, NOTHING, has_counted=len(answer.tags) == 1)
    before, behind = (counters_in([row]) for row in answer.rows)
    was = before
    for _ in range(_MOST_TIMES):
        if was.relations == behind.relations or state.status != IN_BLOCK:
            return Fired(answer, before, behind, has_counted=True)
        answer = yield from put(state, FIRE, BEHIND)
        if answer.error is not None:
            return Fired(answer, before, behind, has_counted=not answer.tags)
        was, behind = behind, counters_in(answer.rows)
    return Fired(answer, before, behind, has_counted=True, is_all=False)


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why a block must be rolled back instead."""

    answer: Answer
    """What the client is told in the place of the server's answer to its COMMIT."""
    why: str = ""
    """For the record; empty if the server has said it."""
    added: int = 0
    """How many rows what was deferred has changed."""
    ended: Ended = Ended.COMMIT_FAILED


def run_deferred(state: SessionState, pending: Sequence[Pending]) -> Generator[Step, Any, Stopped | None]:
    """Run what a block's COMMIT would run, and say why it must not be committed, if it must not."""
    if (stopped := (yield from _is_replaced(state, pending))) is not None:
        return stopped
    room = _room(pending)
    if room is None:
        return None
    fired = yield from fire(state, BEFORE)
    if fired.answer.error is not None:
        return Stopped(fired.answer)
    if state.status != IN_BLOCK:
        return None  # COMMIT will say what has become of it.
    found = changes(fired.before, fired.behind, ())
    why = found.uncountable or ("" if fired.is_all else "defers more each time that it runs")
    if why:
        return _stopped(pending, f"what is deferred to its end cannot be counted: it {why}", Ended.CEILING)
    if found.other_rows > room:
        allowed = sum(one.ceiling.max_other_rows or 0 for one in pending if one.ceiling)
        other = sum(one.other_rows for one in pending) + found.other_rows
        why = f"{other} rows affected in other tables, approved for at most {allowed} there"
        detail = f"Deferred to its end was {found.in_words}."
        return _stopped(pending, why, Ended.CEILING, added=found.other_rows, detail=detail)
    return None


def _is_replaced(state: SessionState, pending: Sequence[Pending]) -> Generator[Step, Any, Stopped | None]:
    """Say why a block must not be committed if its COMMIT would run other functions than those that were signed."""
    if not any(one.waiting for one in pending):
        return None
    answer = yield from put(state, WAITING)
    if answer.error is not None:
        return Stopped(answer)
    ((text,),) = answer.rows
    now = waiting_in(text)
    names = sorted({name for one in pending for name in replaced(one.waiting, now)})
    if not names:
        return None
    what = f"what its COMMIT would run is another function now than when it was signed: {', '.join(names[:5])}"
    return _stopped(pending, what, Ended.COMMIT_FAILED, hint="Run it again to ask again.")


def _room(pending: Sequence[Pending]) -> int | None:
    """Return how many rows more may change in other tables; None if any number may."""
    room = 0
    for one in pending:
        if one.ceiling is None or one.ceiling.max_other_rows is None:
            return None
        room += one.ceiling.max_other_rows - one.other_rows
    return room if pending else None


def _stopped(
    pending: Sequence[Pending],
    why: str,
    ended: Ended,
    *,
    added: int = 0,
    detail: str = "",
    hint: str = "Ask for a new decision over the present number.",
) -> Stopped:
    names = ", ".join(one.request for one in pending[:5])
    error = Diagnostic(
        severity="ERROR",
        sqlstate="55000",
        message=f"{names} rolled back: {why}",
        detail=f"Nothing was changed. {detail}".rstrip(),
        hint=hint,
        schema_name="pgnotary",
        constraint_name=pending[0].request,
    )
    raw = error_response(error)
    return Stopped(Answer(error=error, raw_error=raw, kept=bytearray(raw)), error.message, added, ended)

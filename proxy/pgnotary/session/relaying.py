"""Relaying one part of a text, or a whole text of one part, as its manner is: walled, counted, or as it came.

A part that policy forwards and its message enter; its answer leaves. Where something must outlive the wall (a cursor, a
lock, a setting), or must write, the server counts what was done; what the part does not say is raised as an error, and
the caller must undo it, or let the client's block fail.
"""

from collections.abc import Generator
from typing import Any

from pgnotary.errors import StatementError
from pgnotary.judge.statement import Part
from pgnotary.session.block import Pending
from pgnotary.session.counted import Unsaid, count, unsaid
from pgnotary.session.manner import Manner
from pgnotary.session.same import mark_anew, require_same_transaction
from pgnotary.session.sent import Sent
from pgnotary.session.state import IN_BLOCK, SessionState
from pgnotary.session.steps import Answer, Keep, Step, relay
from pgnotary.session.wall import close_wall, open_wall, undo_wall

__all__ = ["Withdrawn", "relay_part"]


class Withdrawn(StatementError):
    """The client took it back before anything of it was sent."""

    sqlstate = "57014"

    def __init__(self, detail: str = "") -> None:
        super().__init__("canceling statement due to user request", detail=detail)


def relay_part(
    state: SessionState,
    part: Part,
    manner: Manner,
    sent: Sent,
    *,
    keep: Keep = Keep.NOTHING,
) -> Generator[Step, Any, Answer]:
    """Relay a part; raises StatementError if it did what it does not say, or may have."""
    if state.status != IN_BLOCK:
        # Outside a block the session is read only; in a failed one the server refuses it.
        return (yield from relay(sent, keep=keep))
    match manner:
        case Manner.COUNTED:
            return (yield from _relay_counted(state, part, sent, keep))
        case Manner.KEPT:
            return (yield from _relay_kept(state, part, sent, keep))
        case Manner.WALLED:
            yield from open_wall(state)
            answer = yield from relay(sent, keep=keep)
            if answer.error is None:
                yield from undo_wall(state)
            return answer
        case Manner.READ_WRITE if state.block and state.block.pending:
            return (yield from _relay_beside_signed(state, state.block.pending[-1], sent, keep))
        case _:
            return (yield from relay(sent, keep=keep))


def _relay_beside_signed(state: SessionState, pending: Pending, sent: Sent, keep: Keep) -> Generator[Step, Any, Answer]:
    """Relay what policy lets run any code, in a block whose end decides about something signed."""
    yield from mark_anew(state, pending.mark)
    answer = yield from relay(sent, keep=keep)
    if answer.error is None:
        yield from require_same_transaction(state, pending.xid, pending.mark)
    return answer


def _relay_kept(state: SessionState, part: Part, sent: Sent, keep: Keep) -> Generator[Step, Any, Answer]:
    yield from open_wall(state)
    try:
        answer = yield from _relay_counted(state, part, sent, keep)
    except StatementError:
        yield from undo_wall(state)
        raise
    if answer.error is None:
        yield from close_wall(state)
    return answer


def _relay_counted(state: SessionState, part: Part, sent: Sent, keep: Keep) -> Generator[Step, Any, Answer]:
    before = yield from count(state, part, ran=False)
    if state.cancelled:
        raise Withdrawn
    answer = yield from relay(sent, keep=Keep.COMPLETION if keep is Keep.NOTHING else keep)
    if answer.error is None:
        after = yield from count(state, part, ran=True)
        if (after.path, after.role) != (state.scope.path, state.scope.role):
            state.scope_stale = True
            if state.block:
                state.block.rescoped = True
        if done := unsaid(part, before, after):
            # Whatever was believed of the database was wrong.
            state.changed()
            state.scope_stale = True
            raise Unsaid(done)
    if keep is Keep.NOTHING:
        state.tell(answer.released())
    return answer

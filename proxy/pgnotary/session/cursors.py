"""Cursors that outlive what declared them, and changes in the same transaction: which COMMIT cannot have both.

A statement and its verdict enter; why they cannot go together leaves, or nothing. COMMIT runs the query of a cursor
WITH HOLD, and what else a driver's portal has left behind; so it is made read only, and cannot write what was changed.
"""

from collections.abc import Generator
from typing import Any

from pgnotary.errors import StatementError
from pgnotary.judge.policy import Verdict
from pgnotary.judge.rules import Action
from pgnotary.judge.statement import Statement
from pgnotary.session.inject import put
from pgnotary.session.manner import manner_of
from pgnotary.session.state import IN_BLOCK, SessionState
from pgnotary.session.steps import Step

__all__ = ["CursorOpen", "cursor_beside_change"]

_LEFT = (
    b"SELECT name FROM pg_catalog.pg_cursors WHERE is_holdable "
    b"AND creation_time OPERATOR(pg_catalog.>=) pg_catalog.transaction_timestamp()"
)


class CursorOpen(StatementError):
    """COMMIT must be read only for the cursor, and must write for the change."""

    sqlstate = "55000"


def cursor_beside_change(
    state: SessionState, statement: Statement, verdict: Verdict
) -> Generator[Step, Any, CursorOpen | None]:
    """Return why a statement cannot run in this transaction, or None if no cursor is in the way."""
    block = state.block
    held = verdict.action is Action.HOLD
    if block and block.loose and held:
        return CursorOpen(
            "a portal of the driver's that has outlived its read and a change cannot share a transaction",
            hint="Make the change in a transaction of its own, or before anything is fetched in portions.",
        )
    writes = held or any(manner_of(part, unwalled=verdict.unwalled).writes for part in statement.parts)
    # One that is held itself is signed with what its query does.
    holds = any(part.with_hold and (part.harmless or not held) for part in statement.parts)
    if (writes and (holds or (yield from _is_left(state)))) or (holds and block and block.must_write):
        return CursorOpen(
            "a cursor WITH HOLD and a change cannot share a transaction: COMMIT runs the cursor's query",
            detail="What nextval(), row locks and temporary tables do counts as a change.",
            hint="COMMIT between them, or CLOSE the cursor first.",
        )
    return None


def _is_left(state: SessionState) -> Generator[Step, Any, bool]:
    """Say whether a cursor WITH HOLD that was declared in the block is still there."""
    block = state.block
    if block is None or not block.holds_cursor or state.status != IN_BLOCK:
        return False
    answer = yield from put(state, _LEFT)
    block.holds_cursor = answer.error is not None or bool(answer.rows)
    return block.holds_cursor

"""Saying no, the way PostgreSQL would: the error, and the transaction it fails. ReadyForQuery is the caller's to send.

Inside a transaction block a refusal must leave the block failed, as a real error would: PostgreSQL is sent a Bind of a
statement that does not exist, which fails and does nothing else.
"""

from collections.abc import Generator
from typing import Any

from pgnotary.errors import NotSupported, StatementError, UpstreamProtocolError
from pgnotary.judge.policy import Verdict
from pgnotary.judge.statement import Control, Statement
from pgnotary.session.state import FAILED, IDLE, IN_BLOCK, SessionState
from pgnotary.session.steps import Flow, Step, ask
from pgnotary.session.told import Told
from pgnotary.wire.messages import SYNC, bind_unknown_statement

__all__ = ["BlockFailed", "by_policy", "fail_block", "may_end_block", "refuse"]

_NO_SUCH_STATEMENT = b"pgnotary_refused"


class BlockFailed(StatementError):
    """What PostgreSQL answers in a failed block."""

    sqlstate = "25P02"

    def __init__(self) -> None:
        super().__init__("current transaction is aborted, commands ignored until end of transaction block")


def by_policy(verdict: Verdict, fate: str = "Nothing was sent.") -> NotSupported:
    """Return the error of a text that policy refuses, and what became of it."""
    return NotSupported(f"refused by pgnotary: {verdict.reason}", detail=f"Rule {verdict.rule}. {fate}")


def may_end_block(state: SessionState, statement: Statement) -> bool:
    """Say whether a text is a plain ROLLBACK, which undoes: it may pass even when nothing can be recorded."""
    return state.status != IDLE and len(statement.parts) == 1 and statement.parts[0].control is Control.ROLLBACK


def fail_block(state: SessionState) -> Flow:
    """Leave an open block failed; nothing to do outside one."""
    if state.status == IN_BLOCK:
        yield from ask(bind_unknown_statement(_NO_SUCH_STATEMENT) + SYNC)
        if state.status != FAILED:
            raise UpstreamProtocolError(f"a failing message left the transaction status at {state.status!r}")


def refuse(
    state: SessionState, error: StatementError, request: str = "", *, sqlstate: str = ""
) -> Generator[Step, Any, Told]:
    """Answer with an error, and return that."""
    yield from fail_block(state)
    state.error(error, request, sqlstate=sqlstate)
    return Told.ERROR

"""Saying no, the way PostgreSQL would: the error, and the transaction it fails. ReadyForQuery is the caller's to send.

Inside a transaction block a refusal must leave the block failed, as a real error would: PostgreSQL is sent a Bind of a
statement that does not exist, which fails and does nothing else.
"""

from collections.abc import Generator
from typing import Any

from pgnotary.errors import StatementError, UpstreamProtocolError
from pgnotary.session.state import FAILED, IN_BLOCK, SessionState
from pgnotary.session.steps import Flow, Step, ask
from pgnotary.session.told import Told
from pgnotary.wire.messages import SYNC, bind_unknown_statement

__all__ = ["fail_block", "refuse"]

_NO_SUCH_STATEMENT = b"pgnotary_refused"


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

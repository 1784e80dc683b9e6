"""Saying no, the way PostgreSQL would: the error, the transaction it fails, ReadyForQuery.

Inside a transaction block a refusal must leave the block failed, as a real error would: PostgreSQL is sent a Bind of a
statement that does not exist, which fails and does nothing else.
"""

from pgnotary.errors import NotSupported, StatementError, UpstreamProtocolError
from pgnotary.judge.statement import StatementClass
from pgnotary.session.state import FAILED, IN_BLOCK, SessionState
from pgnotary.session.steps import Flow, ask
from pgnotary.wire.messages import SYNC, bind_unknown_statement

__all__ = ["fail_block", "refuse", "refuse_function_call"]

_NO_SUCH_STATEMENT = b"pgnotary_refused"


def fail_block(state: SessionState) -> Flow:
    """Leave an open block failed; nothing to do outside one."""
    if state.status == IN_BLOCK:
        yield from ask(bind_unknown_statement(_NO_SUCH_STATEMENT) + SYNC)
        if state.status != FAILED:
            raise UpstreamProtocolError(f"a failing message left the transaction status at {state.status!r}")


def refuse(state: SessionState, error: StatementError, request: str = "", *, sqlstate: str = "") -> Flow:
    """Answer a simple query with an error."""
    yield from fail_block(state)
    state.error(error, request, sqlstate=sqlstate)
    state.ready()


def refuse_function_call(state: SessionState) -> Flow:
    """Answer a FunctionCall, which names no SQL that anybody could read."""
    state.note_refusal(b"", StatementClass.UNKNOWN, NotSupported.sqlstate)
    yield from refuse(
        state,
        NotSupported("FunctionCall is not carried by pgnotary yet", hint="Call the function in a SELECT."),
    )

"""FunctionCall, which names no SQL that anybody could read: it is refused, once what a batch has left open is ended."""

from pgnotary.errors import NotSupported
from pgnotary.judge.statement import StatementClass
from pgnotary.session.query import finish_batch
from pgnotary.session.refuse import refuse
from pgnotary.session.state import SessionState
from pgnotary.session.steps import Flow
from pgnotary.session.told import Told

__all__ = ["on_function_call"]


def on_function_call(state: SessionState) -> Flow:
    """Answer a FunctionCall."""
    if (yield from finish_batch(state)) is not Told.ERROR:
        state.note_refusal(b"", StatementClass.UNKNOWN, NotSupported.sqlstate)
        error = NotSupported("FunctionCall is not carried by pgnotary yet", hint="Call the function in a SELECT.")
        yield from refuse(state, error)
    state.ready()

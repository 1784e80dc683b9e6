"""FunctionCall, which names a function by its oid and no SQL: those that read a large object are carried.

A FunctionCall enters, once what a batch has left open is ended; its answer and ReadyForQuery leave. Policy judges it as
the SELECT that would do the same. What is not on the list is refused: nobody could be shown what it would do.
"""

from types import MappingProxyType

from pgnotary.errors import (
    ClientProtocolError,
    LedgerUnavailable,
    NotSupported,
    StatementError,
    UpstreamProtocolError,
)
from pgnotary.judge.rules import Action
from pgnotary.judge.statement import StatementClass
from pgnotary.session.forward import note, note_lost
from pgnotary.session.query import await_record, finish_batch
from pgnotary.session.refuse import BlockFailed, by_policy, refuse
from pgnotary.session.sent import Sent
from pgnotary.session.state import FAILED, SessionState
from pgnotary.session.steps import Flow, UpstreamLost, relay
from pgnotary.session.told import Told
from pgnotary.wire import messages
from pgnotary.wire.frames import Frame

__all__ = ["on_function_call"]

# src/include/catalog/pg_proc.dat. None of them writes, or calls anything: a descriptor that is open for writing needs
# lowrite() or lo_truncate() to write, which are not here and are held as SQL.
_CARRIED = MappingProxyType(
    {
        952: b"SELECT pg_catalog.lo_open($1, $2)",
        953: b"SELECT pg_catalog.lo_close($1)",
        954: b"SELECT pg_catalog.loread($1, $2)",
        956: b"SELECT pg_catalog.lo_lseek($1, $2, $3)",
        958: b"SELECT pg_catalog.lo_tell($1)",
        3170: b"SELECT pg_catalog.lo_lseek64($1, $2, $3)",
        3171: b"SELECT pg_catalog.lo_tell64($1)",
    }
)
_READS = b"SELECT pg_catalog.loread($1, $2)"
"""What policy is asked about: who may read a large object may open and close it, too."""


def on_function_call(state: SessionState, frame: Frame) -> Flow:
    """Answer a FunctionCall."""
    if (yield from finish_batch(state)) is Told.ERROR:
        state.ready()
        return
    yield from await_record(state)
    text, objection = _read(frame)
    if (objection := objection or _objection(state, text)) is not None:
        if not isinstance(objection, LedgerUnavailable | BlockFailed):
            state.note_refusal(text, StatementClass.SELECT if text else StatementClass.UNKNOWN, objection.sqlstate)
        yield from refuse(state, objection)
    else:
        started = state.now
        if state.block:
            state.block.statements += 1
        try:
            answer = yield from relay(Sent(text, frame.raw))
        except (UpstreamLost, UpstreamProtocolError):
            note_lost(state, text, state.judge(_READS)[1], started)
            raise
        sqlstate = (answer.error.sqlstate or "XX000") if answer.error else ""
        note(state, text, state.judge(_READS)[1], started, answer.tags, sqlstate)
    state.ready()


def _read(frame: Frame) -> tuple[bytes, StatementError | None]:
    """Return the SELECT that it stands for, if it is carried; or that it names no function, which ends no session."""
    try:
        return _CARRIED.get(messages.called_function(frame.body), b""), None
    except ClientProtocolError as error:
        return b"", error


def _objection(state: SessionState, text: bytes) -> StatementError | None:
    if state.ledger_down is not None:
        return state.ledger_down
    if state.status == FAILED:
        return BlockFailed()
    if not text:
        return NotSupported(
            "pgnotary carries a FunctionCall only of what reads a large object", hint="Call the function in a SELECT."
        )
    _, verdict = state.judge(_READS)
    if verdict.action is Action.REFUSE:
        return by_policy(verdict)
    if verdict.action is not Action.FORWARD:
        return NotSupported(
            f"a FunctionCall cannot be held, and policy holds what it does: {verdict.reason}",
            hint="Call the function in a SELECT.",
        )
    return None

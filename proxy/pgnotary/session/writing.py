"""Forwarding what may write outside a block: in a read-write transaction of ours that is committed before the answer.

A simple query that policy lets pass enters; its answer leaves once COMMIT has answered, because a deferred constraint
fails there. The session itself stays read only. What PostgreSQL runs only outside a block goes between two SETs; if the
second one does not come true, the session ends.
"""

from collections.abc import Generator, Sequence
from typing import Any

from pgnotary.errors import StatementError, UpstreamProtocolError
from pgnotary.judge.statement import Statement
from pgnotary.session.block import Block
from pgnotary.session.control import OutcomeUnknown
from pgnotary.session.inject import put
from pgnotary.session.manner import Manner
from pgnotary.session.relaying import relay_part
from pgnotary.session.sent import Sent, query_of
from pgnotary.session.state import IDLE, IN_BLOCK, SessionState
from pgnotary.session.steps import Answer, Flow, Keep, Step, UpstreamLost, relay

__all__ = ["READ_WRITE_SESSION", "open_own_block", "relay_in_own_block", "relay_outside_block", "runs_outside_block"]

_BEGIN = (b"BEGIN", b"SET TRANSACTION READ WRITE")
READ_WRITE_SESSION = (b"SET default_transaction_read_only = off", b"SET default_transaction_read_only = on")
"""What opens and closes the time in which a session may write without a block."""
_MAY_COMMIT = frozenset({"CallStmt", "DoStmt"})


class _NotCommitted(StatementError):
    sqlstate = "55000"


def runs_outside_block(statement: Statement) -> bool:
    """Say whether a text may run outside a transaction block only, or may end transactions itself."""
    return statement.runs_outside_blocks or (len(statement.parts) == 1 and statement.parts[0].node in _MAY_COMMIT)


def relay_outside_block(state: SessionState, sent: Sent) -> Generator[Step, Any, Answer]:
    """Relay a statement while the session may write, and take that right back before anything else is done."""
    opening, closing = READ_WRITE_SESSION
    state.pin_moves = True
    opened = yield from put(state, opening)
    if opened.error is not None:
        raise UpstreamProtocolError(f"the session could not be made read-write: {opened.error}")
    answer = yield from relay(sent, keep=Keep.COMPLETION)
    closed = yield from put(state, closing)
    if closed.error is not None or state.status != IDLE:
        raise UpstreamProtocolError(f"the session could not be made read only again: {closed.error}")
    state.pin_moves = False
    return answer


def open_own_block(state: SessionState) -> Flow:
    """Open a block of ours around the rest of a batch; read-only if the client is."""
    read_only = state.is_read_only
    yield from _begin(state, read_only=read_only)
    state.block = Block(own=True, read_only=read_only)
    state.encoding.begin()


def _begin(state: SessionState, *, read_only: bool = False) -> Flow:
    opened = yield from put(state, *_BEGIN[: 1 if read_only else 2])
    if opened.error is not None or state.status != IN_BLOCK:
        raise UpstreamProtocolError(f"no read-write transaction could be opened: {opened.error}")


def relay_in_own_block(
    state: SessionState, statement: Statement, sent: Sent, manners: Sequence[Manner]
) -> Generator[Step, Any, Answer]:
    """Relay a text in a block of ours; what is kept of its answer may be told when this returns."""
    yield from _begin(state)
    try:
        answer = yield from _run(state, statement, sent, manners)
    except StatementError:
        yield from put(state, b"ROLLBACK")
        if state.status != IDLE:
            raise UpstreamProtocolError("a transaction of ours could not be rolled back") from None
        raise
    if answer.error is not None or answer.overflowed:
        ended = yield from put(state, b"ROLLBACK")
    elif state.status != IN_BLOCK:
        raise UpstreamProtocolError("the statement ended or changed the transaction that it ran in")
    else:
        try:
            ended = yield from put(state, b"COMMIT")
        except UpstreamLost as lost:
            raise OutcomeUnknown("the server went away during COMMIT: whether it committed is not known") from lost
    if state.status != IDLE:
        raise UpstreamProtocolError(f"a transaction of ours could not be ended: {ended.error}")
    if answer.overflowed:
        raise _NotCommitted("rolled back: more results follow the first one than can be kept back")
    if answer.error is None and ended.error is not None:
        answer.kept = bytearray(ended.raw_error)
        answer.error, answer.tags = ended.error, []
    return answer


def _run(
    state: SessionState, statement: Statement, sent: Sent, manners: Sequence[Manner]
) -> Generator[Step, Any, Answer]:
    if len(statement.parts) == 1:
        return (yield from relay_part(state, statement.parts[0], manners[0], sent, keep=Keep.COMPLETION))
    whole = Answer()
    for part, manner in zip(statement.parts, manners, strict=True):
        answer = yield from relay_part(state, part, manner, query_of(statement.slice(part)), keep=Keep.ALL)
        if not whole.take(answer):
            break
    return whole

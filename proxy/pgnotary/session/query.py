"""A simple query: judged as one, then forwarded, held or refused as one.

A Query message enters; one flow answers it, ending in exactly one ReadyForQuery. In a failed block nothing is forwarded
but the transaction control that can end it. While the ledger is down nothing is but a ROLLBACK.
"""

from contextlib import suppress

from pgnotary.errors import InvalidText, LedgerUnavailable, NotSupported, StatementError
from pgnotary.judge.refusals import moves_savepoints
from pgnotary.judge.rules import Action
from pgnotary.judge.settings import Ruling, ruling
from pgnotary.judge.statement import Control, Statement, StatementClass
from pgnotary.session.control import control, control_all
from pgnotary.session.cursors import cursor_beside_change
from pgnotary.session.forward import forward, forward_bracket
from pgnotary.session.hold import hold
from pgnotary.session.judged import judged, stopped_by_wall
from pgnotary.session.refuse import refuse
from pgnotary.session.state import FAILED, IDLE, SessionState
from pgnotary.session.steps import Flow, ask, await_room
from pgnotary.session.virtual import change_default
from pgnotary.wire.frames import Frame
from pgnotary.wire.messages import SYNC, query_text

__all__ = ["await_record", "on_query", "sync"]

_NEVER_READ_ONLY = frozenset(
    {
        StatementClass.INSERT,
        StatementClass.UPDATE,
        StatementClass.DELETE,
        StatementClass.MERGE,
        StatementClass.TRUNCATE,
        StatementClass.CREATE,
        StatementClass.DROP,
        StatementClass.GRANT,
        StatementClass.SEQUENCE,
    }
)
_ENDS_FAILED_BLOCK = frozenset({Control.COMMIT, Control.ROLLBACK, Control.ROLLBACK_TO})


class _BlockFailed(StatementError):
    sqlstate = "25P02"


class _ReadOnly(StatementError):
    """Why ask people, if the server will say no?"""

    sqlstate = "25006"


class _InsideBlock(StatementError):
    """The server would say the same, but only after people have been asked."""

    sqlstate = "25001"


def _doomed(statement: Statement) -> str:
    """Return the kind of a statement that no read-only transaction runs, or "" if some parts might run."""
    kinds = [part.kind for part in statement.parts if not part.harmless and not part.control]
    return kinds[0].value.upper() if kinds and _NEVER_READ_ONLY.issuperset(kinds) else ""


def on_query(state: SessionState, frame: Frame) -> Flow:
    """Answer one Query message."""
    text = query_text(frame.body)
    state.extended = False
    yield from sync(state)
    state.names.run_simple_query()
    yield from await_record(state)
    try:
        statement, verdict = yield from judged(state, text)
    except InvalidText as error:
        state.note_refusal(text, StatementClass.UNKNOWN, error.sqlstate)
        yield from refuse(state, error)
        return
    except StatementError as error:
        yield from refuse(state, error)
        return
    if state.ledger_down is not None and not _may_end_block(state, statement):
        yield from refuse(state, state.ledger_down)
    elif state.status == FAILED and not _may_run_in_failed_block(statement):
        yield from refuse(
            state,
            _BlockFailed("current transaction is aborted, commands ignored until end of transaction block"),
        )
    elif verdict.action is Action.REFUSE:
        state.note_refusal(text, verdict.kind, NotSupported.sqlstate)
        yield from refuse(
            state,
            NotSupported(f"refused by pgnotary: {verdict.reason}", detail=f"Rule {verdict.rule}. Nothing was sent."),
        )
    elif len(statement.parts) > 1 and moves_savepoints(statement):
        yield from control_all(state, statement)
    elif len(statement.parts) > 1 and statement.parts[0].control and state.status != IDLE:
        state.note_refusal(text, verdict.kind, NotSupported.sqlstate)
        yield from refuse(
            state,
            NotSupported("BEGIN; ...; COMMIT in one message is carried only outside a transaction block"),
        )
    elif (part := statement.parts[0]).setting and ruling(part.setting) is Ruling.VIRTUAL:
        yield from change_default(state, part.setting)
    elif statement.runs_outside_blocks and state.status != IDLE:
        state.note_refusal(text, verdict.kind, _InsideBlock.sqlstate)
        kind = statement.parts[0].kind.value.upper()
        yield from refuse(state, _InsideBlock(f"{kind} cannot run inside a transaction block"))
    elif verdict.action is Action.HOLD and state.is_read_only and (doomed := _doomed(statement)):
        state.note_refusal(text, verdict.kind, _ReadOnly.sqlstate)
        yield from refuse(state, _ReadOnly(f"cannot execute {doomed} in a read-only transaction"))
    elif (cursor := (yield from cursor_beside_change(state, statement, verdict))) is not None:
        state.note_refusal(text, verdict.kind, cursor.sqlstate)
        yield from refuse(state, cursor)
    elif verdict.action is Action.HOLD:
        yield from hold(state, statement, verdict, frame)
    elif len(statement.parts) > 1 and statement.parts[0].control:
        yield from forward_bracket(state, statement, verdict)
    elif statement.parts[0].control:
        yield from control(state, statement, frame)
    elif not (yield from forward(state, statement, verdict, frame)):
        yield from hold(state, *stopped_by_wall(statement), frame)


def await_record(state: SessionState) -> Flow:
    """Wait until what has run can be noted; if the ledger goes down meanwhile, what follows says so."""
    if state.log.full:
        with suppress(LedgerUnavailable):
            yield from await_room()


def sync(state: SessionState) -> Flow:
    """End what extended messages have left open on the server: reads, so nothing is lost by it."""
    if state.unsynced:
        yield from ask(SYNC)
        state.unsynced = False
        if state.status == IDLE:
            state.names.end_transaction()


def _may_run_in_failed_block(statement: Statement) -> bool:
    part = statement.parts[0]
    if len(statement.parts) > 1:
        return part.control is Control.ROLLBACK_TO and moves_savepoints(statement)
    return part.control in _ENDS_FAILED_BLOCK or part.kind is StatementClass.EMPTY


def _may_end_block(state: SessionState, statement: Statement) -> bool:
    """A plain ROLLBACK undoes; it may pass even when nothing can be recorded."""
    return state.status != IDLE and len(statement.parts) == 1 and statement.parts[0].control is Control.ROLLBACK

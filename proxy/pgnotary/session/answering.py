"""Answering one text: judged as one, then forwarded, held or refused as one.

What the client has sent to have it run enters; what the client was told of it leaves. In a failed block nothing is
forwarded but the transaction control that can end it. While the ledger is down nothing is but a ROLLBACK.
"""

from collections.abc import Generator
from typing import Any

from pgnotary.errors import InvalidText, NotSupported, StatementError
from pgnotary.judge.policy import Verdict
from pgnotary.judge.refusals import moves_savepoints
from pgnotary.judge.rules import Action
from pgnotary.judge.settings import Ruling, ruling
from pgnotary.judge.statement import Control, Statement, StatementClass
from pgnotary.session.control import control, control_all
from pgnotary.session.cursors import cursor_beside_change
from pgnotary.session.forward import forward, forward_bracket
from pgnotary.session.hold import hold
from pgnotary.session.judged import judged, stopped_by_wall
from pgnotary.session.refuse import BlockFailed, by_policy, may_end_block, refuse
from pgnotary.session.sent import Sent, copying
from pgnotary.session.state import FAILED, IDLE, SessionState
from pgnotary.session.steps import Step
from pgnotary.session.told import Told
from pgnotary.session.two_phase import CannotEnd, forward_end, look_behind, prepare
from pgnotary.session.unreadable import rejected
from pgnotary.session.virtual import change_default
from pgnotary.session.virtual_encoding import change_encoding, changes_encoding, misses_encoding

__all__ = ["answer", "may_run_in_failed_block", "run"]

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
        StatementClass.COPY_IN,
    }
)
_ENDS_FAILED_BLOCK = frozenset({Control.COMMIT, Control.ROLLBACK, Control.ROLLBACK_TO, Control.PREPARE})


class _ReadOnly(StatementError):
    """Why ask people, if the server will say no?"""

    sqlstate = "25006"


class _InsideBlock(StatementError):
    """The server would say the same, but only after people have been asked."""

    sqlstate = "25001"


def _doomed(statement: Statement) -> str:
    """Return the kind of a statement that no read-only transaction runs, or "" if some parts might run."""
    kinds = [part.kind for part in statement.parts if not part.harmless and not part.control]
    if not kinds or not _NEVER_READ_ONLY.issuperset(kinds):
        return ""
    return "COPY FROM" if kinds[0] is StatementClass.COPY_IN else kinds[0].value.upper()


def answer(state: SessionState, sent: Sent) -> Generator[Step, Any, Told]:
    """Answer one text, whatever becomes of it; the ReadyForQuery is the caller's to send."""
    try:
        statement, verdict = yield from judged(state, sent.text)
    except StatementError as error:
        if isinstance(error, InvalidText):
            state.note_refusal(sent.text, StatementClass.UNKNOWN, error.sqlstate)
        return (yield from refuse(state, error))
    if state.ledger_down is not None and not may_end_block(state, statement):
        return (yield from refuse(state, state.ledger_down))
    if state.status == FAILED and not may_run_in_failed_block(statement):
        return (yield from refuse(state, BlockFailed()))
    if (rejection := (yield from rejected(state, statement, verdict))) is not None:
        state.note_refusal(sent.text, verdict.kind, rejection.sqlstate)
        state.tell(rejection.raw)
        return Told.ERROR
    if (objection := (yield from _objection(state, statement, verdict))) is not None:
        state.note_refusal(sent.text, verdict.kind, objection.sqlstate)
        return (yield from refuse(state, objection))
    if statement.parts[0].ends:
        try:
            statement, verdict = yield from look_behind(state, statement, verdict)
        except CannotEnd as error:
            state.note_refusal(sent.text, verdict.kind, error.sqlstate)
            return (yield from refuse(state, error))
    if statement.parts[0].wants_copy_data:
        sent = copying(sent)
    return (yield from run(state, statement, verdict, sent))


def _objection(
    state: SessionState, statement: Statement, verdict: Verdict
) -> Generator[Step, Any, StatementError | None]:
    """Return why neither people nor the server need to be asked about a text, or None."""
    several = len(statement.parts) > 1
    first = statement.parts[0]
    if verdict.action is Action.REFUSE:
        return by_policy(verdict)
    if several and first.control and state.status != IDLE and not moves_savepoints(statement):
        return NotSupported("BEGIN; ...; COMMIT in one message is carried only outside a transaction block")
    if not several and first.setting and ruling(first.setting) is Ruling.VIRTUAL:
        return None
    if (untrue := misses_encoding(state, statement)) is not None:
        return untrue
    if statement.runs_outside_blocks and state.status != IDLE:
        return _InsideBlock(f"{first.command} cannot run inside a transaction block")
    if verdict.action is Action.HOLD and state.is_read_only and (doomed := _doomed(statement)):
        return _ReadOnly(f"cannot execute {doomed} in a read-only transaction")
    return (yield from cursor_beside_change(state, statement, verdict))


def run(state: SessionState, statement: Statement, verdict: Verdict, sent: Sent) -> Generator[Step, Any, Told]:
    """Answer one text that has been judged, and that nothing speaks against."""
    several = len(statement.parts) > 1
    first = statement.parts[0]
    if several and moves_savepoints(statement):
        return (yield from control_all(state, statement))
    if first.setting and changes_encoding(statement):
        return (yield from change_encoding(state, first.setting, sent))
    if not several and first.setting and ruling(first.setting) is Ruling.VIRTUAL:
        return (yield from change_default(state, first.setting, sent))
    if verdict.action is Action.HOLD:
        return (yield from hold(state, statement, verdict, sent))
    if several and first.control:
        return (yield from forward_bracket(state, statement, verdict))
    if first.control is Control.PREPARE:
        return (yield from prepare(state, statement, verdict, sent))
    if first.control:
        return (yield from control(state, statement, sent))
    if first.ends:
        return (yield from forward_end(state, statement, verdict, sent))
    if (told := (yield from forward(state, statement, verdict, sent))) is not None:
        return told
    statement, verdict = stopped_by_wall(state, statement)
    if verdict.action is Action.REFUSE:
        state.note_refusal(sent.text, verdict.kind, NotSupported.sqlstate)
        return (yield from refuse(state, by_policy(verdict, "Nothing was changed.")))
    return (yield from hold(state, statement, verdict, sent))


def may_run_in_failed_block(statement: Statement) -> bool:
    """Say whether the server carries a statement out in a block that has failed: what ends the block, or nothing."""
    part = statement.parts[0]
    if len(statement.parts) > 1:
        return part.control is Control.ROLLBACK_TO and moves_savepoints(statement)
    return part.control in _ENDS_FAILED_BLOCK or part.kind is StatementClass.EMPTY

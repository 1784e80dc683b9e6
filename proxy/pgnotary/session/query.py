"""A simple query: what a batch has left open is ended, then its text is answered, up to exactly one ReadyForQuery."""

from collections.abc import Generator
from contextlib import suppress
from typing import Any

from pgnotary.errors import LedgerUnavailable
from pgnotary.judge.policy import Verdict
from pgnotary.judge.statement import Control, Statement
from pgnotary.session.answering import answer, run
from pgnotary.session.control import end_own_block
from pgnotary.session.sent import Sent, of_query
from pgnotary.session.state import IDLE, SessionState
from pgnotary.session.steps import Flow, Step, ask, await_room
from pgnotary.session.told import Told
from pgnotary.wire.frames import Frame
from pgnotary.wire.messages import SYNC

__all__ = ["await_record", "finish_batch", "on_judged", "on_query", "sync"]


def on_query(state: SessionState, frame: Frame) -> Flow:
    """Answer one Query message."""
    sent = of_query(frame)
    state.extended = False
    if (yield from finish_batch(state)) is Told.ERROR:
        state.ready()
        return
    state.names.run_simple_query()
    yield from await_record(state)
    if (yield from answer(state, sent)) is not Told.NOTHING:
        state.ready()


def on_judged(state: SessionState, statement: Statement, verdict: Verdict, sent: Sent) -> Flow:
    """Answer one Query message that has been judged, and that nothing speaks against."""
    if (yield from run(state, statement, verdict, sent)) is not Told.NOTHING:
        state.ready()


def await_record(state: SessionState) -> Flow:
    """Wait until what has run can be noted; if the ledger goes down meanwhile, what follows says so."""
    if state.log.full:
        with suppress(LedgerUnavailable):
            yield from await_room()


def finish_batch(state: SessionState) -> Generator[Step, Any, Told]:
    """End what a batch has left open, as its Sync would: what it changed is committed, and if not, the error told."""
    state.unfinished = ()
    if state.block is None or not state.block.own:
        yield from sync(state)
        return Told.RESULT
    try:
        error = yield from end_own_block(state, Control.COMMIT)
    except LedgerUnavailable as down:
        state.error(down)
        return Told.ERROR
    state.tell(error)
    return Told.ERROR if error else Told.RESULT


def sync(state: SessionState) -> Flow:
    """End what extended messages have left open on the server: reads, so nothing is lost by it."""
    if state.unsynced:
        yield from ask(SYNC)
        state.unsynced = False
        if state.status == IDLE:
            state.names.end_transaction()

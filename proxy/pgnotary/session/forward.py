"""Forwarding what was judged harmless, behind the read-only wall.

Outside a block the session's own default_transaction_read_only is the wall. Inside the client's read-write block each
read runs in a savepoint that is read only, so that a view or an operator which reaches a writing function fails with
25006 there too. What was forwarded is noted for the ledger.
"""

from collections.abc import Generator
from typing import Any

from pgnotary.errors import UpstreamProtocolError
from pgnotary.judge.statement import Part, Statement, StatementClass
from pgnotary.session.control import run_control
from pgnotary.session.events import Now
from pgnotary.session.inject import inject
from pgnotary.session.state import IN_BLOCK, SessionState
from pgnotary.session.steps import Answer, Flow, Keep, Step, ask, relay
from pgnotary.wire.frames import Frame
from pgnotary.wire.messages import query

__all__ = ["forward", "forward_bracket", "note", "relay_walled"]

_OPENING = (b"SAVEPOINT pgnotary_read", b"SET LOCAL transaction_read_only = on")
_CLOSING = b"RELEASE SAVEPOINT pgnotary_read"

# They run code of the database: functions, operators, casts, views. SHOW and SET do not.
_RUNS_CODE = frozenset({StatementClass.SELECT, StatementClass.EXPLAIN, StatementClass.COPY_OUT})


def forward(state: SessionState, statement: Statement, frame: Frame) -> Flow:
    """Forward a text without transaction control, whole and byte for byte."""
    started = state.now
    answer = yield from relay_walled(state, statement.parts, frame.raw)
    if state.block:
        state.block.statements += 1
    note(state, statement.text, statement.parts[0].kind, started, answer.tags, _sqlstate(answer))
    state.ready()


def relay_walled(
    state: SessionState, parts: tuple[Part, ...], message: bytes, *, keep: Keep = Keep.NOTHING, extended: bool = False
) -> Generator[Step, Any, Answer]:
    """Relay a harmless message; inside a block behind a read-only savepoint if it runs code. Returns the answer.

    `extended`: what the client has prepared must outlive our own statements.
    """
    walled = state.status == IN_BLOCK and any(part.kind in _RUNS_CODE for part in parts)
    if walled:
        opened = yield from ask(inject(*_OPENING) if extended else query(b"; ".join(_OPENING)))
        if opened.error is not None:
            raise UpstreamProtocolError(f"no read-only savepoint could be set: {opened.error}")
    answer = yield from relay(message, keep=keep)
    if walled and answer.error is None:
        closed = yield from ask(inject(_CLOSING) if extended else query(_CLOSING))
        if closed.error is not None:
            raise UpstreamProtocolError(f"the read-only savepoint could not be released: {closed.error}")
    return answer


def forward_bracket(state: SessionState, statement: Statement) -> Flow:
    """Forward `BEGIN; ...; COMMIT` of harmless parts, each slice as its own message; stop where PostgreSQL would."""
    started = state.now
    answer = Answer()
    for part in statement.parts:
        message = query(statement.slice(part))
        if part.control:
            answer = yield from run_control(state, part, message)
        else:
            answer = yield from relay_walled(state, (part,), message)
        if answer.error is not None:
            break
    note(state, statement.text, statement.parts[1].kind, started, answer.tags, _sqlstate(answer))
    state.ready()


def note(
    state: SessionState, text: bytes, kind: StatementClass, started: Now, tags: list[str], sqlstate: str = ""
) -> None:
    """Note one execution for the record."""
    state.forwarded += 1
    took_us = int((state.now.monotonic - started.monotonic) * 1_000_000)
    state.log.add(text, kind, started.wall, took_us, tags, sqlstate)


def _sqlstate(answer: Answer) -> str:
    return (answer.error.sqlstate or "XX000") if answer.error else ""

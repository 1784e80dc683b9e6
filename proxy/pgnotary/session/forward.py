"""Forwarding what was judged harmless, behind the read-only wall.

A simple query enters that needs nobody's approval; PostgreSQL's answer leaves. What was forwarded is noted for the
ledger. Inside a block each statement of a text goes alone, so that each has its own wall.
"""

from collections.abc import Generator
from typing import Any

from pgnotary.judge.statement import Statement, StatementClass
from pgnotary.session.control import run_control
from pgnotary.session.events import Now
from pgnotary.session.state import IN_BLOCK, SessionState
from pgnotary.session.steps import Answer, Flow, Step
from pgnotary.session.wall import relay_walled
from pgnotary.wire.frames import Frame
from pgnotary.wire.messages import query

__all__ = ["forward", "forward_bracket", "note"]


def forward(state: SessionState, statement: Statement, frame: Frame) -> Flow:
    """Forward a text without transaction control, byte for byte; inside a block one statement at a time."""
    started = state.now
    if state.status == IN_BLOCK and len(statement.parts) > 1:
        answer = yield from _forward_parts(state, statement)
    else:
        answer = yield from relay_walled(state, statement.parts[0], frame.raw)
    if state.block:
        state.block.statements += 1
    note(state, statement.text, statement.parts[0].kind, started, answer.tags, _sqlstate(answer))
    state.ready()


def _forward_parts(state: SessionState, statement: Statement) -> Generator[Step, Any, Answer]:
    """Forward each part of a text as its own message, up to the first error; return the last answer, with all tags."""
    answer, tags = Answer(), []
    for part in statement.parts:
        message = query(statement.slice(part))
        if part.control:
            answer = yield from run_control(state, part, message)
        else:
            answer = yield from relay_walled(state, part, message)
        tags += answer.tags
        if answer.error is not None:
            break
    answer.tags = tags
    return answer


def forward_bracket(state: SessionState, statement: Statement) -> Flow:
    """Forward `BEGIN; ...; COMMIT` of harmless parts, each slice as its own message; stop where PostgreSQL would."""
    started = state.now
    answer = yield from _forward_parts(state, statement)
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

"""Before a statement is held: what PostgreSQL itself says about it, on the engineer's own session, read only.

A judged statement enters; an `Examination` leaves: the context it would run in, or the server's own error about it (a
typing mistake is answered, not held). All of it happens inside a read-only transaction, or inside a read-only savepoint
of the client's block that is rolled back, so that no lock or effect outlives it.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from pgnotary.errors import StatementError, UpstreamProtocolError
from pgnotary.judge.statement import Statement
from pgnotary.ledger.canonical import JSON, MAX_INT
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.context import Server
from pgnotary.request.preview import Questions, read_estimate
from pgnotary.session.state import IDLE, IN_BLOCK, SessionState
from pgnotary.session.steps import Flow, Step, ask
from pgnotary.wire.messages import SYNC, close_statement, parse, query

__all__ = ["Examination", "NotExaminable", "close", "examine", "measure"]

_NAME = b"pgnotary_examined"
_IDLE_TIMERS = (
    b"pg_catalog.current_setting('idle_in_transaction_session_timeout')",
    b"pg_catalog.current_setting('idle_session_timeout')",
    b"coalesce(pg_catalog.current_setting('transaction_timeout', true), '0')",
)
_CONTEXT = query(
    b"SELECT current_user, session_user, pg_catalog.current_setting('search_path'), "
    + b", ".join(b"pg_catalog.date_part('epoch', %b::pg_catalog.interval)" % timer for timer in _IDLE_TIMERS)
)


class NotExaminable(StatementError):
    """The server would not even open a read-only transaction to look at the statement."""

    sqlstate = "55000"


@dataclass(frozen=True, slots=True)
class Examination:
    """What the server said."""

    server: Server
    hold_limit_s: float | None
    """How long a hold may last before the server's own idle timers end the session."""
    rejection: bytes
    """The server's ErrorResponse about the statement, if it could never run as it is; else empty."""
    several: bool
    """The server sees several statements where our readers could read none."""


def examine(state: SessionState, statement: Statement) -> Generator[Step, Any, Examination]:
    """Open the read-only frame and ask; the caller closes it with `close`."""
    limits = f"SET LOCAL statement_timeout = {state.rules.preview_timeout_ms}; SET LOCAL lock_timeout = 200".encode()
    if state.status == IN_BLOCK:
        opening = b"SAVEPOINT pgnotary_look; SET LOCAL transaction_read_only = on; " + limits
    else:
        opening = b"BEGIN READ ONLY; " + limits
    opened = yield from ask(query(opening))
    if opened.error is not None:
        if state.block is None and state.status != IDLE:
            yield from close(state)
        raise NotExaminable(f"the server refused a read-only look at the statement: {opened.error}")
    context = yield from ask(_CONTEXT)
    if context.error is not None or len(context.rows) != 1 or len(context.rows[0]) != 6:
        raise UpstreamProtocolError(f"the session's context cannot be read: {context.error}")
    role, session_user, search_path, *idle = (value or "" for value in context.rows[0])
    rejection, several = b"", False
    if len(statement.parts) == 1:
        # Parse analysis alone: syntax, names, types. Nothing is planned and nothing runs.
        parsed = yield from ask(parse(_NAME, statement.text) + close_statement(_NAME) + SYNC)
        rejection = parsed.raw_error
        # "cannot insert multiple commands into a prepared statement", in whatever language.
        several = parsed.error is not None and parsed.error.routine == "exec_parse_message"
    server = Server(
        database=state.who.database,
        system_identifier=state.who.system_identifier,
        pid=state.who.upstream_pid,
        role=role,
        session_user=session_user,
        search_path=search_path,
        in_block=state.block is not None,
        statements_before=state.block.statements if state.block else 0,
    )
    return Examination(server, _hold_limit(idle, in_block=state.block is not None), rejection, several)


def _hold_limit(idle: list[str], *, in_block: bool) -> float | None:
    in_transaction, in_session, transaction = (float(value or 0) for value in idle)
    ticking = [seconds for seconds in ((in_transaction, transaction) if in_block else (in_session,)) if seconds > 0]
    # Five seconds, so that the client hears from us and not from a closed connection.
    return max(min(ticking) - 5, 1) if ticking else None


def measure(state: SessionState, request: str, after: bytes, asked: Questions) -> Generator[Step, Any, Draft]:
    """Ask what may be asked and return the `preview` entry; a failure is shown as failure, never as zero."""
    started = state.now.monotonic
    body: dict[str, JSON] = {"status": "unavailable"}
    why = [asked.unavailable] if asked.unavailable else []
    if asked.explain:
        explained = yield from ask(query(asked.explain))
        if explained.error is not None:
            why.append(f"EXPLAIN failed: {explained.error}")
        elif (estimate := read_estimate("\n".join(row[0] or "" for row in explained.rows))) is not None:
            # The planner may guess more rows than a ledger's numbers can say.
            body |= {"estimate": min(estimate, MAX_INT), "status": "partly"}
        if asked.count and explained.error is None:
            counted = yield from ask(query(asked.count))
            if counted.error is not None:
                why.append(f"the count failed: {counted.error}")
            elif counted.rows and counted.rows[0][0] is not None:
                body |= {"exact": int(counted.rows[0][0]), "status": "measured"}
    if why:
        body["why"] = "; ".join(why)[:2_000]
        body["status"] = "partly" if body["status"] == "measured" else body["status"]
    body["took_us"] = int((state.now.monotonic - started) * 1_000_000)
    return Draft(EntryType.PREVIEW, body, session=state.who.session, request=request, after=after)


def close(state: SessionState) -> Flow:
    """Leave the read-only frame; the transaction status is what it was before."""
    before = IN_BLOCK if state.block is not None else IDLE
    closing = (
        b"ROLLBACK TO SAVEPOINT pgnotary_look; RELEASE SAVEPOINT pgnotary_look"
        if state.block is not None
        else b"ROLLBACK"
    )
    closed = yield from ask(query(closing))
    if closed.error is not None or state.status != before:
        raise UpstreamProtocolError(f"the read-only look could not be closed: {closed.error}, status {state.status!r}")

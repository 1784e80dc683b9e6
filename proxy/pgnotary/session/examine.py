"""Before a statement is held: what PostgreSQL itself says about it, on the engineer's own session, read only.

A judged statement enters; an `Examination` leaves: the context it would run in, or the server's own error about it (a
typing mistake is answered, not held). All of it happens inside a read-only transaction, or inside a read-only savepoint
of the client's block that is rolled back, so that no lock or effect outlives it.
"""

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pgnotary.errors import NotSupported, StatementError, UpstreamProtocolError
from pgnotary.judge.identifiers import identifier
from pgnotary.judge.statement import Part, Qualifier, Statement
from pgnotary.request.context import Server
from pgnotary.request.parameters import Parameters
from pgnotary.request.schema_state import schema_digest
from pgnotary.session.inject import put
from pgnotary.session.parameters import parameters_of
from pgnotary.session.prepared import text_behind
from pgnotary.session.sent import Sent
from pgnotary.session.standing import Standing, read_standing, standing_texts
from pgnotary.session.state import IDLE, IN_BLOCK, SessionState
from pgnotary.session.steps import Answer, Flow, Step, ask
from pgnotary.session.two_phase import described
from pgnotary.wire.messages import SYNC, close_statement, describe_statement, parse

__all__ = ["EXAMINED", "Examination", "NotExaminable", "Rejection", "analysing_runs", "close", "examine"]

EXAMINED = b"pgnotary_examined"
"""The name under which the server is asked to analyse a text."""
_IN_BLOCK = (b"SAVEPOINT pgnotary_look", b"SET LOCAL transaction_read_only = on")
_OUT_OF_BLOCK = (b"ROLLBACK TO SAVEPOINT pgnotary_look", b"RELEASE SAVEPOINT pgnotary_look")
_QUERY_CANCELED = "57014"
# PostgreSQL still takes the last two, and treats them as ERROR.
_ABOVE_NOTICE = frozenset({"warning", "error", "fatal", "panic"})


class NotExaminable(StatementError):
    """The server would not even open a read-only transaction to look at the statement."""

    sqlstate = "55000"


@dataclass(frozen=True, slots=True)
class Rejection:
    """The server's own error about a statement."""

    sqlstate: str
    raw: bytes
    """The ErrorResponse as it came, position and all."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What the server said."""

    server: Server
    standing: Standing
    """What is compared with what there is when the statement is to run."""
    hold_limit_s: float | None
    """How long a hold may last before the server's own idle timers end the session."""
    rejection: Rejection | None
    """The server's error about the statement, if it could never run as it is."""
    several: bool
    """The server sees several statements where our readers could read none, or it must not be asked."""
    parameters: Parameters | None
    """What is bound to it; None of a Query, or if there is a rejection."""


def examine(state: SessionState, statement: Statement, sent: Sent) -> Generator[Step, Any, Examination]:
    """Open the read-only frame and ask; the caller closes it with `close`."""
    timeout = b"SET LOCAL statement_timeout = %d" % state.rules.preview_timeout_ms
    frame = _IN_BLOCK if state.status == IN_BLOCK else (b"BEGIN READ ONLY",)
    opened = yield from put(state, *frame, timeout, b"SET LOCAL lock_timeout = 200")
    if opened.error is not None:
        if state.block is None and state.status != IDLE:
            yield from close(state)
        raise NotExaminable(f"the server refused a read-only look at the statement: {opened.error}")
    context = yield from put(state, *standing_texts(statement))
    if context.error is not None:
        yield from close(state)
        raise NotExaminable(f"the server did not say where the statement would run: {context.error}")
    standing = read_standing(context.rows)
    state.quiet = standing.level in _ABOVE_NOTICE
    rejection, several, parameters = None, False, None
    if len(statement.parts) == 1 and analysing_runs(state, statement.parts[0]):
        several = statement.unreadable
        parameters = _none_bound(sent)
    elif len(statement.parts) == 1:
        parsed = yield from ask(_analysed(statement, sent))
        found = parsed if parsed.error is not None or not sent.extended else (yield from _bound(state, parsed, sent))
        if isinstance(found, Parameters):
            parameters = found
        elif found.error is not None:
            rejection = Rejection(found.error.sqlstate or "XX000", found.raw_error)
            # "cannot insert multiple commands into a prepared statement", in whatever language.
            several = found.error.routine == "exec_parse_message"
    prepared = (yield from _prepared(state, statement)) if rejection is None else ""
    server = Server(
        database=state.who.database,
        system_identifier=state.who.system_identifier,
        pid=state.who.upstream_pid,
        role=standing.role,
        session_user=standing.session_user,
        search_path=standing.search_path,
        settings=standing.settings,
        schema=schema_digest(standing.schema),
        prepared=prepared,
        in_block=state.block is not None,
        statements_before=state.block.statements if state.block else 0,
    )
    hold_limit_s = _hold_limit(standing.idle, in_block=state.block is not None)
    return Examination(server, standing, hold_limit_s, rejection, several, parameters)


def analysing_runs(state: SessionState, part: Part) -> bool:
    """Say whether parse analysis may run somebody's code: a literal of an array of a domain is checked there."""
    catalogued = {Qualifier.FUNCTION, Qualifier.CODE, Qualifier.UNREAD}
    return bool(state.catalog.types) and not part.qualifiers.isdisjoint(catalogued)


def _analysed(statement: Statement, sent: Sent) -> bytes:
    """Return what has the server analyse a text: syntax, names, types. Nothing is planned and nothing runs."""
    if sent.prepared is not None:
        return describe_statement(sent.prepared) + SYNC
    described = describe_statement(EXAMINED) if sent.extended else b""
    return parse(EXAMINED, statement.text, sent.types) + described + close_statement(EXAMINED) + SYNC


def _bound(state: SessionState, parsed: Answer, sent: Sent) -> Generator[Step, Any, Parameters | Answer]:
    if any(len(each.values) != len(parsed.types) for each in sent.bounds):
        counts = ", ".join(str(len(each.values)) for each in sent.bounds[:5])
        error = NotExaminable(f"the Bind supplies {counts} parameters, but the statement has {len(parsed.types)}")
        error.sqlstate = "08P01"
        raise error
    return (yield from parameters_of(state, parsed.types, sent))


def _none_bound(sent: Sent) -> Parameters | None:
    """Return that nothing is bound; raises NotExaminable if something is, since its types cannot be asked for."""
    if any(each.values for each in sent.bounds):
        raise NotExaminable(
            "the types of its parameters cannot be known: to find out would run code that nobody has read",
            hint="Send it as a simple query, with its values in the text.",
        )
    return Parameters((), ((),) * len(sent.bounds), sent.bounds[0].results) if sent.extended else None


def _prepared(state: SessionState, statement: Statement) -> Generator[Step, Any, str]:
    """Return what stands behind the names in EXECUTE and FETCH: people sign that, not a name."""
    found = []
    for name, is_cursor in dict.fromkeys(name for part in statement.parts for name in part.prepared):
        text = None
        with suppress(NotSupported):
            text = yield from text_behind(state, name.encode(), is_cursor=is_cursor)
        said = text.decode() if text else "(the server knows no statement of that name)"
        found.append(f"{identifier(name)}:\n{said}")
    for part in statement.parts:
        if part.ends_which:
            found.append((yield from described(state, part)))
    return "\n\n".join(found)


def _hold_limit(idle: tuple[float, ...], *, in_block: bool) -> float | None:
    in_transaction, in_session, transaction = idle
    ticking = [seconds for seconds in ((in_transaction, transaction) if in_block else (in_session,)) if seconds > 0]
    # Five seconds, so that the client hears from us and not from a closed connection.
    return max(min(ticking) - 5, 1) if ticking else None


def close(state: SessionState) -> Flow:
    """Leave the read-only frame; the transaction status is what it was before."""
    before = IN_BLOCK if state.block is not None else IDLE
    closing = _OUT_OF_BLOCK if state.block is not None else (b"ROLLBACK",)
    closed = yield from put(state, *closing)
    if closed.error is not None and closed.error.sqlstate == _QUERY_CANCELED:
        # The look's own limit of time has hit what was to end it; what has failed has no limit any more.
        closed = yield from put(state, *closing)
    if closed.error is not None or state.status != before:
        raise UpstreamProtocolError(f"the read-only look could not be closed: {closed.error}, status {state.status!r}")

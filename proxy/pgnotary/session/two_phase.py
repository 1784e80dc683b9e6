"""COMMIT PREPARED and ROLLBACK PREPARED: what stands behind the name, whether it is known here, and its end.

A part that ends a prepared transaction enters. What is known to hold nothing but what was forwarded or signed loses
the doubt about it; everything else stays in doubt, whoever prepared it. Before its end is sent that is durable for
every signed statement in the transaction, and their outcomes are before the client hears of it.

Source: PostgreSQL 18, "PREPARE TRANSACTION", "COMMIT PREPARED", "pg_prepared_xacts", "pg_locks".
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

from pgnotary.errors import LedgerUnavailable, RequestMoved, StatementError, UpstreamProtocolError
from pgnotary.judge.identifiers import identifier
from pgnotary.judge.policy import Verdict
from pgnotary.judge.rules import Action
from pgnotary.judge.statement import Control, Part, Statement
from pgnotary.ledger.entries import Draft
from pgnotary.request.ended import Ended
from pgnotary.request.life import FINAL, Move, State
from pgnotary.session.control import AT_THE_NEXT_START, OutcomeUnknown, run_control, write_ending
from pgnotary.session.forward import note
from pgnotary.session.inject import put
from pgnotary.session.outcomes import outcome
from pgnotary.session.prepared_transactions import PreparedTransaction, Signed, identity
from pgnotary.session.refuse import refuse
from pgnotary.session.sent import Sent
from pgnotary.session.state import SessionState
from pgnotary.session.steps import Answer, Flow, Keep, Step, UpstreamLost, relay, write
from pgnotary.session.timeline import TIMELINE
from pgnotary.session.told import Told
from pgnotary.session.words import one_line

__all__ = [
    "LOCKS",
    "ONE",
    "Busy",
    "CannotEnd",
    "described",
    "end_prepared",
    "forward_end",
    "look_behind",
    "other_than_signed",
    "prepare",
]

ONE = """
SELECT p.transaction, p.database OPERATOR(pg_catalog.=) pg_catalog.current_database(),
  p.owner OPERATOR(pg_catalog.=) current_user OR (
    SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) current_user),
  p.owner, p.prepared, __TIMELINE__
FROM pg_catalog.pg_prepared_xacts AS p WHERE p.gid OPERATOR(pg_catalog.=) '__GID__'
""".strip().replace("__TIMELINE__", TIMELINE)
"""Asks which transaction has a name."""
# A prepared transaction keeps its locks, that on its own id among them, and no process has them.
LOCKS = """
WITH locks AS MATERIALIZED (
  SELECT l.locktype, l.mode, l.relation, l.transactionid, l.virtualtransaction
  FROM pg_catalog.pg_lock_status() AS l WHERE l.pid IS NULL
)
SELECT l.mode, n.nspname, c.relname, l.relation FROM locks AS l
JOIN locks AS own ON own.virtualtransaction OPERATOR(pg_catalog.=) l.virtualtransaction
LEFT JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) l.relation
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE own.locktype OPERATOR(pg_catalog.=) 'transactionid'
AND own.transactionid OPERATOR(pg_catalog.=) '__XID__'::pg_catalog.xid AND l.locktype OPERATOR(pg_catalog.=) 'relation'
AND (c.relkind IS NULL OR c.relkind OPERATOR(pg_catalog.<>) 'i')
ORDER BY 2, 3, 1, 4 LIMIT 200
""".strip()
"""Asks what it has locked."""

_ENDED = {State.COMMITTED: Ended.COMMIT_PREPARED, State.ROLLED_BACK: Ended.ROLLBACK_PREPARED}


class CannotEnd(StatementError):
    """What the server would say of a name, or would once people have signed; `sqlstate` is set where it is raised."""


class Busy(StatementError):
    """Another session ends the same transaction now."""

    sqlstate = "55000"


@dataclass(frozen=True, slots=True)
class _Behind:
    """A prepared transaction as the server shows it."""

    xid: str
    here: bool
    """It is of this database."""
    may: bool
    """The session's role may end it."""
    owner: str
    at: str
    timeline: str


def look_behind(
    state: SessionState, statement: Statement, verdict: Verdict
) -> Generator[Step, Any, tuple[Statement, Verdict]]:
    """Return the statement with what its name stands for now, and what happens to it then.

    It loses its doubts if the transaction is known here, and all that is in it has passed policy. Nobody is asked to
    sign what the server will refuse: CannotEnd says the same.
    """
    (part,) = statement.parts
    behind = yield from _behind(state, part)
    if behind is not None:
        part = replace(part, ends_which=identity(behind.timeline, behind.xid))
        known = state.prepared.find(part.gid, part.ends_which, state.who.system_identifier)
        if known is not None and known.vouched:
            part = replace(part, findings=())
        statement = replace(statement, parts=(part,))
        verdict = state.verdict(statement)
    if verdict.action is Action.HOLD:
        if behind is None:
            raise _not(f'prepared transaction with identifier "{part.gid}" does not exist', "42704")
        if not behind.may:
            raise _not("permission denied to finish prepared transaction", "42501")
        if not behind.here:
            raise _not("prepared transaction belongs to another database", "0A000")
    return statement, verdict


def _not(message: str, sqlstate: str) -> CannotEnd:
    error = CannotEnd(message, detail="Nothing was sent, and nobody is asked to sign it.")
    error.sqlstate = sqlstate
    return error


def _behind(state: SessionState, part: Part) -> Generator[Step, Any, _Behind | None]:
    answer = yield from put(state, ONE.replace("__GID__", part.gid.replace("'", "''")).encode())
    match answer.rows:
        case [] if answer.error is None:
            return None
        case [(str(xid), here, may, owner, str(at), str(timeline))] if answer.error is None and xid.isdigit():
            # The role that prepared it may be gone.
            return _Behind(xid, here == "t", may == "t", owner or "", at, timeline)
    if answer.error is not None:
        raise _not(f"what the name stands for could not be read: {answer.error}", answer.error.sqlstate or "55000")
    raise UpstreamProtocolError("what a prepared transaction's name stands for is not one transaction")


def described(state: SessionState, part: Part) -> Generator[Step, Any, str]:
    """Return what is known of the transaction behind a name, for people to sign.

    Whoever gives a name to a transaction or a table cannot make a line of it.
    """
    name = repr(part.gid)
    try:
        behind = yield from _behind(state, part)
    except CannotEnd as error:
        return f"{name}:\n({error.message})"
    if behind is None or identity(behind.timeline, behind.xid) != part.ends_which:
        return f"{name}:\n(another transaction has the name now, or none)"
    known = state.prepared.find(part.gid, part.ends_which, state.who.system_identifier)
    lines = [f"{name}:", f"transaction {behind.xid}, prepared {behind.at} by {one_line(identifier(behind.owner))}"]
    if known is not None and known.signed:
        lines.append(f"signed in it: {', '.join(each.request for each in known.signed)}")
    if known is None:
        lines.append("it did not come through this proxy, or not since its start: what is in it is not known")
    answer = yield from put(state, LOCKS.replace("__XID__", behind.xid).encode())
    if answer.error is not None:
        lines.append(f"what it has locked could not be read: {answer.error.sqlstate}")
    for mode, schema, relation, oid in answer.rows:
        spelled = f"{identifier(schema)}.{identifier(relation)}" if schema and relation else ""
        lines.append(f"{mode} on {one_line(spelled) or f'the relation with oid {oid}'}")
    return "\n".join(lines)


def other_than_signed(state: SessionState, statement: Statement) -> Generator[Step, Any, str]:
    """Return why another transaction than the one that was signed would be ended, or ""."""
    part = statement.parts[0]
    if part.ends is None:
        return ""
    try:
        behind = yield from _behind(state, part)
    except CannotEnd as error:
        return error.message
    if behind is None:
        return "no prepared transaction has that name any more"
    same = identity(behind.timeline, behind.xid) == part.ends_which
    return "" if same else "another prepared transaction has that name now"


def prepare(state: SessionState, statement: Statement, verdict: Verdict, sent: Sent) -> Generator[Step, Any, Told]:
    """Forward PREPARE TRANSACTION, and note under which name the block was left behind."""
    started = state.now
    try:
        answer = yield from run_control(state, statement.parts[0], sent)
    except LedgerUnavailable as error:
        return (yield from refuse(state, error))
    note(state, statement.text, verdict, started, answer.tags, _sqlstate(answer))
    return Told.of(answer.error)


def forward_end(state: SessionState, statement: Statement, verdict: Verdict, sent: Sent) -> Generator[Step, Any, Told]:
    """Forward COMMIT PREPARED or ROLLBACK PREPARED, and answer the client once the outcomes are durable."""
    started = state.now
    try:
        answer = yield from end_prepared(
            state, statement.parts[0], lambda: relay(sent, keep=Keep.COMPLETION, unstoppable=True)
        )
    except (LedgerUnavailable, Busy) as error:
        note(state, statement.text, verdict, started, [], error.sqlstate, why=error.message)
        return (yield from refuse(state, error))
    except UpstreamLost as lost:
        note(state, statement.text, verdict, started, [], OutcomeUnknown.sqlstate)
        what = statement.parts[0].command
        raise OutcomeUnknown(f"the server went away during {what}: whether it took effect is not known") from lost
    note(state, statement.text, verdict, started, answer.tags, _sqlstate(answer))
    state.tell(answer.kept)
    return Told.of(answer.error)


def _sqlstate(answer: Answer) -> str:
    return (answer.error.sqlstate or "XX000") if answer.error else ""


def end_prepared(
    state: SessionState, part: Part, send: Callable[[], Generator[Step, Any, Answer]]
) -> Generator[Step, Any, Answer]:
    """Send what ends a prepared transaction, its record one step ahead, and return the answer; anything else as is.

    Raises LedgerUnavailable, or that it is busy, before anything is sent, and UpstreamLost when the server went.
    """
    if part.ends is None:
        return (yield from send())
    known = state.prepared.find(part.gid, part.ends_which, state.who.system_identifier)
    if known is None:
        answer = yield from send()
    else:
        if known.taken:
            raise Busy(f'prepared transaction with identifier "{part.gid}" is busy')
        known.taken = True
        try:
            answer = yield from _end(state, part, known, send)
        finally:
            known.taken = False
    if answer.error is None:
        # It may have made anything.
        state.changed()
        state.scope_stale = True
    return answer


def _end(
    state: SessionState, part: Part, known: PreparedTransaction, send: Callable[[], Generator[Step, Any, Answer]]
) -> Generator[Step, Any, Answer]:
    commits = part.ends is Control.COMMIT
    yield from _announce(state, part, known)
    try:
        answer = yield from send()
    except (UpstreamLost, UpstreamProtocolError) as lost:
        yield from _settle(state, known, State.UNKNOWN, why=str(lost))
        raise
    if answer.error is not None:
        return answer
    if answer.tags != [part.command]:
        yield from _settle(state, known, State.UNKNOWN, why="the server's answer is not understood")
        raise UpstreamProtocolError(f"{part.command} was answered with {answer.tags[:5]}")
    yield from _settle(state, known, State.COMMITTED if commits else State.ROLLED_BACK)
    return answer


def _announce(state: SessionState, part: Part, known: PreparedTransaction) -> Flow:
    if doubtful := [each.request for each in known.signed if each.doubtful]:
        raise LedgerUnavailable(f"a record about {', '.join(doubtful)} failed: it is settled at the next start")
    for one in known.signed:
        body = {"action": f"{part.ends}-prepared", "xid": known.xid, "gid": known.gid, "through": state.who.session}
        yield from write_ending(one, one.session, body)


def _settle(state: SessionState, known: PreparedTransaction, fate: State, *, why: str = "") -> Flow:
    """Record the fate, then forget the transaction; what cannot be recorded ends the session as unknown."""
    failed: LedgerUnavailable | RequestMoved | None = None
    try:
        for one in known.signed:
            rows = one.rows if fate is State.COMMITTED else None
            draft = _outcome(state, known, one, fate, rows, why)
            try:
                yield from write(draft, move=Move(one.request, State.PREPARED, fate))
            except RequestMoved as moved:
                # A final state is the server's word, which somebody else has recorded.
                failed = failed if moved.state in FINAL else moved
            except LedgerUnavailable as down:
                failed = down
                break
    finally:
        # Not before: while it is known as taken, the resolver keeps its own record of the same fate back.
        state.prepared.remove(known)
    if failed is not None:
        detail = f"What became of the prepared transaction is {fate}, but the ledger could not be written."
        hint = failed.hint if isinstance(failed, LedgerUnavailable) else AT_THE_NEXT_START
        raise OutcomeUnknown("the outcome could not be recorded", detail=detail, hint=hint) from failed


def _outcome(
    state: SessionState, known: PreparedTransaction, one: Signed, fate: State, rows: int | None, why: str
) -> Draft:
    ended = _ENDED.get(fate, Ended.SERVER_LOST)
    draft = outcome(state, one.request, one.leaf, fate, ended, rows=rows, xid=known.xid, why=why, gid=known.gid)
    return replace(draft, session=one.session)

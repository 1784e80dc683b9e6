"""Running what was signed: at most once, at most as many rows as were signed, the record always one step ahead.

An approved statement enters; its outcome is durable before the client hears of it. The order: BEGIN READ WRITE and the
xid, `intent` durable, the client's own bytes, what the server counts of them, `executed(n)` durable, the row ceiling,
COMMIT, `outcome` durable, the answer. In the client's own block the last three belong to its COMMIT or ROLLBACK.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgnotary.errors import (
    BadSignature,
    LedgerUnavailable,
    RequestMoved,
    StatementError,
    UpstreamProtocolError,
)
from pgnotary.judge.statement import Part, Statement
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType, Receipt
from pgnotary.request.ended import Ended
from pgnotary.request.life import Move, State
from pgnotary.request.openssh import fingerprint
from pgnotary.session.block import Block
from pgnotary.session.catalog import renew_catalog
from pgnotary.session.changes import BEFORE, NOTHING, Counters, counters_in
from pgnotary.session.control import OutcomeUnknown
from pgnotary.session.events import Decided
from pgnotary.session.inject import put
from pgnotary.session.look import NamesUnread
from pgnotary.session.manner import manner_of
from pgnotary.session.mark import Mark
from pgnotary.session.refuse import refuse
from pgnotary.session.relaying import Withdrawn, relay_part
from pgnotary.session.run import NotRun, Run, command_complete, leave_unrecorded, undo
from pgnotary.session.same import mark_anew, require_same_transaction
from pgnotary.session.scope import renew_scope
from pgnotary.session.sent import Sent, query_of
from pgnotary.session.standing import Standing, changed_since, read_standing, standing_texts
from pgnotary.session.state import IDLE, IN_BLOCK, SessionState
from pgnotary.session.steps import Answer, Flow, Keep, Step, UpstreamLost, relay, write
from pgnotary.session.timeline import TIMELINE, XID_AND_TIMELINE
from pgnotary.session.told import Told
from pgnotary.session.two_phase import Busy, end_prepared, other_than_signed
from pgnotary.session.whole import relay_whole, require_same_statement
from pgnotary.session.writing import relay_outside_block

__all__ = ["execute", "void"]

_DURABLE_AND_XID = (b"SET LOCAL synchronous_commit = on", XID_AND_TIMELINE)
_SINCE = "what was signed has changed since"


@dataclass(frozen=True, slots=True)
class _Transaction:
    """Where the statement runs."""

    xid: str
    """The server's decimal text."""
    timeline: str
    """Eight hexadecimal digits."""
    before: Counters
    """What it has changed up to here."""
    standing: Standing
    """What the statement meets there."""


def execute(
    state: SessionState, statement: Statement, sent: Sent, decided: Decided, signed: Standing
) -> Generator[Step, Any, Told]:
    """Run an approved statement, if the server is still as it was `signed`, and answer the client."""
    outside = statement.runs_outside_blocks
    # Around the rest of a batch it is a block like the client's: its Sync ends it.
    wrapped = state.status == IDLE and (outside or not sent.extended)
    in_batch = state.status == IDLE and not wrapped
    mark = Mark(decided.receipt.leaf)
    transaction = yield from _prepare(state, statement, sent, decided, signed, mark, wrapped=wrapped)
    if isinstance(transaction, Told):
        return transaction
    try:
        intent = yield from _intend(
            state, decided, transaction, "batch" if in_batch else _place(wrapped=wrapped, outside=outside)
        )
    except LedgerUnavailable as error:
        yield from undo(state, wrapped=wrapped)
        leave_unrecorded(state)
        return (yield from refuse(state, error, decided.request))
    xid = transaction.xid
    run = Run(
        state,
        decided,
        xid,
        intent.leaf,
        mark,
        wrapped=wrapped,
        before=transaction.before,
        executions=sent.executions,
        copy=sent.copy,
    )
    if _has_left(state):
        yield from run.settle(State.ROLLED_BACK, Ended.CLIENT_LOST, why="the client has gone before it was sent")
        return Told.NOTHING
    try:
        if _is_cancelled(state):
            yield from undo(state, wrapped=wrapped)
            yield from run.settle(State.ROLLED_BACK, Ended.CANCELLED, why="cancelled before it was sent")
            return (yield from refuse(state, _cancelled(decided), decided.request))
        if (objection := _objection(state, decided, intent)) is not None:
            # A key that was revoked while the intent was being written: nothing was sent yet.
            return (yield from run.undo(objection))
        if outside:
            part = statement.parts[0]
            try:
                answer = yield from end_prepared(state, part, lambda: relay_outside_block(state, sent))
            except (Busy, LedgerUnavailable) as error:
                return (yield from run.undo(error))
            return (yield from run.finish_outside(answer))
        try:
            answer = yield from _run(state, statement, sent, xid, mark)
        except StatementError as error:
            return (yield from run.undo(error))
        return (yield from run.finish(statement, answer))
    except (UpstreamLost, UpstreamProtocolError) as lost:
        yield from run.settle(State.UNKNOWN, Ended.SERVER_LOST, why=str(lost))
        if outside:
            detail = f"{decided.request}: the server went away while it ran, outside any transaction."
            raise OutcomeUnknown("the outcome is not known", detail=detail) from lost
        detail = (
            f"{decided.request}: the server went away in transaction {xid}. Unless that committed, nothing changed."
        )
        hint = f"SELECT pg_xact_status('{xid}') tells whether it committed."
        raise OutcomeUnknown("the outcome is not known", detail=detail, hint=hint) from lost


def _prepare(
    state: SessionState,
    statement: Statement,
    sent: Sent,
    decided: Decided,
    signed: Standing,
    mark: Mark,
    *,
    wrapped: bool,
) -> Generator[Step, Any, _Transaction | Told]:
    """Return where the statement is to run, or what the client has been told if it does not run."""
    try:
        yield from _require_same_names(state, statement)
        yield from require_same_statement(state, sent)
        if other := (yield from other_than_signed(state, statement)):
            raise NotRun(other, hint="Run it again to ask again.")
        if statement.runs_outside_blocks:
            transaction = yield from _outside(state, statement)
        else:
            transaction = yield from _open(state, statement, sent, mark)
    except NotRun as error:
        yield from void(state, decided, str(error))
        return (yield from refuse(state, error, decided.request))
    except (UpstreamLost, UpstreamProtocolError) as lost:
        yield from void(state, decided, str(lost))
        raise
    if _has_left(state):
        yield from void(state, decided, "the client has gone")
        return Told.NOTHING
    if _is_cancelled(state):
        yield from undo(state, wrapped=wrapped)
        yield from void(state, decided, "cancelled before it was sent")
        return (yield from refuse(state, _cancelled(decided), decided.request))
    changed = changed_since(signed, transaction.standing)
    objection = (
        _objection(state, decided, decided.receipt) or _moved(decided, changed) or _uncountable(decided, transaction)
    )
    if objection is not None:
        why = _SINCE if changed else objection.detail  # `changed` says what.
        yield from void(state, decided, why, changed)
        yield from undo(state, wrapped=wrapped)
        return (yield from refuse(state, objection, decided.request))
    return transaction


def _require_same_names(state: SessionState, statement: Statement) -> Flow:
    """Raise NotRun if something that was signed meanwhile has made a name stand for another relation."""
    if state.catalog_generation == state.generation():
        return
    try:
        yield from renew_catalog(state, anywhere=True)
        yield from renew_scope(state)
    except NamesUnread as unread:
        raise NotRun(f"it is not known what its names stand for now: {unread.message}") from unread
    meant, found = (
        {".".join(name) for part in each.parts for name in part.resolved}
        for each in (statement, state.judge(statement.text)[0])
    )
    if meant != found:
        told = f"signed was {', '.join(sorted(meant - found))}, now it would be {', '.join(sorted(found - meant))}"
        raise NotRun("the names in it stand for other relations now", detail=told, hint="Run it again to ask again.")


def _has_left(state: SessionState) -> bool:
    """Say whether the client has gone by now: no client, no execution."""
    return state.client_gone


def _is_cancelled(state: SessionState) -> bool:
    """Say whether the requester has taken the statement back by now."""
    return state.cancelled


def _cancelled(decided: Decided) -> StatementError:
    # Drivers know a cancelled statement by exactly these words.
    detail = f"{decided.request} was approved, and taken back before it was sent."
    return Withdrawn(detail)


def _objection(state: SessionState, decided: Decided, newest: Receipt) -> NotRun | None:
    """Say why an approval does not count any more, if the roster that is in force now gives its key to nobody."""
    # A clock that was set back makes no key young again: a verifier goes by the entries' time.
    now = max(state.now.wall, newest.entry.position.time)
    for approval in decided.approvals:
        try:
            signer = state.rules.roster().find(approval.public, now)
            if signer.person == approval.person:
                continue
            why = f"the key {fingerprint(approval.public)} is {signer.person}'s now"
        except BadSignature as error:
            why = str(error)
        message = f"{decided.request} does not run: the approval by {approval.person} does not count any more"
        return NotRun(message, detail=why, hint="Run it again, for somebody whose key is on the roster now to decide.")
    return None


def _moved(decided: Decided, changed: Sequence[JSON]) -> NotRun | None:
    """Say why it is not what was signed any more, if anything that decides what it does is another now."""
    if not changed:
        return None
    message = f"{decided.request} does not run: {_SINCE}"
    told = "; ".join(_in_words(each) for each in changed if isinstance(each, dict))
    return NotRun(message, detail=told, hint="Run it again to ask again.")


def _in_words(change: Mapping[str, JSON]) -> str:
    was, now = change["signed"] or "nothing", change["found"] or "nothing"
    return f"{change['what']}: signed {was}, now {now}"


def _uncountable(decided: Decided, transaction: _Transaction) -> NotRun | None:
    """Say why it cannot be held to the number of rows that was signed, if the server counts none."""
    if decided.ceiling is None or transaction.before.are_kept:
        return None
    most = decided.ceiling.max_rows
    message = f"{decided.request} does not run: its rows cannot be counted, approved for at most {most}"
    detail = "The server counts no rows while track_counts is off."
    return NotRun(message, detail=detail, hint="Set track_counts = on, and run it again.")


def void(
    state: SessionState,
    decided: Decided,
    why: str,
    changed: Sequence[JSON] = (),
    taker: Mapping[str, JSON] | None = None,
) -> Flow:
    """Record that an approved statement does not run after all.

    `changed`: what is not as it was signed; `taker`: who has taken it back by a signed call.
    """
    draft = Draft(
        EntryType.VOID,
        {"why": why, **({"changed": [*changed]} if changed else {}), **(taker or {})},
        session=state.who.session,
        request=decided.request,
        after=decided.receipt.leaf,
    )
    try:
        yield from write(draft, move=Move(decided.request, State.APPROVED, State.VOID))
    except (LedgerUnavailable, RequestMoved):
        return  # It stays approved and cannot run: only this session could have run it.


def _open(state: SessionState, statement: Statement, sent: Sent, mark: Mark) -> Generator[Step, Any, _Transaction]:
    """Open the transaction that the statement runs in."""
    idle = state.status == IDLE
    begin = _beginning(state, statement.parts[0], statement) if idle else ()
    answer = yield from put(state, *begin, *_DURABLE_AND_XID, mark.renewed(), BEFORE, *standing_texts(statement))
    match answer.rows:
        case [(str(xid), str(timeline)), counted, *stands] if answer.error is None and state.status == IN_BLOCK:
            before = counters_in([counted])
            if idle and sent.extended:
                state.block = Block(own=True)
                state.encoding.begin()
            return _Transaction(xid, timeline, before, read_standing(stands))
    if idle and state.status != IDLE:
        yield from put(state, b"ROLLBACK")
    error = NotRun(f"no read-write transaction could be opened: {answer.error or 'no transaction id'}")
    if answer.error is not None:
        error.sqlstate = (
            answer.error.sqlstate or error.sqlstate
        )  # Its own: 25006 tells a driver that this is a standby.
    raise error


def _beginning(state: SessionState, first: Part, statement: Statement) -> tuple[bytes, ...]:
    """Return how our transaction begins: like the client's own, and READ WRITE unless the client wants it otherwise."""
    begin = statement.slice(first) if first.control else b"BEGIN"
    writable = first.read_only is None and not state.is_read_only
    return (begin, b"SET TRANSACTION READ WRITE") if writable else (begin,)


def _place(*, wrapped: bool, outside: bool) -> str:
    return "outside" if outside else "wrapped" if wrapped else "block"


def _outside(state: SessionState, statement: Statement) -> Generator[Step, Any, _Transaction]:
    """Return where it runs that no transaction can hold."""
    answer = yield from put(state, f"SELECT {TIMELINE}".encode(), *standing_texts(statement))
    match answer.rows:
        case [(str(timeline),), *stands] if answer.error is None and state.status == IDLE:
            return _Transaction("", timeline, NOTHING, read_standing(stands))
    raise NotRun(f"the server's timeline could not be read: {answer.error}")


def _intend(
    state: SessionState, decided: Decided, transaction: _Transaction, where: str
) -> Generator[Step, Any, Receipt]:
    body: dict[str, JSON] = {
        **({"xid": transaction.xid} if transaction.xid else {}),
        "timeline": transaction.timeline,
        "upstream_pid": state.who.upstream_pid,
        "system_identifier": state.who.system_identifier,
        "where": where,
    }
    if decided.before:
        body["approvals"] = [approval.leaf.hex() for approval in decided.approvals]
    draft = Draft(
        EntryType.INTENT, body, session=state.who.session, request=decided.request, after=decided.receipt.leaf
    )
    (receipt,) = yield from write(draft, move=Move(decided.request, State.APPROVED, State.INTENT))
    return receipt


def _run(state: SessionState, statement: Statement, sent: Sent, xid: str, mark: Mark) -> Generator[Step, Any, Answer]:
    """Run the client's bytes: one statement as it came, of several each as its own message, answers kept in order.

    What was signed is what may write: the harmless parts run behind the read-only wall as they would by themselves.
    """
    if len(statement.parts) == 1:
        answer = yield from relay_whole(sent)
        if answer.error is None:
            yield from require_same_transaction(state, xid, mark)
        return answer
    whole = Answer(kept=bytearray(command_complete("BEGIN") if statement.parts[0].control else b""))
    parts = [part for part in statement.parts if not part.control]  # BEGIN and COMMIT are ours to send.
    for part in parts:
        one = query_of(statement.slice(part))
        if part.harmless:
            answer = yield from relay_part(state, part, manner_of(part), one, keep=Keep.ALL)
        else:
            if part is not parts[0]:
                yield from mark_anew(state, mark)
            answer = yield from relay(one, keep=Keep.ALL)
            if answer.error is None:
                # At once: an error of the next one would undo this one, and the record would say so.
                yield from require_same_transaction(state, xid, mark)
        if not whole.take(answer):
            break
    return whole

"""Running what was signed: at most once, at most as many rows as were signed, the record always one step ahead.

An approved statement enters; its outcome is durable before the client hears of it. The order: BEGIN READ WRITE and the
xid, `intent` durable, the client's own bytes, `executed(n)` durable, the row ceiling, COMMIT, `outcome` durable, the
answer. In the client's own block the last three belong to its COMMIT or ROLLBACK.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from pgnotary.errors import (
    BadSignature,
    LedgerUnavailable,
    RequestMoved,
    StatementError,
    TooLarge,
    UpstreamProtocolError,
)
from pgnotary.judge.statement import Control, Part, Statement
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.life import Move, State
from pgnotary.request.openssh import fingerprint
from pgnotary.session.block import Block, Pending
from pgnotary.session.catalog import renew_catalog
from pgnotary.session.control import OutcomeUnknown
from pgnotary.session.events import Decided
from pgnotary.session.look import NamesUnread
from pgnotary.session.manner import manner_of
from pgnotary.session.outcomes import outcome
from pgnotary.session.refuse import fail_block, refuse
from pgnotary.session.relaying import Withdrawn, relay_part
from pgnotary.session.scope import renew_scope
from pgnotary.session.state import IDLE, IN_BLOCK, SessionState
from pgnotary.session.steps import Answer, Flow, Keep, Step, UpstreamLost, ask, relay, write
from pgnotary.session.writing import relay_outside_block
from pgnotary.wire.frames import Frame
from pgnotary.wire.messages import Diagnostic, query, rows_of

__all__ = ["TIMELINE", "execute", "void"]

# Which history of the cluster this is: a promoted standby gives the same ids to other transactions.
TIMELINE = (
    "CASE WHEN pg_catalog.pg_is_in_recovery() THEN '' ELSE "
    "pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) END"
)
# Of a text that nobody could read: the server took it for control of the transaction.
_CONTROL_TAGS = frozenset(
    {"BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PREPARE TRANSACTION"}
)
_DURABLE_AND_XID = f"SET LOCAL synchronous_commit = on; SELECT pg_catalog.pg_current_xact_id(), {TIMELINE}".encode()


@dataclass(frozen=True, slots=True)
class _Transaction:
    """Where the statement runs."""

    xid: str
    """The server's decimal text."""
    timeline: str
    """Eight hexadecimal digits."""


class _NotRun(StatementError):
    """An approved statement that did not run, or did not stay; `sqlstate` is the server's own if it says why."""

    sqlstate = "55000"


def execute(state: SessionState, statement: Statement, frame: Frame, decided: Decided) -> Flow:
    """Run an approved statement and answer the client."""
    outside, wrapped = statement.runs_outside_blocks, state.status == IDLE
    transaction = yield from _prepare(state, statement, decided, wrapped=wrapped)
    if transaction is None:
        return
    try:
        leaf = yield from _intend(state, decided, transaction, _place(wrapped=wrapped, outside=outside))
    except LedgerUnavailable as error:
        yield from _undo(state, wrapped=wrapped)
        _leave_unrecorded(state)
        yield from refuse(state, error, decided.request)
        return
    xid = transaction.xid
    run = _Run(state, decided, xid, leaf, wrapped=wrapped)
    if _has_left(state):
        yield from run.settle(State.ROLLED_BACK, why="the client has gone before it was sent")
        return
    if _is_cancelled(state):
        yield from _undo(state, wrapped=wrapped)
        yield from run.settle(State.ROLLED_BACK, why="cancelled before it was sent")
        yield from refuse(state, _cancelled(decided), decided.request)
        return
    try:
        if outside:
            yield from run.finish_outside(statement, (yield from relay_outside_block(state, frame)))
        else:
            yield from _run_in_block(state, run, statement, frame)
    except (UpstreamLost, UpstreamProtocolError) as lost:
        yield from run.settle(State.UNKNOWN, why=str(lost))
        if outside:
            detail = f"{decided.request}: the server went away while it ran, outside any transaction."
            raise OutcomeUnknown("the outcome is not known", detail=detail) from lost
        detail = (
            f"{decided.request}: the server went away in transaction {xid}. Unless that committed, nothing changed."
        )
        hint = f"SELECT pg_xact_status('{xid}') tells whether it committed."
        raise OutcomeUnknown("the outcome is not known", detail=detail, hint=hint) from lost


def _run_in_block(state: SessionState, run: "_Run", statement: Statement, frame: Frame) -> Flow:
    try:
        answer = yield from _run(state, statement, frame)
    except StatementError as error:
        yield from run.undo(error)
    else:
        yield from run.finish(statement, answer)


def _prepare(
    state: SessionState, statement: Statement, decided: Decided, *, wrapped: bool
) -> Generator[Step, Any, _Transaction | None]:
    """Return where the statement is to run, or None if it does not run: then the client has been told."""
    try:
        yield from _require_same_names(state, statement)
        if statement.runs_outside_blocks:
            transaction = _Transaction("", (yield from _timeline(state)))
        else:
            transaction = yield from _open(state, statement, wrapped=wrapped)
    except _NotRun as error:
        yield from void(state, decided, str(error))
        yield from refuse(state, error, decided.request)
        return None
    except (UpstreamLost, UpstreamProtocolError) as lost:
        yield from void(state, decided, str(lost))
        raise
    if _has_left(state):
        yield from void(state, decided, "the client has gone")
        return None
    if _is_cancelled(state):
        yield from _undo(state, wrapped=wrapped)
        yield from void(state, decided, "cancelled before it was sent")
        yield from refuse(state, _cancelled(decided), decided.request)
        return None
    if (objection := _objection(state, decided)) is not None:
        yield from void(state, decided, objection.detail)
        yield from _undo(state, wrapped=wrapped)
        yield from refuse(state, objection, decided.request)
        return None
    return transaction


def _require_same_names(state: SessionState, statement: Statement) -> Flow:
    """Raise _NotRun if something that was signed meanwhile has made a name stand for another relation."""
    if state.catalog_generation == state.generation():
        return
    try:
        yield from renew_catalog(state, anywhere=True)
        yield from renew_scope(state)
    except NamesUnread as unread:
        raise _NotRun(f"it is not known what its names stand for now: {unread.message}") from unread
    meant, found = (
        {".".join(name) for part in each.parts for name in part.resolved}
        for each in (statement, state.judge(statement.text)[0])
    )
    if meant != found:
        told = f"signed was {', '.join(sorted(meant - found))}, now it would be {', '.join(sorted(found - meant))}"
        raise _NotRun("the names in it stand for other relations now", detail=told, hint="Run it again to ask again.")


def _leave_unrecorded(state: SessionState) -> None:
    """Let no savepoint save the block: its transaction's fate would be taken for that of what did not stay."""
    if state.block:
        state.block.unrecorded = True


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


def _objection(state: SessionState, decided: Decided) -> _NotRun | None:
    """Say why the approval does not count any more, if the roster that is in force now gives its key to nobody."""
    try:
        signer = state.rules.roster().find(decided.public, state.now.wall)
        if signer.person == decided.approver:
            return None
        why = f"the key {fingerprint(decided.public)} is {signer.person}'s now"
    except BadSignature as error:
        why = str(error)
    message = f"{decided.request} does not run: the approval by {decided.approver} does not count any more"
    return _NotRun(message, detail=why, hint="Run it again, for somebody whose key is on the roster now to decide.")


def void(state: SessionState, decided: Decided, why: str) -> Flow:
    """Record that an approved statement does not run after all."""
    draft = Draft(
        EntryType.VOID,
        {"why": why},
        session=state.who.session,
        request=decided.request,
        after=decided.receipt.leaf,
    )
    try:
        yield from write(draft, move=Move(decided.request, State.APPROVED, State.VOID))
    except (LedgerUnavailable, RequestMoved):
        return  # It stays approved and cannot run: only this session could have run it.


def _open(state: SessionState, statement: Statement, *, wrapped: bool) -> Generator[Step, Any, _Transaction]:
    """Open the transaction that the statement runs in."""
    begin = _beginning(state, statement.parts[0], statement) if wrapped else b""
    answer = yield from ask(query(begin + _DURABLE_AND_XID))
    match answer.rows:
        case [(str(xid), str(timeline))] if answer.error is None and state.status == IN_BLOCK:
            return _Transaction(xid, timeline)
    if wrapped and state.status != IDLE:
        yield from ask(query(b"ROLLBACK"))
    error = _NotRun(f"no read-write transaction could be opened: {answer.error or 'no transaction id'}")
    if answer.error is not None:
        error.sqlstate = (
            answer.error.sqlstate or error.sqlstate
        )  # Its own: 25006 tells a driver that this is a standby.
    raise error


def _beginning(state: SessionState, first: Part, statement: Statement) -> bytes:
    """Return how our transaction begins: like the client's own, and READ WRITE unless the client wants it otherwise."""
    begin = statement.slice(first) if first.control else b"BEGIN"
    writable = first.read_only is None and not state.is_read_only
    return begin + (b"; SET TRANSACTION READ WRITE; " if writable else b"; ")


def _place(*, wrapped: bool, outside: bool) -> str:
    return "outside" if outside else "wrapped" if wrapped else "block"


def _timeline(state: SessionState) -> Generator[Step, Any, str]:
    answer = yield from ask(query(f"SELECT {TIMELINE}".encode()))
    match answer.rows:
        case [(str(timeline),)] if answer.error is None and state.status == IDLE:
            return timeline
    raise _NotRun(f"the server's timeline could not be read: {answer.error}")


def _intend(
    state: SessionState, decided: Decided, transaction: _Transaction, where: str
) -> Generator[Step, Any, bytes]:
    body: dict[str, JSON] = {
        **({"xid": transaction.xid} if transaction.xid else {}),
        "timeline": transaction.timeline,
        "upstream_pid": state.who.upstream_pid,
        "system_identifier": state.who.system_identifier,
        "where": where,
    }
    draft = Draft(
        EntryType.INTENT, body, session=state.who.session, request=decided.request, after=decided.receipt.leaf
    )
    (receipt,) = yield from write(draft, move=Move(decided.request, State.APPROVED, State.INTENT))
    return receipt.leaf


def _undo(state: SessionState, *, wrapped: bool) -> Flow:
    """Undo what has run, without a word to the client."""
    if wrapped and state.status == IDLE:
        return  # Nothing has been opened for it.
    if wrapped:
        undone = yield from ask(query(b"ROLLBACK"))
        if undone.error is not None or state.status != IDLE:
            raise UpstreamProtocolError(f"ROLLBACK failed: {undone.error}")
    else:
        yield from fail_block(state)


def _run(state: SessionState, statement: Statement, frame: Frame) -> Generator[Step, Any, Answer]:
    """Run the client's bytes: one statement as it came, of several each as its own message, answers kept in order.

    What was signed is what may write: the harmless parts run behind the read-only wall as they would by themselves.
    """
    if len(statement.parts) == 1:
        return (yield from relay(frame.raw, keep=Keep.COMPLETION))
    whole = Answer(kept=bytearray(_tag("BEGIN") if statement.parts[0].control else b""))
    for part in statement.parts:
        if part.control:
            continue  # BEGIN and COMMIT are ours to send.
        message = query(statement.slice(part))
        if part.harmless:
            answer = yield from relay_part(state, part, manner_of(part), message, keep=Keep.ALL)
        else:
            answer = yield from relay(message, keep=Keep.ALL)
        if not whole.take(answer):
            break
    return whole


def _tag(tag: str) -> bytes:
    body = tag.encode() + b"\0"
    return b"C" + (len(body) + 4).to_bytes(4, "big") + body


class _Run:
    """One execution from its intent to its outcome."""

    def __init__(self, state: SessionState, decided: Decided, xid: str, leaf: bytes, *, wrapped: bool) -> None:
        self._state = state
        self._decided = decided
        self._xid = xid
        self._leaf = leaf
        self._wrapped = wrapped
        self._at = State.INTENT
        self._rows: int | None = None
        self._unreadable = False
        self._started = state.now.monotonic

    def finish(self, statement: Statement, answer: Answer) -> Flow:
        """Take the statement's answer to its outcome."""
        self._state.scope_stale = True
        if self._state.block:
            self._state.block.rescoped = True
        self._state.names.doubtful = True  # A PREPARE inside it outlives even its failure.
        if answer.error is not None:
            yield from self._fail(statement, answer)
            return
        self._rows = _rows(statement, answer.tags)
        self._unreadable = statement.unreadable
        if (refusal := self._refusal(answer)) is not None:
            yield from self.undo(refusal)
            return
        try:
            yield from self._executed(answer.tags)
        except LedgerUnavailable as error:
            yield from _undo(self._state, wrapped=self._wrapped)
            _leave_unrecorded(self._state)
            yield from refuse(self._state, error, self._decided.request)
            return
        if self._wrapped:
            yield from self._commit(statement.parts[-1], statement, answer)
        else:
            self._leave_pending()
            self._state.tell(answer.kept)
            self._state.ready()

    def finish_outside(self, statement: Statement, answer: Answer) -> Flow:
        """Take the answer to a statement that has run outside any transaction: what it did stays, whatever follows."""
        self._state.scope_stale = self._state.names.doubtful = True
        if answer.error is None:
            self._rows = _rows(statement, answer.tags)
            try:
                yield from self._executed(answer.tags)
            except LedgerUnavailable as down:
                detail = f"{self._decided.request} has run, but the ledger could not be written."
                raise OutcomeUnknown("the outcome could not be recorded", detail=detail, hint=down.hint) from down
            yield from self.settle(State.COMMITTED)
        else:
            yield from self.settle(State.FAILED, error=answer.error)
        self._state.tell(answer.kept)
        self._state.ready()

    def undo(self, error: StatementError) -> Flow:
        """Let nothing stay of what has run, and say why."""
        yield from _undo(self._state, wrapped=self._wrapped)
        yield from self.settle(State.ROLLED_BACK, why=error.message)
        yield from refuse(self._state, error, self._decided.request)

    def _refusal(self, answer: Answer) -> StatementError | None:
        """Say why what has run must not stay, if it must not."""
        ceiling, name = self._decided.max_rows, self._decided.request
        if self._state.status != IN_BLOCK or (self._unreadable and not _CONTROL_TAGS.isdisjoint(answer.tags)):
            if self._state.block:
                self._state.block.lost = True
            raise UpstreamProtocolError("the statement ended or changed the transaction that it ran in")
        if answer.overflowed:
            what = f"{name} rolled back: more results follow its first one than can be kept back"
            return TooLarge(what, hint="Send its statements one by one.")
        if ceiling is not None and self._rows is None:
            message = f"{name} rolled back: its rows cannot be counted, approved for at most {ceiling}"
            return _NotRun(message, detail="Nothing was changed.", hint="Ask for a decision over any number of rows.")
        if ceiling is not None and self._rows is not None and self._rows > ceiling:
            message = f"{name} rolled back: {self._rows} rows affected, approved for at most {ceiling}"
            return _NotRun(
                message, detail="Nothing was changed.", hint="Ask for a new decision over the present number."
            )
        if self._state.client_gone:
            return _NotRun(f"{name} rolled back: the client has gone")
        return None

    def _fail(self, statement: Statement, answer: Answer) -> Flow:
        """The statement met an error of its own: nothing of it stays."""
        if self._wrapped and not statement.parts[0].control:
            yield from _undo(self._state, wrapped=True)
        elif self._wrapped:
            self._state.block = Block()  # The client's own BEGIN: its block is open and failed, as without us.
        yield from self.settle(State.FAILED, error=answer.error)
        self._state.tell(answer.raw_error if answer.overflowed else answer.kept)
        self._state.ready()

    def _executed(self, tags: Sequence[str]) -> Flow:
        body: dict[str, JSON] = {
            "tags": list(tags[:200]),
            "took_us": int((self._state.now.monotonic - self._started) * 1_000_000),
        }
        if self._rows is not None:
            body["rows"] = self._rows
        draft = Draft(
            EntryType.EXECUTED,
            body,
            session=self._state.who.session,
            request=self._decided.request,
            after=self._leaf,
        )
        (receipt,) = yield from write(draft, move=Move(self._decided.request, State.INTENT, State.EXECUTED))
        self._leaf, self._at = receipt.leaf, State.EXECUTED

    def _commit(self, last: Part, statement: Statement, answer: Answer) -> Flow:
        """End our own transaction, or the client's `...; COMMIT`, and answer once the outcome is durable."""
        ending = query(statement.slice(last)) if last.control else query(b"COMMIT")
        rolls_back = last.control is Control.ROLLBACK
        ended = yield from ask(ending)
        committed = ended.error is None and ended.tags == ["COMMIT"] and self._state.status == IDLE
        if self._state.status != IDLE:
            yield from _undo(self._state, wrapped=True)
        yield from self.settle(State.COMMITTED if committed else State.ROLLED_BACK, error=ended.error)
        if ended.error is not None:
            # Of `BEGIN; ...; COMMIT` PostgreSQL has answered the parts by then; of a single statement nothing.
            self._state.tell(answer.kept if last.control else b"")
            self._state.tell(ended.raw_error)
        elif committed or rolls_back:
            self._state.tell(answer.kept)
            if last.control:
                self._state.tell(_tag(ended.tags[0] if ended.tags else ""))
        else:
            self._state.error(_NotRun(f"{self._decided.request} was not committed: the server answered {ended.tags}"))
        self._state.ready()

    def _leave_pending(self) -> None:
        """Its outcome is the block's."""
        if self._state.block is None:
            raise UpstreamProtocolError("a transaction block that we did not see begin")
        self._state.block.statements += 1
        self._state.block.pending.append(Pending(self._decided.request, self._leaf, self._rows, self._xid))

    def settle(self, fate: State, *, error: Diagnostic | None = None, why: str = "") -> Flow:
        """Record the outcome; if that fails after the fact the client is told that it is unknown."""
        draft = outcome(
            self._state,
            self._decided.request,
            self._leaf,
            fate,
            rows=self._rows if fate is State.COMMITTED else None,
            xid=self._xid,
            error=error,
            why=why,
        )
        try:
            yield from write(draft, move=Move(self._decided.request, self._at, fate))
        except (LedgerUnavailable, RequestMoved) as failed:
            # RequestMoved: a record that failed before this one has happened all the same.
            detail = f"{self._decided.request} is {fate}, but the ledger could not be written."
            hint = "pgnotary settles what it finds open when it is started again."
            raise OutcomeUnknown("the outcome could not be recorded", detail=detail, hint=hint) from failed


def _rows(statement: Statement, tags: Sequence[str]) -> int | None:
    """Return how many rows the parts that wanted a signature changed, or None if tags do not count all of them."""
    parts = [part for part in statement.parts if not part.control]
    if not statement.countable or len(parts) != len(tags):
        return None
    counts = [rows_of(tag) for part, tag in zip(parts, tags, strict=True) if not part.harmless]
    return sum(rows or 0 for rows in counts) if None not in counts else None

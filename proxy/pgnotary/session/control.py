"""Transaction control, and the fate of approved statements in the client's own block.

A block that the client opens is made READ WRITE, since default_transaction_read_only says otherwise, unless the client
asked for READ ONLY. Once a block holds an approved statement, what ends or undoes it is durable in the ledger before it
is sent, and the client's answer waits until the outcome is. PREPARE TRANSACTION ends a block, too: what is in it is
neither committed nor rolled back then, and known by its name from there on. A block that was signed for a number of
rows is not committed with more of them, whatever waits for its end.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from pgnotary.errors import LedgerUnavailable, RequestMoved, StatementError, UpstreamProtocolError
from pgnotary.judge.statement import Control, Part, Statement
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.ended import Ended
from pgnotary.request.life import Move, State
from pgnotary.session.block import Block, Pending
from pgnotary.session.deferred import run_deferred
from pgnotary.session.inject import put
from pgnotary.session.outcomes import outcome
from pgnotary.session.prepared_transactions import PreparedTransaction, Signed
from pgnotary.session.refuse import refuse
from pgnotary.session.sent import Sent, query_of
from pgnotary.session.state import FAILED, IDLE, IN_BLOCK, SessionState
from pgnotary.session.steps import Answer, Flow, Keep, Step, UpstreamLost, relay, write
from pgnotary.session.timeline import XID_AND_TIMELINE
from pgnotary.session.told import Told
from pgnotary.session.undone import note_undone, number_undone

__all__ = [
    "AT_THE_NEXT_START",
    "OutcomeUnknown",
    "control",
    "control_all",
    "end_own_block",
    "run_control",
    "settle",
    "write_ending",
]

AT_THE_NEXT_START = "pgnotary settles what it finds open when it is started again."
"""What a client is told of a record that is missing."""

_MAKE_WRITABLE = b"SET TRANSACTION READ WRITE"
_MAKE_READ_ONLY = b"SET LOCAL transaction_read_only = on"
_TAGS = {Control.COMMIT: "COMMIT", Control.ROLLBACK: "ROLLBACK", Control.PREPARE: "PREPARE TRANSACTION"}
_ENDED = {Control.COMMIT: Ended.COMMIT, Control.ROLLBACK: Ended.ROLLBACK, Control.PREPARE: Ended.PREPARED}
_FATES = {Control.COMMIT: State.COMMITTED, Control.ROLLBACK: State.ROLLED_BACK, Control.PREPARE: State.PREPARED}


class OutcomeUnknown(StatementError):
    """What became of a statement, or of a transaction, is not known, or not recorded; the session ends with it."""

    sqlstate = "08007"


def control(state: SessionState, statement: Statement, sent: Sent) -> Generator[Step, Any, Told]:
    """Answer one statement of transaction control."""
    try:
        answer = yield from run_control(state, statement.parts[0], sent)
    except LedgerUnavailable as error:
        return (yield from refuse(state, error))
    return Told.of(answer.error)


def control_all(state: SessionState, statement: Statement) -> Generator[Step, Any, Told]:
    """Answer a text of several statements of transaction control, up to the first that fails."""
    try:
        for part in statement.parts:
            answer = yield from run_control(state, part, query_of(statement.slice(part)))
            if answer.error is not None:
                return Told.ERROR
    except LedgerUnavailable as error:
        return (yield from refuse(state, error))
    return Told.RESULT


def run_control(state: SessionState, part: Part, sent: Sent) -> Generator[Step, Any, Answer]:
    """Run transaction control, relay its answer and return it; the ReadyForQuery is the caller's to send."""
    block, started = state.block, state.now
    noted = block.noted if block else 0
    try:
        answer = yield from _run(state, part, sent)
    except OutcomeUnknown as error:
        note_undone(state, sent, started, noted, [], error.sqlstate)
        if block:
            block.noted = 0  # The end of the session shall not say that they are undone.
        raise
    undone = number_undone(state, block, noted, part, answer)
    note_undone(state, sent, started, undone, answer.tags, (answer.error.sqlstate or "XX000") if answer.error else "")
    return answer


def _run(state: SessionState, part: Part, sent: Sent) -> Generator[Step, Any, Answer]:
    if part.control is Control.ROLLBACK_TO and state.block and state.block.unrecorded:
        raise LedgerUnavailable(
            "a statement of this block could not be recorded: only ROLLBACK can end it", hint="roll the block back"
        )
    match part.control:
        case Control.BEGIN if state.status == IDLE:
            return (yield from _begin(state, part, sent))
        case Control.COMMIT | Control.ROLLBACK:
            return (yield from _end(state, part.control, lambda: relay(sent, keep=Keep.COMPLETION, unstoppable=True)))
        case Control.PREPARE:
            return (yield from _prepare(state, part, sent))
        case Control.ROLLBACK_TO:
            return (yield from _undo(state, part, sent))
    answer = yield from relay(sent, unstoppable=True)
    if state.block and answer.error is None:
        if part.control is Control.SAVEPOINT:
            state.block.savepoint(part.savepoint)
            state.encoding.savepoint(part.savepoint)
        elif part.control is Control.RELEASE:
            _require_known(state.block, part)
            state.block.release(part.savepoint)
            state.encoding.release(part.savepoint)
        elif part.control is Control.SET and part.read_only is not None:
            state.block.read_only = part.read_only
    return answer


def _begin(state: SessionState, part: Part, sent: Sent) -> Generator[Step, Any, Answer]:
    answer = yield from relay(sent, keep=Keep.COMPLETION, unstoppable=True)
    read_only = state.is_read_only if part.read_only is None else part.read_only
    if answer.error is None and not read_only and part.read_only is None:
        made = yield from put(state, _MAKE_WRITABLE)
        if made.error is not None:
            raise UpstreamProtocolError(f"a new block could not be made READ WRITE: {made.error}")
    if state.status == IN_BLOCK:
        state.block = Block(read_only=read_only)
        state.encoding.begin()
    state.tell(answer.kept)
    return answer


def end_own_block(state: SessionState, ending: Control) -> Generator[Step, Any, bytes]:
    """End a block of ours around a batch by COMMIT or ROLLBACK; return the server's error about it, or nothing.

    Whatever happens, the block is gone when this returns. Raises LedgerUnavailable if nothing was committed because
    that could not be recorded.
    """
    try:
        answer = yield from _end(state, ending, lambda: put(state, ending.upper().encode()))
    except LedgerUnavailable:
        yield from _end(state, Control.ROLLBACK, lambda: put(state, b"ROLLBACK"))
        raise
    if state.status != IDLE:
        yield from _end(state, Control.ROLLBACK, lambda: put(state, b"ROLLBACK"))
    if state.status != IDLE:
        raise UpstreamProtocolError("a transaction of ours could not be ended")
    return answer.raw_error


def _prepare(state: SessionState, part: Part, sent: Sent) -> Generator[Step, Any, Answer]:
    """End the block by PREPARE TRANSACTION: its transaction waits under its name, if the server takes it."""
    vouched = state.block is not None and not state.block.older_rules
    named = PreparedTransaction(part.gid, "", "", state.who.system_identifier, vouched=vouched)
    if state.status == IN_BLOCK and not state.who.standby:
        found = yield from put(state, XID_AND_TIMELINE)
        if found.error is not None:
            state.tell(found.raw_error)
            return found
        match found.rows:
            case [(str(xid), str(timeline))]:
                named.xid, named.timeline = xid, timeline
            case _:
                raise UpstreamProtocolError("which transaction is to be prepared could not be read")
    send = partial(relay, sent, keep=Keep.COMPLETION, unstoppable=True)
    return (yield from _end(state, Control.PREPARE, send, named))


def _end(
    state: SessionState,
    ending: Control,
    send: Callable[[], Generator[Step, Any, Answer]],
    named: PreparedTransaction | None = None,
) -> Generator[Step, Any, Answer]:
    """End the block; `named` is what its transaction is known by if it is prepared."""
    pending = list(state.block.pending) if state.block else []
    keeps = ending is not Control.ROLLBACK
    if keeps and not pending:
        yield from _wall_the_end(state)
    try:
        yield from _announce(state, ending, pending, gid=named.gid if named else None)
    except LedgerUnavailable:
        # What cannot be recorded is not committed; undoing it needs no record to be safe.
        if keeps:
            raise
    stopped = None
    try:
        if keeps and state.status == IN_BLOCK:
            stopped = yield from run_deferred(state, pending)
        answer = yield from (send() if stopped is None else put(state, b"ROLLBACK"))
    except UpstreamLost as lost:
        _note_ran(state, State.UNKNOWN if keeps else State.ROLLED_BACK)
        _forget(state)
        if not keeps:
            yield from settle(state, pending, State.ROLLED_BACK, Ended.SERVER_LOST, why=str(lost))
            raise
        yield from settle(state, pending, State.UNKNOWN, Ended.SERVER_LOST, why=str(lost))
        what = "PREPARE TRANSACTION: whether it is prepared" if named else "COMMIT: whether it committed"
        raise OutcomeUnknown(f"the server went away during {what} is not known") from lost
    if answer.error is not None and state.status == FAILED:
        # It never began (cancelled, say), so the block is still there, and a savepoint may save it.
        state.tell(answer.kept)
        return answer
    if answer.error is None and answer.tags not in ([_TAGS[ending]], ["ROLLBACK"]):
        if state.block:
            state.block.lost = True
        raise UpstreamProtocolError(f"the end of a block was answered with {answer.tags[:5]}")
    own = bool(state.block and state.block.own)
    fate = _FATES[ending] if answer.error is None and answer.tags == [_TAGS[ending]] else State.ROLLED_BACK
    _note_ran(state, fate, answer)
    _forget(state)
    state.encoding.end(committed=fate is not State.ROLLED_BACK)
    yield from _begin_chained(state)
    state.names.end_transaction()
    if stopped is not None:
        told = stopped.answer
        by_server = None if stopped.why else told
        yield from settle(state, pending, fate, stopped.ended, by_server, why=stopped.why, added=stopped.added)
        state.tell(b"" if own else told.raw_error)
        return told
    ended = _ended(ending, answer, own=own)
    yield from settle(state, pending, fate, ended, answer, gid=named.gid if named and fate is State.PREPARED else None)
    if named and fate is State.PREPARED and named.xid:
        named.signed = [Signed(one.request, state.who.session, one.leaf, one.rows) for one in pending]
        state.prepared.add(named)
    state.tell(answer.kept)
    return answer


def _note_ran(state: SessionState, fate: State, answer: Answer | None = None) -> None:
    """Have noted what was forwarded in a block of ours, now that its fate is known, or cannot be known."""
    if state.block is None:
        return
    match fate:
        case State.UNKNOWN:
            state.block.note_ran(OutcomeUnknown.sqlstate)
        case State.ROLLED_BACK:
            sqlstate = answer.error.sqlstate if answer and answer.error else None
            state.block.note_ran(sqlstate or "", "undone with its batch")
        case _:
            state.block.note_ran()


def _ended(ending: Control, answer: Answer, *, own: bool) -> Ended:
    """Return which way a block has ended, by the server's answer."""
    if answer.error is not None:
        return Ended.COMMIT_FAILED
    if answer.tags != [_TAGS[ending]]:
        return Ended.COMMIT_ROLLED_BACK
    if own:
        return Ended.BATCH_COMMIT if ending is Control.COMMIT else Ended.BATCH_ROLLBACK
    return _ENDED[ending]


def _begin_chained(state: SessionState) -> Flow:
    """Take over the block that AND CHAIN has begun, or that there is none any more."""
    chained = state.status == IN_BLOCK
    if chained and state.block and (state.block.loose or state.block.holds_cursor) and not state.block.read_only:
        made = yield from put(state, _MAKE_WRITABLE)
        if made.error is not None:
            raise UpstreamProtocolError(f"a new block could not be made READ WRITE: {made.error}")
    state.block = Block(read_only=state.is_read_only) if chained else None
    if chained:
        state.encoding.begin()


def _wall_the_end(state: SessionState) -> Flow:
    """Keep what a read has left behind for the COMMIT to run from writing: it was not signed.

    That is a cursor WITH HOLD, or a deferred trigger.
    """
    block = state.block
    if state.status == IN_BLOCK and block and (block.loose or (block.holds_cursor and not block.must_write)):
        made = yield from put(state, _MAKE_READ_ONLY)
        if made.error is not None:
            raise UpstreamProtocolError(f"a block could not be made READ ONLY: {made.error}")


def _undo(state: SessionState, part: Part, sent: Sent) -> Generator[Step, Any, Answer]:
    undone = state.block.after(part.savepoint) if state.block else []
    yield from _announce(state, Control.ROLLBACK_TO, undone, part.savepoint)
    answer = yield from relay(sent, keep=Keep.COMPLETION if undone else Keep.NOTHING, unstoppable=True)
    if answer.error is None and state.block:
        _require_known(state.block, part)
        state.block.rolled_back_to(part.savepoint)
        state.encoding.roll_back_to(part.savepoint)
        state.scope_stale |= state.block.rescoped
        if state.block.remade:
            state.changed()
        state.names.end_transaction()  # Those that were bound since are gone; we do not know which they are.
        yield from settle(
            state, undone, State.ROLLED_BACK, Ended.ROLLBACK_TO, why=f"rolled back to savepoint {part.savepoint}"
        )
    state.tell(answer.kept)
    return answer


def _require_known(block: Block, part: Part) -> None:
    """Raise if the server knows a savepoint that we do not: what it undoes is unknown, so nothing may be committed."""
    if not block.knows(part.savepoint):
        raise UpstreamProtocolError("the server accepted a savepoint's name that is not one of this block's")


def _announce(
    state: SessionState, ending: Control, pending: Sequence[Pending], savepoint: str = "", *, gid: str | None = None
) -> Flow:
    """Record what is about to happen to approved statements, before it is sent."""
    for one in _certain(pending):
        body: dict[str, JSON] = {"action": str(ending), "xid": one.xid}
        if savepoint:
            body["savepoint"] = savepoint
        if gid is not None:
            body["gid"] = gid
        yield from write_ending(one, state.who.session, body)


def write_ending(one: Pending | Signed, session: str | None, body: Mapping[str, JSON]) -> Flow:
    """Record what is about to happen to an approved statement; raises LedgerUnavailable if that is not recorded."""
    draft = Draft(EntryType.ENDING, body, session=session, request=one.request, after=one.leaf)
    one.doubtful = True
    try:
        (receipt,) = yield from write(draft)
    except RequestMoved as moved:
        raise LedgerUnavailable(f"{one.request} has gone on without this session", hint=AT_THE_NEXT_START) from moved
    one.leaf, one.doubtful = receipt.leaf, False


def settle(
    state: SessionState,
    pending: Sequence[Pending],
    fate: State,
    ended: Ended,
    answer: Answer | None = None,
    *,
    why: str = "",
    gid: str | None = None,
    added: int = 0,
) -> Flow:
    """Record the fate of approved statements; what cannot be recorded after the fact ends the session as unknown.

    `added`: how many rows more than were signed the end of their block would have changed.
    """
    error = answer.error if answer else None
    try:
        for one in _certain(pending):
            rows = one.rows if fate is State.COMMITTED else None
            draft = outcome(
                state,
                one.request,
                one.leaf,
                fate,
                ended,
                rows=rows,
                xid=one.xid,
                error=error,
                why=why,
                gid=gid,
                exceeded=one.compared(added) if added else {},
            )
            (receipt,) = yield from write(draft, move=Move(one.request, State.EXECUTED, fate))
            one.leaf = receipt.leaf
    except (LedgerUnavailable, RequestMoved) as failed:
        detail = f"What the transaction did is {fate}, but the ledger could not be written."
        hint = failed.hint if isinstance(failed, LedgerUnavailable) else AT_THE_NEXT_START
        raise OutcomeUnknown("the outcome could not be recorded", detail=detail, hint=hint) from failed


def _certain(pending: Sequence[Pending]) -> Iterator[Pending]:
    """Yield those whose newest entry is known, then raise LedgerUnavailable if there are others."""
    yield from (one for one in pending if not one.doubtful)
    if doubtful := [one.request for one in pending if one.doubtful]:
        raise LedgerUnavailable(f"a record about {', '.join(doubtful)} failed: it is settled at the next start")


def _forget(state: SessionState) -> None:
    """Drop what is about to be settled, so that it is settled once; what the block has remade may be otherwise now."""
    if state.block is None:
        return
    state.block.pending = []
    state.scope_stale |= state.block.rescoped
    if state.block.remade:
        state.changed()

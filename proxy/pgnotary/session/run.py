"""One execution of something that was signed, from its intent to its outcome: each step durable before the next.

What the server answered to the statement enters; its outcome is durable before the client hears of it. More rows than
were signed, an error, a client that has gone: then nothing of it stays, and the entry says why. How many rows it has
changed is recorded before that is compared with what was signed. In the client's own block the outcome is left to its
COMMIT or ROLLBACK.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from pgnotary.errors import LedgerUnavailable, RequestMoved, StatementError, TooLarge, UpstreamProtocolError
from pgnotary.judge.renaming import may_rename
from pgnotary.judge.statement import Control, Part, Statement
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.ceiling import own_rows, told_rows
from pgnotary.request.ended import Ended
from pgnotary.request.life import Move, State
from pgnotary.session.block import Block, Pending
from pgnotary.session.changes import BEHIND, NOTHING, Changes, Counters, NotCounted, changes, counters_in, targets_of
from pgnotary.session.control import AT_THE_NEXT_START, OutcomeUnknown
from pgnotary.session.copying import CopyIn
from pgnotary.session.deferred import Fired, fire
from pgnotary.session.events import Decided
from pgnotary.session.inject import put
from pgnotary.session.mark import Mark
from pgnotary.session.outcomes import outcome
from pgnotary.session.refuse import fail_block, refuse
from pgnotary.session.state import IDLE, IN_BLOCK, SessionState
from pgnotary.session.steps import Answer, Flow, Step, write
from pgnotary.session.told import Told
from pgnotary.session.waiting import WAITING, Waiting, waiting_in
from pgnotary.wire.messages import Diagnostic

__all__ = ["NotRun", "Run", "command_complete", "leave_unrecorded", "undo"]

# Of a text that nobody could read: the server took it for control of the transaction.
_CONTROL_TAGS = frozenset(
    {"BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PREPARE TRANSACTION"}
)


class NotRun(StatementError):
    """An approved statement that did not run, or did not stay; `sqlstate` is the server's own if it says why."""

    sqlstate = "55000"


def leave_unrecorded(state: SessionState) -> None:
    """Let no savepoint save the block: its transaction's fate would be taken for that of what did not stay."""
    if state.block:
        state.block.unrecorded = True


def undo(state: SessionState, *, wrapped: bool) -> Flow:
    """Undo what has run, without a word to the client."""
    if wrapped and state.status == IDLE:
        return  # Nothing has been opened for it.
    if wrapped:
        undone = yield from put(state, b"ROLLBACK")
        if undone.error is not None or state.status != IDLE:
            raise UpstreamProtocolError(f"ROLLBACK failed: {undone.error}")
    else:
        yield from fail_block(state)


def command_complete(tag: str) -> bytes:
    """Return the message that tells the client of a statement which was ours to send."""
    body = tag.encode() + b"\0"
    return b"C" + (len(body) + 4).to_bytes(4, "big") + body


class Run:
    """One execution from its intent to its outcome."""

    def __init__(
        self,
        state: SessionState,
        decided: Decided,
        xid: str,
        leaf: bytes,
        mark: Mark,
        *,
        wrapped: bool,
        before: Counters,
        executions: int = 1,
        copy: CopyIn | None = None,
    ) -> None:
        self._state = state
        self._decided = decided
        self._xid = xid
        self._leaf = leaf
        self._mark = mark
        self._wrapped = wrapped
        self._before = before
        self._executions = executions
        self._copy = copy
        self._at = State.INTENT
        self._rows: int | None = None
        self._changes = Changes()
        self._waiting: Waiting = {}
        self._unseen = False
        self._started = state.now.monotonic

    def finish(self, statement: Statement, answer: Answer) -> Generator[Step, Any, Told]:
        """Take the statement's answer to its outcome."""
        self._state.scope_stale = True
        if self._state.block:
            self._state.block.rescoped = True
            self._state.block.renamed |= any(map(may_rename, statement.parts))
        self._state.names.doubtful = True  # A PREPARE inside it outlives even its failure.
        if answer.error is not None:
            return (yield from self._fail(statement, answer))
        # What nobody could read, or see behind a name.
        self._unseen = statement.unreadable or any(part.prepared for part in statement.parts)
        if (refusal := self._refusal(answer)) is not None:
            return (yield from self.undo(refusal))
        try:
            fired = yield from self._count(statement, answer.tags)
        except NotCounted as error:
            return (yield from self.undo(error))
        try:
            yield from self._executed(answer.tags)
        except LedgerUnavailable as error:
            yield from undo(self._state, wrapped=self._wrapped)
            leave_unrecorded(self._state)
            return (yield from refuse(self._state, error, self._decided.request))
        if fired.error is not None:
            return (yield from self._fail_to_commit(statement.parts[-1], answer, fired))
        if (excess := self._excess()) is not None:
            return (yield from self.undo(excess, exceeded=self._compared))
        if self._wrapped:
            return (yield from self._commit(statement.parts[-1], statement, answer))
        self._leave_pending()
        self._state.tell(answer.kept)
        return Told.RESULT

    def finish_outside(self, answer: Answer) -> Generator[Step, Any, Told]:
        """Take the answer to a statement that has run outside any transaction: what it did stays, whatever follows."""
        self._state.scope_stale = self._state.names.doubtful = True
        if answer.error is None:
            try:
                yield from self._executed(answer.tags)
            except LedgerUnavailable as down:
                detail = f"{self._decided.request} has run, but the ledger could not be written."
                raise OutcomeUnknown("the outcome could not be recorded", detail=detail, hint=down.hint) from down
            yield from self.settle(State.COMMITTED, Ended.OUTSIDE)
        else:
            yield from self.settle(State.FAILED, Ended.ERROR, error=answer.error)
        self._state.tell(answer.kept)
        return Told.of(answer.error)

    def undo(self, error: StatementError, *, exceeded: Mapping[str, JSON] | None = None) -> Generator[Step, Any, Told]:
        """Let nothing stay of what has run, and say why; `exceeded`: what was signed, and what it was instead."""
        yield from undo(self._state, wrapped=self._wrapped)
        yield from self.settle(
            State.ROLLED_BACK, _undone(self._state, error, exceeded), why=error.message, exceeded=exceeded
        )
        return (yield from refuse(self._state, error, self._decided.request))

    def _refusal(self, answer: Answer) -> StatementError | None:
        """Say why what has run must not stay, if it must not."""
        name = self._decided.request
        if self._state.status != IN_BLOCK or (self._unseen and not _CONTROL_TAGS.isdisjoint(answer.tags)):
            if self._state.block:
                self._state.block.lost = True
            raise UpstreamProtocolError("the statement ended or changed the transaction that it ran in")
        if answer.overflowed:
            what = f"{name} rolled back: more results follow its first one than can be kept back"
            return TooLarge(what, hint="Send its statements one by one.")
        if self._state.client_gone:
            return NotRun(f"{name} rolled back: the client has gone")
        return None

    def _count(self, statement: Statement, tags: Sequence[str]) -> Generator[Step, Any, Answer]:
        """Ask what it has changed, in our own transaction with what its COMMIT would run; return the server's answer.

        An error in that is the COMMIT's. Raises NotCounted.
        """
        fires = self._wrapped and statement.parts[-1].control is not Control.ROLLBACK
        if fires:
            fired = yield from fire(self._state, BEHIND)
            answer = fired.answer
        else:
            answer = yield from put(self._state, BEHIND, WAITING)
            behind = NOTHING
            if answer.error is None:
                counted, (waiting,) = answer.rows
                behind, self._waiting = counters_in([counted]), waiting_in(waiting)
            fired = Fired(answer, self._before, behind, has_counted=answer.error is None)
        if not fired.has_counted:
            raise self._not_counted(answer.error)
        if answer.error is not None:
            self._changes = Changes(uncountable="failed before it was counted")
            return answer
        self._changes = changes(self._before, fired.behind, targets_of(statement))
        if not fired.is_all:
            self._changes = Changes(uncountable="defers more each time that it runs")
        if statement.countable and not self._changes.uncountable:
            self._rows = own_rows(_told(statement, tags, self._executions), self._changes.changed)
        if self._state.status != IN_BLOCK:
            raise UpstreamProtocolError("what was deferred ended the transaction that it ran in")
        return answer

    def _not_counted(self, error: Diagnostic | None) -> NotCounted:
        message = f"{self._decided.request} rolled back: what it changed could not be counted: {error}"
        found = NotCounted(message, hint="Counting needs a statement_timeout that leaves time.")
        found.sqlstate = (error.sqlstate if error else "") or found.sqlstate
        return found

    def _excess(self) -> NotRun | None:
        """Say why what has run must not stay, if that is more than was signed."""
        ceiling, name = self._decided.ceiling, self._decided.request
        if ceiling is None:
            return None
        if self._rows is None:
            message = f"{name} rolled back: its rows cannot be counted, approved for at most {ceiling.max_rows}"
            why = f" It {self._changes.uncountable}." if self._changes.uncountable else ""
            hint = "Ask for a decision over any number of rows."
            return NotRun(message, detail=f"Nothing was changed.{why}", hint=hint)
        if excess := ceiling.excess(self._rows, self._changes.other_rows):
            detail = f"Nothing was changed. It would have been {self._changes.in_words}."
            hint = "Ask for a new decision over the present number."
            return NotRun(f"{name} rolled back: {excess}", detail=detail, hint=hint)
        return None

    @property
    def _compared(self) -> dict[str, JSON]:
        """What was signed, and how many rows it was."""
        fields = self._decided.ceiling.fields if self._decided.ceiling else {}
        rows: dict[str, JSON] = {} if self._rows is None else {"rows": self._rows}
        return fields | rows | ({"other_rows": self._changes.other_rows} if self._changes.other_rows else {})

    def _fail(self, statement: Statement, answer: Answer) -> Generator[Step, Any, Told]:
        """The statement met an error of its own: nothing of it stays."""
        if self._wrapped and not statement.parts[0].control:
            yield from undo(self._state, wrapped=True)
        elif self._wrapped:
            self._state.block = Block()  # The client's own BEGIN: its block is open and failed, as without us.
            self._state.encoding.begin()
        yield from self.settle(State.FAILED, Ended.ERROR, error=answer.error)
        self._state.tell(answer.raw_error if answer.overflowed else answer.kept)
        return Told.ERROR

    @property
    def _copied(self) -> dict[str, JSON]:
        return self._copy.told if self._copy else {}

    def _executed(self, tags: Sequence[str]) -> Flow:
        body: dict[str, JSON] = {
            "tags": list(tags[:200]),
            "took_us": int((self._state.now.monotonic - self._started) * 1_000_000),
        }
        if self._rows is not None:
            body["rows"] = self._rows
        body |= self._changes.fields | self._copied
        draft = Draft(
            EntryType.EXECUTED,
            body,
            session=self._state.who.session,
            request=self._decided.request,
            after=self._leaf,
        )
        (receipt,) = yield from write(draft, move=Move(self._decided.request, State.INTENT, State.EXECUTED))
        self._leaf, self._at = receipt.leaf, State.EXECUTED

    def _commit(self, last: Part, statement: Statement, answer: Answer) -> Generator[Step, Any, Told]:
        """End our own transaction, or the client's `...; COMMIT`, and answer once the outcome is durable."""
        ending = statement.slice(last) if last.control else b"COMMIT"
        rolls_back = last.control is Control.ROLLBACK
        ended = yield from put(self._state, ending)
        committed = ended.error is None and ended.tags == ["COMMIT"] and self._state.status == IDLE
        if ended.error is not None:
            return (yield from self._fail_to_commit(last, answer, ended))
        if self._state.status != IDLE:
            yield from undo(self._state, wrapped=True)
        ended_by = Ended.AUTOCOMMIT if not last.control else Ended.COMMIT if committed else Ended.ROLLBACK
        if not committed and not rolls_back:
            ended_by = Ended.COMMIT_ROLLED_BACK
        yield from self.settle(State.COMMITTED if committed else State.ROLLED_BACK, ended_by)
        if committed or rolls_back:
            self._state.tell(answer.kept)
            if last.control:
                self._state.tell(command_complete(ended.tags[0] if ended.tags else ""))
            return Told.RESULT
        self._state.error(NotRun(f"{self._decided.request} was not committed: the server answered {ended.tags}"))
        return Told.ERROR

    def _fail_to_commit(self, last: Part, answer: Answer, ended: Answer) -> Generator[Step, Any, Told]:
        """Tell the error of the COMMIT, or of what it would have run."""
        if self._state.status != IDLE:
            yield from undo(self._state, wrapped=True)
        yield from self.settle(State.ROLLED_BACK, Ended.COMMIT_FAILED, error=ended.error)
        # Of `BEGIN; ...; COMMIT` PostgreSQL has answered the parts by then; of a single statement nothing.
        self._state.tell(answer.kept if last.control else b"")
        self._state.tell(ended.raw_error)
        return Told.ERROR

    def _leave_pending(self) -> None:
        """Its outcome is the block's."""
        if self._state.block is None:
            raise UpstreamProtocolError("a transaction block that we did not see begin")
        self._state.block.statements += 1
        other = self._changes.other_rows
        pending = Pending(
            self._decided.request,
            self._leaf,
            self._rows,
            other,
            self._decided.ceiling,
            self._xid,
            self._mark,
            self._waiting,
        )
        self._state.block.pending.append(pending)

    def settle(
        self,
        fate: State,
        ended: Ended,
        *,
        error: Diagnostic | None = None,
        why: str = "",
        exceeded: Mapping[str, JSON] | None = None,
    ) -> Flow:
        """Record the outcome; if that fails after the fact the client is told that it is unknown."""
        draft = outcome(
            self._state,
            self._decided.request,
            self._leaf,
            fate,
            ended,
            rows=self._rows if fate is State.COMMITTED else None,
            xid=self._xid,
            error=error,
            why=why,
            copied=self._copied if self._at is State.INTENT else {},
            exceeded=exceeded or {},
        )
        try:
            yield from write(draft, move=Move(self._decided.request, self._at, fate))
        except (LedgerUnavailable, RequestMoved) as failed:
            # RequestMoved: a record that failed before this one has happened all the same.
            detail = f"{self._decided.request} is {fate}, but the ledger could not be written."
            raise OutcomeUnknown("the outcome could not be recorded", detail=detail, hint=AT_THE_NEXT_START) from failed


def _undone(state: SessionState, error: StatementError, exceeded: Mapping[str, JSON] | None) -> Ended:
    """Return which way what must not stay has ended."""
    if exceeded is not None:
        return Ended.CEILING
    return Ended.CLIENT_LOST if state.client_gone else Ended.CANCELLED if error.sqlstate == "57014" else Ended.ERROR


def _told(statement: Statement, tags: Sequence[str], executions: int) -> int | None:
    """Return how many rows the tags say that the parts that wanted a signature changed, or None if they do not."""
    parts = [part for part in statement.parts if not part.control] * executions
    if len(parts) != len(tags):
        return told_rows(tags)
    return told_rows([tag for part, tag in zip(parts, tags, strict=True) if not part.harmless])

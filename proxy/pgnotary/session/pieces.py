"""A client's batch of extended messages, cut into the pieces that may be sent; nothing is sent here but our questions.

Messages enter; pieces leave, and why the rest may not be sent, if there is a rest. A piece is transaction control
alone, or, inside a block, what runs code behind a wall, or what needs no wall. Which it is, is known from the text
behind a name; code that runs (a function may DEALLOCATE, PREPARE, CLOSE and OPEN) can give the name to something else.
So what goes without a wall is prepared and bound in its own piece, or its name is compared with the server's first.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pgnotary.errors import ClientProtocolError, LedgerUnavailable, NotSupported, StatementError, UpstreamProtocolError
from pgnotary.judge.policy import Verdict
from pgnotary.judge.rules import Action
from pgnotary.judge.settings import Ruling, ruling
from pgnotary.judge.statement import Control, Part, StatementClass
from pgnotary.session.catalog import renew_catalog
from pgnotary.session.inject import OURS, put
from pgnotary.session.judged import needs_names, read_if_large
from pgnotary.session.manner import Manner, manner_of
from pgnotary.session.names import Names
from pgnotary.session.query import await_record, sync
from pgnotary.session.scope import renew_scope
from pgnotary.session.state import FAILED, IDLE, IN_BLOCK, SessionState
from pgnotary.session.steps import Flow, Step, ask
from pgnotary.wire import messages
from pgnotary.wire.frames import Frame

__all__ = ["Nature", "Piece", "Plan", "plan"]

_PREPARED = b"SELECT name, statement FROM pg_catalog.pg_prepared_statements"
_GIVE_OR_TAKE_NAMES = frozenset({"DeallocateStmt", "DiscardStmt", "ClosePortalStmt"})
_RUN_NO_CODE = frozenset({Control.BEGIN, Control.SAVEPOINT, Control.RELEASE, Control.ROLLBACK_TO, Control.SET})
_FIRST_OWN = 16_384
"""The first oid that is not PostgreSQL's own."""
_SIMPLE_HINT = "Send it as a simple query."
_HINT = (
    "What needs an approval must come as a simple query for now: psql as it is, psycopg.ClientCursor, pgx's "
    "QueryExecModeSimpleProtocol, JDBC's preferQueryMode=simple."
)


class _Refused(StatementError):
    """A message that is not sent; `sqlstate` is set where it is raised."""


class Nature(Enum):
    """What a message is about."""

    CODE = "code"
    SETTING = "setting"
    """SET or SHOW inside a block: it needs no wall, and must outlast one."""
    CONTROL = "control"


@dataclass(slots=True)
class Piece:
    """Messages that run together, up to a Sync."""

    frames: list[Frame] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    """For each message: the text it is about, or nothing."""
    nature: Nature | None = None
    """None if nothing of it is about a text."""
    control: Part | None = None
    """The transaction control that it runs, alone, if it runs any."""

    @property
    def bound(self) -> set[bytes]:
        """The portals that it binds."""
        return {messages.bind_fields(frame.body)[0] for frame in self.frames if frame.type == b"B"}

    @property
    def outlived(self) -> bool:
        """Whether a portal that it binds may have more to give when it is done."""
        ended = {
            messages.execute_portal(frame.body)
            for frame in self.frames
            if frame.type == b"E" and not messages.execute_limit(frame.body)
        }
        return not self.bound <= ended


@dataclass(slots=True)
class Plan:
    """What is to become of a batch."""

    pieces: list[Piece]
    refusal: StatementError | None = None
    refused: Frame | None = None
    """The message that it is about; none if it is about them all, or about what is no message."""


def plan(state: SessionState, frames: Sequence[Frame]) -> Generator[Step, Any, Plan]:
    """Return what may be sent, and why the rest may not."""
    known = list(_known_texts(state, frames))
    try:
        if frames:
            yield from await_record(state)
            for _, text in known:
                yield from read_if_large(state, text)
            yield from _renew_catalog(state, known)
            yield from _make_sure(state, [(frame, text) for frame, text in known if frame.type == b"B"])
    except StatementError as error:
        return Plan([], error)
    cutter = _Cutter(state, state.names.copy())
    for frame in frames:
        try:
            cutter.take(frame)
        except StatementError as error:
            return Plan(cutter.pieces, error, None if isinstance(error, ClientProtocolError) else frame)
    return Plan(cutter.pieces)


def _known_texts(state: SessionState, frames: Sequence[Frame]) -> Iterator[tuple[Frame, bytes]]:
    """Yield what is prepared, and what of before this batch is bound or executed, as far as it is known."""
    with suppress(StatementError):  # What is wrong with a message is said when its turn comes.
        fresh = set()
        for frame in frames:
            if frame.type == b"P":
                name, text = messages.parse_fields(frame.body)
                fresh.add(name)
                yield frame, text
            elif frame.type == b"B":
                name = messages.bind_fields(frame.body)[1]
                if name not in fresh and name in state.names.statements:
                    yield frame, state.names.statements[name]
            elif frame.type == b"E" and (name := messages.execute_portal(frame.body)) in state.names.portals:
                yield frame, state.names.portals[name]


def _renew_catalog(state: SessionState, known: Sequence[tuple[Frame, bytes]]) -> Flow:
    needed = state.status == IDLE
    for _, text in known:
        with suppress(StatementError):
            needed = needed or needs_names(state.judge(text)[0])
    if needed:
        if state.unsynced and state.catalog_generation != state.generation():
            yield from sync(state)
        yield from renew_catalog(state)
        yield from renew_scope(state)


def _make_sure(state: SessionState, bound: Sequence[tuple[Frame, bytes]]) -> Flow:
    """Make sure that the names which are bound, and were prepared before this batch, still stand for these texts.

    In a failed block the server runs nothing but the end of it. What runs no code is prepared anew: a question would
    take the transaction's snapshot, too early for a SET TRANSACTION.
    """
    if state.status == FAILED:
        return
    plain = {
        messages.bind_fields(frame.body)[1]: text
        for frame, text in bound
        if _nature(state, text, walls=True) is not Nature.CODE
    }
    if plain:
        yield from sync(state)
        again = [messages.close_statement(name) + messages.parse(name, text) for name, text in plain.items()]
        answer = yield from ask(b"".join(again) + messages.SYNC)
        if answer.error is not None:
            raise NotSupported(f"what was prepared could not be prepared again: {answer.error}")
    if len(plain) < len({messages.bind_fields(frame.body)[1] for frame, _ in bound}):
        yield from _verify_names(state)


def _verify_names(state: SessionState) -> Flow:
    """Compare the names with the server's, if something signed may have given them to other statements."""
    if state.names.doubtful:
        answer = yield from put(state, _PREPARED)
        if answer.error is not None:
            raise NotSupported(f"the names of prepared statements could not be read: {answer.error}")
        if any(len(row) != 2 for row in answer.rows):
            raise UpstreamProtocolError("a prepared statement is not a name and a text")
        state.names.compare(answer.rows)


def _nature(state: SessionState, text: bytes, *, walls: bool) -> Nature:
    with suppress(StatementError):
        part = state.judge(text)[0].parts[0]
        if part.control:
            return Nature.CONTROL
        if walls and manner_of(part) is Manner.PLAIN:
            return Nature.SETTING
    return Nature.CODE


class _Cutter:
    """Takes one message after the other; raises StatementError at the first that may not be sent."""

    def __init__(self, state: SessionState, names: Names) -> None:
        self.pieces: list[Piece] = []
        self._state = state
        self._names = names
        self._walls = state.status == IN_BLOCK
        self._failed = state.status == FAILED
        self._prepared: set[bytes] = set()
        self._bound = set(names.fresh)
        self._rescoped = False

    def take(self, frame: Frame) -> None:
        text, part = self._examine(frame)
        nature = self._nature(frame, text)
        piece = self._piece(nature)
        if nature in (Nature.CONTROL, Nature.SETTING):
            self._require_sure(frame)
        self._follow(frame)
        piece.frames.append(frame)
        piece.texts.append(text or b"")
        if part is not None and nature is Nature.CONTROL:
            piece.control = part
            self._walls = True

    def _nature(self, frame: Frame, text: bytes | None) -> Nature | None:
        if text is not None:
            return _nature(self._state, text, walls=self._walls)
        if frame.type == b"D":
            kind, name = messages.described(frame.body)
            # To describe a statement may analyse it anew, which may run code; and it may be another one by now.
            return Nature.CODE if kind == b"S" and name not in self._prepared else None
        return None

    def _piece(self, nature: Nature | None) -> Piece:
        """Return the piece that the next message belongs to."""
        last = self.pieces[-1] if self.pieces else None
        if last is None:
            last = Piece()
            self.pieces.append(last)
        elif last.control or (nature and last.nature and nature is not last.nature):
            last = Piece()
            self.pieces.append(last)
            self._prepared, self._bound = set(), set()
        last.nature = last.nature or nature
        return last

    def _require_sure(self, frame: Frame) -> None:
        """Let nothing go without a wall under a name that may stand for something else by now."""
        if frame.type == b"E" and messages.execute_portal(frame.body) not in self._bound:
            raise NotSupported("what is no read must be bound and executed in one go", hint=_HINT)
        before = self.pieces[:-1]
        # In a failed block nothing was made sure of; what comes behind a ROLLBACK TO runs all the same.
        sure = not before or (
            not self._failed and all(piece.control and piece.control.control in _RUN_NO_CODE for piece in before)
        )
        if frame.type == b"B" and not sure and messages.bind_fields(frame.body)[1] not in self._prepared:
            raise NotSupported(
                "transaction control that was prepared before must come first behind a Sync",
                hint="Send a Sync before it, or prepare it anew.",
            )

    def _judge(self, text: bytes) -> Part:
        # What runs before it in the batch decides where its names are looked up.
        return _judge(self._state, text, anywhere=self._rescoped)

    def _require_proven_types(self, frame: Frame) -> None:
        """Let no Parse name a type by its oid where a type may run code: Bind would make a value of it."""
        if self._state.catalog.types and any(oid >= _FIRST_OWN for oid in messages.parameter_types(frame.body)):
            raise NotSupported(
                "a parameter's type may call what nobody has read",
                detail="This database has types of its own whose values cannot be made without it. Nothing was sent.",
                hint="Give the parameter a built-in type, and cast it in the text.",
            )

    def _follow(self, frame: Frame) -> None:
        self._names.follow(frame)
        if frame.type == b"P":
            self._prepared.add(messages.parse_fields(frame.body)[0])
        elif frame.type == b"B":
            self._bound.add(messages.bind_fields(frame.body)[0])

    def _examine(self, frame: Frame) -> tuple[bytes | None, Part | None]:
        """Return the text that a message prepares, binds or runs, and what it runs if it runs something."""
        text, part = None, None
        match frame.type:
            case b"P":
                name, text = messages.parse_fields(frame.body)
                _require_free(name)
                self._judge(text)
                self._require_proven_types(frame)
            case b"B":
                portal, statement = messages.bind_fields(frame.body)
                _require_free(portal)
                text = _known(self._names.statements, statement, "26000", "prepared statement")
                self._judge(text)
            case b"E":
                text = _known(self._names.portals, messages.execute_portal(frame.body), "34000", "portal")
                part = self._judge(text)
                block = self._state.block
                # The end of a block may take back what was set in it.
                self._rescoped |= part.rescopes or bool(part.control and block and block.rescoped)
            case _:
                messages.described(frame.body)
        return text, part


def _require_free(name: bytes) -> None:
    if name.startswith(OURS):
        raise NotSupported(f"names that begin with {OURS.decode()} are pgnotary's own")


def _known(names: dict[bytes, bytes], name: bytes, sqlstate: str, what: str) -> bytes:
    if name not in names:
        error = _Refused(
            f'{what} "{name.decode(errors="replace")}" does not exist',
            detail="pgnotary knows only what this session has prepared by Parse and Bind.",
        )
        error.sqlstate = sqlstate
        raise error
    return names[name]


def _judge(state: SessionState, text: bytes, *, anywhere: bool = False) -> Part:
    """Return the only statement of a text that is forwarded; raises StatementError otherwise."""
    kind = StatementClass.UNKNOWN
    try:
        statement, verdict = state.judge(text, anywhere=anywhere)
        kind = verdict.kind
        if len(statement.parts) > 1:
            several = _Refused("cannot insert multiple commands into a prepared statement")
            several.sqlstate = "42601"
            raise several
        if state.ledger_down is not None and not _may_end_block(state, statement.parts[0]):
            raise _again(state.ledger_down)
        if verdict.action is Action.HOLD:
            reason = f"{kind.value.upper()} needs an approval: {verdict.reason}"
            raise NotSupported(reason, detail=f"Rule {verdict.rule}. Nothing was sent.", hint=_HINT)
        if verdict.action is Action.REFUSE:
            detail = f"Rule {verdict.rule}. Nothing was sent."
            raise NotSupported(f"refused by pgnotary: {verdict.reason}", detail=detail)
        if (change := statement.parts[0].setting) and ruling(change) is Ruling.VIRTUAL:
            # The server must never hear of it: it is what our wall is made of.
            raise NotSupported(f"{change.name} is not changed in the extended protocol yet", hint=_SIMPLE_HINT)
        if not _is_carried(statement.parts[0], verdict):
            reason = f"{kind.value.upper()} is not carried in the extended protocol yet: {verdict.reason}"
            raise NotSupported(reason, detail="Nothing was sent.", hint=_HINT)
    except StatementError as error:
        if not isinstance(error, LedgerUnavailable):
            state.note_refusal(text, kind, error.sqlstate)
        raise
    return statement.parts[0]


def _is_carried(part: Part, verdict: Verdict) -> bool:
    """Say whether a part that is forwarded needs no read-write transaction of ours, and gives or takes no name."""
    names = part.prepared or part.defines or part.node in _GIVE_OR_TAKE_NAMES
    return not names and not manner_of(part, unwalled=verdict.unwalled).writes


def _may_end_block(state: SessionState, part: Part) -> bool:
    return state.status != IDLE and part.control is Control.ROLLBACK


def _again(error: LedgerUnavailable) -> LedgerUnavailable:
    # A copy: what is raised must not carry the traces of other sessions.
    return LedgerUnavailable(error.message, detail=error.detail, hint=error.hint)

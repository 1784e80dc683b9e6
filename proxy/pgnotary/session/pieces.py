"""The next piece of a client's batch of extended messages: what may be sent together, and how it must run.

Messages that wait enter; the piece at their head leaves, or a StatementError says why its first message may not be
sent. Nothing is sent or asked here. A piece of plain messages or of code may be any number of messages; transaction
control is a piece of its own, and so is what must be judged and answered as a whole: the Binds and Executes of one
text that is held, writes, or leaves something behind. The Parse right before them goes with them.

A Bind of the last two kinds without its Execute is never sent: what it would run is not decided yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from pgnotary.errors import LedgerUnavailable, NotSupported, StatementError
from pgnotary.judge.policy import Verdict
from pgnotary.judge.rules import Action
from pgnotary.judge.settings import Ruling, ruling
from pgnotary.judge.statement import Part, Statement, StatementClass
from pgnotary.session.examine import analysing_runs
from pgnotary.session.inject import OURS
from pgnotary.session.manner import Manner, manner_of
from pgnotary.session.names import Names
from pgnotary.session.parameters import FIRST_OWN
from pgnotary.session.refuse import by_policy, may_end_block
from pgnotary.session.state import IN_BLOCK, SessionState
from pgnotary.session.virtual import looks_at_default
from pgnotary.session.virtual_encoding import tells_encoding
from pgnotary.wire import messages
from pgnotary.wire.frames import Frame

__all__ = ["UNDECIDED", "Nature", "Piece", "next_piece", "runs_no_code"]

_GIVE_OR_TAKE_NAMES = frozenset({"DeallocateStmt", "DiscardStmt", "ClosePortalStmt"})
_OF_SESSION = frozenset({StatementClass.SHOW, StatementClass.SESSION, StatementClass.LISTEN, StatementClass.EMPTY})
_LEAVE_NOTHING = frozenset({StatementClass.SHOW, StatementClass.EMPTY})
_TOGETHER = "Send Parse, Bind and Execute together, or send it as a simple query."
UNDECIDED = (
    "Bind and Execute must come together, before the next Sync and with nothing between them: it is no plain read"
)


class NoSuchName(StatementError):
    """A name that nothing stands behind; `sqlstate` is set where it is raised."""


class Nature(Enum):
    """How a piece must run."""

    CODE = "code"
    """Behind a wall in a block: preparing, binding and reading may run code."""
    PLAIN = "plain"
    """Without a wall: it prepares what runs no code."""
    CONTROL = "control"
    """Transaction control, alone."""
    UNIT = "unit"
    """One text that is held, writes, or leaves something behind: judged and answered as a whole."""


@dataclass(slots=True)
class Piece:
    """Messages that run together, up to a Sync."""

    nature: Nature | None = None
    """None if nothing of it is about a text."""
    frames: list[Frame] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    """For each message: the text it is about, or nothing."""
    unfinished: bool = False
    """It is a Bind whose Execute has not come; nothing of it is sent."""

    @property
    def is_decided_as_a_whole(self) -> bool:
        """Whether a Bind of it may only be sent together with its Execute."""
        return self.nature in (Nature.CONTROL, Nature.UNIT)

    @property
    def bound(self) -> set[bytes]:
        """The portals that it binds."""
        return {messages.bind_fields(frame.body)[0] for frame in self.frames if frame.type == b"B"}

    @property
    def prepared(self) -> set[bytes]:
        """The statements that it prepares."""
        return {messages.parse_fields(frame.body)[0] for frame in self.frames if frame.type == b"P"}

    @property
    def outlived(self) -> bool:
        """Whether a portal that it binds may have more to give when it is done."""
        ended = {
            messages.execute_portal(frame.body)
            for frame in self.frames
            if frame.type == b"E" and not messages.execute_limit(frame.body)
        }
        return not self.bound <= ended

    def add(self, frame: Frame, text: bytes | None) -> None:
        """Put a message at its end."""
        self.frames.append(frame)
        self.texts.append(text or b"")

    def pop(self) -> tuple[Frame, bytes]:
        """Take its last message back."""
        return self.frames.pop(), self.texts.pop()


def next_piece(state: SessionState, frames: Sequence[Frame]) -> Piece:
    """Return the piece at the head of the messages that wait; raises StatementError if the first may not be sent."""
    cutter = _Cutter(state, state.names.copy())
    for frame in frames:
        try:
            goes_on = cutter.take(frame)
        except StatementError:
            if not cutter.piece.frames:
                raise
            break
        if not goes_on:
            break
    return cutter.finished()


class _Cutter:
    """Takes one message after the other, as long as they belong to one piece."""

    def __init__(self, state: SessionState, names: Names) -> None:
        self.piece = Piece()
        self._state = state
        self._names = names
        self._rescoped = False
        self._preparing: Nature | None = None
        """How the Parse would run that goes with what is decided as a whole."""
        self._waiting = b""
        """The portal of a Bind that must have its Execute."""
        self._waits = False
        self._unread: set[int] = set()
        """Where it prepares what must not even be analysed before somebody has signed it."""

    def take(self, frame: Frame) -> bool:
        """Put a message to the piece, and return True, or return False if it belongs to the next one."""
        text = self._text(frame)
        nature = self._nature(frame, text)
        if self.piece.is_decided_as_a_whole:
            return self._continue(frame, text)
        if nature in (Nature.CONTROL, Nature.UNIT):
            return self._begin(frame, text, nature)
        if nature is not None and self.piece.nature not in (None, nature):
            return False
        self.piece.nature = self.piece.nature or nature
        self._add(frame, text)
        return True

    def finished(self) -> Piece:
        """Return the piece; of one that is decided as a whole only what is."""
        piece = self.piece
        if self._unread and piece.nature is Nature.CODE:
            at = min(self._unread)
            if at == 0:
                raise NotSupported(
                    "to prepare it may run code that nobody has read", detail="Nothing was sent.", hint=_TOGETHER
                )
            del piece.frames[at:], piece.texts[at:]
        if not self._waits:
            return piece
        at = max(place for place, frame in enumerate(piece.frames) if frame.type == b"B")
        if piece.frames[at + 1 :]:
            raise NotSupported(UNDECIDED, detail="Nothing was sent.")
        if at == 0:
            piece.unfinished = True
        elif at == 1 and piece.frames[0].type == b"P":
            piece.pop()
            piece.nature = self._preparing
        else:
            piece.pop()
        return piece

    def _begin(self, frame: Frame, text: bytes | None, nature: Nature) -> bool:
        """Begin a piece that is decided as a whole, with the Parse before it, if that is what waits."""
        piece = self.piece
        if frame.type != b"B":
            raise NotSupported(UNDECIDED, detail="Nothing was sent.")
        statement = messages.bind_fields(frame.body)[1]
        last = piece.frames[-1] if piece.frames else None
        brings = last is not None and last.type == b"P" and messages.parse_fields(last.body)[0] == statement
        if len(piece.frames) > brings:
            if brings:
                piece.pop()
            return False
        self._preparing, piece.nature = piece.nature, nature
        return self._continue(frame, text)

    def _continue(self, frame: Frame, text: bytes | None) -> bool:
        """Take what belongs to a piece that is decided as a whole: (Bind, Describe, Execute, Close) of one text."""
        piece = self.piece
        match frame.type:
            case b"B":
                portal, statement = messages.bind_fields(frame.body)
                if self._waits:
                    raise NotSupported(UNDECIDED, detail="Nothing was sent.")
                before = [each for each in piece.frames if each.type == b"B"]
                if before and (piece.nature is Nature.CONTROL or self._is_another(statement, before[0])):
                    return False
                self._waiting, self._waits = portal, True
            case b"E":
                if not self._waits:
                    return False
                if messages.execute_portal(frame.body) != self._waiting:
                    raise NotSupported(UNDECIDED, detail="Nothing was sent.")
                self._waits = False
            case b"D" | b"C":
                kind, name = messages.described(frame.body)
                # A portal that has more to give is closed when that has been fetched.
                if kind != b"P" or name != self._waiting or (frame.type == b"C" and self._is_limited()):
                    if self._waits:
                        raise NotSupported(UNDECIDED, detail="Nothing was sent.")
                    return False
            case _:
                if self._waits:
                    raise NotSupported(UNDECIDED, detail="Nothing was sent.")
                return False
        self._add(frame, text)
        return True

    def _is_another(self, statement: bytes, first: Frame) -> bool:
        """Say whether a Bind is of another statement, or cannot share a piece, since what ran is known by its end."""
        return self._is_limited() or statement != messages.bind_fields(first.body)[1]

    def _is_limited(self) -> bool:
        """Say whether some of the rows are asked for only."""
        return any(frame.type == b"E" and messages.execute_limit(frame.body) for frame in self.piece.frames)

    def _add(self, frame: Frame, text: bytes | None) -> None:
        self.piece.add(frame, text)
        self._names.follow(frame)

    # --- what a message is about --------------------------------------------------------------------------------------

    def _text(self, frame: Frame) -> bytes | None:
        """Return the text that a message prepares, binds or runs, if it is about one; raises if it may not be sent."""
        match frame.type:
            case b"P":
                name, text = messages.parse_fields(frame.body)
                _require_free(name)
                self._require_proven_types(frame)
            case b"B":
                portal, statement = messages.bind_fields(frame.body)
                _require_free(portal)
                text = _known(self._names.statements, statement, "26000", "prepared statement")
            case b"E":
                text = _known(self._names.portals, messages.execute_portal(frame.body), "34000", "portal")
            case _:
                messages.described(frame.body)
                return None
        return text

    def _nature(self, frame: Frame, text: bytes | None) -> Nature | None:
        if text is None:
            if frame.type == b"D":
                kind, name = messages.described(frame.body)
                # To describe a statement may analyse it anew, which may run code; and it may be another one by now.
                return Nature.CODE if kind == b"S" and name not in self.piece.prepared else None
            return None
        # What runs before it in the same piece decides where its names are looked up.
        statement, verdict = self._state.judge(text, anywhere=self._rescoped)
        _require_one(self._state, statement, verdict)
        part = statement.parts[0]
        nature = _nature(self._state, statement, part, verdict)
        if frame.type == b"E":
            self._rescoped |= part.rescopes
        if frame.type != b"P":
            return nature
        if verdict.action is Action.HOLD and analysing_runs(self._state, part):
            self._unread.add(len(self.piece.frames))
        return Nature.PLAIN if runs_no_code(part, verdict) else Nature.CODE

    def _require_proven_types(self, frame: Frame) -> None:
        """Let no Parse name a type by its oid where a type may run code: Bind would make a value of it."""
        if self._state.catalog.types and any(oid >= FIRST_OWN for oid in messages.parameter_types(frame.body)):
            raise NotSupported(
                "a parameter's type may call what nobody has read",
                detail="This database has types of its own whose values cannot be made without it. Nothing was sent.",
                hint="Give the parameter a built-in type, and cast it in the text.",
            )


def runs_no_code(part: Part, verdict: Verdict) -> bool:
    """Say whether to prepare and to run a part runs no code: transaction control, and what is set or shown."""
    plain = manner_of(part, unwalled=verdict.unwalled) is Manner.PLAIN
    return bool(part.control) or (plain and part.kind in _OF_SESSION)


def _nature(state: SessionState, statement: Statement, part: Part, verdict: Verdict) -> Nature:
    if part.control:
        return Nature.CONTROL
    names = part.prepared or part.defines or part.node in _GIVE_OR_TAKE_NAMES
    looks = looks_at_default(statement, state.catalog) or tells_encoding(state, statement)
    virtual = looks or (part.setting and ruling(part.setting) is Ruling.VIRTUAL)
    manner = manner_of(part, unwalled=verdict.unwalled)
    # What is set must outlast the wall around what reads, or, outside a block, hold for what follows in the batch.
    setting = manner is Manner.PLAIN and (state.status == IN_BLOCK or part.kind not in _LEAVE_NOTHING)
    if verdict.action is Action.HOLD or names or virtual or setting or manner.writes or manner is Manner.KEPT:
        return Nature.UNIT
    return Nature.CODE


def _require_one(state: SessionState, statement: Statement, verdict: Verdict) -> None:
    """Raise unless a text is one statement that is not refused, while it can be recorded."""
    if len(statement.parts) > 1:
        several = NoSuchName("cannot insert multiple commands into a prepared statement")
        several.sqlstate = "42601"
        raise several
    if state.ledger_down is not None and not may_end_block(state, statement):
        # A copy: what is raised must not carry the traces of other sessions.
        down = state.ledger_down
        raise LedgerUnavailable(down.message, detail=down.detail, hint=down.hint)
    if verdict.action is Action.REFUSE:
        raise by_policy(verdict)


def _require_free(name: bytes) -> None:
    if name.startswith(OURS):
        raise NotSupported(f"names that begin with {OURS.decode()} are pgnotary's own")


def _known(names: dict[bytes, bytes], name: bytes, sqlstate: str, what: str) -> bytes:
    if name not in names:
        error = NoSuchName(
            f'{what} "{name.decode(errors="replace")}" does not exist',
            detail="pgnotary knows only what this session has prepared by Parse and Bind.",
        )
        error.sqlstate = sqlstate
        raise error
    return names[name]

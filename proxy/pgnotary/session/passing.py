"""The short way: a plain read passes as the bytes that it came in, and so does its answer.

What a client sends enters while nothing is under way. If it is exactly one plain read up to its end, and all is known
that its judgement depends on, it may go to the server as it is. The server's answer enters, and may go to the client as
it is if it has come whole and is the usual one. Whatever else happens is left to the flow that the same messages begin
on the long way, at the place where it would be by then. Nothing passes here that the long way would not send.
"""

import msgspec

from pgnotary.errors import StatementError
from pgnotary.judge.catalog import Catalog
from pgnotary.judge.rules import Action
from pgnotary.judge.scope import Scope
from pgnotary.session.batch import on_planned
from pgnotary.session.catalog import is_catalog_new
from pgnotary.session.events import Now
from pgnotary.session.forward import note
from pgnotary.session.inject import OURS
from pgnotary.session.manner import Manner, manner_of
from pgnotary.session.pieces import Nature, Piece
from pgnotary.session.plain import PlainRead, PlainReads
from pgnotary.session.query import on_judged
from pgnotary.session.sent import of_query
from pgnotary.session.state import SessionState
from pgnotary.session.steps import Flow
from pgnotary.session.usual import QUERY_ANSWER, execution, query, tag
from pgnotary.session.virtual import looks_at_default
from pgnotary.wire.frames import frontend_frames

__all__ = ["Passing"]

_MAX_BYTES = 64 << 10
"""What is longer takes the long way, which costs little beside so many bytes."""


class _NotNow(Exception):  # no error
    """Somebody else has to read the text, or at another time."""


class _Passed(msgspec.Struct, frozen=True):
    """What was sent and is not answered yet."""

    data: bytes
    text: bytes
    read: PlainRead
    started: Now
    answer: bytes
    """The types of the messages that usually answer it, but for the rows."""
    gives: bytes | None = None
    """The name that it gives to the text."""


class Passing:
    """The short way of one session."""

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self._passed: _Passed | None = None
        self._catalog: Catalog | None = None
        self._scope: Scope | None = None
        self._reads: PlainReads
        """What is known under these two."""

    @property
    def under_way(self) -> bool:
        """Whether the answer to a plain read is awaited."""
        return self._passed is not None

    def forget(self) -> None:
        """Forget what was read under rules that are no longer in force."""
        self._catalog = self._scope = None

    def begin(self, data: bytes) -> bool:
        """Say whether what the client has sent may go to the server; call it only while the session is at rest."""
        if len(data) <= _MAX_BYTES and is_catalog_new(self._state) and not self._state.log.full:
            self._passed = self._query(data) if data[:1] == b"Q" else self._batch(data)
        return self._passed is not None

    def end(self, data: bytes) -> bool:
        """Say whether what the server has sent may go to the client; then it was the whole answer."""
        passed, state = self._passed, self._state
        if passed is None or (completed := tag(data, passed.answer)) is None:
            return False
        self._passed = None
        if passed.gives is not None:
            state.names.statements[passed.gives] = passed.text
        state.names.end_transaction()
        note(state, passed.text, passed.read.verdict, passed.started, [completed])
        return True

    def give_up(self) -> tuple[Flow, Now, bytes]:
        """Return the flow of what was sent, whose first step sends it, when that was, and the bytes."""
        passed, self._passed = self._passed, None
        if passed is None:
            raise RuntimeError("nothing is under way")
        frames = list(frontend_frames(_MAX_BYTES).feed(passed.data))
        if passed.answer == QUERY_ANSWER:
            statement = passed.read.statement(passed.text)
            return (
                on_judged(self._state, statement, passed.read.verdict, of_query(frames[0])),
                passed.started,
                passed.data,
            )
        piece = Piece(Nature.CODE)
        for frame in frames[:-1]:
            piece.add(frame, None if frame.type == b"D" else passed.text)
        return on_planned(self._state, piece), passed.started, passed.data

    def _query(self, data: bytes) -> _Passed | None:
        if (text := query(data)) is None or (read := self._find(text)) is None:
            return None
        self._state.extended = False
        self._state.names.run_simple_query()
        return _Passed(data, text, read, self._state.now, QUERY_ANSWER)

    def _batch(self, data: bytes) -> _Passed | None:
        if (found := execution(data)) is None or found.statement.startswith(OURS):
            return None
        state, text = self._state, found.text
        if text is None:
            if state.names.doubtful:
                return None
            text = state.names.statements.get(found.statement)
        elif found.typed and state.catalog.types:
            return None
        if text is None or (read := self._find(text)) is None:
            return None
        state.extended = True
        gives = None if found.text is None else found.statement
        return _Passed(data, text, read, state.now, found.answer, gives)

    def _find(self, text: bytes) -> PlainRead | None:
        state = self._state
        if self._catalog is not state.catalog or self._scope is not state.scope:
            self._catalog, self._scope = state.catalog, state.scope
            self._reads = state.shared.reads(state.scope, state.subject)
        try:
            return self._reads.find(text, self._judge)
        except (StatementError, _NotNow):
            return None

    def _judge(self, text: bytes) -> PlainRead | None:
        """Return what is read in a text if it is one SELECT without a finding, which policy forwards."""
        state = self._state
        if not state.may_judge(text):
            raise _NotNow
        statement, verdict = state.judge(text)
        part = statement.parts[0]
        plain = len(statement.parts) == 1 and part.node == "SelectStmt" and part.harmless and not part.rescopes
        if (
            not plain
            or part.setting
            or verdict.action is not Action.FORWARD
            or looks_at_default(statement, state.catalog)
        ):
            return None
        return PlainRead(part, verdict) if manner_of(part, unwalled=verdict.unwalled) is Manner.WALLED else None

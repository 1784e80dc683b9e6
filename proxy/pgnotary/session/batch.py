"""The extended protocol: a client's batch of messages, judged at Parse and again at Bind, run up to its first refusal.

Messages up to a Sync, a Flush or a simple query enter; one flow answers them. Only what is harmless runs; what would be
held is refused with 0A000 before anything of it is sent, and everything behind it up to the client's Sync is passed
over, as PostgreSQL does after an error. A batch is cut where transaction control needs work of ours in between; a Sync
of ours that nobody sees ends each piece, which is no loss, since what ran before it were reads.

Source: PostgreSQL 18, "Extended Query", "Pipelining".
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pgnotary.errors import LedgerUnavailable, NotSupported, StatementError, UpstreamProtocolError
from pgnotary.judge.policy import Action
from pgnotary.judge.statement import Control, Part, StatementClass
from pgnotary.session.catalog import renew_catalog
from pgnotary.session.control import run_control
from pgnotary.session.forward import note, relay_walled
from pgnotary.session.inject import OURS, inject
from pgnotary.session.names import Names
from pgnotary.session.query import await_record, sync
from pgnotary.session.refuse import fail_block
from pgnotary.session.state import FAILED, IDLE, SessionState
from pgnotary.session.steps import Answer, Flow, Step, ask, relay
from pgnotary.wire import messages
from pgnotary.wire.frames import Frame

__all__ = ["on_batch"]

_PREPARED = b"SELECT name, statement FROM pg_catalog.pg_prepared_statements"
_HINT = (
    "What needs an approval must come as a simple query for now: psql as it is, psycopg.ClientCursor, pgx's "
    "QueryExecModeSimpleProtocol, JDBC's preferQueryMode=simple."
)


class _Refused(StatementError):
    """A message that is not sent; `sqlstate` is set where it is raised."""


@dataclass(slots=True)
class _Piece:
    """Messages that run together, up to a Sync."""

    frames: list[Frame] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    """For each message: the text it is about, or nothing."""
    parts: list[Part] = field(default_factory=list)
    """What its Execute messages run."""

    @property
    def control(self) -> Part | None:
        """The transaction control that it runs, alone, if it runs any."""
        return self.parts[0] if self.parts and self.parts[0].control else None


def on_batch(state: SessionState, frames: Sequence[Frame], end: bytes) -> Flow:
    """Answer a batch; `end` is the type of the message behind it: Sync, Flush, or one that needs the batch done."""
    pieces, refusal = yield from _plan(state, frames)
    if _begins(pieces):
        yield from sync(state)
    for piece in pieces:
        last = piece is pieces[-1] and refusal is None
        answer = yield from _run(state, piece, flush=last and end == b"H")
        if answer.error is not None:
            state.skipping = True
            break
    if refusal is not None and not state.skipping:
        yield from sync(state)
        yield from fail_block(state)
        state.error(refusal)
        state.skipping = True
    if end == b"S":
        yield from sync(state)
        state.skipping = False
        state.ready()


def _begins(pieces: Sequence[_Piece]) -> bool:
    """Say whether a block begins first: an implicit transaction that is still open would become part of it."""
    return bool(pieces and pieces[0].control and pieces[0].control.control is Control.BEGIN)


# --- before anything is sent ----------------------------------------------------------------------------------------


def _plan(
    state: SessionState, frames: Sequence[Frame]
) -> Generator[Step, Any, tuple[list[_Piece], StatementError | None]]:
    """Return what may be sent, and why the rest may not, if there is a rest."""
    try:
        if frames:
            yield from await_record(state)
            yield from renew_catalog(state, extended=True)
            yield from _verify_names(state)
    except StatementError as error:
        return [], error
    names, found, refusal = state.names.copy(), [_Piece()], None
    has_control = _has_control(state, frames)
    for frame in frames:
        if found[-1].parts and has_control:
            # Each Execute may end a piece; it must where transaction control comes before or behind it.
            found.append(_Piece())
        try:
            text, part = _examine(state, names, frame)
        except StatementError as error:
            refusal = error
            break
        piece = found[-1]
        piece.frames.append(frame)
        piece.texts.append(text)
        if part is not None:
            piece.parts.append(part)
    return [piece for piece in found if piece.frames], refusal


def _has_control(state: SessionState, frames: Sequence[Frame]) -> bool:
    """Say whether any of these messages is about transaction control, as far as can be told before they are sent."""
    with suppress(StatementError):  # What is wrong with a message is said when its turn comes.
        texts = {messages.parse_fields(frame.body)[1] for frame in frames if frame.type == b"P"}
        for frame in frames:
            if frame.type == b"B":
                texts.add(state.names.statements.get(messages.bind_fields(frame.body)[1], b""))
            elif frame.type == b"E":
                texts.add(state.names.portals.get(messages.execute_portal(frame.body), b""))
        return any(state.judge(text, state.catalog)[0].parts[0].control for text in texts)
    return False


def _verify_names(state: SessionState) -> Flow:
    """Compare the names with the server's, if something that was signed may have given them to other statements."""
    if state.names.doubtful and state.status != FAILED:
        answer = yield from ask(inject(_PREPARED))
        if answer.error is not None:
            raise NotSupported(f"the names of prepared statements could not be read: {answer.error}")
        if any(len(row) != 2 for row in answer.rows):
            raise UpstreamProtocolError("a prepared statement is not a name and a text")
        state.names.compare(answer.rows)


def _examine(state: SessionState, names: Names, frame: Frame) -> tuple[bytes, Part | None]:
    """Return the text that a message is about, and what it runs if it runs something; raises if it may not be sent."""
    text, part = b"", None
    match frame.type:
        case b"P":
            name, text = messages.parse_fields(frame.body)
            _require_free(name)
            _judge(state, text)
        case b"B":
            portal, statement = messages.bind_fields(frame.body)
            _require_free(portal)
            text = _known(names.statements, statement, "26000", "prepared statement")
            _judge(state, text)
        case b"E":
            text = _known(names.portals, messages.execute_portal(frame.body), "34000", "portal")
            part = _judge(state, text)
        case _:
            messages.described(frame.body)
    names.follow(frame)
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


def _judge(state: SessionState, text: bytes) -> Part:
    """Return the only statement of a text that is forwarded; raises StatementError otherwise."""
    kind = StatementClass.UNKNOWN
    try:
        statement, verdict = state.judge(text, state.catalog)
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
    except StatementError as error:
        if not isinstance(error, LedgerUnavailable):
            state.note_refusal(text, kind, error.sqlstate)
        raise
    return statement.parts[0]


def _may_end_block(state: SessionState, part: Part) -> bool:
    return state.status != IDLE and part.control is Control.ROLLBACK


def _again(error: LedgerUnavailable) -> LedgerUnavailable:
    # A copy: what is raised must not carry the traces of other sessions.
    return LedgerUnavailable(error.message, detail=error.detail, hint=error.hint)


# --- what is sent ---------------------------------------------------------------------------------------------------


def _run(state: SessionState, piece: _Piece, *, flush: bool) -> Generator[Step, Any, Answer]:
    """Send one piece, follow what the server says of its names, note what it ran."""
    started = state.now
    raw = b"".join(frame.raw for frame in piece.frames)
    if flush and _must_stay_open(state, piece):
        answer = yield from relay(raw + messages.FLUSH, expects=len(piece.frames))
        state.unsynced = True
    elif piece.control is not None:
        answer = yield from run_control(state, piece.control, raw + messages.SYNC, extended=True)
        state.unsynced = False
    else:
        answer = yield from relay_walled(state, tuple(piece.parts), raw + messages.SYNC, extended=True)
        state.unsynced = False
    done = len(answer.completions)
    for frame in piece.frames[:done]:
        state.names.follow(frame)
    for frame in piece.frames[done : done + 1]:
        state.names.fail(frame)
    if state.status == IDLE and not state.unsynced:
        state.names.end_transaction()
    for text, tags, sqlstate in _executions(piece, answer):
        note(state, text, state.judge(text, state.catalog)[1].kind, started, tags, sqlstate)
        if state.block:
            state.block.statements += 1
    return answer


def _must_stay_open(state: SessionState, piece: _Piece) -> bool:
    """Say whether a Sync of ours would end portals: in a block they outlive it, and before any Bind there is none."""
    return state.status == IDLE and (state.unsynced or any(frame.type in (b"B", b"E") for frame in piece.frames))


def _executions(piece: _Piece, answer: Answer) -> Iterator[tuple[bytes, list[str], str]]:
    """Yield text, tags and SQLSTATE of everything that ran, and of what failed before it could."""
    tags = iter(answer.tags)
    for frame, text, completion in zip(piece.frames, piece.texts, answer.completions, strict=False):
        if frame.type == b"E":
            yield text, [next(tags)] if completion == b"C" else [], ""
    if answer.error is not None:
        failed = piece.texts[min(len(answer.completions), len(piece.texts) - 1)]
        yield failed, [], answer.error.sqlstate or "XX000"

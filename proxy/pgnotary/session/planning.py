"""Before a piece of a batch is sent: what must be known of its names, asked of the server; nothing else is sent here.

Messages that wait enter; the piece at their head leaves, cut with what is known now, or a StatementError says why its
first message may not be sent. A piece is planned when everything before it is done, never earlier: what ran before it
may have changed what its names mean. A name that was given before is compared with the server's, since code that runs
may give it to something else; what runs no code is prepared anew, because a question would take the transaction's
snapshot, too early for a SET TRANSACTION.
"""

from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from typing import Any

from pgnotary.errors import NotSupported, StatementError
from pgnotary.session.catalog import MAX_AGE_S, renew_catalog
from pgnotary.session.judged import needs_names, needs_nothing, read_if_large
from pgnotary.session.names import UNNAMED
from pgnotary.session.pieces import Nature, Piece, next_piece, runs_no_code
from pgnotary.session.prepared import all_prepared, text_behind
from pgnotary.session.query import sync
from pgnotary.session.scope import renew_scope
from pgnotary.session.state import FAILED, IDLE, SessionState
from pgnotary.session.steps import Flow, Step, ask
from pgnotary.wire import messages
from pgnotary.wire.frames import Frame

__all__ = ["plan", "read_all"]


def read_all(state: SessionState, frames: Iterable[Frame]) -> Flow:
    """Have the large texts of a batch read elsewhere; what is wrong with one is said when its turn comes."""
    for frame in frames:
        if frame.type == b"P":
            with suppress(StatementError):
                yield from read_if_large(state, messages.parse_fields(frame.body)[1])


def plan(state: SessionState, frames: Sequence[Frame]) -> Generator[Step, Any, Piece]:
    """Return the piece at the head of the messages that wait; raises StatementError if the first may not be sent."""
    piece = (yield from _renew(state, frames)) or next_piece(state, frames)
    if state.status == FAILED or piece.unfinished:
        return piece  # The server runs nothing but the end of the block.
    names = _names_of_before(piece)
    if piece.nature is Nature.CODE and names:
        if not state.names.doubtful:
            return piece
        state.names.compare((yield from all_prepared(state)))
    elif names and _runs_no_code(state, piece):
        yield from _prepare_anew(state, names)
    elif names := names - {UNNAMED}:  # No SQL can give the unnamed statement to another text.
        yield from sync(state)
        for name in names:
            if (yield from text_behind(state, name)) != state.names.statements[name]:
                del state.names.statements[name]
    else:
        return piece
    return next_piece(state, frames)


def _renew(state: SessionState, frames: Sequence[Frame]) -> Generator[Step, Any, Piece | None]:
    """Ask for catalog and scope if the judgement of what comes next may depend on them; return it if nothing is new."""
    known, piece = (state.catalog, state.scope), None
    needed = state.status == IDLE
    try:
        piece = next_piece(state, frames)
        found = [state.judge(text) for text in piece.texts if text]
        needed = needed or any(needs_names(statement) for statement, _ in found)
        needed = needed and not (found and all(needs_nothing(*each) for each in found))
    except StatementError:
        needed = True
    if needed and state.status != FAILED:
        aged = state.now.monotonic - state.catalog_at > MAX_AGE_S
        if state.unsynced and (aged or state.scope_stale or state.catalog_generation != state.generation()):
            yield from sync(state)
        yield from renew_catalog(state)
        yield from renew_scope(state)
    return piece if known[0] is state.catalog and known[1] is state.scope else None


def _names_of_before(piece: Piece) -> set[bytes]:
    """Return the names of the statements that a piece binds and does not prepare itself."""
    bound = {messages.bind_fields(frame.body)[1] for frame in piece.frames if frame.type == b"B"}
    return bound - piece.prepared


def _runs_no_code(state: SessionState, piece: Piece) -> bool:
    """Say whether what a piece binds is transaction control, or a setting that is set or shown."""
    text = next(text for frame, text in zip(piece.frames, piece.texts, strict=True) if frame.type == b"B")
    statement, verdict = state.judge(text)
    return runs_no_code(statement.parts[0], verdict)


def _prepare_anew(state: SessionState, names: set[bytes]) -> Flow:
    yield from sync(state)
    again = [messages.close_statement(name) + messages.parse(name, state.names.statements[name]) for name in names]
    answer = yield from ask(b"".join(again) + messages.SYNC)
    if answer.error is not None:
        raise NotSupported(f"what was prepared could not be prepared again: {answer.error}")

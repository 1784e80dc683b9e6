"""The extended protocol: a client's batch of messages, judged at Parse and again at Bind, run piece by piece.

Messages up to a Sync, a Flush or a simple query enter; one flow answers them in order. Each piece is planned when all
before it is done. After the first error or refusal everything up to the client's Sync is passed over, and what the
batch has changed is undone, as PostgreSQL does.

A batch is one transaction. Outside a block its reads run in the read-only session, each piece up to a Sync of ours that
nobody sees; from its first change or setting on, the rest runs in a block of ours that the client's Sync commits.

Source: PostgreSQL 18, "Extended Query", "Pipelining".
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from typing import Any

from pgnotary.errors import (
    ClientProtocolError,
    LedgerUnavailable,
    NotSupported,
    StatementError,
    UpstreamProtocolError,
)
from pgnotary.judge.statement import Control, Part, StatementClass
from pgnotary.session.answering import answer, may_run_in_failed_block
from pgnotary.session.control import end_own_block, run_control
from pgnotary.session.examine import Rejection
from pgnotary.session.forward import note, note_effects, note_lost
from pgnotary.session.manner import manner_of
from pgnotary.session.pieces import UNDECIDED, Nature, Piece
from pgnotary.session.planning import plan, read_all
from pgnotary.session.query import await_record, finish_batch, sync
from pgnotary.session.refuse import BlockFailed, fail_block
from pgnotary.session.sent import Sent, up_to_sync
from pgnotary.session.state import FAILED, IDLE, SessionState
from pgnotary.session.steps import Answer, Flow, Step, UpstreamLost, relay_batch
from pgnotary.session.told import Told
from pgnotary.session.unreadable import rejected
from pgnotary.session.wall import relay_batch_walled
from pgnotary.session.writing import open_own_block
from pgnotary.wire import messages
from pgnotary.wire.frames import Frame

__all__ = ["on_batch", "on_planned"]

_COPY_LAST = "the data of COPY FROM STDIN must follow its one Execute: there may only be a Flush or a Sync between them"


def on_batch(state: SessionState, frames: Sequence[Frame], end: bytes) -> Flow:
    """Answer a batch; `end` is the type of the message behind it: Sync, Flush, or one that needs the batch done."""
    state.extended, state.copy_begun = True, False
    told = yield from _run_all(state, [*state.unfinished, *frames], end, answered=len(state.unfinished))
    yield from _finish(state, told, end)


def on_planned(state: SessionState, piece: Piece) -> Flow:
    """Answer a batch up to its Sync that is one piece of code, planned already."""
    state.copy_begun = False
    told = yield from _run(state, piece, None, flush=False, answered=0)
    yield from _finish(state, told, b"S")


def _finish(state: SessionState, told: Told, end: bytes) -> Flow:
    if told is Told.NOTHING:
        return
    if told is Told.ERROR:
        state.skipping = True
        state.unfinished = ()
        if state.block and state.block.own:
            yield from end_own_block(state, Control.ROLLBACK)
    if end == b"S" and not state.copy_begun:
        yield from finish_batch(state)
        state.skipping = False
        state.ready()


def _run_all(state: SessionState, waiting: list[Frame], end: bytes, *, answered: int) -> Generator[Step, Any, Told]:
    """Run piece after piece, up to the first error; `answered`: how many of the first had their answer before."""
    state.unfinished = ()
    if waiting:
        yield from await_record(state)
        yield from read_all(state, waiting)
    while waiting:
        try:
            piece = yield from plan(state, waiting)
            behind = waiting[len(piece.frames) :]
            if piece.unfinished:
                if state.status == FAILED and not may_run_in_failed_block(state.judge(piece.texts[0])[0]):
                    raise BlockFailed
                if behind:
                    raise NotSupported(UNDECIDED, detail="Nothing was sent.")
                _leave_unfinished(state, piece, end, answered=answered)
                return Told.RESULT
            followed = end == b"H" or _runs(behind)
            sent = _sent(piece, answered, followed=followed) if piece.is_decided_as_a_whole else None
            if sent and (behind or piece.frames[-1].type != b"E") and _wants_copy_data(state, sent):
                raise NotSupported(_COPY_LAST, detail="Nothing was sent.")
        except StatementError as error:
            if (rejection := (yield from _rejected(state, waiting[0], error))) is not None:
                _note_refusal(state, waiting[0], rejection.sqlstate)
                state.names.fail(waiting[0])
                state.tell(rejection.raw)
                return Told.ERROR
            if not isinstance(error, LedgerUnavailable | BlockFailed):
                _note_refusal(state, waiting[0], error.sqlstate)
            return (yield from _refuse(state, waiting[0], error))
        try:
            if sent and piece.nature is Nature.UNIT:
                yield from sync(state)
                told = yield from answer(state, sent)
            else:
                told = yield from _run(state, piece, sent, flush=end == b"H" and not behind, answered=answered)
        except (LedgerUnavailable, NotSupported) as error:
            return (yield from _refuse(state, waiting[0], error))
        if told is not Told.RESULT:
            return told
        waiting, answered = behind, 0
    return Told.RESULT


def _wants_copy_data(state: SessionState, sent: Sent) -> bool:
    return state.judge(sent.text)[0].parts[0].wants_copy_data


def _refuse(state: SessionState, frame: Frame, error: StatementError) -> Generator[Step, Any, Told]:
    yield from sync(state)
    yield from fail_block(state)
    if not isinstance(error, ClientProtocolError):
        state.names.fail(frame)
    state.error(error)
    return Told.ERROR


def _rejected(state: SessionState, frame: Frame, error: StatementError) -> Generator[Step, Any, Rejection | None]:
    """Return the server's own error about a text that is refused at its Parse because nobody here can read it."""
    if frame.type != b"P" or not isinstance(error, NotSupported):
        return None
    try:
        statement, verdict = state.judge(messages.parse_fields(frame.body)[1])
        types = messages.parameter_types(frame.body)
    except StatementError:
        return None
    yield from sync(state)
    return (yield from rejected(state, statement, verdict, types))


def _note_refusal(state: SessionState, frame: Frame, sqlstate: str) -> None:
    """Note the text that was not let through, if it is known."""
    text = None
    with suppress(StatementError):
        if frame.type == b"P":
            text = messages.parse_fields(frame.body)[1]
        elif frame.type == b"B":
            text = state.names.statements.get(messages.bind_fields(frame.body)[1])
    if text is None:
        return
    kind = StatementClass.UNKNOWN
    with suppress(StatementError):
        kind = state.judge(text)[1].kind
    state.note_refusal(text, kind, sqlstate)


def _leave_unfinished(state: SessionState, piece: Piece, end: bytes, *, answered: int) -> None:
    """Keep a Bind until its Execute comes, and tell the client that it is done; raises ClientProtocolError."""
    messages.bound(piece.frames[0].body)
    if not answered:
        state.tell(messages.done(b"B", ""))
    # What the server has under that name is not what the client would run.
    state.names.portals.pop(messages.bind_fields(piece.frames[0].body)[0], None)
    if end == b"H":
        state.unfinished = tuple(piece.frames)


def _run(
    state: SessionState, piece: Piece, control: Sent | None, *, flush: bool, answered: int
) -> Generator[Step, Any, Told]:
    """Run a piece that is no unit, and note what it ran; `flush`: the client wants its answer before a Sync."""
    started = state.now
    try:
        found, undone = yield from _ran(state, piece, control, flush=flush, answered=answered)
    except (UpstreamLost, UpstreamProtocolError):
        for frame, text in zip(piece.frames, piece.texts, strict=True):
            if frame.type == b"E":
                note_lost(state, text, state.judge(text)[1], started)
        raise
    if found is None:
        return Told.ERROR
    for portal in piece.bound if undone else ():
        state.names.portals.pop(portal, None)
    if state.status == IDLE and not state.unsynced:
        state.names.end_transaction()
    for text, tags, sqlstate in _executions(piece, found):
        statement, verdict = state.judge(text)
        note_effects(state, statement.parts, [manner_of(statement.parts[0])])
        note(state, text, verdict, started, tags, sqlstate)
        if state.block:
            state.block.statements += 1
    return Told.of(found.error)


def _ran(
    state: SessionState, piece: Piece, control: Sent | None, *, flush: bool, answered: int
) -> Generator[Step, Any, tuple[Answer | None, bool]]:
    """Run a piece; return its answer, None if what it ends could not be ended, and whether its portals are gone."""
    undone = False
    if control is not None:
        part = state.judge(control.text)[0].parts[0]
        if (yield from _end_before(state, part, followed=control.followed)) is Told.ERROR:
            return None, False
        found = yield from run_control(state, part, control)
        if part.control is Control.BEGIN and state.block and found.error is None:
            state.block.own = False  # What is open is the client's own block now, as with PostgreSQL.
            state.block.note_ran()
    elif flush and _must_stay_open(state, piece):
        found = yield from relay_batch(tuple(piece.frames), flush=True, answered=answered)
        state.unsynced = True
    elif piece.nature is Nature.CODE:
        found, undone = yield from relay_batch_walled(
            state, tuple(piece.frames), outlives=piece.outlived, answered=answered
        )
        state.unsynced = False
    else:
        found = yield from relay_batch(tuple(piece.frames), answered=answered)
        state.unsynced = False
    return found, undone


def _runs(frames: Sequence[Frame]) -> bool:
    return any(frame.type in (b"B", b"E") for frame in frames)


def _sent(piece: Piece, answered: int, *, followed: bool) -> Sent:
    """Return a piece that is decided as a whole; raises ClientProtocolError if a Bind of it is none."""
    frames = tuple(piece.frames)
    bounds = tuple(messages.bound(frame.body) for frame in frames if frame.type == b"B")
    brings = frames[0].type == b"P"
    return Sent(
        text=next(text for frame, text in zip(frames, piece.texts, strict=True) if frame.type == b"B"),
        message=up_to_sync(frames),
        frames=frames,
        prepared=None if brings else bounds[0].statement,
        types=messages.parameter_types(frames[0].body) if brings else (),
        bounds=bounds,
        answered=answered,
        followed=followed,
    )


def _end_before(state: SessionState, part: Part, *, followed: bool) -> Generator[Step, Any, Told]:
    """End or open what transaction control is about: the batch's own transaction, as PostgreSQL has it.

    COMMIT and ROLLBACK end it, and then say that there is no transaction in progress; BEGIN makes a block of it; SET
    TRANSACTION is about all that is `followed`.
    """
    if state.block is None or not state.block.own:
        yield from sync(state)
        if part.control is Control.SET and followed and state.status == IDLE:
            yield from open_own_block(state)  # It is about what follows.
    elif part.control is Control.COMMIT:
        return (yield from finish_batch(state))
    elif part.control is Control.ROLLBACK:
        yield from end_own_block(state, Control.ROLLBACK)
    elif part.control not in (Control.SET, Control.BEGIN):
        raise NotSupported(
            "this transaction control cannot follow a change or a setting in the same batch",
            hint="Send a Sync before it, or begin the batch with BEGIN.",
        )
    return Told.RESULT


def _must_stay_open(state: SessionState, piece: Piece) -> bool:
    """Say whether a Sync of ours would end portals: in a block they outlive it, and before any Bind there is none."""
    return state.status == IDLE and (state.unsynced or _runs(piece.frames))


def _executions(piece: Piece, answer: Answer) -> Iterator[tuple[bytes, list[str], str]]:
    """Yield text, tags and SQLSTATE of everything that ran, and of what failed before it could."""
    tags = iter(answer.tags)
    for frame, text, completion in zip(piece.frames, piece.texts, answer.completions, strict=False):
        if frame.type == b"E":
            yield text, [next(tags)] if completion == b"C" else [], ""
    if answer.error is not None:
        failed = piece.texts[min(len(answer.completions), len(piece.texts) - 1)]
        yield failed, [], answer.error.sqlstate or "XX000"

"""The extended protocol: a client's batch of messages, judged at Parse and again at Bind, run up to its first refusal.

Messages up to a Sync, a Flush or a simple query enter; one flow answers them. Only what is harmless runs; what would be
held is refused with 0A000 before anything of it is sent, and everything behind it up to the client's Sync is passed
over, as PostgreSQL does after an error. A batch runs in pieces; a Sync of ours that nobody sees ends each, which is no
loss, since what ran before it were reads.

Source: PostgreSQL 18, "Extended Query", "Pipelining".
"""

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from pgnotary.errors import LedgerUnavailable
from pgnotary.session.control import run_control
from pgnotary.session.forward import note, note_effects
from pgnotary.session.manner import manner_of
from pgnotary.session.pieces import Nature, Piece, plan
from pgnotary.session.query import sync
from pgnotary.session.refuse import fail_block
from pgnotary.session.state import IDLE, SessionState
from pgnotary.session.steps import Answer, Flow, Step, relay
from pgnotary.session.wall import relay_batch_walled
from pgnotary.wire import messages
from pgnotary.wire.frames import Frame

__all__ = ["on_batch"]


def on_batch(state: SessionState, frames: Sequence[Frame], end: bytes) -> Flow:
    """Answer a batch; `end` is the type of the message behind it: Sync, Flush, or one that needs the batch done."""
    state.extended = True
    todo = yield from plan(state, frames)
    refusal, refused = todo.refusal, todo.refused
    for piece in todo.pieces:
        last = piece is todo.pieces[-1] and refusal is None
        try:
            answer = yield from _run(state, piece, flush=last and end == b"H")
        except LedgerUnavailable as error:
            refusal, refused = error, None
            break
        if answer.error is not None:
            state.skipping = True
            break
    if refusal is not None and not state.skipping:
        yield from sync(state)
        yield from fail_block(state)
        if refused is not None:
            state.names.fail(refused)
        state.error(refusal)
        state.skipping = True
    if end == b"S":
        yield from sync(state)
        state.skipping = False
        state.ready()


def _run(state: SessionState, piece: Piece, *, flush: bool) -> Generator[Step, Any, Answer]:
    """Send one piece, follow what the server says of its names, note what it ran."""
    started = state.now
    raw = b"".join(frame.raw for frame in piece.frames)
    undone = False
    if flush and _must_stay_open(state, piece):
        answer = yield from relay(raw + messages.FLUSH, expects=len(piece.frames))
        state.unsynced = True
    else:
        answer, undone = yield from _run_to_sync(state, piece, raw + messages.SYNC)
    done = len(answer.completions)
    for frame in piece.frames[:done]:
        state.names.follow(frame)
    for frame in piece.frames[done : done + 1]:
        state.names.fail(frame)
    for portal in piece.bound if undone else ():
        state.names.portals.pop(portal, None)
    if piece.nature is Nature.CODE or piece.control:
        state.names.fresh.clear()
    if state.status == IDLE and not state.unsynced:
        state.names.end_transaction()
    for text, tags, sqlstate in _executions(piece, answer):
        part = state.judge(text)[0].parts[0]
        note_effects(state, [part], [manner_of(part)])
        note(state, text, state.judge(text)[1], started, tags, sqlstate)
        if state.block:
            state.block.statements += 1
    return answer


def _run_to_sync(state: SessionState, piece: Piece, raw: bytes) -> Generator[Step, Any, tuple[Answer, bool]]:
    """Send one piece that ends in a Sync; return its answer, and whether what it has bound was undone with its wall."""
    if state.unsynced and piece.nature is Nature.CONTROL:
        yield from sync(state)  # An implicit transaction that is still open would become what the control is about.
    undone = False
    if piece.control is not None:
        answer = yield from run_control(state, piece.control, raw)
    elif piece.nature is Nature.CODE:
        answer, undone = yield from relay_batch_walled(state, raw, outlives=piece.outlived)
    else:
        answer = yield from relay(raw)
    state.unsynced = False
    return answer, undone


def _must_stay_open(state: SessionState, piece: Piece) -> bool:
    """Say whether a Sync of ours would end portals: in a block they outlive it, and before any Bind there is none."""
    if piece.nature is Nature.CONTROL:
        return False
    return state.status == IDLE and (state.unsynced or any(frame.type in (b"B", b"E") for frame in piece.frames))


def _executions(piece: Piece, answer: Answer) -> Iterator[tuple[bytes, list[str], str]]:
    """Yield text, tags and SQLSTATE of everything that ran, and of what failed before it could."""
    tags = iter(answer.tags)
    for frame, text, completion in zip(piece.frames, piece.texts, answer.completions, strict=False):
        if frame.type == b"E":
            yield text, [next(tags)] if completion == b"C" else [], ""
    if answer.error is not None:
        failed = piece.texts[min(len(answer.completions), len(piece.texts) - 1)]
        yield failed, [], answer.error.sqlstate or "XX000"

"""The wall inside the client's read-write block: what reads runs in a savepoint that is read only, and is then undone.

Outside a block the session's own default_transaction_read_only is the wall. A message that policy forwards enters; its
answer leaves. A view or an operator which reaches a writing function fails with 25006. The savepoint is undone, not
only released: a cursor WITH HOLD or a deferred trigger that a function left behind would run at COMMIT, without a wall.
What must stay (a cursor, a lock, a setting) is only released, once the server has counted that nothing else was done.
"""

from collections.abc import Generator
from typing import Any

from pgnotary.errors import UpstreamProtocolError
from pgnotary.session.inject import put
from pgnotary.session.state import IN_BLOCK, SessionState
from pgnotary.session.steps import Answer, Step, relay_batch
from pgnotary.wire.frames import Frame

__all__ = ["close_wall", "open_wall", "relay_batch_walled", "undo_wall"]

_OPENING = (b"SAVEPOINT pgnotary_read", b"SET LOCAL transaction_read_only = on")
_RELEASE = b"RELEASE SAVEPOINT pgnotary_read"
_UNDOING = (b"ROLLBACK TO SAVEPOINT pgnotary_read", _RELEASE)
_HOLDABLE = b"SELECT name, creation_time FROM pg_catalog.pg_cursors WHERE is_holdable"


def open_wall(state: SessionState) -> Generator[Step, Any, None]:
    """Set the savepoint and make it read only."""
    yield from _ours(state, "set", *_OPENING)


def close_wall(state: SessionState) -> Generator[Step, Any, None]:
    """Keep what was done behind the wall: the caller knows that it left nothing that COMMIT would run."""
    yield from _ours(state, "released", _RELEASE)


def undo_wall(state: SessionState) -> Generator[Step, Any, None]:
    """Leave the wall, and undo what was done behind it; also after an error in it. The block is as it was before."""
    yield from _ours(state, "undone", *_UNDOING)


def relay_batch_walled(
    state: SessionState, frames: tuple[Frame, ...], *, outlives: bool, answered: int = 0
) -> Generator[Step, Any, tuple[Answer, bool]]:
    """Relay harmless extended messages up to a Sync; inside a block behind the wall, since a Bind may run code, too.

    Returns the answer, and whether the portals that they bound were undone with the wall. If one `outlives` them, the
    wall is only released, and COMMIT must be read only; unless something signed is in the block, which COMMIT must
    write, or there is a new cursor WITH HOLD, since COMMIT would run its query.
    """
    if state.status != IN_BLOCK or state.block is None:
        return (yield from relay_batch(frames, answered=answered)), False
    outlives = outlives and not state.block.must_write
    before = yield from _ours(state, "set", *_OPENING, *[_HOLDABLE] * outlives)
    answer = yield from relay_batch(frames, answered=answered)
    if answer.error is not None:
        return answer, False
    if outlives:
        after = yield from _ours(state, "asked about", _HOLDABLE)
        if after.rows == before.rows:
            yield from _ours(state, "released", _RELEASE)
            state.block.loose = True
            return answer, False
    yield from _ours(state, "undone", *_UNDOING)
    return answer, True


def _ours(state: SessionState, done: str, *texts: bytes) -> Generator[Step, Any, Answer]:
    answer = yield from put(state, *texts)
    if answer.error is not None:
        raise UpstreamProtocolError(f"the read-only savepoint could not be {done}: {answer.error}")
    return answer

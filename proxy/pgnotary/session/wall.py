"""The wall inside the client's read-write block: what reads runs in a savepoint that is read only, and is then undone.

Outside a block the session's own default_transaction_read_only is the wall. A message that policy forwards enters; its
answer leaves. A view or an operator which reaches a writing function fails with 25006. The savepoint is undone, not
only released: a cursor WITH HOLD or a deferred trigger that a function left behind would run at COMMIT, without a wall.
What must stay (a cursor, a lock, a setting) is only released, once it is known to have left no other cursor WITH HOLD.
"""

from collections.abc import Generator
from typing import Any

from pgnotary.errors import StatementError, UpstreamProtocolError
from pgnotary.session.inject import inject
from pgnotary.session.manner import Manner
from pgnotary.session.state import IN_BLOCK, SessionState
from pgnotary.session.steps import Answer, Keep, Step, ask, relay
from pgnotary.wire.messages import query

__all__ = ["relay_batch_walled", "relay_walled", "undo_wall"]

_OPENING = (b"SAVEPOINT pgnotary_read", b"SET LOCAL transaction_read_only = on")
_RELEASE = b"RELEASE SAVEPOINT pgnotary_read"
_UNDOING = (b"ROLLBACK TO SAVEPOINT pgnotary_read", _RELEASE)
_HOLDABLE = b"SELECT name, creation_time FROM pg_catalog.pg_cursors WHERE is_holdable"


class _CursorLeft(StatementError):
    """COMMIT would run its query, without a wall."""

    sqlstate = "55000"


def relay_walled(
    state: SessionState, manner: Manner, message: bytes, *, keep: Keep = Keep.NOTHING, holds: bool = False
) -> Generator[Step, Any, Answer]:
    """Relay one statement; inside a block behind the wall if that is its manner.

    `holds`: it is a DECLARE of a cursor WITH HOLD. Raises StatementError if it leaves another one behind.
    """
    if state.status != IN_BLOCK or manner not in (Manner.WALLED, Manner.KEPT):
        return (yield from relay(message, keep=keep))
    if manner is Manner.KEPT:
        return (yield from _relay_kept(state, message, keep=keep, holds=holds))
    yield from _ours(query(b"; ".join(_OPENING)), "set")
    answer = yield from relay(message, keep=keep)
    if answer.error is None:
        yield from _ours(query(b"; ".join(_UNDOING)), "undone")
    return answer


def _relay_kept(state: SessionState, message: bytes, *, keep: Keep, holds: bool) -> Generator[Step, Any, Answer]:
    before = yield from _ours(query(b"; ".join((*_OPENING, _HOLDABLE))), "set")
    answer = yield from relay(message, keep=Keep.COMPLETION if keep is Keep.NOTHING else keep)
    if answer.error is None:
        after = yield from _ours(query(_HOLDABLE), "asked about")
        if len(set(after.rows) - set(before.rows)) > holds:
            yield from _ours(query(b"; ".join(_UNDOING)), "undone")
            raise _CursorLeft(
                "undone: it left a cursor WITH HOLD behind, which nothing in its text says",
                detail="COMMIT would run its query, and nobody has approved that.",
            )
        yield from _ours(query(_RELEASE), "released")
    if keep is Keep.NOTHING:
        state.tell(answer.released())
    return answer


def undo_wall(state: SessionState) -> Generator[Step, Any, None]:
    """Leave the wall behind an error in it: the block is as it was before."""
    if state.block is not None:
        yield from _ours(query(b"; ".join(_UNDOING)), "undone")


def relay_batch_walled(
    state: SessionState, message: bytes, *, outlives: bool
) -> Generator[Step, Any, tuple[Answer, bool]]:
    """Relay harmless extended messages up to a Sync; inside a block behind the wall, since a Bind may run code, too.

    Returns the answer, and whether the portals that they bound were undone with the wall. If one `outlives` them, the
    wall is only released, and COMMIT must be read only; unless something signed is in the block, which COMMIT must
    write, or there is a new cursor WITH HOLD, since COMMIT would run its query.
    """
    if state.status != IN_BLOCK or state.block is None:
        return (yield from relay(message)), False
    outlives = outlives and not state.block.must_write
    before = yield from _ours(inject(*_OPENING, *[_HOLDABLE] * outlives), "set")
    answer = yield from relay(message)
    if answer.error is not None:
        return answer, False
    if outlives:
        after = yield from _ours(inject(_HOLDABLE), "asked about")
        if after.rows == before.rows:
            yield from _ours(inject(_RELEASE), "released")
            state.block.loose = True
            return answer, False
    yield from _ours(inject(*_UNDOING), "undone")
    return answer, True


def _ours(message: bytes, done: str) -> Generator[Step, Any, Answer]:
    answer = yield from ask(message)
    if answer.error is not None:
        raise UpstreamProtocolError(f"the read-only savepoint could not be {done}: {answer.error}")
    return answer

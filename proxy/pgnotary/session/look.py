"""A look at what names mean, on the client's own session: read only, and nothing of it stays.

Questions enter, one answer leaves. Outside a block they are asked in a transaction of our own, inside one in a
savepoint that is rolled back. Operators stand in the questions: they are asked with nothing but pg_catalog in the
search_path, where nobody else's can be.
"""

from pgnotary.errors import StatementError
from pgnotary.session.inject import put
from pgnotary.session.state import IDLE, SessionState
from pgnotary.session.steps import Flow

__all__ = ["BUILT_IN_ONLY", "NamesUnread", "closing", "leave", "opening"]

BUILT_IN_ONLY = b"SET LOCAL search_path = pg_catalog"
_CLOSE = (b"ROLLBACK TO SAVEPOINT pgnotary_catalog", b"RELEASE SAVEPOINT pgnotary_catalog")


class NamesUnread(StatementError):
    """Without them nothing can be judged: what a name calls is not known."""

    sqlstate = "55000"


def opening(idle: bool) -> bytes:  # noqa: FBT001  # the session's status
    """Return what opens a look."""
    return b"BEGIN READ ONLY" if idle else b"SAVEPOINT pgnotary_catalog"


def closing(idle: bool) -> tuple[bytes, ...]:  # noqa: FBT001  # the session's status
    """Return what ends a look."""
    return (b"ROLLBACK",) if idle else _CLOSE


def leave(state: SessionState, *, idle: bool) -> Flow:
    """End a look that was not ended with its questions."""
    if not idle or state.status != IDLE:
        yield from put(state, *closing(idle))

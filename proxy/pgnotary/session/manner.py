"""How a part that is forwarded runs: behind the read-only wall, in a read-write transaction, or as it is.

A part that was judged enters, a `Manner` leaves. What is known to change nothing runs behind the wall all the same,
because the server is the last judge; what must outlive the wall, or take locks beyond it, has been judged for that.
"""

from enum import Enum

from pgnotary.judge.statement import Part, Qualifier

__all__ = ["Manner", "manner_of"]

_RUN_CODE = frozenset({"SelectStmt", "ExplainStmt", "CopyStmt", "ExecuteStmt", "FetchStmt"})
_BEHIND_WALL = frozenset({Qualifier.FUNCTION, Qualifier.SINGLE_READER})
_READ_WRITE = frozenset(Qualifier) - _BEHIND_WALL - {
    Qualifier.ADVISORY_LOCK,
    Qualifier.ACCESS_SHARE,
    Qualifier.NOTIFY,
    Qualifier.ROLE,
    Qualifier.SESSION,
    Qualifier.SETTING,
    Qualifier.FOREIGN,
}  # fmt: skip


class Manner(Enum):
    """How a part runs."""

    PLAIN = "plain"
    """As it came: read only outside a block, with the block's own mode in it."""
    WALLED = "walled"
    """In a block: in a read-only savepoint that is undone behind it."""
    KEPT = "kept"
    """In a block: in a read-only savepoint of which a cursor, a lock or a setting is kept."""
    READ_WRITE = "read-write"


def manner_of(part: Part, *, unwalled: bool = False) -> Manner:
    """Return how a part that policy forwards runs; `unwalled`: policy lets it write whatever it calls."""
    writes = not part.qualifiers.isdisjoint(_READ_WRITE)
    if writes or (unwalled and part.findings):
        return Manner.READ_WRITE
    if part.node in _RUN_CODE and part.qualifiers <= _BEHIND_WALL:
        return Manner.WALLED
    if part.node in _RUN_CODE or part.node == "DeclareCursorStmt":
        return Manner.KEPT
    return Manner.PLAIN

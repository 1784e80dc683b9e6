"""How a part that is forwarded runs: behind the read-only wall, in a read-write transaction, or as it is.

A part that was judged enters, a `Manner` leaves. What is known to change nothing runs behind the wall all the same,
because the server is the last judge; what must outlive the wall, or take locks beyond it, has been judged for that.
"""

from enum import Enum

from pgnotary.judge.statement import Part, Qualifier, StatementClass

__all__ = ["OF_ROWS", "Manner", "manner_of"]

_RUN_CODE = frozenset({"SelectStmt", "ExplainStmt", "CopyStmt", "ExecuteStmt", "FetchStmt"})
# No rollback takes a prepared statement back; to read its text may run code.
_BEHIND = _RUN_CODE | {"PrepareStmt"}
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
# Policy that lets these pass takes what they do at its word.
_UNCOUNTED = frozenset(
    {
        Qualifier.CODE,
        Qualifier.CASCADE,
        Qualifier.WITH_HOLD,
        Qualifier.PINNED,
        Qualifier.UNKNOWN_NAME,
        Qualifier.DISAGREEMENT,
        Qualifier.UNREAD,
    }
)
OF_ROWS = frozenset(
    {StatementClass.INSERT, StatementClass.UPDATE, StatementClass.DELETE, StatementClass.MERGE, StatementClass.SELECT}
)
"""Classes of statements that change nothing but rows."""


class Manner(Enum):
    """How a part runs."""

    PLAIN = "plain"
    """As it came: read only outside a block, with the block's own mode in it."""
    WALLED = "walled"
    """In a block: in a read-only savepoint that is undone behind it."""
    KEPT = "kept"
    """In a block: in a read-only savepoint of which a cursor, a lock or a setting is kept, and nothing else."""
    COUNTED = "counted"
    """Read-write; nothing may be changed but what the part says that it changes, as the server counts it."""
    READ_WRITE = "read-write"
    """Read-write, whatever it changes: policy lets it run code, or it makes and drops what is not counted as rows."""

    @property
    def writes(self) -> bool:
        """Whether it needs a read-write transaction."""
        return self in (Manner.COUNTED, Manner.READ_WRITE)


def manner_of(part: Part, *, unwalled: bool = False) -> Manner:
    """Return how a part that policy forwards runs; `unwalled`: policy lets it write whatever it calls."""
    writes = not part.qualifiers.isdisjoint(_READ_WRITE)
    if writes or (unwalled and part.findings):
        return Manner.READ_WRITE if unwalled or not _is_counted(part) else Manner.COUNTED
    if part.node in _BEHIND and part.qualifiers <= _BEHIND_WALL:
        return Manner.WALLED
    if part.node in _RUN_CODE or part.node == "DeclareCursorStmt":
        return Manner.KEPT
    return Manner.PLAIN


def _is_counted(part: Part) -> bool:
    """Say whether the part says what it changes: rows of relations that it names, or temporary ones."""
    if not part.qualifiers.isdisjoint(_UNCOUNTED):
        return False
    of_rows = part.wants_copy_data or (part.runs or part.kind) in OF_ROWS
    return Qualifier.WRITE not in part.qualifiers or of_rows

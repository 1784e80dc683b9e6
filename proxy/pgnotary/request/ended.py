"""The ways in which what an approved statement did came to its end: one fixed word in its outcome."""

from enum import StrEnum

__all__ = ["Ended"]


class Ended(StrEnum):
    """Which way it ended; CommandComplete alone is none of them."""

    AUTOCOMMIT = "autocommit"
    """By the COMMIT of a transaction of ours around it."""
    COMMIT = "commit"
    ROLLBACK = "rollback"
    COMMIT_FAILED = "commit-failed"
    """COMMIT, or what was deferred to it, met an error."""
    COMMIT_ROLLED_BACK = "commit-rolled-back"
    """COMMIT of a transaction that had failed: the server has rolled it back."""
    ROLLBACK_TO = "rollback-to"
    """Its savepoint was rolled back."""
    BATCH_COMMIT = "batch-commit"
    """By the Sync of the batch that it was in."""
    BATCH_ROLLBACK = "batch-rollback"
    PREPARED = "prepared"
    COMMIT_PREPARED = "commit-prepared"
    ROLLBACK_PREPARED = "rollback-prepared"
    OUTSIDE = "outside"
    """Outside any transaction: it is done when it has run."""
    ERROR = "error"
    """Its own, or one that was met while it ran."""
    CEILING = "ceiling"
    """More rows than were signed, or none that could be counted."""
    CANCELLED = "cancelled"
    CLIENT_LOST = "client-lost"
    SESSION_END = "session-end"
    """The session ended in its transaction."""
    SERVER_LOST = "server-lost"
    """The server went away, or ended its transaction by itself."""

"""How commands end: exit statuses that scripts can rely on (docs/scripts.md has the table).

An error that pgnotary raised on purpose enters, the status that tells of it leaves.
"""

from enum import IntEnum

from pgnotary.errors import (
    ApiError,
    BadCheckpoint,
    BadKey,
    BadProof,
    BadSignature,
    BrokenSeal,
    ConfigError,
    DecisionRefused,
    HeadContradicted,
    NotCanonical,
    NotExtended,
    PgnotaryError,
    RedactionRefused,
)

__all__ = ["Exit", "Failed", "Verified", "exit_of"]


class Exit(IntEnum):
    """Exit statuses."""

    OK = 0
    FAILED = 1
    USAGE = 2
    """Words that do not fit, or a configuration that cannot be used."""
    DENIED = 3
    GONE = 4
    """Expired, withdrawn, or orphaned."""
    UNTRUSTED = 5
    """A key, a signature, a seal or a head that does not hold."""
    CONFLICT = 6
    """Decided already, or not what was looked at before."""
    UNREACHABLE = 7
    PENDING = 8
    INTERRUPTED = 130


class Verified(IntEnum):
    """Exit statuses of `verify`, which are its own: a verdict over evidence (docs/adr/0016)."""

    WHOLE = 0
    TAMPERED = 1
    """At least one fault: the ledger is not what it claims, or not what somebody remembers."""
    INCOMPLETE = 2
    """Nothing is wrong, but the evidence does not reach everything."""
    UNUSABLE = 3
    """Words that do not fit, or something that cannot be looked at: nothing is said of the ledger."""


class Failed(Exception):
    """Ends a command with a status and a sentence on stderr."""

    def __init__(self, message: str, status: Exit) -> None:
        super().__init__(message)
        self.status = status


# 410: the head that is remembered lies in an archive, and was compared with nothing.
_BY_STATUS = {
    0: Exit.UNREACHABLE,
    401: Exit.UNTRUSTED,
    403: Exit.UNTRUSTED,
    409: Exit.CONFLICT,
    410: Exit.UNTRUSTED,
    502: Exit.UNTRUSTED,
}
_UNTRUSTED = (
    BadCheckpoint,
    BadKey,
    BadProof,
    BadSignature,
    BrokenSeal,
    DecisionRefused,
    HeadContradicted,
    NotCanonical,
    NotExtended,
    RedactionRefused,
)


def exit_of(error: PgnotaryError | Failed) -> Exit:
    """Return the status that tells of an error."""
    if isinstance(error, Failed):
        return error.status
    if isinstance(error, ApiError):
        return _BY_STATUS.get(error.status, Exit.FAILED)
    if isinstance(error, ConfigError):
        return Exit.USAGE
    return Exit.UNTRUSTED if isinstance(error, _UNTRUSTED) else Exit.FAILED

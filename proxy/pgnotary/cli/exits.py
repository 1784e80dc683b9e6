"""How commands end: exit statuses that scripts can rely on, and one line on stderr for what went wrong.

An error that pgnotary raised on purpose enters, a status and its sentence leave. Foreign text in it is shown safely.
"""

import functools
from collections.abc import Callable
from enum import IntEnum
from typing import ParamSpec, TypeVar

import click

from pgnotary.cli.safe_text import visible
from pgnotary.errors import (
    ApiError,
    BadCheckpoint,
    BadKey,
    BadSignature,
    BrokenSeal,
    DecisionRefused,
    NotCanonical,
    PgnotaryError,
)

__all__ = ["Exit", "Failed", "exit_of", "telling"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Exit(IntEnum):
    """Exit statuses."""

    OK = 0
    FAILED = 1
    USAGE = 2
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


class Failed(Exception):
    """Ends a command with a status and a sentence on stderr."""

    def __init__(self, message: str, status: Exit) -> None:
        super().__init__(message)
        self.status = status


_BY_STATUS = {0: Exit.UNREACHABLE, 403: Exit.UNTRUSTED, 409: Exit.CONFLICT, 502: Exit.UNTRUSTED}
_UNTRUSTED = (BadCheckpoint, BadKey, BadSignature, BrokenSeal, DecisionRefused, NotCanonical)


def exit_of(error: PgnotaryError) -> Exit:
    """Return the status that tells of an error."""
    if isinstance(error, ApiError):
        return _BY_STATUS.get(error.status, Exit.FAILED)
    return Exit.UNTRUSTED if isinstance(error, _UNTRUSTED) else Exit.FAILED


def telling(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let a command end with the sentence and the status of the error that it raised."""

    @functools.wraps(command)
    def told(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return command(*args, **kwargs)
        except (PgnotaryError, Failed) as error:
            click.echo(f"pgnotary: {visible(str(error))}", err=True)
            raise click.exceptions.Exit(error.status if isinstance(error, Failed) else exit_of(error)) from error
        except KeyboardInterrupt as stopped:
            raise click.exceptions.Exit(Exit.INTERRUPTED) from stopped

    return told

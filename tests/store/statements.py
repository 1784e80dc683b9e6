"""What tests put around each statement that SQLite is given, whoever gives it: a fault, for instance.

A connection is a class of C, whose methods cannot be replaced: so all that are opened from here on are made of one that
has others.
"""

import sqlite3
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import pytest

__all__ = ["Meet", "surround"]

_T = TypeVar("_T")


class Meet(Protocol):
    """Is given what a connection is asked (its SQL, "open" or "close"), and makes the call or raises."""

    def __call__(self, asked: str, call: Callable[[], _T], /) -> _T: ...


def surround(monkeypatch: pytest.MonkeyPatch, meet: Meet) -> None:
    """Let every connection that is opened from here on ask `meet` to make each of its calls."""
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    class Connection(sqlite3.Connection):
        def execute(self, *call: Any) -> sqlite3.Cursor:
            return meet(call[0], lambda: super(Connection, self).execute(*call))

        def close(self) -> None:
            meet("close", super().close)

    def opened(*call: Any, **named: Any) -> sqlite3.Connection:
        return meet("open", lambda: connect(*call, **named, factory=Connection))

    monkeypatch.setattr(sqlite3, "connect", opened)

"""The life of a request: which states there are and which moves are legal.

A request is born `held` and ends in exactly one final state. Two parties may try to move it at once (an approver
decides while the engineer presses Ctrl-C): the store makes each move by compare-and-set against this table, so one
wins and the other learns that it lost.

    held --> approved --> intent --> executed --> committed
      |         |           |           |------> rolled-back
      |         |           |           |------> unknown --> resolved
      |         |           |           |          |  ^
      |         |           |           |          v  |
      |         |           |           '------> prepared --> committed, rolled-back, resolved
      |         |           |--> failed, rolled-back, unknown
      |         '--> void
      '--> denied, expired, withdrawn, orphaned

What is `prepared` (PREPARE TRANSACTION) waits on the server, outlives its session and the proxy, and anybody may end
it there: its fate is the one that passes through here, or what the server is found to have made of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["FINAL", "MOVES", "Move", "State"]


class State(StrEnum):
    """Where a request stands."""

    HELD = "held"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    ORPHANED = "orphaned"
    VOID = "void"
    INTENT = "intent"
    EXECUTED = "executed"
    PREPARED = "prepared"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled-back"
    FAILED = "failed"
    UNKNOWN = "unknown"
    RESOLVED = "resolved"


_S = State
MOVES: Mapping[State | None, frozenset[State]] = {
    None: frozenset({_S.HELD}),
    _S.HELD: frozenset({_S.APPROVED, _S.DENIED, _S.EXPIRED, _S.WITHDRAWN, _S.ORPHANED}),
    _S.APPROVED: frozenset({_S.INTENT, _S.VOID}),
    _S.INTENT: frozenset({_S.EXECUTED, _S.FAILED, _S.ROLLED_BACK, _S.UNKNOWN}),
    _S.EXECUTED: frozenset({_S.COMMITTED, _S.ROLLED_BACK, _S.UNKNOWN, _S.PREPARED}),
    _S.PREPARED: frozenset({_S.COMMITTED, _S.ROLLED_BACK, _S.UNKNOWN, _S.RESOLVED}),
    _S.UNKNOWN: frozenset({_S.RESOLVED, _S.PREPARED}),
}
"""From a state to those that may follow; what is not a key is final."""

FINAL = frozenset(state for state in State if state not in MOVES)


@dataclass(frozen=True, slots=True)
class Move:
    """One step of one request; raises ValueError if the table does not know it."""

    request: str
    of: State | None
    to: State

    def __post_init__(self) -> None:
        if self.to not in MOVES.get(self.of, frozenset()):
            raise ValueError(f"{self.request}: no move from {self.of} to {self.to}")

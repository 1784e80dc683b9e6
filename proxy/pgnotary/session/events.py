"""What can happen to a session. The asyncio half makes these; nothing else enters.

Two are made for every statement, each with its time, so they are structs, which cost a fifth of a dataclass.
"""

from datetime import datetime
from typing import Any

import msgspec

from pgnotary.errors import LedgerUnavailable, PgnotaryError
from pgnotary.judge.statement import Statement
from pgnotary.ledger.entries import Receipt
from pgnotary.request.call import Call
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Answer
from pgnotary.request.ssh_encoding import Public

__all__ = [
    "Approval",
    "CancelDelivered",
    "CancelRequested",
    "ClientBytes",
    "ClientGone",
    "Decided",
    "Event",
    "LedgerState",
    "MayLook",
    "Noted",
    "Now",
    "RecordFailed",
    "Recorded",
    "RulesChanged",
    "Shutdown",
    "TakenBack",
    "Tick",
    "UpstreamBytes",
    "UpstreamGone",
    "WasRead",
]


class Now(msgspec.Struct, frozen=True):
    """The two clocks: deadlines run on `monotonic` seconds, records carry `wall` (aware, UTC)."""

    monotonic: float
    wall: datetime


class ClientBytes(msgspec.Struct, frozen=True):
    """The client sent something."""

    data: bytes


class UpstreamBytes(msgspec.Struct, frozen=True):
    """PostgreSQL sent something."""

    data: bytes


class ClientGone(msgspec.Struct, frozen=True):
    """The client's connection ended, or it sends nothing more."""


class UpstreamGone(msgspec.Struct, frozen=True):
    """PostgreSQL's connection ended."""


class Recorded(msgspec.Struct, frozen=True):
    """The entries of the outstanding `Record` are durable."""

    receipts: tuple[Receipt, ...]


class WasRead(msgspec.Struct, frozen=True):
    """The text of the outstanding `Read` was read."""

    statement: Statement


class RecordFailed(msgspec.Struct, frozen=True):
    """The outstanding `Record` failed."""

    error: PgnotaryError


class Noted(msgspec.Struct, frozen=True):
    """The outstanding `Note` is durable."""


class MayLook(msgspec.Struct, frozen=True):
    """It is the turn of the outstanding `Look`."""


class LedgerState(msgspec.Struct, frozen=True):
    """The ledger went down, or is back (None)."""

    down: LedgerUnavailable | None


class Approval(msgspec.Struct, frozen=True):
    """Whose approval it is, with which key: that may leave the roster before the statement runs."""

    person: str
    public: Public
    leaf: bytes
    """Of its entry."""


class Decided(msgspec.Struct, frozen=True):
    """A decision over this session's held statement is durable."""

    request: str
    answer: Answer
    approver: str
    reason: str
    ceiling: Ceiling | None
    """What all approvals up to here allow."""
    receipt: Receipt
    public: Public
    """The key that signed."""
    before: tuple[Approval, ...] = ()
    """The approvals before this one that it stands beside."""
    missing: str = ""
    """Of an approval: whose approvals are still needed, in words; empty if it runs now."""

    @property
    def approvals(self) -> tuple[Approval, ...]:
        """All approvals that it runs with, oldest first."""
        return (*self.before, Approval(self.approver, self.public, self.receipt.leaf))


class TakenBack(msgspec.Struct, frozen=True):
    """The person who asked for this session's held statement takes it back, by a signed call from elsewhere."""

    request: str
    person: str
    key: str
    """The fingerprint of the key that signed."""
    call: Call
    """What was signed."""


class CancelRequested(msgspec.Struct, frozen=True):
    """A CancelRequest with this session's key came in."""


class CancelDelivered(msgspec.Struct, frozen=True):
    """PostgreSQL has taken the cancel that we passed on."""


class Tick(msgspec.Struct, frozen=True):
    """Time passes; about once a second."""


class Shutdown(msgspec.Struct, frozen=True):
    """The session is to end: the proxy is stopping, or whatever `why` says."""

    why: str = "pgnotary is stopping"


class RulesChanged(msgspec.Struct, frozen=True):
    """Other rules are in force: for all that begins from now on, while what is under way goes on under its own."""

    rules: Any
    """A `session.state.Rules`, which is above here."""
    judges: Any
    """A `session.state.Judge` under their policy."""


Event = (
    ClientBytes
    | UpstreamBytes
    | ClientGone
    | UpstreamGone
    | Recorded
    | RecordFailed
    | WasRead
    | Noted
    | MayLook
    | LedgerState
    | Decided
    | TakenBack
    | CancelRequested
    | CancelDelivered
    | Tick
    | RulesChanged
    | Shutdown
)

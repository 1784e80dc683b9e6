"""What can happen to a session. The asyncio half makes these; nothing else enters."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from pgnotary.errors import LedgerUnavailable, PgnotaryError
from pgnotary.judge.statement import Statement
from pgnotary.ledger.entries import Receipt
from pgnotary.request.decision import Answer

__all__ = [
    "CancelDelivered",
    "CancelRequested",
    "ClientBytes",
    "ClientGone",
    "Decided",
    "Event",
    "LedgerState",
    "Noted",
    "Now",
    "RecordFailed",
    "Recorded",
    "Shutdown",
    "Tick",
    "UpstreamBytes",
    "UpstreamGone",
    "WasRead",
]


class Now(NamedTuple):
    """The two clocks: deadlines run on `monotonic` seconds, records carry `wall` (aware, UTC)."""

    monotonic: float
    wall: datetime


@dataclass(frozen=True, slots=True)
class ClientBytes:
    """The client sent something."""

    data: bytes


@dataclass(frozen=True, slots=True)
class UpstreamBytes:
    """PostgreSQL sent something."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ClientGone:
    """The client's connection ended, or it sends nothing more."""


@dataclass(frozen=True, slots=True)
class UpstreamGone:
    """PostgreSQL's connection ended."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The entries of the outstanding `Record` are durable."""

    receipts: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True)
class WasRead:
    """The text of the outstanding `Read` was read."""

    statement: Statement


@dataclass(frozen=True, slots=True)
class RecordFailed:
    """The outstanding `Record` failed."""

    error: PgnotaryError


@dataclass(frozen=True, slots=True)
class Noted:
    """The outstanding `Note` is durable."""


@dataclass(frozen=True, slots=True)
class LedgerState:
    """The ledger went down, or is back (None)."""

    down: LedgerUnavailable | None


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision over this session's held statement is durable."""

    request: str
    answer: Answer
    approver: str
    reason: str
    max_rows: int | None
    receipt: Receipt
    public: bytes
    """The key that signed, which may leave the roster before the statement runs."""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A CancelRequest with this session's key came in."""


@dataclass(frozen=True, slots=True)
class CancelDelivered:
    """PostgreSQL has taken the cancel that we passed on."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passes; about once a second."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The proxy is stopping."""


Event = (
    ClientBytes
    | UpstreamBytes
    | ClientGone
    | UpstreamGone
    | Recorded
    | RecordFailed
    | WasRead
    | Noted
    | LedgerState
    | Decided
    | CancelRequested
    | CancelDelivered
    | Tick
    | Shutdown
)

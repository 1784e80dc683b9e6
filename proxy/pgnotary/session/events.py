"""What can happen to a session. The asyncio half makes these; nothing else enters.

Two are made for every statement, each with its time, so they are structs, which cost a fifth of a dataclass.
"""

from datetime import datetime

import msgspec

from pgnotary.errors import LedgerUnavailable, PgnotaryError
from pgnotary.judge.statement import Statement
from pgnotary.ledger.entries import Receipt
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Answer
from pgnotary.request.openssh import Public

__all__ = [
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
    "Shutdown",
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


class Decided(msgspec.Struct, frozen=True):
    """A decision over this session's held statement is durable."""

    request: str
    answer: Answer
    approver: str
    reason: str
    ceiling: Ceiling | None
    receipt: Receipt
    public: Public
    """The key that signed, which may leave the roster before the statement runs."""


class CancelRequested(msgspec.Struct, frozen=True):
    """A CancelRequest with this session's key came in."""


class CancelDelivered(msgspec.Struct, frozen=True):
    """PostgreSQL has taken the cancel that we passed on."""


class Tick(msgspec.Struct, frozen=True):
    """Time passes; about once a second."""


class Shutdown(msgspec.Struct, frozen=True):
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
    | MayLook
    | LedgerState
    | Decided
    | CancelRequested
    | CancelDelivered
    | Tick
    | Shutdown
)

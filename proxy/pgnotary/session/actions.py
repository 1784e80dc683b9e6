"""What a session wants done. The asyncio half performs these, in order; nothing else leaves."""

from dataclasses import dataclass

from pgnotary.ledger.entries import Draft, Filed
from pgnotary.request.life import Move

__all__ = [
    "Action",
    "Announce",
    "CancelUpstream",
    "Close",
    "Note",
    "PauseClient",
    "Read",
    "Record",
    "ResumeClient",
    "Retire",
    "ToClient",
    "ToUpstream",
]


@dataclass(frozen=True, slots=True)
class ToClient:
    """Send these bytes to the client."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ToUpstream:
    """Send these bytes to PostgreSQL."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """Make these drafts durable as one group, then answer `Recorded` or `RecordFailed`. One at a time."""

    drafts: tuple[Draft, ...]
    move: Move | None = None
    """The move that the last draft makes; the group happens only if it is still possible."""


@dataclass(frozen=True, slots=True)
class Read:
    """Let somebody else read a text that would stall us, then answer `WasRead`. One at a time."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """Make these drafts durable soon, then answer `Noted`; never dropped while the session lives. One at a time."""

    drafts: tuple[Draft, ...]


@dataclass(frozen=True, slots=True)
class Announce:
    """A request is open: approvers may see and decide it."""

    request: Filed
    preview: Filed


@dataclass(frozen=True, slots=True)
class Retire:
    """The request is no longer open: no decision over it may count."""

    request: str


@dataclass(frozen=True, slots=True)
class PauseClient:
    """Read nothing more from the client: enough of it waits."""


@dataclass(frozen=True, slots=True)
class ResumeClient:
    """Read from the client again."""


@dataclass(frozen=True, slots=True)
class CancelUpstream:
    """Pass a cancel on to PostgreSQL, then answer `CancelDelivered`."""


@dataclass(frozen=True, slots=True)
class Close:
    """End both connections once what was said before is sent."""


Action = (
    ToClient
    | ToUpstream
    | Record
    | Read
    | Note
    | Announce
    | Retire
    | PauseClient
    | ResumeClient
    | CancelUpstream
    | Close
)

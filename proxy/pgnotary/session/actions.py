"""What a session wants done. The asyncio half performs these, in order; nothing else leaves.

Two are made for every statement, so they are structs, which cost a fifth of a dataclass.
"""

import msgspec

from pgnotary.ledger.entries import Draft, Filed
from pgnotary.request.life import Move

__all__ = [
    "Action",
    "Announce",
    "CancelUpstream",
    "Close",
    "Look",
    "Looked",
    "Note",
    "PauseClient",
    "Read",
    "Record",
    "ResumeClient",
    "Retire",
    "ToClient",
    "ToUpstream",
]


class ToClient(msgspec.Struct, frozen=True):
    """Send these bytes to the client."""

    data: bytes


class ToUpstream(msgspec.Struct, frozen=True):
    """Send these bytes to PostgreSQL."""

    data: bytes


class Record(msgspec.Struct, frozen=True):
    """Make these drafts durable as one group, then answer `Recorded` or `RecordFailed`. One at a time."""

    drafts: tuple[Draft, ...]
    move: Move | None = None
    """The move that the last draft makes; the group happens only if it is still possible."""


class Read(msgspec.Struct, frozen=True):
    """Let somebody else read a text that would stall us, then answer `WasRead`. One at a time."""

    text: bytes


class Note(msgspec.Struct, frozen=True):
    """Make these drafts durable soon, then answer `Noted`; never dropped while the session lives. One at a time."""

    drafts: tuple[Draft, ...]


class Look(msgspec.Struct, frozen=True):
    """Say `MayLook` when the server may be asked about a statement that is to be held: few are asked about at once."""


class Looked(msgspec.Struct, frozen=True):
    """That look is over, or not wanted any more."""


class Announce(msgspec.Struct, frozen=True):
    """A request is open: approvers may see and decide it."""

    request: Filed
    preview: Filed


class Retire(msgspec.Struct, frozen=True):
    """The request is no longer open: no decision over it may count."""

    request: str


class PauseClient(msgspec.Struct, frozen=True):
    """Read nothing more from the client: enough of it waits."""


class ResumeClient(msgspec.Struct, frozen=True):
    """Read from the client again."""


class CancelUpstream(msgspec.Struct, frozen=True):
    """Pass a cancel on to PostgreSQL, then answer `CancelDelivered`."""


class Close(msgspec.Struct, frozen=True):
    """End both connections once what was said before is sent."""


Action = (
    ToClient
    | ToUpstream
    | Record
    | Read
    | Note
    | Look
    | Looked
    | Announce
    | Retire
    | PauseClient
    | ResumeClient
    | CancelUpstream
    | Close
)

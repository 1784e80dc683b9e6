"""The steps that a flow may wait for, and what it gets back.

A flow is a generator that yields one `Step` and is resumed with its result; the helpers here give each step its type.
`UpstreamLost` is thrown into a flow that waits for an answer when the server goes, `LedgerUnavailable` and
`RequestMoved` into one whose record failed.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pgnotary.errors import PgnotaryError
from pgnotary.judge.statement import Statement
from pgnotary.ledger.entries import Draft, Receipt
from pgnotary.request.life import Move
from pgnotary.session.copying import CopyIn
from pgnotary.session.events import Decided, TakenBack
from pgnotary.session.sent import Sent
from pgnotary.wire.frames import Frame
from pgnotary.wire.messages import FLUSH, SYNC, Diagnostic

__all__ = [
    "Answer",
    "Ask",
    "AwaitDecision",
    "AwaitLook",
    "AwaitRoom",
    "Ending",
    "Flow",
    "Keep",
    "Read",
    "Relay",
    "Step",
    "UpstreamLost",
    "Write",
    "ask",
    "await_decision",
    "await_look",
    "await_room",
    "read_elsewhere",
    "relay",
    "relay_batch",
    "write",
]


# What may be kept back of one answer: the results of later parts of the same string.
_MAX_KEPT_BYTES = 8 << 20


class UpstreamLost(PgnotaryError):
    """PostgreSQL's connection ended while a flow was under way."""


@dataclass(slots=True)
class Answer:
    """PostgreSQL's whole answer to one piece of work, up to its ReadyForQuery."""

    rows: list[tuple[str | None, ...]] = field(default_factory=list)
    """Of our own questions only; a client's rows are never decoded."""
    row_count: int = 0
    """Of a client's messages: how many rows have come since the last command was complete."""
    tags: list[str] = field(default_factory=list)
    completions: list[bytes] = field(default_factory=list)
    """Of a client's messages in the extended protocol: the type of what completed each, in order."""
    types: tuple[int, ...] = ()
    """Of our own question: the oids of the parameters of a statement that it describes."""
    error: Diagnostic | None = None
    raw_error: bytes = b""
    """The ErrorResponse as it came, position and all."""
    kept: bytearray = field(default_factory=bytearray)
    """What was kept back from the client, for the flow to release."""
    kept_whole: bool = True
    """The client has had nothing of it yet."""
    overflowed: bool = False
    """More came than may be kept back: `kept` is empty, and what the message did must not stay."""

    def released(self) -> bytes:
        """Give up what was kept back; the client gets it now."""
        kept, self.kept, self.kept_whole = bytes(self.kept), bytearray(), False
        return kept

    def keep(self, data: bytes | bytearray) -> None:
        """Keep back some more."""
        if not self.overflowed:
            self.kept += data
            if len(self.kept) > _MAX_KEPT_BYTES:
                self.overflowed = True
                self.kept.clear()

    def take(self, part: "Answer") -> bool:
        """Take in the answer to the next part of a text; say whether what is behind that part may run."""
        self.keep(part.kept)
        self.overflowed |= part.overflowed
        self.tags += part.tags
        self.error, self.raw_error = part.error, part.raw_error
        return self.error is None and not self.overflowed


class Keep(Enum):
    """What of an answer waits for the flow's word before the client may have it."""

    NOTHING = "nothing"
    FOREVER = "forever"
    """The client never has it: it asked for less."""
    HEAD = "head"
    """What describes rows, until the first one, so that an error of the read-only wall before it can be taken back."""
    COMPLETION = "completion"
    """Everything from the first CommandComplete, PortalSuspended or ErrorResponse on."""
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Ask:
    """Our own question; the client sees nothing of it. The messages lead to exactly one ReadyForQuery."""

    messages: bytes


@dataclass(frozen=True, slots=True)
class Relay:
    """The client's own message; its answer goes to the client, without the ReadyForQuery."""

    messages: bytes
    keep: Keep = Keep.NOTHING
    unstoppable: bool = False
    """A client that leaves does not take it back: it ends or undoes a transaction."""
    expects: int = 0
    """Of a batch that ends in Flush: how many of its messages must be completed, since no ReadyForQuery comes."""
    frames: tuple[Frame, ...] = ()
    """The extended messages of the client's among them, in order: they give and take names."""
    answered: int = 0
    """How many of the first of these the client has had its answer to."""
    shown: bytes = b""
    """The value of client_encoding that the answer shall tell, instead of the server's."""
    copy: CopyIn | None = None
    """What may follow from the client, if the server asks for it."""


@dataclass(frozen=True, slots=True)
class Write:
    """Entries that must be durable before the flow goes on."""

    drafts: tuple[Draft, ...]
    move: Move | None


class Ending(Enum):
    """What ends a hold, or interrupts it, other than a decision."""

    EXPIRED = "expired"
    CANCEL = "cancel"
    CLIENT_GONE = "client-gone"
    PARTING = "parting"
    """The session ends: the proxy stops, the client broke the protocol or queued too much."""
    UPSTREAM_LOST = "upstream-lost"
    REMINDER = "reminder"
    POLICY = "policy"
    """A rule about the number of rows refuses it after all."""


@dataclass(frozen=True, slots=True)
class AwaitDecision:
    """Nothing until a decision over this request or an ending; `deadline` and `remind_at` are monotonic seconds."""

    request: str
    deadline: float
    remind_at: float


@dataclass(frozen=True, slots=True)
class Read:
    """What a text says that must not be read here, as `judge` gives it."""

    text: bytes


@dataclass(frozen=True, slots=True)
class AwaitRoom:
    """Nothing until the outstanding note of forwarded statements is durable."""


@dataclass(frozen=True, slots=True)
class AwaitLook:
    """Nothing until the server may be asked about a statement that is to be held, or an ending."""


Step = Ask | Relay | Write | Read | AwaitDecision | AwaitRoom | AwaitLook
Flow = Generator[Step, Any, None]
"""A flow whose result nobody waits for."""


def ask(messages: bytes) -> Generator[Step, Any, Answer]:
    """Put our own question and return the answer."""
    answer: Answer = yield Ask(messages)
    return answer


def relay(sent: Sent, *, keep: Keep = Keep.NOTHING, unstoppable: bool = False) -> Generator[Step, Any, Answer]:
    """Send on what the client has sent to have a text run, and return what came, after the client has got it."""
    answer: Answer = yield Relay(
        sent.message,
        keep,
        unstoppable,
        frames=sent.frames,
        answered=sent.answered,
        shown=sent.shown,
        copy=sent.copy,
    )
    return answer


def relay_batch(frames: tuple[Frame, ...], *, flush: bool = False, answered: int = 0) -> Generator[Step, Any, Answer]:
    """Send extended messages on, with a Sync behind them, or a `flush`, and return what came.

    `answered`: how many of the first the client has had its answer to.
    """
    raw = b"".join(frame.raw for frame in frames)
    expects = len(frames) if flush else 0
    answer: Answer = yield Relay(raw + (FLUSH if flush else SYNC), expects=expects, frames=frames, answered=answered)
    return answer


def write(*drafts: Draft, move: Move | None = None) -> Generator[Step, Any, tuple[Receipt, ...]]:
    """Return receipts once the drafts are durable."""
    receipts: tuple[Receipt, ...] = yield Write(drafts, move)
    return receipts


def await_decision(
    request: str, deadline: float, remind_at: float = float("inf")
) -> Generator[Step, Any, Decided | TakenBack | Ending]:
    """Return what came first."""
    ending: Decided | TakenBack | Ending = yield AwaitDecision(request, deadline, remind_at)
    return ending


def await_look() -> Generator[Step, Any, Ending | None]:
    """Return when the server may be asked, or with what ended the statement before."""
    ending: Ending | None = yield AwaitLook()
    return ending


def read_elsewhere(text: bytes) -> Generator[Step, Any, Statement]:
    """Return what a text says once somebody else has read it."""
    statement: Statement = yield Read(text)
    return statement


def await_room() -> Generator[Step, Any, None]:
    """Return when forwarded statements can be noted again; LedgerUnavailable if that cannot be awaited."""
    yield AwaitRoom()

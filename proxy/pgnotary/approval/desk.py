"""What the approval API needs of the proxy: a desk with the open requests, the ledger's head, redactions. No code."""

from collections.abc import Sequence
from typing import Protocol

from pgnotary.errors import DecisionRefused
from pgnotary.ledger.entries import Entry, Filed
from pgnotary.request.call import Call
from pgnotary.request.decision import Decision
from pgnotary.session.events import Decided
from pgnotary.store import Head, HeadProof, StillKept

__all__ = ["Desk", "Ledger", "OpenRequest", "Redacted", "Redactions", "Reviews", "Waiting"]


class OpenRequest(Protocol):
    """A request that waits for a decision."""

    @property
    def id(self) -> str:
        """The request's id."""
        ...

    @property
    def person(self) -> str:
        """Who asked."""
        ...

    @property
    def request(self) -> Filed:
        """Its `request` entry."""
        ...

    @property
    def preview(self) -> Filed:
        """Its `preview` entry."""
        ...

    @property
    def deciding(self) -> bool:
        """Whether a decision over it is being recorded."""
        ...

    @property
    def decisions(self) -> tuple[Filed, ...]:
        """The entries of the approvals that are durable, oldest first; not enough yet."""
        ...

    def withdraw(self, person: str, key: str, call: Call) -> None:
        """Tell the session that holds it that its requester takes it back; it leaves the desk soon, if at all.

        `call` is what they signed, with the key of this fingerprint: it is recorded as evidence.
        """
        ...

    def objection(self, decision: Decision, key: str) -> DecisionRefused | None:
        """Say why a decision of whom its document names, by the key of this fingerprint, would not count here."""
        ...


class Desk(Protocol):
    """Where open requests lie."""

    def requests(self) -> Sequence[OpenRequest]:
        """Return the open requests, oldest first."""
        ...

    def find(self, request: str) -> OpenRequest | None:
        """Return an open request."""
        ...

    async def changed(self) -> None:
        """Return at the next change of what is open."""
        ...

    def show_head(self, head: Head) -> None:
        """Remember a head that an approver is being shown: decisions may name it from now on."""
        ...

    async def decide(self, document: bytes, signature: str) -> Decided:
        """Record a decision that counts; raises DecisionRefused, from RequestMoved if somebody else was faster.

        It is an AlreadyDecided if the request is not open any more. Raises LedgerUnavailable.
        """
        ...

    async def reject(self, document: bytes, signature: str, request: str, why: str) -> None:
        """Keep as evidence what was handed in over a request and is about another one. Raises LedgerUnavailable."""
        ...


class Ledger(Protocol):
    """What a store says of the ledger; `pgnotary.store.Store` keeps it."""

    def head(self) -> Head:
        """Return how far the ledger reaches now."""
        ...

    def checkpoint(self) -> str:
        """Return the newest signed checkpoint: the one over `head`."""
        ...

    async def entries_of(self, request: str) -> list[Entry]:
        """Return all entries about a request, in order; none if it was never held."""
        ...

    async def prove(self, older: int, entries: Sequence[int]) -> HeadProof:
        """Return the newest head, proven to extend an older one of that size and to cover these entries.

        Raises ValueError for an entry that there is not, LedgerUnavailable.
        """
        ...


class Waiting(Protocol):
    """What one person alone has let run, and nobody else has looked at yet."""

    @property
    def request(self) -> Entry:
        """Its `request` entry."""
        ...

    @property
    def decision(self) -> Entry:
        """The decision that broke the glass."""
        ...


class Reviews(Protocol):
    """Who records reviews."""

    @property
    def waiting(self) -> Sequence[Waiting]:
        """What waits for one, oldest first."""
        ...

    async def review(self, document: bytes, signature: str) -> int:
        """Record a review and return the place of its entry; raises ReviewRefused, LedgerUnavailable."""
        ...


class Redacted(Protocol):
    """A redaction that is recorded."""

    @property
    def seq(self) -> int:
        """Its entry."""
        ...

    @property
    def copies(self) -> list[tuple[int, str]]:
        """Where else the same bytes are sealed: entry and name."""
        ...


class Redactions(Protocol):
    """Who erases sealed values."""

    @property
    def first(self) -> int:
        """The number of the first entry that is kept: those before it are archived."""
        ...

    async def kept(self, of: str | int) -> list[StillKept]:
        """Return what is kept of the sealed values of a request, or of the entry of this number."""
        ...

    async def redact(self, document: bytes, signature: str) -> Redacted:
        """Record a redaction and delete what it names; raises RedactionRefused, LedgerUnavailable."""
        ...

    @property
    def hindrance(self) -> str:
        """Why bytes of deleted values may still be in the ledger's files; empty if none are."""
        ...

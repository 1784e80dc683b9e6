"""Where entries become durable. The docstrings of `Store` are laws that every backend keeps.

Drafts enter through an `Appender`, receipts leave once their entries cannot be lost. A draft about a request is
appended only if it names the request's newest entry and the request still stands where its move starts:
compare-and-set, in the same transaction as the entry. Nobody can write behind an entry that he has not read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pgnotary.ledger.base import Base
from pgnotary.ledger.entries import Draft, Entry, EntryType, Receipt
from pgnotary.request.life import Move, State

__all__ = [
    "Append",
    "Bare",
    "Based",
    "ErasingStore",
    "GlassStore",
    "Head",
    "HeadProof",
    "LedgerReader",
    "StillKept",
    "Store",
    "StoredEntry",
    "base_of",
    "raws_of",
]


@dataclass(frozen=True, slots=True)
class Append:
    """One draft, and the move that it makes and the values that it erases, if it does."""

    draft: Draft
    move: Move | None = None
    erases: tuple[tuple[bytes, str], ...] = ()
    """Sealed values that are deleted with it: leaf of their entry, name."""


@dataclass(frozen=True, slots=True)
class Head:
    """How far a ledger reaches."""

    size: int
    root: bytes
    """RFC 6962 root over all leaves, 32 bytes."""


@dataclass(frozen=True, slots=True)
class HeadProof:
    """A head, and how it covers an older one and some entries: RFC 6962 proofs, lowest hash first."""

    head: Head
    note: str
    """The signed checkpoint over exactly this head."""
    older_root: bytes | None
    """The root over as many leaves as the older head has, if there are so many."""
    consistency: tuple[bytes, ...]
    """From these leaves to the head."""
    inclusion: tuple[tuple[bytes, ...], ...]
    """Of each entry that was asked for, in that order."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry's bytes and what of its sealed values is still kept."""

    raw: bytes
    opened: dict[str, tuple[bytes, bytes]]
    """Name -> (salt, value)."""


@dataclass(frozen=True, slots=True)
class StillKept:
    """An entry with seals, and how long the values are that are still kept; never the values."""

    entry: Entry
    sizes: dict[str, int]
    """Name -> bytes."""


class Store(Protocol):
    """A ledger's storage, owned by one process."""

    async def append(self, groups: Sequence[Sequence[Append]]) -> list[list[Receipt] | Exception]:
        """Append groups of drafts in order; return for each its receipts, or the error that it alone met.

        A group is whole or absent, its entries are neighbours. A group whose move is no longer possible gives
        RequestMoved, and so does one whose `after` is not the newest entry in its request's life (a rejected decision
        stands beside that); one that does not fit the format gives NotCanonical, one that erases a value that is not
        kept gives RedactionRefused; the others are not touched by that. What is erased is deleted in the same
        transaction; `ErasingStore.erase` then takes its bytes out of the files.
        When this returns, all receipts' entries and a signed checkpoint over them are durable. Raises
        LedgerUnavailable if the storage failed: then none of the entries has a receipt, though some may have happened;
        the store re-reads its tail before it appends again.
        """
        ...

    async def state(self, request: str) -> State | None:
        """Return where a request stands, or None if it was never held."""
        ...

    async def open_requests(self) -> list[tuple[str, State, bytes]]:
        """Return all requests that are not in a final state, with the leaf of their last entry."""
        ...

    async def entries_of(self, request: str) -> list[Entry]:
        """Return all entries about a request, rejected decisions included, in order."""
        ...

    async def last_request_number(self) -> int:
        """Return n of the newest request R-n, or 0."""
        ...

    def head(self) -> Head:
        """Return how far the ledger reaches now."""
        ...

    def checkpoint(self) -> str:
        """Return the newest signed checkpoint, a C2SP signed note."""
        ...

    async def prove(self, older: int, entries: Sequence[int]) -> HeadProof:
        """Return the newest head, proven to extend the first `older` leaves (0: nothing) and to cover these entries.

        Reads a bounded number of leaves, however long the ledger is. Raises ValueError for an entry that there is not,
        InArchive for one, or an older head, of which only an archive can tell, LedgerUnavailable.
        """
        ...

    async def probe(self) -> None:
        """Write and read back something that is no entry; raises LedgerUnavailable if that fails.

        Behind `last_words` it first takes the room again that they used, and raises LedgerFull as long as it cannot.
        """
        ...

    async def last_words(self, group: Sequence[Append]) -> list[Receipt]:
        """Append one group in the room that is kept for a full disk; for who has met LedgerFull.

        Nothing is returned, and nothing was appended, if no such room is kept or it was used already. Nobody may append
        anything else until a `probe` has succeeded. Raises LedgerUnavailable.
        """
        ...

    async def rest(self) -> None:
        """Do what is better done now, while nobody waits, than later; raises LedgerUnavailable."""
        ...

    async def close(self) -> None:
        """Close the storage; nothing may be appended afterwards."""
        ...


class ErasingStore(Store, Protocol):
    """A store from which values can be redacted."""

    @property
    def first(self) -> int:
        """The number of the first entry that is kept; those before it are archived, out of reach of a redaction."""
        ...

    async def kept(self, of: str | int) -> list[StillKept]:
        """Return the first 64 entries with seals of a request, or the one of this number, and what is kept of them."""
        ...

    async def person(self, session: str) -> str:
        """Return whose session it is; empty if that is not known."""
        ...

    async def copies(self, values: Sequence[tuple[bytes, str]], limit: int) -> list[tuple[int, str]]:
        """Return where else these values (leaf, name) are sealed in the same bytes: entry and name, the first `limit`.

        Reads all that is sealed, beside the writing.
        """
        ...

    def is_erasing(self) -> bool:
        """Whether bytes of deleted values may still be in the files, of an earlier run too."""
        ...

    async def erase(self) -> bool:
        """Take the bytes of deleted values out of all files; False if a reader holds them: ask again.

        Nobody can append meanwhile. Raises LedgerUnavailable; then they may still be there.
        """
        ...


class GlassStore(Store, Protocol):
    """A store that tells which of its entries are of some types."""

    async def of_types(self, *types: EntryType) -> list[Entry]:
        """Return all entries of these types, in order; it looks at every entry that is kept."""
        ...


@runtime_checkable
class Based(Protocol):
    """A reader of a ledger whose first entries may be archived."""

    def base(self) -> Base | None:
        """Return what stands for them, None if none are; not believed yet. Raises LedgerBroken."""
        ...


class LedgerReader(Protocol):
    """A ledger as auditors read it, live or exported, in order."""

    def entries(self) -> Iterator[StoredEntry]:
        """Yield every entry in order."""
        ...

    def checkpoints(self) -> Iterator[str]:
        """Yield every kept checkpoint, oldest first."""
        ...


@runtime_checkable
class Bare(Protocol):
    """A reader that gives entries without what is sealed in them, in a fraction of the time."""

    def raw_entries(self) -> Iterator[bytes]:
        """Yield the bytes of every entry, in order."""
        ...


def raws_of(reader: LedgerReader) -> Iterator[bytes]:
    """Yield the bytes of every entry, in order."""
    return reader.raw_entries() if isinstance(reader, Bare) else (stored.raw for stored in reader.entries())


def base_of(reader: LedgerReader) -> Base | None:
    """Return what stands for the archived entries of a ledger, None if it begins with its first; see `Based`."""
    return reader.base() if isinstance(reader, Based) else None

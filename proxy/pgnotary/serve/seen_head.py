"""The head that somebody saw before signing, held against the ledger: it enters, nothing leaves or why it is refused.

Only a head of this ledger will do, and one that covers what the document is about: whoever signs under another one
has not been shown what they speak of.
"""

from collections.abc import Sequence
from typing import Protocol

from pgnotary.errors import InArchive, PgnotaryError
from pgnotary.request.decision import Seen
from pgnotary.store import HeadProof

__all__ = ["check_seen", "root_at"]


class Proves(Protocol):
    """A store, as far as it proves what it was."""

    async def prove(self, older: int, entries: Sequence[int]) -> HeadProof:
        """See `pgnotary.store.Store.prove`."""
        ...


async def root_at(store: Proves, size: int) -> bytes | None:
    """Return the root over the first entries; None if there never were so many, or archives cover more than these.

    Raises LedgerUnavailable.
    """
    try:
        return (await store.prove(size, ())).older_root
    except (ValueError, InArchive):
        return None


async def check_seen(store: Proves, seen: Seen, newest: int, refused: type[PgnotaryError]) -> None:
    """Raise `refused` unless the head is one of the ledger's and covers the entry `newest`."""
    if seen.size <= newest:
        raise refused(f"the head of size {seen.size} that it names does not cover #{newest}")
    if await root_at(store, seen.size) != seen.root:
        raise refused(f"the head of size {seen.size} that it names is not one of this ledger")

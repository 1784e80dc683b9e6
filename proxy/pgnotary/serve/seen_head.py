"""The head that somebody saw before signing, held against the ledger: it enters, nothing leaves or why it is refused.

Only a head of this ledger will do, and one that covers what the document is about: whoever signs under another one
has not been shown what they speak of.
"""

from pgnotary.errors import PgnotaryError
from pgnotary.request.decision import Seen
from pgnotary.store import Store

__all__ = ["check_seen"]


async def check_seen(store: Store, seen: Seen, newest: int, refused: type[PgnotaryError]) -> None:
    """Raise `refused` unless the head is one of the ledger's and covers the entry `newest`."""
    if seen.size <= newest:
        raise refused(f"the head of size {seen.size} that it names does not cover #{newest}")
    try:
        root = (await store.prove(seen.size, ())).older_root
    except ValueError:
        root = None
    if root != seen.root:
        raise refused(f"the head of size {seen.size} that it names is not one of this ledger")

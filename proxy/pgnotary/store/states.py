"""Where each request stands by its entries, held against what the store keeps about it.

Entries enter in order, then the rows of `request_state`; a fault for each contradiction leaves. The rows are what
compare-and-set compares, and they are not hashed: whoever can write the file can let a finished request be held again,
or let a number be given twice. Memory is bounded by the number of requests.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from pgnotary.ledger.entries import Entry, EntryType
from pgnotary.request.life import State
from pgnotary.verify.steps import leads_to

__all__ = ["NAMES_REQUEST", "States"]

NAMES_REQUEST = b'"request":"'
"""Every entry of a request has these bytes, since entries are canonical; others that have them do no harm."""


class States:
    """The state and the last leaf of each request, as the entries tell it."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[State, bytes]] = {}

    def take(self, entry: Entry) -> None:
        """Follow the next entry."""
        # A rejected decision stands beside the life of its request: nothing continues from it.
        if entry.request is None or entry.type is EntryType.REJECTED:
            return
        before = self._last.get(entry.request)
        state = leads_to(entry) or (before[0] if before else None)
        if state is not None:
            self._last[entry.request] = (state, entry.leaf)

    def faults(self, rows: Iterable[Iterable[Any]]) -> Iterator[str]:
        """Yield what is wrong with these (request, state, leaf)."""
        missing = dict(self._last)
        for request, state, leaf in rows:
            told = missing.pop(request, None)
            if told is None:
                yield f"request_state knows {request!r:.60}, which no entry asks for"
            elif state != told[0].value:
                yield f"request_state says that {request} is {state!r:.60}, its entries say {told[0]}"
            elif leaf != told[1]:
                yield f"request_state names another last entry of {request} than there is"
        for request, (state, _) in missing.items():
            yield f"request_state does not know {request}, its entries say {state}"

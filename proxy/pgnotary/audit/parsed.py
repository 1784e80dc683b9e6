"""Stored entries as parsed ones, each with what is disclosed of it: the one place where damage is met while reading.

Searching does not verify. An entry that cannot be read ends the reading with its place, and so does a value that is not
what its entry commits to: nothing is told that nobody has recorded. The rest is for `verify`.
"""

from collections.abc import Iterable, Iterator

from pgnotary.errors import BrokenSeal, LedgerBroken, NotCanonical
from pgnotary.ledger.entries import Entry, parse_entry
from pgnotary.ledger.seals import check_opened
from pgnotary.store import StoredEntry
from pgnotary.verify.decisions import Opened

__all__ = ["parsed"]


def parsed(entries: Iterable[StoredEntry]) -> Iterator[tuple[Entry, Opened]]:
    """Yield each entry and its disclosed values; raises LedgerBroken at the first that cannot be read or believed."""
    place = 0
    for stored in entries:
        try:
            entry = parse_entry(stored.raw)
            # A ledger may begin behind its first entry.
            place = entry.position.seq
            for name, (salt, value) in stored.opened.items():
                check_opened(name, salt, value, entry.seals.get(name, b""))
        except NotCanonical as error:
            raise LedgerBroken([f"#{place} cannot be read: {error}"]) from error
        except BrokenSeal as error:
            raise LedgerBroken([f"#{place} {error}"]) from error
        yield entry, stored.opened
        place += 1

"""What stands in the place of a redacted value: entries enter, and who has redacted which value, when and why leaves.

Nothing is judged: whether somebody who may has signed it is for `verify`. A redaction stands behind what it erases, so
whoever tells the entries in order reads these first. Memory is bounded by the number of redactions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pgnotary.errors import NotCanonical, RedactionRefused
from pgnotary.ledger.entries import Entry, EntryType, parse_entry
from pgnotary.request.redaction import Values, redaction_in
from pgnotary.store import StoredEntry

__all__ = ["Redacted", "Redactions", "redacted_in"]

# An entry is canonical, so one of this type has these bytes.
_TYPE = f'"type":"{EntryType.REDACTED}"'.encode()


@dataclass(frozen=True, slots=True)
class Redacted:
    """One redaction."""

    seq: int
    at: datetime
    by: str
    key: str
    reason: str
    values: tuple[Values, ...]

    @property
    def words(self) -> str:
        """Who, when and why, for the place of a value."""
        return f"redacted on {self.at.astimezone(UTC):%Y-%m-%d} by {self.by}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Redactions:
    """All redactions of a ledger, in order."""

    all: tuple[Redacted, ...] = ()
    _by_value: dict[tuple[bytes, str], Redacted] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[StoredEntry]) -> "Redactions":
        """Read them out of all entries; one that cannot be read is passed over."""
        found: list[Redacted] = []
        for stored in entries:
            if _TYPE in stored.raw:
                try:
                    found.append(redacted_in(parse_entry(stored.raw)))
                except (NotCanonical, RedactionRefused):
                    continue
        by_value = {(values.leaf, name): each for each in found for values in each.values for name in values.seals}
        return cls(tuple(found), by_value)

    def told(self, entry: Entry) -> Mapping[str, str]:
        """Return what to say in the place of each redacted value of an entry, by its name."""
        gone = {name: self._by_value.get((entry.leaf, name)) for name in entry.seals} if self._by_value else {}
        return {name: each.words for name, each in gone.items() if each}


def redacted_in(entry: Entry) -> Redacted:
    """Return what a `redacted` entry says; raises RedactionRefused if its document cannot be read."""
    redaction, _ = redaction_in(entry)
    key = entry.body.get("key")
    return Redacted(
        seq=entry.position.seq,
        at=entry.position.time,
        by=redaction.redactor,
        key=key if isinstance(key, str) else "",
        reason=redaction.reason,
        values=redaction.values,
    )

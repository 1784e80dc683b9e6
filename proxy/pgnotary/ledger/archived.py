"""What an `archived` entry says: which entries are no longer kept here, what they were, and what stands for them.

A body enters or leaves. `kept` is the first entry that stays; the root is over all entries before it, also those that
an earlier archive has. The two files are named by their hashes, so that who has the folder can tell with sha256sum that
it is this one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pgnotary.errors import NotCanonical
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Entry, EntryType, parse_entry
from pgnotary.ledger.tree import HASH_BYTES

__all__ = ["Archived", "archived_in", "told_of"]

_HASHES = ("root", "base", "entries", "opened")
_ARCHIVED = f'"type":"{EntryType.ARCHIVED}"'.encode()


@dataclass(frozen=True, slots=True)
class Archived:
    """One archive, as the ledger tells of it."""

    first: int
    """Where it begins: 0, or where the one before it ended."""
    kept: int
    """The first entry that it does not have."""
    root: bytes
    """Over the first `kept` entries."""
    base: bytes
    """SHA-256 of the base that the ledger stands on from now on."""
    entries: bytes
    """SHA-256 of entries.jsonl."""
    opened: bytes
    """SHA-256 of opened.jsonl."""

    @property
    def body(self) -> dict[str, JSON]:
        """The body of the entry."""
        return {"first": self.first, "kept": self.kept, **{name: getattr(self, name).hex() for name in _HASHES}}

    @classmethod
    def of(cls, body: Mapping[str, JSON]) -> "Archived":
        """Read a body; raises NotCanonical."""
        first, kept = body.get("first"), body.get("kept")
        if body.keys() != {"first", "kept", *_HASHES}:
            raise NotCanonical(f"expected first, kept, {', '.join(_HASHES)}, found {', '.join(sorted(body))}")
        if type(first) is not int or type(kept) is not int or not 0 <= first < kept:
            raise NotCanonical(f"archived from {first!r:.40} to before {kept!r:.40}")
        return cls(first, kept, *(_hash(name, body[name]) for name in _HASHES))


def archived_in(entry: Entry) -> Archived | None:
    """Return what an entry tells of an archive; None if it is about something else. Raises NotCanonical."""
    return Archived.of(entry.body) if entry.type is EntryType.ARCHIVED else None


def told_of(raws: Iterable[bytes]) -> Iterator[Archived]:
    """Yield what the entries of these bytes tell of archives; what cannot be read tells nothing."""
    for raw in raws:
        if _ARCHIVED in raw:
            try:
                told = archived_in(parse_entry(raw))
            except NotCanonical:
                continue
            if told is not None:
                yield told


def _hash(name: str, said: JSON) -> bytes:
    try:
        found = bytes.fromhex(said) if isinstance(said, str) else b""
    except ValueError:
        found = b""
    if len(found) != HASH_BYTES or found.hex() != said:
        raise NotCanonical(f"{name} is {said!r:.80}, expected 64 hexadecimal digits")
    return found

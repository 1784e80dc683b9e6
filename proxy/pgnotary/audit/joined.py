"""A ledger and its archives, read as the one ledger that they are.

Readers enter, one that begins with the first entry of the oldest archive leaves. Nothing is believed: what joins two
parts is checked as what joins two entries, by the same checklist. Beside that it is compared whether each part is the
one that the ledger names: its base and its two files, by their hashes.
"""

import heapq
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from pgnotary.audit.check import Indexed, Keyed, claimed_size, newest
from pgnotary.audit.folder import ENTRIES, OPENED, FolderReader, file_sha256
from pgnotary.errors import LedgerBroken
from pgnotary.ledger.archived import Archived, told_of
from pgnotary.ledger.base import Base
from pgnotary.store import LedgerReader, StoredEntry, base_of, raws_of

__all__ = ["Joined", "joined"]


def joined(ledger: LedgerReader, folders: Sequence[Path]) -> LedgerReader:
    """Return the ledger with its archives before it, in whatever order they are named.

    Raises ConfigError if a folder is no archive, LedgerBroken if one does not end where the next begins.
    """
    archives = sorted((FolderReader(folder) for folder in folders), key=_size)
    if not archives:
        return ledger
    for before, after in zip(archives, (*archives[1:], ledger), strict=True):
        ends, begins = _size(before), _first(after)
        if ends != begins:
            what = "are in no archive that was given" if ends < begins else "are in two of them"
            low, high = sorted((ends, begins))
            raise LedgerBroken([f"#{low} to #{high - 1} {what}: {before.path} ends before #{ends}"])
    return Joined(archives, ledger)


class Joined:
    """A `LedgerReader` over archives, oldest first, and the ledger that goes on behind them."""

    def __init__(self, archives: Sequence[FolderReader], ledger: LedgerReader) -> None:
        self._archives = archives
        self._ledger = ledger
        self._parts: tuple[LedgerReader, ...] = (*archives, ledger)

    def base(self) -> Base | None:
        """Return what stands for entries that are in no archive at hand."""
        return base_of(self._parts[0])

    def entries(self) -> Iterator[StoredEntry]:
        """Yield every entry, archived ones first."""
        return chain.from_iterable(part.entries() for part in self._parts)

    def raw_entries(self) -> Iterator[bytes]:
        """Yield the bytes of every entry, archived ones first."""
        return chain.from_iterable(map(raws_of, self._parts))

    def checkpoints(self) -> Iterator[str]:
        """Yield every kept checkpoint, the archives' among them."""
        return heapq.merge(*(part.checkpoints() for part in self._parts), key=claimed_size)

    def index_faults(self) -> Iterator[str]:
        """Yield a fault for whatever does not fit the entries of a part, and for a part that is not the one told of."""
        for part in self._parts:
            if isinstance(part, Indexed):
                yield from part.index_faults()
        told = {each.kept: each for each in told_of(self.raw_entries())}
        for archive in self._archives:
            name = archive.path
            if (about := told.get(_size(archive))) is None:
                yield f"{name} is an archive that the ledger does not tell of"
            elif file_sha256(name / ENTRIES) != about.entries:
                yield f"{name / ENTRIES} is not the file that was archived"
        for part in self._parts[1:]:
            base = base_of(part)
            if base is not None and ((about := told.get(base.size)) is None or about.base != base.digest):
                yield f"#{base.size} begins on another base than the ledger tells of: it was changed"

    def notes(self) -> Iterator[str]:
        """Yield what is worth knowing of the parts and no fault."""
        for part in self._parts:
            if isinstance(part, Indexed):
                yield from part.notes()
        told: dict[int, Archived] = {each.kept: each for each in told_of(self.raw_entries())}
        for archive in self._archives:
            about = told.get(_size(archive))
            if about is not None and file_sha256(archive.path / OPENED) != about.opened:
                yield f"{archive.path / OPENED} is not the file that was archived: values were taken out of it since"

    def key_faults(self, vkey: str) -> Iterator[str]:
        """Yield a fault for each part that came with another key."""
        for part in self._parts:
            if isinstance(part, Keyed):
                yield from (
                    f"{part.path}: {fault}" if isinstance(part, FolderReader) else fault
                    for fault in part.key_faults(vkey)
                )


def _first(reader: LedgerReader) -> int:
    base = base_of(reader)
    return base.size if base else 0


def _size(archive: FolderReader) -> int:
    """Return how far an archive says that it reaches; the checklist tells whether it does."""
    return claimed_size(newest(archive))

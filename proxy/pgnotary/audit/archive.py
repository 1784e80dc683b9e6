"""The oldest entries of a ledger as an archive: where to cut, and the folder that holds what is before the cut.

A reader and a wish enter; a cut, then a folder that was read back from its disk leave. The ledger itself is only read
here: who deletes anything does it behind this, with what this returns. A cut lies at a whole number of segments, so
that a few hashes stand for all before it, and never within the life of a request.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from pgnotary.audit.check import check
from pgnotary.audit.export import export_folder
from pgnotary.audit.folder import ENTRIES, OPENED, FolderReader, file_sha256
from pgnotary.audit.parsed import parsed
from pgnotary.errors import ConfigError, LedgerBroken
from pgnotary.ledger.archived import Archived
from pgnotary.ledger.base import Base
from pgnotary.ledger.checkpoint import Checkpoint
from pgnotary.ledger.entries import EntryType
from pgnotary.request.life import FINAL, State
from pgnotary.store import LedgerReader, StoredEntry, base_of
from pgnotary.verify.checklist import base_behind
from pgnotary.verify.steps import leads_to

__all__ = ["Cut", "Wish", "choose", "write_archive"]


@dataclass(frozen=True, slots=True)
class Wish:
    """How much is to be archived at most: what is before an entry, before a time, or all but the newest."""

    before: int | None = None
    earlier_than: datetime | None = None
    keep: int | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a ledger can be cut."""

    first: int
    """Where it begins now."""
    kept: int
    """The first entry that stays; the same as `first` if nothing can be archived."""
    why: str
    """Why it is not more, if it is less than was wished for; else empty."""


@dataclass(slots=True)
class _Seen:
    """What was met on the way through a ledger."""

    size: int
    last_archived: int = -1
    """The place of the last `archived` entry: whatever stands on a base must hold the one that tells of it."""
    earlier: int | None = None
    """The first entry that is not earlier than was asked for."""


def choose(reader: LedgerReader, wish: Wish, segment: int) -> Cut:
    """Return where to cut; `segment` is a power of two. Raises LedgerBroken at an entry that cannot be read."""
    base = base_of(reader)
    first = base.size if base else 0
    seen = _Seen(first)
    spans: dict[str, tuple[int, int]] = {}
    open_: set[str] = set()
    for entry, _ in parsed(reader.entries()):
        seq = entry.position.seq
        if entry.type is EntryType.ARCHIVED:
            seen.last_archived = seq
        if wish.earlier_than is not None and seen.earlier is None and entry.position.time >= wish.earlier_than:
            seen.earlier = seq
        if entry.request is not None and entry.type is not EntryType.REJECTED:
            spans[entry.request] = (spans.get(entry.request, (seq, seq))[0], seq)
            _note_open(open_, entry.request, leads_to(entry))
        seen.size = seq + 1
    most = _most(wish, seen)
    kept = most - most % segment
    why = "" if kept == most else f"an archive ends at a multiple of {segment} entries"
    # From the latest on, so that each life is looked at once: a cut that gives way only meets those before it.
    for request, (begins, ends) in sorted(spans.items(), key=lambda each: each[1][0], reverse=True):
        ends = seen.size if request in open_ else ends  # noqa: PLW2901 - nobody knows yet where it ends
        if begins < kept <= ends:
            kept = begins - begins % segment
            why = f"{request} begins at #{begins}" + (" and has not ended" if request in open_ else "")
    if kept <= seen.last_archived and kept > first:
        kept, why = first, f"#{seen.last_archived}, which tells of the last archive, must stay until more has come"
    return Cut(first, max(first, kept), why)


def _note_open(open_: set[str], request: str, state: State | None) -> None:
    if state in FINAL:
        open_.discard(request)
    elif state is not None:
        open_.add(request)


def _most(wish: Wish, seen: _Seen) -> int:
    """Return the first entry that must stay."""
    limits = [seen.size]
    if wish.before is not None:
        limits.append(wish.before)
    if wish.keep is not None:
        limits.append(max(0, seen.size - wish.keep))
    if wish.earlier_than is not None and seen.earlier is not None:
        limits.append(seen.earlier)
    return min(limits)


def write_archive(
    reader: LedgerReader, cut: Cut, folder: Path, vkey: str, sign: Callable[[Checkpoint], str]
) -> tuple[Archived, Base]:
    """Write what is before a cut into a new folder, sync it, and verify it from there; return what to tell of it.

    `sign` signs the checkpoint over exactly these entries. Raises ConfigError if something is in the way, LedgerBroken
    if what was written is not a good ledger: then it is left for whoever looks.
    """
    part = folder.with_name(f"{folder.name}.part")
    for path in (folder, part):
        if path.exists():
            raise ConfigError(f"{path} is there already: name a new folder, or remove it if it was left half written")
    base = base_behind(islice(reader.entries(), cut.kept - cut.first), vkey, base_of(reader))
    root = base.tree().root()
    # Values that are secrets are in it: it is their only place from now on.
    part.mkdir(mode=0o700, parents=True)
    export_folder(_Until(reader, cut, sign(Checkpoint(base.ledger, cut.kept, root))), part, vkey, secrets=True)
    _settle(part)
    part.rename(folder)
    _sync(folder.parent)
    archive = FolderReader(folder)
    found = check(archive, vkey)
    if (found.entries, found.head) != (cut.kept, root):
        raise LedgerBroken([f"{folder} was written with other entries than were read: look at its disk"])
    return Archived(
        first=cut.first,
        kept=cut.kept,
        root=root,
        base=base.digest,
        entries=file_sha256(folder / ENTRIES),
        opened=file_sha256(folder / OPENED),
    ), base


class _Until:
    """A `LedgerReader` over what is before a cut."""

    def __init__(self, reader: LedgerReader, cut: Cut, note: str) -> None:
        self._reader = reader
        self._cut = cut
        self._note = note

    def base(self) -> Base | None:
        return base_of(self._reader)

    def entries(self) -> Iterator[StoredEntry]:
        return islice(self._reader.entries(), self._cut.kept - self._cut.first)

    def checkpoints(self) -> Iterator[str]:
        yield self._note


def _settle(folder: Path) -> None:
    """Let everything in a folder reach the disk."""
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)

"""Whether what a ledger says of its archives is so: entries enter in order, faults leave.

An `archived` entry names the root over the entries before a cut, and the digest of the base that stands for them. Both
follow from these entries, so whoever has them works both out anew. Who has not, has the base instead: then an entry
behind it must name exactly this one, or somebody took entries away and told nobody.
"""

from collections.abc import Callable, Iterable, Iterator

from pgnotary.errors import NotCanonical
from pgnotary.ledger.archived import Archived, archived_in, told_of
from pgnotary.ledger.base import Base
from pgnotary.ledger.entries import Entry
from pgnotary.verify.findings import Findings
from pgnotary.verify.heads import Heads

__all__ = ["Archives", "Cuts"]


class Cuts:
    """The sizes at which the entries say that their ledger was cut, collected in the first look."""

    def __init__(self) -> None:
        self.sizes: set[int] = set()

    def passing(self, raws: Iterable[bytes]) -> Iterator[bytes]:
        """Pass the entries on, and take what they tell of archives."""
        for raw in raws:
            self.sizes.update(each.kept for each in told_of([raw]))
            yield raw


class Archives:
    """Follows what a ledger says of its archives; `cuts` as the first look found them."""

    def __init__(self, heads: Heads, findings: Findings, cuts: Cuts, base: Base | None) -> None:
        self._heads = heads
        self._findings = findings
        self._cuts = cuts.sizes
        self._digests: dict[int, bytes | str] = {}
        """At each cut what its base hashes to, or why nothing could be cut there."""
        self.kept = base.archived if base else 0
        """What is before it is archived, as the entries so far tell."""
        self._place = -1
        """Of the last `archived` entry."""
        self._owed: Base | None = base
        """What this ledger stands on, until an entry vouches for it."""
        if base is not None:
            self._digests[base.size] = base.digest

    def pass_by(self, here: Callable[[], Base]) -> None:
        """Keep the base of this place if the ledger was cut here; `here` raises NotCanonical where it cannot be."""
        if (size := self._heads.size) in self._cuts and size not in self._digests:
            try:
                self._digests[size] = here().digest
            except NotCanonical as error:
                self._digests[size] = str(error)

    def follow(self, entry: Entry) -> None:
        """Take the next entry; `heads` must reach up to the one before it."""
        # (25) what was archived is what was there
        try:
            told = archived_in(entry)
        except NotCanonical as error:
            self._fault(f"tells of an archive, and not how: {error}")
            return
        if told is None:
            return
        if told.first != self.kept:
            self._fault(f"archives from #{told.first} on, those before it ended before #{self.kept}")
        if self._owed is not None:
            self._vouch(told, self._owed)
        else:
            self._compare(told)
        self._owed = None
        self.kept, self._place = told.kept, self._heads.size

    def finish(self) -> None:
        """Report that nobody vouches for what this ledger stands on."""
        if self._owed is not None:
            self._findings.fault(
                self._owed.size,
                "is the first entry that is here, and no entry says that those before it were archived: they were "
                "taken away",
            )

    def _vouch(self, told: Archived, base: Base) -> None:
        if told.kept != base.size:
            self._fault(
                f"says that what is before #{told.kept} was archived, here are entries from #{base.size} on: another "
                "range was taken away than was said"
            )
            return
        if told.root != base.tree().root():
            self._fault(f"archived other entries before #{base.size} than this ledger stands on: its base was changed")
        if told.base != base.digest:
            self._fault(f"names another base at #{base.size} than this ledger stands on: its base was changed")

    def _compare(self, told: Archived) -> None:
        if not self._place < told.kept <= self._heads.size:
            self._fault(f"archives what is before #{told.kept}, which is not between #{self._place} and this entry")
            return
        if told.root != (root := self._heads.root_at(told.kept)):
            self._fault(
                f"archives {told.kept} entries with root {told.root.hex()[:8]}, they give {(root or b'').hex()[:8]}"
            )
        found = self._digests.get(told.kept, "it was not there when the ledger was first read")
        if isinstance(found, str):
            self._fault(f"names a base at #{told.kept}, where none can be: {found}")
        elif found != told.base:
            self._fault(f"names another base at #{told.kept} than follows from the entries before it")

    def _fault(self, text: str) -> None:
        self._findings.fault(self._heads.size, text)

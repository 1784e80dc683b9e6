"""Whether every kept checkpoint tells the truth: notes enter, oldest first, and are held against the growing tree.

A checkpoint is checked when the tree reaches its size. One rewritten entry belies every later checkpoint; so the first
is reported, with the number of the others. The numbers are those of the checklist.
"""

from collections.abc import Iterable

from pgnotary.errors import BadCheckpoint
from pgnotary.ledger.checkpoint import Checkpoint, verify
from pgnotary.verify.findings import Findings
from pgnotary.verify.heads import Heads

__all__ = ["Checkpoints"]


class Checkpoints:
    """Takes kept checkpoints one by one as the tree grows to their sizes."""

    def __init__(self, notes: Iterable[str], vkey: str, heads: Heads, findings: Findings) -> None:
        self._notes = iter(notes)
        self._vkey = vkey
        self._heads = heads
        self._findings = findings
        self._next: Checkpoint | None = None
        self._wrong: dict[str, tuple[int, str, int]] = {}
        """By kind of fault: the first one's place and text, and how many there are."""
        self.good = 0
        self.archived = 0
        """How many lie in an archive that is not at hand."""

    def compare(self, ledger: str) -> None:
        """Check all checkpoints up to the tree's present size; `ledger` is its name, empty while nobody knows it."""
        while (checkpoint := self._peek()) is not None and checkpoint.size <= self._heads.size:
            self._check(checkpoint, ledger)
            self._next = None

    def finish(self, ledger: str, newest: str) -> None:
        """Check the newest checkpoint against the finished tree, and report what was found."""
        self.compare(ledger)
        if (checkpoint := self._peek()) is not None:
            self._missing_tail(checkpoint)
            self._next = None
            while self._skip() is not None:
                pass
        self._cover(newest, ledger)
        for place, text, times in self._wrong.values():
            more = f"; so with {times - 1} more checkpoints" if times > 1 else ""
            self._findings.fault(place, text + more)

    def _skip(self) -> Checkpoint | None:
        """Return the next checkpoint beyond the end; its signature is checked, its root cannot be."""
        checkpoint = self._peek()
        self._next = None
        return checkpoint

    def _peek(self) -> Checkpoint | None:
        """Return the next checkpoint whose signature is good, without taking it."""
        while self._next is None and (note := next(self._notes, None)) is not None:
            try:
                self._next = verify(note, self._vkey)
            except BadCheckpoint as error:
                self._report("signature", self._last, f"a kept checkpoint cannot be believed: {error}")
        return self._next

    @property
    def _last(self) -> int:
        return max(0, self._heads.size - 1)

    def _report(self, kind: str, place: int, text: str) -> None:
        first = self._wrong.get(kind, (place, text, 0))
        self._wrong[kind] = (first[0], first[1], first[2] + 1)

    def _check(self, checkpoint: Checkpoint, ledger: str) -> None:
        # (7) every kept checkpoint gives the root of the entries it covers
        place = max(0, checkpoint.size - 1)
        root = self._heads.root_at(checkpoint.size)
        if ledger and checkpoint.origin != ledger:
            self._report("origin", place, f"a checkpoint of {checkpoint.origin!r} is kept in the ledger {ledger!r}")
        elif self._heads.is_archived(checkpoint.size):
            self.archived += 1
        elif root is None:
            self._report("order", place, f"a checkpoint over {checkpoint.size} entries is kept behind a later one")
        elif root != checkpoint.root:
            self._report("root", place, _contradiction(checkpoint, root))
        else:
            self.good += 1

    def _missing_tail(self, checkpoint: Checkpoint) -> None:
        size = self._heads.size
        self._findings.fault(
            size, f"and what follows is missing: a checkpoint covers {checkpoint.size} entries, here are {size}"
        )

    def _cover(self, newest: str, ledger: str) -> None:
        # (8) the newest checkpoint covers exactly all entries
        size = self._heads.size
        try:
            checkpoint = verify(newest, self._vkey)
        except BadCheckpoint as error:
            self._findings.fault(self._last, f"the newest checkpoint cannot be believed: {error}")
            return
        if ledger and checkpoint.origin != ledger:
            self._findings.fault(self._last, f"the newest checkpoint is of {checkpoint.origin!r}, not {ledger!r}")
        elif checkpoint.size > size:
            self._missing_tail(checkpoint)
        elif checkpoint.size < size:
            self._findings.fault(
                checkpoint.size, f"is not covered: the newest checkpoint ends at {checkpoint.size} of {size} entries"
            )
        elif checkpoint.root != (root := self._heads.root()):
            self._findings.fault(self._last, _contradiction(checkpoint, root))


def _contradiction(checkpoint: Checkpoint, root: bytes) -> str:
    return (
        f"the checkpoint over {checkpoint.size} entries gives root {checkpoint.root.hex()[:8]}, "
        f"the entries give {root.hex()[:8]}: one of them was changed after it was signed"
    )

"""A reading that ends where a signed head ends, and gives what that head covers, or nothing that could be believed.

A ledger is read more than once: to be verified, then to be told. Who holds its file could give each reading something
else. So the root over what is told is computed while it is read, and compared at the end with the head that was
verified, or with the newest checkpoint where nothing was verified before.
"""

from collections.abc import Iterator
from itertools import islice

from pgnotary.audit.check import newest
from pgnotary.errors import BadCheckpoint, LedgerBroken, NotCanonical
from pgnotary.ledger.base import Base
from pgnotary.ledger.canonical import unb64
from pgnotary.ledger.checkpoint import verify
from pgnotary.ledger.tree import Tree, leaf_hash
from pgnotary.store import Head, LedgerReader, StoredEntry, base_of

__all__ = ["Witnessed", "covered"]


class Witnessed:
    """A `LedgerReader` over exactly the entries under a head; each reading to the end raises LedgerBroken otherwise."""

    def __init__(self, reader: LedgerReader, head: Head) -> None:
        self._reader = reader
        self._head = head

    def entries(self) -> Iterator[StoredEntry]:
        """Yield every entry under the head, in order; raises LedgerBroken behind the last if they are not those."""
        base = self.base()
        tree = base.tree() if base else Tree()
        for stored in islice(self._reader.entries(), max(0, self._head.size - tree.size)):
            tree.append(leaf_hash(stored.raw))
            yield stored
        if Head(tree.size, tree.root()) != self._head:
            raise LedgerBroken(
                [
                    f"#{max(0, tree.size - 1)} and what is before it are not the {self._head.size} entries under head "
                    f"{self._head.root.hex()[:16]}: run verify, which tells where they differ"
                ]
            )

    def base(self) -> Base | None:
        """Return what stands for archived entries, which the head covers too."""
        return base_of(self._reader)

    def checkpoints(self) -> Iterator[str]:
        """Yield every kept checkpoint."""
        return self._reader.checkpoints()


def covered(reader: LedgerReader, vkey: str | None) -> Witnessed:
    """Return a reader over what the newest checkpoint covers; without a key its signature is not checked.

    Raises LedgerBroken if there is no checkpoint, or none to believe.
    """
    note = newest(reader)
    try:
        if vkey is not None:
            checkpoint = verify(note, vkey)
            return Witnessed(reader, Head(checkpoint.size, checkpoint.root))
        _, size, root, *_ = note.split("\n")
        return Witnessed(reader, Head(int(size), unb64(root)))
    except (BadCheckpoint, NotCanonical, ValueError) as error:
        raise LedgerBroken([f"#0 the newest checkpoint cannot be believed: {error}"]) from error

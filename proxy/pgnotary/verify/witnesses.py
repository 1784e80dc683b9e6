"""Whether a ledger is the one that people remember: their heads enter, and are held against the finished tree.

A head that somebody remembers was newest at some time, and signed by the proxy's key. So a ledger that is shorter was
cut, one with another root at that size was rewritten or is a fork, and what lies beyond the longest remembered head has
no witness: whoever holds the key could still write it anew. The number is that of the checklist.
"""

from collections.abc import Collection, Sequence

from pgnotary.ledger.checkpoint import Checkpoint
from pgnotary.verify.findings import Findings
from pgnotary.verify.heads import Heads

__all__ = ["Witnesses"]


class Witnesses:
    """Heads that people remember, all under the key that the ledger is verified with."""

    def __init__(self, remembered: Sequence[Checkpoint] | None) -> None:
        self._remembered = None if remembered is None else sorted(set(remembered), key=_order)
        self.archived = 0
        """How many of them lie in an archive that is not at hand."""

    @property
    def sizes(self) -> Collection[int]:
        """The sizes at which the tree's root will be asked for."""
        return frozenset(head.size for head in self._remembered or ())

    def finish(self, heads: Heads, ledger: str, findings: Findings) -> int | None:
        """Report every head that is not the ledger's; return how many entries the longest good one covers.

        None if nobody was asked for heads.
        """
        # (19) each remembered head is the ledger's at that size
        if self._remembered is None:
            return None
        agreeing = [
            head.size
            for head in self._remembered
            if head.origin == (ledger or head.origin) and heads.root_at(head.size) == head.root
        ]
        for head in self._remembered:
            root = heads.root_at(head.size)
            if ledger and head.origin != ledger:
                findings.fault(0, f"is of the ledger {ledger!r}; the same key has signed a head of {head.origin!r}")
            elif heads.is_archived(head.size):
                self.archived += 1
            elif head.size > heads.size:
                findings.fault(
                    heads.size,
                    f"and what follows is missing: a remembered head covers {head.size} entries, here are "
                    f"{heads.size}: the end was cut off, or this is an older copy",
                )
            elif root != head.root:
                findings.fault(
                    max(0, head.size - 1),
                    f"or an entry before it is not what it was: a remembered head over {head.size} entries has root "
                    f"{head.root.hex()[:8]}, these have {(root or b'').hex()[:8]}: {_why(head.size, agreeing)}",
                )
        return max(agreeing, default=0)


def _why(size: int, agreeing: Sequence[int]) -> str:
    """Return what may have happened to a ledger that one head contradicts, and heads of these sizes do not.

    That a shorter head agrees says where a rewritten ledger was changed, but not where another one parts from this:
    who remembers that one may never have been shown a word of this.
    """
    known = max(agreeing, default=0)
    if known >= size:
        return f"there are two ledgers, since another remembered head, over {known} entries, is this one's"
    behind = f" behind the first {known}, which another remembered head knows as they are" if known else ""
    return f"the ledger was rewritten{behind}, or there are two"


def _order(head: Checkpoint) -> tuple[int, bytes, str]:
    return head.size, head.root, head.origin

"""The head that an approver names in a decision: read from the proxy's checkpoint, and checked as far as possible.

A checkpoint note, the paper to decide over and, if at hand, the proxy's verifier key enter; a `Seen` leaves, or
BadCheckpoint. By naming it every approver becomes a witness: what lies below this head cannot be rewritten later
without contradicting a signature that the proxy cannot make.
"""

from pgnotary.approval.papers import Paper
from pgnotary.errors import BadCheckpoint, NotCanonical
from pgnotary.ledger.canonical import unb64
from pgnotary.ledger.checkpoint import Checkpoint, verify
from pgnotary.request.decision import Seen

__all__ = ["read_head"]


def read_head(note: str, vkey: str | None, paper: Paper) -> Seen:
    """Return the head in `note`; with `vkey` only if that key signed it."""
    checkpoint = _claimed(note) if vkey is None else verify(note, vkey)
    ledger, seq = paper.request.position.ledger, paper.preview.position.seq
    if checkpoint.origin != ledger:
        raise BadCheckpoint(f"the head is of the ledger {checkpoint.origin!r}, the request of {ledger!r}")
    if checkpoint.size <= seq:
        raise BadCheckpoint(f"the head covers {checkpoint.size} entries and so not #{seq}, the preview to be signed")
    return Seen(checkpoint.size, checkpoint.root)


def _claimed(note: str) -> Checkpoint:
    """Return the checkpoint that a note claims, whoever signed it."""
    origin, size, root, *_ = [*note.split("\n"), "", "", ""]
    try:
        claimed = Checkpoint(origin, int(size), unb64(root))
    except (NotCanonical, ValueError) as error:
        raise BadCheckpoint(f"the head is not a checkpoint: {error}") from error
    if not note.startswith(f"{claimed.text}\n"):
        raise BadCheckpoint("the head is not a checkpoint: expected origin, size, root and an empty line")
    return claimed

"""The head that a person names in what they sign: the proxy's newest checkpoint, held against what was seen before.

The proxy's answer, the entries to sign about, the proxy's verifier key if it is known, and the head that this machine
remembers enter; a checkpoint leaves that extends that head and covers these entries, or an error. By naming
it every approver becomes a witness: what lies below it cannot be rewritten later without contradicting a signature that
the proxy cannot make, nor shown otherwise to anybody whose command remembers.
"""

from dataclasses import dataclass
from datetime import datetime

from pgnotary.approval.bodies import HeadProof
from pgnotary.errors import BadCheckpoint, BadProof, HeadContradicted, NotCanonical
from pgnotary.ledger.canonical import unb64
from pgnotary.ledger.checkpoint import Checkpoint, verify
from pgnotary.ledger.entries import Entry
from pgnotary.ledger.remembered import Remembered
from pgnotary.ledger.tree import verify_consistency, verify_inclusion
from pgnotary.verify.misbehaviour import document

__all__ = ["Look", "size_before"]


def size_before(remembered: Remembered | None) -> int:
    """Return the size to ask a proof from: 0 if nothing is remembered."""
    return remembered.checkpoint.size if remembered else 0


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the newest head."""

    entries: tuple[Entry, ...]
    """What is signed about, in the order in which proofs were asked for; at least one."""
    vkey: str | None
    """The proxy's key; None if nobody here knows it: then nothing can have been remembered under it."""
    remembered: Remembered | None
    at: datetime

    def checked(self, answer: HeadProof) -> Checkpoint:
        """Return the head if it may be named in what is signed.

        Raises HeadContradicted if it is not one ledger with the remembered head, BadCheckpoint or BadProof if it is not
        to be believed.
        """
        head = _claimed(answer.note) if self.vkey is None else verify(answer.note, self.vkey)
        last = max(self.entries, key=lambda entry: entry.position.seq)
        ledger, seq = last.position.ledger, last.position.seq
        if head.origin != ledger:
            raise BadCheckpoint(f"the head is of the ledger {head.origin!r}, the request of {ledger!r}")
        if self.remembered is not None:
            self._check_extends(self.remembered, head, answer)
        if head.size <= seq:
            raise BadCheckpoint(f"the head covers {head.size} entries and so not #{seq}, the {last.type} to be signed")
        if len(answer.inclusion) != len(self.entries):
            raise BadProof(f"{len(answer.inclusion)} proofs that the head covers {len(self.entries)} entries")
        for entry, path in zip(self.entries, answer.inclusion, strict=True):
            try:
                verify_inclusion(entry.leaf, entry.position.seq, head.size, path, head.root)
            except BadProof as error:
                raise BadProof(f"the {entry.type} to be signed is not in the ledger that was shown: {error}") from error
        return head

    def _check_extends(self, remembered: Remembered, head: Checkpoint, answer: HeadProof) -> None:
        before = remembered.checkpoint
        if head.size < before.size:
            raise self._contradicted(
                answer.note,
                f"the ledger {head.origin} has shrunk: it had {before.size} entries on {_day(remembered)}, now it has "
                f"{head.size}. It was restored from an older copy, cut, or begun anew",
            )
        if head.size == before.size and head.root != before.root:
            raise self._contradicted(
                answer.note,
                f"the ledger {head.origin} has two different histories of {head.size} entries under one key: it was "
                "rewritten, or is shown otherwise to others",
            )
        if head.size > before.size and answer.older_root and answer.older_root != before.root:
            self._check_other_history(before, head, answer)
        try:
            verify_consistency(before.size, before.root, head.size, head.root, answer.consistency)
        except BadProof as error:
            why = f"the proxy does not prove that the ledger {head.origin} begins with what was shown before: {error}"
            raise self._contradicted(answer.note, why) from error

    def _check_other_history(self, before: Checkpoint, head: Checkpoint, answer: HeadProof) -> None:
        """Raise HeadContradicted if the proxy itself proves that its entries begin otherwise: it cannot deny that."""
        try:
            verify_consistency(before.size, answer.older_root, head.size, head.root, answer.consistency)
        except BadProof:
            return  # Nothing is proven; that the remembered head is not extended is found by the caller.
        raise self._contradicted(
            answer.note,
            f"the ledger {head.origin} does not begin with the {before.size} entries that it had before: it was "
            "rewritten, or is shown otherwise to others",
            older_root=answer.older_root,
            consistency=answer.consistency,
        )

    def _contradicted(
        self, note: str, why: str, *, older_root: bytes | None = None, consistency: list[bytes] | None = None
    ) -> HeadContradicted:
        if self.remembered is None:
            raise RuntimeError("nothing is remembered that could be contradicted")
        evidence = document(
            self.remembered.note,
            note,
            self.remembered.key,
            self.at,
            older_root=older_root,
            consistency=consistency or (),
        )
        return HeadContradicted(why, evidence, (self.remembered.note, note))


def _day(remembered: Remembered) -> str:
    return f"{remembered.seen_at:%Y-%m-%d %H:%M} UTC"


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

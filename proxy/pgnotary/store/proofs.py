"""What a store proves of its newest head: which leaves it must read again for that, and the proofs made of them.

Sizes and numbers enter; the blocks to read leave, then with these blocks the proofs. Nothing is read here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pgnotary.errors import InArchive
from pgnotary.ledger.subtrees import Subtrees, blocks_of
from pgnotary.ledger.tree import consistency_ranges, inclusion_ranges
from pgnotary.store import Head, HeadProof

__all__ = ["Asked", "asked", "proven"]

_Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be proven of a tree of `size` leaves, as the subtrees that it takes."""

    size: int
    older: int
    """0 if nothing can be proven of an older head: it is of nothing, or beyond the end."""
    consistency: tuple[_Range, ...]
    inclusion: tuple[tuple[_Range, ...], ...]

    @property
    def blocks(self) -> frozenset[int]:
        """The blocks whose leaves are needed."""
        older = [(0, self.older)] if self.older else []
        return blocks_of([*older, *self.consistency, *(each for ranges in self.inclusion for each in ranges)])


def asked(older: int, entries: Sequence[int], size: int, kept: int = 0) -> Asked:
    """Return what is asked of a tree of `size` leaves; raises ValueError for an entry that it has not.

    Those before `kept` are archived: raises InArchive for a proof that would take one of their leaves.
    """
    if 0 < older < kept:
        raise InArchive(f"a head over {older} entries lies in the archive: here are those from #{kept} on", kept)
    if archived := [index for index in entries if 0 <= index < kept]:
        raise InArchive(f"entry #{archived[0]} lies in the archive: here are those from #{kept} on", kept)
    known = older if older <= size else 0
    return Asked(
        size,
        known,
        tuple(consistency_ranges(known, size)) if known else (),
        tuple(tuple(inclusion_ranges(index, size)) for index in entries),
    )


def proven(question: Asked, subtrees: Subtrees, leaves: Mapping[int, Sequence[bytes]], note: str) -> HeadProof:
    """Return the proofs; `leaves` are those of the question's blocks, `note` is the checkpoint over the whole tree."""
    return HeadProof(
        Head(subtrees.size, subtrees.tree().root()),
        note,
        subtrees.root_at(question.older, leaves) if question.older else None,
        tuple(subtrees.hashes(question.consistency, leaves)),
        tuple(tuple(subtrees.hashes(ranges, leaves)) for ranges in question.inclusion),
    )

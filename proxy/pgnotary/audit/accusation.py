"""Proofs of misbehaviour that a ledger and remembered heads give together.

A reader, the proxy's key and heads that people remember enter; documents leave (`pgnotary.verify.misbehaviour`), one
for each head that contradicts another one or the ledger's own newest checkpoint, with that head. What contradicts
nothing that is signed gives none: a ledger that was cut is only shorter. Each document has been examined as its readers
will. The ledger is read once to find which heads contradict it, and once more if any does.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

from pgnotary.audit.check import newest
from pgnotary.errors import BadCheckpoint, LedgerBroken
from pgnotary.ledger.checkpoint import verify
from pgnotary.ledger.remembered import Remembered
from pgnotary.ledger.subtrees import BLOCK, Subtrees, blocks_of
from pgnotary.ledger.tree import consistency_ranges, leaf_hash
from pgnotary.store import LedgerReader, base_of, raws_of
from pgnotary.verify.heads import Heads
from pgnotary.verify.misbehaviour import document, examine

__all__ = ["MOST", "accusations"]

MOST = 16
"""One is enough; of a rewritten ledger every later head gives another."""


def accusations(
    reader: LedgerReader, vkey: str, heads: Sequence[Remembered], at: datetime
) -> Iterator[tuple[Remembered, bytes]]:
    """Yield at most MOST heads that are proven to contradict something signed, each with its document."""
    for head, raw in islice(_found(reader, vkey, heads, at), MOST):
        examine(raw, vkey)
        yield head, raw


def _found(
    reader: LedgerReader, vkey: str, heads: Sequence[Remembered], at: datetime
) -> Iterator[tuple[Remembered, bytes]]:
    first: dict[int, Remembered] = {}
    for head in heads:
        other = first.setdefault(head.checkpoint.size, head)
        if other.checkpoint.origin == head.checkpoint.origin and other.checkpoint.root != head.checkpoint.root:
            yield head, document(other.note, head.note, head.key, at)
    try:
        yield from _against_newest(reader, vkey, heads, at)
    except LedgerBroken:
        return  # It cannot be read to its end: that is a fault of its own.


def _against_newest(
    reader: LedgerReader, vkey: str, heads: Sequence[Remembered], at: datetime
) -> Iterator[tuple[Remembered, bytes]]:
    note = newest(reader)
    try:
        end = verify(note, vkey)
    except BadCheckpoint:
        return
    within = {
        (head.checkpoint.size, head.checkpoint.root): head
        for head in heads
        if 0 < head.checkpoint.size <= end.size and head.checkpoint.origin == end.origin
    }
    base = base_of(reader)
    first = base.size if base else 0
    within = {key: head for key, head in within.items() if key[0] >= first}
    tree = Heads({end.size, *(size for size, _ in within)}, base)
    for leaf in _leaves(reader, end.size - first):
        tree.append(leaf)
    if first % BLOCK or tree.size != end.size or tree.root() != end.root:
        return  # These entries are not what the newest checkpoint signs.
    others = [head for (size, root), head in within.items() if tree.root_at(size) != root][:MOST]
    if not others:
        return
    ranges = {size: consistency_ranges(size, end.size) for size in {head.checkpoint.size for head in others}}
    needed = blocks_of([each for size, some in ranges.items() for each in ((0, size), *some)])
    subtrees = Subtrees.of(first, base.roots) if base else Subtrees()
    blocks: dict[int, list[bytes]] = {number: [] for number in needed}
    for seq, leaf in enumerate(_leaves(reader, end.size - first), first):
        subtrees.append(leaf)
        if (block := blocks.get(seq // BLOCK)) is not None:
            block.append(leaf)
    if subtrees.size != end.size or subtrees.tree().root() != end.root:
        return  # It changes while it is read.
    for head in others:
        size = head.checkpoint.size
        if size == end.size:
            yield head, document(head.note, note, head.key, at)
            continue
        consistency = subtrees.hashes(ranges[size], blocks)
        older_root = subtrees.root_at(size, blocks)
        yield head, document(head.note, note, head.key, at, older_root=older_root, consistency=consistency)


def _leaves(reader: LedgerReader, count: int) -> Iterator[bytes]:
    return map(leaf_hash, islice(raws_of(reader), max(0, count)))

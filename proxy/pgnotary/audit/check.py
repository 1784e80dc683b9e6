"""A whole ledger put before the checklist, even while a proxy goes on writing it.

A reader and keys enter, the checklist's summary leaves, or `LedgerBroken` with every fault. What a live ledger gains
after the check has begun is left to the next check: the newest checkpoint is read first, and entries beyond it count
only if no newer checkpoint came to cover them.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Protocol, runtime_checkable

from pgnotary.audit.words import counted
from pgnotary.errors import LedgerBroken
from pgnotary.ledger.checkpoint import Checkpoint, claimed_size
from pgnotary.request.roster import Roster
from pgnotary.store import LedgerReader, StoredEntry, base_of, raws_of
from pgnotary.verify.checklist import Summary, verify

__all__ = ["Indexed", "Keyed", "check", "claimed_size", "gaps", "newest", "noted", "settled", "vouched"]


@runtime_checkable
class Keyed(Protocol):
    """A reader with a key of its own, and can tell where it is not the one that is verified with."""

    def key_faults(self, vkey: str) -> Iterator[str]:
        """Yield each fault."""
        ...


@runtime_checkable
class Indexed(Protocol):
    """A reader that keeps more than entries and checkpoints, and can tell where the rest does not fit them."""

    def index_faults(self) -> Iterator[str]:
        """Yield each fault."""
        ...

    def notes(self) -> Iterator[str]:
        """Yield what is worth knowing and no fault."""
        ...


def check(
    reader: LedgerReader,
    vkey: str,
    *,
    roster: Roster | None = None,
    remembered: Iterable[str] = (),
    heads: Sequence[Checkpoint] | None = None,
) -> Summary:
    """Verify a ledger against the proxy's key, and against checkpoints and heads that people remember.

    `heads` were seen to be signed by that key, and were read before this is called; None: nobody was asked.

    Raises LedgerBroken, BadCheckpoint if `vkey` is no key.
    """
    entries, last = settled(reader)
    size = claimed_size(last)
    kept = (note for note in reader.checkpoints() if claimed_size(note) <= size or size < 0)
    notes = heapq.merge(kept, sorted(remembered, key=claimed_size), key=claimed_size)
    faults: list[str] = []
    try:
        summary = verify(
            entries,
            last,
            vkey,
            ahead=(StoredEntry(raw, {}) for raw in raws_of(reader)),
            roster=roster,
            checkpoints=notes,
            remembered=heads,
            base=base_of(reader),
        )
    except LedgerBroken as broken:
        faults += broken.faults
    if isinstance(reader, Indexed):
        faults += reader.index_faults()
    if isinstance(reader, Keyed):
        faults += reader.key_faults(vkey)
    if faults:
        raise LedgerBroken(faults)
    return replace(summary, notes=(*summary.notes, *reader.notes())) if isinstance(reader, Indexed) else summary


def vouched(summary: Summary, vkey: str) -> Iterator[str]:
    """Yield what a verified ledger is known to hold, a line each."""
    if summary.first is None or summary.last is None:
        yield f"an empty ledger, head {summary.head.hex()[:16]}"
    else:
        yield (
            f"{counted(summary.entries - summary.archived, 'entry', 'entries')} "
            f"(#{summary.archived}-#{summary.entries - 1}) of {summary.ledger}, "
            f"{summary.first:%Y-%m-%d} to {summary.last:%Y-%m-%d}, head {summary.head.hex()[:16]}"
        )
    yield f"{counted(summary.decisions, 'decision')}: document, signature, roster at that time, head that was seen"
    yield (
        f"{counted(summary.approvals, 'approval')}: {summary.executions:,} sent ({_fates(summary)}), "
        f"{len(summary.never_run):,} not sent; {counted(summary.denials, 'denial')}"
    )
    only_counted = f" ({summary.counted:,} only counted)" if summary.counted else ""
    yield (
        f"{counted(summary.forwarded + summary.refused, 'statement')} without a decision: "
        f"{summary.forwarded:,} forwarded{only_counted}, {summary.refused:,} refused"
    )
    redacted = f", {summary.redacted:,} redacted" if summary.redacted else ""
    yield f"{counted(summary.opened, 'sealed value')} as committed to; {summary.withheld:,} withheld{redacted}"
    yield f"{counted(summary.checkpoints, 'checkpoint')}, signed by {vkey.rpartition('+')[0]}"
    if summary.witnessed:
        last = summary.witnessed - 1
        yield f"{counted(summary.witnessed, 'entry', 'entries')} (#0-#{last}) under a head that somebody remembers"


def gaps(summary: Summary) -> Iterator[str]:
    """Yield what the evidence in a verified ledger does not reach, a line each; nothing if it is complete."""
    if summary.witnessed is not None and (beyond := summary.entries - summary.witnessed):
        entries = counted(beyond, "entry", "entries")
        yield f"{entries} since #{summary.witnessed} {'is' if beyond == 1 else 'are'} under no remembered head"
    if summary.archived:
        those = counted(summary.archived, "entry", "entries")
        yield (
            f"{those} (#0-#{summary.archived - 1}, root {summary.archived_root.hex()[:16]}) "
            f"{'is' if summary.archived == 1 else 'are'} archived, not looked at: give --archive"
        )
    if summary.archived_heads:
        heads = counted(summary.archived_heads, "remembered head")
        yield f"{heads} {'lies' if summary.archived_heads == 1 else 'lie'} in the archive, not compared: give --archive"
    if summary.unknown:
        yield f"outcome unknown: {', '.join(summary.unknown)}"
    yield from summary.lacks
    if summary.withheld:
        values = counted(summary.withheld, "sealed value")
        yield f"{values} {'is' if summary.withheld == 1 else 'are'} withheld"
    if summary.redacted:
        values = counted(summary.redacted, "sealed value")
        yield f"{values} {'is' if summary.redacted == 1 else 'are'} redacted, all authorised"


def noted(summary: Summary, *, pinned_key: bool, pinned_roster: bool) -> Iterator[str]:
    """Yield what the reader of a verified ledger should know beside it, a line each."""
    if not pinned_key:
        yield "key taken from the export itself: pin it with --key"
    if summary.decisions and not pinned_roster:
        # One may have been carried over from what is archived.
        rosters = counted(max(1, summary.rosters), "roster")
        yield f"decisions held against {rosters} of the ledger itself: pin one with --allowed-signers"
    if summary.prepared:
        yield f"prepared, neither committed nor rolled back: {', '.join(summary.prepared)}"
    if summary.open:
        yield f"not ended yet: {', '.join(summary.open)}"
    yield from summary.notes


def _fates(summary: Summary) -> str:
    """Return what became of everything that was sent; the numbers add up."""
    ended = {
        "committed": summary.committed,
        "rolled back": summary.rolled_back,
        "failed": summary.failed,
        "unknown": len(summary.unknown),
        "prepared": len(summary.prepared),
    }
    ended["under way"] = summary.executions - sum(ended.values())
    return ", ".join(f"{number:,} {fate}" for fate, number in ended.items() if number or fate == "committed")


def newest(reader: LedgerReader) -> str:
    """Return the newest checkpoint; raises LedgerBroken if there is none."""
    last = deque(reader.checkpoints(), maxlen=1)
    if not last:
        raise LedgerBroken(["#0 there is no checkpoint: nobody has signed this ledger"])
    return last[0]


def settled(reader: LedgerReader) -> tuple[Iterator[StoredEntry], str]:
    """Return entries and a checkpoint that belong together.

    If nothing was appended meanwhile, these are all entries there are, covered or not; otherwise those that the
    checkpoint covers.
    """
    before = newest(reader)
    entries = reader.entries()
    # A reader fixes how far it reads when the first entry is asked for.
    first = list(islice(entries, 1))
    if newest(reader) == before:
        return _chained(first, entries), before
    base = base_of(reader)
    return islice(_chained(first, entries), max(0, claimed_size(before) - (base.size if base else 0))), before


def _chained(first: list[StoredEntry], rest: Iterator[StoredEntry]) -> Iterator[StoredEntry]:
    yield from first
    yield from rest

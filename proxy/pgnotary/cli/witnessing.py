"""The head that a command names in what it has signed: fetched, held against what this machine has seen, remembered.

Entries and what is remembered enter; the ledger's newest head leaves, durably remembered, or a failure that says what
it contradicts and where the proof of that is kept.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.head import Look, size_before
from pgnotary.approval.memory import Memory
from pgnotary.cli.exits import Exit, Failed
from pgnotary.errors import HeadContradicted
from pgnotary.ledger.checkpoint import Checkpoint
from pgnotary.ledger.entries import Entry
from pgnotary.ledger.remembered import Remembered, remembered

__all__ = ["refused", "witnessed"]


def witnessed(client: ApprovalClient, entries: Sequence[Entry], vkey: str | None, memory: Memory) -> Checkpoint:
    """Return the ledger's newest head once it is checked and remembered; raises Failed if it contradicts another.

    It covers `entries`, which are of one ledger. The lock of `memory` is held from reading to writing: a command beside
    this one may have seen more meanwhile. Without a key nothing is remembered.
    """
    if vkey is None:
        return _look(client, entries, None, memory, None)
    with memory.held():
        whose = (entries[0].position.ledger, vkey)
        known = next((each for each in memory.heads() if (each.checkpoint.origin, each.key) == whose), None)
        return _look(client, entries, vkey, memory, known)


def _look(
    client: ApprovalClient, entries: Sequence[Entry], vkey: str | None, memory: Memory, known: Remembered | None
) -> Checkpoint:
    answer = client.prove(size_before(known), [entry.position.seq for entry in entries])
    now = datetime.now(UTC)
    try:
        head = Look(tuple(entries), vkey, known, now).checked(answer)
    except HeadContradicted as contradicted:
        raise refused(contradicted, memory) from contradicted
    if vkey is not None:
        memory.remember(remembered(answer.note, vkey, now))
    return head


def refused(contradicted: HeadContradicted, memory: Memory) -> Failed:
    """Keep what proves it, and return the failure that says so."""
    try:
        path = memory.keep_evidence(contradicted.evidence, *contradicted.notes)
        kept = f"both heads are in {path}: give it to whoever audits this ledger"
    except OSError as error:
        kept = f"both heads could not be kept ({error.strerror or error}): {contradicted.evidence.decode()}"
    return Failed(f"{contradicted}. Nothing was signed; {kept}", Exit.UNTRUSTED)

"""Which rosters were in force, and since when: entries enter, each roster that differs from the one before it leaves.

A proxy records its roster at every start; what is the same again is left out. A roster that cannot be read is told with
the reason, since nobody can decide under it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from pgnotary.audit.body import text
from pgnotary.audit.parsed import parsed
from pgnotary.errors import BadRoster
from pgnotary.ledger.entries import Entry, EntryType
from pgnotary.request.openssh import fingerprint
from pgnotary.request.roster import parse_roster
from pgnotary.store import StoredEntry

__all__ = ["InForce", "rosters", "signers_of"]


@dataclass(frozen=True, slots=True)
class InForce:
    """One roster, from the entry that put it in force."""

    seq: int
    at: datetime
    signers: tuple[tuple[str, str], ...]
    """Person and fingerprint of each key."""


def rosters(entries: Iterable[StoredEntry]) -> Iterator[InForce]:
    """Yield every roster that is not the same as the one before it."""
    last: str | None = None
    for entry, _ in parsed(entries):
        if entry.type is EntryType.ROSTER and (said := text(entry.body, "allowed_signers")) != last:
            last = said
            yield InForce(entry.position.seq, entry.position.time, signers_of(entry))


def signers_of(entry: Entry) -> tuple[tuple[str, str], ...]:
    """Return person and fingerprint of each key that a roster's entry names; one that cannot be read names nobody."""
    try:
        roster = parse_roster(text(entry.body, "allowed_signers"))
    except BadRoster as error:
        return (("nobody", f"it cannot be read: {error}"),)
    return tuple((signer.person, fingerprint(signer.public)) for signer in roster.signers)

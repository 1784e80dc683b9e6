"""Redactions as they come in: who may, over what nobody needs any more, recorded with what they delete.

A signed document enters; the entry that says what was erased, and by whom, leaves with the deletion in one transaction,
or `RedactionRefused` with the reason. Nothing of a refused one is kept: unlike a decision that does not count, it is
no evidence about a statement. The bytes in the files are the eraser's work.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from pgnotary.errors import RedactionRefused
from pgnotary.ledger.canonical import JSON, b64, timestamp
from pgnotary.ledger.entries import Draft, Entry, EntryType
from pgnotary.request.openssh import fingerprint
from pgnotary.request.redaction import NEEDED_IN, Redaction, Target, check, misfits, read
from pgnotary.request.roster import Roster
from pgnotary.serve.desk import A_MOMENT, CLOCKS_DIFFER
from pgnotary.serve.eraser import Eraser
from pgnotary.serve.seen_head import check_seen
from pgnotary.store import Append, ErasingStore, StillKept
from pgnotary.store.appender import Appender

__all__ = ["Redacted", "Redactions"]

log = logging.getLogger(__name__)

# How many other entries with the same value are named.
_COPIES = 20

# For the answer to say that it is erased; a larger ledger, or one that somebody reads, takes longer.
_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Redacted:
    """A redaction that is recorded."""

    seq: int
    copies: list[tuple[int, str]]
    """Where else the same bytes are sealed: entry and name."""


class Redactions:
    """All redactions of one proxy."""

    def __init__(
        self,
        store: ErasingStore,
        appender: Appender,
        roster: Callable[[], Roster],
        moment: Callable[[], datetime],
        eraser: Eraser,
        unreviewed: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """`unreviewed` gives the requests that somebody else has still to look at."""
        self._store = store
        self._appender = appender
        self._roster = roster
        self._moment = moment
        """What time an entry would have that is appended now."""
        self._eraser = eraser
        self._unreviewed = unreviewed

    @property
    def first(self) -> int:
        """The number of the first entry that is kept: those before it are archived."""
        return self._store.first

    async def kept(self, of: str | int) -> list[StillKept]:
        """Return what is kept of the sealed values of a request, or of the entry of this number."""
        return await self._store.kept(of)

    @property
    def hindrance(self) -> str:
        """Why bytes of deleted values may still be in the files; empty if none are."""
        return self._eraser.hindrance

    async def redact(self, document: bytes, signature: str) -> Redacted:
        """Record a redaction and delete what it names; raises RedactionRefused, LedgerUnavailable."""
        redaction = read(document)
        at = self._moment()
        check(redaction, signature, self._roster(), at)
        if abs(redaction.redacted_at - at) > CLOCKS_DIFFER:
            raise RedactionRefused(
                f"redacted at {timestamp(redaction.redacted_at)}, now it is {timestamp(at)}: set the clock"
            )
        self._check_place(redaction)
        await check_seen(self._store, redaction.seen, redaction.values[-1].seq, RedactionRefused)
        erases = tuple((values.leaf, name) for values in redaction.values for name in values.seals)
        # It reads the whole ledger: what must hold when the entry is appended is looked at behind it.
        copies = await self._store.copies(erases, _COPIES)
        await self._check_values(redaction)
        # Last, and nothing is waited for until the entry is on its way: a roster that came meanwhile stands before it.
        at = self._moment()
        signer = check(redaction, signature, self._roster(), at)
        if why := signer.ends_by(at + A_MOMENT):
            raise RedactionRefused(why)
        body: dict[str, JSON] = {
            "redactor": signer.person,
            "key": fingerprint(signer.public),
            "values": [values.fields for values in redaction.values],
            "reason": redaction.reason,
            "document": b64(redaction.raw),
            "signature": signature,
        }
        try:
            [receipt] = await self._appender.append(Append(Draft(EntryType.REDACTED, body), erases=erases))
        finally:
            # After an error too: nobody may know whether it has happened.
            self._eraser.wake()
        seq = receipt.entry.position.seq
        log.info("values were redacted", extra={"by": signer.person, "entry": seq, "values": len(erases)})
        await self._eraser.tried(_PATIENCE_S)
        return Redacted(seq, copies)

    def _check_place(self, redaction: Redaction) -> None:
        """Raise if something that is named lies in an archive: nothing here could erase it there."""
        first = self._store.first
        if archived := [f"#{each.seq}" for each in redaction.values if each.seq < first]:
            raise RedactionRefused(
                f"{', '.join(archived)} {'is' if len(archived) == 1 else 'are'} archived, and so are the values: "
                f"here are the entries from #{first} on; docs/archive.md says how an archive is redacted"
            )

    async def _check_values(self, redaction: Redaction) -> None:
        """Raise unless all that is named is kept, not the redactor's own, and needed by nobody."""
        targets: list[Target | None] = []
        gone: set[tuple[bytes, str]] = set()
        for values in redaction.values:
            found = await self._store.kept(values.seq)
            targets += [Target.of(each.entry, await self._person(each.entry)) for each in found] or [None]
            for each in found:
                gone |= {(each.entry.leaf, name) for name in each.entry.seals.keys() - each.sizes.keys()}
        faults = misfits(redaction.redactor, redaction.values, targets, gone)
        if redaction.ledger != (name := self._store.checkpoint().partition("\n")[0]):
            faults.append(f"it is for the ledger {redaction.ledger!r:.80}, this is {name!r}")
        for target in targets:
            request = target.request if target else None
            if request is not None and (state := await self._store.state(request)) in NEEDED_IN:
                faults.append(f"{request} is {state}: what it asks is still needed")
            elif request in self._unreviewed():
                faults.append(f"{request} is not reviewed: what it asked is still needed")
        if faults:
            raise RedactionRefused("; ".join(faults))

    async def _person(self, entry: Entry) -> str:
        if entry.type is EntryType.REQUEST:
            return str(entry.body.get("person", ""))
        return await self._store.person(entry.session or "")

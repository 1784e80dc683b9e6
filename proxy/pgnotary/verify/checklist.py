"""The checklist over a whole ledger: entries, checkpoints and keys enter; a summary leaves, or all faults.

A first look collects which heads and entries signatures name, then one pass checks all, in order; memory is bounded by
the number of decisions and redactions, and by the requests and sessions that are open at one time. No fault stops the
pass, so each is reported with the place of its entry, counted from 0. What is checked:

    entry by entry
     1. its bytes are canonical and of a format and a type we know, and no longer than an entry may be
     2. its seq is its place: from 0, without gaps
     3. its prev is the leaf hash of the entry before it
     4. its ledger is that of the first entry
     5. its time is not before the time of the entry before it
     6. each opened value matches the commitment of a seal that the entry has
    checkpoints
     7. each kept one is signed by the pinned key, names this ledger, and gives the root of the entries it covers
     8. the newest covers all entries and no more
    requests
     9. a request begins once; each further entry names the leaf of its last entry, in the same session
    10. each step is in the table of moves; nothing follows a final state, so one decision counts
    decisions
    11. the document reads
    12. it is signed by a key that the roster in force at that place gives to its approver for decisions; all it repeats
        is that of the request and its preview; the requester is another person
    13. what the entry repeats (approver, key, answer, max_rows) is what was signed
    14. the head that the approver saw is the ledger's at that size, and covers the preview
    execution
    15. nothing was sent without the approvals that the request needs: of different people, each good for one need of
        one of their groups; each says how many are missing behind it, and the intent names them if they are several.
        None has run whose key had left the roster, had ended a minute before, or had not begun, at its intent. Nor
        was it sent to another database or server process
    16. no more rows were committed than were approved, and not without a count if there was a ceiling
    17. rows are those of the command tags; the outcome has the transaction of the intent and the rows of the execution;
        what is prepared has a name, and ends by that name
    sessions
    18. a request was asked in an open session, by whom and over what it was opened with; none is closed with more
        held than are in the ledger
    witnesses
    19. each head that people remember, if they were asked, is the ledger's at that size
    redactions
    20. the document of a redaction reads, and is signed by a key that the roster in force at that place gives to its
        redactor, for redactions in so many words; the entry repeats it; the head that was seen is the ledger's at that
        size, and covers what is redacted
    21. it names seals of entries before it, each of them once, none of the redactor's own session or of a
        rejected decision, none of a request that still waits, runs or is prepared, and none that was archived before
    22. no value is kept that was redacted
    silence
    23. in a run that promised heartbeats no two entries are further apart than it promised, and each heartbeat says how
        long the run has lasted
    24. no start says that it gave up a head that had been signed
    archives
    25. each `archived` entry goes on where the one before it ended, cuts no request apart, and names the root and the
        base that follow from the entries before its cut; a ledger that begins behind its first entry has one that
        names what it stands on

    glass
    26. nobody breaks the glass again while an earlier one of theirs was not reviewed within 24 hours
    27. the document of a review reads, and is signed by a key that the roster in force at that place gives to its
        reviewer for decisions; the entry repeats it
    28. it is about a decision that broke the glass and was not reviewed before, by neither who broke it nor who asked;
        the head that was seen is the ledger's at that size, and covers that decision
    29. whatever one person alone has let run is reviewed by another
    withdrawals
    30. a call that an entry holds, by which a request was taken back, reads and is for this proxy and this request; it
        was made neither before the request nor behind the entry, and is signed by a key that the roster in force at
        that place gives to the request's person, for calls; the entry repeats it

What 23, 24 and 29 find is no fault but a lack: a machine may sleep and a ledger be restored, and still nobody can see
what was there. Only a heartbeat that says nothing is a fault.

Notes, not faults: an empty ledger, requests that have not ended, outcomes that stayed unknown or prepared, approvals
that were never used, decisions made late, decisions and redactions by a clock far off, withdrawals that were signed
long before, or of which the entry holds no signature, decisions rejected although valid by themselves, rosters that
changed, sessions that forwarded other numbers than the ledger has, runs without an end, a disk that was full, and a
clock that was set forward.

Not checked: whether the proxy recorded what it did (no ledger can tell), whether a roster in the ledger is the one that
its owners agreed upon (pin one to know), values that are withheld or redacted, what a redaction names that was archived
since if that archive is not given, what forwarded statements were, and, beyond the longest head that somebody
remembers, that no other ledger exists under the same key.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pgnotary.errors import BrokenSeal, LedgerBroken, NotCanonical
from pgnotary.ledger.base import Base
from pgnotary.ledger.canonical import MAX_ENTRY_BYTES
from pgnotary.ledger.checkpoint import Checkpoint, parse_vkey
from pgnotary.ledger.entries import FIRST_PREV, Entry, parse_entry
from pgnotary.ledger.seals import check_opened
from pgnotary.ledger.tree import leaf_hash
from pgnotary.request.life import State
from pgnotary.request.roster import Roster
from pgnotary.verify.archives import Archives, Cuts
from pgnotary.verify.checkpoints import Checkpoints
from pgnotary.verify.cuts import tell_cut
from pgnotary.verify.decisions import Opened
from pgnotary.verify.findings import Findings
from pgnotary.verify.heads import Heads, Named, named
from pgnotary.verify.lives import Lives
from pgnotary.verify.pulse import Pulse
from pgnotary.verify.witnesses import Witnesses

__all__ = ["Kept", "Summary", "base_behind", "verify"]


class Kept(Protocol):
    """An entry as a store or an export keeps it."""

    @property
    def raw(self) -> bytes:
        """The entry's bytes."""
        ...

    @property
    def opened(self) -> Opened:
        """Name -> (salt, value) of what is kept of its sealed values."""
        ...


@dataclass(frozen=True, slots=True)
class Summary:
    """What a ledger holds that has no fault."""

    ledger: str
    """Its name; empty if it has no entry."""
    entries: int
    """Those that are archived are among them."""
    archived: int
    """How many of them, from the first on, are archived and were not looked at."""
    archived_root: bytes
    """The root over these, 32 bytes."""
    archived_heads: int
    """How many remembered heads and checkpoints lie among them, and were compared with nothing."""
    first: datetime | None
    last: datetime | None
    head: bytes
    """The root over all entries, 32 bytes."""
    checkpoints: int
    """How many kept ones were compared."""
    witnessed: int | None
    """How many entries the longest remembered head covers; None if nobody was asked for heads."""
    rosters: int
    requests: int
    decisions: int
    approvals: int
    denials: int
    rejected: int
    executions: int
    """Approved statements that were sent."""
    committed: int
    """Of these, at once or as it turned out in the end; so with the next one."""
    rolled_back: int
    failed: int
    forwarded: int
    """Statements that needed no decision; those that were refused at once are not among them."""
    counted: int
    """Of what was forwarded: of so many there is no text, only counts and a digest."""
    refused: int
    opened: int
    withheld: int
    redactions: int
    redacted: int
    """Sealed values that are missing because somebody who may had them erased; they are not among the withheld."""
    broken: int
    """Decisions that broke the glass."""
    reviewed: int
    """Of these, reviewed by somebody else."""
    unknown: tuple[str, ...]
    """Requests whose outcome nobody knows yet."""
    prepared: tuple[str, ...]
    """Requests whose transaction waits for COMMIT PREPARED or ROLLBACK PREPARED, as far as the ledger knows."""
    never_run: tuple[str, ...]
    """Requests that were approved and not sent."""
    open: tuple[str, ...]
    """Requests that have not ended, whatever their state, except those that are unknown or prepared."""
    lacks: tuple[str, ...]
    """Where nothing was signed although that was promised, and heads that were given up; each begins with its place."""
    notes: tuple[str, ...]
    """What is no fault and still worth knowing, each beginning with its place."""


def verify(
    entries: Iterable[Kept],
    checkpoint: str,
    vkey: str,
    *,
    ahead: Iterable[Kept],
    roster: Roster | None = None,
    checkpoints: Iterable[str] = (),
    remembered: Sequence[Checkpoint] | None = None,
    base: Base | None = None,
) -> Summary:
    """Return what the ledger holds, or raise LedgerBroken with every fault, each beginning with its place.

    `ahead` is a reading of the same entries for the first look; it may reach further than `entries`, never less far.
    `checkpoint` is the newest, `checkpoints` are others that were kept, by ascending size; all must be signed by
    `vkey`. `remembered` are heads that people remember, seen to be signed by it; None: nobody was asked. With a
    `roster` all decisions are held against it, otherwise against the rosters that the ledger records. If the first
    entries are archived, `base` stands for them. Raises BadCheckpoint if `vkey` is no key.
    """
    parse_vkey(vkey)
    cuts = Cuts()
    names = named(cuts.passing(_raws(ahead)))
    reading = _Reading(vkey, names, roster, checkpoints, Witnesses(remembered), cuts, base)
    try:
        for kept in entries:
            reading.take(kept)
    except LedgerBroken as unreadable:
        # The storage itself is damaged: what was read so far is still worth its faults.
        reading.stop(unreadable.faults)
    reading.finish(checkpoint)
    if faults := reading.findings.faults:
        raise LedgerBroken(faults)
    return reading.summary()


def base_behind(entries: Iterable[Kept], vkey: str, base: Base | None) -> Base:
    """Return what a ledger stands on if it is cut behind these entries, which begin on `base`.

    They must have been verified: no fault is reported here. Raises NotCanonical if the ledger cannot be cut there.
    """
    reading = _Reading(vkey, Named(frozenset(), frozenset()), None, (), Witnesses(None), Cuts(), base)
    for kept in entries:
        reading.take(kept)
    return reading.base()


def _raws(ahead: Iterable[Kept]) -> Iterator[bytes]:
    # What cannot be read here is met again, and reported, in the pass that checks.
    with suppress(LedgerBroken):
        for kept in ahead:
            yield kept.raw


class _Reading:
    """One pass over one ledger."""

    def __init__(
        self,
        vkey: str,
        names: Named,
        roster: Roster | None,
        checkpoints: Iterable[str],
        witnesses: Witnesses,
        cuts: Cuts,
        base: Base | None,
    ) -> None:
        self.findings = Findings()
        self._heads = Heads(names.sizes.union(witnesses.sizes, cuts.sizes), base)
        self._archives = Archives(self._heads, self.findings, cuts, base)
        self._witnesses = witnesses
        self._witnessed: int | None = None
        self._lives = Lives(self._heads, self.findings, vkey, roster, self._archives, names.redacted, base)
        self._pulse = Pulse(self._heads, self.findings, base)
        self._checkpoints = Checkpoints(checkpoints, vkey, self._heads, self.findings)
        self._ledger = base.ledger if base else None
        self._prev = base.prev if base else FIRST_PREV
        self._next_seq = self._heads.size
        self._first: datetime | None = None
        self._last = base.time if base else None
        self._opened = self._withheld = 0

    def take(self, kept: Kept) -> None:
        """Check the next entry."""
        if self._ledger is not None:
            self._checkpoints.compare(self._ledger)
        place = self._heads.size
        self._archives.pass_by(self.base)
        # (1) canonical bytes of a known format
        try:
            entry = parse_entry(kept.raw)
        except NotCanonical as error:
            self.findings.fault(place, f"cannot be read: {error}")
            self._prev = leaf_hash(kept.raw)
        else:
            if len(kept.raw) > MAX_ENTRY_BYTES:
                self.findings.fault(place, f"has {len(kept.raw)} bytes, an entry has at most {MAX_ENTRY_BYTES}")
            self._check_position(place, entry)
            self._check_seals(place, entry, kept.opened)
            self._lives.follow(entry, kept.opened)
            self._pulse.follow(entry)
            # (24) a head that was given up
            tell_cut(entry, place, self.findings)
            self._archives.follow(entry)
            self._prev = entry.leaf
        self._next_seq += 1
        self._heads.append(self._prev)

    def stop(self, faults: Iterable[str]) -> None:
        """Report why nothing more can be read."""
        for fault in faults:
            self.findings.fault(self._heads.size, f"and what follows cannot be read: {fault}")

    def finish(self, checkpoint: str) -> None:
        """Check what can be checked only when all entries were seen."""
        if not self._heads.size:
            self.findings.note(0, "is still to come: nothing is in this ledger")
        self._pulse.finish()
        self._lives.reviews.finish()
        self._archives.finish()
        self._checkpoints.finish(self._ledger or "", checkpoint)
        self._witnessed = self._witnesses.finish(self._heads, self._ledger or "", self.findings)

    def base(self) -> Base:
        """Return what the ledger stands on if it is cut here; raises NotCanonical."""
        if self._ledger is None or self._last is None:
            raise NotCanonical("nothing that can be read is before it")
        return self._lives.base(self._ledger, self._prev, self._last, self._archives.kept, self._pulse.carried())

    def _check_position(self, place: int, entry: Entry) -> None:
        position = entry.position
        # (2) its seq is its place; after a gap the count goes on from what was found, so that a gap is one fault
        if position.seq != self._next_seq:
            self.findings.fault(place, _gap(self._next_seq, position.seq))
        self._next_seq = position.seq
        # (3) the chain
        if position.prev != self._prev:
            self.findings.fault(
                max(0, place - 1),
                f"has leaf {self._prev.hex()[:8]}, but #{place} names {position.prev.hex()[:8]} before it: "
                "one of the two was changed, or entries between them are gone",
            )
        # (4) one ledger
        if self._ledger is None:
            self._ledger = position.ledger
        elif position.ledger != self._ledger:
            self.findings.fault(place, f"is of the ledger {position.ledger!r}, the first entry of {self._ledger!r}")
        # (5) time does not run back
        if self._last is not None and position.time < self._last:
            self.findings.fault(place, f"was appended at {position.time}, before the entry before it ({self._last})")
        self._first = self._first or position.time
        self._last = position.time

    def _check_seals(self, place: int, entry: Entry, opened: Opened) -> None:
        # (6) what is opened is what was committed to
        for name, (salt, value) in opened.items():
            if name not in entry.seals:
                self.findings.fault(place, f"has no seal {name!r:.60}, but a value is kept for it")
                continue
            try:
                check_opened(name, salt, value, entry.seals[name])
            except BrokenSeal as error:
                self.findings.fault(place, str(error))
        self._opened += len(opened)
        self._withheld += len(entry.seals.keys() - opened.keys())

    def summary(self) -> Summary:
        """Return what was seen."""
        tally, standing, redactions = self._lives.tally, self._lives.open(), self._lives.redactions
        approved = [request for request, state in standing if state is State.APPROVED]
        return Summary(
            ledger=self._ledger or "",
            entries=self._heads.size,
            archived=self._heads.floor,
            archived_root=self._heads.root_at(self._heads.floor) or b"",
            archived_heads=self._witnesses.archived + self._checkpoints.archived,
            first=self._first,
            last=self._last,
            head=self._heads.root(),
            checkpoints=self._checkpoints.good,
            witnessed=self._witnessed,
            rosters=tally.rosters,
            requests=tally.requests,
            decisions=tally.decisions,
            approvals=tally.approvals,
            denials=tally.denials,
            rejected=tally.rejected,
            executions=tally.executions,
            committed=tally.committed,
            rolled_back=tally.rolled_back,
            failed=tally.failed,
            forwarded=tally.forwarded,
            counted=tally.counted,
            refused=tally.refused,
            opened=self._opened,
            withheld=self._withheld - redactions.values,
            redactions=redactions.count,
            redacted=redactions.values,
            broken=self._lives.reviews.broken,
            reviewed=self._lives.reviews.reviewed,
            unknown=tuple(request for request, state in standing if state is State.UNKNOWN),
            prepared=tuple(request for request, state in standing if state is State.PREPARED),
            never_run=(*tally.never_run, *approved),
            open=tuple(request for request, state in standing if state not in (State.UNKNOWN, State.PREPARED)),
            lacks=self.findings.lacks,
            notes=self.findings.notes,
        )


def _gap(expected: int, found: int) -> str:
    why = f"{found - expected} entries are gone" if found > expected else "an entry stands twice, or two were swapped"
    return f"says seq {found}, expected {expected}: {why}"

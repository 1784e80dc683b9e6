"""The life of every request, as a ledger tells it: entries enter in order, faults, notes and counts leave.

Which entry may follow which is the table of `pgnotary.request.life`; each step must name the leaf of the step before it
in `after`. Only requests that are not in a final state are kept, so memory is bounded by what was open at one time.
The numbers are those of the checklist.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pgnotary.errors import BadRoster, NotCanonical
from pgnotary.ledger.base import Base, CarriedRun
from pgnotary.ledger.entries import Entry, EntryType
from pgnotary.ledger.executions import Told
from pgnotary.request.decision import Answer
from pgnotary.request.life import FINAL, MOVES, State
from pgnotary.request.quorum import people_in, quorum_in
from pgnotary.request.roster import Roster, parse_roster
from pgnotary.verify.archives import Archives
from pgnotary.verify.decisions import Decisions, Opened, is_valid
from pgnotary.verify.execution import has_committed, of_executed, of_intent, of_name, of_outcome
from pgnotary.verify.findings import Findings
from pgnotary.verify.heads import Heads
from pgnotary.verify.numbers import Numbers
from pgnotary.verify.quorums import Approvals
from pgnotary.verify.redactions import Redactions
from pgnotary.verify.reviews import Reviews
from pgnotary.verify.rosters import changes
from pgnotary.verify.sessions import Sessions, told_by
from pgnotary.verify.steps import STAYS_IN, STEPS, is_short, leads_to
from pgnotary.verify.withdrawals import Withdrawals

__all__ = ["Lives", "Tally"]


@dataclass(slots=True)
class Tally:
    """What was counted on the way."""

    decisions: int = 0
    approvals: int = 0
    denials: int = 0
    rejected: int = 0
    executions: int = 0
    committed: int = 0
    """At once, or as it turned out in the end; so with the next one."""
    rolled_back: int = 0
    failed: int = 0
    forwarded: int = 0
    counted: int = 0
    refused: int = 0
    requests: int = 0
    rosters: int = 0
    never_run: list[str] = field(default_factory=list)
    """Approved, then void."""


@dataclass(slots=True)
class _Life:
    """One request that has not ended."""

    request: Entry
    state: State
    last: bytes
    """Leaf of its last entry."""
    leaves: set[bytes]
    readable: bool
    """Whether its request has everything that a decision repeats."""
    approvals: Approvals
    preview: Entry | None = None
    intent: Entry | None = None
    revoked: Sequence[str] = ()
    """Whose keys did not count any more when it was about to be sent: then it must not have run."""
    executed: Entry | None = None
    prepared_as: str | None = None
    """The name under which its transaction was prepared."""


class Lives:
    """Follows all requests through a ledger."""

    def __init__(
        self,
        heads: Heads,
        findings: Findings,
        vkey: str,
        pinned: Roster | None,
        archives: Archives,
        redacted: Collection[bytes] = (),
        base: Base | None = None,
    ) -> None:
        self._heads = heads
        self._findings = findings
        self._decisions = Decisions(heads, findings)
        self._sessions = Sessions(heads, findings, base)
        self._withdrawals = Withdrawals(heads, findings, vkey)
        self.redactions = Redactions(heads, findings, archives, redacted)
        self.reviews = Reviews(heads, findings)
        self._pinned = pinned
        self._recorded = _carried_roster(base, findings)
        self._open: dict[str, _Life] = {}
        self._numbers = Numbers(base.highest, base.free) if base else Numbers()
        self.tally = Tally()

    def open(self) -> list[tuple[str, State]]:
        """Return the requests that have not ended and where each stands, oldest first."""
        return [(request, life.state) for request, life in self._open.items()]

    def base(self, ledger: str, prev: bytes, time: datetime, archived: int, run: CarriedRun | None) -> Base:
        """Return what the ledger stands on if it is cut here, behind an entry of this leaf and time, in this run.

        What is before `archived` is archived already.
        Raises NotCanonical if a request is open: its entries stay together.
        """
        if self._open:
            names = ", ".join(list(self._open)[:5])
            raise NotCanonical(f"a cut through {names}, which had not ended")
        if missing := self.reviews.missing:
            raise NotCanonical(f"a cut behind {', '.join(missing[:5])}, whose broken glass nobody had reviewed")
        return Base(
            ledger=ledger,
            size=self._heads.size,
            roots=self._heads.roots,
            prev=prev,
            time=time,
            allowed_signers=self._recorded.text if self._recorded else None,
            highest=self._numbers.highest,
            free=self._numbers.free,
            sessions=self._sessions.carried(),
            archived=archived,
            run=run,
        )

    def follow(self, entry: Entry, opened: Opened) -> None:
        """Take the next entry and what is disclosed of it; `heads` must reach up to the one before it."""
        told = self._told(entry) if entry.type is EntryType.FORWARDED else None
        self._sessions.follow(entry, told)
        if self.redactions.names(entry):
            self.redactions.pass_by(entry, opened, self._sessions.person(entry))
        if entry.type is EntryType.REQUEST:
            self._ask(entry)
        elif entry.type in STEPS:
            self._step(entry)
        elif entry.type is EntryType.REJECTED:
            self._beside(entry, opened)
        else:
            if entry.request is not None or entry.after is not None:
                self._fault(f"an entry of type {entry.type} belongs to no request, but names one")
            self._note_facts(entry)

    def _fault(self, text: str) -> None:
        self._findings.fault(self._heads.size, text)

    def _note_facts(self, entry: Entry) -> None:
        if entry.type is EntryType.ROSTER:
            self._put_in_force(entry)
        elif entry.type is EntryType.POLICY:
            digest = str(entry.body.get("policy"))[:16]
            self._findings.note(self._heads.size, f"the policy changed: its digest is {digest} now")
        elif entry.type is EntryType.REDACTED:
            unreviewed = self.reviews.missing
            self.redactions.examine(entry, self._pinned or self._recorded, self._standing, unreviewed)
        elif entry.type is EntryType.REVIEWED:
            self.reviews.examine(entry, self._pinned or self._recorded)

    def _told(self, entry: Entry) -> Told | None:
        """Count what was forwarded and refused."""
        try:
            told = told_by(entry)
        except NotCanonical as error:
            self._fault(str(error))
            return None
        self.tally.forwarded += told.forwarded
        self.tally.counted += told.forwarded if "summaries" in entry.body else 0
        self.tally.refused += told.refused
        return told

    def _standing(self, request: str) -> State | None:
        life = self._open.get(request)
        return life.state if life else None

    def _put_in_force(self, entry: Entry) -> None:
        self.tally.rosters += 1
        before = self._recorded
        try:
            self._recorded = parse_roster(str(entry.body.get("allowed_signers", "")))
        except BadRoster as error:
            self._recorded = None
            self._fault(f"the roster cannot be read: {error}")
        else:
            for change in changes(before, self._recorded) if before else ():
                self._findings.note(self._heads.size, f"the roster changed: {change}")

    def _ask(self, entry: Entry) -> None:
        # (9) a request begins its life once
        request = entry.request
        if request is None or not self._numbers.take(request):
            self._fault(f"{request or 'a request without id'} is not the id of a new request")
        if request is None:
            return
        if entry.after is not None:
            self._fault(f"{request} begins here, but names an entry before it")
        lacking = [name for name in ("user", "person", "database", "kind") if not isinstance(entry.body.get(name), str)]
        lacking += [] if "statement" in entry.seals else ["the sealed statement"]
        if lacking:
            self._fault(f"{request} lacks {', '.join(lacking)}")
        try:
            quorum = quorum_in(entry.body)
            people_in(entry.body)
        except NotCanonical as error:
            quorum = None
            self._fault(f"{request}: {error}")
        self.tally.requests += 1
        self._open[request] = _Life(
            request=entry,
            state=State.HELD,
            last=entry.leaf,
            leaves={entry.leaf},
            readable=not lacking,
            approvals=Approvals(quorum),
        )

    def _step(self, entry: Entry) -> None:
        life = self._open.get(entry.request or "")
        if entry.request is None or life is None:
            what = entry.request or "no request"
            self._fault(f"{entry.type} of {what}, which is not open here: never asked for, or ended before")
            return
        # (9) each step names the one before it
        if entry.after != life.last:
            named = entry.after.hex()[:8] if entry.after else "nothing"
            self._fault(f"{entry.request}: follows {named}, but its last entry is {life.last.hex()[:8]}")
        if entry.session is not None and entry.session != life.request.session:
            self._fault(f"{entry.request}: in session {entry.session}, asked in {life.request.session}")
        # (10) the step is in the table
        to = leads_to(entry)
        if to is None:
            self._fault(f"{entry.request}: {entry.type} without a known answer or result")
        elif not _is_legal(life, entry, to):
            self._fault(f"{entry.request} is {life.state}: {_words(entry.type, to)} cannot follow")
        self._take(entry, life)
        life.last = entry.leaf
        life.leaves.add(entry.leaf)
        if to is not None:
            life.state = to
        if life.state in FINAL:
            del self._open[entry.request]

    def _take(self, entry: Entry, life: _Life) -> None:
        """Check and keep what a step says beside its place."""
        match entry.type:
            case EntryType.PREVIEW:
                life.preview = entry
            case EntryType.DECISION:
                self._decide(entry, life)
            case EntryType.WITHDRAWN:
                self._withdrawals.examine(entry, life.request, self._pinned or self._recorded)
            case EntryType.VOID:
                self.tally.never_run.append(entry.request or "")
                self._withdrawals.examine(entry, life.request, self._pinned or self._recorded)
            case EntryType.INTENT:
                self._intend(entry, life)
            case EntryType.EXECUTED:
                life.executed = entry
                self._report(entry, of_executed(entry))
                self._report(entry, _revoked(life))
            case EntryType.ENDING:
                self._report(entry, of_name(entry, life.prepared_as))
            case EntryType.OUTCOME:
                self._end(entry, life)
            case _:
                pass

    def _decide(self, entry: Entry, life: _Life) -> None:
        self.tally.decisions += 1
        if life.preview is None or not life.readable:
            self._fault(f"{entry.request}: decided, but without a request and a preview to decide about")
            return
        roster = self._pinned or self._recorded
        decision = self._decisions.examine(entry, life.request, life.preview, roster)
        if decision is None:
            return
        if life.state is State.HELD:
            self._report(entry, life.approvals.take(entry, decision))
            if decision.answer is Answer.BREAK_GLASS:
                self.reviews.take(entry, str(life.request.body.get("person", "")))
        if decision.answer.allows:
            self.tally.approvals += 1
        else:
            self.tally.denials += 1

    def _intend(self, entry: Entry, life: _Life) -> None:
        self.tally.executions += 1
        life.intent = entry
        self._report(entry, life.approvals.of_intent(entry))
        life.revoked = life.approvals.revoked(entry, self._pinned or self._recorded)
        self._report(entry, of_intent(entry, life.request))

    def _end(self, entry: Entry, life: _Life) -> None:
        self._report(entry, of_outcome(entry, life.intent, life.executed, life.approvals.ceiling))
        self._report(entry, of_name(entry, life.prepared_as))
        if entry.body.get("result") == State.PREPARED.value:
            life.prepared_as = str(entry.body.get("gid"))
        if has_committed(entry):
            self.tally.committed += 1
            self._report(entry, () if life.executed else _revoked(life))
        elif State.ROLLED_BACK.value in (entry.body.get("result"), entry.body.get("fate")):
            self.tally.rolled_back += 1
        elif entry.body.get("result") == State.FAILED.value:
            self.tally.failed += 1

    def _report(self, entry: Entry, faults: Iterable[str]) -> None:
        for fault in faults:
            self._fault(f"{entry.request}: {fault}")

    def _beside(self, entry: Entry, opened: Opened) -> None:
        """Check a decision that did not count; nothing continues from it."""
        self.tally.rejected += 1
        if entry.request is None:
            return
        life = self._open.get(entry.request)
        if life is None:
            if not self._numbers.taken(entry.request):
                self._fault(f"rejects a decision about {entry.request}, which nobody has asked for")
            return
        if entry.after is not None and entry.after not in life.leaves:
            self._fault(f"{entry.request}: rejects beside {entry.after.hex()[:8]}, which is not of its life")
        roster = self._pinned or self._recorded
        if (
            life.state is State.HELD
            and life.preview is not None
            and life.readable
            and is_valid(opened, life.request, life.preview, roster, entry.position.time)
        ):
            why = entry.body.get("why", "no reason given")
            self._findings.note(
                self._heads.size, f"{entry.request}: a decision that is valid by itself was rejected: {why}"
            )


def _carried_roster(base: Base | None, findings: Findings) -> Roster | None:
    if base is None or base.allowed_signers is None:
        return None
    try:
        return parse_roster(base.allowed_signers)
    except BadRoster as error:
        findings.fault(base.size, f"stands on a roster that cannot be read: {error}")
        return None


def _revoked(life: _Life) -> Iterator[str]:
    # (15) an honest proxy looks at the keys once more behind the intent, and sends nothing
    for key in life.revoked:
        yield f"has run, though {key} did not count any more when it was sent"


def _is_legal(life: _Life, step: Entry, to: State) -> bool:
    if step.type in STAYS_IN or is_short(step):
        return life.state is to and not (step.type is EntryType.PREVIEW and life.preview is not None)
    return to in MOVES.get(life.state, frozenset())


def _words(step: EntryType, to: State) -> str:
    return step.value if step.value == to.value or step in STAYS_IN else f"{step} ({to})"

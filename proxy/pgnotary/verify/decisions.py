"""Whether one recorded decision is the approver's own: document, signature, roster, repeats and witnessed head.

A decision's entry with the request and the preview that it answers enter; faults and notes leave. The numbers are those
of the checklist.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeAlias

from pgnotary.errors import DecisionRefused, NotCanonical
from pgnotary.ledger.canonical import JSON, parse_timestamp
from pgnotary.ledger.entries import Entry
from pgnotary.request.decision import Decision, check, read
from pgnotary.request.openssh import fingerprint
from pgnotary.request.roster import Roster
from pgnotary.verify.findings import Findings
from pgnotary.verify.heads import Heads
from pgnotary.verify.signed import signed

__all__ = ["CLOCKS_AGREE", "Decisions", "Opened", "is_valid"]

# By how much an approver's clock may differ from the proxy's before it is worth a word.
CLOCKS_AGREE = timedelta(hours=1)

Opened: TypeAlias = Mapping[str, tuple[bytes, bytes]]
"""Name -> (salt, value) of what is kept of an entry's sealed values."""


def is_valid(opened: Opened, request: Entry, preview: Entry, roster: Roster | None, at: datetime) -> bool:
    """Whether a rejected decision fits the request and was signed by who may: only its moment can speak against it.

    Its document and signature are sealed, since they are whatever somebody sent; withheld ones are not judged.
    """
    if roster is None or not {"document", "signature"} <= opened.keys():
        return False
    try:
        decision = read(opened["document"][1])
        check(decision, opened["signature"][1].decode(errors="replace"), request, preview, roster, at)
    except DecisionRefused:
        return False
    return True


class Decisions:
    """Examines decisions against the heads of the ledger they stand in."""

    def __init__(self, heads: Heads, findings: Findings) -> None:
        self._heads = heads
        self._findings = findings

    def examine(self, entry: Entry, request: Entry, preview: Entry, roster: Roster | None) -> Decision | None:
        """Report everything that is wrong with a decision, and return it if its document can be read.

        `roster` is the one in force at the entry; the heads must reach up to the entry before it.
        """
        # (11) the document reads
        try:
            decision, signature = signed(entry)
        except DecisionRefused as error:
            self._fault(entry, str(error))
            return None
        # (12) signed by a key of that person in the roster in force; repeats agree; requester and approver differ
        if roster is None:
            self._fault(entry, "no roster is in force, so nobody could have decided")
        else:
            try:
                signer = check(decision, signature, request, preview, roster, entry.position.time)
            except DecisionRefused as error:
                self._fault(entry, str(error))
            else:
                self._compare(entry, "key", fingerprint(signer.public))
        # (13) what the entry repeats agrees with what was signed
        self._compare(entry, "approver", decision.approver)
        self._compare(entry, "answer", decision.answer.value)
        said = decision.ceiling.fields if decision.ceiling else {}
        for name in ("max_rows", "max_other_rows"):
            self._compare(entry, name, said.get(name))
        self._check_head(entry, preview, decision)
        self._note_times(entry, request, decision)
        return decision

    def _fault(self, entry: Entry, text: str) -> None:
        self._findings.fault(self._heads.size, f"{entry.request}: {text}")

    def _note(self, entry: Entry, text: str) -> None:
        self._findings.note(self._heads.size, f"{entry.request}: {text}")

    def _compare(self, entry: Entry, name: str, said: JSON | None) -> None:
        recorded = entry.body.get(name)
        # The types too: Python takes True for 1.
        if recorded != said or type(recorded) is not type(said):
            self._fault(entry, f"the entry says {name} {recorded!r}, what was signed gives {said!r}")

    def _check_head(self, entry: Entry, preview: Entry, decision: Decision) -> None:
        # (14) the head that the approver saw is the ledger's, and covers what was shown
        seen, shown = decision.seen, preview.position.seq
        if not 0 <= seen.size <= self._heads.size:
            text = f"{decision.approver} saw a ledger of {seen.size} entries, here are {self._heads.size} before it"
            self._fault(entry, text)
            return
        if seen.size <= shown:
            self._fault(entry, f"{decision.approver} saw a ledger of {seen.size} entries, without its preview #{shown}")
        root = self._heads.root_at(seen.size)
        if root is None:
            self._fault(entry, f"names a head over {seen.size} entries, and did not when the ledger was first read")
        elif root != seen.root:
            self._fault(
                entry,
                f"{decision.approver} saw head {seen.root.hex()[:8]} over {seen.size} entries, they now give "
                f"{root.hex()[:8]}: the ledger before #{seen.size} was rewritten afterwards",
            )

    def _note_times(self, entry: Entry, request: Entry, decision: Decision) -> None:
        at, said = entry.position.time, decision.decided_at
        if abs(at - said) > CLOCKS_AGREE:
            self._note(entry, f"decided at {said} by {decision.approver}'s clock, recorded at {at}")
        elif said < request.position.time:
            self._note(entry, f"decided at {said} by {decision.approver}'s clock, before it was asked for")
        try:
            expires_at = parse_timestamp(str(request.body.get("expires_at")))
        except NotCanonical:
            return
        late = at - expires_at
        if late > timedelta(0):
            self._note(entry, f"decided {late.total_seconds():.1f} s after it should have expired")

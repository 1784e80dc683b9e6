"""Whether one recorded decision is the approver's own: document, signature, roster, repeats and witnessed head.

A decision's entry with the request and the preview that it answers enter; faults and notes leave. The numbers are those
of the checklist.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeAlias

from pgnotary.errors import DecisionRefused, NotCanonical
from pgnotary.ledger.canonical import JSON, parse_timestamp, unb64
from pgnotary.ledger.entries import Entry
from pgnotary.request.decision import Decision, check, read
from pgnotary.request.openssh import fingerprint
from pgnotary.request.roster import Roster
from pgnotary.verify.findings import Findings
from pgnotary.verify.heads import Heads

__all__ = ["Decisions", "Opened", "is_valid", "signed"]

Opened: TypeAlias = Mapping[str, tuple[bytes, bytes]]
"""Name -> (salt, value) of what is kept of an entry's sealed values."""


def signed(entry: Entry) -> tuple[Decision, str]:
    """Return the document and the signature that an entry holds; raises DecisionRefused if it holds none to read."""
    document, signature = entry.body.get("document"), entry.body.get("signature")
    if not isinstance(document, str) or not isinstance(signature, str):
        raise DecisionRefused("a decision without document or signature")
    try:
        raw = unb64(document)
    except NotCanonical as error:
        raise DecisionRefused(f"the document is {error}") from error
    return read(raw), signature


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
        self._compare(entry, "max_rows", decision.max_rows)
        self._check_head(entry, decision)
        self._note_lateness(entry, request)
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

    def _check_head(self, entry: Entry, decision: Decision) -> None:
        # (14) the head that the approver saw is the ledger's
        seen = decision.seen
        if not 0 <= seen.size <= self._heads.size:
            text = f"{decision.approver} saw a ledger of {seen.size} entries, here are {self._heads.size} before it"
            self._fault(entry, text)
            return
        root = self._heads.root_at(seen.size)
        if root is None:
            self._note(entry, f"names a head too far back to compare, over {seen.size} entries")
        elif root != seen.root:
            self._fault(
                entry,
                f"{decision.approver} saw head {seen.root.hex()[:8]} over {seen.size} entries, they now give "
                f"{root.hex()[:8]}: the ledger before #{seen.size} was rewritten afterwards",
            )

    def _note_lateness(self, entry: Entry, request: Entry) -> None:
        try:
            expires_at = parse_timestamp(str(request.body.get("expires_at")))
        except NotCanonical:
            return
        late = entry.position.time - expires_at
        if late > timedelta(0):
            self._note(entry, f"decided {late.total_seconds():.1f} s after it should have expired")

"""Whether what a requester has taken back was taken back by them: the call that they signed is in the entry.

A `withdrawn` or a `void` entry and its request enter, faults and notes leave. The numbers are those of the checklist.
Ledgers were written before there was a call in it: what holds none is worth a note, and no fault.
"""

from pgnotary.errors import CallRefused
from pgnotary.ledger.entries import Entry
from pgnotary.request.openssh import fingerprint
from pgnotary.request.roster import Roster
from pgnotary.request.withdrawal import REQUESTER, WITHIN, call_in, check
from pgnotary.verify.findings import Findings
from pgnotary.verify.heads import Heads

__all__ = ["Withdrawals"]


class Withdrawals:
    """Examines them in a ledger whose checkpoints are signed by `vkey`: calls are signed for its proxy."""

    def __init__(self, heads: Heads, findings: Findings, vkey: str) -> None:
        self._heads = heads
        self._findings = findings
        self._vkey = vkey

    def examine(self, entry: Entry, request: Entry, roster: Roster | None) -> None:
        """Report what is wrong with it; `roster` is the one in force at the entry."""
        # (30) the call reads, and is signed by the requester, for this ledger and this request
        try:
            call = call_in(entry)
            if call is None:
                self._note_unsigned(entry)
                return
            if roster is None:
                raise CallRefused("no roster is in force, so nobody could have signed")
            at = entry.position.time
            signer = check(call, self._vkey, request, roster, at)
        except CallRefused as error:
            self._findings.fault(self._heads.size, f"{entry.request}: {error}")
            return
        said = {"by": REQUESTER, "person": signer.person, "key": fingerprint(signer.public)}
        for name, signed in said.items():
            if (found := entry.body.get(name)) != signed:
                text = f"the entry says {name} {found!r:.60}, what was signed gives {signed!r:.60}"
                self._findings.fault(self._heads.size, f"{entry.request}: {text}")
        if at - call.called_at > WITHIN:
            self._note(entry, f"taken back at {call.called_at} by {signer.person}'s clock, recorded at {at}")

    def _note_unsigned(self, entry: Entry) -> None:
        if entry.body.get("by") == REQUESTER:
            self._note(
                entry, f"taken back by {entry.body.get('person')!s:.130}, it says, but holds nothing they signed"
            )

    def _note(self, entry: Entry, text: str) -> None:
        self._findings.note(self._heads.size, f"{entry.request}: {text}")

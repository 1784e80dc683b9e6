"""Whether a request has the approvals that it needs, as far as a ledger has come: people, each once, in their groups.

What a `request` entry needs and the decisions over it enter, one by one; what is wrong with them leaves. The numbers
are those of the checklist.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Entry
from pgnotary.request.ceiling import Ceiling, lowest
from pgnotary.request.decision import Answer, Decision
from pgnotary.request.openssh import fingerprint
from pgnotary.request.quorum import Quorum
from pgnotary.request.roster import Roster
from pgnotary.request.sshsig import DECISION_NAMESPACE

__all__ = ["Approvals"]

# Between a look at a key and the entry of the intent; a signature is not taken in the last minute of its key either.
_A_MOMENT = timedelta(minutes=1)


@dataclass(slots=True)
class Approvals:
    """The approvals of one request."""

    quorum: Quorum | None
    """None: nobody can read what it needs, and nothing is enough."""
    people: list[str] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    """Of their entries."""
    keys: list[str] = field(default_factory=list)
    """The fingerprints that their entries name."""
    ceiling: Ceiling | None = None
    """What all of them allow."""
    broken: bool = False
    """Somebody has broken the glass: nobody else is needed."""

    def take(self, entry: Entry, decision: Decision) -> Iterator[str]:
        """Take a decision in, and yield what is wrong with it beside those before it."""
        # (15) each is good for something, and says how many are missing behind it
        lacks: JSON | None = None
        if decision.answer is Answer.BREAK_GLASS:
            self.people, self.leaves, self.broken = [decision.approver], [entry.leaf], True
            self.keys = [str(entry.body.get("key"))]
            self.ceiling = decision.ceiling
        elif self.quorum is not None:
            yield from self._place(entry, decision, self.quorum)
            if decision.answer is Answer.APPROVE:
                lacks = self.quorum.lacks(self.people) or None
        said = entry.body.get("lacks")
        if said != lacks or type(said) is not type(lacks):
            yield f"says that it lacks {said!r:.40} approvals, by those before it that is {lacks!r}"

    def _place(self, entry: Entry, decision: Decision, quorum: Quorum) -> Iterator[str]:
        person = decision.approver
        if not any(each.has(person) for each in quorum.seats):
            yield f"{person} is in none of the groups that it needs"
        elif decision.answer is Answer.APPROVE and person.casefold() in map(str.casefold, self.people):
            yield f"{person} has approved it before, and counts once"
        elif decision.answer is Answer.APPROVE and not quorum.takes(self.people, person):
            yield f"the approval of {person} is one too many of its groups"
        if decision.answer is Answer.APPROVE:
            self.ceiling = lowest([self.ceiling, decision.ceiling]) if self.leaves else decision.ceiling
            self.people.append(person)
            self.leaves.append(entry.leaf)
            self.keys.append(str(entry.body.get("key")))

    def of_intent(self, intent: Entry) -> Iterator[str]:
        """Yield what speaks against sending it with these approvals."""
        # (15) nothing is sent without its approvals, and it names them if they are several
        lacks = 0 if self.broken else self.quorum.lacks(self.people) if self.quorum else 1
        if lacks:
            needs = self.quorum.total if self.quorum else "nobody knows how many"
            yield f"sent with {len(self.people)} approvals, it needs {needs}"
        named = [leaf.hex() for leaf in self.leaves] if len(self.leaves) > 1 else None
        if intent.body.get("approvals") != named:
            yield "names other approvals than it has"

    def revoked(self, intent: Entry, roster: Roster | None) -> list[str]:
        """Return whose keys do not count any more, by the roster in force, when it is about to be sent."""
        at = intent.position.time
        pairs = zip(self.people, self.keys, strict=True)
        return [f"{person}'s {key}" for person, key in pairs if roster is None or not _counts(roster, person, key, at)]


def _counts(roster: Roster, person: str, key: str, at: datetime) -> bool:
    for signer in roster.signers:
        if signer.person == person and fingerprint(signer.public) == key:
            allowed = signer.namespaces is None or DECISION_NAMESPACE in signer.namespaces
            begun = signer.valid_after is None or at >= signer.valid_after
            # The proxy has looked at it a moment before the entry was written.
            return allowed and begun and (signer.valid_before is None or at <= signer.valid_before + _A_MOMENT)
    return False

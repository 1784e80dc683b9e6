"""What was let run by one person alone, and whether somebody else has looked at it since: entries enter, faults and
lacks leave.

Only what is not reviewed yet is kept. The numbers are those of the checklist.
"""

from pgnotary.errors import ReviewRefused
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Entry
from pgnotary.request.openssh import fingerprint
from pgnotary.request.review import REVIEW_WITHIN, Broken, Review, check, review_in
from pgnotary.request.roster import Roster
from pgnotary.verify.findings import Findings
from pgnotary.verify.heads import Heads

__all__ = ["Reviews"]


class Reviews:
    """Follows them through a ledger."""

    def __init__(self, heads: Heads, findings: Findings) -> None:
        self._heads = heads
        self._findings = findings
        self._open: dict[str, Broken] = {}
        self.broken = self.reviewed = 0

    @property
    def missing(self) -> tuple[str, ...]:
        """The requests that nobody else has looked at yet, oldest first."""
        return tuple(self._open)

    def take(self, decision: Entry, requester: str) -> None:
        """Take note of a decision that breaks the glass."""
        self.broken += 1
        broken = Broken.of(decision, requester)
        # (26) nobody breaks it again who was not reviewed in time
        for each in self._open.values():
            if each.is_by(broken.breaker, broken.key) and broken.at - each.at > REVIEW_WITHIN:
                self._fault(
                    f"{broken.breaker} breaks the glass again, and {each.request} (#{each.seq}) is not reviewed"
                )
        self._open[broken.request] = broken

    def examine(self, entry: Entry, roster: Roster | None) -> None:
        """Report everything that is wrong with a review; `roster` is the one in force at the entry."""
        # (27) the document reads, is signed by who may decide, and the entry repeats it
        try:
            review, signature = review_in(entry)
        except ReviewRefused as error:
            self._fault(str(error))
            return
        faults = [*self._authority(entry, review, signature, roster)]
        said: dict[str, JSON] = {"request": review.request, "reviewer": review.reviewer, "words": review.words}
        for name, signed in said.items():
            if entry.body.get(name) != signed:
                faults.append(
                    f"the entry says {name} {entry.body.get(name)!r:.60}, what was signed gives {signed!r:.60}"
                )
        # (28) of a decision that broke the glass and was not reviewed, by neither of its two people
        broken = self._open.get(review.request)
        if review.ledger != entry.position.ledger:
            faults.append(f"the review is of the ledger {review.ledger!r:.80}")
        if broken is None or broken.leaf != review.decision:
            faults.append(f"there is no such decision over {review.request!r:.40} that waits for a review")
        else:
            barred = broken.may_not_review(review.reviewer, str(entry.body.get("key")))
            faults += filter(None, [barred, self._head(review, broken)])
        for fault in faults:
            self._fault(fault)
        if not faults:
            self.reviewed += 1
            del self._open[review.request]

    def finish(self) -> None:
        """Report what nobody else has looked at."""
        for each in self._open.values():
            self._findings.lack(each.seq, f"{each.request}: {each.breaker} broke the glass, and nobody has reviewed it")

    def _authority(self, entry: Entry, review: Review, signature: str, roster: Roster | None) -> list[str]:
        if roster is None:
            return ["no roster is in force, so nobody could have reviewed"]
        try:
            signer = check(review, signature, roster, entry.position.time)
        except ReviewRefused as error:
            return [str(error)]
        if (key := entry.body.get("key")) != fingerprint(signer.public):
            return [f"the entry names the key {key!r:.60}, it was signed with {fingerprint(signer.public)}"]
        return []

    def _head(self, review: Review, broken: Broken) -> str:
        size = review.seen.size
        if not broken.seq < size <= self._heads.size:
            return f"{review.reviewer} saw a ledger of {size} entries, which is not between #{broken.seq} and here"
        if self._heads.is_archived(size):
            return ""
        if self._heads.root_at(size) != review.seen.root:
            return f"{review.reviewer} saw another head over {size} entries: they were rewritten afterwards"
        return ""

    def _fault(self, text: str) -> None:
        self._findings.fault(self._heads.size, text)

"""Decisions that cannot count: each that is handed in enters, and whether it is taken leaves.

A decision that is refused is kept in the ledger as evidence, up to 40 KB of whatever somebody sent: of those only a few
a minute are taken. What is good by itself and new is not counted with them: no flood may keep it out.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from hashlib import sha256

from pgnotary.approval.bodies import SignedDecision
from pgnotary.approval.desk import Desk
from pgnotary.bucket import Bucket
from pgnotary.errors import DecisionRefused
from pgnotary.ledger.entries import Entry, EntryType
from pgnotary.request import decision as decisions
from pgnotary.request.openssh import fingerprint
from pgnotary.request.roster import Roster

__all__ = ["REFUSED_AT_ONCE", "REFUSED_PER_S", "Refusals"]

# An approver's slips of an afternoon at once, then one each five seconds, which is at most 700 MB of ledger a day.
REFUSED_AT_ONCE = 20
REFUSED_PER_S = 0.2

_TRIED_REMEMBERED = 10_000
# Decisions of one person over one request that are good by themselves, before they count as refused ones.
_GOOD_EACH = 3
_JUST_ENDED = timedelta(seconds=60)


class Refusals:
    """How many decisions that cannot count are taken now."""

    def __init__(
        self,
        desk: Desk,
        roster: Callable[[], Roster],
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._desk = desk
        self._roster = roster
        self._now = now
        self._bucket = Bucket(REFUSED_AT_ONCE, REFUSED_PER_S, monotonic)
        self._tried: dict[bytes, None] = {}
        """SHA-256 of good decisions that were handed in, oldest first: each is good once."""
        self._good: dict[tuple[str, str], int] = {}
        """By request and person: how many good decisions were handed in, oldest first. A nonce makes a new one."""

    def let_in(self, entries: Sequence[Entry], signed: SignedDecision) -> bool:
        """Say whether a decision over a request of these entries is taken, to be recorded or refused."""
        return self._fits(entries, signed) or self._bucket.take()

    def _fits(self, entries: Sequence[Entry], signed: SignedDecision) -> bool:
        """Say whether a decision is good by itself and new.

        Over a request that has only just ended, too: it is the evidence of who was slower.
        """
        now, digest = self._now(), sha256(signed.document).digest()
        if digest in self._tried:
            return False
        asked = next((entry for entry in entries if entry.type is EntryType.REQUEST), None)
        shown = next((entry for entry in entries if entry.type is EntryType.PREVIEW), None)
        if asked is None or shown is None:
            return False
        opened = self._desk.find(str(asked.request))
        if opened is None and now - entries[-1].position.time > _JUST_ENDED:
            return False
        try:
            decision = decisions.read(signed.document)
            signer = decisions.check(decision, signed.signature, asked, shown, self._roster(), now)
        except DecisionRefused:
            return False
        if opened is not None and opened.objection(decision, fingerprint(signer.public)) is not None:
            return False
        whose = decision.request, signer.person
        if (good := self._good.get(whose, 0)) >= _GOOD_EACH:
            return False
        self._good[whose] = good + 1
        if len(self._good) > _TRIED_REMEMBERED:
            del self._good[next(iter(self._good))]
        self._tried[digest] = None
        if len(self._tried) > _TRIED_REMEMBERED:
            del self._tried[next(iter(self._tried))]
        return True

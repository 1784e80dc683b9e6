"""Reviews as they come in: whoever let a statement run alone is looked at by somebody else, and that is recorded.

Entries that became durable enter, and signed documents; what still waits for a review leaves, and the entry of each
that counts, or `ReviewRefused` with the reason. Nothing of a refused one is kept.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pgnotary.errors import ReviewRefused
from pgnotary.ledger.canonical import JSON, b64, timestamp
from pgnotary.ledger.entries import BREAK_GLASS, Draft, Entry, EntryType
from pgnotary.request.openssh import fingerprint
from pgnotary.request.review import REVIEW_WITHIN, Broken, Review, check, read
from pgnotary.request.roster import Roster
from pgnotary.serve.desk import A_MOMENT, CLOCKS_DIFFER
from pgnotary.serve.seen_head import check_seen
from pgnotary.store import Append, GlassStore
from pgnotary.store.appender import Appender

__all__ = ["Reviews", "Waiting"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for a review: the entries of the request and of the decision that broke the glass."""

    request: Entry
    decision: Entry
    broken: Broken


class Reviews:
    """All reviews of one proxy."""

    def __init__(
        self, store: GlassStore, appender: Appender, roster: Callable[[], Roster], moment: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._appender = appender
        self._roster = roster
        self._moment = moment
        """What time an entry would have that is appended now."""
        self._waiting: dict[str, Waiting] = {}
        self._in_doubt: set[str] = set()
        """Of these a review may have been recorded or not: the ledger failed."""

    @property
    def waiting(self) -> list[Waiting]:
        """What nobody else has looked at yet, oldest first."""
        return list(self._waiting.values())

    def unreviewed(self) -> list[str]:
        """Return the requests that nobody else has looked at yet."""
        return list(self._waiting)

    async def recall(self) -> None:
        """Learn what earlier runs have left; nothing may be appended meanwhile."""
        for entry in await self._store.of_types(EntryType.DECISION, EntryType.REVIEWED):
            if entry.type is EntryType.REVIEWED:
                self._waiting.pop(str(entry.body.get("request")), None)
            elif entry.body.get("answer") == BREAK_GLASS and entry.request is not None:
                self.note((await self._store.entries_of(entry.request))[0], entry)

    def note(self, request: Entry, decision: Entry) -> None:
        """Take note of a decision that has broken the glass."""
        name, person = str(request.request), str(request.body["person"])
        self._waiting[name] = Waiting(request, decision, Broken.of(decision, person))

    def overdue(self, person: str, key: str) -> str:
        """Return what somebody, or their key, has broken the glass for, too long without a review; empty if nothing."""
        now = self._moment()
        for request, each in self._waiting.items():
            if each.broken.is_by(person, key) and now - each.broken.at > REVIEW_WITHIN - A_MOMENT:
                return request
        return ""

    async def review(self, document: bytes, signature: str) -> int:
        """Record a review and return the place of its entry; raises ReviewRefused, LedgerUnavailable."""
        review = read(document)
        waiting = self._waiting.get(review.request)
        if waiting is None:
            raise ReviewRefused(f"{review.request:.40} waits for no review: its glass was not broken, or it had one")
        # That reads the whole ledger, and nobody knows yet who asks.
        if review.request in self._in_doubt and await self._is_reviewed(review.request):
            self._waiting.pop(review.request, None)
            raise ReviewRefused(f"{review.request} was reviewed already")
        await check_seen(self._store, review.seen, waiting.broken.seq, ReviewRefused)
        # Last, and nothing is waited for until the entry is on its way: a roster that came meanwhile stands before it.
        at = self._moment()
        signer = check(review, signature, self._roster(), at)
        self._check(review, waiting.broken, fingerprint(signer.public), at)
        if why := signer.ends_by(at + A_MOMENT):
            raise ReviewRefused(why)
        if self._waiting.pop(review.request, None) is None:
            raise ReviewRefused(f"{review.request} was reviewed meanwhile")
        body: dict[str, JSON] = {
            "request": review.request,
            "reviewer": signer.person,
            "key": fingerprint(signer.public),
            "words": review.words,
            "document": b64(review.raw),
            "signature": signature,
        }
        try:
            [receipt] = await self._appender.append(Append(Draft(EntryType.REVIEWED, body)))
        except BaseException:
            # Nobody knows whether it is recorded: the next one who tries asks the store.
            self._waiting[review.request] = waiting
            self._in_doubt.add(review.request)
            raise
        log.info("what broke the glass was reviewed", extra={"request": review.request, "by": signer.person})
        return receipt.entry.position.seq

    async def _is_reviewed(self, request: str) -> bool:
        recorded = await self._store.of_types(EntryType.REVIEWED)
        return any(entry.body.get("request") == request for entry in recorded)

    def _check(self, review: Review, broken: Broken, key: str, at: datetime) -> None:
        if broken.leaf != review.decision:
            raise ReviewRefused(f"it is about another decision over {review.request} than the one that broke the glass")
        if why := broken.may_not_review(review.reviewer, key):
            raise ReviewRefused(why)
        if review.ledger != (name := self._store.checkpoint().partition("\n")[0]):
            raise ReviewRefused(f"it is for the ledger {review.ledger!r:.80}, this is {name!r}")
        if abs(review.reviewed_at - at) > CLOCKS_DIFFER:
            said = timestamp(review.reviewed_at)
            raise ReviewRefused(f"reviewed at {said}, now it is {timestamp(at)}: set the clock")

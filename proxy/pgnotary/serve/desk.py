"""The desk where open requests lie: sessions put them down, approvers pick them up and decide, exactly once.

Announced requests and signed decisions enter; a decision that counts is durable before the session hears of it, one
that does not is recorded as rejected with the reason. Where several approvals are needed each is durable by itself, and
the request stays open until the last one; one denial ends it. A request that its session has retired cannot be decided
any more, whatever a signature says.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, Self

from pgnotary.errors import AlreadyDecided, DecisionRefused, PgnotaryError, RequestMoved
from pgnotary.ledger.canonical import JSON, b64, parse_timestamp, timestamp
from pgnotary.ledger.entries import Draft, Entry, EntryType, Filed, Receipt
from pgnotary.request import decision as decisions
from pgnotary.request.call import Call
from pgnotary.request.ceiling import Ceiling, lowest
from pgnotary.request.decision import Answer, Decision
from pgnotary.request.life import Move, State
from pgnotary.request.openssh import fingerprint
from pgnotary.request.quorum import Quorum, quorum_in
from pgnotary.request.roster import Roster, Signer
from pgnotary.session.events import Approval, Decided, TakenBack
from pgnotary.store import Append, Head
from pgnotary.store.appender import Appender

__all__ = ["A_MOMENT", "CLOCKS_DIFFER", "Desk", "OpenRequest"]

# Heads that approvers were shown and may name in a decision; one is made with every batch of entries.
_HEADS_REMEMBERED = 10_000


# How far an approver's clock may be from ours; Kerberos allows the same (RFC 4120, 8.2).
CLOCKS_DIFFER = timedelta(minutes=5)

A_MOMENT = timedelta(minutes=1)
"""An entry has its time a moment after it was decided whether it may be: a verifier goes by the entry's."""


@dataclass(slots=True)
class OpenRequest:
    """One request on the desk."""

    id: str
    request: Filed
    preview: Filed
    deliver: Callable[[Decided | TakenBack], None]
    """Hands a decision, or a withdrawal, to the session that holds the statement."""
    person: str
    """Who asked. Whoever watches is told of all that is open at each change of it: it must not take a look each."""
    quorum: Quorum
    """Whose approvals it needs."""
    deciding: bool = False
    """A decision over it is being recorded, or has ended it."""
    approvals: tuple[Approval, ...] = ()
    """Those that are durable, oldest first; not enough yet."""
    ceilings: tuple[Ceiling | None, ...] = ()
    """What each of them allows."""
    decisions: tuple[Filed, ...] = ()
    """Their entries."""
    glass: "Glass | None" = None
    """Who keeps what was let run by one person alone."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Of several approvals each is weighed beside those before it."""

    @classmethod
    def of(
        cls,
        request: Filed,
        preview: Filed,
        deliver: Callable[[Decided | TakenBack], None],
        glass: "Glass | None" = None,
    ) -> Self:
        """Return what is put on the desk: its entry is read once, here."""
        entry = request.entry
        person, quorum = str(entry.body.get("person", "")), quorum_in(entry.body)
        return cls(entry.request or "", request, preview, deliver, person, quorum, glass=glass)

    @property
    def last(self) -> bytes:
        """The leaf of its newest entry."""
        return self.approvals[-1].leaf if self.approvals else self.preview.leaf

    @property
    def people(self) -> tuple[str, ...]:
        """Who has approved."""
        return tuple(each.person for each in self.approvals)

    @property
    def missing(self) -> str:
        """Whose approvals are still needed, in words."""
        return self.quorum.missing_words(self.people)

    def objection(self, decision: Decision, key: str) -> DecisionRefused | None:
        """Say why a decision of whom its document names, by the key of this fingerprint, does not count here."""
        person, groups = decision.approver, self.quorum.seats
        if decision.answer is Answer.BREAK_GLASS:
            return _overdue(self.glass, person, key)
        if not any(each.has(person) for each in groups):
            needed = self.quorum.words(self.person)
            return DecisionRefused(f"{person} is in none of the groups that {self.id} needs: {needed}")
        if decision.answer is Answer.DENY:
            return None
        if person.casefold() in map(str.casefold, self.people):
            return AlreadyDecided(f"{person} has approved {self.id} already: each person counts once")
        if not self.quorum.takes(self.people, person):
            of = " and ".join(each.group for each in groups if each.has(person))
            return AlreadyDecided(f"{self.id} has its approvals of {of} already; it needs {self.missing}")
        return None

    def withdraw(self, person: str, key: str, call: Call) -> None:
        """Tell the session that holds it that its requester takes it back; the session records it."""
        self.deliver(TakenBack(self.id, person, key, call))


class Glass(Protocol):
    """Who keeps what was let run by one person alone, until somebody else has looked at it."""

    def overdue(self, person: str, key: str) -> str:
        """Return what somebody, or their key, has broken the glass for, too long without a review; empty if nothing."""
        ...

    def note(self, request: Entry, decision: Entry) -> None:
        """Take note of a decision that has broken the glass."""
        ...


def _overdue(glass: Glass | None, person: str, key: str) -> DecisionRefused | None:
    if glass is None:
        return DecisionRefused("nobody keeps reviews here: no glass can be broken")
    if not (overdue := glass.overdue(person, key)):
        return None
    return DecisionRefused(
        f"{person} has broken the glass for {overdue} 24 hours ago, and nobody has reviewed that: "
        f"somebody else must say `pgnotary reviewed {overdue}` first"
    )


class Desk:
    """All open requests of one proxy."""

    glass: Glass | None = None
    """Without it nobody breaks any."""

    def __init__(
        self,
        appender: Appender,
        roster: Callable[[], Roster],
        now: Callable[[], datetime],
        root_at: Callable[[int], Awaitable[bytes | None]] | None = None,
    ) -> None:
        """`root_at` gives the ledger's root over its first entries, for heads that were shown and are forgotten."""
        self._appender = appender
        self._roster = roster
        self._now = now
        self._root_at = root_at
        self._newest = datetime.min.replace(tzinfo=UTC)
        """The time of the newest entry: ours would be of that time, too, if the clock was set back since."""
        appender.follow(self._witness)
        self._open: OrderedDict[str, OpenRequest] = OrderedDict()
        self._heads: OrderedDict[int, bytes] = OrderedDict()
        self._changed = asyncio.Event()

    def _witness(self, receipts: Sequence[Receipt]) -> None:
        self._newest = max([self._newest, *(receipt.entry.position.time for receipt in receipts)])

    def moment(self) -> datetime:
        """Return what time an entry would have that is appended now: never before that of the newest."""
        return max(self._now(), self._newest)

    def announce(self, request: Filed, preview: Filed, deliver: Callable[[Decided | TakenBack], None]) -> None:
        """Put a request on the desk."""
        opened = OpenRequest.of(request, preview, deliver, self.glass)
        self._open[opened.id] = opened
        self._tell()

    def retire(self, request: str) -> None:
        """Take a request off the desk: no decision over it counts from now on."""
        if self._open.pop(request, None) is not None:
            self._tell()

    def requests(self) -> list[OpenRequest]:
        """Return the open requests, oldest first."""
        return list(self._open.values())

    def find(self, request: str) -> OpenRequest | None:
        """Return an open request."""
        return self._open.get(request)

    async def changed(self) -> None:
        """Return at the next change of what is open."""
        await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def show_head(self, head: Head) -> None:
        """Remember a head that an approver is being shown."""
        self._heads[head.size] = head.root
        while len(self._heads) > _HEADS_REMEMBERED:
            self._heads.popitem(last=False)

    async def decide(self, document: bytes, signature: str) -> Decided:
        """Record a decision and hand it to its session.

        Raises DecisionRefused with the reason, recorded as evidence; LedgerUnavailable if nothing could be recorded.
        """
        try:
            decision = decisions.read(document)
        except DecisionRefused:
            return await self._decide(document, signature)
        named = self._open.get(decision.request)
        if named is not None:
            await self._recall(decision.seen.size)
        if named is None or named.quorum.is_usual:
            return await self._decide(document, signature)
        async with named.turn:
            return await self._decide(document, signature)

    async def _recall(self, size: int) -> None:
        """Look a head up that is not remembered: whoever has many shown must not make others' be forgotten."""
        if self._root_at is None or size in self._heads:
            return
        if (root := await self._root_at(size)) is not None:
            self.show_head(Head(size, root))

    async def _decide(self, document: bytes, signature: str) -> Decided:
        opened: OpenRequest | None = None
        try:
            decision = decisions.read(document)
            opened = self._open.get(decision.request)
            if opened is None or opened.deciding:
                raise AlreadyDecided(f"{decision.request} is not open: it was decided, withdrawn, or has expired")
            signer = self._check(decision, signature, opened)
        except DecisionRefused as refused:
            await self._reject(document, signature, opened, str(refused))
            raise
        opened.deciding = True
        try:
            return await self._record(decision, signature, opened, signer)
        except PgnotaryError:
            opened.deciding = False
            raise

    async def reject(self, document: bytes, signature: str, request: str, why: str) -> None:
        """Keep as evidence what somebody handed in over a request and what cannot be a decision over it."""
        await self._reject(document, signature, self._open.get(request), why)

    def _check(self, decision: Decision, signature: str, opened: OpenRequest) -> Signer:
        now = self._now()
        at = max(now, self._newest)
        request, preview = opened.request.entry, opened.preview.entry
        # Not left to `check`: between here and the entry's own time it may expire, and that is no fault of anybody's.
        expires_at, asked_at = parse_timestamp(str(request.body["expires_at"])), request.position.time
        # Asked by a clock that was behind the ledger's time already: by that one it would never have been open.
        if (now if expires_at < asked_at else at) > expires_at:
            raise DecisionRefused(f"{opened.id} has expired at {timestamp(expires_at)}")
        signer = decisions.check(decision, signature, request, preview, self._roster(), at)
        if why := signer.ends_by(at + A_MOMENT):
            raise DecisionRefused(why)
        # A clock that was set back since the request is nobody's fault either.
        if not min(asked_at, now) - CLOCKS_DIFFER <= decision.decided_at <= at + CLOCKS_DIFFER:
            said = timestamp(decision.decided_at)
            raise DecisionRefused(
                f"decided at {said}, asked at {timestamp(asked_at)}, now {timestamp(now)}: set the clock"
            )
        if self._heads.get(decision.seen.size) != decision.seen.root:
            raise DecisionRefused(f"the head of size {decision.seen.size} that it names is not one of this ledger")
        if decision.seen.size <= preview.position.seq:
            raise DecisionRefused(f"the head of size {decision.seen.size} that it names does not cover {opened.id}")
        if (objection := opened.objection(decision, fingerprint(signer.public))) is not None:
            raise objection
        return signer

    async def _record(self, decision: Decision, signature: str, opened: OpenRequest, signer: Signer) -> Decided:
        people = (*opened.people, signer.person)
        lacks = opened.quorum.lacks(people) if decision.answer is Answer.APPROVE else 0
        body: dict[str, JSON] = {
            "approver": signer.person,
            "key": fingerprint(signer.public),
            "answer": decision.answer.value,
            "document": b64(decision.raw),
            "signature": signature,
            **(decision.ceiling.fields if decision.ceiling else {}),
            **({"lacks": lacks} if lacks else {}),
        }
        session = opened.request.entry.session
        draft = Draft(EntryType.DECISION, body, session=session, request=opened.id, after=opened.last)
        to = State.APPROVED if decision.answer.allows else State.DENIED
        try:
            # One that is not enough leaves it held; that it names the newest entry keeps out what has ended it.
            (receipt,) = await self._appender.append(Append(draft, None if lacks else Move(opened.id, State.HELD, to)))
        except RequestMoved as moved:
            why = f"{opened.id} is {moved.state} already"
            await self._reject(decision.raw, signature, opened, why)
            raise DecisionRefused(why) from moved
        # Who breaks the glass answers for it alone: neither rows nor keys of others bound it.
        alone = decision.answer is Answer.BREAK_GLASS
        ceilings = (decision.ceiling,) if alone else (*opened.ceilings, decision.ceiling)
        decided = Decided(
            opened.id,
            decision.answer,
            signer.person,
            decision.reason,
            lowest(ceilings),
            receipt,
            signer.public,
            () if alone else opened.approvals,
            opened.quorum.missing_words(people) if lacks else "",
        )
        if alone and self.glass is not None:
            self.glass.note(opened.request.entry, receipt.entry)
        if lacks:
            opened.approvals, opened.ceilings = decided.approvals, ceilings
            opened.decisions = (*opened.decisions, receipt.filed())
            opened.deciding = False
        opened.deliver(decided)
        return decided

    async def _reject(self, document: bytes, signature: str, opened: OpenRequest | None, why: str) -> None:
        """Keep a decision that does not count, as evidence; the texts are whatever somebody sent us."""
        body: dict[str, JSON] = {"why": why[:2_000]}
        sealed = {"document": document[:32_768], "signature": signature.encode(errors="replace")[:8_192]}
        draft = Draft(EntryType.REJECTED, body, sealed=sealed)
        if opened is not None:
            entry = opened.request.entry
            draft = Draft(EntryType.REJECTED, body, entry.session, opened.id, opened.request.leaf, sealed)
        await self._appender.append(Append(draft))

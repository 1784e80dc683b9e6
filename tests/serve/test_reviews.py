"""The proxy's own keeping of broken glass, over a real store: who may review, when, and who is out of time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.approval.office import SEEDS, public_of
from tests.store.ledgers import LEDGER, NOON, opened

from pgnotary.errors import LedgerUnavailable, ReviewRefused
from pgnotary.ledger.entries import BREAK_GLASS, Draft, Entry, EntryType, Filed, Receipt
from pgnotary.request import review, sshsig
from pgnotary.request.decision import Answer, Decision, Seen
from pgnotary.request.life import Move, State
from pgnotary.request.openssh import fingerprint
from pgnotary.request.roster import Roster, Signer
from pgnotary.serve.desk import OpenRequest
from pgnotary.serve.reviews import Reviews
from pgnotary.store import Append
from pgnotary.store.appender import Appender
from pgnotary.store.sqlite import SqliteStore

SOME = Decision(
    "R-9", bytes(32), bytes(32), bytes(32), Answer.APPROVE, None, "why", "ana", Seen(1, bytes(32)), NOON, b""
)
ANAS = fingerprint(public_of(SEEDS["ana"]))
"""Her key."""


@dataclass
class Office:
    """A store, and a clock."""

    store: SqliteStore
    appender: Appender
    reviews: Reviews
    now: list[datetime]
    roster: list[Signer]

    async def broken(self, request: str = "R-1", person: str = "eva", breaker: str = "ana") -> Entry:
        """Append what somebody has let run alone, and have it noted."""
        asked = Draft(EntryType.REQUEST, {"person": person}, "S-1", request)
        [first] = await self.appender.append(Append(asked, Move(request, None, State.HELD)))
        body = {"answer": BREAK_GLASS, "approver": breaker, "key": fingerprint(public_of(SEEDS[breaker]))}
        said = Draft(EntryType.DECISION, body, "S-1", request, first.leaf)
        [decision] = await self.appender.append(Append(said, Move(request, State.HELD, State.APPROVED)))
        self.reviews.note(first.entry, decision.entry)
        return decision.entry

    async def review(
        self, decision: Entry, by: str = "bo", *, ago: timedelta = timedelta(0), size: int = 0, key_of: str = ""
    ) -> int:
        head = self.store.head()
        raw = review.document(
            LEDGER,
            decision,
            words="seen",
            reviewer=by,
            seen=Seen(size or head.size, head.root),
            reviewed_at=self.now[0] - ago,
            nonce=bytes(16),
        )
        return await self.reviews.review(raw, sshsig.sign(raw, SEEDS[key_of or by], sshsig.DECISION_NAMESPACE))


@asynccontextmanager
async def office(folder: Path) -> AsyncIterator[Office]:
    now = [NOON]
    async with opened(folder / "ledger.sqlite", now=lambda: now[0]) as store, Appender(store) as appender:
        roster = [Signer(name, public_of(SEEDS[name])) for name in ("ana", "bo", "eva")]
        reviews = Reviews(store, appender, lambda: Roster(tuple(roster)), lambda: now[0])
        yield Office(store, appender, reviews, now, roster)


async def test_another_person_reviews_it_once(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        decision = await it.broken()
        for person, why in (("ana", "ana has broken the glass"), ("eva", "eva asked for R-1")):
            with pytest.raises(ReviewRefused, match=why):
                await it.review(decision, person)
        done = await asyncio.gather(it.review(decision), it.review(decision), return_exceptions=True)
        assert [type(each) for each in done].count(ReviewRefused) == 1
        assert it.reviews.waiting == []
        assert len(await it.store.of_types(EntryType.REVIEWED)) == 1


async def test_a_name_that_the_roster_has_changed_since_makes_nobody_another_person(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        decision = await it.broken()
        it.roster[0] = Signer("zoe", public_of(SEEDS["ana"]))
        with pytest.raises(ReviewRefused, match="zoe has broken the glass"):
            await it.review(decision, "zoe", key_of="ana")
        await it.review(decision)


async def test_what_is_about_something_else_or_from_another_time_is_refused(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        decision, other = await it.broken(), await it.broken("R-2")
        with pytest.raises(ReviewRefused, match="set the clock"):
            await it.review(decision, ago=timedelta(minutes=6))
        with pytest.raises(ReviewRefused, match="does not cover #1"):
            await it.review(decision, size=1)
        with pytest.raises(ReviewRefused, match="is not one of this ledger"):
            await it.review(decision, size=99)
        it.roster.clear()
        with pytest.raises(ReviewRefused, match="nobody on the roster"):
            await it.review(other)


async def test_after_a_day_nobody_breaks_it_again_until_they_were_reviewed(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        decision = await it.broken()
        it.now[0] += timedelta(hours=23)
        assert it.reviews.overdue("ana", ANAS) == ""
        it.now[0] += timedelta(hours=1)
        assert it.reviews.overdue("ANA", "another key") == "R-1"
        assert it.reviews.overdue("bo", "bo's key") == ""
        await it.review(decision)
        assert it.reviews.overdue("ana", ANAS) == ""


async def test_a_name_that_the_roster_has_changed_since_lets_nobody_break_it_again(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        await it.broken()
        it.now[0] += timedelta(hours=25)
        assert it.reviews.overdue("zoe", ANAS) == "R-1"


async def test_a_restart_forgets_none_that_waits_and_no_review(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        first, second = await it.broken(), await it.broken("R-2")
        await it.review(first)
        assert second.request == "R-2"
    async with office(tmp_path) as it:
        await it.reviews.recall()
        assert it.reviews.unreviewed() == ["R-2"]
        assert it.reviews.waiting[0].broken.requester == "eva"


async def test_who_is_told_that_it_failed_and_tries_again_makes_no_second_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with office(tmp_path) as it:
        decision, append = await it.broken(), it.appender.append

        async def recorded(*group: Append) -> list[Receipt]:
            await append(*group)
            raise LedgerUnavailable("nobody knows")

        monkeypatch.setattr(it.appender, "append", recorded)
        with pytest.raises(LedgerUnavailable):
            await it.review(decision)
        monkeypatch.undo()
        with pytest.raises(ReviewRefused, match="was reviewed already"):
            await it.review(decision)
        assert it.reviews.waiting == []


async def test_whoever_hands_in_reviews_cannot_have_the_ledger_read_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with office(tmp_path) as it:
        decision = await it.broken()
        monkeypatch.setattr(it.store, "of_types", None)
        with pytest.raises(ReviewRefused, match="nobody on the roster"):
            await it.review(decision, "mallory")
        await it.review(decision)


async def test_a_breaker_who_is_out_of_time_cannot_fill_the_ledger_with_attempts(tmp_path: Path) -> None:
    """The API takes a token for what the desk would refuse; it asks the open request."""
    async with office(tmp_path) as it:
        await it.broken()
        [waiting] = it.reviews.waiting
        filed = Filed(waiting.request.raw, {})
        opened_ = OpenRequest.of(filed, filed, lambda _: None, it.reviews)
        attempt = replace(SOME, answer=Answer.BREAK_GLASS, approver="ana")
        assert opened_.objection(attempt, ANAS) is None
        it.now[0] += timedelta(hours=25)
        assert "ana has broken the glass for R-1 24 hours ago" in str(opened_.objection(attempt, ANAS))
        opened_.glass = None
        assert "no glass can be broken" in str(opened_.objection(attempt, ANAS))

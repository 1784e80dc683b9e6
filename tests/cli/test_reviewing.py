"""`pgnotary reviewed`, at a proxy that may lie: what is shown is what the decision was about, or nothing is signed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from tests.approval.office import key_file, running_office, signed
from tests.cli.office import Desk

from pgnotary.ledger.canonical import b64
from pgnotary.ledger.entries import BREAK_GLASS, Draft, Entry, EntryType, Receipt
from pgnotary.request import review, sshsig
from pgnotary.request.decision import Answer


@dataclass
class Glass:
    """What waits for a review, as the proxy says it."""

    request: Entry
    decision: Entry


@dataclass
class Reviews:
    """A proxy's reviews, which take whatever is signed."""

    waiting: list[Glass] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)

    async def review(self, document: bytes, signature: str) -> int:
        sshsig.verify(signature, document, sshsig.DECISION_NAMESPACE)
        self.taken.append(document)
        return 9


@asynccontextmanager
async def broken_glass() -> AsyncIterator[tuple[Desk, Reviews, Receipt]]:
    """An office where ana has broken the glass for eva's R-1; and another request entry of that id."""
    reviews = Reviews()
    async with running_office(reviews=reviews) as running:
        desk = Desk(running.folder, running.ledger, running.desk, running.api, running.socket)
        asked, shown = desk.ledger.hold(break_glass=["ana"])
        raw, signature = signed(desk.ledger, asked, shown, Answer.BREAK_GLASS, approver="ana")
        body = {"answer": BREAK_GLASS, "approver": "ana", "document": b64(raw), "signature": signature}
        decision = desk.ledger.put(Draft(EntryType.DECISION, body, "S-00000001", "R-1", shown.leaf))
        other, _ = desk.ledger.hold(relations=["public.harmless"])
        reviews.waiting.append(Glass(asked.entry, decision.entry))
        yield desk, reviews, other


async def _reviewed(desk: Desk, request: Entry) -> tuple[int, str]:
    words = ("reviewed", f"R-1@{request.leaf.hex()}", "-m", "seen", "--yes", "--key", key_file(desk.folder, "bo"))
    result = await desk.run(*words)
    return result.exit_code, result.stderr


async def test_what_was_let_run_is_shown_and_signed_for() -> None:
    async with broken_glass() as (desk, reviews, _):
        [glass] = reviews.waiting
        status, said = await _reviewed(desk, glass.request)
        assert status == 0, said
        assert "DELETE public.orders" in said
        [document] = reviews.taken
        assert review.read(document).decision == glass.decision.leaf


async def test_another_request_with_the_same_first_digits_is_not_reviewed_by_a_script() -> None:
    async with broken_glass() as (desk, reviews, _):
        digest = reviews.waiting[0].request.leaf.hex()
        words = ("-m", "seen", "--yes", "--key", key_file(desk.folder, "bo"))
        result = await desk.run("reviewed", f"R-1@{digest[:16]}", *words)
        assert (result.exit_code, reviews.taken) == (2, [])
        assert "all 64 hex digits of the digest behind R-1@, found 16" in result.stderr
        assert f"R-1   digest {digest}\n" in (await desk.run("reviewed", f"R-1@{digest}", *words)).stderr


async def test_a_request_that_the_decision_was_not_about_is_not_shown_for_it() -> None:
    async with broken_glass() as (desk, reviews, other):
        reviews.waiting[0].request = other.entry
        status, said = await _reviewed(desk, other.entry)
        assert (status, reviews.taken) == (5, [])
        assert "is not the request that ana has broken the glass for" in said


@pytest.mark.parametrize("person", ["ana", "eva"])
async def test_neither_of_its_two_people_reviews_it(person: str) -> None:
    async with broken_glass() as (desk, reviews, _):
        digest = reviews.waiting[0].request.leaf.hex()
        words = ("reviewed", f"R-1@{digest}", "-m", "seen", "--yes", "--key", key_file(desk.folder, person))
        assert ((await desk.run(*words)).exit_code, reviews.taken) == (5, [])

"""A wall clock that jumps during a hold, on the real desk, appender and store: what counts, and what `verify` says."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from tests.approval.office import SEEDS, MemoryLedger, public_of
from tests.check import check_ledger
from tests.listed import forwarded_body
from tests.store.ledgers import NOON, VKEY, opened

from pgnotary.errors import DecisionRefused
from pgnotary.ledger.canonical import timestamp
from pgnotary.ledger.entries import Draft, EntryType, Receipt
from pgnotary.ledger.executions import Alike
from pgnotary.request import sshsig
from pgnotary.request.decision import Answer, Seen, document
from pgnotary.request.life import Move, State
from pgnotary.request.roster import Roster, Signer
from pgnotary.serve.desk import Desk
from pgnotary.session.events import Decided
from pgnotary.store import Append
from pgnotary.store.appender import Appender
from pgnotary.store.reader import SqliteReader
from pgnotary.store.sqlite import SqliteStore
from pgnotary.verify.checklist import verify

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@dataclass
class Jumping:
    """A statement that is held, on a proxy whose wall clock a test sets."""

    path: Path
    store: SqliteStore
    appender: Appender
    desk: Desk
    asked: Receipt
    shown: Receipt
    clock: list[timedelta]
    """How far the proxy's clock is behind NOON, and the approver's with it."""

    async def approve(self) -> Decided:
        """Let bo approve, whose clock agrees with the proxy's."""
        head = self.store.head()
        self.desk.show_head(head)
        raw = document(
            self.asked.entry,
            self.shown.entry,
            Answer.APPROVE,
            approver="bo",
            reason="",
            ceiling=None,
            seen=Seen(head.size, head.root),
            decided_at=NOON + self.clock[0],
            nonce=bytes(16),
        )
        return await self.desk.decide(raw, sshsig.sign(raw, SEEDS["bo"], sshsig.DECISION_NAMESPACE))

    def verified(self) -> list[str]:
        """Verify the ledger twice and return the types of what came after the request's preview."""
        entries = check_ledger(self.path, VKEY)
        with SqliteReader(self.path) as reader:
            verify(reader.entries(), self.store.checkpoint(), VKEY, ahead=reader.entries())
        return [entry["type"] for entry in entries[self.shown.entry.position.seq + 1 :]]


@asynccontextmanager
async def jumping(path: Path, signer: Signer, behind: timedelta = timedelta(0)) -> AsyncIterator[Jumping]:
    """Held at NOON, for 15 minutes, with one signer on the roster, by a clock that was set back before."""
    clock, roster = [timedelta(0)], Roster((signer,))
    async with opened(path, now=lambda: NOON + clock[0]) as store, Appender(store) as appender:
        like, _ = MemoryLedger().hold()
        body = dict(like.entry.body) | {"expires_at": timestamp(NOON - behind + 15 * MINUTE)}
        sealed = {name: value for name, (_, value) in like.opened.items()}
        await appender.append(Append(Draft(EntryType.ROSTER, {"allowed_signers": roster.text})))
        await appender.append(Append(Draft(EntryType.OPENED, {}, "S-1")))
        await appender.append(Append(Draft(EntryType.OPENED, {}, "S-2")))
        clock[0] = -behind
        draft = Draft(EntryType.REQUEST, body, "S-1", "R-1", None, sealed)
        [asked] = await appender.append(Append(draft, Move("R-1", None, State.HELD)))
        [shown] = await appender.append(Append(Draft(EntryType.PREVIEW, {}, "S-1", "R-1", asked.leaf)))
        desk = Desk(appender, lambda: roster, lambda: NOON + clock[0])
        desk.announce(asked.filed(), shown.filed(), lambda _: None)
        yield Jumping(path, store, appender, desk, asked, shown, clock)


BO = Signer("bo", public_of(SEEDS["bo"]))


async def test_a_decision_after_the_signed_time_is_refused_though_the_hold_goes_on(tmp_path: Path) -> None:
    async with jumping(tmp_path / "ledger.db", BO) as found:
        found.clock[0] = HOUR
        with pytest.raises(DecisionRefused, match="R-1 has expired at"):
            await found.approve()
        assert found.desk.find("R-1") is not None
        found.clock[0] = MINUTE
        with pytest.raises(DecisionRefused, match="R-1 has expired at"):
            await found.approve()  # The ledger has been at one o'clock: its time does not run back.
        assert found.verified() == ["decision-rejected", "decision-rejected"]


async def test_a_clock_set_back_keeps_entries_in_order_and_an_approver_whose_clock_agrees_may_decide(
    tmp_path: Path,
) -> None:
    async with jumping(tmp_path / "ledger.db", BO) as found:
        found.clock[0] = -HOUR
        decided = await found.approve()
        assert decided.receipt.entry.position.time == NOON
        assert found.verified() == ["decision"]


async def test_what_is_asked_by_a_clock_that_was_set_back_can_be_decided_until_it_expires_by_that_clock(
    tmp_path: Path,
) -> None:
    async with jumping(tmp_path / "ledger.db", BO, behind=HOUR) as found:
        found.clock[0] += 16 * MINUTE
        with pytest.raises(DecisionRefused, match="R-1 has expired at"):
            await found.approve()
        found.clock[0] -= 2 * MINUTE
        decided = await found.approve()
        assert decided.receipt.entry.position.time == NOON
        assert found.verified() == ["decision-rejected", "decision"]


async def test_a_key_that_has_expired_by_the_ledgers_time_is_not_young_again_when_the_clock_is_set_back(
    tmp_path: Path,
) -> None:
    async with jumping(tmp_path / "ledger.db", Signer("bo", BO.public, valid_before=NOON + MINUTE)) as found:
        found.clock[0] = 2 * MINUTE
        body = forwarded_body([(1, Alike(kind="select", verdict="forward"))], NOON)
        await found.appender.append(Append(Draft(EntryType.FORWARDED, body, "S-2", sealed={"t1": b"select 1"})))
        found.clock[0] = -HOUR
        with pytest.raises(DecisionRefused, match="was valid until"):
            await found.approve()
        assert found.verified()[-1] == "decision-rejected"


async def test_a_key_that_ends_while_its_decision_is_on_its_way_to_the_disk_makes_no_ledger_look_tampered_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with jumping(tmp_path / "ledger.db", Signer("bo", BO.public, valid_before=NOON + MINUTE)) as found:
        append = found.store.append

        async def slowly(groups: Sequence[Sequence[Append]]) -> list[list[Receipt] | Exception]:
            found.clock[0] = MINUTE + timedelta(milliseconds=20)
            return await append(groups)

        monkeypatch.setattr(found.store, "append", slowly)
        found.clock[0] = MINUTE
        with pytest.raises(DecisionRefused, match="too soon to record it"):
            await found.approve()
        assert found.verified() == ["decision-rejected"]

"""The proxy's own judgement over signed redactions, over a real store: who, when, over what."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from tests.approval.office import SEEDS, public_of
from tests.store.ledgers import LEDGER, NOON, held, opened
from tests.store.test_proofs import grow
from tests.store.test_pruning import at, every_leaf

from pgnotary.errors import LedgerUnavailable, RedactionRefused
from pgnotary.ledger.base import CarriedSession
from pgnotary.ledger.entries import Draft, EntryType, Receipt
from pgnotary.request import redaction, sshsig
from pgnotary.request.decision import Seen
from pgnotary.request.life import Move, State
from pgnotary.request.redaction import Values
from pgnotary.request.roster import Roster, Signer
from pgnotary.serve.eraser import Eraser
from pgnotary.serve.redactions import Redactions
from pgnotary.store import Append
from pgnotary.store.appender import Appender
from pgnotary.store.sqlite import SqliteStore

MAY = (sshsig.REDACTION_NAMESPACE,)


@dataclass
class Office:
    """A store, and ana who may redact in it."""

    store: SqliteStore
    appender: Appender
    redactions: Redactions
    roster: list[Signer]

    async def put(self, *names: str, person: str = "eva", session: str = "S-1") -> Receipt:
        """Append the texts of a session that is opened for them."""
        await self.appender.append(Append(Draft(EntryType.OPENED, {"person": person}, session)))
        sealed = dict.fromkeys(names, b"geheim")
        return (await self.appender.append(Append(Draft(EntryType.FORWARDED, {}, session, sealed=sealed))))[0]

    async def redact(self, *of: tuple[Receipt, str], ago: timedelta = timedelta(0), by: str = "ana") -> int:
        document, signature = self.signed(*of, ago=ago, by=by)
        return (await self.redactions.redact(document, signature)).seq

    def signed(
        self, *of: tuple[Receipt, str], ago: timedelta = timedelta(0), by: str = "ana", ledger: str = LEDGER
    ) -> tuple[bytes, str]:
        head = self.store.head()
        raw = redaction.document(
            ledger,
            [Values(receipt.entry.position.seq, receipt.leaf, (name,)) for receipt, name in of],
            reason="asked for",
            redactor=by,
            seen=Seen(head.size, head.root),
            redacted_at=NOON - ago,
            nonce=bytes(16),
        )
        return raw, sshsig.sign(raw, SEEDS[by], sshsig.REDACTION_NAMESPACE)


@asynccontextmanager
async def office(folder: Path) -> AsyncIterator[Office]:
    async with opened(folder / "ledger.sqlite") as store, Appender(store) as appender:
        roster = [Signer("ana", public_of(SEEDS["ana"]), MAY)]
        eraser = Eraser(store, retry_s=0.01)
        redactions = Redactions(store, appender, lambda: Roster(tuple(roster)), lambda: NOON, eraser)
        erasing = asyncio.create_task(eraser.run())
        yield Office(store, appender, redactions, roster)
        erasing.cancel()


async def test_what_is_redacted_is_gone_when_it_is_answered_and_copies_are_named(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        first = await it.put("t1", "t2")
        second = await it.put("t1", session="S-2")
        document, signature = it.signed((first, "t1"))
        done = await it.redactions.redact(document, signature)
        assert (done.seq, done.copies) == (4, [(1, "t2"), (3, "t1")])
        assert it.redactions.hindrance == ""
        assert [each.sizes for each in await it.redactions.kept(1)] == [{"t2": 6}]
        assert await it.redact((first, "t2"), (second, "t1")) == 5
        assert b"geheim" not in (tmp_path / "ledger.sqlite").read_bytes()


async def test_of_two_redactions_of_one_value_at_once_one_counts(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        receipt = await it.put("t1")
        done = await asyncio.gather(it.redact((receipt, "t1")), it.redact((receipt, "t1")), return_exceptions=True)
        assert [type(each) for each in done].count(RedactionRefused) == 1
        assert it.store.head().size == 3


@pytest.mark.parametrize("ago", [timedelta(minutes=6), timedelta(minutes=-6)])
async def test_a_document_that_was_kept_back_or_is_of_another_time_is_refused(tmp_path: Path, ago: timedelta) -> None:
    async with office(tmp_path) as it:
        with pytest.raises(RedactionRefused, match="set the clock"):
            await it.redact((await it.put("t1"), "t1"), ago=ago)


async def test_nobody_redacts_what_their_own_session_did(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        receipt = await it.put("t1", person="ANA")
        with pytest.raises(RedactionRefused, match="own doing"):
            await it.redact((receipt, "t1"))


async def test_nobody_redacts_what_is_kept_of_a_decision_that_they_may_have_sent(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        document = b"ana approves what is not hers to approve"
        signature = sshsig.sign(document, SEEDS["ana"], sshsig.DECISION_NAMESPACE).encode()
        sealed = {"document": document, "signature": signature}
        [rejected] = await it.appender.append(Append(Draft(EntryType.REJECTED, {"why": "no"}, sealed=sealed)))
        with pytest.raises(RedactionRefused):
            await it.redact((rejected, "document"))


async def test_the_roster_must_say_so_at_this_moment(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        receipt = await it.put("t1")
        for namespaces, why in ((None, "may not redact"), ((sshsig.DECISION_NAMESPACE,), "may sign decision")):
            it.roster[:] = [Signer("ana", public_of(SEEDS["ana"]), namespaces)]
            with pytest.raises(RedactionRefused, match=why):
                await it.redact((receipt, "t1"))
        it.roster[:] = [Signer("ana", public_of(SEEDS["ana"]), MAY, valid_before=NOON - timedelta(seconds=1))]
        with pytest.raises(RedactionRefused, match="was valid until"):
            await it.redact((receipt, "t1"))
        it.roster.clear()
        with pytest.raises(RedactionRefused, match="nobody on the roster"):
            await it.redact((receipt, "t1"))
        assert it.store.head().size == 2
        assert not it.store.is_erasing()


async def test_a_roster_that_comes_while_copies_are_searched_for_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the entry stands behind a roster that does not allow it: a fault for ever, and the value is gone."""
    async with office(tmp_path) as it:
        receipt = await it.put("t1")

        async def meanwhile(_: SqliteStore, *__: object) -> list[tuple[int, str]]:
            it.roster.clear()
            await it.appender.append(Append(Draft(EntryType.ROSTER, {"allowed_signers": ""})))
            return []

        monkeypatch.setattr(SqliteStore, "copies", meanwhile)
        with pytest.raises(RedactionRefused, match="nobody on the roster"):
            await it.redact((receipt, "t1"))
        assert not it.store.is_erasing()


async def test_a_redaction_for_another_ledger_is_refused(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        receipt = await it.put("t1")
        with pytest.raises(RedactionRefused, match="it is for the ledger"):
            await it.redactions.redact(*it.signed((receipt, "t1"), ledger="another.example/ledger"))


async def test_a_request_is_redacted_only_once_it_has_ended(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        await it.put("t1")
        [asked] = await it.appender.append(held("R-1"))
        last, state = asked, State.HELD
        for type_, to in (
            (EntryType.DECISION, State.APPROVED),
            (EntryType.INTENT, State.INTENT),
            (EntryType.EXECUTED, State.EXECUTED),
            (EntryType.OUTCOME, State.PREPARED),
            (EntryType.OUTCOME, State.COMMITTED),
        ):
            with pytest.raises(RedactionRefused, match=f"R-1 is {state}: what it asks is still needed"):
                await it.redact((asked, "statement"))
            body = {"answer": "approve"} if to is State.APPROVED else {"result": to.value}
            draft = Draft(type_, body, "S-1", "R-1", last.leaf)
            [last] = await it.appender.append(Append(draft, Move("R-1", state, to)))
            state = to
        await it.redact((asked, "statement"))


async def test_after_an_error_of_the_storage_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with office(tmp_path) as it:
        receipt = await it.put("t1")

        async def fail(*_: object) -> None:
            raise LedgerUnavailable("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(SqliteStore, "append", fail)
            with pytest.raises(LedgerUnavailable):
                await it.redact((receipt, "t1"))
        while it.appender.down is not None:
            await asyncio.sleep(0.01)
        await it.redact((receipt, "t1"))
        assert it.store.head().size == 3


async def test_what_is_archived_is_refused_and_the_answer_says_where_it_is(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        before = await it.put("t1")
        await grow(it.store, 256)
        after = await it.put("t1")
        await it.store.prune(*at(await every_leaf(it.store), 256))
        assert it.redactions.first == 256
        size = it.store.head().size
        for named in ((before, "t1"),), ((before, "t1"), (after, "t1")):
            with pytest.raises(RedactionRefused, match=r"#1 is archived.*here are the entries from #256 on"):
                await it.redact(*named)
        assert it.store.head().size == size
        assert await it.redactions.kept(1) == []
        # What stays is redacted as before.
        await it.redact((after, "t1"))
        assert [each.sizes for each in await it.redactions.kept(after.entry.position.seq)] == [{}]


async def test_a_session_from_before_the_cut_is_its_persons_own_doing_behind_it(tmp_path: Path) -> None:
    """Its opening is archived; who forgets whose it was lets her erase what she did."""
    async with office(tmp_path) as it:
        await it.put("t1", person="ANA")
        await grow(it.store, 256)
        [receipt] = await it.appender.append(Append(Draft(EntryType.FORWARDED, {}, "S-1", sealed={"t2": b"geheim"})))
        carried = CarriedSession("S-1", {"person": "ANA"}, 0, 1, 0, ((1, 1),))
        told, base = at(await every_leaf(it.store), 256)
        base = dataclasses.replace(base, sessions=(carried,))
        await it.store.prune(dataclasses.replace(told, base=base.digest), base)
        with pytest.raises(RedactionRefused, match="own doing"):
            await it.redact((receipt, "t2"))

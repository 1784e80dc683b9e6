"""Decisions on the proxy's own desk: exactly one counts, every other is refused and kept as evidence."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.approval.office import SEEDS, real_desk, signed

from pgnotary.approval.desk import Desk as DeskNeeded
from pgnotary.approval.desk import Ledger as LedgerNeeded
from pgnotary.errors import DecisionRefused, LedgerUnavailable
from pgnotary.ledger.canonical import encode, unb64
from pgnotary.ledger.entries import EntryType
from pgnotary.request import sshsig
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Answer
from pgnotary.request.life import State
from pgnotary.serve.desk import Desk
from pgnotary.store.sqlite import SqliteStore

# mypy proves with these two that the proxy's desk and store are what the API needs.
_desk_fits: Callable[[Desk], DeskNeeded] = lambda desk: desk  # noqa: E731
_store_fits: Callable[[SqliteStore], LedgerNeeded] = lambda store: store  # noqa: E731


async def test_a_signed_approval_is_recorded_and_delivered() -> None:
    async with real_desk() as office:
        document, signature = office.signed(max_rows=1204)
        decided = await office.desk.decide(document, signature)
        assert office.delivered == [decided]
        assert (decided.answer, decided.approver, decided.ceiling) == (Answer.APPROVE, "bo", Ceiling(1204))
        body = decided.receipt.entry.body
        assert unb64(str(body["document"])) == document
        assert sshsig.verify(str(body["signature"]), document, sshsig.DECISION_NAMESPACE)
        assert decided.receipt.entry.after == office.shown.leaf
        assert await office.ledger.state("R-1") is State.APPROVED


async def test_of_two_decisions_at_once_one_wins_and_the_other_is_refused_and_recorded() -> None:
    async with real_desk() as office:
        results = await asyncio.gather(
            office.desk.decide(*office.signed(approver="bo")),
            office.desk.decide(*office.signed(approver="ana", answer=Answer.DENY)),
            return_exceptions=True,
        )
        refused = [result for result in results if isinstance(result, DecisionRefused)]
        assert len(refused) == 1
        assert "not open" in str(refused[0])
        assert len(office.delivered) == 1
        assert len(office.ledger.of_type(EntryType.DECISION)) == 1
        assert len(office.rejected) == 1


async def test_a_decision_that_the_ledger_overtakes_is_refused_and_recorded() -> None:
    async with real_desk() as office:
        office.ledger.states["R-1"] = (State.WITHDRAWN, office.shown.leaf)
        assert "withdrawn already" in await office.refused(*office.signed())
        assert not office.ledger.of_type(EntryType.DECISION)


async def test_a_decision_after_retire_is_refused() -> None:
    async with real_desk() as office:
        office.desk.retire("R-1")
        assert "not open" in await office.refused(*office.signed())
        assert await office.ledger.state("R-1") is State.HELD


async def test_a_second_decision_is_refused_even_before_its_session_retires_the_request() -> None:
    async with real_desk() as office:
        await office.desk.decide(*office.signed())
        office.delivered.clear()
        assert "not open" in await office.refused(*office.signed(approver="ana"))


async def test_a_replayed_decision_over_another_request_is_refused() -> None:
    async with real_desk() as office:
        first = office.signed()
        asked, shown = office.ledger.hold("R-2")
        office.desk.announce(asked.filed(), shown.filed(), office.delivered.append)
        fields = json.loads(first[0])
        document = encode(fields | {"request": "R-2"})
        assert "request_leaf" in await office.refused(
            document, sshsig.sign(document, SEEDS["bo"], sshsig.DECISION_NAMESPACE)
        )


async def test_a_signature_in_another_namespace_is_refused() -> None:
    async with real_desk() as office:
        assert "namespace" in await office.refused(*office.signed(namespace="git"))


async def test_a_key_that_nobody_has_is_refused() -> None:
    async with real_desk() as office:
        assert "nobody on the roster" in await office.refused(*office.signed(approver="mallory"))


async def test_somebody_elses_key_is_refused() -> None:
    async with real_desk() as office:
        assert "signed by ana's key" in await office.refused(*office.signed(approver="bo", by="ana"))


async def test_a_roster_without_that_person_refuses() -> None:
    async with real_desk("ana") as office:
        assert "nobody on the roster" in await office.refused(*office.signed(approver="bo"))


async def test_nobody_decides_over_their_own_request() -> None:
    async with real_desk() as office:
        assert "asked for it" in await office.refused(*office.signed(approver="eva"))


async def test_a_head_that_was_never_shown_is_refused() -> None:
    async with real_desk() as office:
        office.ledger.hold("R-2")
        assert "not one of this ledger" in await office.refused(*office.signed())


async def test_nobody_has_the_head_forgotten_that_another_is_about_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgnotary.serve.desk._HEADS_REMEMBERED", 3)
    async with real_desk(looks_back=True) as office:
        seen = office.signed()
        for number in range(2, 6):
            office.ledger.hold(f"R-{number}")
            office.desk.show_head(office.ledger.head())
        assert (await office.desk.decide(*seen)).answer is Answer.APPROVE


async def test_a_head_that_the_ledger_never_had_is_not_found_there_either() -> None:
    async with real_desk(looks_back=True) as office:
        fields = json.loads(office.signed()[0])
        for size, root in ((len(office.ledger.raws), "00" * 32), (99, fields["head"]["root"])):
            document = encode(fields | {"head": {"size": size, "root": root}})
            signature = sshsig.sign(document, SEEDS["bo"], sshsig.DECISION_NAMESPACE)
            assert "not one of this ledger" in await office.refused(document, signature)


@pytest.mark.parametrize("years", [-1, 1])
async def test_a_decision_of_another_time_is_refused(years: int) -> None:
    async with real_desk() as office:
        fields = json.loads(office.signed()[0])
        year, rest = fields["decided_at"].split("-", 1)
        document = encode(fields | {"decided_at": f"{int(year) + years}-{rest}"})
        signature = sshsig.sign(document, SEEDS["bo"], sshsig.DECISION_NAMESPACE)
        assert "set the clock" in await office.refused(document, signature)


async def test_what_is_about_another_request_is_kept_beside_the_one_it_was_handed_in_for() -> None:
    async with real_desk() as office:
        asked, shown = office.ledger.hold("R-2")
        office.desk.announce(asked.filed(), shown.filed(), office.delivered.append)
        document, signature = office.signed()
        await office.desk.reject(document, signature, "R-2", "about R-1")
        assert office.rejected[0].entry.request == "R-2"
        assert office.rejected[0].entry.body["why"] == "about R-1"
        assert not office.delivered


async def test_bytes_that_are_no_document_are_kept_as_evidence() -> None:
    async with real_desk() as office:
        assert "cannot be read" in await office.refused(b"\xff{}", "x")
        assert office.rejected[0].opened["document"][1] == b"\xff{}"


async def test_a_ledger_that_cannot_be_written_leaves_the_request_open() -> None:
    async with real_desk() as office:
        office.ledger.fails = True
        with pytest.raises(LedgerUnavailable):
            await office.desk.decide(*office.signed())
        opened = office.desk.find("R-1")
        assert opened is not None
        assert not opened.deciding
        assert not office.delivered


def _other(value: Any) -> Any:
    if isinstance(value, int):
        return value + 1
    if isinstance(value, dict):
        return value | {"size": value["size"] + 1}
    return f"{value[:-1]}{'0' if value[-1:] != '0' else '1'}" if value else "0"


_FIELDS = (
    "v ledger request request_leaf preview_leaf user database kind statement decision max_rows reason approver head "
    "decided_at nonce"
).split()


@pytest.mark.parametrize("name", _FIELDS)
async def test_a_change_in_any_field_after_signing_is_refused(name: str) -> None:
    async with real_desk() as office:
        document, signature = office.signed(max_rows=1204)
        fields = json.loads(document)
        changed = encode(fields | {name: _other(fields[name])})
        assert changed != document
        await office.refused(changed, signature)
        await office.desk.decide(document, signature)


@pytest.mark.parametrize(
    "name",
    ["v", "ledger", "request", "request_leaf", "preview_leaf", "user", "database", "kind", "statement", "approver"],
)
async def test_a_signed_document_about_something_else_is_refused(name: str) -> None:
    async with real_desk() as office:
        fields = json.loads(office.signed()[0])
        changed = encode(fields | {name: _other(fields[name])})
        await office.refused(changed, sshsig.sign(changed, SEEDS["bo"], sshsig.DECISION_NAMESPACE))


async def test_a_field_too_few_or_too_many_is_refused() -> None:
    async with real_desk() as office:
        fields = json.loads(office.signed()[0])
        for changed in ({name: fields[name] for name in fields if name != "nonce"}, fields | {"extra": 1}):
            document = encode(changed)
            signature = sshsig.sign(document, SEEDS["bo"], sshsig.DECISION_NAMESPACE)
            assert "missing or unknown fields" in await office.refused(document, signature)


async def test_every_single_changed_byte_of_a_document_is_refused() -> None:
    async with real_desk() as office:
        document, signature = office.signed()
        for at in range(0, len(document), 7):
            changed = document[:at] + bytes([document[at] ^ 1]) + document[at + 1 :]
            await office.refused(changed, signature)
        assert len(office.ledger.of_type(EntryType.DECISION)) == 0


async def test_a_denial_ends_the_request() -> None:
    async with real_desk() as office:
        document, signature = signed(office.ledger, office.asked, office.shown, Answer.DENY)
        assert (await office.desk.decide(document, signature)).answer is Answer.DENY
        assert await office.ledger.state("R-1") is State.DENIED


async def test_without_anybody_who_keeps_reviews_no_glass_is_broken() -> None:
    async with real_desk() as office:
        told = await office.refused(*office.signed(answer=Answer.BREAK_GLASS))
        assert "may not break the glass" in told

"""What a requester has taken back: the call that they signed is in the entry, and what is made to look like that."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.verify.builder import SEEDS, VKEY, Ledger, public_of, roster_text

from pgnotary.errors import LedgerBroken
from pgnotary.ledger import checkpoint
from pgnotary.ledger.canonical import JSON, timestamp
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.openssh import fingerprint, public_line
from pgnotary.request.roster import Roster, parse_roster
from pgnotary.verify.checklist import Summary, verify

_Fields = dict[str, Any]
BY_EVA: dict[str, JSON] = {"by": "requester", "person": "eva", "key": fingerprint(public_of(SEEDS["eva"]))}


def asked(person: str = "eva", people: tuple[str, ...] = ("ana", "bo", "dan", "rita", "eva")) -> Ledger:
    """A request of theirs, with its preview at #4."""
    ledger = Ledger().start(*people)
    ledger.open_session(person=person)
    ledger.ask("R-1", person=person)
    ledger.preview("R-1")
    return ledger


def verified(ledger: Ledger, roster: Roster | None = None) -> Summary:
    entries = list(ledger.entries())
    return verify(entries, ledger.notes[-1], VKEY, ahead=entries, roster=roster, checkpoints=ledger.checkpoints())


def faults(ledger: Ledger) -> list[str]:
    with pytest.raises(LedgerBroken) as found:
        verified(ledger)
    return list(found.value.faults)


def _notes(summary: Summary) -> list[str]:
    return [note for note in summary.notes if "taken back" in note]


@pytest.mark.parametrize("person", ["eva", "ana", "rita", "Eva"])
def test_whoever_may_call_takes_their_own_back_and_nothing_is_to_be_said_of_it(person: str) -> None:
    ledger = asked(person)
    entry = ledger.take_back("R-1", person=person.lower())
    assert b'"v":"pgnotary/entry/2"' in entry.raw
    summary = verified(ledger)
    assert (_notes(summary), summary.open) == ([], ())


def test_what_was_approved_at_that_moment_is_void_by_their_signature() -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.take_back("R-1", EntryType.VOID, why="withdrawn by requester while it was being approved")
    assert _notes(verified(ledger)) == []
    ledger = asked()
    ledger.decide("R-1")
    ledger.take_back("R-1", EntryType.VOID, signed_by="mallory")
    assert {fault.split()[0] for fault in faults(ledger)} == {"#6"}


def test_a_key_for_everything_counts_and_so_does_a_roster_that_is_pinned() -> None:
    ledger = asked(people=("ana", "bo"))
    line = f"eva {public_line(public_of(SEEDS['eva']))}\n"
    ledger.append(Draft(EntryType.ROSTER, {"allowed_signers": roster_text("ana") + line}))
    ledger.take_back("R-1")
    assert _notes(verified(ledger)) == []
    with pytest.raises(LedgerBroken, match="nobody on the roster"):
        verified(ledger, parse_roster(roster_text("ana", "bo")))
    ledger = asked(people=("ana", "bo"))
    ledger.take_back("R-1")
    assert _notes(verified(ledger, parse_roster(line))) == []
    assert faults(ledger) == [f"#5 R-1: nobody on the roster has the key {BY_EVA['key']}"]


def test_a_key_that_has_left_the_roster_meanwhile_does_not_count() -> None:
    ledger = asked()
    ledger.roster("ana", "bo")
    ledger.take_back("R-1")
    assert faults(ledger) == [f"#6 R-1: nobody on the roster has the key {BY_EVA['key']}"]


def test_a_key_counts_by_the_time_at_which_it_signed() -> None:
    ledger = asked(people=("ana", "bo"))
    until = ledger.clock + timedelta(seconds=30)
    line = f'eva valid-before="{until:%Y%m%d%H%M%S}Z" {public_line(public_of(SEEDS["eva"]))}\n'
    ledger.append(Draft(EntryType.ROSTER, {"allowed_signers": line}))
    signed_at = ledger.clock
    ledger.wait(120).take_back("R-1", change=_at(signed_at))
    assert _notes(verified(ledger)) == []
    ledger = asked(people=("ana", "bo"))
    ledger.append(Draft(EntryType.ROSTER, {"allowed_signers": line}))
    ledger.wait(120).take_back("R-1")
    assert "#6 R-1: the key" in faults(ledger)[0]


def _set(**fields: JSON) -> Callable[[_Fields], None]:
    return lambda signed: signed.update(fields)


def _at(moment: datetime) -> Callable[[_Fields], None]:
    return _set(called_at=timestamp(moment))


def _later(seconds: float) -> Callable[[_Fields], None]:
    """Signed so much later than now."""

    def change(fields: _Fields) -> None:
        said = datetime.fromisoformat(fields["called_at"]) + timedelta(seconds=seconds)
        fields.update(called_at=timestamp(said))

    return change


_OTHER_VKEY = checkpoint.vkey("shop.example/other", public_of(bytes([1]) * 32))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"signed_by": "mallory"}, "nobody on the roster has the key"),
        ({"signed_by": "dan"}, "of dan, but eva has asked for it"),
        ({"person": "dan"}, "of dan, but eva has asked for it"),
        ({"namespace": "decision@pgnotary"}, "namespace"),
        ({"signature": "x"}, "not an armored SSH signature"),
        ({"document": "x"}, "the document is not base64"),
        ({"document": "e30="}, "a call of format"),
        ({"document": 1}, "without document or signature"),
        ({"change": _set(more=1)}, "missing or unknown fields"),
        ({"change": _set(v="pgnotary/call/2")}, "a call of format"),
        ({"change": _set(nonce="00")}, "nonce"),
        ({"change": _set(target="/v1/requests/R-2/withdraw")}, "signed for the target '/v1/requests/R-2/withdraw'"),
        ({"change": _set(target="/v1/requests/R-1")}, "signed for the target"),
        ({"change": _set(target="/v1/requests/R-1/withdraw?")}, "signed for the target"),
        ({"change": _set(method="GET")}, "signed for the method 'GET'"),
        ({"change": _set(proxy=_OTHER_VKEY)}, "signed for the proxy"),
        ({"change": _later(-3_600)}, "what was signed is another"),
        ({"change": _later(-363)}, "what was signed is another"),
        ({"change": _later(362)}, "what was signed is another"),
        ({"change": _set(called_at="0001-01-01T00:00:00.000000Z")}, "what was signed is another"),
        ({"by": "cancel"}, "the entry says by 'cancel'"),
        ({"person": "Eva", "signed_by": "eva"}, "the entry says person 'Eva'"),
        ({"key": "SHA256:x"}, "the entry says key 'SHA256:x'"),
    ],
)
def test_what_they_have_not_signed_is_found_at_its_place(more: dict[str, Any], told: str) -> None:
    ledger = asked()
    ledger.take_back("R-1", **more)
    found = faults(ledger)
    assert {fault.split()[0] for fault in found} == {"#5"}
    assert any(told in fault for fault in found), found


@pytest.mark.parametrize("seconds", [-355, 300, 360])
def test_clocks_that_were_set_back_a_little_accuse_nobody(seconds: int) -> None:
    ledger = asked()
    ledger.take_back("R-1", change=_later(seconds))
    assert _notes(verified(ledger)) == []


def test_a_call_of_an_hour_before_is_told() -> None:
    ledger = asked()
    signed_at = ledger.clock
    ledger.wait(3_600).take_back("R-1", change=_at(signed_at))
    [note] = _notes(verified(ledger))
    assert note.startswith("#5 R-1: taken back at 2026-11-20 09:00:05+00:00 by eva's clock, recorded at")


@pytest.mark.parametrize("missing", ["document", "signature"])
def test_half_of_the_evidence_is_none(missing: str) -> None:
    ledger = asked()
    ledger.take_back("R-1")
    ledger.edit(5, lambda fields: fields["body"].pop(missing))
    ledger.relink()
    assert faults(ledger) == ["#5 R-1: a withdrawal without document or signature"]


@pytest.mark.parametrize("place", [3, 4, 5])
def test_no_byte_of_it_is_another_one_than_was_signed(place: int) -> None:
    ledger = asked()
    ledger.take_back("R-1")

    def change(fields: _Fields) -> None:
        document = fields["body"]["document"]
        fields["body"]["document"] = document[:place] + ("A" if document[place] != "A" else "B") + document[place + 1 :]

    ledger.edit(5, change)
    ledger.relink()
    assert {fault.split()[0] for fault in faults(ledger)} == {"#5"}


def test_a_signature_of_another_ledger_s_request_of_that_name_ends_nothing_here() -> None:
    """A ledger that lost its end gives ids again: what was signed for the first R-1 is older than the second."""
    first = asked()
    signed = first.take_back("R-1").body
    ledger = asked()
    for place in range(len(ledger.stored)):
        ledger.edit(place, lambda fields: fields.update(time=timestamp(first.clock + timedelta(hours=1))))
    ledger.relink()
    ledger.clock = first.clock + timedelta(hours=1)
    ledger.last["R-1"] = ledger.newest()
    ledger.step(EntryType.WITHDRAWN, "R-1", **signed)
    [fault] = faults(ledger)
    assert fault.startswith("#5 R-1: signed at 2026-11-20T09:00:05")


def test_one_without_a_signature_verifies_for_ever_and_is_told() -> None:
    ledger = asked()
    entry = ledger.step(EntryType.WITHDRAWN, "R-1", **BY_EVA)
    assert b'"v":"pgnotary/entry/1"' in entry.raw
    [note] = _notes(verified(ledger))
    assert note == "#5 R-1: taken back by eva, it says, but holds nothing they signed"
    ledger = asked()
    ledger.step(EntryType.WITHDRAWN, "R-1", by="cancel")
    assert _notes(verified(ledger)) == []


def test_nobody_could_have_signed_where_no_roster_is_in_force() -> None:
    ledger = asked()
    ledger.edit(1, lambda fields: fields["body"].update(allowed_signers="?"))
    ledger.relink()
    ledger.last["R-1"] = ledger.newest()
    ledger.take_back("R-1")
    assert "#5 R-1: no roster is in force, so nobody could have signed" in faults(ledger)


def test_evidence_in_the_format_that_has_none_is_no_entry() -> None:
    for type_ in (EntryType.WITHDRAWN, EntryType.VOID):
        ledger = asked()
        if type_ is EntryType.VOID:
            ledger.decide("R-1")
        place = len(ledger.stored)
        ledger.take_back("R-1", type_)
        ledger.edit(place, lambda fields: fields.update(v="pgnotary/entry/1"))
        ledger.relink()
        assert any(fault.startswith(f"#{place} cannot be read") for fault in faults(ledger))

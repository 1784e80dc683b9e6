"""Redactions before the checklist: values that are missing are told from values that somebody took away."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.verify.builder import SEEDS, VKEY, Ledger, one_approval, public_of, roster_text

from pgnotary.errors import LedgerBroken
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request import sshsig
from pgnotary.request.decision import Seen
from pgnotary.request.openssh import public_line
from pgnotary.request.roster import parse_roster
from pgnotary.verify.checklist import Summary, verify

ASKED, FORWARDED = 4, 3
"""Where the request and the forwarded texts of `one_approval` stand."""


def ended() -> Ledger:
    """A ledger with one request that has ended, and rita, who may redact."""
    ledger = one_approval()
    ledger.roster("ana", "bo", "rita")
    return ledger


def verified(ledger: Ledger) -> Summary:
    return verify(ledger.stored, ledger.sign(), VKEY, ahead=ledger.stored, checkpoints=ledger.notes)


def faults(ledger: Ledger) -> list[str]:
    with pytest.raises(LedgerBroken) as broken:
        verified(ledger)
    return list(broken.value.faults)


def test_a_value_that_somebody_who_may_had_erased_is_redacted_and_not_withheld() -> None:
    ledger = ended()
    ledger.redact(ledger.values(ASKED, "statement", "reason"))
    ledger.lose(FORWARDED, "t1")
    summary = verified(ledger)
    assert (summary.redactions, summary.redacted, summary.withheld, summary.opened) == (1, 2, 1, 0)


def test_several_entries_in_one_redaction_and_the_next_one_for_what_is_left() -> None:
    ledger = ended()
    ledger.redact(ledger.values(FORWARDED, "t1"), ledger.values(ASKED, "reason"))
    ledger.redact(ledger.values(ASKED, "statement"), reason="é" * 1_000)
    summary = verified(ledger)
    assert (summary.redactions, summary.redacted, summary.withheld) == (2, 3, 0)


def test_a_redaction_by_a_clock_far_off_is_noted() -> None:
    ledger = ended()
    ledger.redact(
        ledger.values(ASKED, "reason"), change=lambda fields: fields.update(redacted_at="2020-01-01T00:00:00.000000Z")
    )
    assert [note.partition(" by ")[0] for note in verified(ledger).notes if "redacted at" in note] == [
        "#13 redacted at 2020-01-01 00:00:00+00:00"
    ]


def test_a_value_that_is_kept_although_it_was_redacted_is_a_fault() -> None:
    ledger = ended()
    ledger.redact(ledger.values(ASKED, "reason", "statement"), erase=False)
    ledger.lose(ASKED, "reason")
    assert faults(ledger) == [f"#13 statement of #{ASKED} was redacted, but its value is still kept"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"signed_by": "mallory"}, "nobody on the roster has the key"),
        ({"redactor": "mallory"}, "nobody on the roster has the key"),
        ({"redactor": "bo"}, "may sign decision@pgnotary, not redaction@pgnotary"),
        ({"redactor": "bo", "namespace": sshsig.DECISION_NAMESPACE}, "for namespace 'decision@pgnotary'"),
        ({"namespace": sshsig.DECISION_NAMESPACE}, "for namespace 'decision@pgnotary'"),
        ({"redactor": "ana", "signed_by": "rita"}, "signed by rita's key, but the document says 'ana'"),
        ({"key": "SHA256:x"}, "the entry names the key 'SHA256:x'"),
        ({"reason": "", "erase": False}, "not one line"),
        ({"reason": "a\nb"}, "not one line"),
        ({"reason": "a\u2028b"}, "not one line"),
        ({"reason": "x\x1b[2J"}, "not one line"),
        ({"reason": "x" * 1_001}, "not one line"),
        ({"reason": "\n" * 10_000}, "at most 16384 are read"),
        ({"seen": Seen(99, bytes(32))}, "saw a ledger of 99 entries"),
        ({"seen": Seen(3, bytes(32))}, f"without #{ASKED}"),
        ({"seen": Seen(9, bytes(32))}, "was rewritten afterwards"),
        ({"document": "AAAA"}, "cannot be read"),
        ({"document": 7}, "without document"),
        ({"signature": "x"}, "not an armored SSH signature"),
        ({"values": []}, "the entry says values"),
    ],
)
def test_a_redaction_that_nobody_who_may_has_signed_is_a_fault(how: dict[str, Any], said: str) -> None:
    ledger = ended()
    ledger.redact(ledger.values(ASKED, "statement"), **how)
    found = faults(ledger)
    assert any(said in fault for fault in found), found
    assert all(fault.startswith("#13 ") for fault in found)


def of(**changes: JSON) -> Callable[[dict[str, Any]], object]:
    return lambda fields: fields.update(changes)


def first(**changes: JSON) -> Callable[[dict[str, Any]], object]:
    return lambda fields: fields["values"][0].update(changes)


@pytest.mark.parametrize(
    "change",
    [
        of(v="pgnotary/decision/1"),
        of(more=1),
        lambda fields: fields.pop("nonce"),
        of(nonce="00"),
        of(ledger="another.example/ledger"),
        of(values=[]),
        of(values={}),
        lambda fields: fields.update(values=fields["values"] * 2),
        lambda fields: fields.update(values=fields["values"] * 9),
        first(seq=5),
        first(seq=-1),
        first(seq=True),
        first(leaf="00" * 32),
        first(leaf="AB" * 32),
        first(seals=[]),
        first(seals=["statement", "reason"]),
        first(seals=["reason", "reason"]),
        first(seals=["nothing"]),
        first(seals=["No"]),
        first(seals=[1]),
        first(why="x"),
        of(reason=1),
        of(head={"size": 1}),
        of(head=1),
        of(redacted_at="now"),
    ],
)
def test_a_signed_document_that_names_nothing_to_erase_is_a_fault(change: Callable[[dict[str, Any]], object]) -> None:
    ledger = ended()
    ledger.redact(ledger.values(ASKED, "reason"), change=change)
    assert all(fault.startswith("#13 ") for fault in faults(ledger))


def test_an_entry_behind_the_redaction_cannot_be_redacted_by_it() -> None:
    ledger = ended()
    ledger.redact(ledger.values(FORWARDED, "t1"))
    early, late = ledger.stored.pop(), ledger.redact(ledger.values(ASKED, "statement"))
    del ledger.stored[-1], late
    ledger.forward("select 2")
    ledger.redact(ledger.values(13, "t1"))
    swapped = ledger.stored.pop(13)
    ledger.stored.append(swapped)
    ledger.stored.append(early)
    ledger.relink()
    assert any("there is no entry #13" in fault for fault in faults(ledger))


def test_what_was_redacted_once_is_not_redacted_again() -> None:
    """The same signed document once more: a replay."""
    ledger = ended()
    entry = ledger.redact(ledger.values(ASKED, "statement"))
    ledger.append(Draft(EntryType.REDACTED, entry.body))
    assert faults(ledger) == [f"#14 statement of #{ASKED} was redacted before"]


def test_nobody_redacts_what_they_did_themselves() -> None:
    ledger = Ledger().start("ana", "bo", "rita")
    ledger.open_session(person="Rita")
    ledger.forward("select 1")
    ledger.ask("R-1", person="Rita")
    ledger.preview("R-1")
    ledger.step(EntryType.WITHDRAWN, "R-1", by="cancel")
    ledger.redact(ledger.values(3, "t1"), ledger.values(4, "statement"))
    assert faults(ledger) == [f"#7 #{place} is Rita's own doing: somebody else must redact it" for place in (3, 4)]


def test_what_a_request_asks_that_has_not_ended_is_needed() -> None:
    ledger = Ledger().start("ana", "bo", "rita")
    ledger.open_session()
    ledger.ask("R-1")
    ledger.redact(ledger.values(3, "statement"))
    ledger.preview("R-1")
    ledger.decide("R-1")
    ledger.run("R-1", result="unknown")
    ledger.redact(ledger.values(3, "statement"))
    # Nobody needs the text of one whose outcome is unknown; the first redaction did not count.
    assert faults(ledger) == ["#4 R-1 is held: what it asks is still needed"]


def test_a_roster_line_without_namespaces_lets_nobody_redact() -> None:
    ledger = one_approval()
    text = roster_text("ana", "bo") + f"rita {public_line(public_of(SEEDS['rita']))}\n"
    ledger.append(Draft(EntryType.ROSTER, {"allowed_signers": text}))
    ledger.redact(ledger.values(ASKED, "statement"))
    [fault] = faults(ledger)
    assert "rita may not redact" in fault


def test_a_redaction_is_held_against_the_roster_of_its_place() -> None:
    ledger = ended()
    ledger.redact(ledger.values(ASKED, "statement"))
    ledger.roster("ana", "bo")
    assert verified(ledger).redacted == 1
    ledger.redact(ledger.values(ASKED, "reason"))
    assert ["nobody on the roster" in fault for fault in faults(ledger)] == [True]
    pinned = parse_roster(roster_text("ana", "bo", "rita"))
    assert verify(ledger.stored, ledger.sign(), VKEY, ahead=ledger.stored, roster=pinned).redacted == 2


def test_a_decision_is_not_signed_in_the_namespace_of_redactions() -> None:
    ledger = Ledger().start("ana", "bo", "rita")
    ledger.open_session()
    ledger.ask("R-1")
    ledger.preview("R-1")
    ledger.decide("R-1", approver="rita", namespace=sshsig.REDACTION_NAMESPACE)
    assert any("for namespace 'redaction@pgnotary'" in fault for fault in faults(ledger))


def test_a_redaction_names_no_request() -> None:
    ledger = ended()
    ledger.redact(ledger.values(ASKED, "statement"))
    ledger.edit(13, lambda fields: fields.update(request="R-1"))
    ledger.relink()
    assert "#13 an entry of type redacted belongs to no request, but names one" in faults(ledger)


@pytest.mark.parametrize("name", ["redactor", "key", "values", "reason", "document", "signature"])
def test_a_redaction_of_which_one_bit_is_flipped_is_found(name: str) -> None:
    ledger = ended()
    ledger.redact(ledger.values(ASKED, "statement"))
    ledger.edit(13, lambda fields: fields["body"].update({name: _flipped(fields["body"][name])}))
    ledger.relink()
    assert all(fault.startswith("#13 ") for fault in faults(ledger))


def _flipped(value: JSON) -> JSON:
    if isinstance(value, list):
        return [*value, *value]
    text = str(value)
    middle = len(text) // 2
    return text[:middle] + chr(ord(text[middle]) ^ 1) + text[middle + 1 :]

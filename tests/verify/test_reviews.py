"""Broken glass in a ledger: who may break it, who must look at it afterwards, and what is made to look like that."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.verify.builder import VKEY, Ledger, roster_text

from pgnotary.errors import LedgerBroken, NotCanonical
from pgnotary.ledger.entries import Draft, Entry, EntryType
from pgnotary.request.decision import Seen
from pgnotary.verify.checklist import Summary, base_behind, verify

BREAK = "break-glass"


def asked(person: str = "eva", request: str = "R-1", **more: Any) -> Ledger:
    """A request of which ana and Bo may break the glass, with its preview at #4."""
    ledger = Ledger().start("ana", "bo", "cy", "dan", "rita")
    ledger.open_session(person=person)
    ledger.ask(request, person=person, break_glass=["ana", "Bo"], **more)
    ledger.preview(request)
    return ledger


def broken(person: str = "eva", approver: str = "ana") -> tuple[Ledger, Entry]:
    """Broken by ana at #5, and run at #6 to #8."""
    ledger = asked(person)
    decision = ledger.decide("R-1", BREAK, approver=approver, max_rows=2000)
    ledger.run("R-1")
    return ledger, decision


def verified(ledger: Ledger) -> Summary:
    entries = list(ledger.entries())
    return verify(entries, ledger.notes[-1], VKEY, ahead=entries, checkpoints=ledger.checkpoints())


def faults(ledger: Ledger) -> list[str]:
    with pytest.raises(LedgerBroken) as found:
        verified(ledger)
    return list(found.value.faults)


def test_until_somebody_else_has_looked_at_it_the_evidence_is_incomplete() -> None:
    ledger, decision = broken()
    summary = verified(ledger)
    assert summary.lacks == ("#5 R-1: ana broke the glass, and nobody has reviewed it",)
    assert (summary.broken, summary.reviewed, summary.approvals, summary.committed) == (1, 0, 1, 1)
    ledger.review(decision)
    summary = verified(ledger)
    assert (summary.lacks, summary.broken, summary.reviewed) == ((), 1, 1)


def test_who_may_break_it_breaks_it_for_their_own_too_in_any_spelling_and_beside_others() -> None:
    verified(broken("ana")[0])
    verified(broken(approver="bo")[0])
    quorum = [{"count": 2, "group": "dba", "people": ["bo", "cy"]}]
    ledger = asked(needs=2, quorum=quorum)
    ledger.decide("R-1", approver="bo", max_rows=1, lacks=1)
    ledger.decide("R-1", BREAK, approver="ana", max_rows=2000)
    # Alone: neither does it need the other approval, nor is it bound by what that allows.
    ledger.run("R-1")
    assert verified(ledger).committed == 1


@pytest.mark.parametrize(
    ("approver", "more", "told"),
    [
        ("dan", {}, "dan may not break the glass: only ana, Bo may"),
        ("ana", {"reason": " "}, "without a reason"),
        ("ana", {"signed_by": "dan"}, "signed by dan's key"),
        ("ana", {"lacks": 1}, "lacks 1 approvals"),
        ("ana", {"answer_": "approve"}, "the entry says answer 'approve'"),
    ],
)
def test_who_may_not_or_does_not_say_so_is_found(approver: str, more: dict[str, Any], told: str) -> None:
    ledger = asked()
    if "answer_" in more:
        # What says that it is an approval like others is in the format that has no more.
        more = {"answer": more["answer_"]}
        ledger.decide("R-1", BREAK, approver=approver)
        ledger.edit(5, lambda fields: fields["body"].update(more))
        ledger.edit(5, lambda fields: fields.update(v="pgnotary/entry/1"))
        ledger.relink()
    else:
        ledger.decide("R-1", BREAK, approver=approver, **more)
    assert any(fault.startswith("#5 ") and told in fault for fault in faults(ledger))


def test_without_a_group_nobody_breaks_it() -> None:
    ledger = Ledger().start("ana")
    ledger.open_session()
    ledger.ask("R-1")
    ledger.preview("R-1")
    ledger.decide("R-1", BREAK, approver="ana")
    assert faults(ledger) == ["#5 R-1: ana may not break the glass: nobody here may (policy.break_glass)"]


def _words(text: str) -> Callable[[dict[str, Any]], None]:
    return lambda fields: fields.update(words=text)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"reviewer": "ana"}, "ana has broken the glass for R-1: somebody else must review it"),
        ({"reviewer": "eva", "signed_by": "mallory"}, "nobody on the roster has the key"),
        ({"signed_by": "dan"}, "signed by dan's key, but the document says 'cy'"),
        ({"namespace": "redaction@pgnotary"}, "namespace"),
        ({"reviewer": "rita"}, "may sign redaction@pgnotary"),
        ({"change": _words("")}, "words are not one line"),
        ({"change": _words("  ")}, "words are not one line"),
        ({"change": _words("a\nb")}, "words are not one line"),
        ({"change": _words("x" * 1_001)}, "words are not one line"),
        ({"change": lambda fields: fields.update(v="pgnotary/decision/1")}, "document of format"),
        ({"change": lambda fields: fields.update(more=1)}, "missing or unknown fields"),
        ({"change": lambda fields: fields.update(ledger="shop.example/other")}, "of the ledger"),
        ({"change": lambda fields: fields.update(decision="00" * 32)}, "no such decision"),
        ({"change": lambda fields: fields.update(request="R-2")}, "no such decision"),
        ({"change": _words("another")}, "the entry says words"),
        ({"reviewer": "dan", "key": "SHA256:x"}, "the entry names the key"),
        ({"seen": Seen(5, bytes(32))}, "not between #5 and here"),
        ({"seen": Seen(99, bytes(32))}, "not between #5 and here"),
        ({"seen": Seen(8, bytes(32))}, "saw another head over 8 entries"),
    ],
)
def test_a_review_that_is_none_is_found_at_its_place(more: dict[str, Any], told: str) -> None:
    ledger, decision = broken()
    ledger.review(decision, **more)
    found = faults(ledger)
    assert {fault.split()[0] for fault in found} == {"#9"}
    assert any(told in fault for fault in found), found


def test_who_broke_it_does_not_review_it_under_another_name_either() -> None:
    ledger, decision = broken()
    renamed = roster_text("ana", "bo", "cy", "dan").replace("ana ", "zoe ")
    ledger.append(Draft(EntryType.ROSTER, {"allowed_signers": renamed}))
    ledger.review(decision, reviewer="zoe", signed_by="ana")
    assert any("zoe has broken the glass for R-1" in fault for fault in faults(ledger))


def test_who_asked_does_not_review_it() -> None:
    ledger, decision = broken("dan")
    ledger.review(decision, reviewer="dan")
    assert faults(ledger) == ["#9 dan asked for R-1: somebody else must review it"]


def test_nothing_is_reviewed_twice_nor_what_needed_nobody_alone() -> None:
    ledger, decision = broken()
    ledger.review(decision)
    ledger.review(decision, reviewer="dan")
    assert [fault.split()[0] for fault in faults(ledger)] == ["#10"]
    ledger = asked()
    approved = ledger.decide("R-1", approver="ana")
    ledger.review(approved)
    assert [fault.split()[0] for fault in faults(ledger)] == ["#6"]


def test_a_review_belongs_to_no_life() -> None:
    ledger, decision = broken()
    ledger.review(decision)
    ledger.edit(9, lambda fields: fields.update(request="R-1"))
    ledger.relink()
    assert "#9 an entry of type reviewed belongs to no request, but names one" in faults(ledger)


def test_nobody_breaks_it_again_who_was_not_reviewed_within_a_day() -> None:
    for hours, again, found in ((25, "ana", {"#11"}), (23, "ana", set()), (25, "bo", set())):
        ledger, _ = broken()
        ledger.wait(hours * 3_600)
        ledger.ask("R-2", break_glass=["ana", "bo"])
        ledger.preview("R-2")
        ledger.decide("R-2", BREAK, approver=again)
        if found:
            assert {fault.split()[0] for fault in faults(ledger)} == found
        else:
            assert len(verified(ledger).lacks) == 2


def test_who_broke_it_does_not_break_it_again_under_another_name_either() -> None:
    ledger, _ = broken()
    ledger.wait(25 * 3_600)
    ledger.append(Draft(EntryType.ROSTER, {"allowed_signers": roster_text("ana", "bo").replace("ana ", "zoe ")}))
    ledger.ask("R-2", break_glass=["zoe", "bo"])
    ledger.preview("R-2")
    ledger.decide("R-2", BREAK, approver="zoe", signed_by="ana")
    assert {fault.split()[0] for fault in faults(ledger)} == {"#12"}


def test_what_waits_for_a_review_is_not_redacted_before_it() -> None:
    ledger, decision = broken()
    ledger.redact(ledger.values(3, "statement"))
    assert "#9 R-1 is not reviewed: what it asked is still needed" in faults(ledger)
    ledger, decision = broken()
    ledger.review(decision)
    ledger.redact(ledger.values(3, "statement"))
    assert verified(ledger).redacted == 1


def test_no_ledger_is_cut_behind_what_waits_for_a_review() -> None:
    ledger, decision = broken()
    with pytest.raises(NotCanonical, match="a cut behind R-1, whose broken glass nobody had reviewed"):
        base_behind(ledger.entries(), VKEY, None)
    ledger.review(decision)
    base_behind(ledger.entries(), VKEY, None)


def test_a_void_one_waits_for_its_review_too() -> None:
    ledger = asked()
    ledger.decide("R-1", BREAK, approver="ana")
    ledger.step(EntryType.VOID, "R-1", why="role is another")
    assert len(verified(ledger).lacks) == 1

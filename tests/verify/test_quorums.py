"""Quorums in a ledger: the right people, each once, in their groups; whatever else was made to look like that."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.verify.builder import VKEY, Ledger, roster_text

from pgnotary.errors import LedgerBroken
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.ceiling import Ceiling
from pgnotary.verify.checklist import Summary, verify

DBA: dict[str, JSON] = {"count": 2, "group": "dba", "people": ["ana", "bo"]}
OWNERS: dict[str, JSON] = {"count": 1, "group": "owners", "people": ["cy", "Ana"]}
TWO_AND_ONE: dict[str, Any] = {"needs": 3, "quorum": [DBA, OWNERS]}


def asked(person: str = "eva", **needed: Any) -> Ledger:
    """A request that needs two of dba and one of owners, with its preview at #4."""
    ledger = Ledger().start("ana", "bo", "cy", "dan")
    ledger.open_session(person=person)
    ledger.ask("R-1", person=person, **(needed or TWO_AND_ONE))
    ledger.preview("R-1")
    return ledger


def verified(ledger: Ledger) -> Summary:
    entries = list(ledger.entries())
    return verify(entries, ledger.notes[-1], VKEY, ahead=entries, checkpoints=ledger.checkpoints())


def faults(ledger: Ledger) -> list[str]:
    with pytest.raises(LedgerBroken) as broken:
        verified(ledger)
    return list(broken.value.faults)


def approved() -> Ledger:
    """Approved by all three, at #5, #6 and #7, and run at #8 to #10."""
    ledger = asked()
    approvals = [
        ledger.decide("R-1", approver="ana", max_rows=2000, lacks=2),
        ledger.decide("R-1", approver="cy", ceiling=Ceiling(1300, None), lacks=1),
        ledger.decide("R-1", approver="bo", max_rows=1204),
    ]
    ledger.run("R-1", 1204, "committed", *approvals)
    return ledger


def test_three_people_are_enough_in_whatever_order() -> None:
    summary = verified(approved())
    assert (summary.decisions, summary.approvals, summary.committed) == (3, 3, 1)
    # Ana is of both groups: whoever comes later, everybody finds a place.
    ledger = asked(needs=2, quorum=[{**DBA, "count": 1}, OWNERS])
    approvals = [ledger.decide("R-1", approver="ana", lacks=1), ledger.decide("R-1", approver="bo")]
    ledger.run("R-1", 1204, "committed", *approvals)
    verified(ledger)


@pytest.mark.parametrize("kept", [("ana", "cy", "dan"), ("dan",)])
def test_who_runs_the_proxy_and_runs_what_was_revoked(kept: tuple[str, ...]) -> None:
    """The roster before the intent lacks who approved: an honest proxy would have sent nothing."""
    ledger = asked()
    approvals = [
        ledger.decide("R-1", approver="ana", max_rows=2000, lacks=2),
        ledger.decide("R-1", approver="cy", ceiling=Ceiling(1300, None), lacks=1),
        ledger.decide("R-1", approver="bo", max_rows=1204),
    ]
    ledger.roster(*kept)
    ledger.run("R-1", 1204, "committed", *approvals)
    gone = [person for person in ("ana", "cy", "bo") if person not in kept]
    found = [fault for fault in faults(ledger) if "did not count any more" in fault]
    assert [fault.partition("has run, though ")[2].partition("'s SHA256:")[0] for fault in found] == gone
    assert {fault.split()[0] for fault in found} == {"#10"}


def test_a_key_that_ended_long_before_the_intent_runs_nothing_and_a_moment_is_forgiven() -> None:
    for seconds, whole in ((30, True), (90, False)):
        ledger = asked(needs=1)
        ledger.decide("R-1", approver="ana", max_rows=2000)
        ended = f"{ledger.clock:%Y%m%d%H%M%SZ}"
        text = roster_text("ana", "bo").replace("ana namespaces=", f'ana valid-before="{ended}",namespaces=')
        ledger.append(Draft(EntryType.ROSTER, {"allowed_signers": text}))
        ledger.clock += timedelta(seconds=seconds)
        ledger.run("R-1", 1204)
        if whole:
            verified(ledger)
        else:
            assert "did not count any more" in faults(ledger)[0]


def test_a_key_that_is_put_off_until_later_runs_nothing() -> None:
    for minutes, whole in ((0, True), (1, False)):
        ledger = asked(needs=1)
        ledger.decide("R-1", approver="ana", max_rows=2000)
        begins = f"{ledger.clock + timedelta(minutes=minutes):%Y%m%d%H%M%SZ}"
        text = roster_text("ana", "bo").replace("ana namespaces=", f'ana valid-after="{begins}",namespaces=')
        ledger.append(Draft(EntryType.ROSTER, {"allowed_signers": text}))
        ledger.run("R-1", 1204)
        if whole:
            verified(ledger)
        else:
            assert "did not count any more" in faults(ledger)[0]


def test_what_was_revoked_and_rolled_back_before_it_ran_is_no_fault() -> None:
    """The roster may come between the last look at it and the intent: then nothing is sent."""
    ledger = asked(needs=1)
    ledger.decide("R-1", approver="ana", max_rows=2000)
    ledger.roster("bo")
    ledger.step(
        EntryType.INTENT, "R-1", xid="771", timeline=1, upstream_pid=4711,
        system_identifier="7400000000000000001", where="wrapped",
    )  # fmt: skip
    ledger.step(EntryType.OUTCOME, "R-1", result="rolled-back", xid="771")
    assert verified(ledger).rolled_back == 1


def test_a_request_that_is_not_approved_by_enough_stays_held() -> None:
    ledger = asked()
    ledger.decide("R-1", approver="ana", lacks=2)
    ledger.decide("R-1", approver="cy", lacks=1)
    assert verified(ledger).open == ("R-1",)
    ledger.step(EntryType.EXPIRED, "R-1")
    assert verified(ledger).open == ()


def test_one_denial_ends_it_behind_approvals_too() -> None:
    ledger = asked()
    ledger.decide("R-1", approver="ana", lacks=2)
    ledger.decide("R-1", "deny", approver="ana")
    assert verified(ledger).denials == 1
    ledger = asked()
    ledger.decide("R-1", "deny", approver="dan")
    assert faults(ledger) == ["#5 R-1: dan is in none of the groups that it needs"]


def test_more_rows_than_the_least_of_all_approvals_are_found() -> None:
    ledger = asked()
    approvals = [
        ledger.decide("R-1", approver="ana", max_rows=2000, lacks=2),
        ledger.decide("R-1", approver="cy", max_rows=1203, lacks=1),
        ledger.decide("R-1", approver="bo"),
    ]
    ledger.run("R-1", 1204, "committed", *approvals)
    assert [fault.split()[0] for fault in faults(ledger)] == ["#10"]


def _ana_twice(ledger: Ledger) -> None:
    ledger.decide("R-1", approver="ana", lacks=2)
    ledger.decide("R-1", approver="ana", lacks=1)


def _nobody_of_it(ledger: Ledger) -> None:
    ledger.decide("R-1", approver="ana", lacks=2)
    ledger.decide("R-1", approver="dan", lacks=2)


def _one_too_many(ledger: Ledger) -> None:
    # Ana sits for owners as well as for dba, bo and cy take the rest: cy is good for nothing more.
    ledger.decide("R-1", approver="cy", lacks=2)
    ledger.decide("R-1", approver="cy", lacks=1)


@pytest.mark.parametrize("attack", [_ana_twice, _nobody_of_it, _one_too_many])
def test_an_approval_that_is_good_for_nothing_is_found(attack: Callable[[Ledger], None]) -> None:
    ledger = asked()
    attack(ledger)
    assert {fault.split()[0] for fault in faults(ledger)} == {"#6"}


def test_an_attacker_with_the_proxys_key_cannot_say_that_two_approvals_were_enough() -> None:
    ledger = asked()
    approvals = [ledger.decide("R-1", approver="ana", lacks=2), ledger.decide("R-1", approver="bo")]
    ledger.run("R-1", 1204, "committed", *approvals)
    assert faults(ledger) == [
        "#6 R-1: says that it lacks None approvals, by those before it that is 1",
        "#7 R-1: sent with 2 approvals, it needs 3",
    ]


def test_nor_that_the_one_who_asked_is_one_of_them() -> None:
    ledger = asked("ana")
    ledger.decide("R-1", approver="ana", lacks=2)
    assert faults(ledger) == ["#5 R-1: ana asked for it: somebody else must decide"]


def test_nor_lower_what_was_asked_for_afterwards() -> None:
    ledger = approved()
    ledger.edit(3, lambda fields: fields["body"]["quorum"][0].update(count=1, people=["ana", "bo"]))
    ledger.edit(3, lambda fields: fields["body"].update(needs=2))
    ledger.relink()
    # Each approval names the leaf of what it was asked, and the intent those of the approvals.
    assert {fault.split()[0] for fault in faults(ledger)} == {"#5", "#6", "#7", "#8"}


def test_nor_run_it_beside_what_was_approved() -> None:
    ledger = asked()
    ledger.decide("R-1", approver="ana", lacks=2)
    ledger.run("R-1")
    found = faults(ledger)
    assert {fault.split()[0] for fault in found} == {"#6"}
    assert "#6 R-1 is held: intent cannot follow" in found


def test_an_intent_names_the_approvals_that_it_has() -> None:
    ledger = approved()
    ledger.edit(8, lambda fields: fields["body"]["approvals"].pop())
    ledger.relink()
    assert "#8 R-1: names other approvals than it has" in faults(ledger)


@pytest.mark.parametrize(
    "needed",
    [
        {"needs": 0},
        {"needs": 17},
        {"needs": "2"},
        {"needs": True},
        {"needs": 2, "quorum": [DBA, OWNERS]},
        {"needs": 4, "quorum": [DBA, DBA]},
        {"needs": 1, "quorum": []},
        {"needs": 1, "quorum": "dba"},
        {"needs": 1, "quorum": [{"count": 1, "group": "dba"}]},
        {"needs": 1, "quorum": [{"count": 1, "group": "anyone", "people": ["ana"]}]},
        {"needs": 1, "quorum": [{"count": 0, "group": "dba", "people": ["ana"]}, {"count": 1, "group": "anyone"}]},
        {"needs": 1, "quorum": [{"count": True, "group": "dba", "people": ["ana"]}]},
        {"needs": 1, "quorum": [{"count": 1, "group": 7, "people": ["ana"]}]},
        {"needs": 1, "quorum": [{"count": 1, "group": "dba", "people": ["ana", "ANA"]}]},
        {"needs": 1, "quorum": [{"count": 1, "group": "dba", "people": []}]},
        {"needs": 1, "quorum": [{"count": 1, "group": "dba", "people": [7]}]},
        {"needs": 1, "quorum": [{"count": 1, "group": "dba", "people": ["ana"], "or": "bo"}]},
        {"needs": 1, "break_glass": []},
        {"needs": 1, "break_glass": "ana"},
        {"needs": 1, "break_glass": ["ana", "Ana"]},
    ],
)
def test_what_nobody_can_read_is_no_quorum_and_nothing_is_enough(needed: dict[str, Any]) -> None:
    ledger = asked(**needed)
    ledger.decide("R-1", approver="ana")
    ledger.run("R-1")
    assert {fault.split()[0] for fault in faults(ledger)} >= {"#3", "#6"}


def test_two_of_anybody_are_two_people() -> None:
    ledger = asked(needs=2, quorum=[{"count": 2, "group": "anyone"}])
    approvals = [ledger.decide("R-1", approver="dan", lacks=1), ledger.decide("R-1", approver="ana")]
    ledger.run("R-1", 1204, "committed", *approvals)
    verified(ledger)


def _other_format(version: int) -> Callable[[dict[str, Any]], None]:
    return lambda fields: fields.update(v=f"pgnotary/entry/{version}")


@pytest.mark.parametrize(("place", "version"), [(3, 1), (5, 1), (7, 2), (8, 1), (9, 2), (3, 3)])
def test_an_entry_is_of_the_format_that_has_what_it_says_and_of_no_other(place: int, version: int) -> None:
    ledger = approved()
    ledger.edit(place, _other_format(version))
    ledger.relink()
    assert any(fault.startswith(f"#{place} cannot be read: entry of ") for fault in faults(ledger))

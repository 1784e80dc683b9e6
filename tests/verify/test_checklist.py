"""Whole ledgers that have no fault, what their summary says, and what is a note and no fault."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.listed import forwarded_body
from tests.verify.builder import LEDGER, SEEDS, VKEY, Ledger, one_approval, public_of, roster_text

from pgnotary.errors import BadCheckpoint, LedgerBroken
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.ledger.executions import Alike
from pgnotary.request.openssh import fingerprint
from pgnotary.request.roster import parse_roster
from pgnotary.verify.checklist import Summary, verify


def verified(ledger: Ledger) -> Summary:
    return verify(ledger.entries(), ledger.notes[-1], VKEY, ahead=ledger.entries(), checkpoints=ledger.checkpoints())


def open_ledger() -> Ledger:
    ledger = Ledger().start()
    ledger.open_session()
    return ledger


def asked(request: str = "R-1") -> Ledger:
    ledger = open_ledger()
    ledger.ask(request)
    ledger.preview(request)
    return ledger


def test_a_ledger_as_it_should_be_has_no_fault_and_is_summed_up() -> None:
    ledger = one_approval()
    found = verified(ledger)
    assert (found.ledger, found.entries, found.checkpoints) == (LEDGER, 12, 12)
    assert (found.decisions, found.approvals, found.denials) == (1, 1, 0)
    assert (found.executions, found.committed, found.forwarded) == (1, 1, 1)
    assert (found.opened, found.withheld, found.rosters, found.requests) == (3, 0, 1, 1)
    assert (found.unknown, found.never_run, found.open, found.notes) == ((), (), (), ())
    assert found.last == ledger.clock


def test_an_empty_ledger_needs_a_signed_checkpoint_over_nothing() -> None:
    ledger = Ledger()
    assert verify([], ledger.sign(), VKEY, ahead=[]).entries == 0
    with pytest.raises(LedgerBroken):
        verify([], one_approval().notes[-1], VKEY, ahead=[])


def test_a_checkpoint_over_nothing_may_be_kept_before_the_first_entry() -> None:
    ledger = one_approval()
    ledger.notes.insert(0, ledger.sign(0))
    assert verified(ledger).checkpoints == 13


def test_a_key_that_is_no_key_is_the_callers_mistake() -> None:
    ledger = one_approval()
    with pytest.raises(BadCheckpoint):
        verify(ledger.entries(), ledger.notes[-1], "no key", ahead=ledger.entries())


def test_withheld_values_are_counted_and_no_fault() -> None:
    ledger = one_approval()
    for stored in ledger.stored:
        stored.opened.clear()
    found = verified(ledger)
    assert (found.opened, found.withheld) == (0, 3)


def test_a_request_that_still_waits_is_listed_and_no_fault() -> None:
    assert verified(asked()).open == ("R-1",)


@pytest.mark.parametrize(
    ("end", "never_run", "unknown", "open_"),
    [
        (lambda each: each.step(EntryType.WITHDRAWN, "R-1", by="cancel"), (), (), ()),
        (lambda each: each.step(EntryType.EXPIRED, "R-1"), (), (), ()),
        (lambda each: each.step(EntryType.ORPHANED, "R-1", why="the proxy stopped"), (), (), ()),
        (lambda each: each.decide("R-1", "deny"), (), (), ()),
        (lambda each: each.decide("R-1"), ("R-1",), (), ("R-1",)),
        (lambda each: each.decide("R-1") and each.step(EntryType.VOID, "R-1", why="moved"), ("R-1",), (), ()),
        (lambda each: each.decide("R-1") and each.run("R-1", result="rolled-back"), (), (), ()),
        (lambda each: each.decide("R-1") and each.run("R-1", result="unknown"), (), ("R-1",), ()),
    ],
)
def test_every_way_that_a_request_can_go_is_legal(
    end: Callable[[Ledger], object], never_run: tuple[str, ...], unknown: tuple[str, ...], open_: tuple[str, ...]
) -> None:
    ledger = asked()
    end(ledger)
    found = verified(ledger)
    assert (found.never_run, found.unknown, found.open) == (never_run, unknown, open_)


def test_a_failed_statement_ends_without_having_been_executed() -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771", where="wrapped")
    ledger.step(EntryType.OUTCOME, "R-1", result="failed", sqlstate="23503")
    assert verified(ledger).open == ()


def test_a_request_without_a_preview_may_be_withdrawn() -> None:
    ledger = open_ledger()
    ledger.ask("R-1")
    ledger.step(EntryType.WITHDRAWN, "R-1", by="client-gone")
    assert verified(ledger).open == ()


def test_an_unknown_outcome_may_be_resolved_later() -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.run("R-1", result="unknown")
    ledger.step(EntryType.OUTCOME, "R-1", result="resolved", fate="committed", xid="771")
    found = verified(ledger)
    assert (found.unknown, found.committed) == ((), 1)


def prepared(ledger: Ledger) -> Ledger:
    """R-1 waits prepared as x."""
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771", where="block")
    ledger.step(EntryType.EXECUTED, "R-1", rows=1204, tags=["DELETE 1204"])
    ledger.step(EntryType.ENDING, "R-1", action="prepare-transaction", xid="771", gid="x")
    ledger.step(EntryType.OUTCOME, "R-1", result="prepared", xid="771", gid="x")
    return ledger


def test_what_waits_prepared_is_listed_and_is_no_fault() -> None:
    found = verified(prepared(asked()))
    assert (found.prepared, found.open, found.unknown) == (("R-1",), (), ())
    assert (found.executions, found.committed) == (1, 0)


@pytest.mark.parametrize(
    "end",
    [
        {"result": "committed", "rows": 1204, "gid": "x"},
        {"result": "rolled-back", "gid": "x"},
        {"result": "resolved", "fate": "committed"},
    ],
)
def test_what_was_prepared_ends_by_its_name(end: dict[str, JSON]) -> None:
    ledger = prepared(asked())
    action = "rollback-prepared" if end["result"] == "rolled-back" else "commit-prepared"
    ledger.step(EntryType.ENDING, "R-1", action=action, xid="771", gid="x", through="S-00000002")
    ledger.step(EntryType.OUTCOME, "R-1", xid="771", **end)
    found = verified(ledger)
    assert (found.prepared, found.committed) == ((), int(action == "commit-prepared"))


@pytest.mark.parametrize(
    ("step", "body", "fault"),
    [
        (EntryType.ENDING, {"action": "commit-prepared", "gid": "y"}, "prepared as 'x', ended as 'y'"),
        (EntryType.OUTCOME, {"result": "committed", "rows": 1204, "gid": "y"}, "prepared as 'x', ended as 'y'"),
        (EntryType.ENDING, {"action": "commit"}, "is prepared: ending cannot follow"),
        (EntryType.OUTCOME, {"result": "committed", "rows": 1205, "gid": "x"}, "the outcome says 1205 rows"),
        (EntryType.OUTCOME, {"result": "failed", "gid": "x"}, "is prepared: outcome (failed) cannot follow"),
    ],
)
def test_what_was_prepared_cannot_end_otherwise(step: EntryType, body: dict[str, JSON], fault: str) -> None:
    ledger = prepared(asked())
    ledger.step(step, "R-1", xid="771", **body)
    with pytest.raises(LedgerBroken) as broken:
        verified(ledger)
    assert fault in str(broken.value.faults)


def test_nothing_is_prepared_without_a_name() -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.EXECUTED, "R-1", rows=1204, tags=["DELETE 1204"])
    ledger.step(EntryType.OUTCOME, "R-1", result="prepared", xid="771")
    with pytest.raises(LedgerBroken) as broken:
        verified(ledger)
    assert "prepared without a name" in str(broken.value.faults)


def test_only_what_is_prepared_ends_by_a_name() -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.EXECUTED, "R-1", rows=1204, tags=["DELETE 1204"])
    ledger.step(EntryType.ENDING, "R-1", action="commit-prepared", xid="771", gid="x")
    with pytest.raises(LedgerBroken) as broken:
        verified(ledger)
    assert "is executed: ending cannot follow" in str(broken.value.faults)


def test_endings_of_the_clients_transaction_stand_between_execution_and_outcome() -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771", where="block")
    ledger.step(EntryType.EXECUTED, "R-1", rows=5, tags=["DELETE 5"], took_us=1)
    ledger.step(EntryType.ENDING, "R-1", action="rollback-to", xid="771", savepoint="a")
    ledger.step(EntryType.ENDING, "R-1", action="commit", xid="771")
    ledger.step(EntryType.OUTCOME, "R-1", result="committed", rows=5)
    assert verified(ledger).committed == 1


def test_what_a_start_settles_after_a_crash_names_no_session() -> None:
    ledger = asked()
    last = ledger.last["R-1"].leaf
    ledger.append(Draft(EntryType.ORPHANED, {"why": "the proxy stopped"}, None, "R-1", last))
    assert verified(ledger).open == ()


def test_requests_of_two_sessions_interleave() -> None:
    ledger = open_ledger()
    ledger.open_session("S-00000002", "ivo")
    ledger.ask("R-2", person="ivo", session="S-00000002")
    ledger.ask("R-1")
    ledger.preview("R-2")
    ledger.preview("R-1")
    ledger.decide("R-1", approver="ana")
    ledger.decide("R-2", "deny")
    ledger.run("R-1")
    assert verified(ledger).decisions == 2


def test_the_roster_that_counts_is_the_one_in_force_at_the_decision() -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.run("R-1")
    ledger.roster("ana")
    assert verified(ledger).rosters == 2


def test_a_pinned_roster_stands_above_those_of_the_ledger() -> None:
    ledger = one_approval()
    entries, note = list(ledger.entries()), ledger.notes[-1]
    assert verify(entries, note, VKEY, ahead=entries, roster=parse_roster(roster_text("ana", "bo"))).decisions == 1
    with pytest.raises(LedgerBroken) as broken:
        verify(entries, note, VKEY, ahead=entries, roster=parse_roster(roster_text("ana")))
    assert broken.value.faults[0].startswith("#6 R-1: nobody on the roster")


def test_a_rejected_decision_stands_beside_the_life_of_its_request() -> None:
    ledger = asked()
    ledger.decide("R-1", approver="mallory", type_=EntryType.REJECTED)
    ledger.decide("R-1")
    ledger.decide("R-1", "deny", approver="ana", type_=EntryType.REJECTED)
    ledger.run("R-1")
    ledger.decide("R-1", "deny", approver="ana", type_=EntryType.REJECTED)
    found = verified(ledger)
    assert (found.rejected, found.decisions, found.notes) == (3, 1, ())


def test_a_rejected_decision_that_was_valid_is_noted() -> None:
    ledger = asked()
    ledger.decide("R-1", "deny", type_=EntryType.REJECTED)
    ledger.step(EntryType.EXPIRED, "R-1")
    assert verified(ledger).notes == ("#5 R-1: a decision that is valid by itself was rejected: too late",)


def test_a_decision_after_its_time_is_noted() -> None:
    ledger = asked()
    ledger.wait(901).decide("R-1")
    assert verified(ledger).notes == ("#5 R-1: decided 4.0 s after it should have expired",)


def test_a_commit_without_a_row_count_is_none_of_our_business_without_a_ceiling() -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.EXECUTED, "R-1", tags=["TRUNCATE TABLE"], took_us=1)
    ledger.step(EntryType.OUTCOME, "R-1", result="committed")
    assert verified(ledger).notes == ()


def test_an_empty_ledger_says_that_nothing_is_in_it() -> None:
    assert verify([], Ledger().sign(), VKEY, ahead=[]).notes == ("#0 is still to come: nothing is in this ledger",)


def test_every_change_of_the_roster_is_noted_with_its_fingerprints() -> None:
    ledger = open_ledger()
    ledger.roster("ana", "bo")
    ledger.roster("ana", "mallory")
    ledger.append(Draft(EntryType.ROSTER, {"allowed_signers": roster_text("ana", "mallory").replace("ana", "anna")}))
    swapped = roster_text("bo").replace("bo ", "mallory ")
    ledger.append(Draft(EntryType.ROSTER, {"allowed_signers": swapped}))
    ana, bo, mallory = (fingerprint(public_of(SEEDS[each])) for each in ("ana", "bo", "mallory"))
    assert verified(ledger).notes == (
        f"#4 the roster changed: bo: {bo} removed",
        f"#4 the roster changed: mallory: {mallory} added",
        f"#5 the roster changed: ana: {ana} removed",
        f"#5 the roster changed: anna: {ana} added",
        f"#6 the roster changed: anna: {ana} removed",
        f"#6 the roster changed: mallory: {mallory} replaced by {bo}",
    )


def test_a_key_that_may_sign_for_another_while_is_a_change_of_the_roster() -> None:
    ledger = open_ledger()
    text = roster_text("ana", "bo").replace('bo namespaces="', 'bo valid-before="20990101Z",namespaces="')
    ledger.append(Draft(EntryType.ROSTER, {"allowed_signers": text}))
    (note,) = verified(ledger).notes
    assert note.startswith(f"#3 the roster changed: bo: {fingerprint(public_of(SEEDS['bo']))} may sign otherwise")
    assert 'valid-before="20990101000000Z"' in note


@pytest.mark.parametrize(
    ("off", "words"),
    [
        (timedelta(hours=2), "decided at 2026-11-20 11:00:05+00:00 by bo's clock, recorded at"),
        (timedelta(hours=-2), "decided at 2026-11-20 07:00:05+00:00 by bo's clock, recorded at"),
        (timedelta(seconds=-10), "by bo's clock, before it was asked for"),
    ],
)
def test_a_decision_by_a_clock_far_off_is_noted(off: timedelta, words: str) -> None:
    ledger = asked()
    ledger.decide("R-1", decided_at=ledger.clock + off)
    (note,) = verified(ledger).notes
    assert note.startswith("#5 R-1: ")
    assert words in note


def test_what_was_sent_adds_up_by_how_it_ended() -> None:
    ledger = open_ledger()
    for n, result in enumerate(("committed", "rolled-back", "failed", "unknown", "unknown", "unknown"), 1):
        ledger.ask(f"R-{n}")
        ledger.preview(f"R-{n}")
        ledger.decide(f"R-{n}")
        ledger.step(EntryType.INTENT, f"R-{n}", xid="771")
        if result == "committed":
            ledger.step(EntryType.EXECUTED, f"R-{n}", rows=1, tags=["DELETE 1"], took_us=1)
        ledger.step(EntryType.OUTCOME, f"R-{n}", result=result)
    ledger.step(EntryType.OUTCOME, "R-4", result="resolved", fate="committed")
    ledger.step(EntryType.OUTCOME, "R-5", result="resolved", fate="rolled-back")
    found = verified(ledger)
    assert (found.executions, found.committed, found.rolled_back, found.failed) == (6, 2, 2, 1)
    assert found.unknown == ("R-6",)


def test_refused_statements_are_not_counted_as_forwarded() -> None:
    ledger = open_ledger()
    executions = [(1, Alike(kind="select", verdict=verdict)) for verdict in ("forward", "refuse", "forward")]
    body = forwarded_body(executions, ledger.clock)
    ledger.append(Draft(EntryType.FORWARDED, body, session="S-00000001", sealed={"t1": b"select 1"}))
    assert (verified(ledger).forwarded, verified(ledger).refused) == (2, 1)


def test_what_a_summary_counts_was_forwarded() -> None:
    ledger = open_ledger()
    ledger.forward("select 1")
    ledger.sum_up(ledger.summary("insert", executions=2), ledger.summary("select", executions=2**52))
    ledger.close_session(forwarded=2**52 + 3, held=0)
    found = verified(ledger)
    assert (found.forwarded, found.counted, found.notes) == (2**52 + 3, 2**52 + 2, ())


def test_a_forwarded_entry_that_counts_in_no_form_is_a_fault() -> None:
    ledger = open_ledger()
    ledger.sum_up(ledger.summary(executions=0))
    with pytest.raises(LedgerBroken) as broken:
        verified(ledger)
    assert broken.value.faults == ("#3 a summary of nothing",)


def test_a_session_that_forwarded_more_than_the_ledger_has_is_noted() -> None:
    ledger = open_ledger()
    ledger.close_session(forwarded=3, held=0)
    assert verified(ledger).notes == ("#3 S-00000001 is closed with 3 forwarded, 0 of them are in the ledger",)


def test_a_session_may_be_opened_under_an_old_name_once_the_proxy_has_started_again() -> None:
    ledger = open_ledger()
    ledger.start()
    ledger.open_session(person="ivo")
    assert verified(ledger).notes == ()

"""Everything that can be done to a ledger after the fact, and that each of it is found, at the right place.

Two adversaries: one who can write the files and has no key, and one who runs the proxy and can link and sign all anew.
The second is stopped by what approvers signed, and by checkpoints that somebody remembers.
"""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.listed import forwarded_body
from tests.verify.builder import LEDGER, SEEDS, VKEY, Ledger, one_approval, roster_text

from pgnotary.errors import LedgerBroken
from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.canonical import b64
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.ledger.executions import Alike
from pgnotary.ledger.tree import leaf_hash, root_of
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Seen
from pgnotary.store import StoredEntry
from pgnotary.verify.checklist import verify

WHOLE = one_approval()
REQUEST, PREVIEW, DECISION, INTENT, EXECUTED, OUTCOME = range(4, 10)

READ = Alike(kind="select", verdict="forward", tag="SELECT 1", rows=1)


def faults(ledger: Ledger, newest: str | None = None) -> tuple[str, ...]:
    with pytest.raises(LedgerBroken) as broken:
        verify(
            ledger.entries(), newest or ledger.notes[-1], VKEY, ahead=ledger.entries(), checkpoints=ledger.checkpoints()
        )
    assert all(fault.startswith("#") for fault in broken.value.faults)
    return broken.value.faults


def places(found: tuple[str, ...]) -> set[int]:
    return {int(fault.split()[0][1:]) for fault in found}


@pytest.fixture
def ledger() -> Ledger:
    return copy.deepcopy(WHOLE)


def asked(**changes: Any) -> Ledger:
    ledger = Ledger().start("ana", "bo")
    ledger.open_session(person=changes.get("person", "eva"))
    ledger.ask("R-1", **changes)
    ledger.preview("R-1")
    return ledger


# Without a key.


@pytest.mark.parametrize("place", range(12))
@pytest.mark.parametrize(
    "every", [pytest.param(1, marks=pytest.mark.long, id="every"), pytest.param(6, id="every-6th")]
)
def test_every_single_byte_that_changes_is_found_at_its_entry(place: int, every: int) -> None:
    stored = list(WHOLE.stored)
    raw, opened = stored[place].raw, stored[place].opened
    for position in range(place % every, len(raw), every):
        for flip in (0x01, 0x80) if every == 1 else (0x01,):
            changed = bytearray(raw)
            changed[position] ^= flip
            stored[place] = StoredEntry(bytes(changed), opened)
            with pytest.raises(LedgerBroken) as broken:
                verify(stored, WHOLE.notes[-1], VKEY, ahead=stored)
            assert place in places(broken.value.faults)


@pytest.mark.parametrize("place", [3, 4])
def test_every_single_byte_of_an_opened_value_or_its_salt_that_changes_is_found(place: int, ledger: Ledger) -> None:
    raw = ledger.stored[place].raw
    for name, (salt, value) in ledger.stored[place].opened.items():
        for position in range(len(salt + value)):
            changed = bytearray(salt + value)
            changed[position] ^= 1
            opened = {name: (bytes(changed[:32]), bytes(changed[32:]))}
            ledger.stored[place] = StoredEntry(raw, opened)
            assert places(faults(ledger)) == {place}


def test_every_single_byte_of_the_newest_checkpoint_that_changes_is_found(ledger: Ledger) -> None:
    note = ledger.notes[-1].encode()
    for position in range(len(note)):
        changed = bytearray(note)
        changed[position] ^= 1
        assert faults(ledger, changed.decode(errors="replace"))


@pytest.mark.parametrize("place", range(12))
def test_an_entry_that_is_dropped_is_missed(place: int, ledger: Ledger) -> None:
    del ledger.stored[place]
    assert {place, max(0, place - 1)} & places(faults(ledger))


@pytest.mark.parametrize("place", range(11))
def test_two_neighbours_that_are_swapped_are_found(place: int, ledger: Ledger) -> None:
    stored = ledger.stored
    stored[place], stored[place + 1] = stored[place + 1], stored[place]
    assert place in places(faults(ledger))


@pytest.mark.parametrize("place", range(12))
def test_an_entry_that_stands_twice_is_found(place: int, ledger: Ledger) -> None:
    ledger.stored.insert(place, ledger.stored[place])
    assert place + 1 in places(faults(ledger))


@pytest.mark.parametrize("kept", range(12))
def test_a_cut_tail_is_missed_if_the_old_checkpoint_is_kept(kept: int, ledger: Ledger) -> None:
    newest = ledger.notes[-1]
    del ledger.stored[kept:]
    del ledger.notes[kept:]
    assert faults(ledger, newest) == (
        f"#{kept} and what follows is missing: a checkpoint covers 12 entries, here are {kept}",
    )


def test_an_entry_behind_the_newest_checkpoint_is_not_covered(ledger: Ledger) -> None:
    ledger.append(Draft(EntryType.STARTED, {"version": "0.1"}))
    ledger.notes.pop()
    assert faults(ledger) == ("#12 is not covered: the newest checkpoint ends at 12 of 13 entries",)


def test_an_edit_that_is_linked_anew_to_the_end_breaks_every_later_checkpoint(ledger: Ledger) -> None:
    ledger.edit(0, lambda fields: fields["body"].update(version="6.6"))
    ledger.relink(resign=False)
    found = faults(ledger)
    assert found[0].startswith("#0 the checkpoint over 1 entries gives root")
    assert found[0].endswith("so with 11 more checkpoints")


@pytest.mark.parametrize(
    ("field", "value"),
    [("ledger", "other/ledger"), ("seq", 99), ("prev", "ab" * 32), ("time", "2001-01-01T00:00:00.000000Z"), ("v", "2")],
)
@pytest.mark.parametrize("place", [1, 6, 11])
def test_a_changed_header_is_found_even_if_all_is_signed_anew(
    place: int, field: str, value: object, ledger: Ledger
) -> None:
    def change(fields: dict[str, Any]) -> None:
        fields[field] = value

    ledger.edit(place, change)
    ledger.notes = [ledger.sign(size) for size in range(1, 13)]
    assert places(faults(ledger)) & {place, place - 1}


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"[]", b"null", b'{"v":"pgnotary/entry/1"}', b"\xff", b"[" * 100_000, b'{"a":1,"a":1}', b'{"a": 1}'],
)
def test_bytes_that_are_no_entry_are_a_fault_and_no_crash(raw: bytes, ledger: Ledger) -> None:
    ledger.stored[7] = StoredEntry(raw, {})
    ledger.notes = [ledger.sign()]
    assert any(fault.startswith("#7 cannot be read") for fault in faults(ledger))


@pytest.mark.parametrize("value", [1234, True, "", "AAAA", b64(bytes(31)), b64(bytes(33)), "?"])
def test_a_seal_that_is_no_commitment_is_found(value: Any) -> None:
    ledger = Ledger().start()
    ledger.edit(1, lambda fields: fields.update(seals={"statement": value}))
    ledger.relink()
    assert sole_fault(ledger).startswith("#1 cannot be read")


def test_all_faults_are_listed_in_the_order_of_their_places(ledger: Ledger) -> None:
    for place in (2, 9, 5):
        ledger.edit(place, lambda fields: fields["body"].update(extra="x"))
    found = faults(ledger)
    assert {2, 5, 9} <= places(found)
    assert [int(fault.split()[0][1:]) for fault in found] == sorted(int(fault.split()[0][1:]) for fault in found)


def test_a_value_for_a_seal_that_the_entry_lacks_is_found(ledger: Ledger) -> None:
    ledger.stored[0].opened["statement"] = (bytes(32), b"select 1")
    assert faults(ledger) == ("#0 has no seal 'statement', but a value is kept for it",)


def test_a_value_with_a_salt_of_another_length_is_found(ledger: Ledger) -> None:
    salt, value = ledger.stored[REQUEST].opened["statement"]
    # The same bytes behind the name, cut at another place.
    ledger.stored[REQUEST].opened["statement"] = (salt + value[:1], value[1:])
    assert places(faults(ledger)) == {REQUEST}


# With the proxy's key.


def test_a_checkpoint_by_another_key_is_not_believed(ledger: Ledger) -> None:
    forged = notes.sign(notes.verify(ledger.notes[-1], VKEY), LEDGER, SEEDS["mallory"])
    assert "cannot be believed" in faults(ledger, forged)[0]


def test_a_checkpoint_of_another_ledger_under_the_same_key_is_found(ledger: Ledger) -> None:
    root = notes.verify(ledger.notes[-1], VKEY).root
    other = notes.sign(notes.Checkpoint("other/ledger", 12, root), LEDGER, bytes([1]) * 32)
    assert faults(ledger, other) == ("#11 the newest checkpoint is of 'other/ledger', not 'shop.example/ledger'",)
    ledger.notes.append(other)
    assert places(faults(ledger, WHOLE.notes[-1])) == {11}


def test_kept_checkpoints_out_of_order_are_found(ledger: Ledger) -> None:
    newest = ledger.notes[-1]
    ledger.notes[3], ledger.notes[7] = ledger.notes[7], ledger.notes[3]
    assert faults(ledger, newest) == (
        "#4 a checkpoint over 5 entries is kept behind a later one; so with 2 more checkpoints",
    )


@pytest.mark.parametrize("place", [REQUEST, PREVIEW])
@pytest.mark.parametrize("name", ["user", "database", "kind", "rule", "estimate", "search_path"])
def test_what_the_approver_saw_cannot_be_changed_by_the_proxys_owner(place: int, name: str, ledger: Ledger) -> None:
    ledger.edit(place, lambda fields: fields["body"].update({name: "x"}))
    ledger.relink()
    assert DECISION in places(faults(ledger))


def test_the_statement_cannot_be_replaced_by_the_proxys_owner(ledger: Ledger) -> None:
    other = asked(statement="DROP TABLE orders").stored[3]
    fields = json.loads(other.raw)
    ledger.edit(REQUEST, lambda mine: mine.update(seals=fields["seals"]))
    ledger.stored[REQUEST] = StoredEntry(ledger.stored[REQUEST].raw, other.opened)
    ledger.relink()
    assert any("request_leaf" in fault for fault in faults(ledger))


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_history_before_a_decision_cannot_be_rewritten_by_the_proxys_owner(place: int, ledger: Ledger) -> None:
    def change(fields: dict[str, Any]) -> None:
        fields["body"]["extra"] = "x"

    ledger.edit(place, change)
    ledger.relink()
    found = faults(ledger)
    assert DECISION in places(found)
    assert any("bo saw head" in fault and "rewritten afterwards" in fault for fault in found)


def test_history_after_the_last_decision_is_safe_only_with_a_remembered_checkpoint(ledger: Ledger) -> None:
    remembered = ledger.notes[-1]
    for place in (EXECUTED, OUTCOME):
        ledger.edit(place, lambda fields: fields["body"].update(rows=1))
    ledger.edit(EXECUTED, lambda fields: fields["body"].update(tags=["DELETE 1"]))
    ledger.relink()
    assert (
        verify(
            ledger.entries(), ledger.notes[-1], VKEY, ahead=ledger.entries(), checkpoints=ledger.checkpoints()
        ).committed
        == 1
    )
    with pytest.raises(LedgerBroken):
        verify(ledger.entries(), ledger.notes[-1], VKEY, ahead=ledger.entries(), checkpoints=[remembered])


@pytest.mark.parametrize(
    ("name", "value"),
    [("approver", "ana"), ("key", "SHA256:x"), ("answer", "deny"), ("max_rows", 999_999), ("max_rows", True)],
)
def test_what_a_decision_repeats_cannot_differ_from_what_was_signed(name: str, value: Any, ledger: Ledger) -> None:
    ledger.edit(DECISION, lambda fields: fields["body"].update({name: value}))
    ledger.relink()
    assert any(f"#{DECISION} R-1: the entry says {name}" in fault for fault in faults(ledger))


def test_a_ceiling_that_was_signed_cannot_be_left_out(ledger: Ledger) -> None:
    ledger.edit(DECISION, lambda fields: fields["body"].pop("max_rows"))
    ledger.relink()
    assert faults(ledger) == (f"#{DECISION} R-1: the entry says max_rows None, what was signed gives 2000",)


@pytest.mark.parametrize("name", ["document", "signature"])
@pytest.mark.parametrize("value", ["", "?", b64(b"{}"), 7])
def test_a_decision_without_its_evidence_does_not_count(name: str, value: Any, ledger: Ledger) -> None:
    ledger.edit(DECISION, lambda fields: fields["body"].update({name: value}))
    ledger.relink()
    found = faults(ledger)
    assert DECISION in places(found)


# What only a lying proxy would write at once, with good links and checkpoints.


def sole_fault(ledger: Ledger) -> str:
    (found,) = faults(ledger)
    return found


def test_a_decision_by_the_requester_is_found() -> None:
    ledger = asked(person="bo")
    ledger.decide("R-1", approver="bo")
    assert sole_fault(ledger) == "#5 R-1: bo asked for it: somebody else must decide"


def test_a_decision_by_a_foreign_key_is_found() -> None:
    ledger = asked()
    ledger.decide("R-1", approver="mallory")
    assert sole_fault(ledger).startswith("#5 R-1: nobody on the roster has the key")


def test_a_decision_in_the_name_of_another_approver_is_found() -> None:
    ledger = asked()
    ledger.decide("R-1", approver="ana", signed_by="bo")
    assert "signed by bo's key, but the document says ana" in sole_fault(ledger)


def test_a_signature_for_another_namespace_is_found() -> None:
    ledger = asked()
    ledger.decide("R-1", namespace="api@pgnotary")
    assert "namespace" in sole_fault(ledger)


def test_a_decision_about_another_request_is_found() -> None:
    ledger = asked()
    ledger.ask("R-2")
    ledger.preview("R-2")
    ledger.requests["R-2"], ledger.previews["R-2"] = ledger.requests["R-1"], ledger.previews["R-1"]
    ledger.decide("R-2")
    assert "request is 'R-1' in the document and 'R-2' in the request" in sole_fault(ledger)


def test_a_decision_before_any_roster_is_found() -> None:
    ledger = Ledger()
    ledger.open_session()
    ledger.ask("R-1")
    ledger.preview("R-1")
    ledger.decide("R-1")
    assert sole_fault(ledger) == "#3 R-1: no roster is in force, so nobody could have decided"


def test_a_roster_that_comes_after_the_decision_does_not_make_it_good() -> None:
    ledger = Ledger().start("ana")
    ledger.open_session()
    ledger.ask("R-1")
    ledger.preview("R-1")
    ledger.decide("R-1", approver="mallory")
    ledger.roster("ana", "mallory")
    assert places(faults(ledger)) == {5}


def test_a_roster_swapped_later_breaks_the_decisions_that_it_was_swapped_for(ledger: Ledger) -> None:
    ledger.edit(1, lambda fields: fields["body"].update(allowed_signers=roster_text("ana", "mallory")))
    ledger.relink()
    found = faults(ledger)
    assert any("nobody on the roster" in fault for fault in found)
    assert any("rewritten afterwards" in fault for fault in found)


def test_a_roster_that_cannot_be_read_is_a_fault_and_lets_nobody_decide() -> None:
    ledger = Ledger().start()
    ledger.append(Draft(EntryType.ROSTER, {"allowed_signers": "* ssh-rsa AAAA"}))
    ledger.open_session()
    ledger.ask("R-1")
    ledger.preview("R-1")
    ledger.decide("R-1")
    assert places(faults(ledger)) == {2, 6}


@pytest.mark.parametrize("answer", ["approve", "deny"])
def test_a_second_decision_is_found(answer: str) -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.decide("R-1", answer, approver="ana")
    assert sole_fault(ledger).startswith("#6 R-1 is approved: decision")


def test_nothing_follows_a_denial() -> None:
    ledger = asked()
    ledger.decide("R-1", "deny")
    ledger.run("R-1")
    assert places(faults(ledger)) == {6, 7, 8}


def test_an_intent_without_a_decision_is_found() -> None:
    ledger = asked()
    ledger.run("R-1")
    found = faults(ledger)
    assert found[0] == "#5 R-1 is held: intent cannot follow"
    assert found[1] == "#5 R-1: sent with 0 approvals, it needs 1"


def test_an_outcome_without_an_intent_is_found() -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.OUTCOME, "R-1", result="committed", rows=1)
    assert sole_fault(ledger) == "#6 R-1 is approved: outcome (committed) cannot follow"


def test_an_outcome_that_nobody_knows_is_found() -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.OUTCOME, "R-1", result="fine")
    assert sole_fault(ledger) == "#7 R-1: outcome without a known answer or result"


@pytest.mark.parametrize("action", [[], ["commit-prepared"], {}, 7, True])
def test_an_ending_whose_action_is_no_word_is_no_crash(action: Any) -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.EXECUTED, "R-1", rows=1, tags=["DELETE 1"])
    ledger.step(EntryType.ENDING, "R-1", action=action)
    assert verify(ledger.entries(), ledger.notes[-1], VKEY, ahead=ledger.entries()).open == ("R-1",)


def test_more_rows_than_were_signed_are_found() -> None:
    ledger = asked()
    ledger.decide("R-1", max_rows=1203)
    ledger.run("R-1", rows=1204)
    assert sole_fault(ledger) == "#8 R-1: committed 1204 rows, approved for at most 1203"


def test_fewer_rows_in_the_outcome_do_not_hide_what_was_executed() -> None:
    ledger = asked()
    ledger.decide("R-1", max_rows=10)
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.EXECUTED, "R-1", rows=11, tags=["DELETE 11"])
    ledger.step(EntryType.OUTCOME, "R-1", result="committed", rows=10)
    assert faults(ledger) == (
        "#8 R-1: the outcome says 10 rows, executed says 11",
        "#8 R-1: committed 11 rows, approved for at most 10",
    )


def test_more_rows_than_were_signed_may_be_rolled_back() -> None:
    ledger = asked()
    ledger.decide("R-1", max_rows=1203)
    ledger.run("R-1", rows=1204, result="rolled-back")
    assert verify(ledger.entries(), ledger.notes[-1], VKEY, ahead=ledger.entries()).committed == 0


def test_a_commit_without_a_count_under_a_signed_ceiling_is_found() -> None:
    ledger = asked()
    ledger.decide("R-1", max_rows=5)
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.EXECUTED, "R-1", tags=["TRUNCATE TABLE"], took_us=1)
    ledger.step(EntryType.OUTCOME, "R-1", result="committed")
    assert sole_fault(ledger) == "#8 R-1: committed without a row count, approved for at most 5"


def test_a_commit_above_the_ceiling_that_is_only_known_in_the_end_is_found() -> None:
    ledger = asked()
    ledger.decide("R-1", max_rows=5)
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.EXECUTED, "R-1", rows=6, tags=["DELETE 6"], took_us=1)
    ledger.step(EntryType.OUTCOME, "R-1", result="unknown", xid="771")
    ledger.step(EntryType.OUTCOME, "R-1", result="resolved", fate="committed", rows=6, xid="771")
    assert sole_fault(ledger) == "#9 R-1: committed 6 rows, approved for at most 5"


@pytest.mark.parametrize(
    ("rows", "tags", "told"),
    [
        (5, ["DELETE 6"], 6),
        (7, ["DELETE 6"], 6),
        (7, ["DELETE 6", "SELECT 0"], 6),
        (1, ["TRUNCATE TABLE"], 0),
        (1, ["DELETE " + "9" * 5000], 0),
        (1, [7], 0),
    ],
)
def test_rows_that_are_not_those_of_the_command_tags_are_found(rows: int, tags: Any, told: int) -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.EXECUTED, "R-1", rows=rows, tags=tags, took_us=1)
    assert sole_fault(ledger) == f"#7 R-1: executed says {rows} rows, its command tags count {told}"


CHANGED: list[dict[str, Any]] = [
    {"relation": "public.t", "target": True, "deleted": 6},
    {"relation": "public.child", "target": False, "deleted": 9},
]


def _changing(max_rows: int | None, others: int | None = 0, **executed: Any) -> Ledger:
    ledger = asked()
    ledger.decide("R-1", ceiling=None if max_rows is None else Ceiling(max_rows, others))
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    fields: dict[str, Any] = {"rows": 6, "other_rows": 9, "tags": ["DELETE 6"], "changed": CHANGED, "took_us": 1}
    ledger.step(EntryType.EXECUTED, "R-1", **(fields | executed))
    return ledger


@pytest.mark.parametrize(("max_rows", "others"), [(None, 0), (6, 9), (6, None), (7, 100)])
def test_rows_within_what_was_signed_are_no_fault(max_rows: int | None, others: int | None) -> None:
    ledger = _changing(max_rows, others)
    ledger.step(EntryType.OUTCOME, "R-1", result="committed", rows=6)
    assert verify(ledger.entries(), ledger.notes[-1], VKEY, ahead=ledger.entries()).committed == 1


@pytest.mark.parametrize(
    ("executed", "found"),
    [
        ({"rows": 5}, "executed says 5 rows, its command tags count 6, with its relations 6"),
        ({"rows": 7}, "executed says 7 rows, its command tags count 6, with its relations 6"),
        ({"tags": ["SELECT 1"], "rows": 1}, "executed says 1 rows, its command tags count 0, with its relations 6"),
        ({"other_rows": 8}, "executed says 8 rows in other tables, its relations count 9"),
        ({"other_rows": 10}, "executed says 10 rows in other tables, its relations count 9"),
        ({"other_rows": 8, "changed_more": 1}, "executed says 8 rows in other tables, its relations count 9"),
        ({"changed": "all"}, "what was changed is no list of relations"),
        ({"changed": [{"relation": 7}]}, "a change of a relation that does not say how many rows of what"),
        ({"changed": [{"relation": "t", "target": 1}]}, "a change of a relation that does not say"),
        ({"changed": [{"relation": "t", "target": True, "deleted": -1}]}, "a change of a relation that does not say"),
        ({"changed": [{"relation": "t", "target": True, "deleted": True}]}, "a change of a relation that does not say"),
    ],
)
def test_rows_that_are_not_those_of_the_relations_are_found(executed: dict[str, Any], found: str) -> None:
    assert sole_fault(_changing(None, **executed)).startswith(f"#7 R-1: {found}")


def test_more_rows_of_other_tables_than_were_signed_are_found() -> None:
    ledger = _changing(6, 8)
    ledger.step(EntryType.OUTCOME, "R-1", result="committed", rows=6)
    assert sole_fault(ledger) == "#8 R-1: committed 9 rows in other tables, approved for at most 8 there"


def test_a_commit_of_what_could_not_be_counted_under_a_ceiling_is_found() -> None:
    ledger = _changing(6, None, uncountable="emptied public.t")
    ledger.step(EntryType.OUTCOME, "R-1", result="committed", rows=6)
    assert sole_fault(ledger) == "#8 R-1: committed what could not be counted, approved for at most 6"


def test_what_was_more_than_was_signed_is_told_as_it_was() -> None:
    ledger = _changing(6, 8)
    exceeded = {"max_rows": 6, "max_other_rows": 8, "rows": 6, "other_rows": 9}
    ledger.step(EntryType.OUTCOME, "R-1", result="rolled-back", ceiling_exceeded=exceeded)
    assert verify(ledger.entries(), ledger.notes[-1], VKEY, ahead=ledger.entries()).rolled_back == 1


@pytest.mark.parametrize(
    ("result", "exceeded", "found"),
    [
        ("committed", {"max_rows": 6, "max_other_rows": "any", "rows": 7}, "and committed all the same"),
        ("rolled-back", {"max_rows": 6, "rows": 7}, "but not than at most 6"),
        ("rolled-back", {"max_rows": 5, "max_other_rows": "any", "rows": 7}, "but not than at most 6"),
        ("rolled-back", {"max_rows": 6, "max_other_rows": "any", "rows": 6, "other_rows": 9}, "6 rows, approved for"),
        ("rolled-back", "yes", "and no number was"),
    ],
)
def test_a_ceiling_that_was_not_exceeded_is_found(result: str, exceeded: Any, found: str) -> None:
    ledger = _changing(6, None)
    ledger.step(EntryType.OUTCOME, "R-1", result=result, ceiling_exceeded=exceeded)
    assert found in sole_fault(ledger)


def test_rows_of_harmless_parts_need_not_be_in_the_count() -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.EXECUTED, "R-1", rows=6, tags=["SELECT 2", "DELETE 6"], took_us=1)
    ledger.step(EntryType.OUTCOME, "R-1", result="committed", rows=6, xid="771")
    assert verify(ledger.entries(), ledger.notes[-1], VKEY, ahead=ledger.entries()).committed == 1


def test_an_outcome_with_other_rows_than_were_executed_is_found() -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.EXECUTED, "R-1", rows=6, tags=["DELETE 6"], took_us=1)
    ledger.step(EntryType.OUTCOME, "R-1", result="committed", rows=5, xid="771")
    assert sole_fault(ledger) == "#8 R-1: the outcome says 5 rows, executed says 6"


def test_an_outcome_of_another_transaction_is_found() -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.OUTCOME, "R-1", result="rolled-back", xid="772")
    assert sole_fault(ledger) == "#7 R-1: the outcome is of transaction '772', sent was '771'"


@pytest.mark.parametrize(
    ("result", "way", "fits"),
    [
        ("committed", "autocommit", True),
        ("committed", "outside", True),
        ("committed", "rollback-to", False),
        ("committed", "ceiling", False),
        ("committed", "nonsense", False),
        ("rolled-back", "ceiling", True),
        ("rolled-back", "commit", False),
        ("unknown", "server-lost", True),
    ],
)
def test_an_outcome_that_came_about_in_another_way_is_found(result: str, way: str, fits: bool) -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.EXECUTED, "R-1", rows=5, tags=["DELETE 5"], took_us=1)
    rows: dict[str, Any] = {"rows": 5} if result == "committed" else {}
    ledger.step(EntryType.OUTCOME, "R-1", result=result, ended=way, xid="771", **rows)
    if fits:
        verify(ledger.entries(), ledger.notes[-1], VKEY, ahead=ledger.entries())
    else:
        assert sole_fault(ledger) == f"#8 R-1: {result}, and ended by {way}"


@pytest.mark.parametrize("way", [7, True, ["commit"], {}])
def test_a_way_that_is_no_word_is_found(way: Any) -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.EXECUTED, "R-1", rows=5, tags=["DELETE 5"], took_us=1)
    ledger.step(EntryType.OUTCOME, "R-1", result="committed", ended=way, xid="771", rows=5)
    assert "committed, and ended by" in sole_fault(ledger)


@pytest.mark.parametrize("name", ["user", "person", "database", "client", "upstream_pid", "system_identifier"])
def test_a_request_by_another_than_opened_its_session_is_found(name: str) -> None:
    ledger = Ledger().start()
    ledger.open_session()
    other: dict[str, Any] = {name: 666 if name == "upstream_pid" else "other"}
    ledger.append(
        Draft(EntryType.REQUEST, {**ledger.ask("R-2").body, **other}, "S-00000001", "R-1", None, {"statement": b""})
    )
    found = sole_fault(ledger)
    assert found.startswith(f"#4 R-1: asked with {name} ")
    assert "its session was opened with" in found


def test_a_request_in_a_session_that_was_never_opened_is_found() -> None:
    ledger = Ledger().start()
    ledger.ask("R-1", session="S-0000beef")
    assert sole_fault(ledger) == "#2 R-1: asked in S-0000beef, which is not open"


@pytest.mark.parametrize(
    "end",
    [
        lambda ledger: ledger.close_session(forwarded=0, held=0),
        lambda ledger: ledger.append(Draft(EntryType.STARTED, {})),
    ],
)
def test_a_request_in_a_session_that_has_ended_is_found(end: Callable[[Ledger], object]) -> None:
    ledger = Ledger().start()
    ledger.open_session()
    end(ledger)
    ledger.ask("R-1")
    assert sole_fault(ledger) == "#4 R-1: asked in S-00000001, which is not open"


def test_a_session_that_is_opened_twice_is_found() -> None:
    ledger = Ledger().start()
    ledger.open_session()
    ledger.open_session(person="bo")
    assert sole_fault(ledger) == "#3 S-00000001 is opened again while it is open"


def test_a_session_that_is_closed_and_was_never_opened_is_found() -> None:
    ledger = Ledger().start()
    ledger.close_session()
    assert sole_fault(ledger) == "#2 S-00000001 is closed, but is not open"


def test_a_held_statement_that_is_missing_from_the_ledger_is_missed_when_its_session_is_closed() -> None:
    ledger = asked()
    ledger.close_session(forwarded=0, held=2)
    assert sole_fault(ledger) == "#5 S-00000001 is closed with 2 held, 1 of them are in the ledger"


def test_one_approval_is_not_two() -> None:
    ledger = asked(needs=2)
    ledger.decide("R-1")
    ledger.run("R-1")
    assert faults(ledger) == (
        "#5 R-1: says that it lacks None approvals, by those before it that is 1",
        "#6 R-1: sent with 1 approvals, it needs 2",
    )


def test_a_statement_sent_to_another_database_is_found() -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771", system_identifier="1", upstream_pid=4711)
    assert sole_fault(ledger) == "#6 R-1: sent to the database '1', asked for '7400000000000000001'"


def test_a_statement_sent_over_another_connection_is_found() -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771", upstream_pid=666)
    assert sole_fault(ledger) == "#6 R-1: sent to the server process 666, asked for 4711"


def test_a_decision_that_names_a_head_of_the_future_is_found() -> None:
    ledger = asked()
    ledger.decide("R-1", seen=Seen(6, bytes(32)))
    assert sole_fault(ledger) == "#5 R-1: bo saw a ledger of 6 entries, here are 5 before it"


def test_a_decision_that_names_another_history_is_found() -> None:
    ledger = asked()
    ledger.decide("R-1", seen=Seen(5, bytes(32)))
    assert "bo saw head 00000000 over 5 entries" in sole_fault(ledger)


@pytest.mark.parametrize("size", [0, 3, 4])
def test_a_decision_whose_head_does_not_cover_what_was_shown_is_found(size: int) -> None:
    ledger = asked()
    ledger.decide("R-1", seen=Seen(size, root_of(leaf_hash(raw) for raw in ledger.raws[:size])))
    assert sole_fault(ledger) == f"#5 R-1: bo saw a ledger of {size} entries, without its preview #4"


@pytest.mark.parametrize("filler", [200, pytest.param(131_072 + 64, marks=pytest.mark.long)])
def test_filler_between_a_signed_head_and_its_decision_does_not_silence_the_head(filler: int) -> None:
    ledger = asked()
    seen = Seen(5, root_of(leaf_hash(raw) for raw in ledger.raws))
    ledger.keeps = False
    for _ in range(filler):
        ledger.forward("select 1")
    ledger.decide("R-1", seen=seen)
    assert verify(ledger.entries(), ledger.sign(), VKEY, ahead=ledger.entries()).decisions == 1
    for place in (2, 3):
        ledger.edit(place, lambda fields: fields["body"].update(person="mallory", user="mallory"))
    ledger.relink(resign=False)
    assert any("bo saw head" in fault for fault in faults(ledger, ledger.sign()))


def test_a_decision_that_stands_only_in_the_second_reading_is_found() -> None:
    ledger = asked()
    seen = Seen(5, root_of(leaf_hash(raw) for raw in ledger.raws))
    ledger.forward("select 1")
    ledger.decide("R-1", seen=seen)
    with pytest.raises(LedgerBroken, match="did not when the ledger was first read"):
        verify(ledger.entries(), ledger.notes[-1], VKEY, ahead=ledger.stored[:5])


def test_a_step_that_does_not_name_the_one_before_it_is_found() -> None:
    ledger = asked()
    ledger.last["R-1"] = ledger.requests["R-1"]
    ledger.decide("R-1")
    assert "but its last entry is" in sole_fault(ledger)


def test_nothing_continues_from_a_rejected_decision() -> None:
    ledger = asked()
    ledger.last["R-1"] = ledger.decide("R-1", approver="mallory", type_=EntryType.REJECTED)
    ledger.step(EntryType.EXPIRED, "R-1")
    assert places(faults(ledger)) == {6}


def test_a_step_in_another_session_is_found() -> None:
    ledger = asked()
    entry = ledger.last["R-1"]
    ledger.append(Draft(EntryType.EXPIRED, {}, "S-0000beef", "R-1", entry.leaf))
    assert sole_fault(ledger) == "#5 R-1: in session S-0000beef, asked in S-00000001"


def test_a_request_id_is_used_once() -> None:
    ledger = asked()
    ledger.step(EntryType.EXPIRED, "R-1")
    ledger.ask("R-1")
    assert sole_fault(ledger) == "#6 R-1 is not the id of a new request"


@pytest.mark.parametrize("type_", [EntryType.PREVIEW, EntryType.DECISION, EntryType.INTENT, EntryType.OUTCOME])
def test_a_step_of_a_request_that_nobody_made_is_found(type_: EntryType) -> None:
    ledger = Ledger().start()
    ledger.append(Draft(type_, {}, None, "R-7", bytes(32)))
    assert sole_fault(ledger).startswith(f"#2 {type_} of R-7, which is not open here")


def test_a_rejection_about_a_request_that_nobody_made_is_found() -> None:
    ledger = Ledger().start()
    ledger.append(Draft(EntryType.REJECTED, {"why": "x"}, None, "R-7", bytes(32)))
    assert sole_fault(ledger) == "#2 rejects a decision about R-7, which nobody has asked for"


def test_a_rejection_beside_a_foreign_entry_is_found() -> None:
    ledger = asked()
    ledger.append(Draft(EntryType.REJECTED, {"why": "x"}, None, "R-1", bytes(32)))
    assert "which is not of its life" in sole_fault(ledger)


def test_a_second_preview_is_found() -> None:
    ledger = asked()
    ledger.preview("R-1", exact=1)
    assert sole_fault(ledger) == "#5 R-1 is held: preview cannot follow"


@pytest.mark.parametrize("lacking", ["user", "person", "database", "kind"])
def test_a_request_that_lacks_what_is_signed_is_a_fault_and_no_crash(lacking: str) -> None:
    ledger = asked()
    ledger.decide("R-1")
    ledger.edit(3, lambda fields: fields["body"].pop(lacking))
    ledger.relink()
    found = faults(ledger)
    assert f"#3 R-1 lacks {lacking}" in found
    assert {3, 5} <= places(found)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(executions={}),
        lambda body: body.pop("executions"),
        lambda body: body.pop("since"),
        lambda body: body.update(since="yesterday"),
        lambda body: body.update(alike="select"),
        lambda body: body.update(alike=[]),
        lambda body: body.update(alike=["select"]),
        lambda body: body["executions"].pop("took_us"),
        lambda body: body["executions"].update(text=["t1"]),
        lambda body: body["executions"].update(text=[True]),
        lambda body: body["executions"].update(alike=[-1]),
        lambda body: body.update(since="9999-12-31T23:59:59.999999Z") or body["executions"].update(at_us=[1]),
        lambda body: body["executions"]["at_us"].append(0),
    ],
)
def test_a_forwarded_entry_of_another_form_is_found(change: Callable[[dict[str, Any]], None], ledger: Ledger) -> None:
    ledger.edit(3, lambda fields: change(fields["body"]))
    ledger.relink()
    assert 3 in places(faults(ledger))


def test_an_execution_whose_text_was_never_sealed_is_found() -> None:
    ledger = Ledger().start()
    ledger.open_session()
    ledger.forward("select 1")
    body = forwarded_body([(1, READ), (7, READ)], ledger.clock)
    ledger.append(Draft(EntryType.FORWARDED, body, "S-00000001"))
    assert "S-00000001 ran t7, a text that is sealed nowhere before" in sole_fault(ledger)


def test_an_entry_of_the_proxy_cannot_pretend_to_be_of_a_request() -> None:
    ledger = asked()
    ledger.append(Draft(EntryType.STOPPED, {}, None, "R-1", None))
    assert sole_fault(ledger).startswith("#5 an entry of type proxy-stopped belongs to no request")


def test_a_second_ledger_that_extends_another_head_is_found_by_whoever_saw_that_head(ledger: Ledger) -> None:
    seen_elsewhere = ledger.sign(5)
    fork = Ledger().start("ana", "bo", "mallory")
    for n in range(5):
        fork.open_session(f"S-{n}")
    with pytest.raises(LedgerBroken) as broken:
        verify(fork.entries(), fork.notes[-1], VKEY, ahead=fork.entries(), checkpoints=[seen_elsewhere])
    assert broken.value.faults[0].startswith("#4 the checkpoint over 5 entries gives root")


def test_a_storage_that_breaks_in_the_middle_still_gives_the_faults_before(ledger: Ledger) -> None:
    def torn() -> Any:
        yield from ledger.stored[:6]
        raise LedgerBroken(["the file is damaged"])

    ledger.edit(2, lambda fields: fields["body"].update(extra="x"))
    with pytest.raises(LedgerBroken) as broken:
        verify(torn(), ledger.notes[-1], VKEY, ahead=torn())
    assert {2, 6} <= places(broken.value.faults)
    assert any("the file is damaged" in fault for fault in broken.value.faults)

from datetime import timedelta
from typing import Any

import pytest
from tests.verify.builder import STATEMENT, Ledger

from pgnotary.audit.story import Story, stories
from pgnotary.errors import LedgerBroken
from pgnotary.ledger.entries import EntryType
from pgnotary.request.life import State
from pgnotary.store import StoredEntry


@pytest.fixture
def told(ledger: Ledger) -> dict[str, Story]:
    return {story.request: story for story in stories(ledger.entries())}


def test_every_request_has_its_story_in_the_order_of_asking(told: dict[str, Story]) -> None:
    assert {name: story.state for name, story in told.items()} == {
        "R-1": State.COMMITTED,
        "R-2": State.DENIED,
        "R-3": State.WITHDRAWN,
        "R-4": State.EXPIRED,
        "R-5": State.UNKNOWN,
        "R-6": State.HELD,
    }


def test_a_story_holds_what_was_asked_shown_decided_and_done(told: dict[str, Story]) -> None:
    story = told["R-1"]
    assert (story.person, story.statement, story.reason) == ("eva", STATEMENT, "PAY-2210 purge")
    assert story.preview is not None
    assert (story.preview.exact, story.preview.rows) == (1204, 1204)
    assert story.decision is not None
    assert (story.decision.approver, story.decision.max_rows) == ("bo", 2000)
    assert story.decision.reason == "backup b-771 exists"
    assert story.time_to_decision == timedelta(seconds=31)
    assert (story.rows, story.xid) == (1204, "771")
    assert [step.type for step in story.steps] == [
        EntryType.REQUEST,
        EntryType.PREVIEW,
        EntryType.DECISION,
        EntryType.INTENT,
        EntryType.EXECUTED,
        EntryType.OUTCOME,
    ]


def test_a_rejected_decision_is_told_with_who_it_claims_to_be_by(told: dict[str, Story]) -> None:
    (rejected,) = told["R-2"].rejected
    assert (rejected.claimed, rejected.why) == ("mallory", "nobody on the roster")
    assert told["R-2"].decision is not None
    assert told["R-2"].decision.approver == "ana"


def test_withheld_values_are_none_and_not_empty(ledger: Ledger) -> None:
    for stored in ledger.stored:
        stored.opened.clear()
    story = next(stories(ledger.entries()))
    assert (story.statement, story.reason) == (None, None)


def test_an_id_that_comes_twice_does_not_hide_the_first(ledger: Ledger) -> None:
    ledger.ask("R-1", statement="DROP TABLE hidden")
    assert next(stories(ledger.entries())).statement == STATEMENT


def test_a_step_without_its_request_is_left_out(ledger: Ledger) -> None:
    assert list(stories([stored for stored in ledger.entries() if b'"type":"request"' not in stored.raw])) == []


def test_a_damaged_entry_ends_the_reading_with_its_place(ledger: Ledger) -> None:
    ledger.stored[7] = StoredEntry(b"{}", {})
    with pytest.raises(LedgerBroken, match="#7 cannot be read"):
        list(stories(ledger.entries()))


@pytest.mark.parametrize("name", ["user", "kind", "relations", "why", "rule", "parts"])
def test_a_body_with_other_types_than_ours_is_told_without_them(name: str) -> None:
    ledger = Ledger()
    changes: dict[str, Any] = {name: 7}
    ledger.ask("R-1", **changes)
    (story,) = stories(ledger.entries())
    assert story.request == "R-1"


@pytest.mark.parametrize(
    ("result", "fate", "rows"),
    [
        ("committed", None, 1204),
        ("resolved", "committed", 1204),
        ("resolved", "rolled-back", 0),
        ("rolled-back", None, 0),
        ("failed", None, 0),
        ("unknown", None, None),
        ("prepared", None, None),
    ],
)
def test_rows_are_what_was_changed_for_good_and_none_if_nobody_knows(
    result: str, fate: str | None, rows: int | None
) -> None:
    ledger = Ledger()
    ledger.ask("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.EXECUTED, "R-1", rows=1204, tags=["DELETE 1204"])
    counted = {"rows": 1204} if "committed" in (result, fate) else {}
    ledger.step(EntryType.OUTCOME, "R-1", result=result, **({"fate": fate} if fate else {}), **counted)
    (story,) = stories(ledger.entries())
    assert (story.rows, story.executed_rows) == (rows, 1204)


def test_each_part_that_is_not_harmless_is_named_and_older_requests_by_their_kind() -> None:
    ledger = Ledger()
    ledger.ask("R-1")
    ledger.ask("R-2", parts=[{"kind": "set", "harmless": True}, {"kind": "truncate", "harmless": False}])
    ledger.ask("R-3", parts=[{"kind": "select", "harmless": True}], kind="select", relations=[])
    assert [story.what for story in stories(ledger.entries())] == ["DELETE public.orders", "TRUNCATE", "SELECT"]

"""What an execution did, relation by relation, and what was not as it was signed: told by every command."""

from typing import Any

import pytest
from tests.verify.builder import Ledger

from pgnotary.audit.effect import effect_in
from pgnotary.audit.search import story_fields
from pgnotary.audit.story import Story, stories
from pgnotary.audit.timeline import tell
from pgnotary.audit.words import preview_words, story_lines
from pgnotary.ledger.entries import EntryType, parse_entry

CHANGED: list[Any] = [
    {"relation": "public.orders", "target": True, "deleted": 1204},
    {"relation": "public.items", "target": False, "deleted": 9, "updated": 2},
]


def _ran(**executed: Any) -> tuple[Ledger, Story]:
    ledger = Ledger()
    ledger.ask("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771")
    ledger.step(EntryType.EXECUTED, "R-1", **executed)
    ledger.step(EntryType.OUTCOME, "R-1", result="committed", ended="autocommit", rows=1204)
    (story,) = stories(ledger.entries())
    return ledger, story


def test_each_relation_is_told_with_what_was_changed_in_it() -> None:
    ledger, story = _ran(rows=1204, other_rows=11, tags=["DELETE 1204"], took_us=12_300, changed=CHANGED)
    lines = story_lines(story)
    assert [line for line in lines if line.startswith(("ran", "changed", "ended"))] == [
        "ran      DELETE 1204 in 12.3 ms",
        "changed  public.orders 1,204 deleted",
        "changed  public.items 2 updated, 9 deleted (not named by it)",
        "ended by autocommit",
    ]
    told = tell(parse_entry(list(ledger.entries())[2].raw), {})
    assert told.detail == ("public.orders 1,204 deleted", "public.items 2 updated, 9 deleted (not named by it)")
    fields = story_fields(story)
    assert (fields["other_rows"], fields["tags"], fields["took_us"]) == (11, ["DELETE 1204"], 12_300)
    assert (fields["ended"], fields["changed"]) == (
        "autocommit",
        [
            {"relation": "public.orders", "target": True, "inserted": 0, "updated": 0, "deleted": 1204},
            {"relation": "public.items", "target": False, "inserted": 0, "updated": 2, "deleted": 9},
        ],
    )


def test_what_is_not_listed_and_what_nobody_could_count_is_said() -> None:
    _, story = _ran(tags=["DELETE 1"], changed=CHANGED[:1], changed_more=3, uncountable="left a cursor behind")
    assert story_lines(story)[-4:-2] == [
        "changed  and 3 relations more",
        "changed  what it changed could not be counted: it left a cursor behind",
    ]


@pytest.mark.parametrize("changed", [7, "all", [7], [{"relation": 7, "target": 1, "deleted": "x"}], {}, None])
def test_what_has_another_type_is_not_known(changed: Any) -> None:
    found = effect_in({"changed": changed, "tags": 7, "rows": True, "took_us": "1"})
    assert (found.rows, found.tags, found.took_us, found.uncountable) == (None, (), None, "")
    assert all(str(each).endswith("changed (not named by it)") for each in found.changed)


def test_a_void_approval_names_what_was_not_as_it_was_signed() -> None:
    ledger = Ledger()
    ledger.ask("R-1")
    changed: list[Any] = [{"what": "role", "signed": "clerk", "found": "boss"}, {"what": "the function f", "found": ""}]
    ledger.step(EntryType.VOID, "R-1", why="role: signed clerk, now boss", changed=changed)
    (story,) = stories(ledger.entries())
    told = ["role: signed clerk, found boss", "the function f: signed nothing, found nothing"]
    assert [line for line in story_lines(story) if line.startswith("since")] == [f"since then  {each}" for each in told]
    assert list(tell(parse_entry(list(ledger.entries())[1].raw), {}).detail) == told
    assert story_fields(story)["changed_since_signed"] == told


@pytest.mark.parametrize(
    ("how", "words"),
    [("count", "about 7 rows counted, but may be others when it runs"), ("explain", "about 7 rows estimated")],
)
def test_an_estimate_says_how_it_was_had(how: str, words: str) -> None:
    ledger = Ledger()
    ledger.ask("R-1")
    obtained: Any = {"estimate": {"at": "2026-11-20T09:00:00.000000Z", "took_us": 9, "how": how}}
    ledger.step(EntryType.PREVIEW, "R-1", status="partly", estimate=7, obtained=obtained, took_us=10)
    (story,) = stories(ledger.entries())
    assert words in preview_words(story.preview)
    assert story_fields(story)["estimate_by"] == how

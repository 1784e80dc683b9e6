"""What auditors are told of a request that several people have approved: of all of them, and not of the last alone."""

import pytest
from tests.verify.builder import Ledger

from pgnotary.audit.report import gather, report
from pgnotary.audit.search import story_fields
from pgnotary.audit.story import Story, stories
from pgnotary.audit.table import table

FAST = "## Approved in less than 5 seconds"


def two_of_anyone(last: str = "approve") -> Ledger:
    """Ana approves a few rows at once, cy more of them a minute later."""
    ledger = Ledger().start("ana", "bo", "cy")
    ledger.open_session()
    ledger.ask("R-1", needs=2, break_glass=["cy"])
    ledger.preview("R-1")
    ledger.decide("R-1", approver="ana", max_rows=10, lacks=1)
    ledger.wait(60).decide("R-1", last, approver="cy", max_rows=None if last == "deny" else 2000)
    return ledger


def only(ledger: Ledger) -> Story:
    [story] = stories(ledger.entries())
    return story


@pytest.mark.parametrize(
    ("last", "approvers", "max_rows"),
    [("approve", "ana, cy", 10), ("deny", "cy", None), ("break-glass", "cy", 2000)],
)
def test_the_fewest_rows_and_all_who_approved_are_told(last: str, approvers: str, max_rows: int | None) -> None:
    story = only(two_of_anyone(last))
    header, row = table([story])
    cells = dict(zip(header, row, strict=True))
    told = "" if max_rows is None else str(max_rows)
    assert (cells["approver"], cells["max_rows"]) == (approvers, told)
    assert story_fields(story)["max_rows"] == max_rows


def test_who_approves_without_reading_is_not_hidden_by_who_comes_later() -> None:
    lines = list(report(gather(two_of_anyone(), None, None, [])))
    assert any(line.startswith("| R-1") for line in lines[lines.index(FAST) : lines.index("## Denied")])
    lines = list(report(gather(two_of_anyone("deny"), None, None, [])))
    assert "None." in lines[lines.index(FAST) : lines.index("## Denied")]

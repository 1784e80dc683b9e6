"""What auditors read of a prepared transaction: that it waits, under which name, and who ended it."""

from dataclasses import replace

import pytest
from tests.verify.builder import VKEY, Ledger

from pgnotary.audit.check import noted, vouched
from pgnotary.audit.replay import replay
from pgnotary.audit.report import gather, report
from pgnotary.audit.story import stories
from pgnotary.audit.words import outcome_words, story_lines
from pgnotary.ledger.entries import EntryType
from pgnotary.verify.checklist import verify


@pytest.fixture
def waiting() -> Ledger:
    """R-1 waits prepared, under a name that would break lines."""
    ledger = Ledger().start()
    ledger.open_session()
    ledger.ask("R-1")
    ledger.preview("R-1")
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771", where="block")
    ledger.step(EntryType.EXECUTED, "R-1", rows=1204, tags=["DELETE 1204"], took_us=1)
    ledger.step(EntryType.ENDING, "R-1", action="prepare-transaction", xid="771", gid="pay\n#1")
    ledger.step(EntryType.OUTCOME, "R-1", result="prepared", xid="771", gid="pay\n#1")
    return ledger


def test_what_waits_is_told_with_its_name_and_the_rows_that_it_may_change(waiting: Ledger) -> None:
    (story,) = stories(waiting.entries())
    assert outcome_words(story) == r"prepared as 'pay\n#1', 1,204 rows; neither committed nor rolled back"
    assert story.rows is None


def test_verify_lists_what_waits(waiting: Ledger) -> None:
    summary = verify(waiting.entries(), waiting.notes[-1], VKEY, ahead=waiting.entries())
    assert "prepared, neither committed nor rolled back: R-1" in list(
        noted(summary, pinned_key=True, pinned_roster=True)
    )
    assert any("1 sent (0 committed, 1 prepared)" in line for line in vouched(summary, VKEY))


def test_a_report_lists_what_waits(waiting: Ledger) -> None:
    assert "Prepared, neither committed nor rolled back" in "\n".join(report(gather(waiting, None, None, [])))


def test_replay_tells_who_ended_it(waiting: Ledger) -> None:
    action = {"action": "commit-prepared", "xid": "771", "gid": "pay\n#1", "through": "S-00000009"}
    waiting.step(EntryType.ENDING, "R-1", **action)
    waiting.step(EntryType.OUTCOME, "R-1", result="committed", rows=1204, xid="771", gid="pay\n#1")
    told = "\n".join(replay(waiting, "R-1"))
    assert r"R-1 about to send PREPARE TRANSACTION 'pay\n#1'" in told
    assert r"R-1 prepared: as 'pay\n#1', transaction 771" in told
    assert r"R-1 about to send COMMIT PREPARED 'pay\n#1' in S-00000009" in told
    assert r"R-1 committed: as 'pay\n#1', 1,204 rows, transaction 771" in told


def test_what_stands_behind_a_name_is_told_for_what_it_is() -> None:
    ledger = Ledger().start()
    ledger.open_session()
    ledger.ask("R-1", kind="two-phase", parts=[{"kind": "two-phase", "harmless": False}])
    (story,) = stories(ledger.entries())
    lines = story_lines(replace(story, prepared="'x':\ntransaction 900"))
    assert lines[lines.index("which ends") :][:3] == ["which ends", "  | 'x':", "  | transaction 900"]

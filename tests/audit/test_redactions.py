"""What is told in the place of redacted values, and what an export gives of the others."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.second.agreement import both_over_folder
from tests.verify.builder import VKEY, Ledger

from pgnotary.audit.export import export_folder
from pgnotary.audit.folder import OPENED
from pgnotary.audit.redactions import Redactions
from pgnotary.audit.replay import replay
from pgnotary.audit.search import Search, Wanted
from pgnotary.audit.story import stories
from pgnotary.audit.words import story_lines
from pgnotary.cli import pgnotary
from pgnotary.errors import ConfigError
from pgnotary.ledger.entries import Draft, EntryType

REDACTED = "redacted on 2026-11-20 by rita: GDPR erasure, ticket 4711"


@pytest.fixture
def redacted() -> Ledger:
    """A request with a statement, a reason and parameters that ended in an error; all of it was redacted since."""
    ledger = Ledger().start("ana", "bo", "rita")
    ledger.open_session()
    ledger.forward("select 1", "select 2")
    asked = ledger.ask("R-1", reason="PAY-2210")
    ledger.stored.pop()
    sealed = {"statement": b"delete", "reason": b"PAY-2210", "parameters": b"{}", "prepared": b"delete"}
    ledger.notes.pop()
    ledger.last["R-1"] = ledger.requests["R-1"] = ledger.append(
        Draft(EntryType.REQUEST, {**asked.body, "bytes": 6}, asked.session, "R-1", None, sealed)
    )
    ledger.preview("R-1")
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771", where="wrapped")
    before = ledger.last["R-1"]
    body = {"result": "failed", "sqlstate": "23505"}
    ledger.append(Draft(EntryType.OUTCOME, body, asked.session, "R-1", before.leaf, {"error": b"Key (id)=(4711)"}))
    ledger.redact(
        ledger.values(3, "t1"),
        ledger.values(4, "parameters", "prepared", "reason", "statement"),
        ledger.values(8, "error"),
    )
    return ledger


def test_every_reading_says_who_has_redacted_what_and_why(redacted: Ledger) -> None:
    [story] = stories(redacted.entries())
    assert story.redacted == dict.fromkeys(("parameters", "prepared", "reason", "statement", "error"), REDACTED)
    assert sum(f"({REDACTED})" in line for line in story_lines(story)) == 5
    assert sum(f"({REDACTED})" in line for line in replay(redacted, "R-1")) == 5
    session = list(replay(redacted, "S-00000001"))
    assert sum(f"({REDACTED})" in line for line in session) == 6
    assert [line for line in session if line.endswith("| select 2")]
    own = [line.strip() for line in replay(redacted, "#9")]
    assert "6 values redacted by rita with SHA256:" in own[0]
    what = ["t1 of #3", "parameters, prepared, reason, statement of #4", "error of #8"]
    assert own[1:] == [*what, "> GDPR erasure, ticket 4711"]


def test_a_search_says_what_it_could_not_look_into_because_it_was_redacted(redacted: Ledger) -> None:
    looking = Search(Wanted(text="delete"))
    assert list(looking.stories(stories(redacted.entries()))) == []
    assert (looking.redacted, looking.withheld) == (1, 0)


def test_a_redaction_that_cannot_be_read_tells_nothing(redacted: Ledger) -> None:
    redacted.append(Draft(EntryType.REDACTED, {"document": "AAAA", "signature": "x"}))
    redacted.append(Draft(EntryType.REDACTED, {}))
    assert len(Redactions.of(redacted.entries()).all) == 1
    assert "cannot be read" in next(iter(replay(redacted, "#11")))
    [story] = stories(redacted.entries())
    assert story.redacted["statement"] == REDACTED


def test_a_hostile_reason_does_not_play_with_the_terminal(redacted: Ledger, tmp_path: Path) -> None:
    redacted.redact(redacted.values(3, "t2"), reason="\u202egnp.exe \u200b| **x** </td> `rm`")
    export_folder(redacted, tmp_path / "e", VKEY)
    for command in (["replay", "S-00000001"], ["report"], ["search", "--forwarded"], ["search", "--json"]):
        done = CliRunner().invoke(pgnotary, [*command, "--ledger", str(tmp_path / "e")])
        assert done.exit_code in (0, 1), done.output
        assert not {"\u202e", "\u200b"} & set(done.output)


def test_an_export_gives_only_what_is_disclosed_and_the_rest_verifies(ledger: Ledger, tmp_path: Path) -> None:
    def names(folder: Path) -> set[str]:
        return {json.loads(line)["name"] for line in (folder / OPENED).read_text().splitlines()}

    export_folder(ledger, tmp_path / "one", VKEY, disclose=["statement"])
    assert names(tmp_path / "one") == {"statement"}
    export_folder(ledger, tmp_path / "two", VKEY, ["t2"], disclose=["reason", "t*"])
    assert names(tmp_path / "two") == {"reason", "t1"}
    export_folder(ledger, tmp_path / "none", VKEY, ["*"], disclose=["*"])
    assert names(tmp_path / "none") == set()
    for name in ("one", "two", "none"):
        assert both_over_folder(tmp_path / name, VKEY) == ((), [])
    with pytest.raises(ConfigError, match="no sealed value is named 'statment'"):
        export_folder(ledger, tmp_path / "slip", VKEY, disclose=["statment"])
    assert not (tmp_path / "slip").exists()
    shown = CliRunner().invoke(
        pgnotary, ["export", "--csv", "-", "--disclose", "reason", "--ledger", str(tmp_path / "one")]
    )
    assert "DELETE FROM" not in shown.output


def test_a_redacted_value_that_is_put_back_into_an_export_is_a_fault_for_both(redacted: Ledger, tmp_path: Path) -> None:
    export_folder(redacted, tmp_path / "now", VKEY)
    assert both_over_folder(tmp_path / "now", VKEY) == ((), [])
    before = redacted.stored.copy()
    redacted.stored.pop()
    again = Ledger().start("ana", "bo", "rita")
    again.open_session()
    again.forward("select 1", "select 2")
    export_folder(again, tmp_path / "then", VKEY)
    assert before[3].raw == again.stored[3].raw
    lost = [line for line in (tmp_path / "then" / OPENED).read_text().splitlines() if '"t1"' in line]
    with (tmp_path / "now" / OPENED).open("a") as file:
        file.writelines(f"{line}\n" for line in lost)
    faults, _ = both_over_folder(tmp_path / "now", VKEY)
    assert faults == ("#9 t1 of #3 was redacted, but its value is still kept",)

"""What was only counted is told as that: how many ran, of which kind and when, a digest, and that no text is kept."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.audit.running import run
from tests.verify.builder import START, VKEY, Ledger

from pgnotary.audit.check import check
from pgnotary.audit.executions import executions
from pgnotary.audit.export import export_folder
from pgnotary.audit.replay import replay
from pgnotary.audit.report import gather, report
from pgnotary.audit.search import Search, Wanted, execution_fields
from pgnotary.audit.timeline import tell
from pgnotary.audit.words import execution_row
from pgnotary.errors import LedgerBroken

DIGEST = "9c" * 32


@pytest.fixture
def ledger() -> Ledger:
    """Ivo's session: one text that is listed, four selects and four inserts that are counted."""
    ledger = Ledger().start()
    ledger.open_session("S-00000001", "ivo@corp")
    ledger.forward("select 1")
    ledger.sum_up(ledger.summary("insert", sha256="1e" * 32), ledger.summary("select"))
    return ledger


def found(ledger: Ledger, wanted: Wanted) -> list[str]:
    return [each.kind for each in Search(wanted).executions(executions(ledger.entries())) if each.statement is None]


def test_the_names_of_json_fields_are_a_promise(ledger: Ledger) -> None:
    *_, counted = executions(ledger.entries())
    fields = execution_fields(counted)
    assert " ".join(fields) == (
        "entry at last_at session user person database application statement kind verdict executions rows took_us "
        "sha256"
    )
    assert (fields["person"], fields["statement"], fields["executions"], fields["sha256"]) == (
        "ivo@corp",
        None,
        4,
        DIGEST,
    )
    json.dumps(fields)


def test_a_row_of_a_table_says_how_many_and_that_no_text_is_kept(ledger: Ledger) -> None:
    *_, counted = executions(ledger.entries())
    *_, verdict, result, statement = execution_row(counted)
    assert (verdict, result) == ("forwarded, 4 times", "select, 12 rows")
    assert statement == f"(not kept) SHA-256 {DIGEST}"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_it_is_found_by_who_kind_and_any_time_that_it_reaches_into(ledger: Ledger) -> None:
    *_, counted = executions(ledger.entries())
    first, moment = counted.at, timedelta(microseconds=1)
    last = first + timedelta(seconds=1)
    assert found(ledger, Wanted()) == found(ledger, Wanted(who="ivo")) == ["insert", "select"]
    assert found(ledger, Wanted(kind="SELECT")) == ["select"]
    assert found(ledger, Wanted(who="eva")) == found(ledger, Wanted(kind="update")) == []
    assert found(ledger, Wanted(since=last)) == found(ledger, Wanted(until=first + moment)) == ["insert", "select"]
    assert found(ledger, Wanted(since=last + moment)) == found(ledger, Wanted(until=first)) == []


def test_with_a_clock_that_was_set_back_it_is_found_between_its_times() -> None:
    ledger = Ledger()
    ledger.open_session()
    told = ledger.summary()
    ledger.sum_up(told | {"first": told["last"], "last": told["first"]})
    (counted,) = executions(ledger.entries())
    assert found(ledger, Wanted(since=counted.at)) == found(ledger, Wanted(until=counted.at)) == ["select"]


@pytest.mark.parametrize("wanted", [Wanted(text="select"), Wanted(relation="orders"), Wanted(text="1", kind="select")])
def test_who_looks_for_a_text_is_told_how_many_could_not_be_looked_into(ledger: Ledger, wanted: Wanted) -> None:
    looking = Search(wanted)
    assert [each.statement for each in looking.executions(executions(ledger.entries()))] in ([], ["select 1"])
    assert (looking.not_kept, looking.withheld) == (4 if wanted.kind else 8, 0)


def test_a_report_counts_them_and_says_that_it_cannot_tell_more(ledger: Ledger) -> None:
    lines = list(report(gather(ledger, None, None, [])))
    assert "| Statements forwarded without a decision | 9 |" in lines
    assert "| of which only counts and a digest are kept | 8 |" in lines
    before = list(report(gather(ledger, None, START, [])))
    assert not any("only counts" in line for line in before)


def test_a_session_is_told_with_them_where_the_first_of_them_began(ledger: Ledger) -> None:
    told = [line.strip() for line in replay(ledger, "S-00000001")]
    at = next(i for i, line in enumerate(told) if "forwarded: 4 select, 12 rows in 2.5 ms, the last at" in line)
    assert told[at + 1] == f"(not kept) SHA-256 {DIGEST}"
    assert "select 1" in " ".join(told[:at])


def test_an_entry_that_counts_says_how_many() -> None:
    ledger = Ledger()
    entry = ledger.sum_up(ledger.summary("insert"), ledger.summary("select"))
    assert tell(entry, {}).text == "S-00000001 counts 8 executions"


def test_a_request_is_told_how_many_ran_before_it_and_how_many_may_have(ledger: Ledger) -> None:
    early, late = (
        ledger.summary(),
        ledger.summary(first="2026-11-21T09:00:00.000000Z", last="2026-11-21T09:00:01.000000Z"),
    )
    ledger.wait(10).ask("R-1", session="S-00000001", person="ivo@corp")
    across = ledger.summary(first=early["first"], executions=5)
    ledger.wait(10).sum_up(across)
    ledger.sum_up(late)
    told = " ".join(replay(ledger, "R-1"))
    assert "the session had forwarded 10 statements, and perhaps 3 more, before; replay S-00000001 tells them" in told


def test_a_damaged_entry_is_named_by_its_place() -> None:
    ledger = Ledger()
    ledger.open_session()
    ledger.sum_up(ledger.summary(executions=0))
    with pytest.raises(LedgerBroken, match="#1 a summary of nothing"):
        list(executions(ledger.entries()))


def test_an_export_verifies_and_is_searched_like_the_ledger(ledger: Ledger, tmp_path: Path) -> None:
    ledger.close_session(forwarded=9, held=0)
    folder = tmp_path / "evidence"
    export_folder(ledger, folder, VKEY)
    assert check(ledger, VKEY).forwarded == 9
    said = run("verify", folder, "--key", folder / "proxy.vkey").stdout
    assert "ok  9 statements without a decision: 9 forwarded (8 only counted), 0 refused" in said
    listed = run("search", "--ledger", folder, "--forwarded", "--json").stdout
    told = [json.loads(line) for line in listed.splitlines()]
    assert [(each["kind"], each.get("executions"), each.get("sha256")) for each in told] == [
        ("select", None, None),
        ("insert", 4, "1e" * 32),
        ("select", 4, DIGEST),
    ]
    looked = run("search", "--ledger", folder, "--forwarded", "--text", "delete")
    assert "8 more could not be looked into: a rule keeps no text of them" in looked.stderr
    assert f"(not kept) SHA-256 {DIGEST}" in run("search", "--ledger", folder, "--forwarded").stdout

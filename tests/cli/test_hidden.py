"""What an approver's commands show of a statement that holds secrets: everything else, and that something is hidden."""

import asyncio
import json
from typing import Any

import pytest
from click.testing import CliRunner
from tests.approval.office import MemoryLedger
from tests.cli.office import office, spawn

from pgnotary.approval.bodies import EntryPaper, RequestPaper
from pgnotary.approval.papers import Paper, read_paper
from pgnotary.cli import pgnotary
from pgnotary.cli.paper_facts import facts
from pgnotary.cli.paper_view import describe

SECRET = "hunter2-of-eva"
STATEMENT = f"ALTER ROLE eva PASSWORD '{SECRET}';\nUPDATE users SET token = '{SECRET}', note = 'x' WHERE id = 5"
HIDDEN = "ALTER ROLE eva PASSWORD '***';\nUPDATE users SET token = '***', note = 'x' WHERE id = 5"
TOLD = "2 secrets are hidden"


def _paper(statement: str = STATEMENT, **how: Any) -> Paper:
    asked, shown = MemoryLedger().hold(statement=statement, **how)
    entry, preview = (EntryPaper(entry=each.entry.raw, opened=dict(each.opened)) for each in (asked, shown))
    return read_paper(RequestPaper(id="R-1", request=entry, preview=preview), "R-1")


def _shown(paper: Paper, *, secrets: bool = False) -> str:
    return "\n".join(describe(paper, 200, secrets=secrets))


def test_a_page_hides_secrets_says_how_many_and_of_what_size_the_full_text_is() -> None:
    shown = _shown(_paper())
    assert SECRET not in shown
    assert "1 | ALTER ROLE eva PASSWORD '***';\n   2 | UPDATE users SET token = '***', note = 'x'" in shown
    assert f"secrets       {TOLD}, *** stands for each: the digest covers the full text" in shown
    assert f"2 lines, {len(STATEMENT)} bytes" in shown


def test_a_page_shows_them_when_it_is_asked_to() -> None:
    shown = _shown(_paper(), secrets=True)
    assert shown.count(SECRET) == 2
    assert "hidden" not in shown


def test_a_page_without_secrets_says_nothing_of_them() -> None:
    assert "secrets  " not in _shown(_paper("DELETE FROM orders"))


def test_a_secret_shows_nowhere_else_on_the_page() -> None:
    paper = _paper(
        why=f"the text cannot be read: syntax error at or near \"'{SECRET}'\"",
        reason=f"see postgres://eva:{SECRET}@db",
        prepared=f"p:\nUPDATE users SET password = '{SECRET}'",
        error=f"ERROR 22P02: invalid input: {SECRET}",
        search_path=f"host=db password={SECRET}",
        application=f"postgres://eva:{SECRET}@db",
        newer=f"as in {SECRET}",
        preview={"status": "partly", "why": f"no count could be built: near \"'{SECRET}'\"", "took_us": 5},
    )
    assert SECRET not in _shown(paper)
    assert "3 secrets are hidden" in _shown(paper)
    assert SECRET not in json.dumps(facts(paper))
    assert json.dumps(facts(paper, secrets=True)).count(SECRET) == 10


def test_the_arguments_of_an_execute_are_judged_by_what_it_runs() -> None:
    paper = _paper(
        f"EXECUTE add('eva', '{SECRET}')",
        kind="execute",
        prepared="add:\nINSERT INTO users (name, password) VALUES ($1, $2)",
    )
    assert "EXECUTE add('eva', '***')" in _shown(paper)


def test_the_characters_of_a_secret_are_not_told_one_by_one() -> None:
    paper = _paper("ALTER ROLE eva PASSWORD 'p\u00e4\u200b\u0448'")
    assert "characters" not in _shown(paper)
    assert "characters" in _shown(paper, secrets=True)


def test_an_approver_is_warned_where_what_runs_is_hidden_too() -> None:
    warning = "secrets       PART OF WHAT RUNS IS HIDDEN WITH THEM: read it with --secrets first"
    hiding = _paper("DO E'BEGIN DELETE FROM t; ALTER ROLE x PASSWORD \\'hunter2\\'; END'")
    assert warning in _shown(hiding)
    assert facts(hiding)["hides_code"] is True
    assert warning not in _shown(hiding, secrets=True)
    assert warning not in _shown(_paper())


def test_json_hides_secrets_and_counts_them() -> None:
    told = facts(_paper())
    assert (told["statement"], told["hidden_secrets"]) == (HIDDEN, 2)
    told = facts(_paper(), secrets=True)
    assert (told["statement"], told["hidden_secrets"]) == (STATEMENT, 0)


async def test_show_requests_and_watch_hide_secrets() -> None:
    async with office() as desk:
        desk.hold("R-1", STATEMENT)
        for words in (["show", "R-1"], ["show", "R-1", "--json"], ["requests"], ["requests", "--json"]):
            done = await desk.run(*words)
            assert done.exit_code == 0
            assert SECRET not in done.stdout + done.stderr, words
        for words in (["show", "R-1", "--secrets"], ["show", "R-1", "--json", "--secrets"]):
            assert SECRET in (await desk.run(*words)).stdout


async def test_who_signs_is_told_that_secrets_are_hidden_and_signs_the_full_text() -> None:
    async with office() as desk:
        desk.hold("R-1", STATEMENT)
        done = await desk.decide("approve", "--wait", "0")
        assert done.exit_code == 0
        assert SECRET not in done.stdout + done.stderr
        assert TOLD in done.stderr
        assert desk.taken.request_leaf == desk.ledger.appended[0].leaf


@pytest.mark.parametrize("verb", ["approve", "deny"])
async def test_who_signs_may_see_them(verb: str) -> None:
    async with office() as desk:
        desk.hold("R-1", STATEMENT)
        done = await desk.decide(verb, "--secrets", *(["--wait", "0"] if verb == "approve" else []))
        assert done.exit_code == 0
        assert SECRET in done.stderr
        assert "hidden" not in done.stderr


async def test_watch_hides_secrets() -> None:
    async with office() as desk:
        desk.hold("R-1", STATEMENT)

        def scene() -> str:
            child = spawn(desk, "watch", "--json")
            child.expect('"event": "held"[^\n]*\n')
            told = str(child.after)
            child.terminate(force=True)
            return told

        told = await asyncio.to_thread(scene)
        assert "PASSWORD '***'" in told
        assert SECRET not in told


@pytest.mark.parametrize("sql", [f"CREATE USER eva '{SECRET}'", f"ALTER ROLE eva PASSWORD {SECRET.replace('-', '_')}"])
def test_explain_does_not_repeat_a_secret(sql: str) -> None:
    for words, stdin in ((["explain", sql], None), (["explain", "--jsonl", "-"], json.dumps({"sql": sql}))):
        done = CliRunner().invoke(pgnotary, words, input=stdin, prog_name="pgnotary")
        assert done.exit_code == 0
        assert "cannot be read" in done.stdout
        assert "hunter2" not in done.stdout

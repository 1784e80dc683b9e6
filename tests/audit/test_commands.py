"""The auditors' commands as they are typed: what they print, where, and with which exit status."""

import csv
import io
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from tests.verify.builder import LEDGER, PROXY_SEED, START, VKEY, Ledger, roster_text

from pgnotary.audit.export import export_folder
from pgnotary.cli.auditor import COMMANDS, print_story
from pgnotary.errors import ConfigError, LedgerBroken
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.ledger.signing_key import skey
from pgnotary.request.life import Move, State
from pgnotary.store import Append
from pgnotary.store.sqlite import SqliteStore

GROUP = click.Group("pgnotary", commands={command.name or "": command for command in COMMANDS})


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(GROUP, [str(word) for word in words])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PGNOTARY_CONFIG", raising=False)


@pytest.fixture
async def live(tmp_path: Path) -> Path:
    """A SQLite ledger with one request that waits, and beside it the configuration that names it."""
    (tmp_path / "proxy.key").write_text(skey(LEDGER, PROXY_SEED) + "\n")
    (tmp_path / "pgnotary.toml").write_text(f'[ledger]\nname = "{LEDGER}"\nfile = "live.db"\n')
    (tmp_path / "allowed_signers").write_text(roster_text("ana", "bo"))
    made = Ledger()
    connected, asked = made.open_session(), made.ask("R-1")
    ticks = iter(range(1000))
    store = await SqliteStore.open(
        tmp_path / "live.db", LEDGER, PROXY_SEED, now=lambda: START + timedelta(seconds=next(ticks))
    )
    request = Draft(EntryType.REQUEST, asked.body, asked.session, "R-1", None, {"statement": b"DELETE FROM orders"})
    await store.append([[Append(Draft(EntryType.ROSTER, {"allowed_signers": roster_text("ana", "bo")}))]])
    await store.append([[Append(Draft(EntryType.OPENED, connected.body, connected.session))]])
    await store.append([[Append(request, Move("R-1", None, State.HELD))]])
    await store.close()
    return tmp_path / "live.db"


def test_commands_are_the_five_that_auditors_have() -> None:
    assert [command.name for command in COMMANDS] == ["verify", "search", "export", "replay", "report"]


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_explains_itself(command: str) -> None:
    assert run(command, "--help").exit_code == 0


def test_verify_prints_what_is_good_and_exits_0(folder: Path) -> None:
    done = run("verify", folder, "--key", VKEY, "--allowed-signers", folder / "allowed_signers")
    assert done.exit_code == 0
    assert [line.split("  ")[0] for line in done.stdout.splitlines()] == ["ok"] * 6 + ["note"] * 2
    assert done.stdout.startswith("ok  30 entries (#0-#29) of shop.example/ledger")
    assert "note  outcome unknown: R-5\nnote  not ended yet: R-6\n" in done.stdout


def test_verify_says_what_it_had_to_take_from_the_export(folder: Path) -> None:
    said = run("verify", folder).stdout
    assert "note  key taken from the export itself: pin it with --key" in said
    assert "pin one with --allowed-signers" in said


@pytest.mark.parametrize("name", ["entries.jsonl", "opened.jsonl", "checkpoint.txt", "proxy.vkey"])
def test_a_changed_file_makes_verify_fail_and_exit_1(folder: Path, name: str) -> None:
    changed = bytearray((folder / name).read_bytes())
    changed[len(changed) // 2] ^= 1
    (folder / name).write_bytes(changed)
    done = run("verify", folder)
    assert done.exit_code == 1
    assert done.stdout
    assert all(line.startswith("FAIL  ") for line in done.stdout.splitlines())


def test_verify_lists_every_fault_with_its_place(folder: Path) -> None:
    entries = folder / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().replace(b'"exact":1204', b'"exact":1205'))
    done = run("verify", folder)
    assert [line.split()[1] for line in done.stdout.splitlines()][:2] == ["#5", "#6"]


def test_verify_with_another_key_exits_1_and_with_no_key_2(folder: Path, live: Path) -> None:
    other = "shop.example/ledger+c3ef82ae+AQ=="
    assert run("verify", folder, "--key", other).exit_code == 2
    assert run("verify", "--ledger", live).exit_code == 2
    assert run("verify", "--ledger", live, "--key", "no-such-file").exit_code == 2


def test_a_remembered_checkpoint_catches_a_rollback(ledger: Ledger, folder: Path, tmp_path: Path) -> None:
    ledger.forward("select 3")
    (tmp_path / "seen").write_text(ledger.notes[-1])
    done = run("verify", folder, "--checkpoint", tmp_path / "seen")
    assert done.exit_code == 1
    assert "FAIL  #30 and what follows is missing" in done.stdout


def test_a_pinned_roster_decides(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "roster").write_text(roster_text("ana"))
    done = run("verify", folder, "--allowed-signers", tmp_path / "roster")
    assert done.exit_code == 1
    assert "nobody on the roster" in done.stdout
    (tmp_path / "roster").write_text("* ssh-rsa AAAA\n")
    assert run("verify", folder, "--allowed-signers", tmp_path / "roster").exit_code == 2


def test_verify_finds_the_live_ledger_by_its_configuration(live: Path, tmp_path: Path) -> None:
    done = run("verify")
    assert (done.exit_code, done.stdout.splitlines()[0][:14]) == (0, "ok  3 entries ")
    assert run("verify", "--config", tmp_path / "pgnotary.toml").stdout == done.stdout
    assert run("verify", "--ledger", live, "--key", VKEY).stdout == done.stdout
    (tmp_path / "key").write_text(VKEY + "\n")
    assert run("verify", "--ledger", live, "--key", tmp_path / "key").stdout == done.stdout


def test_verify_finds_columns_that_would_hide_an_entry_from_a_search(live: Path) -> None:
    import sqlite3

    with sqlite3.connect(live) as db:
        db.execute("DROP TRIGGER entry_UPDATE")
        db.execute("UPDATE entry SET request = 'R-9' WHERE seq = 2")
    db.close()
    done = run("verify")
    assert (done.exit_code, done.stdout) == (1, "FAIL  entry 2 says something else than its columns: request\n")


def test_a_command_without_a_ledger_is_wrong_usage() -> None:
    for words in (["verify"], ["search"], ["replay", "R-1"], ["report"], ["export", "out"]):
        done = run(*words)
        assert (done.exit_code, "no ledger" in done.stderr) == (2, True)


def test_search_prints_a_table_and_says_so_if_nothing_is_found(folder: Path) -> None:
    done = run("search", "--ledger", folder, "--who", "ivo", "--outcome", "denied")
    header, row = done.stdout.splitlines()
    assert header.split() == ["REQUEST", "ASKED", "WHO", "DATABASE", "WHAT", "DECISION", "OUTCOME"]
    assert row.startswith("R-2 ")
    nothing = run("search", "--ledger", folder, "--who", "nobody")
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (0, "", "nothing found\n")


def test_search_prints_one_json_object_a_line(folder: Path) -> None:
    lines = run("search", "--ledger", folder, "--json").stdout.splitlines()
    assert [json.loads(line)["request"] for line in lines] == [f"R-{n}" for n in range(1, 7)]
    forwarded = run("search", "--ledger", folder, "--forwarded", "--json").stdout.splitlines()
    assert [json.loads(line)["statement"] for line in forwarded] == [
        "select count(*) from orders",
        "select 1",
        "select 2",
    ]


def test_search_takes_no_outcome_of_forwarded_statements_and_no_strange_time(folder: Path) -> None:
    assert run("search", "--ledger", folder, "--forwarded", "--outcome", "denied").exit_code == 2
    assert run("search", "--ledger", folder, "--since", "yesterday").exit_code == 2


def test_search_over_a_damaged_ledger_says_where(folder: Path) -> None:
    (folder / "entries.jsonl").write_bytes(b"rubbish\n")
    done = run("search", "--ledger", folder)
    assert isinstance(done.exception, LedgerBroken)


def test_export_writes_a_folder_that_verifies(folder: Path, tmp_path: Path) -> None:
    done = run("export", tmp_path / "again", "--ledger", folder, "--withhold", "t*")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "30 entries, 9 values (3 withheld) and 3 decisions" in done.stderr
    assert run("verify", tmp_path / "again").exit_code == 0
    assert isinstance(run("export", tmp_path / "again", "--ledger", folder).exception, ConfigError)


def test_export_of_a_live_ledger_needs_its_key_unless_it_is_a_table(live: Path, tmp_path: Path) -> None:
    (tmp_path / "pgnotary.toml").unlink()
    assert run("export", "out", "--ledger", live).exit_code == 2
    assert run("export", "--csv", "-", "--ledger", live).exit_code == 0
    assert run("export", "--ledger", live).exit_code == 2


def test_export_prints_a_table_without_formulas_and_without_control_characters(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.ask("R-1", statement="=cmd|'/c calc'!A1\n\x1b[2J\tx", person="eva")
    export_folder(ledger, tmp_path / "e", VKEY)
    printed = run("export", "--csv", "-", "--ledger", tmp_path / "e").stdout
    header, row = csv.reader(io.StringIO(printed))
    assert row[header.index("statement")] == "'=cmd|'/c calc'!A1\n\\u{1b}[2J\tx"
    written = run("export", "--csv", tmp_path / "t.csv", "--ledger", tmp_path / "e", "--withhold", "statement")
    assert written.exit_code == 0
    assert "calc" not in (tmp_path / "t.csv").read_text()


def test_replay_prints_a_timeline_and_refuses_unknown_names(folder: Path) -> None:
    done = run("replay", "R-1", "--ledger", folder)
    assert done.exit_code == 0
    assert "R-1 committed: 1,204 rows" in done.stdout
    unknown = run("replay", "R-99", "--ledger", folder)
    assert (unknown.exit_code, "the ledger has no R-99" in unknown.stderr) == (1, True)


@pytest.mark.parametrize(
    "words",
    [("search",), ("search", "--json"), ("replay", "R-1"), ("report",), ("search", "--forwarded"), ("verify",)],
)
def test_nothing_that_a_client_sent_reaches_the_terminal_as_a_control_character(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    ledger = Ledger().start()
    nasty = "x\x1b]0;pwned\x07\r\u202egnp\u200b\n# forged"
    ledger.open_session(person=nasty)
    ledger.forward(nasty)
    ledger.ask("R-1", statement=nasty, person=nasty, reason=nasty, why=nasty, rule=nasty, relations=[nasty])
    ledger.preview("R-1")
    ledger.decide("R-1", reason=nasty)
    export_folder(ledger, tmp_path / "e", VKEY)
    done = run(*words, "--ledger", tmp_path / "e")
    assert done.exit_code == 0
    assert not set("\x1b\x07\r\u202e\u200b") & set(done.output)
    assert not any(line.startswith("# forged") for line in done.output.splitlines())


def test_report_goes_to_stdout_or_into_a_file(folder: Path, tmp_path: Path) -> None:
    printed = run("report", "--ledger", folder, "--md")
    assert printed.stdout.startswith("# Ledger report\n")
    assert "- Whole: every check of the ledger passed (key taken from the export itself)." in printed.stdout
    run("report", "--ledger", folder, "--md", tmp_path / "r.md")
    assert (tmp_path / "r.md").read_text() == printed.stdout


def test_report_on_a_broken_ledger_says_so_first(folder: Path, live: Path, tmp_path: Path) -> None:
    (tmp_path / "pgnotary.toml").unlink()
    entries = folder / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().replace(b'"exact":1204', b'"exact":1205'))
    assert "- NOT WHOLE: " in run("report", "--ledger", folder).stdout
    assert "- Not verified: no key was given." in run("report", "--ledger", live).stdout


def test_print_story_tells_one_request(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    print_story(ledger, "R-1")
    said = capsys.readouterr().out
    assert said.startswith("R-1   committed, 1,204 rows\n")
    assert "  | DELETE FROM orders\n  | WHERE" in said
    assert "decision approved by bo, at most 2,000 rows" in said
    for request in ("R-2", "R-3", "R-4", "R-5", "R-6"):
        print_story(ledger, request)
    with pytest.raises(click.ClickException, match="no request R-99"):
        print_story(ledger, "R-99")


@pytest.mark.parametrize("end", [lambda each: each.step(EntryType.VOID, "R-1", why="the session moved")])
def test_print_story_tells_why_an_approved_request_did_not_run(
    end: Callable[[Ledger], object], capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger().start()
    ledger.ask("R-1")
    ledger.preview("R-1")
    ledger.decide("R-1")
    end(ledger)
    print_story(ledger, "R-1")
    assert capsys.readouterr().out.startswith("R-1   void (the session moved)\n")

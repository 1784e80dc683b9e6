"""The auditors' commands as they are typed: what they print, where, and with which exit status."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from tests.audit.running import COMMANDS, run
from tests.listed import forwarded_body
from tests.verify.builder import LEDGER, PROXY_SEED, SEEDS, START, VKEY, Ledger, one_approval, public_of, roster_text

from pgnotary.audit.export import export_folder
from pgnotary.audit.folder import FolderReader
from pgnotary.cli import auditor_output, pgnotary, terminal
from pgnotary.cli.auditor import print_story
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.ledger.executions import Alike
from pgnotary.ledger.signing_key import skey
from pgnotary.request.life import Move, State
from pgnotary.request.openssh import fingerprint
from pgnotary.store import Append, StoredEntry
from pgnotary.store.sqlite import SqliteStore

pytestmark = pytest.mark.usefixtures("elsewhere")


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


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_explains_itself(command: str) -> None:
    assert run(command, "--help").exit_code == 0


def test_verify_prints_what_is_good_and_what_is_not_known_and_exits_2(folder: Path) -> None:
    done = run("verify", folder, "--key", VKEY, "--allowed-signers", folder / "allowed_signers")
    assert done.exit_code == 2
    assert [line.split("  ")[0] for line in done.stdout.splitlines()] == ["ok"] * 6 + ["note", "gap"]
    assert done.stdout.startswith("ok  30 entries (#0-#29) of shop.example/ledger")
    assert done.stdout.endswith("note  not ended yet: R-6\ngap  outcome unknown: R-5\n")


def test_verify_of_what_is_known_to_its_end_exits_0(tmp_path: Path) -> None:
    export_folder(one_approval(), tmp_path / "e", VKEY)
    done = run("verify", tmp_path / "e", "--key", VKEY, "--allowed-signers", tmp_path / "e" / "allowed_signers")
    assert done.exit_code == 0
    assert {line.split("  ")[0] for line in done.stdout.splitlines()} == {"ok"}


def test_verify_of_what_is_withheld_is_incomplete(tmp_path: Path) -> None:
    export_folder(one_approval(), tmp_path / "e", VKEY, ["statement"])
    done = run("verify", tmp_path / "e", "--key", VKEY)
    assert done.exit_code == 2
    assert done.stdout.endswith("gap  1 sealed value is withheld\n")


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


def test_verify_with_a_key_that_is_none_and_with_no_key_exits_3(folder: Path, live: Path) -> None:
    other = "shop.example/ledger+c3ef82ae+AQ=="
    assert run("verify", folder, "--key", other).exit_code == 3
    assert run("verify", "--ledger", live).exit_code == 3
    assert run("verify", "--ledger", live, "--key", "no-such-file").exit_code == 3


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
    assert run("verify", folder, "--allowed-signers", tmp_path / "roster").exit_code == 3


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
        assert (done.exit_code, "no ledger" in done.stderr) == (3 if words == ["verify"] else 2, True)


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
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("FAIL  #0 cannot be read: ")


def test_export_writes_a_folder_that_verifies(folder: Path, tmp_path: Path) -> None:
    done = run("export", tmp_path / "again", "--ledger", folder, "--withhold", "t*")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "30 entries, 9 values (3 withheld) and 3 decisions" in done.stderr
    verified = run("verify", tmp_path / "again")
    assert (verified.exit_code, "gap  3 sealed values are withheld\n" in verified.stdout) == (2, True)
    again = run("export", tmp_path / "again", "--ledger", folder)
    assert (again.exit_code, "is there already: name a new folder" in again.stderr) == (2, True)


def test_export_of_a_live_ledger_needs_its_key_unless_it_is_a_table(live: Path, tmp_path: Path) -> None:
    (tmp_path / "pgnotary.toml").unlink()
    assert run("export", "out", "--ledger", live).exit_code == 2
    assert run("export", "--csv", "-", "--ledger", live).exit_code == 0
    assert run("export", "--ledger", live).exit_code == 2


def test_export_prints_a_table_without_formulas_and_without_control_characters(tmp_path: Path) -> None:
    # A text that has no tokens is hidden from its first quote on: here its characters are what matters.
    ledger = Ledger()
    ledger.ask("R-1", statement="=cmd|'/c calc'!A1\n\x1b[2J\tx", person="eva")
    export_folder(ledger, tmp_path / "e", VKEY, secrets=True)
    printed = run("export", "--csv", "-", "--secrets", "--ledger", tmp_path / "e").stdout
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
    assert (unknown.exit_code, "the ledger has no R-99" in unknown.stderr) == (2, True)


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
    assert printed.exit_code == 0
    lines = printed.stdout.splitlines()
    assert "- Whole: every check of the ledger passed." in lines
    assert "- Note: key taken from the export itself: pin it with --key" in lines
    assert "- Note: outcome unknown: R-5" in lines
    run("report", "--ledger", folder, "--md", tmp_path / "r.md")
    assert (tmp_path / "r.md").read_text() == printed.stdout


def test_report_on_a_broken_ledger_says_so_first(folder: Path, live: Path, tmp_path: Path) -> None:
    (tmp_path / "pgnotary.toml").unlink()
    entries = folder / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().replace(b'"exact":1204', b'"exact":1205'))
    broken = run("report", "--ledger", folder)
    assert (broken.exit_code, "- NOT WHOLE: " in broken.stdout) == (1, True)
    assert "- Not verified: no key was given." in run("report", "--ledger", live).stdout


# What was tried at the commands, and what they said.


def test_an_edited_export_does_not_pass_for_good(folder: Path) -> None:
    (folder / "decisions" / "R-99.json").write_text("{}")
    (folder / "decisions" / "R-1.json").unlink()
    done = run("verify", folder, "--key", VKEY)
    assert done.exit_code == 1
    assert done.stdout == (
        "FAIL  decisions/R-1.json is missing: entry #6 says what is in it\n"
        "FAIL  'decisions/R-99.json' is in the folder, but no entry says so\n"
    )


class TwoFaced(FolderReader):
    """An export that tells another story once it has been verified."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.readings = 0

    def entries(self) -> Iterator[StoredEntry]:
        self.readings += 1
        for stored in super().entries():
            # The check looks ahead and then reads; whatever comes later is told.
            raw = stored.raw.replace(b'"person":"eva"', b'"person":"bo"') if self.readings > 2 else stored.raw
            yield StoredEntry(raw, stored.opened)


def test_a_ledger_that_changes_after_it_was_verified_is_not_reported_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgnotary.cli.ledger_source.FolderReader", TwoFaced)
    done = run("report", "--ledger", folder)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "are not the 30 entries under head" in done.stderr


@pytest.mark.parametrize("words", [["search"], ["search", "--json"], ["replay", "R-1"], ["export", "--csv", "-"]])
def test_an_entry_that_was_changed_is_told_by_no_command(folder: Path, words: list[str]) -> None:
    entries = folder / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().replace(b'"kind":"drop"', b'"kind":"nope"'))
    done = run(*words, "--ledger", folder)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("FAIL  #29 and what is before it are not the 30 entries under head ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verify", "{there}"], "is not an exported ledger: it has no entries.jsonl"),
        (["verify", "--ledger", "{there}/file"], "file is not a database"),
        (["verify", "--config", "{there}/file"], "file"),
        (["verify", "{folder}", "--checkpoint", "{there}/binary"], "binary holds no checkpoint under this key: "),
        (["verify", "{folder}", "--checkpoint", "{there}/file"], "file holds no checkpoint under this key: "),
        (["verify", "{folder}", "--allowed-signers", "{there}/binary"], "binary: 'utf-8' codec"),
        (["verify", "{folder}", "--heads", "{there}/file"], "file: line 1 is no remembered head: "),
        (["verify", "{folder}", "--heads", "{there}/binary"], "binary: line 1 has no end: the file was cut"),
        (["verify", "--misbehaviour", "{there}/file"], "file shows nothing: "),
        (["verify", "{folder}", "--misbehaviour", "{there}/file"], "needs no ledger and no heads"),
        (["verify", "{folder}", "--no-such-option"], "No such option"),
        (["verify", "{folder}", "--key", "/nope"], "--key /nope: no such file, and no verifier key"),
        (["verify", "{folder}", "--key", "a+b+c"], "--key: the verifier key of a is "),
        (["search", "--ledger", "{folder}", "--since", "0001-01-01T00:00+23:59"], "outside of what dates can say"),
        (["search", "--ledger", "{folder}", "--since", "1d", "--until", "2d"], "--since 1d is later than --until 2d"),
        (["report", "--ledger", "{folder}", "--since", "1d", "--until", "2d"], "--since 1d is later than --until 2d"),
        (["report", "--ledger", "{folder}", "--md", "{there}/no/x.md"], "x.md: No such file or directory"),
        (["export", "--ledger", "{folder}", "--csv", "{there}/no/x.csv"], "x.csv: No such file or directory"),
        (["export", "{there}/new", "--ledger", "{folder}", "--withhold", "nonsense"], "no sealed value is named"),
        (["export", "--csv", "-", "--ledger", "{folder}", "--withhold", "stmt"], "no sealed value is named 'stmt'"),
        (["replay", "R-\x1b[2J", "--ledger", "{folder}"], "the ledger has no R-\\u{1b}[2J"),
    ],
)
def test_what_cannot_be_looked_at_is_no_tampering_and_no_traceback(
    folder: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "file").write_text("rubbish\n" * 1000)
    (there / "binary").write_bytes(b"\xff\xfe\x00")
    done = run(*(word.format(folder=folder, there=there) for word in words))
    assert (done.exit_code, done.stdout) == (3 if words[0] == "verify" else 2, "")
    assert said in done.stderr
    assert isinstance(done.exception, SystemExit)
    assert not (there / "new").exists()


@pytest.mark.parametrize("option", ["--key", "--checkpoint", "--allowed-signers", "--heads", "--misbehaviour"])
def test_no_file_that_an_auditor_names_can_write_to_the_terminal(folder: Path, tmp_path: Path, option: str) -> None:
    (tmp_path / "nasty").write_text("\u202ex+\u202e+AQ==\n\u202e ssh-rsa\n\n\u2014 \u202ex AQ==\n")
    done = CliRunner().invoke(
        pgnotary, ["verify", *([] if option == "--misbehaviour" else [str(folder)]), option, str(tmp_path / "nasty")]
    )
    assert done.exit_code == 3
    assert "\u202e" not in done.output


def test_verify_of_an_empty_ledger_says_that_nothing_is_in_it(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.notes.append(ledger.sign())
    export_folder(ledger, tmp_path / "e", VKEY)
    done = run("verify", tmp_path / "e", "--key", VKEY)
    assert done.exit_code == 0
    assert "note  #0 is still to come: nothing is in this ledger\n" in done.stdout


def test_the_numbers_of_verify_add_up_and_are_those_of_the_report(tmp_path: Path) -> None:
    ledger = Ledger().start()
    ledger.open_session()
    executions = [(1, Alike(kind="select", verdict=verdict)) for verdict in ("forward", "refuse", "forward")]
    body = forwarded_body(executions, ledger.clock)
    ledger.append(Draft(EntryType.FORWARDED, body, session="S-00000001", sealed={"t1": b"select 1"}))
    for n, result in enumerate(("committed", "rolled-back", "unknown"), 1):
        ledger.ask(f"R-{n}")
        ledger.preview(f"R-{n}")
        ledger.decide(f"R-{n}")
        ledger.run(f"R-{n}", result=result)
    export_folder(ledger, tmp_path / "e", VKEY)
    said = run("verify", tmp_path / "e").stdout
    assert "3 approvals: 3 sent (1 committed, 1 rolled back, 1 unknown), 0 not sent; 0 denials" in said
    assert "3 statements without a decision: 2 forwarded, 1 refused" in said
    reported = run("report", "--ledger", tmp_path / "e").stdout
    assert "| Statements forwarded without a decision | 2 |\n| Statements refused at once | 1 |" in reported


def test_a_swapped_roster_key_is_told_by_verify_replay_and_report(ledger: Ledger, tmp_path: Path) -> None:
    swapped = roster_text("mallory").replace("mallory ", "bo ")
    ledger.append(Draft(EntryType.ROSTER, {"allowed_signers": roster_text("ana") + swapped}))
    export_folder(ledger, tmp_path / "e", VKEY)
    bo, mallory = (fingerprint(public_of(SEEDS[each])) for each in ("bo", "mallory"))
    change = f"the roster changed: bo: {bo} replaced by {mallory}"
    assert f"note  #30 {change}" in run("verify", tmp_path / "e").stdout
    assert f"        bo {mallory}" in run("replay", "#30", "--ledger", tmp_path / "e").stdout
    reported = run("report", "--ledger", tmp_path / "e").stdout
    assert f"- Note: \\#30 {change}" in reported
    assert f"| bo | {mallory} |" in reported


def test_searching_texts_that_are_withheld_says_how_many_they_are(ledger: Ledger, tmp_path: Path) -> None:
    export_folder(ledger, tmp_path / "e", VKEY, withhold=["statement", "t*"])
    for words, withheld in (([], 6), (["--forwarded"], 3), (["--who", "ivo"], 2)):
        done = run("search", "--ledger", tmp_path / "e", "--text", "drop", *words)
        assert done.exit_code == 0
        told = f"nothing found\n{withheld} more could not be looked into: their statements are withheld\n"
        assert done.stderr == told


def test_forwarded_statements_take_one_short_line_each_with_their_verdict(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.open_session()
    ledger.forward("select 1\nfrom a", "select " + "x" * 500)
    refused = forwarded_body([(3, Alike(kind="copy", verdict="refuse", sqlstate="0A000"))], ledger.clock)
    sealed = {"t3": b"copy t from stdin"}
    ledger.append(Draft(EntryType.FORWARDED, refused, session="S-00000001", sealed=sealed))
    export_folder(ledger, tmp_path / "e", VKEY)
    header, one, long, third = run("search", "--forwarded", "--ledger", tmp_path / "e").stdout.splitlines()
    assert header.split() == ["ENTRY", "AT", "WHO", "DATABASE", "VERDICT", "RESULT", "STATEMENT"]
    assert one.endswith("forwarded  SELECT 1  select 1 \u2026")
    assert len(long) < 180
    assert long.endswith("xxx \u2026")
    assert third.endswith("refused    0A000     copy t from stdin")


@pytest.mark.parametrize("words", [("search",), ("search", "--forwarded"), ("replay", "R-1")])
def test_on_a_terminal_no_text_goes_on_at_its_left_edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    for module in (auditor_output, terminal):
        monkeypatch.setattr(module, "terminal_columns", lambda _: 80)
    ledger = Ledger().start()
    # Wherever a line is broken, the rest would be a row, or a label of ours.
    padded = "." * 40 + "R-9  decision approved by ana " * 20
    ledger.open_session(person="p" * 90)
    ledger.forward(padded)
    ledger.ask("R-1", statement=padded, person="p" * 90, reason=padded, relations=[padded])
    ledger.preview("R-1")
    ledger.decide("R-1", reason=padded)
    export_folder(ledger, tmp_path / "e", VKEY)
    done = run(*words, "--ledger", tmp_path / "e")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line.startswith(("R-9", "decision approved by ana R")) for line in lines)
    assert padded[:90].replace(" ", "") in re.sub(r"\n +(: )?| ", "", done.stdout)


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

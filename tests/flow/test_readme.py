"""Every command in the README is run, and what it says they show is compared with what they show.

Commands are taken from the text. Only what differs each time is filled in or masked: ports, times, keys, numbers.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pexpect
import pytest
from tests.flow.by_hand import ByHand, demo_by_hand, say_yes
from tests.flow.served import Served, until
from tests.pages import PAGES, TOP, Page, run

from pgnotary.cli import pgnotary

PAGE = "README.md"
TEXT = PAGES[PAGE].read_text(encoding="utf-8")


def _words(command: str) -> list[str]:
    return shlex.split(command, comments=True)


def test_every_word_that_is_named_as_a_command_exists() -> None:
    named = set(
        re.findall(
            r"`(?:pgnotary |\./run )?([a-z]+)(?: R-1[^`]*| --md)?`",
            TEXT.split("## Who does what")[1].split("Before your own")[0],
        )
    )
    assert named >= {"requests", "show", "approve", "deny", "watch", "verify", "search", "replay", "report", "export"}
    assert named <= {*pgnotary.list_commands(click.Context(pgnotary)), "run"}


def test_explain_says_what_the_readme_says(page: Page) -> None:
    command = page.take("./run explain")
    assert run(*command.words()).output == command.output


@pytest.fixture(scope="module")
def demo(page: Page) -> Iterator[ByHand]:
    """What `./run demo` starts."""
    with demo_by_hand(_words(page.take("./run demo  ").text)) as demo:
        yield demo


def _environment(demo: ByHand) -> dict[str, str]:
    return {"PGNOTARY_CONFIG": str(demo.config), "PGNOTARY_KEY": str(demo.key), "TERM": "dumb", "PAGER": "cat"}


def _pgnotary(demo: ByHand, *words: str) -> str:
    """Run a command as ./run, which says that it is the same, and return what it printed."""
    done = subprocess.run(
        ["./run", *words], env=os.environ | _environment(demo),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


@contextmanager
def _psql(demo: ByHand) -> Iterator["pexpect.spawn[str]"]:
    """Open eva's psql in a terminal, at its prompt."""
    environment = os.environ | _environment(demo)
    shell = pexpect.spawn(
        "/bin/sh", ["-c", f"{demo.engineer} -X"], env=environment, encoding="utf-8", timeout=60, dimensions=(50, 200)
    )
    try:
        shell.expect("shop=> ")
        yield shell
    finally:
        shell.close(force=True)


@contextmanager
def _held(demo: ByHand, statement: str) -> Iterator[str]:
    """Let eva ask for something, and lend the request's name while it is open."""
    before = set(_ids(demo))
    with _psql(demo) as psql:
        psql.sendline(statement)
        yield until(lambda: next(iter(set(_ids(demo)) - before), ""), "a request")
        psql.expect("shop=> ")


def _ids(demo: ByHand) -> list[str]:
    return re.findall(r"\bR-[0-9]+\b", _pgnotary(demo, "requests"))


def _lines(text: str) -> list[str]:
    """Return the lines of a transcript, without remarks, and with what differs each time masked."""
    for pattern, mask in (
        (r" {2,}(--|#) .*", ""),
        (r"[0-9]{2}:[0-9]{2}:[0-9]{2} UTC", "TIME"),
        (r"SHA256:[A-Za-z0-9+/]+(\.\.\.)?", "KEY"),
        (r"(ledger |\()#[0-9]+", r"\1#N"),
        (r"\bR-[0-9]+(@[0-9a-f]+)?", "R-N"),
    ):
        text = re.sub(pattern, mask, text)
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def test_the_session_goes_as_the_readme_shows_it(demo: ByHand, page: Page) -> None:
    engineer, _, answer = re.findall(r"```\n(.*?)```", TEXT.split("## A session")[1].split("## ")[0], re.DOTALL)
    read, delete = [line[len("shop=> ") :] for line in engineer.splitlines() if line.startswith("shop=> ")]
    approve = page.take("pgnotary approve")
    with _psql(demo) as psql:
        shown = "shop=> "
        for statement, end in ((read, "shop=> "), (delete, "HINT: [^\r]*\r\n")):
            psql.sendline(statement)
            psql.expect(end)
            shown += str(psql.before) + str(psql.after)
        name = max(_ids(demo))
        line = approve.line({"pgnotary": "./run", "R-1": name})
        signed = say_yes(line, environment=_environment(demo))
        psql.expect("shop=> ")
        done = str(psql.before)
    assert _lines(engineer) == _lines(shown)
    gap, *told = _lines(approve.output)
    assert gap == "..."
    answers = iter(_lines(signed))
    assert [line for line in told if line not in answers] == [], "each in its turn"
    assert _lines(answer) == _lines(done)


def test_an_engineer_connects_as_the_readme_says(demo: ByHand, page: Page) -> None:
    password = demo.engineer.split()[0].partition("=")[2]
    _, *words = _words(page.take("psql -h").line({"6432": demo.port}))
    program = demo.engineer.split()[1]
    done = subprocess.run(
        [program, "-XAtc", "SELECT 1", *words], env=os.environ | {"PGPASSWORD": password},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "1\n", done.stderr


def _line_of(person: str) -> list[list[str]]:
    """Return the commands that the README names for a person, as words."""
    (line,) = [line for line in TEXT.splitlines() if line.startswith(f"- **{person}**")]
    return [_words(command.removeprefix("pgnotary ")) for command in re.findall(r"`([^`]+)`", line)]


def test_approvers_can_do_what_the_readme_says(demo: ByHand, page: Page) -> None:
    for beginning in ("show R-1", "approve R-1", "deny R-1"):
        page.take(beginning)
    words = {command[0]: command for command in _line_of("Approvers")}
    assert set(words) == {"requests", "show", "approve", "deny", "watch"}
    for verb, outcome in (("approve", "approved  R-N"), ("deny", "denied  R-N")):
        with _held(demo, "UPDATE orders SET status = status WHERE id = 1;") as name:
            assert name in _pgnotary(demo, *words["requests"])
            assert "UPDATE orders SET status" in _pgnotary(demo, words["show"][0], name)
            watch = pexpect.spawn("./run", words["watch"], env=os.environ | _environment(demo), encoding="utf-8")
            try:
                watch.expect(name, timeout=60)
            finally:
                watch.close(force=True)
            line = shlex.join(["./run", verb, name, *words[verb][2:]])
            assert any(outcome in line for line in _lines(say_yes(line, environment=_environment(demo))))


def test_auditors_can_do_what_the_readme_says(demo: ByHand, page: Page, tmp_path: Path) -> None:
    for beginning in ("replay R-1", "report --md"):
        page.take(beginning)
    commands = _line_of("Auditors")
    assert [command[0] for command in commands] == ["verify", "search", "show", "replay", "report", "export"]
    with _held(demo, "UPDATE orders SET status = status WHERE id = 2;") as name:
        say_yes(f"./run approve {name} -m why", environment=_environment(demo))
    for command in commands:
        words = [name if word == "R-1" else word for word in command]
        if words == ["export"]:
            words.append(str(tmp_path / "audit"))
        assert _pgnotary(demo, *words) or words[0] == "export", words
    assert (tmp_path / "audit" / "entries.jsonl").exists()


def test_a_backup_is_made_while_it_runs(demo: ByHand, page: Page, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    _pgnotary(demo, *page.take("pgnotary backup").words({"FILE": copy}))
    assert run("verify", "--ledger", copy, "--key", demo.config.parent / "proxy.vkey").exit_code in {0, 2}


def test_run_test_runs_tests(page: Page) -> None:
    done = subprocess.run(
        [*_words(page.take("./run test").text), "-q", "tests/cli/test_safe_text.py"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_installing_puts_pgnotary_on_the_path_with_all_that_it_needs(tmp_path: Path) -> None:
    assert "`pip install .` puts `pgnotary` on the PATH" in TEXT
    # What pip asks for, without asking an index.
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = [name for name in names if name.endswith("/entry_points.txt")]
        assert "pgnotary = pgnotary.cli:main" in archive.read(entry_points).decode()
    own = {str(path.relative_to("proxy")) for path in Path("proxy").rglob("*") if path.is_file()}
    assert {name for name in names if ".dist-info/" not in name} == {name for name in own if "__pycache__" not in name}


def test_the_demo_plays_its_whole_story_on_a_machine_without_psql(page: Page, tmp_path: Path) -> None:
    for name in ("cat", "cksum", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    done = subprocess.run(
        _words(page.take("./run demo --script").text),
        env={**os.environ, "PATH": str(tmp_path)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("DELETE 1250", "1,250 rows", "approved  R-1", "FAIL  #"):
        assert words in done.stdout


def test_init_writes_a_configuration_that_checks_and_starts(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = page.take("pgnotary init").words()
    monkeypatch.chdir(tmp_path)
    made = run(*words)
    assert made.exit_code == 0, made.output
    for who in ("start", "engineer", "approver", "auditor"):
        assert f"\n{who}" in "\n" + made.output
    checked = run("check", "--config", "pgnotary/pgnotary.toml")
    assert checked.exit_code == 0, checked.output
    assert "1 user, 1 approver," in checked.output
    assert run(*words).exit_code != 0


def _approve(served: Served, heads: Path) -> str:
    """Approve what is held with the command that remembers heads, and return its name."""
    paper = served.held()
    told = f"{paper.id}@{paper.digest}"
    served.pgnotary("approve", told, "-m", "why", "--yes", "--key", str(served.key), "--heads", str(heads))
    return paper.id


def test_an_export_is_checked_by_hand_as_the_readme_says(
    served: Served, page: Page, database: str, tmp_path: Path
) -> None:
    folder, key = tmp_path / "audit", served.folder / "proxy.vkey"
    with served.open_psql(database, "-c", "DELETE FROM orders WHERE id = 1") as psql:
        name = _approve(served, tmp_path / "bo.heads")
        psql.communicate(timeout=30)
    served.pgnotary(*page.take("pgnotary export").words({"audit/": folder}))
    sed, keygen = page.take("sed").text, page.take("ssh-keygen").line({"R-1": name})
    hashed = subprocess.run(sed, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()[0]
    assert f'"prev":"{hashed}"' in (folder / "entries.jsonl").read_text().splitlines()[2]
    verified = run(
        *page.take("pgnotary verify").words({"audit/": folder, "proxy.vkey": key, "bo.heads ": tmp_path / "bo.heads "})
    )
    # What was decided over stands before the decision: nobody's head covers the end yet, and that is all.
    gaps = [line for line in verified.stdout.splitlines() if line.startswith("gap")]
    assert (verified.exit_code, len(gaps)) == (2, 1), verified.output
    assert "under no remembered head" in gaps[0]
    _, *second = _words(page.take("python3").line({"proxy.vkey": key}))
    done = subprocess.run([sys.executable, *second], cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    # The roster came with the export, and that it says.
    assert (done.returncode, "pin one with --allowed-signers" in done.stdout) == (2, True), done.stdout + done.stderr
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed: the signature was not checked by hand")
    said = subprocess.run(keygen, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert 'Good "decision@pgnotary" signature for bo' in said.stdout


def test_who_the_roster_lets_redact_erases_what_was_asked_and_the_ledger_says_so(
    served: Served, page: Page, database: str, tmp_path: Path
) -> None:
    made = run("key", "new", "--redactor", "--person", "rita", "--out", tmp_path / "rita")
    (line,) = re.findall(r"^ *(rita namespaces=.*)$", made.output, re.MULTILINE)
    served.reload(f"{served.roster.read_text()}{line}\n")
    with served.open_psql(database, "-c", "DELETE FROM orders WHERE id = 2") as psql:
        name = served.deny().id
        psql.communicate(timeout=30)
    command = page.take("pgnotary redact").line({"pgnotary": "./run", "R-1": name})
    environment = {"PGNOTARY_CONFIG": str(served.config), "PGNOTARY_KEY": str(tmp_path / "rita"), "TERM": "dumb"}
    assert f"redacted  {name}" in say_yes(command, environment=environment)
    assert "redacted" in served.pgnotary("verify", expected=2)
    assert "DELETE FROM orders WHERE id = 2" not in served.pgnotary("show", name)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", TEXT))))
def test_every_link_leads_somewhere(link: str) -> None:
    assert (TOP / link).exists()

"""Every command in the README is run, and every claim that a command can show is looked at."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from tests.flow.served import Served

from pgnotary.cli import pgnotary

TEXT = Path("README.md").read_text()
COMMANDS = [
    line[2:]
    for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ ")
]
SHELL = [shlex.split(command, comments=True)[0] for command in COMMANDS]


def _words(command: str) -> list[str]:
    return shlex.split(command, comments=True)


def test_the_readme_shows_the_commands_that_this_test_runs() -> None:
    shown = {" ".join(_words(command)[:2]) for command in COMMANDS}
    assert shown == {
        "./run demo", "./run test", "./run explain", "pgnotary init", "pgnotary export", "pgnotary verify",
        "sed -n", "ssh-keygen -Y",
    }  # fmt: skip


def test_every_word_that_is_named_as_a_command_exists() -> None:
    named = set(
        re.findall(
            r"`(?:pgnotary |\./run )?([a-z]+)(?: R-1[^`]*| --md)?`",
            TEXT.split("## Who does what")[1].split("Before your own")[0],
        )
    )
    assert named >= {"requests", "show", "approve", "deny", "watch", "verify", "search", "replay", "report", "export"}
    assert named <= {*pgnotary.list_commands(click.Context(pgnotary)), "run"}


def test_explain_says_what_the_readme_says() -> None:
    (command,) = [command for command in COMMANDS if "explain" in command]
    printed = CliRunner().invoke(pgnotary, _words(command)[1:]).output
    assert printed.rstrip() == TEXT.split(command + "\n")[1].split("```")[0].rstrip()


def test_the_two_commands_start_with_what_the_readme_says() -> None:
    done = subprocess.run(
        ["./run", "demo", "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "--script" in done.stdout
    done = subprocess.run(
        ["./run", "test", "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0


def test_the_demo_plays_its_whole_story_on_a_machine_without_psql(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pgnotary.cli", "demo", "--script"],
        env={**os.environ, "PATH": str(tmp_path)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("DELETE 1250", "1,250 rows", "approved  R-1", "FAIL  #"):
        assert words in done.stdout


def test_init_writes_a_configuration_that_checks_and_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = [command for command in COMMANDS if "init" in command]
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    made = runner.invoke(pgnotary, _words(command)[1:])
    assert made.exit_code == 0, made.output
    for who in ("start", "engineer", "approver", "auditor"):
        assert f"\n{who}" in "\n" + made.output
    checked = runner.invoke(pgnotary, ["check", "--config", "pgnotary/pgnotary.toml"])
    assert checked.exit_code == 0, checked.output
    assert "1 user, 1 approver," in checked.output
    assert runner.invoke(pgnotary, _words(command)[1:]).exit_code != 0


def test_an_export_is_checked_by_hand_as_the_readme_says(served: Served, database: str, tmp_path: Path) -> None:
    with served.open_psql(database, "-c", "DELETE FROM orders WHERE id = 1") as psql:
        paper = served.approve()
        psql.communicate(timeout=30)
    (export,) = [command for command in COMMANDS if "export" in command]
    folder = tmp_path / "audit"
    served.pgnotary(*_words(export.replace("audit/", f"{folder}/"))[1:])
    (sed,) = [command for command in COMMANDS if command.startswith("sed")]
    hashed = subprocess.run(sed, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()[0]
    assert f'"prev":"{hashed}"' in (folder / "entries.jsonl").read_text().splitlines()[2]
    verify = [sys.executable, "-m", "pgnotary.cli", "verify", "audit/", "--key", str(served.folder / "proxy.vkey")]
    done = subprocess.run(verify, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed: the signature was not checked by hand")
    (keygen,) = [command for command in COMMANDS if command.startswith("ssh-keygen")]
    said = subprocess.run(
        keygen.replace("R-1", paper.id), shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert 'Good "decision@pgnotary" signature for bo' in said.stdout


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", TEXT))))
def test_every_link_leads_somewhere(link: str) -> None:
    assert Path(link).exists()

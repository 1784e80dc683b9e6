"""How commands end: one status and one line for each thing that goes wrong, whichever command meets it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.cli.office import office

from pgnotary.cli import pgnotary
from pgnotary.cli.exits import Exit, Failed, Verified, exit_of
from pgnotary.errors import (
    ApiError,
    BadCheckpoint,
    BadKey,
    BrokenSeal,
    ConfigError,
    DecisionRefused,
    LedgerBroken,
    LedgerUnavailable,
    PgnotaryError,
)
from pgnotary.request.life import State


def _run(*words: str | Path) -> Result:
    result = CliRunner().invoke(pgnotary, [str(word) for word in words], prog_name="pgnotary")
    assert isinstance(result.exception, SystemExit | None)
    return result


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Failed("nothing was signed", Exit.FAILED), 1),
        (LedgerBroken(["#3"]), 1),
        (LedgerUnavailable("the disk is full"), 1),
        (ApiError("the disk is full", 503), 1),
        (ApiError("too many", 429), 1),
        (ConfigError("pgnotary.toml: is not TOML"), 2),
        (ApiError("refused", 403), 5),
        (ApiError("does not fit", 502), 5),
        (BadKey("no key"), 5),
        (BadCheckpoint("no signature"), 5),
        (BrokenSeal("altered"), 5),
        (DecisionRefused("your own"), 5),
        (ApiError("somebody was faster", 409), 6),
        (ApiError("cannot reach the proxy"), 7),
    ],
)
def test_each_error_has_its_status(error: PgnotaryError | Failed, status: int) -> None:
    assert exit_of(error) == status


async def test_every_status_is_met_by_a_command() -> None:
    async with office() as desk:
        met = {(await desk.run("requests")).exit_code}
        met.add((await desk.run("show", "R-9")).exit_code)
        met.add((await desk.run("show", "nonsense")).exit_code)
        asked, _ = desk.ledger.hold("R-2")
        met.add((await desk.run("show", "R-2")).exit_code)
        desk.hold("R-1")
        met.add((await desk.decide("approve", person="eva")).exit_code)
        met.add((await desk.decide("approve", prefix="0" * 64)).exit_code)
        words = ("deny", f"R-2@{asked.entry.leaf.hex()}", "-m", "no", "--yes", "--key", desk.folder / "eva.key")
        for state in (State.DENIED, State.EXPIRED):
            desk.ledger.move("R-2", state)
            met.add((await desk.run(*words)).exit_code)
        met.add((await desk.run("requests", "--socket", desk.folder / "none")).exit_code)
    assert met == {each.value for each in Exit} - {Exit.INTERRUPTED}


@pytest.mark.parametrize(
    "words",
    [
        ("requests", "--config", "/nope"),
        ("show", "R-1", "--config", "/nope"),
        ("search", "--config", "/nope"),
        ("check", "--config", "/nope"),
        ("serve", "--config", "/nope"),
        ("no-such-command",),
        ("requests", "--no-such-option"),
        ("approve", "R-1"),
        ("show", "R-1@\x1b[2J"),
        ("explain", "--profile", "none", "SELECT 1"),
    ],
)
def test_wrong_usage_is_one_line_with_one_prefix_and_status_2(words: tuple[str, ...]) -> None:
    result = _run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(r"pgnotary: [^\n\x1b]+\n", result.stderr)
    assert not result.stderr.startswith("pgnotary: Error")


@pytest.mark.parametrize(
    "words", [("--config", "/nope"), ("--no-such-option",), ("/nope",), ("--heads", "/nope"), ("--key", "x")]
)
def test_wrong_usage_of_verify_has_a_status_of_its_own(words: tuple[str, ...]) -> None:
    result = _run("verify", *words)
    assert (result.exit_code, result.stdout) == (3, "")
    assert re.fullmatch(r"pgnotary: [^\n\x1b]+\n", result.stderr)


def test_a_folder_or_a_file_that_is_no_configuration_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("[listen\x1b[2J")
    for path in (tmp_path, tmp_path / "x.toml"):
        result = _run("check", "--config", path)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert "\x1b" not in result.stderr


def test_no_words_at_all_print_the_help() -> None:
    result = _run()
    assert result.exit_code == 2
    assert "Usage: pgnotary" in result.stderr


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("--version",), ("approve", "--help")])
def test_help_is_data_and_no_error(words: tuple[str, ...]) -> None:
    result = _run(*words)
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_reader_that_has_gone_ends_a_command_without_a_traceback() -> None:
    program = [sys.executable, "-m", "pgnotary.cli", "explain", "--jsonl", "-"]
    # More than a pipe holds.
    lines = b'{"sql": "SELECT 1"}\n' * 5_000
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        try:
            running.stdin.write(lines)
            running.stdin.close()
        except BrokenPipeError:
            pass  # It ended before it had read everything.
        assert running.stderr.read() == b""
    assert running.returncode == 1


def test_the_documented_statuses_are_those_of_the_commands() -> None:
    page, of_verify = Path("docs/scripts.md").read_text().split("### Of `verify`\n")
    rows = r"^\| (\d+) \| [^|]+ \|$"
    assert [int(each) for each in re.findall(rows, page, re.MULTILINE)] == sorted(Exit)
    assert [int(each) for each in re.findall(rows, of_verify, re.MULTILINE)] == sorted(Verified)
    told = _run("--help").stdout
    assert all(re.search(rf"\b{status.value}\s", told) for status in Exit)
    told = _run("verify", "--help").stdout
    assert all(re.search(rf"\b{status.value}\s", told) for status in Verified)

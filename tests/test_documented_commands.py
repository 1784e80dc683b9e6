"""Every command that README and docs show exists, with the options that they show; and every --help is shown."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pgnotary.cli import pgnotary

PAGES = [Path("README.md"), *sorted(Path("docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(?:console|sh)?\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"^    (pgnotary .*)$", re.MULTILINE)
_INLINE = re.compile(r"`(pgnotary [a-z][^`\n]*)`")


def _documented() -> Iterator[tuple[str, str]]:
    """Yield each command line that begins with our name, with the page that shows it."""
    for page in PAGES:
        text = page.read_text()
        shown = [line for block in _BLOCK.findall(text) for line in block.splitlines()]
        lines = [line.removeprefix("$ ") for line in shown if line.startswith(("$ pgnotary ", "pgnotary "))]
        for line in (*lines, *_INDENTED.findall(text), *_INLINE.findall(text)):
            yield page.name, line


def _all(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _all(found, (*path, name))


DOCUMENTED = sorted(set(_documented()))
COMMANDS = dict(_all(pgnotary))


def test_there_is_something_to_look_at() -> None:
    assert len(DOCUMENTED) > 40
    assert {page for page, _ in DOCUMENTED} >= {"README.md", "approvers.md", "archive.md", "policy.md"}


@pytest.mark.parametrize(("page", "line"), DOCUMENTED, ids=[f"{page}:{line}"[:60] for page, line in DOCUMENTED])
def test_what_is_shown_can_be_said(page: str, line: str) -> None:
    # In running text a command is often named by its first words, and WORD stands for any of them.
    words = shlex.split(line, comments=True)[1:]
    if words[0] == "WORD":
        words[0] = "show"
    taken: tuple[str, ...] = ()
    while words and (*taken, words[0]) in COMMANDS:
        taken, words = (*taken, words[0]), words[1:]
    assert taken, f"{page}: {line}: there is no such command"
    command = COMMANDS[taken]
    known = {each for parameter in command.params for each in (*parameter.opts, *parameter.secondary_opts)}
    said = [word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)]
    unknown = [word for word in said if word not in known | {"--help", "--version"}]
    assert not unknown, f"{page}: {line}: {' '.join(taken)} has no {', '.join(unknown)}"


@pytest.mark.parametrize("path", COMMANDS, ids=[" ".join(path) or "pgnotary" for path in COMMANDS])
def test_every_help_is_shown(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(pgnotary, [*path, "--help"], prog_name="pgnotary", terminal_width=80)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: {' '.join(('pgnotary', *path))}")


READING = [path for path, command in COMMANDS.items() if any("--json" in each.opts for each in command.params)]


def test_every_command_that_reads_prints_json_too() -> None:
    approvers = {("requests",), ("show",), ("watch",), ("wait",), ("key", "list"), ("key", "show"), ("ledgers",)}
    assert set(READING) >= approvers | {("approvers", "list"), ("withdraw",), ("search",), ("policy", "show")}

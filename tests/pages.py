"""What README and docs show people to type: a page enters, its commands leave in their order, and none is passed over.

A command is a line behind `$ ` in a fenced block, with what stands below it as its output; a whole ```sh block, which
is one script; and a code span that can be typed as it stands, our program's name left out or not. A span that only
names a command (`pgnotary verify`, `verify --heads` without its file) is none: that what it names exists is checked by
tests/test_documented_commands.py.

The module of tests that runs a page says so with `PAGE = "archive.md"`, and takes the commands from the fixture `page`,
which fails behind the module's last test if one was not taken. What is not run there stands in tests/elsewhere.py.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
from click.testing import CliRunner, Result
from tests.elsewhere import ELSEWHERE

from pgnotary.cli import pgnotary

__all__ = ["PAGES", "TOP", "Command", "Page", "our_commands", "run", "spans"]

TOP = Path(__file__).parents[1]
PAGES = {path.name: path for path in (TOP / "README.md", *sorted((TOP / "docs").glob("*.md")))}

_CODE = re.compile(r"^```([a-z]*)\n(.*?)^```$|`([^`]+)`", re.DOTALL | re.MULTILINE)
# What is ours beside `pgnotary` itself, and two programs with which somebody reaches it.
_OTHER_PROGRAMS = re.compile(
    r"(?:PGNOTARY_[A-Z_]+=\S+ )?(?:\./run test\b|\.ci/run$|(?:\.venv/bin/python )?-m (?:bench|tests)\.|pip install|"
    r"psql -|eval )"
)


def _all(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _all(found, (*path, name))


@cache
def our_commands() -> dict[tuple[str, ...], click.Command]:
    """Return each command of ours by its words, loaded; the empty path is `pgnotary` alone."""
    return dict(_all(pgnotary))


@dataclass(frozen=True)
class Command:
    """What somebody is told to type."""

    text: str
    """As it stands there, a remark behind it included."""
    output: str = ""
    """What stands below it."""

    def line(self, names: Mapping[str, object] | None = None) -> str:
        """Return it as a shell takes it, with what is called otherwise here put in the place of the page's `names`."""
        text = self.text
        for name, here in (names or {}).items():
            assert name in text, f"{text!r} does not name {name}"
            text = text.replace(name, str(here))
        return text

    def words(self, names: Mapping[str, object] | None = None) -> list[str]:
        """Return the same as arguments of pgnotary."""
        words = shlex.split(self.line(names), comments=True)
        return words[words[0] in {"pgnotary", "./run"} :]


class Page:
    """One page, and which of its commands nobody has taken yet."""

    def __init__(self, name: str, text: str | None = None) -> None:
        """`text`: of a page that is in no file."""
        self.name = name
        self.text = PAGES[name].read_text(encoding="utf-8") if text is None else text
        found: dict[str, Command] = {}
        for command in _commands(self.text):
            found.setdefault(command.text, command)
        self.commands = tuple(found.values())
        self.left = [text for text in found if (name, text) not in ELSEWHERE]

    def take(self, beginning: str) -> Command:
        """Return the one command that is `beginning`, or begins so, for somebody who runs it."""
        found = [each for each in self.commands if each.text == beginning]
        found = found or [each for each in self.commands if each.text.startswith(beginning)]
        assert len(found) == 1, f"{self.name} has {len(found)} commands that begin with {beginning!r}"
        if found[0].text in self.left:
            self.left.remove(found[0].text)
        return found[0]

    def check(self) -> None:
        """Fail if there is a command that nobody has taken."""
        assert not self.left, f"{self.name} shows what no test runs: {'; '.join(self.left)}"


def run(*words: object, stdin: str = "") -> Result:
    """Run our program in this process; it never ends by an exception."""
    done = CliRunner().invoke(pgnotary, [str(word) for word in words], input=stdin, prog_name="pgnotary")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def spans(text: str) -> list[str]:
    """Return a page's code spans, each in one line."""
    return [" ".join(span.split()) for _, _, span in _CODE.findall(text) if span]


def _commands(text: str) -> Iterator[Command]:
    for language, block, span in _CODE.findall(text):
        if span:
            if _is_whole(" ".join(span.split())):
                yield Command(" ".join(span.split()))
        elif language == "sh":
            yield Command(block.rstrip("\n"))
        elif language in {"", "console"}:
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                line, _, output = part.partition("\n")
                yield Command(line, output)


def _is_whole(span: str) -> bool:
    """Say whether a code span can be typed as it stands."""
    if _OTHER_PROGRAMS.match(span):
        return True
    try:
        words = shlex.split(span)
    except ValueError:
        return False
    words = words[words[0] in {"pgnotary", "./run"} :]
    path: tuple[str, ...] = ()
    while words and (*path, words[0]) in our_commands():
        path, words = (*path, words[0]), words[1:]
    if not path or not words:
        return False
    command = our_commands()[path]
    try:
        command.make_parser(click.Context(command)).parse_args(words)
    except click.NoSuchOption:
        return True  # What is wrong with it is for a test to say.
    except click.BadOptionUsage:
        return False  # An option without its value is only named.
    return True

"""Every command that README and docs show is run by a test, exists with its options, and every --help is shown.

tests/pages.py says what a command is. Here is what guards it: a page that shows one has its module of tests, which
takes each command before it runs it; and what is run elsewhere, or only named, is what it says.
"""

import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.elsewhere import ELSEWHERE, Elsewhere
from tests.pages import PAGES, TOP, Page, our_commands, spans

from pgnotary.cli import pgnotary

_MODULES = {path: path.read_text(encoding="utf-8") for path in sorted((TOP / "tests").rglob("test_*.py"))}
_RUN_BY = [(name, path) for path, text in _MODULES.items() for name in re.findall(r'^PAGE = "(.+)"$', text, re.M)]


def _named() -> set[tuple[str, str]]:
    """Return what begins with our name, command or not, with the page that shows it."""
    found = {(name, command.text) for name in PAGES for command in Page(name).commands}
    found |= {(name, span) for name, path in PAGES.items() for span in spans(path.read_text(encoding="utf-8"))}
    return {(name, text) for name, text in found if re.match(r"pgnotary [a-zW]", text)}


COMMANDS = our_commands()
NAMED = sorted(_named())


# --- run ------------------------------------------------------------------------------------------------------------


def test_each_page_that_shows_commands_is_run_by_one_module() -> None:
    assert Counter(name for name, _ in _RUN_BY) == Counter(name for name in PAGES if Page(name).left)


@pytest.mark.parametrize(("name", "path"), _RUN_BY, ids=[name for name, _ in _RUN_BY])
def test_a_module_that_runs_a_page_is_asked_at_its_end_whether_it_has(name: str, path: Path) -> None:
    assert re.search(r"^(async )?def (test_\w+)\([^)]*\bpage: Page\b", _MODULES[path], re.M | re.S), path


@pytest.mark.parametrize(("shown", "elsewhere"), ELSEWHERE.items(), ids=[f"{p}:{text}"[:60] for p, text in ELSEWHERE])
def test_what_is_run_elsewhere_is_shown_and_has_its_test(shown: tuple[str, str], elsewhere: Elsewhere) -> None:
    page, text = shown
    assert text in [each.text for each in Page(page).commands]
    path, _, function = elsewhere.test.partition("::")
    assert elsewhere.why
    assert re.search(rf"^(async )?def {function}\(", _MODULES[TOP / path], re.M), elsewhere.test


SAMPLE = """
`pgnotary verify` is a name, so is `verify --heads`; `pgnotary backup FILE` and `report
--md` are commands, and `reason` is nothing.

```console
$ pgnotary requests     # what waits
R-1  held
$ ./run demo
```

```sh
for each in 1 2; do
    echo $each
done
```

```toml
file = "`pgnotary backup OTHER`"
```
"""


def test_what_a_page_shows_is_found_in_its_order_with_what_stands_below_it() -> None:
    assert [(each.text, each.output) for each in Page("sample.md", SAMPLE).commands] == [
        ("pgnotary backup FILE", ""),
        ("report --md", ""),
        ("pgnotary requests     # what waits", "R-1  held\n"),
        ("./run demo", ""),
        ("for each in 1 2; do\n    echo $each\ndone", ""),
    ]


def test_a_command_that_nobody_has_taken_is_told() -> None:
    page = Page("sample.md", SAMPLE)
    for beginning in ("pgnotary backup", "report", "./run", "for each"):
        page.take(beginning)
    with pytest.raises(AssertionError, match=r"sample.md shows what no test runs: pgnotary requests"):
        page.check()
    assert page.take("pgnotary requests").words() == ["requests"]
    page.check()


@pytest.mark.parametrize("name", PAGES)
def test_no_command_stands_where_it_would_not_be_found(name: str) -> None:
    text = PAGES[name].read_text(encoding="utf-8")
    blocks = re.findall(r"^```([a-z]*)\n(.*?)^```$", text, re.DOTALL | re.M)
    bare = [line for language, block in blocks if language != "sh" for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.M)
    indented = re.findall(r"^ {4,}(.*)$", prose, re.M)
    programs = r"(pgnotary|\./run|ssh-keygen|curl|python3?|systemctl|psql) "
    assert [line for line in (*bare, *indented) if re.match(programs, line)] == []
    assert [block for language, block in blocks if language == "console" and not block.startswith("$ ")] == []


# --- named ----------------------------------------------------------------------------------------------------------


def test_there_is_something_to_look_at() -> None:
    assert len(NAMED) > 60
    assert {page for page, _ in NAMED} >= {"README.md", "approval-api.md", "approvers.md", "quorum.md", "webhooks.md"}


@pytest.mark.parametrize(("page", "line"), NAMED, ids=[f"{page}:{line}"[:60] for page, line in NAMED])
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

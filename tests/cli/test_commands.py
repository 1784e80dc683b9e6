"""The list of all commands: it says of each what the command says itself, and waits for none of their modules."""

import subprocess
import sys

import click
import pytest

from pgnotary.cli import pgnotary

CONTEXT = click.Context(pgnotary)
NAMES = pgnotary.list_commands(CONTEXT)


@pytest.mark.parametrize("name", NAMES)
def test_each_command_is_listed_in_its_own_words(name: str) -> None:
    command = pgnotary.get_command(CONTEXT, name)
    assert command is not None
    said = " ".join(pgnotary.get_help(CONTEXT).split())
    assert f"{name} {command.get_short_help_str(1_000)}" in said


def test_to_list_them_takes_no_parser_and_no_server() -> None:
    code = "import sys; from pgnotary.cli import pgnotary; pgnotary(['--help'], prog_name='x')"
    listed = f"import atexit, sys; atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr)); {code}"
    done = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, timeout=60, check=True)
    assert "approve" in done.stdout
    assert not {"postgast", "sqlglot", "aiohttp", "psycopg", "nacl"} & set(done.stderr.split())

"""The command line: each command reads its arguments, calls one thing, prints.

Words enter, an exit status leaves. Data goes to stdout, talk to stderr. Errors that pgnotary raises on purpose are told
in one line, here and nowhere else; any other exception is a bug and shows its traceback. A command's module is imported
when the command is: an approver's `requests` does not wait for the parsers that `serve` needs.
"""

import logging
import sys
from collections.abc import Mapping
from importlib import import_module

import click

from pgnotary import __version__
from pgnotary.errors import PgnotaryError

__all__ = ["main", "pgnotary"]

_MODULES: Mapping[str, str] = {
    **dict.fromkeys(("init", "user", "check"), "setup"),
    **dict.fromkeys(("key", "requests", "show", "approve", "deny", "watch"), "approver"),
    **dict.fromkeys(("verify", "search", "export", "replay", "report"), "auditor"),
    "demo": "demo",
    "serve": "serve",
    "explain": "explain",
}
"""From a command to the module of this package that has it, under the same name."""


class _Commands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        module = _MODULES.get(cmd_name)
        if module is None:
            return None
        command = getattr(import_module(f"pgnotary.cli.{module}"), cmd_name)
        return command if isinstance(command, click.Command) else None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pgnotary")
def pgnotary() -> None:
    """Let harmless queries through, hold destructive ones until somebody signs, prove afterwards what happened."""


def main() -> None:
    """Run the command line."""
    # sqlglot tells of each statement that it cannot read; the verdict says so already.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        pgnotary()
    except PgnotaryError as error:
        click.echo(f"pgnotary: {error}", err=True)
        sys.exit(1)

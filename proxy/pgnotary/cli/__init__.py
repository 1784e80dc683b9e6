"""The command line: each command reads its arguments, calls one thing, prints.

Words enter, an exit status leaves. Data goes to stdout, talk to stderr. Errors that pgnotary raises on purpose, wrong
usage and what the system refuses are told in one line, `pgnotary: ...`, escaped, with the status of
`pgnotary.cli.exits`: here and nowhere else. Any other exception is a bug and shows its traceback. A command's module is
imported when the command is: an approver's `requests` does not wait for the parsers that `serve` needs.
"""

import logging
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NoReturn

import click

from pgnotary import __version__
from pgnotary.cli.exits import Exit, Failed, exit_of
from pgnotary.cli.safe_text import visible
from pgnotary.errors import PgnotaryError

__all__ = ["main", "pgnotary"]

_MODULES: Mapping[str, str] = {
    **dict.fromkeys(("requests", "show", "watch"), "looking"),
    **dict.fromkeys(("approve", "deny"), "signing"),
    **dict.fromkeys(("verify", "search", "export", "replay", "report"), "auditor"),
    "key": "approver_key",
    **{name: name for name in ("check", "demo", "explain", "init", "policy", "serve", "user")},
}
"""From a command to the module of this package that has it, under the same name."""


class _Commands(click.Group):
    """A group whose commands are imported when they are asked for, and whose errors are told in one way."""

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

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # A command that must refuse says how it would have done: in the words as they were typed.
        ctx.obj = tuple(args)
        return super().parse_args(ctx, args)

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run a command and exit with its status."""
        sys.exit(self._run(*args, **(extra | {"standalone_mode": False})))

    def _run(self, *args: Any, **extra: Any) -> int:
        try:
            return int(super().main(*args, **extra) or Exit.OK)
        except (PgnotaryError, Failed) as error:
            return _tell(str(error), exit_of(error))
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return Exit.USAGE
        except click.ClickException as error:
            where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
            more = f"; see {where} --help" if where else ""
            # click breaks some of its messages into lines.
            return _tell(" ".join(error.format_message().split()).removesuffix(".") + more, error.exit_code)
        except click.Abort:
            return Exit.INTERRUPTED
        except BrokenPipeError:
            # Whoever read our output has gone; what is still buffered must not fail once more at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.FAILED
        except OSError as error:
            return _tell(f"{error.filename}: {error.strerror}" if error.filename else str(error), Exit.FAILED)


def _tell(message: str, status: int) -> int:
    click.echo(f"pgnotary: {visible(message)}", err=True)
    return status


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pgnotary")
def pgnotary() -> None:
    """Let harmless queries through, hold destructive ones until somebody signs, prove afterwards what happened.

    Exit status: 0 done; 1 failed; 2 wrong usage or configuration; 3 denied; 4 expired or withdrawn; 5 a key, signature
    or seal that does not hold; 6 decided already or changed; 7 no proxy or database to be reached; 8 not decided or not
    ended yet; 130 interrupted. `verify` has statuses of its own: see `verify --help`.
    """


def main() -> None:
    """Run the command line."""
    # sqlglot tells of each statement that it cannot read; the verdict says so already.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    pgnotary(prog_name="pgnotary")

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
from pgnotary.cli.terminal import print_broken
from pgnotary.errors import PgnotaryError

__all__ = ["main", "pgnotary"]

_COMMANDS: Mapping[str, tuple[str, str]] = {
    "approvers": ("approvers", "The roster: who may sign decisions, with which keys."),
    "archive": ("archive", "Move the oldest entries of a ledger into a new FOLDER, while the proxy is stopped."),
    "approve": ("signing", "Sign that a held statement may run, and wait for its outcome."),
    "backup": ("backup", "Copy the ledger to the new file TARGET, also while the proxy runs, and verify the copy."),
    "check": ("check", "Check the configuration and the files that it names."),
    "completion": ("completion", "Print what lets bash, zsh or fish complete commands and the ids of open requests."),
    "demo": ("demo", "Run PostgreSQL, a proxy, a ledger and an approver on this machine."),
    "deny": ("signing", "Sign that a held statement must not run; the engineer is told why."),
    "explain": ("explain", "Say whether SQL would be forwarded, held or refused, and why."),
    "export": (
        "exporting",
        "Write a ledger into a new FOLDER that anybody can check by hand, or its requests into a table.",
    ),
    "init": ("init", "Write a configuration, a signing key, a first user and a first approver for your own database."),
    "key": ("approver_key", "Your own key, which decisions are signed with."),
    "ledgers": ("ledgers", "List the ledgers that --at NAME knows, from your config.toml."),
    "policy": ("policy", "The rules that decide what is forwarded, held or refused."),
    "redact": ("redacting", "Sign that sealed values of a request, or of one entry, are deleted for good."),
    "replay": (
        "auditor",
        "Tell a session (S-...), a request (R-...) or what an entry (#12) belongs to, as it happened.",
    ),
    "report": (
        "reporting",
        "Report on a period in Markdown: counts, requests, what ended badly, and whether the ledger is whole.",
    ),
    "requests": ("looking", "List the statements that wait for a decision, oldest first."),
    "review": ("one_at_a_time", "Decide over the open requests one at a time; also those that come meanwhile."),
    "reviewed": ("reviewing", "Sign that you have looked at a statement that somebody else has let run alone."),
    "search": ("auditor", "Find requests, or forwarded statements."),
    "serve": ("serve", "Run the proxy until SIGTERM or SIGINT."),
    "show": ("looking", "Show a request: an open one as it would be signed, an ended one as the ledger tells it."),
    "sign": ("offline", "Sign a decision over an exported request, on a machine without a network."),
    "submit": ("offline", "Hand in a decision that was signed elsewhere."),
    "user": ("user", "The people who may connect."),
    "verify": ("verifying", "Check a whole ledger, or an exported FOLDER: every hash, signature, roster and step."),
    "wait": ("waiting", "Wait until a request has ended, and say how."),
    "watch": ("looking", "Print a line for each request that is held, decided or ends, until Ctrl-C."),
    "webhooks": ("webhooks", "List the webhooks, and the public keys that their receivers verify messages with."),
    "withdraw": ("waiting", "Take back a request of your own; the engineer's statement fails without having run."),
}
"""From a command to the module of this package that has it, under the same name, and what `--help` says of it: to list
all commands takes none of their modules."""


class _Commands(click.Group):
    """A group whose commands are imported when they are asked for, and whose errors are told in one way."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        command = getattr(import_module(f"pgnotary.cli.{module}"), cmd_name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])

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
    print_broken(f"pgnotary: {visible(message)}", err=True)
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

"""How the auditors' commands print, and how they end: 0, 1 if the ledger is not whole, 2 if it could not be looked at.

`verify` has statuses of its own (`pgnotary.cli.exits.Verified`): there 2 says that the evidence is incomplete, and what
could not be looked at is 3.

Lines, rows, objects and errors enter; what reaches the terminal holds no character that it would not show, and none
of it goes on at the terminal's left edge, where our own words stand. JSON is pure ASCII. Data goes to stdout, talk to
stderr.
"""

import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from pgnotary.audit.replay import UnknownName
from pgnotary.cli.exits import Exit, Verified
from pgnotary.cli.safe_text import columns, visible
from pgnotary.cli.shared_lines import GAP, flowing
from pgnotary.cli.terminal import print_broken, terminal_columns
from pgnotary.errors import LedgerBroken, PgnotaryError
from pgnotary.ledger.canonical import JSON

__all__ = ["Verifying", "ending", "print_faults", "print_json", "print_table", "say_veiled", "show", "show_veiled"]

if TYPE_CHECKING:
    from pgnotary.audit.veil import Veil

_TAMPERED = 1
# No line of ours begins so.
_GOES_ON = "    : "

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Verifying(click.Command):
    """A command whose wrong usage ends with the status that `verify` has for it."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the words."""
        try:
            return super().make_context(*args, **extra)
        except click.ClickException as error:
            _end_as_unusable(error)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            _end_as_unusable(error)
            raise


def _end_as_unusable(error: click.ClickException) -> None:
    # click declares it for the class, and reads it from the instance.
    vars(error)["exit_code"] = int(Verified.UNUSABLE)


def _unusable() -> int:
    """Return the status of what could not be looked at, for the command that runs."""
    context = click.get_current_context()
    return Verified.UNUSABLE if isinstance(context.command, Verifying) else Exit.USAGE


def ending(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let a command end with the status and the lines of the error that it raised."""

    @functools.wraps(command)
    def told(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:
            # Whoever read has seen enough; click ends quietly.
            raise
        except LedgerBroken as broken:
            print_faults(broken, err=True)
            raise click.exceptions.Exit(_TAMPERED) from broken
        except OSError as error:
            show(f"pgnotary: {error.filename or 'the ledger'}: {error.strerror or error}", err=True)
            raise click.exceptions.Exit(_unusable()) from error
        except (PgnotaryError, UnknownName) as error:
            show(f"pgnotary: {error}", err=True)
            raise click.exceptions.Exit(_unusable()) from error

    return told


def show(line: str, *, err: bool = False) -> None:
    """Print one line, whatever characters it holds."""
    print_broken(visible(line), err=err, margin=_GOES_ON)


def show_veiled(lines: Iterable[str], veil: "Veil | None") -> None:
    """Print lines; if a secret is hidden in them, say so behind them."""
    for line in lines:
        show(line)
        if veil:
            veil.notice(line)
    say_veiled(veil)


def say_veiled(veil: "Veil | None") -> None:
    """Say on stderr that what was printed hides a secret, if it does."""
    from pgnotary.audit.veil import NOTE

    if veil and veil.was_seen:
        show(NOTE, err=True)


def print_faults(broken: LedgerBroken, *, err: bool = False) -> None:
    """Print every fault on a line."""
    for fault in broken.faults:
        show(f"FAIL  {fault}", err=err)


def print_json(found: Iterable[Mapping[str, JSON | None]]) -> None:
    """Print one object a line."""
    for each in found:
        click.echo(json.dumps(each))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their headings, or say that there are none.

    On a terminal that is too narrow for the table each row takes as many lines as it needs; none of it is left out.
    """
    shown = [headings, *([visible(cell) for cell in row] for row in rows)]
    if len(shown) == 1:
        click.echo("nothing found", err=True)
        return
    room = terminal_columns(sys.stdout)
    widths = [max(map(columns, column)) for column in zip(*shown, strict=True)]
    fits = room is None or sum(widths) + len(GAP) * (len(widths) - 1) <= room
    for row in shown:
        first, *others = (cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True))
        for line in [GAP.join([first, *others]).rstrip(" ")] if fits else flowing(first, row[1:], room):
            click.echo(line)

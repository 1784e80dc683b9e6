"""What a terminal is: how wide, and how what is too wide or too long for it is printed.

A stream enters, its columns leave, or None if it is no terminal; visible texts enter, and are printed: none of them
goes on at its left edge, and a page is read from its top.
"""

import os
import sys
from collections.abc import Iterable
from typing import TextIO

import click

from pgnotary.cli.safe_text import broken

__all__ = ["print_broken", "print_page", "terminal_columns"]

_USUAL = 80
# As git has it: what fits is only printed, and what was read stays on the screen.
_LESS = "-FRX"


def terminal_columns(stream: TextIO) -> int | None:
    """Return the columns of the terminal behind `stream`: of this one, which need not be that of stdout."""
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL
    except (OSError, ValueError):
        return _USUAL


def print_broken(text: str, *, err: bool = False, margin: str = "  ") -> None:
    """Print a visible text, in lines as wide as the terminal, if there is one; all but the first behind a margin."""
    click.echo(broken(text, terminal_columns(sys.stderr if err else sys.stdout), margin), err=err)


def print_page(lines: Iterable[str]) -> None:
    """Print a page on stdout; on a terminal by the person's pager, which begins at its top."""
    if sys.stdout.isatty():
        os.environ.setdefault("LESS", _LESS)
        click.echo_via_pager("\n".join(lines))
    else:
        for line in lines:
            click.echo(line)

"""What a terminal is: how wide, and how a page that is longer than it is read from its top.

A stream enters, its columns leave, or None if it is no terminal; lines enter, and are printed.
"""

import os
import sys
from collections.abc import Iterable
from typing import TextIO

import click

__all__ = ["print_page", "terminal_columns"]

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


def print_page(lines: Iterable[str]) -> None:
    """Print a page on stdout; on a terminal by the person's pager, which begins at its top."""
    if sys.stdout.isatty():
        os.environ.setdefault("LESS", _LESS)
        click.echo_via_pager("\n".join(lines))
    else:
        for line in lines:
            click.echo(line)

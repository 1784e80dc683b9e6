"""How the commands that sign speak with a person: lines that are read before a question, the question, and the words.

Everything goes to stderr. A question holds nothing that somebody else wrote.
"""

import sys

import click

from pgnotary.cli.exits import Exit, Failed
from pgnotary.cli.paper_view import field, text_width
from pgnotary.cli.terminal import terminal_columns

__all__ = ["ask", "check_terminal", "say", "why_words", "width"]

_MAX_WHY_CHARS = 1_000


def why_words(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """Check the signer's own words: they are kept for ever."""
    why = value.strip()
    if not why or not why.isprintable() or len(why) > _MAX_WHY_CHARS:
        raise click.BadParameter(f"expected one line of 1 to {_MAX_WHY_CHARS} printable characters")
    return why


def check_terminal(instead: str = "say ID@DIGEST and --yes") -> None:
    """Raise UsageError, which says what to do instead, where nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"this is no terminal, so nobody can be asked: {instead}")


def width() -> int:
    """Return how wide a text may be on the page."""
    return text_width(terminal_columns(sys.stderr))


def say(label: str, text: str) -> None:
    """Write one line of the page that is read before a question."""
    for line in field(label, text, width()):
        click.echo(line, err=True)


def ask(question: str, *, yes: bool) -> None:
    """Have the question answered with yes, or say that it was by `--yes`; raises Failed otherwise."""
    if yes:
        click.echo(f"{question} --yes", err=True)
        return
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort as stopped:
        raise Failed("nothing was signed", Exit.INTERRUPTED) from stopped
    if not agreed:
        raise Failed("nothing was signed", Exit.FAILED)

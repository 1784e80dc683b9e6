"""What a signature will say beside the page: its limits and its reason, in lines that are read before the question.

A decision enters, lines on stderr leave; and the one question whose answer is a limit. Nothing here is somebody else's
words.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass

import click

from pgnotary.approval.papers import Paper
from pgnotary.cli.asking import say
from pgnotary.cli.exits import Exit, Failed
from pgnotary.cli.preview_view import rows_in_words
from pgnotary.ledger.canonical import MAX_INT
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Decision

__all__ = ["Wish", "ask_for_rows", "limits", "rows_options", "say_terms", "unlimited"]

_ROWS = (
    click.option(
        "--max-rows", type=click.IntRange(0, MAX_INT), help="Roll back beyond N rows.  [default: those counted]"
    ),
    click.option("--any-rows", is_flag=True, help="However many rows it is, anywhere."),
    click.option(
        "--max-other-rows",
        type=click.IntRange(0, MAX_INT),
        help="Roll back beyond N rows in other tables, by cascades or triggers.  [default: what the preview counted]",
    ),
    click.option("--any-other-rows", is_flag=True, help="However many rows it is in other tables."),
)


def rows_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that make a `Wish`."""
    for option in reversed(_ROWS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the approver has said about rows."""

    max_rows: int | None
    any_rows: bool
    max_other_rows: int | None
    any_other_rows: bool
    yes: bool
    """Whether nobody is asked."""
    typed: tuple[str, ...]
    """The words of the command line."""

    def check(self) -> None:
        """Raise UsageError for what contradicts itself."""
        if self.any_rows and self.max_rows is not None:
            raise click.UsageError("say --max-rows N or --any-rows, not both")
        if self.any_other_rows and self.max_other_rows is not None:
            raise click.UsageError("say --max-other-rows N or --any-other-rows, not both")
        if self.any_rows and self.max_other_rows is not None:
            raise click.UsageError("--any-rows is any number of rows in other tables too: say --max-rows N instead")

    def ceiling(self, paper: Paper) -> Ceiling | None:
        """Return the ceiling to sign, None for any number; without a count it is for the approver to say."""
        own = None if self.any_rows else self._max_rows(paper)
        if own is None and self.max_other_rows is not None:
            raise click.UsageError(f"{paper.id}: any number of its rows is any number in other tables too")
        counted_others = paper.measured.elsewhere
        others = counted_others if self.max_other_rows is None else self.max_other_rows
        return None if own is None else Ceiling(own, None if self.any_other_rows else others)

    def _max_rows(self, paper: Paper) -> int | None:
        with_it = shlex.join(["pgnotary", *self.typed])
        if not paper.context.has_ceiling:
            if self.max_rows is not None:
                raise click.UsageError(f"{paper.id}: its rows cannot be counted: say --any-rows")
            if self.yes:
                raise click.UsageError(f"{paper.id}: its rows cannot be counted: say {with_it} --any-rows")
            return None  # The question says so.
        if self.max_rows is not None:
            return self.max_rows
        if (bound := paper.measured.bound) is not None:
            return bound
        if self.yes:
            raise click.UsageError(
                f"{paper.id} has no count to go by ({rows_in_words(paper.measured)}): "
                f"say {with_it} --max-rows N, beyond which it is rolled back, or {with_it} --any-rows"
            )
        return ask_for_rows(paper)


def limits(ceiling: Ceiling | None, *, counted: bool) -> tuple[tuple[str, str], ...]:
    """Return what the signature will say about rows, in words by their labels."""
    if ceiling is None:
        return (("rows", "any number"),)
    if ceiling.max_other_rows is None:
        others = "any number of rows"
    elif ceiling.max_other_rows:
        others = f"at most {ceiling.max_other_rows:,} rows"
    else:
        others = "no row, not by a cascade or a trigger either (--max-other-rows)"
    as_counted = " (as counted)" if counted else ""
    return ("rows", f"at most {ceiling.max_rows:,}{as_counted}"), ("elsewhere", others)


def unlimited(ceiling: Ceiling | None) -> str:
    """Return what the question must not leave out."""
    if ceiling is None:
        return " for ANY NUMBER OF ROWS"
    return " for ANY NUMBER OF ROWS IN OTHER TABLES" if ceiling.max_other_rows is None else ""


def ask_for_rows(paper: Paper) -> int | None:
    """Have a person say at most how many rows may change, None for any; raises Failed."""
    say("rows", f"not counted ({rows_in_words(paper.measured)}): beyond your number it is rolled back")
    try:
        said = click.prompt("How many rows may change at most: a number, or `any` number of rows?", err=True)
    except click.Abort as stopped:
        raise Failed("nothing was signed", Exit.INTERRUPTED) from stopped
    if said == "any":
        return None
    digits = said.replace(",", "")
    if not (digits.isascii() and digits.isdigit() and int(digits) <= MAX_INT):
        raise Failed(f"{said!r} is neither a number nor `any`: nothing was signed", Exit.USAGE)
    return int(digits)


def say_terms(words: str, decision: Decision, rows: tuple[tuple[str, str], ...] = ()) -> None:
    """Write what the signature of the signer in `words` will say; the question that follows names the request alone."""
    click.echo("", err=True)
    say("answer", decision.answer.value)
    for label, limit in rows:
        say(label, limit)
    say("why", decision.reason)
    say("signer", words)

"""The commands that sign: `approve` and `deny`.

What would be signed is shown first, recomputed from the bytes that the signature binds (`pgnotary.approval.papers`).
Questions, and what one must read before answering them, go to stderr; a question names the request by its id and
digest and holds nothing that the engineer wrote. Nothing is signed unseen: a person is shown it and asked, a script
must name the digest of what it has fetched.
"""

import functools
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from pgnotary.approval.papers import Paper
from pgnotary.cli.approver_options import (
    Place,
    Target,
    Where,
    at_proxy,
    heads_option,
    key_option,
    load_key,
    memory_of,
    read_target,
)
from pgnotary.cli.asking import ask, check_terminal, say, why_words, width
from pgnotary.cli.deciding import Case, identify, open_paper
from pgnotary.cli.exits import Exit, Failed
from pgnotary.cli.hidden import secrets_option
from pgnotary.cli.known_ledger import trust
from pgnotary.cli.outcomes import outcome_in_words
from pgnotary.cli.paper_view import describe, time_left
from pgnotary.cli.preview_view import rows_in_words
from pgnotary.cli.safe_text import visible
from pgnotary.ledger.canonical import MAX_INT
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Answer, Decision

__all__ = ["approve", "deny"]


@dataclass(frozen=True, slots=True)
class _Means:
    """What a person brings along to decide: where, over what, with which keys, and whether they can be asked."""

    place: Place
    target: Target
    key_path: Path | None
    heads: Path | None
    yes: bool
    secrets: bool
    """Whether the secrets in texts are shown."""
    typed: tuple[str, ...]
    """The words of the command line."""

    def open(self, *, alone: bool = False) -> Case:
        """Fetch and show what there is to decide; raises if it is not open, not to be believed, or not theirs.

        `alone`: the glass is to be broken, which may be theirs.
        """
        if self.yes and not self.target.prefix:
            raise click.UsageError(f"--yes needs {self.target.id}@ and 8 hex digits or more of the digest in `show`")
        if not self.yes:
            check_terminal()
        key = load_key(self.key_path)
        client = self.place.client(lambda: key)
        paper = open_paper(client.request(self.target.id), self.target)
        for line in describe(paper, width(), secrets=self.secrets):
            click.echo(line, err=True)
        click.echo(time_left(paper, datetime.now(UTC)), err=True)
        memory = memory_of(self.heads)
        trusted = trust(self.place.proxy_key(), memory, paper.ledger)
        for note in trusted.notes:
            say("note", note)
        return Case(client, paper, identify(client, key, paper, alone=alone), trusted.vkey, memory)

    def ask(self, question: str) -> None:
        """Have the question answered with yes; raises Failed otherwise."""
        ask(question, yes=self.yes)

    def ask_for_ceiling(self, paper: Paper) -> int | None:
        """Return at most how many rows may change, None for any; raises UsageError if nobody can be asked."""
        if self.yes:
            with_it = shlex.join(["pgnotary", *self.typed])
            raise click.UsageError(
                f"{paper.id} has no count to go by ({rows_in_words(paper.measured)}): "
                f"say {with_it} --max-rows N, beyond which it is rolled back, or {with_it} --any-rows"
            )
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


def _signing(command: Callable[..., None]) -> Callable[..., None]:
    """Add what `approve` and `deny` have in common; the command gets it as its `_Means`."""

    @click.argument("target", metavar="ID[@DIGEST]", callback=read_target)
    @click.option("-m", "--reason", "why", required=True, callback=why_words, help="Why; the engineer is told.")
    @key_option
    @click.option("--yes", is_flag=True, help="Do not ask; needs ID@DIGEST, as `show` prints it.")
    @secrets_option
    @heads_option
    @at_proxy
    @click.pass_context
    @functools.wraps(command)
    def signing(
        ctx: click.Context,
        /,
        target: Target,
        where: Where,
        key_path: Path | None,
        heads_path: Path | None,
        *,
        yes: bool,
        secrets: bool,
        **rest: object,
    ) -> None:
        command(ctx, _Means(where(), target, key_path, heads_path, yes, secrets, ctx.obj or ()), **rest)

    return signing


@click.command()
@click.option("--max-rows", type=click.IntRange(0, MAX_INT), help="Roll back beyond N rows.  [default: those counted]")
@click.option("--any-rows", is_flag=True, help="However many rows it is, anywhere.")
@click.option(
    "--max-other-rows",
    type=click.IntRange(0, MAX_INT),
    help="Roll back beyond N rows in other tables, by cascades or triggers.  [default: what the preview counted]",
)
@click.option("--any-other-rows", is_flag=True, help="However many rows it is in other tables.")
@click.option(
    "--break-glass",
    is_flag=True,
    help="Let it run alone, your own too, in an emergency; somebody else must review it afterwards.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 3_600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the outcome.",
)
@_signing
def approve(
    ctx: click.Context,
    means: _Means,
    why: str,
    max_rows: int | None,
    max_other_rows: int | None,
    wait_s: float,
    *,
    any_rows: bool,
    any_other_rows: bool,
    break_glass: bool,
) -> None:
    """Sign that a held statement may run, and wait for its outcome.

    \b
    pgnotary approve R-1 -m "backup b-771 is there"
    pgnotary approve R-1@9b1f22aa -m "backup b-771 is there" --max-rows 2000 --yes
    """
    if any_rows and max_rows is not None:
        raise click.UsageError("say --max-rows N or --any-rows, not both")
    if any_other_rows and max_other_rows is not None:
        raise click.UsageError("say --max-other-rows N or --any-other-rows, not both")
    if any_rows and max_other_rows is not None:
        raise click.UsageError("--any-rows is any number of rows in other tables too: say --max-rows N instead")
    case = means.open(alone=break_glass)
    own = None if any_rows else _max_rows(means, case.paper, max_rows)
    if own is None and max_other_rows is not None:
        raise click.UsageError(f"{case.paper.id}: any number of its rows is any number in other tables too")
    counted_others = case.paper.measured.elsewhere
    others = counted_others if max_other_rows is None else max_other_rows
    ceiling = None if own is None else Ceiling(own, None if any_other_rows else others)
    decision = case.draw_up(Answer.BREAK_GLASS if break_glass else Answer.APPROVE, why, ceiling)
    _say_terms(case, decision, _limits(decision.ceiling, counted=max_rows is None))
    what = "BREAK THE GLASS, ALONE, for" if break_glass else "Sign approval of"
    means.ask(f"{what} {case.name}{_unlimited(decision.ceiling)}?")
    recorded = case.hand_in(decision)
    if break_glass:
        say("glass", f"broken: somebody else must say `pgnotary reviewed {case.paper.id}`")
    still = f", {visible(recorded.missing)} needed" if recorded.missing else ""
    click.echo(f"approved  {case.paper.id}  ledger #{recorded.seq}{still}")
    if wait_s > 0 or recorded.missing:
        words, status = outcome_in_words(case.paper, case.await_outcome(wait_s))
        click.echo(words)
        ctx.exit(status)


def _limits(ceiling: Ceiling | None, *, counted: bool) -> tuple[tuple[str, str], ...]:
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


def _unlimited(ceiling: Ceiling | None) -> str:
    """Return what the question must not leave out."""
    if ceiling is None:
        return " for ANY NUMBER OF ROWS"
    return " for ANY NUMBER OF ROWS IN OTHER TABLES" if ceiling.max_other_rows is None else ""


def _max_rows(means: _Means, paper: Paper, max_rows: int | None) -> int | None:
    """Return how many rows may be approved, None for any; without a count it is for the approver to say."""
    if not paper.context.has_ceiling:
        if max_rows is not None:
            raise click.UsageError(f"{paper.id}: its rows cannot be counted: say --any-rows")
        if means.yes:
            raise click.UsageError(
                f"{paper.id}: its rows cannot be counted: say {shlex.join(['pgnotary', *means.typed])} --any-rows"
            )
        return None  # The question says so.
    if max_rows is not None:
        return max_rows
    bound = paper.measured.bound
    return means.ask_for_ceiling(paper) if bound is None else bound


def _say_terms(case: Case, decision: Decision, limits: tuple[tuple[str, str], ...] = ()) -> None:
    """Write what the signature will say, a line for each; the question that follows names the request alone."""
    click.echo("", err=True)
    say("answer", decision.answer.value)
    for label, limit in limits:
        say(label, limit)
    say("why", decision.reason)
    say("signer", case.signer.words)


@click.command()
@_signing
def deny(_ctx: click.Context, means: _Means, why: str) -> None:
    """Sign that a held statement must not run; the engineer is told why.

    \b
    pgnotary deny R-1 -m "add tenant_id to the WHERE"
    """
    case = means.open()
    decision = case.draw_up(Answer.DENY, why, None)
    _say_terms(case, decision)
    means.ask(f"Sign denial of {case.name}?")
    recorded = case.hand_in(decision)
    click.echo(f"denied  {case.paper.id}  ledger #{recorded.seq}")

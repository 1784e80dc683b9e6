"""The commands that sign: `approve` and `deny`.

What would be signed is shown first, recomputed from the bytes that the signature binds (`pgnotary.approval.papers`).
Questions, and what one must read before answering them, go to stderr; a question names the request by its id and
digest and holds nothing that the engineer wrote. Nothing is signed unseen: a person is shown it and asked, a script
must name the whole digest of what it has fetched, preview included.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pgnotary.cli.approver_options import (
    Place,
    Where,
    at_proxy,
    heads_option,
    key_option,
    memory_of,
)
from pgnotary.cli.asking import ask, check_terminal, say, why_words, width
from pgnotary.cli.completing import complete_open
from pgnotary.cli.deciding import Case, identify, open_paper
from pgnotary.cli.hidden import secrets_option
from pgnotary.cli.keys import load_key
from pgnotary.cli.known_ledger import trust
from pgnotary.cli.outcomes import outcome_in_words
from pgnotary.cli.paper_view import describe, time_left
from pgnotary.cli.safe_text import visible
from pgnotary.cli.target import Target, check_said, read_target
from pgnotary.cli.terminal import print_broken
from pgnotary.cli.terms import Wish, limits, rows_options, say_terms, unlimited
from pgnotary.request.decision import Answer

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
        if self.yes:
            check_said(self.target, "context")
        else:
            check_terminal()
        key = load_key(self.key_path, self.place)
        client = self.place.client(lambda: key)
        paper = open_paper(client.request(self.target.id), self.target, yes=self.yes)
        for line in describe(paper, width(), secrets=self.secrets, asks=True):
            click.echo(line, err=True)
        print_broken(time_left(paper, datetime.now(UTC)), err=True)
        memory = memory_of(self.heads)
        trusted = trust(self.place.proxy_key(), memory, paper.ledger)
        for note in trusted.notes:
            say("note", note)
        return Case(client, paper, identify(client, key, paper, alone=alone), trusted.vkey, memory)

    def ask(self, question: str) -> None:
        """Have the question answered with yes; raises Failed otherwise."""
        ask(question, yes=self.yes)


def _signing(command: Callable[..., None]) -> Callable[..., None]:
    """Add what `approve` and `deny` have in common; the command gets it as its `_Means`."""

    @click.argument("target", metavar="ID[@DIGEST]", callback=read_target, shell_complete=complete_open)
    @click.option("-m", "--reason", "why", required=True, callback=why_words, help="Why; the engineer is told.")
    @key_option
    @click.option(
        "--yes", is_flag=True, help="Do not ask; needs ID@ and the whole digest, `context` in `show ID --json`."
    )
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
@rows_options
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
    wait_s: float,
    *,
    break_glass: bool,
    **rows: Any,
) -> None:
    """Sign that a held statement may run, and wait for its outcome.

    \b
    pgnotary approve R-1 -m "backup b-771 is there"
    pgnotary approve R-1@DIGEST -m "backup b-771 is there" --max-rows 2000 --yes
    """
    wish = Wish(yes=means.yes, typed=means.typed, **rows)
    wish.check()
    case = means.open(alone=break_glass)
    answer = Answer.BREAK_GLASS if break_glass else Answer.APPROVE
    decision = case.draw_up(answer, why, wish.ceiling(case.paper))
    say_terms(case.signer.words, decision, limits(decision.ceiling, counted=wish.max_rows is None))
    what = "BREAK THE GLASS, ALONE, for" if break_glass else "Sign approval of"
    means.ask(f"{what} {case.name}{unlimited(decision.ceiling)}?")
    recorded = case.hand_in(decision)
    if break_glass:
        say("glass", f"broken: somebody else must say `pgnotary reviewed {case.paper.id}`")
    still = f", {visible(recorded.missing)} needed" if recorded.missing else ""
    click.echo(f"approved  {case.paper.id}  ledger #{recorded.seq}{still}")
    if wait_s > 0 or recorded.missing:
        words, status = outcome_in_words(case.paper, case.await_outcome(wait_s))
        print_broken(words)
        ctx.exit(status)


@click.command()
@_signing
def deny(_ctx: click.Context, means: _Means, why: str) -> None:
    """Sign that a held statement must not run; the engineer is told why.

    \b
    pgnotary deny R-1 -m "add tenant_id to the WHERE"
    """
    case = means.open()
    decision = case.draw_up(Answer.DENY, why, None)
    say_terms(case.signer.words, decision)
    means.ask(f"Sign denial of {case.name}?")
    recorded = case.hand_in(decision)
    click.echo(f"denied  {case.paper.id}  ledger #{recorded.seq}")

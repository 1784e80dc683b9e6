"""The approver's commands: look at what is held, and sign what to do about it.

`requests`, `show` and `watch` read; `approve` and `deny` sign. Whatever is shown was recomputed from the bytes that a
signature binds (`pgnotary.approval.papers`). Data goes to stdout; questions, and what one must read before answering
them, go to stderr. Nothing is signed unseen: a person is shown it and asked, a script must name the digest of what it
has fetched.
"""

import functools
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from pgnotary.approval.bodies import Standing
from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.papers import Paper, read_paper
from pgnotary.cli.approver_key import key
from pgnotary.cli.approver_options import (
    Place,
    Target,
    config_option,
    key_option,
    load_key,
    load_proxy_key,
    place_of,
    proxy_key_option,
    read_target,
    socket_option,
)
from pgnotary.cli.deciding import Case, identify, open_paper, outcome_in_words, state_of
from pgnotary.cli.exits import Exit, Failed, exit_of, telling
from pgnotary.cli.paper_view import TABLE_HEADINGS, describe, facts, rows_in_words, table_row
from pgnotary.cli.safe_text import visible
from pgnotary.errors import ApiError, BrokenSeal, PgnotaryError
from pgnotary.ledger.canonical import MAX_INT
from pgnotary.request.decision import Answer
from pgnotary.request.life import State

__all__ = ["COMMANDS", "approve", "deny", "key", "requests", "show", "watch"]

_MAX_WHY_CHARS = 1_000
# Beside the line numbers of a statement.
_MARGIN = 8
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _words(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """Check the approver's own words: they are kept for ever and shown to the engineer."""
    why = value.strip()
    if not why or not why.isprintable() or len(why) > _MAX_WHY_CHARS:
        raise click.BadParameter(f"expected one line of 1 to {_MAX_WHY_CHARS} printable characters")
    return why


@click.command()
@socket_option
@config_option
@_json_option
@click.pass_context
@telling
def requests(ctx: click.Context, socket_path: Path | None, config: Path | None, *, as_json: bool) -> None:
    """List the statements that wait for a decision, oldest first."""
    client = ApprovalClient(place_of(ctx, socket_path, config).socket)
    papers: list[Paper] = []
    doubts: list[PgnotaryError] = []
    for body in client.requests():
        try:
            papers.append(read_paper(body, body.id))
        except (ApiError, BrokenSeal) as error:
            doubts.append(error)
    if as_json:
        click.echo(json.dumps([facts(paper) for paper in papers], indent=2))
    elif papers:
        _print_table(papers)
    elif not doubts:
        click.echo("nothing is held", err=True)
    for doubt in doubts:
        click.echo(f"pgnotary: left out: {visible(str(doubt))}", err=True)
    if doubts:
        ctx.exit(exit_of(doubts[0]))


def _print_table(papers: Iterable[Paper]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    now = datetime.now(UTC)
    table = Table(box=None, pad_edge=False, header_style="")
    for heading in TABLE_HEADINGS:
        table.add_column(heading, no_wrap=True, justify="right" if heading in ("AGE", "LEFT", "ROWS") else "left")
    for paper in papers:
        table.add_row(*(Text(cell) for cell in table_row(paper, now)))
    # What is piped is not cut to the width of a terminal.
    width = None if sys.stdout.isatty() else 10_000
    console = Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


@click.command()
@click.argument("target", metavar="ID[@DIGEST]", callback=read_target)
@socket_option
@config_option
@click.option("--ledger", type=click.Path(path_type=Path, dir_okay=False), help="Where to read of ended requests.")
@_json_option
@click.pass_context
@telling
def show(
    ctx: click.Context,
    target: Target,
    socket_path: Path | None,
    config: Path | None,
    ledger: Path | None,
    *,
    as_json: bool,
) -> None:
    """Show a request: an open one as it would be signed, an ended one as the ledger tells it."""
    place = place_of(ctx, socket_path, config)
    ledger = ledger or place.ledger
    try:
        standing = ApprovalClient(place.socket).request(target.id)
    except ApiError as error:
        if error.status != 0 or ledger is None or as_json:
            raise
        click.echo(f"pgnotary: {visible(str(error))}; this is what the ledger tells", err=True)
        _print_story(ledger, target.id)
        return
    if standing.paper is not None or state_of(standing) is State.HELD:
        _print_open(open_paper(standing, target), as_json=as_json)
    elif as_json:
        click.echo(json.dumps(_fields(standing), indent=2))
    elif ledger is not None:
        _print_story(ledger, target.id)
    else:
        click.echo(_in_words(standing))


def _print_open(paper: Paper, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts(paper), indent=2))
        return
    for line in describe(paper, datetime.now(UTC), _width(sys.stdout.isatty())):
        click.echo(line)


def _print_story(ledger: Path, name: str) -> None:
    from pgnotary.cli.auditor import print_story
    from pgnotary.store.reader import SqliteReader

    with SqliteReader(ledger) as reader:
        print_story(reader, name)


def _width(on_terminal: bool) -> int:  # noqa: FBT001 - the only thing it depends on
    return max(shutil.get_terminal_size().columns - _MARGIN, 40) if on_terminal else 100


def _fields(standing: Standing) -> dict[str, str | int]:
    fields = {"id": standing.id, "state": standing.state, "rows": standing.rows, "seq": standing.seq}
    return {name: value for name, value in fields.items() if value is not None}


def _in_words(standing: Standing) -> str:
    rows = "" if standing.rows is None else f", {standing.rows:,} rows"
    place = "" if standing.seq is None else f" (#{standing.seq})"
    return f"{visible(standing.id)}  {state_of(standing)}{rows}{place}"


@dataclass(frozen=True, slots=True)
class _Means:
    """What a person brings along to decide: where, over what, with which keys, and whether they can be asked."""

    place: Place
    target: Target
    key_path: Path | None
    proxy_key: Path | None
    yes: bool

    def open(self) -> Case:
        """Fetch and show what there is to decide; raises if it is not open, not to be believed, or not theirs."""
        if self.yes and not self.target.prefix:
            raise click.UsageError(f"--yes needs {self.target.id}@ and 8 hex digits or more of the digest in `show`")
        if not self.yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise click.UsageError("this is no terminal, so nobody can be asked: say ID@DIGEST and --yes")
        key = load_key(self.key_path)
        client = ApprovalClient(self.place.socket)
        paper = open_paper(client.request(self.target.id), self.target)
        for line in describe(paper, datetime.now(UTC), _width(sys.stderr.isatty())):
            click.echo(line, err=True)
        vkey = load_proxy_key(self.proxy_key, self.place.socket)
        if vkey is None:
            click.echo("note      the proxy's key is not known here: its head goes unchecked (--proxy-key)", err=True)
        return Case(client, paper, identify(client, key, paper), vkey)

    def ask(self, question: str) -> None:
        """Have the question answered with yes; raises Failed otherwise."""
        if self.yes:
            click.echo(f"{question} --yes", err=True)
        elif not click.confirm(question, err=True):
            raise Failed("nothing was signed", Exit.FAILED)


def _signing(command: Callable[..., None]) -> Callable[..., None]:
    """Add what `approve` and `deny` have in common; the command gets it as its `_Means`."""

    @click.argument("target", metavar="ID[@DIGEST]", callback=read_target)
    @click.option("-m", "--reason", "why", required=True, callback=_words, help="Why; the engineer is told.")
    @key_option
    @click.option("--yes", is_flag=True, help="Do not ask; needs ID@DIGEST, as `show` prints it.")
    @proxy_key_option
    @socket_option
    @config_option
    @click.pass_context
    @telling
    @functools.wraps(command)
    def signing(
        ctx: click.Context,
        /,
        target: Target,
        key_path: Path | None,
        proxy_key: Path | None,
        socket_path: Path | None,
        config: Path | None,
        *,
        yes: bool,
        **rest: object,
    ) -> None:
        command(ctx, _Means(place_of(ctx, socket_path, config), target, key_path, proxy_key, yes), **rest)

    return signing


@click.command()
@click.option("--max-rows", type=click.IntRange(0, MAX_INT), help="Roll back beyond N rows.  [default: those counted]")
@click.option("--any-rows", is_flag=True, help="However many rows it is.")
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
    ctx: click.Context, means: _Means, why: str, max_rows: int | None, wait_s: float, *, any_rows: bool
) -> None:
    """Sign that a held statement may run, and wait for its outcome.

    \b
    pgnotary approve R-1 -m "backup b-771 is there"
    pgnotary approve R-1@9b1f22aa -m "backup b-771 is there" --max-rows 2000 --yes
    """
    if any_rows and max_rows is not None:
        raise click.UsageError("say --max-rows N or --any-rows, not both")
    case = means.open()
    decision = case.draw_up(Answer.APPROVE, why, None if any_rows else _ceiling(case.paper, max_rows))
    counted = " (as counted)" if not any_rows and max_rows is None else ""
    limit = "any number of rows" if decision.max_rows is None else f"at most {decision.max_rows:,} rows{counted}"
    means.ask(f"Sign approval of {case.what}, {limit}, as {case.signer.words}?")
    recorded = case.hand_in(decision)
    click.echo(f"approved  {case.paper.id}  ledger #{recorded.seq}")
    if wait_s > 0:
        words, status = outcome_in_words(case.paper, case.await_outcome(wait_s))
        click.echo(words)
        ctx.exit(status)


def _ceiling(paper: Paper, max_rows: int | None) -> int:
    """Return how many rows may be approved; without a count it is for the approver to say."""
    if max_rows is not None:
        return max_rows
    if paper.measured.exact is None:
        why = f": {visible(paper.measured.why)}" if paper.measured.why else ""
        raise click.UsageError(
            f"{paper.id} has no exact count to go by ({rows_in_words(paper.measured)}{why}); "
            "say --max-rows N, beyond which it is rolled back, or --any-rows"
        )
    return paper.measured.exact


@click.command()
@_signing
def deny(_ctx: click.Context, means: _Means, why: str) -> None:
    """Sign that a held statement must not run; the engineer is told why.

    \b
    pgnotary deny R-1 -m "add tenant_id to the WHERE"
    """
    case = means.open()
    decision = case.draw_up(Answer.DENY, why, None)
    means.ask(f"Sign denial of {case.what}, as {case.signer.words}?")
    recorded = case.hand_in(decision)
    click.echo(f"denied  {case.paper.id}  ledger #{recorded.seq}")


@click.command()
@socket_option
@config_option
@_json_option
@click.pass_context
@telling
def watch(ctx: click.Context, socket_path: Path | None, config: Path | None, *, as_json: bool) -> None:
    """Print a line for each request that is held or ends, until Ctrl-C; one JSON object a line if piped."""
    client = ApprovalClient(place_of(ctx, socket_path, config).socket)
    as_json = as_json or not sys.stdout.isatty()
    known: list[str] = []
    for ids in client.events():
        for name in ids:
            if name not in known:
                _tell_held(client, name, as_json=as_json)
        for name in known:
            if name not in ids:
                _tell_ended(client, name, as_json=as_json)
        known = ids


def _tell_held(client: ApprovalClient, name: str, *, as_json: bool) -> None:
    try:
        standing = client.request(name)
        if standing.paper is None:
            return  # It has ended meanwhile, which the next event tells.
        paper = read_paper(standing.paper, name)
    except (ApiError, BrokenSeal) as error:
        if exit_of(error) is Exit.UNREACHABLE:
            raise
        click.echo(f"pgnotary: {visible(name)}: {visible(str(error))}", err=True)
        return
    if as_json:
        click.echo(json.dumps({"event": "held", **facts(paper)}))
    else:
        _, _, left, *cells = table_row(paper, datetime.now(UTC))
        click.echo("  ".join([paper.id, "held", *cells, f"{left} left"]))


def _tell_ended(client: ApprovalClient, name: str, *, as_json: bool) -> None:
    standing = client.request(name)
    click.echo(json.dumps({"event": "ended", **_fields(standing)}) if as_json else _in_words(standing))


COMMANDS: Sequence[click.Command] = (key, requests, show, approve, deny, watch)

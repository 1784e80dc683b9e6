"""The commands that look at what is held: `requests`, `show` and `watch`.

Whatever is shown of an open request was recomputed from the bytes that a signature binds (`pgnotary.approval.papers`);
of an ended one the ledger tells, if it is at hand. Data goes to stdout, talk to stderr. docs/scripts.md says what
`--json` prints; its names are a promise.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from pgnotary.approval.bodies import Standing
from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.papers import Paper, read_paper
from pgnotary.audit.story import Story, stories
from pgnotary.cli.approver_options import Where, at_proxy, key_option
from pgnotary.cli.completing import complete_open
from pgnotary.cli.deciding import check_digest, check_paper, open_paper
from pgnotary.cli.exits import Exit, Failed, exit_of
from pgnotary.cli.hidden import secrets_option
from pgnotary.cli.keys import client_at
from pgnotary.cli.outcomes import standing_fields, standing_in_words, standing_line, state_of
from pgnotary.cli.paper_facts import facts
from pgnotary.cli.paper_view import describe, text_width, time_left
from pgnotary.cli.request_table import held_line, table_lines
from pgnotary.cli.safe_text import cut, visible
from pgnotary.cli.target import Target, read_target
from pgnotary.cli.terminal import print_broken, print_page, terminal_columns
from pgnotary.errors import ApiError, BrokenSeal, PgnotaryError
from pgnotary.request import decision as decisions
from pgnotary.request.life import State

__all__ = ["requests", "show", "watch"]

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@at_proxy
@key_option
@_json_option
@click.pass_context
def requests(ctx: click.Context, where: Where, key_path: Path | None, *, as_json: bool) -> None:
    """List the statements that wait for a decision, oldest first.

    With --json, one array of objects.
    """
    client = client_at(where(), key_path)
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
        # What is piped is not cut to the width of a terminal.
        for line in table_lines(papers, datetime.now(UTC), terminal_columns(sys.stdout)):
            click.echo(line)
    elif not doubts:
        click.echo("nothing is held", err=True)
    for doubt in doubts:
        click.echo(f"pgnotary: left out: {visible(str(doubt))}", err=True)
    if doubts:
        ctx.exit(exit_of(doubts[0]))


@click.command()
@click.argument("target", metavar="ID[@DIGEST]", callback=read_target, shell_complete=complete_open)
@at_proxy
@key_option
@click.option(
    "--ledger", type=click.Path(path_type=Path), help="Where to read of ended requests: a file, or an export."
)
@click.option(
    "--export",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write an open request into a new file, for `sign` on a machine without a network.",
)
@click.option(
    "--known", type=click.IntRange(min=0), default=0, metavar="N", help="How many entries that machine remembers."
)
@click.option("--page", is_flag=True, help="Of an ended request: print the page that was signed, not what came of it.")
@secrets_option
@_json_option
def show(
    target: Target,
    where: Where,
    key_path: Path | None,
    ledger: Path | None,
    export: Path | None,
    known: int,
    *,
    page: bool,
    secrets: bool,
    as_json: bool,
) -> None:
    """Show a request: an open one as it would be signed, an ended one as the ledger tells it.

    Secrets in its texts (passwords, keys, connection strings) are hidden; what is signed is always the full text.

    With --json, one object: of an open request the entries that would be signed, of an ended one what `search --json`
    prints. With --page and --ledger, no proxy is asked: the page is drawn again from the ledger, in the same bytes.
    """
    if page and ledger is not None:
        _print_past(ledger, target, as_json=as_json, secrets=secrets)
        return
    place = where()
    if export is not None:
        from pgnotary.cli.offline import export_paper

        if page or as_json:
            raise click.UsageError("--export writes a file and prints nothing: leave out --page and --json")
        export_paper(client_at(place, key_path), target, export, known)
        return
    ledger = ledger or place.ledger
    try:
        standing = client_at(place, key_path).request(target.id)
    except ApiError as error:
        if error.status != 0 or ledger is None:
            raise
        click.echo(f"pgnotary: {visible(str(error))}; this is what the ledger tells", err=True)
        (_print_past if page else _print_ended)(ledger, target, as_json=as_json, secrets=secrets)
        return
    if standing.paper is not None or state_of(standing) is State.HELD:
        _print_open(open_paper(standing, target), as_json=as_json, secrets=secrets)
    elif ledger is not None:
        (_print_past if page else _print_ended)(ledger, target, as_json=as_json, secrets=secrets)
    elif target.prefix:
        raise Failed(f"{target.id} has ended: its digest is in the ledger, name it with --ledger FILE", Exit.FAILED)
    else:
        click.echo(json.dumps(standing_fields(standing), indent=2) if as_json else standing_line(standing))


def _print_open(paper: Paper, *, as_json: bool, secrets: bool) -> None:
    _print_page(paper, as_json=as_json, secrets=secrets)
    if not as_json:
        print_broken(time_left(paper, datetime.now(UTC)), err=True)


def _print_page(paper: Paper, *, as_json: bool, secrets: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts(paper, secrets=secrets), indent=2))
        return
    width = text_width(terminal_columns(sys.stdout))
    print_page(describe(paper, width, secrets=secrets))


def _print_past(ledger: Path, target: Target, *, as_json: bool, secrets: bool) -> None:
    """Print the page of a request as it was shown, and who decided over it."""
    from pgnotary.cli.ledger_source import open_ledger, say_archived
    from pgnotary.cli.past_page import past_page

    with open_ledger(None, ledger, None) as source:
        say_archived(source.reader)
        paper, decision = past_page(source.reader, target.id)
    check_paper(target, paper)
    _print_page(paper, as_json=as_json, secrets=secrets)
    if decision is None:
        click.echo(f"{target.id}   nobody has decided over it", err=True)
    else:
        click.echo(f"{target.id}   {visible(decision.approver)} said {decision.answer} to this", err=True)


def _print_ended(ledger: Path, target: Target, *, as_json: bool, secrets: bool) -> None:
    """Print the story of a request that its ledger tells, if it is the one that is meant."""
    from pgnotary.audit.search import story_fields
    from pgnotary.audit.veil import Veil
    from pgnotary.audit.witness import covered
    from pgnotary.cli.auditor import print_story
    from pgnotary.cli.ledger_source import open_ledger, say_archived

    with open_ledger(None, ledger, None) as source:
        reader = source.reader
        say_archived(reader)
        told = stories(covered(reader, None).entries(), None if secrets else Veil())
        story: Story | None = next((each for each in told if each.request == target.id), None)
        if story is None:
            raise Failed(f"the ledger {ledger} has no request {target.id}", Exit.FAILED)
        check_digest(target, story.steps[0].leaf.hex(), *_signed_contexts(story))
        if as_json:
            click.echo(json.dumps(story_fields(story), indent=2))
        else:
            print_story(reader, target.id, secrets=secrets)


def _signed_contexts(story: Story) -> list[str]:
    """Return what the question named that was answered with a signature."""
    return [decisions.read(each.document).context.hex() for each in story.carried_by if each.document]


@click.command()
@at_proxy
@key_option
@_json_option
def watch(where: Where, key_path: Path | None, *, as_json: bool) -> None:
    """Print a line for each request that is held, decided or ends, until Ctrl-C.

    One JSON object a line with --json, or if piped.
    """
    client = client_at(where(), key_path)
    width = terminal_columns(sys.stdout)
    as_json = as_json or width is None
    known: list[str] = []
    for event in client.events():
        if isinstance(event, Standing):
            moved = {"event": "moved", **standing_fields(event)}
            click.echo(json.dumps(moved) if as_json else cut(standing_in_words(event), width or sys.maxsize))
            continue
        for name in event:
            if name not in known:
                _tell_held(client, name, None if as_json else width)
        known = event


def _tell_held(client: ApprovalClient, name: str, width: int | None) -> None:
    """Print that a request is held; as JSON if there is no width."""
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
    if width is None:
        click.echo(json.dumps({"event": "held", **facts(paper)}))
    else:
        click.echo(held_line(paper, datetime.now(UTC), width))

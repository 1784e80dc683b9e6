"""The auditors' commands that read a ledger: search and replay, and all that it tells about one request.

A ledger and what somebody looks for enter, lines on stdout leave; talk goes to stderr. Nothing here verifies: what is
told is no more than what the newest checkpoint covers. No secret of a text is printed unless it is asked for.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from pgnotary.cli.auditor_output import ending, print_json, print_table, say_veiled, show, show_veiled
from pgnotary.cli.hidden import secrets_option
from pgnotary.cli.ledger_source import archive_option, open_ledger, say_archived, source_options
from pgnotary.cli.period import period, period_options
from pgnotary.request.life import State
from pgnotary.store import LedgerReader, base_of

__all__ = ["print_story", "replay", "search"]

if TYPE_CHECKING:
    from pgnotary.audit.executions import Counted, Execution
    from pgnotary.audit.search import Search
    from pgnotary.audit.story import Story
    from pgnotary.audit.veil import Veil

_Found = TypeVar("_Found", bound="Story | Execution | Counted")


@click.command()
@source_options
@archive_option
@click.option("--who", help="User, person or approver; in full, or what stands before an @.")
@click.option("--relation", help="A relation, with or without its schema.")
@period_options
@click.option("--outcome", type=click.Choice([state.value for state in State]))
@click.option("--kind", help="delete, update, drop, ...")
@click.option("--text", help="A part of the statement.")
@click.option("--forwarded", is_flag=True, help="Search what was forwarded without a decision.")
@secrets_option
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@ending
def search(
    config: Path | None,
    ledger: Path | None,
    archives: tuple[Path, ...],
    key: str | None,
    forwarded: bool,  # noqa: FBT001 - click passes options by name
    secrets: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    **conditions: str | None,
) -> None:
    """Find requests, or forwarded statements. Does not verify: see `verify`.

    Secrets in texts are hidden, from --text too.

    \b
    pgnotary search --relation orders --since 7d
    pgnotary search --who eva --outcome denied --json
    """
    from pgnotary.audit.veil import Veil
    from pgnotary.audit.witness import covered

    if forwarded and conditions["outcome"]:
        raise click.UsageError("--outcome is about requests; forwarded statements have none")
    looking = _search(**conditions)
    with open_ledger(config, ledger, key, archives) as source:
        say_archived(source.reader)
        reader = covered(source.reader, source.vkey)
        veil = None if secrets else Veil()
        (_find_forwarded if forwarded else _find_requests)(looking, reader, veil, as_json=as_json)
        say_veiled(veil)
    if looking.withheld:
        show(f"{looking.withheld:,} more could not be looked into: their statements are withheld", err=True)
    if looking.redacted:
        show(f"{looking.redacted:,} more could not be looked into: their statements were redacted", err=True)
    if looking.not_kept:
        show(f"{looking.not_kept:,} more could not be looked into: a rule keeps no text of them", err=True)


@click.command()
@click.argument("what")
@source_options
@archive_option
@secrets_option
@ending
def replay(
    what: str,
    config: Path | None,
    ledger: Path | None,
    archives: tuple[Path, ...],
    key: str | None,
    secrets: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Tell a session (S-...), a request (R-...) or what an entry (#12) belongs to, as it happened.

    \b
    pgnotary replay R-17
    pgnotary replay '#812'
    """
    from pgnotary.audit.replay import replay as retell
    from pgnotary.audit.veil import Veil
    from pgnotary.audit.witness import covered

    veil = None if secrets else Veil()
    with open_ledger(config, ledger, key, archives) as source:
        say_archived(source.reader)
        show_veiled(retell(covered(source.reader, source.vkey), what, veil), veil)


def print_story(reader: LedgerReader, request_id: str, *, secrets: bool = False) -> None:
    """Print all that a ledger tells about one request: what was asked, shown, decided, and how it ended."""
    from pgnotary.audit.replay import replay as retell
    from pgnotary.audit.story import stories
    from pgnotary.audit.veil import Veil
    from pgnotary.audit.witness import covered
    from pgnotary.audit.words import story_lines

    veil = None if secrets else Veil()
    reader = covered(reader, None)
    story = next((story for story in stories(reader.entries(), veil) if story.request == request_id), None)
    if story is None:
        raise click.ClickException(f"the ledger has no request {request_id}")
    show_veiled((*story_lines(story), "", *retell(reader, request_id, veil)), veil)


def _search(
    *,
    who: str | None,
    relation: str | None,
    since: str | None,
    until: str | None,
    outcome: str | None,
    kind: str | None,
    text: str | None,
) -> "Search":
    """Return the search that the options ask for."""
    from pgnotary.audit.search import Search, Wanted

    begin, end = period(since, until)
    state = State(outcome) if outcome else None
    return Search(Wanted(who=who, relation=relation, since=begin, until=end, outcome=state, kind=kind, text=text))


def _find_requests(looking: "Search", reader: LedgerReader, veil: "Veil | None", *, as_json: bool) -> None:
    from pgnotary.audit.search import story_fields
    from pgnotary.audit.story import stories
    from pgnotary.audit.words import STORY_COLUMNS, story_row

    found = _watched(
        looking.stories(stories(reader.entries(), veil)),
        veil,
        lambda story: (story.statement, *(story.parameters or ())),
    )
    if as_json:
        print_json(map(story_fields, found))
    else:
        print_table(STORY_COLUMNS, map(story_row, found))


def _find_forwarded(looking: "Search", reader: LedgerReader, veil: "Veil | None", *, as_json: bool) -> None:
    from pgnotary.audit.executions import executions
    from pgnotary.audit.redactions import Redactions
    from pgnotary.audit.search import execution_fields
    from pgnotary.audit.words import EXECUTION_COLUMNS, execution_row

    redactions = Redactions.of(reader.entries())
    told = looking.executions(executions(reader.entries(), veil, redactions, base_of(reader)))
    found = _watched(told, veil, lambda each: (each.statement,))
    if as_json:
        print_json(map(execution_fields, found))
    else:
        print_table(EXECUTION_COLUMNS, map(execution_row, found))


def _watched(
    found: Iterable[_Found], veil: "Veil | None", texts: Callable[[_Found], Iterable[str | None]]
) -> Iterator[_Found]:
    """Pass on what was found, and let the veil see its texts."""
    for each in found:
        if veil:
            veil.notice("\n".join(filter(None, texts(each))))
        yield each

"""The auditors' commands: verify, search, export, replay and report.

Arguments enter, lines on stdout leave; talk goes to stderr. Exit status: 0, 1 if verification failed, 2 for wrong
usage. Every line with text from the ledger is escaped before it reaches a terminal; JSON is pure ASCII.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from pgnotary.cli.ledger_source import Source, open_ledger, source_options
from pgnotary.cli.safe_text import visible
from pgnotary.errors import BadCheckpoint, BadRoster, LedgerBroken
from pgnotary.ledger.canonical import JSON
from pgnotary.request.life import State
from pgnotary.request.roster import Roster, parse_roster
from pgnotary.store import LedgerReader
from pgnotary.verify.checklist import Summary

__all__ = ["COMMANDS", "export", "print_story", "replay", "report", "search", "verify"]

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, exists=True))
@source_options
@click.option("--allowed-signers", type=_FILE, help="Hold all decisions against this roster.")
@click.option(
    "--checkpoint", "remembered", type=_FILE, multiple=True, help="A checkpoint that you remember; repeatable."
)
@click.option("--verbose", "-v", is_flag=True, help="List approvals that never ran.")
@click.pass_context
def verify(
    context: click.Context,
    folder: Path | None,
    config: Path | None,
    ledger: Path | None,
    key: str | None,
    allowed_signers: Path | None,
    remembered: tuple[Path, ...],
    verbose: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Check a whole ledger, or an exported FOLDER: every hash, signature, roster and step.

    \b
    pgnotary verify
    pgnotary verify evidence/ --key proxy.vkey --allowed-signers allowed_signers
    """
    from pgnotary.audit.check import check

    roster = _roster(allowed_signers)
    try:
        with open_ledger(config, folder or ledger, key) as source:
            notes = [path.read_text() for path in remembered]
            vkey = _vkey(source)
            summary = check(source.reader, vkey, roster=roster, remembered=notes)
            for line in _good(summary, source, vkey, pinned_roster=roster is not None, verbose=verbose):
                _show(line)
    except LedgerBroken as broken:
        for fault in broken.faults:
            _show(f"FAIL  {fault}")
        context.exit(1)


@click.command()
@source_options
@click.option("--who", help="User, person or approver; in full, or what stands before an @.")
@click.option("--relation", help="A relation, with or without its schema.")
@click.option("--since", metavar="WHEN", help="A date, a time, or 7d, 24h, 30m ago.")
@click.option("--until", metavar="WHEN", help="As --since.")
@click.option("--outcome", type=click.Choice([state.value for state in State]))
@click.option("--kind", help="delete, update, drop, ...")
@click.option("--text", help="A part of the statement.")
@click.option("--forwarded", is_flag=True, help="Search what was forwarded without a decision.")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def search(
    config: Path | None,
    ledger: Path | None,
    key: str | None,
    who: str | None,
    relation: str | None,
    since: str | None,
    until: str | None,
    outcome: str | None,
    kind: str | None,
    text: str | None,
    forwarded: bool,  # noqa: FBT001 - click passes options by name
    as_json: bool,  # noqa: FBT001
) -> None:
    """Find requests, or forwarded statements. Does not verify: see `verify`.

    \b
    pgnotary search --relation orders --since 7d
    pgnotary search --who eva --outcome denied --json
    """
    from pgnotary.audit import search as searching
    from pgnotary.audit.executions import executions
    from pgnotary.audit.story import stories
    from pgnotary.audit.words import EXECUTION_COLUMNS, STORY_COLUMNS, execution_row, story_row

    if forwarded and outcome:
        raise click.UsageError("--outcome is about requests; forwarded statements have none")
    wanted = searching.Wanted(
        who=who,
        relation=relation,
        since=_moment(since),
        until=_moment(until),
        outcome=State(outcome) if outcome else None,
        kind=kind,
        text=text,
    )
    with open_ledger(config, ledger, key) as source:
        entries = source.reader.entries()
        if forwarded:
            ran = searching.find_executions(executions(entries), wanted)
            if as_json:
                _print_json(map(searching.execution_fields, ran))
            else:
                _print_table(EXECUTION_COLUMNS, map(execution_row, ran))
            return
        asked = searching.find(stories(entries), wanted)
        if as_json:
            _print_json(map(searching.story_fields, asked))
        else:
            _print_table(STORY_COLUMNS, map(story_row, asked))


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@source_options
@click.option("--csv", "table_path", type=click.Path(allow_dash=True), help="A table of all requests; - for stdout.")
@click.option(
    "--withhold", multiple=True, metavar="NAME", help="Leave sealed values out: statement, reason, error, t*."
)
def export(
    folder: Path | None,
    config: Path | None,
    ledger: Path | None,
    key: str | None,
    table_path: str | None,
    withhold: tuple[str, ...],
) -> None:
    """Write a ledger into a new FOLDER that anybody can check by hand, or its requests into a table.

    \b
    pgnotary export evidence/ --withhold statement --withhold 't*'
    pgnotary export --csv requests.csv
    """
    if folder is None and table_path is None:
        raise click.UsageError("name a folder, or a table with --csv")
    with open_ledger(config, ledger, key) as source:
        if folder is not None:
            _export_folder(source, folder, withhold)
        if table_path is not None:
            _export_table(source.reader, table_path, withhold)


@click.command()
@click.argument("what")
@source_options
def replay(what: str, config: Path | None, ledger: Path | None, key: str | None) -> None:
    """Tell a session (S-...), a request (R-...) or what an entry (#12) belongs to, as it happened.

    \b
    pgnotary replay R-17
    pgnotary replay '#812'
    """
    from pgnotary.audit.replay import UnknownName
    from pgnotary.audit.replay import replay as retell

    with open_ledger(config, ledger, key) as source:
        try:
            for line in retell(source.reader, what):
                _show(line)
        except UnknownName as error:
            raise click.ClickException(str(error)) from error


@click.command()
@source_options
@click.option("--since", metavar="WHEN", help="A date, a time, or 7d, 24h, 30m ago.")
@click.option("--until", metavar="WHEN", help="As --since.")
@click.option(
    "--md",
    "path",
    type=click.Path(allow_dash=True),
    is_flag=False,
    flag_value="-",
    default="-",
    help="Write Markdown to a file; without one, or with -, to stdout.",
)
def report(
    config: Path | None, ledger: Path | None, key: str | None, since: str | None, until: str | None, path: str
) -> None:
    """Report on a period in Markdown: counts, requests, what ended badly, and whether the ledger is whole.

    \b
    pgnotary report --since 2026-10-01 --until 2026-11-01 --md october.md
    """
    from pgnotary.audit.report import gather
    from pgnotary.audit.report import report as written

    with open_ledger(config, ledger, key) as source:
        facts = gather(source.reader, _moment(since), _moment(until), _verification(source))
        with click.open_file(path, "w", encoding="utf-8") as file:
            file.writelines(f"{visible(line)}\n" for line in written(facts))


COMMANDS: Sequence[click.Command] = (verify, search, export, replay, report)


def print_story(reader: LedgerReader, request_id: str) -> None:
    """Print all that a ledger tells about one request: what was asked, shown, decided, and how it ended."""
    from pgnotary.audit.replay import replay as retell
    from pgnotary.audit.story import stories
    from pgnotary.audit.words import story_lines

    story = next((story for story in stories(reader.entries()) if story.request == request_id), None)
    if story is None:
        raise click.ClickException(f"the ledger has no request {visible(request_id)}")
    for line in story_lines(story):
        _show(line)
    _show("")
    for line in retell(reader, request_id):
        _show(line)


def _show(line: str) -> None:
    click.echo(visible(line))


def _print_json(found: Iterable[Mapping[str, JSON | None]]) -> None:
    for each in found:
        click.echo(json.dumps(each))


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    shown = [columns, *([visible(cell) for cell in row] for row in rows)]
    if len(shown) == 1:
        click.echo("nothing found", err=True)
        return
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        # The last column may be as long as it likes.
        *cells, last = row
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)), last]))


def _moment(said: str | None) -> datetime | None:
    from pgnotary.audit.search import moment

    try:
        return None if said is None else moment(said, datetime.now(UTC))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _roster(path: Path | None) -> Roster | None:
    if path is None:
        return None
    try:
        return parse_roster(path.read_text())
    except (BadRoster, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path}: {error}") from error


def _vkey(source: Source) -> str:
    """Return the key to verify with; a bad key is a fault of the ledger only if it came with it."""
    from pgnotary.ledger.checkpoint import parse_vkey

    vkey = source.required_vkey()
    try:
        parse_vkey(vkey)
    except BadCheckpoint as error:
        if source.pinned:
            raise click.UsageError(f"--key: {error}") from error
        raise LedgerBroken([f"the key in the export: {error}"]) from error
    return vkey


def _good(summary: Summary, source: Source, vkey: str, *, pinned_roster: bool, verbose: bool) -> Iterable[str]:
    """Yield what verification can vouch for, and what the reader should know beside it."""
    from pgnotary.audit.check import vouched
    from pgnotary.audit.words import counted

    yield from (f"ok  {line}" for line in vouched(summary, vkey))
    if not source.pinned:
        yield "note  key taken from the export itself: pin it with --key"
    if summary.decisions and not pinned_roster:
        rosters = counted(summary.rosters, "roster")
        yield f"note  decisions held against {rosters} of the ledger itself: pin one with --allowed-signers"
    if summary.unknown:
        yield f"note  outcome unknown: {', '.join(summary.unknown)}"
    if summary.open:
        yield f"note  not ended yet: {', '.join(summary.open)}"
    if verbose and summary.never_run:
        yield f"note  approved and never run: {', '.join(summary.never_run)}"
    yield from (f"note  {note}" for note in summary.notes)


def _verification(source: Source) -> list[str]:
    """Return what verification says, as a report quotes it."""
    from pgnotary.audit.check import check, vouched

    if source.vkey is None:
        return ["Not verified: no key was given."]
    try:
        vkey = _vkey(source)
        summary = check(source.reader, vkey)
    except LedgerBroken as broken:
        return [f"NOT WHOLE: {len(broken.faults)} faults. Nothing below can be relied upon.", *broken.faults]
    pin = "" if source.pinned else " (key taken from the export itself)"
    return [f"Whole: every check of the ledger passed{pin}.", *vouched(summary, vkey)]


def _export_folder(source: Source, folder: Path, withhold: Sequence[str]) -> None:
    from pgnotary.audit.export import export_folder

    done = export_folder(source.reader, folder, source.required_vkey(), withhold)
    click.echo(
        f"wrote {done.entries:,} entries, {done.opened:,} values ({done.withheld:,} withheld) "
        f"and {done.decisions:,} decisions to {folder}; see README.txt there",
        err=True,
    )


def _export_table(reader: LedgerReader, path: str, withhold: Sequence[str]) -> None:
    from pgnotary.audit.export import table
    from pgnotary.audit.story import stories

    with click.open_file(path, "w", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        for row in table(stories(reader.entries()), withhold):
            # Tabs stay: this is data first.
            writer.writerow("\t".join(visible(part, lines=True) for part in cell.split("\t")) for cell in row)

"""The auditors' commands: verify, search, export, replay and report.

Arguments enter, lines on stdout leave; talk goes to stderr. Exit status: 0 if all is good, 1 if the ledger is not
whole, 2 for wrong usage and for what cannot be looked at; `verify` has its own, `Verified`. Only `verify` and `report`
verify; the others tell nothing but what the newest checkpoint covers.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from pgnotary.cli.auditor_output import Verifying, ending, print_faults, print_json, print_table, show
from pgnotary.cli.exits import Verified
from pgnotary.cli.heads_given import GivenHeads, given_heads
from pgnotary.cli.hidden import secrets_option
from pgnotary.cli.ledger_source import Source, archive_option, open_ledger, say_archived, source_options
from pgnotary.cli.safe_text import visible
from pgnotary.errors import BadCheckpoint, BadRoster, LedgerBroken
from pgnotary.request.life import State
from pgnotary.request.roster import Roster, parse_roster
from pgnotary.store import Head, LedgerReader, base_of

__all__ = ["COMMANDS", "export", "print_story", "replay", "report", "search", "verify"]

if TYPE_CHECKING:
    from pgnotary.audit.executions import Counted, Execution
    from pgnotary.audit.search import Search
    from pgnotary.audit.story import Story
    from pgnotary.audit.veil import Veil
    from pgnotary.audit.withheld import Disclosure

_Found = TypeVar("_Found", bound="Story | Execution | Counted")
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(cls=Verifying)
@click.argument("folder", required=False, type=click.Path(path_type=Path, exists=True))
@source_options
@archive_option
@click.option("--allowed-signers", type=_FILE, help="Hold all decisions against this roster.")
@click.option(
    "--checkpoint", "remembered", type=_FILE, multiple=True, help="A checkpoint that you remember; repeatable."
)
@click.option(
    "--heads",
    "head_files",
    type=_FILE,
    multiple=True,
    help="Heads that an approver's command remembers, of any machine; repeatable.",
)
@click.option("--misbehaviour", type=_FILE, help="Check a proof of misbehaviour instead, which needs no ledger.")
@click.option("--verbose", "-v", is_flag=True, help="List approvals that never ran.")
@click.pass_context
@ending
def verify(
    context: click.Context,
    folder: Path | None,
    config: Path | None,
    ledger: Path | None,
    archives: tuple[Path, ...],
    key: str | None,
    allowed_signers: Path | None,
    remembered: tuple[Path, ...],
    head_files: tuple[Path, ...],
    misbehaviour: Path | None,
    verbose: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Check a whole ledger, or an exported FOLDER: every hash, signature, roster and step.

    Exit status: 0 good; 1 tampered; 2 good as far as the evidence reaches: an outcome is unknown, values are withheld
    or redacted, entries are in an archive that is not given, or under no head of --heads; 3 wrong usage, or it cannot
    be looked at.

    \b
    pgnotary verify
    pgnotary verify evidence/ --key proxy.vkey --allowed-signers allowed_signers --heads bo.heads --heads ana.heads
    pgnotary verify --archive archive/2025 --archive archive/2026
    """
    from pgnotary.audit.check import check, gaps, noted, vouched

    if misbehaviour is not None:
        if folder or ledger or remembered or head_files or archives:
            raise click.UsageError("--misbehaviour needs no ledger and no heads: both are in the file")
        context.exit(_check_misbehaviour(misbehaviour, key))
    roster = _roster(allowed_signers)
    try:
        with open_ledger(config, folder or ledger, key, archives) as source:
            vkey = _vkey(source)
            notes = [_checkpoint(path, vkey) for path in remembered]
            # Before the ledger: what is remembered later than it was read is not missing in it.
            heads = given_heads(head_files, vkey) if head_files else None
            try:
                checkpoints = None if heads is None else heads.checkpoints
                summary = check(source.reader, vkey, roster=roster, remembered=notes, heads=checkpoints)
            except LedgerBroken as broken:
                print_faults(broken)
                _accuse(heads, source.reader)
                context.exit(Verified.TAMPERED)
    except LedgerBroken as broken:
        print_faults(broken)
        context.exit(Verified.TAMPERED)
    for line in vouched(summary, vkey):
        show(f"ok  {line}")
    for line in noted(summary, pinned_key=source.pinned, pinned_roster=roster is not None):
        show(f"note  {line}")
    for line in heads.passed_over if heads else ():
        show(f"note  {line}")
    if verbose and summary.never_run:
        show(f"note  approved and not sent: {', '.join(summary.never_run)}")
    missing = list(gaps(summary))
    for line in missing:
        show(f"gap  {line}")
    context.exit(Verified.INCOMPLETE if missing else Verified.WHOLE)


@click.command()
@source_options
@archive_option
@click.option("--who", help="User, person or approver; in full, or what stands before an @.")
@click.option("--relation", help="A relation, with or without its schema.")
@click.option("--since", metavar="WHEN", help="A date, a time, or 7d, 24h, 30m ago.")
@click.option("--until", metavar="WHEN", help="As --since.")
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
        _say_veiled(veil)
    if looking.withheld:
        show(f"{looking.withheld:,} more could not be looked into: their statements are withheld", err=True)
    if looking.redacted:
        show(f"{looking.redacted:,} more could not be looked into: their statements were redacted", err=True)
    if looking.not_kept:
        show(f"{looking.not_kept:,} more could not be looked into: a rule keeps no text of them", err=True)


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@source_options
@archive_option
@click.option("--csv", "table_path", type=click.Path(allow_dash=True), help="A table of all requests; - for stdout.")
@click.option(
    "--withhold",
    multiple=True,
    metavar="NAME",
    help="Leave sealed values out: statement, parameters, prepared, reason, sample, error, document, signature, t*, "
    "or *. A table has statements only.",
)
@click.option("--disclose", multiple=True, metavar="NAME", help="Give these sealed values and no others; repeatable.")
@click.option("--secrets", is_flag=True, help="Give values that hold secrets too, and tables with them.")
@ending
def export(
    folder: Path | None,
    config: Path | None,
    ledger: Path | None,
    archives: tuple[Path, ...],
    key: str | None,
    table_path: str | None,
    withhold: tuple[str, ...],
    disclose: tuple[str, ...],
    secrets: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Write a ledger into a new FOLDER that anybody can check by hand, or its requests into a table.

    Values that hold secrets (passwords, keys, connection strings) are withheld from the folder, and hidden in the
    table. Whatever is left out, the rest verifies; what is named by --disclose and --withhold is left out.

    \b
    pgnotary export evidence/ --withhold statement --withhold 't*'
    pgnotary export evidence/ --disclose statement --disclose reason
    pgnotary export --csv requests.csv
    """
    from pgnotary.audit.withheld import Disclosure

    if folder is None and table_path is None:
        raise click.UsageError("name a folder, or a table with --csv")
    disclosure = Disclosure(withhold, disclose)
    with open_ledger(config, ledger, key, archives) as source:
        if folder is not None:
            _export_folder(source, folder, disclosure, secrets=secrets)
        if table_path is not None:
            _export_table(source, table_path, disclosure, secrets=secrets)


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
        _show_veiled(retell(covered(source.reader, source.vkey), what, veil), veil)


@click.command()
@source_options
@archive_option
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
@ending
def report(
    config: Path | None,
    ledger: Path | None,
    archives: tuple[Path, ...],
    key: str | None,
    since: str | None,
    until: str | None,
    path: str,
) -> None:
    """Report on a period in Markdown: counts, requests, what ended badly, and whether the ledger is whole.

    \b
    pgnotary report --since 2026-10-01 --until 2026-11-01 --md october.md
    """
    from pgnotary.audit.report import gather
    from pgnotary.audit.report import report as written

    period = _period(since, until)
    with open_ledger(config, ledger, key, archives) as source:
        reader, verification, is_broken = _verified(source)
        facts = gather(reader, *period, verification)
        with click.open_file(path, "w", encoding="utf-8") as file:
            file.writelines(f"{visible(line)}\n" for line in written(facts))
    if is_broken:
        raise click.exceptions.Exit(1)


COMMANDS: Sequence[click.Command] = (verify, search, export, replay, report)


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
    _show_veiled((*story_lines(story), "", *retell(reader, request_id, veil)), veil)


def _show_veiled(lines: Iterable[str], veil: "Veil | None") -> None:
    """Print lines; if a secret is hidden in them, say so behind them."""
    for line in lines:
        show(line)
        if veil:
            veil.notice(line)
    _say_veiled(veil)


def _say_veiled(veil: "Veil | None") -> None:
    """Say on stderr that what was printed hides a secret, if it does."""
    from pgnotary.audit.veil import NOTE

    if veil and veil.was_seen:
        show(NOTE, err=True)


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

    begin, end = _period(since, until)
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


def _period(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    begin, end = _moment(since), _moment(until)
    if begin is not None and end is not None and begin > end:
        raise click.UsageError(f"--since {since} is later than --until {until}")
    return begin, end


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


def _accuse(heads: GivenHeads | None, reader: LedgerReader) -> None:
    """Print what was passed over, and every proof of misbehaviour, which is written beside the heads."""
    for line in heads.passed_over if heads else ():
        show(f"note  {line}")
    for line in heads.accuse(reader) if heads else ():
        show(f"proof  {line}")


def _check_misbehaviour(path: Path, key: str | None) -> Verified:
    """Print what a proof of misbehaviour shows; a usage error if it shows nothing."""
    from pgnotary.cli.ledger_source import pinned_key
    from pgnotary.errors import BadProof, NotCanonical
    from pgnotary.verify.misbehaviour import MAX_PROOF_BYTES, examine

    try:
        with path.open("rb") as file:
            shown = examine(file.read(MAX_PROOF_BYTES + 1), None if key is None else pinned_key(key))
    except (BadCheckpoint, BadProof, NotCanonical) as error:
        raise click.UsageError(f"{path} shows nothing: {error}") from error
    show(f"{'FAIL' if shown.proven else 'gap'}  {shown.words}")
    if key is None:
        show(f"note  the key is the one in the file, compare it with the one you know: {shown.key}")
    return Verified.TAMPERED if shown.proven else Verified.INCOMPLETE


def _checkpoint(path: Path, vkey: str) -> str:
    """Return a checkpoint that somebody remembers; a file that holds none is the caller's mistake."""
    from pgnotary.ledger.checkpoint import verify as opened

    try:
        note = path.read_text()
        opened(note, vkey)
    except (BadCheckpoint, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} holds no checkpoint under this key: {error}") from error
    return note


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


def _verified(source: Source) -> tuple[LedgerReader, list[str], bool]:
    """Return what a report reads, what verification says of it, and whether it found faults."""
    from pgnotary.audit.check import check, gaps, noted, vouched
    from pgnotary.audit.witness import Witnessed

    if source.vkey is None:
        return source.reader, ["Not verified: no key was given."], False
    try:
        vkey = _vkey(source)
        summary = check(source.reader, vkey)
    except LedgerBroken as broken:
        faults = f"{len(broken.faults)} fault{'s' * (len(broken.faults) != 1)}"
        return source.reader, [f"NOT WHOLE: {faults}. Nothing below can be relied upon.", *broken.faults], True
    notes = (*gaps(summary), *noted(summary, pinned_key=source.pinned, pinned_roster=False))
    lines = ["Whole: every check of the ledger passed.", *vouched(summary, vkey), *(f"Note: {note}" for note in notes)]
    return Witnessed(source.reader, Head(summary.entries, summary.head)), lines, False


def _export_folder(source: Source, folder: Path, disclosure: "Disclosure", *, secrets: bool) -> None:
    from pgnotary.audit.export import export_folder
    from pgnotary.audit.words import counted

    say_archived(source.reader)
    done = export_folder(
        source.reader,
        folder,
        source.required_vkey(),
        disclosure.withhold,
        disclose=disclosure.disclose,
        secrets=secrets,
    )
    show(
        f"wrote {counted(done.entries, 'entry', 'entries')}, {counted(done.opened, 'value')} "
        f"({done.withheld:,} withheld) and {counted(done.decisions, 'decision')} to {folder}; see README.txt there",
        err=True,
    )
    if done.secret:
        of_them = f"{done.secret:,} of the values withheld, because they hold secrets: --secrets writes them too"
        show(of_them, err=True)


def _export_table(source: Source, path: str, disclosure: "Disclosure", *, secrets: bool) -> None:
    from pgnotary.audit.story import stories
    from pgnotary.audit.table import table
    from pgnotary.audit.veil import Veil
    from pgnotary.audit.witness import covered

    veil = None if secrets else Veil()
    say_archived(source.reader)
    rows = list(table(stories(covered(source.reader, source.vkey).entries(), veil), disclosure))
    if veil:
        veil.notice("".join(cell for row in rows for cell in row))
    _say_veiled(veil)
    with click.open_file(path, "w", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        for row in rows:
            # Tabs stay: this is data first.
            writer.writerow("\t".join(visible(part, lines=True) for part in cell.split("\t")) for cell in row)

"""The auditors' command that reports on a period: report.

A ledger and a period enter, Markdown leaves. The report says whether the ledger is whole, and of one that is not it
says so first; what a whole one tells is what its checkpoints cover.
"""

from pathlib import Path

import click

from pgnotary.cli.auditor_output import ending
from pgnotary.cli.ledger_source import Source, archive_option, open_ledger, source_options
from pgnotary.cli.period import period, period_options
from pgnotary.cli.safe_text import visible
from pgnotary.errors import LedgerBroken
from pgnotary.store import Head, LedgerReader

__all__ = ["report"]


@click.command()
@source_options
@archive_option
@period_options
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

    begin, end = period(since, until)
    with open_ledger(config, ledger, key, archives) as source:
        reader, verification, is_broken = _verified(source)
        facts = gather(reader, begin, end, verification)
        with click.open_file(path, "w", encoding="utf-8") as file:
            file.writelines(f"{visible(line)}\n" for line in written(facts))
    if is_broken:
        raise click.exceptions.Exit(1)


def _verified(source: Source) -> tuple[LedgerReader, list[str], bool]:
    """Return what a report reads, what verification says of it, and whether it found faults."""
    from pgnotary.audit.check import check, gaps, noted, vouched
    from pgnotary.audit.witness import Witnessed

    if source.vkey is None:
        return source.reader, ["Not verified: no key was given."], False
    try:
        vkey = source.checked_vkey()
        summary = check(source.reader, vkey)
    except LedgerBroken as broken:
        faults = f"{len(broken.faults)} fault{'s' * (len(broken.faults) != 1)}"
        return source.reader, [f"NOT WHOLE: {faults}. Nothing below can be relied upon.", *broken.faults], True
    notes = (*gaps(summary), *noted(summary, pinned_key=source.pinned, pinned_roster=False))
    lines = ["Whole: every check of the ledger passed.", *vouched(summary, vkey), *(f"Note: {note}" for note in notes)]
    return Witnessed(source.reader, Head(summary.entries, summary.head)), lines, False

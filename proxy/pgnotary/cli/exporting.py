"""The auditors' command that hands over evidence: export.

A ledger enters; a folder that anybody can check by hand leaves, or a table of its requests. A value that holds a
secret is written only where its auditor says so; what is left out never keeps the rest from verifying.
"""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgnotary.cli.auditor_output import ending, say_veiled, show
from pgnotary.cli.ledger_source import Source, archive_option, open_ledger, say_archived, source_options
from pgnotary.cli.safe_text import visible

__all__ = ["export"]

if TYPE_CHECKING:
    from pgnotary.audit.withheld import Disclosure


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
    say_veiled(veil)
    with click.open_file(path, "w", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        for row in rows:
            # Tabs stay: this is data first.
            writer.writerow("\t".join(visible(part, lines=True) for part in cell.split("\t")) for cell in row)

"""`pgnotary backup`: a copy of the ledger while the proxy runs, verified before it is called one.

A configuration or a ledger and a path enter; the file's size and head, and how to restore it, leave.
"""

from pathlib import Path

import click

from pgnotary.cli.auditor_output import print_faults, show
from pgnotary.cli.exits import Exit
from pgnotary.cli.ledger_source import open_ledger, source_options
from pgnotary.errors import LedgerBroken
from pgnotary.store.backup import back_up
from pgnotary.store.reader import SqliteReader

__all__ = ["backup"]


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@source_options
@click.pass_context
def backup(context: click.Context, target: Path, config: Path | None, ledger: Path | None, key: str | None) -> None:
    """Copy the ledger to the new file TARGET, also while the proxy runs, and verify the copy.

    Only the ledger: keys, roster and configuration are files that you keep elsewhere yourself (docs/backup.md).

    \b
    pgnotary backup /backup/ledger-2026-11-27.db
    """
    from pgnotary.audit.check import check

    with open_ledger(config, ledger, key) as source:
        vkey, reader = source.required_vkey(), source.reader
        if not isinstance(reader, SqliteReader):
            raise click.UsageError("an exported folder is a copy already: name a ledger's file")
        try:
            summary = back_up(reader, target, lambda copy: check(copy, vkey))
        except LedgerBroken as broken:
            print_faults(broken)
            show("nothing was kept: a backup of this ledger would be no good one", err=True)
            context.exit(Exit.FAILED)
    head = f"head {summary.head.hex()[:16]}" if summary.entries else "which is empty"
    if summary.archived:
        head += f"; #0-#{summary.archived - 1} are archived, and not in it"
    show(f"ok  {target}: {target.stat().st_size:,} bytes, {summary.entries:,} entries of {summary.ledger}, {head}")
    show("to restore: stop the proxy, move its ledger away with the files -wal, -shm and .reserve beside it, copy this")
    show("file to its place, mode 0600, and start; what was recorded since is lost, and must be told (docs/backup.md)")

"""`pgnotary archive`: the oldest entries leave the ledger for a folder that verifies by itself.

A configuration, a wish and a folder enter; sentences about what was done leave. The proxy must be stopped: this holds
the ledger as a proxy does. In order: the whole ledger is verified; the archive is written, synced and verified from its
disk; one transaction tells of it and deletes what is in it; its bytes leave the file. Whatever ends it in between,
every entry is in the ledger, in the archive, or in both. A high-water mark is first brought to the newest head: from an
older one than the cut nothing could be proven any more.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgnotary.cli.auditor_output import ending, show
from pgnotary.cli.config_option import config_option
from pgnotary.cli.exits import Exit

if TYPE_CHECKING:
    from pgnotary.audit.archive import Wish
    from pgnotary.config import Config
    from pgnotary.store.high_water import Keeper
    from pgnotary.store.sqlite import SqliteStore

__all__ = ["archive"]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@config_option
@click.option("--before", metavar="ENTRY|WHEN", help="What is before #1234, a date, a time, or 90d ago.")
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="All but the newest N entries.")
@click.option(
    "--archive",
    "earlier",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    help="An earlier archive, to verify the ledger from its beginning; repeatable.",
)
@ending
def archive(folder: Path, config: Path, before: str | None, keep: int | None, earlier: tuple[Path, ...]) -> None:
    """Move the oldest entries of a ledger into a new FOLDER, while the proxy is stopped.

    The archive is an export and verifies by itself. It ends at a multiple of ledger.segment entries, and not within
    the life of a request. Its values are not withheld: keep it where the ledger may be kept.

    \b
    pgnotary archive --before 90d archives/2026-10
    pgnotary archive --keep 100000 archives/2026-10
    pgnotary verify --archive archives/2026-10
    """
    from pgnotary.config import load
    from pgnotary.errors import NotExtended

    if (before is None) == (keep is None):
        raise click.UsageError("say how much: --before #1234, --before 90d, or --keep 100000")
    loaded = load(config)
    try:
        done = asyncio.run(_archive(loaded, _wish(before, keep), folder.absolute(), earlier))
    except NotExtended as error:
        show(f"pgnotary: {error}", err=True)
        raise click.exceptions.Exit(Exit.UNTRUSTED) from error
    for line in done:
        show(line)


def _wish(before: str | None, keep: int | None) -> "Wish":
    from pgnotary.audit.archive import Wish
    from pgnotary.audit.search import moment

    if before is None:
        return Wish(keep=keep)
    digits = before.removeprefix("#")
    if digits.isascii() and digits.isdigit() and len(digits) < 16:
        return Wish(before=int(digits))
    try:
        return Wish(earlier_than=moment(before, datetime.now(UTC)))
    except ValueError as error:
        raise click.UsageError(f"--before: {error}, nor the number of an entry") from error


@dataclass(frozen=True, slots=True)
class _Sizes:
    ledger: Path

    def now(self) -> int:
        """Return how many bytes the ledger's file takes with its WAL."""
        wal = self.ledger.with_name(self.ledger.name + "-wal")
        return sum(path.stat().st_size for path in (self.ledger, wal) if path.exists())


async def _archive(config: "Config", wish: "Wish", folder: Path, earlier: Sequence[Path]) -> list[str]:
    """Do all of it, and return what to say."""
    from pgnotary.audit.archive import choose, write_archive
    from pgnotary.audit.check import check
    from pgnotary.audit.joined import joined
    from pgnotary.ledger.checkpoint import sign
    from pgnotary.store.reader import SqliteReader
    from pgnotary.store.sqlite import SqliteStore

    key, sizes = config.key(), _Sizes(config.ledger_file)
    if not config.ledger_file.is_file():
        raise click.UsageError(f"there is no ledger at {config.ledger_file} to archive anything of")
    store = await SqliteStore.open(config.ledger_file, key.name, key.seed, now=lambda: datetime.now(UTC))
    try:
        keeper = await _keeper(config, store)
        # What is not whole must stay as it is: it is the evidence.
        with SqliteReader(config.ledger_file) as reader:
            check(joined(reader, earlier), config.vkey())
            cut = choose(reader, wish, config.file.ledger.segment)
            archived = None
            if cut.kept > cut.first:
                archived = write_archive(
                    reader, cut, folder, config.vkey(), lambda head: sign(head, key.name, key.seed)
                )
        size = sizes.now()
        erased = True
        if archived is not None:
            if keeper is not None:
                await _keep(keeper)
            await store.prune(*archived)
            erased = await store.erase()
            if keeper is not None:
                await keeper.keep_or_say()
    finally:
        await store.close()
    if archived is None:
        return [f"nothing to archive of the ledger from #{cut.first} on" + (f": {cut.why}" if cut.why else "")]
    told, _ = archived
    return [
        f"archived #{told.first}-#{told.kept - 1} in {folder}, root {told.root.hex()}",
        *([f"no more than that: {cut.why}"] if cut.why else ()),
        f"the ledger begins with #{told.kept}; its file had {size:,} bytes and has {sizes.now():,}",
        *(() if erased else ["a program reads the ledger: the next start takes out of its file what was archived"]),
    ]


async def _keeper(config: "Config", store: "SqliteStore") -> "Keeper | None":
    """Return who keeps the high-water mark, if one is kept; raises NotExtended if the ledger does not extend it."""
    from pgnotary.errors import NotExtended
    from pgnotary.store.high_water import HighWater, Keeper, contradiction

    if config.high_water is None:
        return None
    mark = HighWater(config.high_water, config.vkey())
    if found := await contradiction(mark.read(), store):
        raise NotExtended(f"{found.message}; nothing was archived")
    return Keeper(mark, store)


async def _keep(keeper: "Keeper") -> None:
    from pgnotary.errors import ConfigError

    try:
        await keeper.keep()
    except OSError as error:
        why = f"the high-water mark cannot be written: {error.strerror}: make its folder writable"
        raise ConfigError(f"{why}; nothing was deleted") from error

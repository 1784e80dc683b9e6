"""Where an auditor's command finds its ledger and the key to check it with.

Options enter, a `Source` leaves: a reader over a live SQLite ledger or an exported folder, and the key with the word
where it came from. A key that came with the evidence is used, and said to be unpinned.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from pgnotary.audit.folder import FolderReader
from pgnotary.cli.safe_text import visible
from pgnotary.errors import BadCheckpoint, LedgerBroken
from pgnotary.store import LedgerReader, base_of

__all__ = ["Source", "archive_option", "open_ledger", "pinned_key", "say_archived", "source_options"]

_DEFAULT_CONFIG = Path("pgnotary.toml")
_Command = TypeVar("_Command", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Source:
    """A ledger, and what is known of its key."""

    reader: LedgerReader
    vkey: str | None
    pinned: bool
    """Whether the key came from elsewhere than the ledger."""

    def required_vkey(self) -> str:
        """Return the key; a usage error if there is none."""
        if self.vkey is None:
            raise click.UsageError("no key to check with: give the proxy's verifier key with --key, or --config")
        return self.vkey

    def checked_vkey(self) -> str:
        """Return the key to verify with; a bad key is a fault of the ledger only if it came with it."""
        from pgnotary.ledger.checkpoint import parse_vkey

        vkey = self.required_vkey()
        try:
            parse_vkey(vkey)
        except BadCheckpoint as error:
            if self.pinned:
                raise click.UsageError(f"--key: {error}") from error
            raise LedgerBroken([f"the key in the export: {error}"]) from error
        return vkey


archive_option = click.option(
    "--archive",
    "archives",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    help="A folder made by `archive`: read what is in it as well; repeatable.",
)
"""Beside `source_options`, for a command that can read a ledger in several places as one."""


def source_options(command: _Command) -> _Command:
    """Add the options that say which ledger `open_ledger` opens, and with which key."""
    config = click.option(
        "--config",
        "-c",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        envvar="PGNOTARY_CONFIG",
        help="Take ledger and key from this configuration.  [default: pgnotary.toml, if there is one]",
    )
    ledger = click.option(
        "--ledger",
        type=click.Path(path_type=Path, exists=True),
        help="A ledger file, or a folder made by `export`.",
    )
    key = click.option("--key", metavar="FILE|VKEY", help="The proxy's verifier key, as you know it.")
    return config(ledger(key(command)))


@contextmanager
def open_ledger(
    config: Path | None, ledger: Path | None, key: str | None, archives: Sequence[Path] = ()
) -> Iterator[Source]:
    """Open what the options name; a usage error if they name nothing.

    Raises LedgerBroken if the archives do not end where the ledger begins.
    """
    from pgnotary.audit.joined import joined
    from pgnotary.config import load

    if config is None and ledger is None and _DEFAULT_CONFIG.is_file():
        config = _DEFAULT_CONFIG
    pinned = None if key is None else pinned_key(key)
    if config is not None:
        loaded = load(config)
        ledger = ledger or loaded.ledger_file
        pinned = pinned or loaded.vkey()
    if ledger is None:
        raise click.UsageError("no ledger: name one with --ledger, or a configuration with --config")
    if ledger.is_dir():
        folder = FolderReader(ledger)
        yield Source(joined(folder, archives), pinned or folder.vkey(), pinned=pinned is not None)
        return
    from pgnotary.store.reader import SqliteReader

    with SqliteReader(ledger) as reader:
        yield Source(joined(reader, archives), pinned, pinned=pinned is not None)


def say_archived(reader: LedgerReader) -> None:
    """Say on stderr that the first entries are archived and are not read, if so it is."""
    if base := base_of(reader):
        click.echo(visible(f"#0-#{base.size - 1} are archived and not read here: --archive FOLDER"), err=True)


def pinned_key(said: str) -> str:
    """Return a verifier key that was given as text or as the name of a file."""
    path = Path(said)
    try:
        if path.is_file():
            return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--key {said}: {error}") from error
    if said.count("+") < 2:
        raise click.UsageError(f"--key {said}: no such file, and no verifier key (NAME+ID+BASE64)")
    return said

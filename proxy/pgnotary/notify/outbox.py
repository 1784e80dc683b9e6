"""How far each webhook was told: a small SQLite file beside the ledger, and nothing of the ledger in it.

Names and cursors enter, and are durable when `keep` returns; after a kill the same cursors leave. What is to be told is
the ledger's, which has it for ever: so nothing can be lost here but the place, and if the whole file is lost, telling
begins anew at the ledger's end. A file of another ledger, or of something else, is refused.
"""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pgnotary.errors import ConfigError
from pgnotary.store.connection import Connection, connected

__all__ = ["Cursor", "Outbox"]

# "pgno": as the ledger's own, https://www.sqlite.org/fileformat2.html#application_id
_APPLICATION_ID = 0x70676E6F
_SCHEMA = (
    f"PRAGMA application_id={_APPLICATION_ID}",
    "CREATE TABLE of(id INTEGER PRIMARY KEY CHECK (id = 1), ledger TEXT NOT NULL) STRICT",
    """CREATE TABLE cursor(
        name TEXT PRIMARY KEY, at INTEGER NOT NULL, attempts INTEGER NOT NULL, next_try REAL NOT NULL) STRICT""",
)
_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where one webhook stands."""

    at: int
    """The number of the first entry that it was not told of, and that was not passed over."""
    attempts: int = 0
    """How often telling of that entry has failed."""
    next_try: float = 0.0
    """When it is tried again, in seconds since 1970."""


class Outbox:
    """The cursors of all webhooks of one ledger; made by `open`, closed by who opened it."""

    def __init__(self, db: Connection, path: Path) -> None:
        self._db = db
        self._path = path

    @classmethod
    async def open(cls, path: Path, ledger: str) -> Self:
        """Open the file at `path`, or make it; raises ConfigError if it cannot be that of this ledger."""
        try:
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            db = await connected(_uri(path), _WAIT_S)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{path}: the outbox of webhooks cannot be opened: {error}") from error
        try:
            found = await db.run(lambda plain: _recognised(plain, ledger))
        except sqlite3.Error as error:
            await db.close()
            raise ConfigError(f"{path} cannot be used as the outbox of webhooks: {error}; {_AWAY}") from error
        if found != ledger:
            await db.close()
            whose = "something else" if found is None else f"the ledger {found!r:.120}"
            raise ConfigError(f"{path} is of {whose}, expected the outbox of {ledger!r}; {_AWAY}")
        return cls(db, path)

    async def close(self) -> None:
        """Close the file."""
        await self._db.close()

    async def cursors(self, names: Iterable[str], end: int) -> dict[str, Cursor]:
        """Return the cursor of each webhook, of a new one at `end`, and forget those of all others.

        One behind `end` is put there: the ledger is an older copy, and what comes now was not told of.
        """
        wanted = tuple(names)

        def work(plain: sqlite3.Connection) -> dict[str, Cursor]:
            known = {
                name: Cursor(at, attempts, next_try) if at <= end else Cursor(end)
                for name, at, attempts, next_try in plain.execute("SELECT name, at, attempts, next_try FROM cursor")
            }
            plain.execute("BEGIN IMMEDIATE")
            with plain:
                plain.executemany("DELETE FROM cursor WHERE name = ?", [(each,) for each in known.keys() - {*wanted}])
                for name in wanted:
                    _put(plain, name, known.get(name) or Cursor(end))
            return {name: known.get(name) or Cursor(end) for name in wanted}

        try:
            return await self._db.run(work)
        except sqlite3.Error as error:
            raise ConfigError(f"{self._path}: the outbox of webhooks cannot be written: {error}") from error

    async def keep(self, name: str, cursor: Cursor) -> None:
        """Return once the cursor is durable; raises OSError if it could not be made so."""
        try:
            await self._db.run(lambda plain: _put(plain, name, cursor))
        except sqlite3.Error as error:
            raise OSError(f"{self._path}: {error}") from error


_AWAY = "move it away to begin at the ledger's end"


def _uri(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=rw"


def _put(db: sqlite3.Connection, name: str, cursor: Cursor) -> None:
    row = (name, cursor.at, cursor.attempts, cursor.next_try)
    db.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?, ?, ?)", row)


def _recognised(db: sqlite3.Connection, ledger: str) -> str | None:
    """Return the ledger that the file belongs to, after making it that of this one if it is empty; None: of none."""
    db.execute("PRAGMA trusted_schema=OFF")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("BEGIN IMMEDIATE")
    with db:
        [(application,)] = db.execute("PRAGMA application_id").fetchall()
        [(objects,)] = db.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        if not objects and application == 0:
            for statement in _SCHEMA:
                db.execute(statement)
            db.execute("INSERT INTO of VALUES (1, ?)", (ledger,))
            return ledger
        if application != _APPLICATION_ID:
            return None
        [(found,)] = db.execute("SELECT ledger FROM of").fetchall()
        return str(found)

"""A SQLite ledger as auditors read it: bytes as they are stored, in order, while the proxy may go on writing.

A path enters, stored entries and checkpoints leave; nothing is written and nothing is believed: what the bytes say is
for the verifier. The file may come from anyone, so its schema is not trusted, and what has not the type of a ledger's
column is a fault. No transaction stays open between two pages: a reader that takes its time must not keep the writer
from emptying its WAL.
"""

import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pgnotary.errors import ConfigError, LedgerBroken, NotCanonical
from pgnotary.ledger.canonical import timestamp
from pgnotary.ledger.entries import parse_entry
from pgnotary.store import StoredEntry
from pgnotary.store.schema import APPLICATION_ID, OBJECTS, SCHEMA_VERSION, examined
from pgnotary.store.states import States

__all__ = ["SqliteReader"]

# Entries in one page: at most 16 MiB of entries, and what is sealed beside them.
_PAGE = 256
_BEFORE_ALL = -(2**63)


class SqliteReader:
    """A `LedgerReader` over the SQLite file at `path`; close it, or use it in `with`.

    Raises ConfigError if there is no ledger at `path`, LedgerBroken if it is not made of a ledger's tables, and while
    reading what cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path).absolute()
        self._db = _opened(path)
        try:
            self._recognise(path)
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def copy_into(self, path: Path) -> None:
        """Write the ledger as it is at one moment into the empty file at `path`; raises OSError if that cannot be.

        What was deleted from the ledger is not in the copy. The writer goes on meanwhile; its WAL grows until then.
        """
        try:
            self._db.execute("PRAGMA query_only=OFF")
            # On a connection that is read-only all the same: only the new file is written.
            self._db.execute("VACUUM INTO ?", (str(path),))
        except sqlite3.Error as error:
            if error.sqlite_errorname.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                raise LedgerBroken([f"the file is damaged: {error}"]) from error
            raise OSError(errno.EIO, f"cannot be written: {error}", str(path)) from error
        finally:
            self._db.execute("PRAGMA query_only=ON")

    def entries(self) -> Iterator[StoredEntry]:
        """Yield every entry that is there when the first is asked for, in order."""
        for seq, leaf, raw in self._paged("entry", "seq", "leaf, raw"):
            yield StoredEntry(_entry_bytes(seq, raw), self._opened_seals(seq, leaf))

    def checkpoints(self) -> Iterator[str]:
        """Yield every checkpoint that is there when the first is asked for, in order."""
        for size, note in self._paged("checkpoint", "size", "note"):
            if type(note) is not str:
                raise LedgerBroken([f"the checkpoint over {size} entries is not a text"])
            yield note

    def index_faults(self) -> Iterator[str]:
        """Yield a fault for whatever does not fit the entries: columns, sealed values, where requests stand.

        None of these is hashed: whoever can write the file can hide an entry from a search, never from `entries`.
        """
        names = ("leaf", "time", "type", "request", "session")
        states = States()
        for seq, raw, *columns in self._paged("entry", "seq", ", ".join(("raw", *names))):
            try:
                entry = parse_entry(_entry_bytes(seq, raw))
            except (NotCanonical, LedgerBroken) as error:
                yield f"entry {seq} cannot be read: {error}"
                continue
            states.take(entry)
            said = (entry.leaf, timestamp(entry.position.time), entry.type.value, entry.request, entry.session)
            if wrong := [name for name, column, value in zip(names, columns, said, strict=True) if column != value]:
                yield f"entry {seq} says something else than its columns: {', '.join(wrong)}"
        yield from states.faults(self._rows("SELECT request, state, leaf FROM request_state ORDER BY rowid"))
        strays = "SELECT name FROM sealed WHERE leaf NOT IN (SELECT leaf FROM entry)"
        for (name,) in self._rows(strays):
            yield f"a sealed value {name!r:.60} belongs to no entry"

    def notes(self) -> Iterator[str]:
        """Yield what is worth knowing of the file and no fault."""
        _, lacking = examined(self._rows(OBJECTS))
        if lacking:
            yield f"the file lacks {', '.join(lacking)}: a copy may, in the proxy's own file somebody took them away"

    def _opened_seals(self, seq: int, leaf: object) -> dict[str, tuple[bytes, bytes]]:
        rows = self._rows("SELECT name, salt, value FROM sealed WHERE leaf = ? ORDER BY name", (leaf,))
        for name, salt, value in rows:
            if (type(name), type(salt), type(value)) != (str, bytes, bytes):
                raise LedgerBroken([f"a sealed value of entry {seq} has not its types"])
        return {name: (salt, value) for name, salt, value in rows}

    def _paged(self, table: str, key: str, columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield key and columns of all rows that there are now, in order."""
        # The names are our own; every value is bound.
        [(end,)] = self._rows(f"SELECT max({key}) FROM {table}")  # noqa: S608
        page = f"SELECT {key}, {columns} FROM {table} WHERE {key} > ? AND {key} <= ? ORDER BY {key} LIMIT {_PAGE}"  # noqa: S608
        last = _BEFORE_ALL
        while rows := self._rows(page, (last, end)):
            yield from rows
            last = rows[-1][0]

    def _rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, parameters).fetchall()
        except sqlite3.ProgrammingError:
            # Ours: for instance reading after close.
            raise
        except sqlite3.Error as error:
            raise LedgerBroken([f"the file cannot be read: {error}"]) from error

    def _recognise(self, path: Path) -> None:
        [(application,)] = self._rows("PRAGMA application_id")
        [(version,)] = self._rows("PRAGMA user_version")
        if application != APPLICATION_ID:
            raise ConfigError(f"{path} is not a pgnotary ledger: correct the path")
        if version > SCHEMA_VERSION:
            raise ConfigError(
                f"{path} has schema version {version}, this pgnotary knows {SCHEMA_VERSION}: use a newer one"
            )
        # Before anything else is read: a view could answer every reading otherwise.
        if faults := examined(self._rows(OBJECTS))[0]:
            raise LedgerBroken(faults)


def _opened(path: Path) -> sqlite3.Connection:
    """Open the file read-only, even where SQLite may not put its shared memory beside it."""
    if not path.is_file():
        raise ConfigError(f"there is no ledger at {path}: correct the path")
    try:
        return _connected(path, "mode=ro")
    except sqlite3.OperationalError as error:
        # A WAL means that somebody writes, or that the newest entries are in it: there is no way around it. Without
        # one the file is all there is and nobody is at it, as on a read-only medium.
        if path.with_name(path.name + "-wal").exists():
            raise ConfigError(f"{path} cannot be read: {error}; its folder must let you open the WAL") from error
    except sqlite3.DatabaseError as error:
        raise _unreadable(path, error) from error
    try:
        return _connected(path, "mode=ro&immutable=1")
    except sqlite3.DatabaseError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: sqlite3.Error) -> ConfigError | LedgerBroken:
    if error.sqlite_errorname.startswith("SQLITE_CORRUPT"):
        return LedgerBroken([f"the file is damaged: {error}"])
    return ConfigError(f"{path} cannot be read as a ledger: {error}; correct the path or its permissions")


def _connected(path: Path, options: str) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.as_uri()}?{options}", uri=True, isolation_level=None)
    try:
        for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "query_only=ON"):
            db.execute(f"PRAGMA {pragma}")
        # Opening is lazy: only the first read tells whether the file and its WAL can be read.
        db.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except BaseException:
        db.close()
        raise
    return db


def _entry_bytes(seq: int, raw: object) -> bytes:
    if type(raw) is not bytes:
        raise LedgerBroken([f"entry {seq} is not made of bytes"])
    return raw

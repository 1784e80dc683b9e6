"""A SQLite ledger as auditors read it: bytes as they are stored, in order, while the proxy may go on writing.

A path enters, stored entries and checkpoints leave; nothing is written and nothing is believed: what the bytes say is
for the verifier. The file may come from anyone, so its schema is not trusted, and what has not the type of a ledger's
column is a fault. No transaction stays open between two pages: a reader that takes its time must not keep the writer
from emptying its WAL.
"""

import errno
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Self

from pgnotary.errors import ConfigError, LedgerBroken, NotCanonical, RedactionRefused
from pgnotary.ledger.base import Base
from pgnotary.ledger.canonical import timestamp
from pgnotary.ledger.checkpoint import claimed_size
from pgnotary.ledger.entries import FORMAT, EntryType, parse_entry
from pgnotary.ledger.tree import leaf_hash
from pgnotary.request.redaction import redaction_in
from pgnotary.store import StoredEntry
from pgnotary.store.bases import BASE, based
from pgnotary.store.schema import APPLICATION_ID, OBJECTS, PRUNED_VERSION, examined
from pgnotary.store.states import NAMES_REQUEST, States

__all__ = ["SqliteReader"]

# Entries in one page: at most 16 MiB of entries, and what is sealed beside them.
_PAGE = 256

_COLUMNS = ("seq", "leaf", "time", "type", "request", "session")

# Long values are fetched one by one, so that a page of them need not fit into memory.
_SEALS = """SELECT e.seq, s.name, s.salt, CASE WHEN length(s.value) <= 1024 THEN s.value END, s.name
    FROM entry e CROSS JOIN sealed s ON s.leaf = e.leaf WHERE e.seq BETWEEN ? AND ? ORDER BY e.seq, s.name"""
_SEALED_IN = "SELECT count(*) FROM entry e CROSS JOIN sealed s ON s.leaf = e.leaf WHERE e.seq BETWEEN ? AND ?"


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

    def base(self) -> Base | None:
        """Return what stands for the archived entries; None if none are. Raises LedgerBroken."""
        return based(self._rows(BASE)) if self._version == PRUNED_VERSION else None

    def entries(self) -> Iterator[StoredEntry]:
        """Yield every entry that is there when the first is asked for, in order."""
        for page in self._pages("entry", "seq", "leaf, raw"):
            opened = self._opened_seals(page[0][0], page[-1][0])
            for seq, leaf, raw in page:
                found = {name: self._seal(seq, leaf, *seal) for name, *seal in opened.pop(seq, ())}
                yield StoredEntry(_entry_bytes(seq, raw), found)

    def raw_entries(self) -> Iterator[bytes]:
        """Yield the bytes of every entry that is there when the first is asked for, in order."""
        for seq, raw in chain.from_iterable(self._pages("entry", "seq", "raw")):
            yield _entry_bytes(seq, raw)

    def checkpoints(self) -> Iterator[str]:
        """Yield every checkpoint that is there when the first is asked for, in order."""
        for page in self._pages("checkpoint", "size", "note"):
            for size, note in page:
                if type(note) is not str:
                    raise LedgerBroken([f"the checkpoint over {size} entries is not a text"])
                yield note

    def index_faults(self) -> Iterator[str]:
        """Yield a fault for whatever does not fit the entries: columns, sealed values, where requests stand.

        None of these is hashed: whoever can write the file can hide an entry from a search, never from `entries`.
        """
        states, lacks_some = States(), False
        # One moment for all three: a ledger may grow while it is read.
        self._rows("BEGIN")
        try:
            [(end,)] = self._rows("SELECT max(seq) FROM entry")
            [(sealed,)] = self._rows("SELECT count(*) FROM sealed")
            standing = self._rows("SELECT request, state, leaf FROM request_state ORDER BY rowid")
        finally:
            self._rows("COMMIT")
        for page in self._pages("entry", "seq", "raw, leaf, time, type, request, session", end):
            [(found,)] = self._rows(_SEALED_IN, (page[0][0], page[-1][0]))
            sealed -= found
            for seq, raw, *columns in page:
                yield from _column_faults(seq, raw, columns, states)
                found -= _seals_in(raw)
            lacks_some |= found < 0
        for page in self._pages("checkpoint", "size", "note"):
            for size, note in page:
                # Readers take the one with the highest number for the newest.
                if type(note) is str and claimed_size(note) != size:
                    yield f"a checkpoint over {claimed_size(note)} entries is kept as one over {size}"
        yield from states.faults(standing)
        if lacks_some:
            yield from self._lost()
        if sealed:
            for (name,) in self._rows("SELECT name FROM sealed WHERE leaf NOT IN (SELECT leaf FROM entry)"):
                yield f"a sealed value {name!r:.60} belongs to no entry"

    def copies(self, values: Sequence[tuple[bytes, str]], limit: int) -> list[tuple[int, str]]:
        """Return where else the values of these (leaf, name) are sealed, as the number of an entry and a name."""
        # Entry by entry, so that the first ones are found first.
        same = """SELECT e.seq, s.leaf, s.name FROM entry e CROSS JOIN sealed s ON s.leaf = e.leaf
            WHERE length(s.value) = ? AND s.value = ? ORDER BY e.seq, s.name LIMIT ?"""
        found: set[tuple[int, str]] = set()
        for of in values:
            for (value,) in self._rows("SELECT value FROM sealed WHERE leaf = ? AND name = ?", of):
                rows = self._rows(same, (len(value), value, limit + len(values)))
                found |= {(seq, name) for seq, leaf, name in rows if (leaf, name) not in values}
        return sorted(found)[:limit]

    def of_types(self, at: int, types: Iterable[EntryType], limit: int) -> tuple[int, int, list[bytes]]:
        """Return the numbers of the first entry and of the next one to come, and what from `at` on is of these types.

        The first `limit` of them, in order, as bytes. Sealed values are not touched, and columns are believed.
        """
        [(first, end)] = self._rows("SELECT min(seq), max(seq) + 1 FROM entry")
        wanted = [each.value for each in types]
        rows = self._rows(
            f"SELECT seq, raw FROM entry WHERE seq >= ? AND type IN ({', '.join('?' * len(wanted))}) "  # noqa: S608
            "ORDER BY seq LIMIT ?",
            (at, *wanted, limit),
        )
        return first or 0, end or 0, [_entry_bytes(seq, raw) for seq, raw in rows]

    def asked(self, request: str) -> list[bytes]:
        """Return the entry that tells what a request asks, if it is here, as bytes."""
        rows = self._rows(
            "SELECT seq, raw FROM entry WHERE request = ? AND type = ? ORDER BY seq LIMIT 1",
            (request, EntryType.REQUEST.value),
        )
        return [_entry_bytes(seq, raw) for seq, raw in rows]

    def _lost(self) -> Iterator[str]:
        """Yield a fault for each value that is missing, and that no redaction names.

        Here nothing is withheld: only redactions delete. They are looked at last, since each deletes in the transaction
        that it is appended in, so what was missing when it was looked for was named by then.
        """
        missing: dict[tuple[bytes, str], int] = {}
        for seq, leaf, raw in chain.from_iterable(self._pages("entry", "seq", "leaf, raw")):
            try:
                if not _seals_in(raw):
                    continue
                entry = parse_entry(_entry_bytes(seq, raw))
            except (NotCanonical, LedgerBroken):
                continue
            kept = {name for (name,) in self._rows("SELECT name FROM sealed WHERE leaf = ?", (leaf,))}
            missing |= {(entry.leaf, name): seq for name in entry.seals.keys() - kept}
        for (raw,) in (
            self._rows("SELECT raw FROM entry WHERE type = ?", (EntryType.REDACTED.value,)) if missing else ()
        ):
            try:
                redaction, _ = redaction_in(parse_entry(raw))
            except (NotCanonical, RedactionRefused):
                continue
            for values in redaction.values:
                for name in values.seals:
                    missing.pop((values.leaf, name), None)
        for (_, name), seq in sorted(missing.items(), key=lambda each: (each[1], each[0])):
            yield f"entry {seq} has lost the value of its seal {name!r:.60}, which no redaction names: it was deleted"

    def notes(self) -> Iterator[str]:
        """Yield what is worth knowing of the file and no fault."""
        _, lacking = examined(self._rows(OBJECTS), self._version)
        if lacking:
            yield f"the file lacks {', '.join(lacking)}: a copy may, in the proxy's own file somebody took them away"

    def _opened_seals(self, first: int, last: int) -> dict[int, list[tuple[Any, ...]]]:
        """Return what is kept of sealed values of some entries, by seq: name, salt, value or None if it is long."""
        found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for seq, *seal in self._rows(_SEALS, (first, last)):
            found[seq].append(tuple(seal))
        return found

    def _seal(self, seq: int, leaf: object, salt: object, value: object, name: object) -> tuple[bytes, bytes]:
        if value is None:
            [(value,)] = self._rows("SELECT value FROM sealed WHERE leaf = ? AND name = ?", (leaf, name))
        if type(name) is not str or type(salt) is not bytes or type(value) is not bytes:
            raise LedgerBroken([f"a sealed value of entry {seq} has not its types"])
        return salt, value

    def _pages(self, table: str, key: str, columns: str, end: int | None = None) -> Iterator[list[tuple[Any, ...]]]:
        """Yield key and columns of all rows up to `end`, or that there are now, in order."""
        # The names are our own; every value is bound.
        if end is None:
            [(end,)] = self._rows(f"SELECT max({key}) FROM {table}")  # noqa: S608
        page = f"SELECT {key}, {columns} FROM {table} WHERE {{}} {key} <= ? ORDER BY {key} LIMIT {_PAGE}"  # noqa: S608
        # The first page has no lower end: nothing is below the lowest number that SQLite has, so a row may hide there.
        rows = self._rows(page.format(""), (end,))
        while rows:
            yield rows
            rows = self._rows(page.format(f"{key} > ? AND"), (rows[-1][0], end))

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
        if version > PRUNED_VERSION:
            raise ConfigError(
                f"{path} has schema version {version}, this pgnotary knows {PRUNED_VERSION}: use a newer one"
            )
        # Before anything else is read: a view could answer every reading otherwise.
        if faults := examined(self._rows(OBJECTS), version)[0]:
            raise LedgerBroken(faults)
        self._version = version


def _column_faults(seq: int, raw: object, columns: Sequence[Any], states: States) -> Iterator[str]:
    """Yield what is wrong with the columns beside an entry's bytes, and let `states` follow it."""
    try:
        raw = _entry_bytes(seq, raw)
        leaf, time, type_, request, session = columns
        of_none = request is None and NAMES_REQUEST not in raw
        if of_none and _ends_with(raw, seq, time, type_, session) and leaf == leaf_hash(raw):
            return
        entry = parse_entry(raw)
    except (NotCanonical, LedgerBroken) as error:
        yield f"entry {seq} cannot be read: {error}"
        return
    states.take(entry)
    at = entry.position
    said = (at.seq, entry.leaf, timestamp(at.time), entry.type.value, entry.request, entry.session)
    stand = (seq, *columns)
    if wrong := [name for name, column, value in zip(_COLUMNS, stand, said, strict=True) if column != value]:
        kept = f", kept as {seq}," if seq != at.seq else ""
        yield f"entry {at.seq}{kept} says something else than its columns: {', '.join(wrong)}"


def _seals_in(raw: object) -> int:
    """Return how many seals an entry has if it is canonical, and never fewer than it has.

    Their object is the last of that name, and holds nothing but texts.
    """
    if type(raw) is not bytes or b'"seals":{' not in raw:
        return 0
    return raw.rpartition(b'"seals":{')[2].partition(b"}")[0].count(b'":"')


def _ends_with(raw: bytes, seq: int, time: object, type_: object, session: object) -> bool:
    """Say whether an entry's last fields are these, as they are if it is canonical: reading it takes ten times as long.

    False may only mean that it must be read to know; so it is of a session that JSON spells otherwise than it is.
    """
    if session is not None and "\\" in str(session):
        return False
    asked = "" if session is None else f'"session":"{session}",'
    return raw.endswith(f',"seq":{seq},{asked}"time":"{time}","type":"{type_}","v":"{FORMAT}"}}'.encode())


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

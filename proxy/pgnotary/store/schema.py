"""What a ledger's SQLite file is made of, and whether a file is made of exactly that.

    entry          append-only; the columns beside `raw` repeat what is in it, for searching
    sealed         the values that entries commit to, with their salts; redaction deletes rows
    checkpoint     append-only; the one of size 0 binds the file to a name and a key
    request_state  where each request stands, with the leaf of its last entry: what compare-and-set compares
    probe          written and read back to learn whether the storage works
    base           only in a file whose first entries were archived, of version 2: the one document that stands for them

A file may come from anyone. A view in the place of a table can tell every reader something else, so a file with
anything but these tables is refused before it is read.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

__all__ = ["APPLICATION_ID", "OBJECTS", "PRUNED", "PRUNED_VERSION", "SCHEMA", "SCHEMA_VERSION", "examined"]

# "pgnt": https://www.sqlite.org/fileformat2.html#application_id
APPLICATION_ID = 0x70676E74
SCHEMA_VERSION = 1
PRUNED_VERSION = 2
"""Of a file that has the table `base`: a pgnotary that knows nothing of it must not miss the first entries."""

# Triggers are guard rails against slips, not security: who can write the file can drop them. Those on INSERT also stop
# INSERT OR REPLACE, which fires no DELETE trigger.
SCHEMA = (
    f"PRAGMA application_id={APPLICATION_ID}",
    f"PRAGMA user_version={SCHEMA_VERSION}",
    """CREATE TABLE entry(
        seq INTEGER PRIMARY KEY, leaf BLOB NOT NULL CHECK (length(leaf) = 32), raw BLOB NOT NULL, time TEXT NOT NULL,
        type TEXT NOT NULL, request TEXT, session TEXT) STRICT""",
    "CREATE INDEX entry_request ON entry(request) WHERE request IS NOT NULL",
    "CREATE INDEX entry_session ON entry(session) WHERE session IS NOT NULL",
    """CREATE TABLE sealed(
        leaf BLOB, name TEXT, salt BLOB NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (leaf, name)) STRICT, WITHOUT ROWID""",
    "CREATE TABLE checkpoint(size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT",
    "CREATE TABLE request_state(request TEXT PRIMARY KEY, state TEXT NOT NULL, leaf BLOB NOT NULL) STRICT",
    "CREATE TABLE probe(id INTEGER PRIMARY KEY CHECK (id = 1), count INTEGER NOT NULL) STRICT",
    """CREATE TRIGGER entry_insert BEFORE INSERT ON entry
        WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), -1) + 1 FROM entry)
        BEGIN SELECT RAISE(ABORT, 'append-only: an entry goes behind the last one'); END""",
    """CREATE TRIGGER checkpoint_insert BEFORE INSERT ON checkpoint
        WHEN NEW.size <= (SELECT max(size) FROM checkpoint)
        BEGIN SELECT RAISE(ABORT, 'append-only: a checkpoint goes behind the last one'); END""",
    *(
        f"CREATE TRIGGER {table}_{change} BEFORE {change} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, 'append-only: no {change} of {table}'); END"
        for table in ("entry", "checkpoint")
        for change in ("UPDATE", "DELETE")
    ),
)

# What turns a file of the first version into one of the second; nothing else is another.
PRUNED = (
    "CREATE TABLE base(id INTEGER PRIMARY KEY CHECK (id = 1), document BLOB NOT NULL) STRICT",
    f"PRAGMA user_version={PRUNED_VERSION}",
)

# What ANALYZE leaves behind; nothing of ours reads it.
OBJECTS = "SELECT type, name, sql FROM sqlite_schema WHERE type <> 'table' OR name NOT LIKE 'sqlite_stat_'"


def examined(objects: Iterable[Iterable[Any]], version: int = SCHEMA_VERSION) -> tuple[list[str], list[str]]:
    """Return the faults of a file with these OBJECTS, and the names of the guard rails and indexes that it lacks."""
    expected = _expected(version)
    found = {(kind, name): _spelled(sql) for kind, name, sql in objects}
    faults = [
        f"the file has a {kind} {name!r:.60}, which no ledger has"
        if (kind, name) not in expected
        else f"the {kind} {name} of the file is not made as that of a ledger"
        for (kind, name), sql in found.items()
        if expected.get((kind, name), "") != sql
    ]
    missing = [each for each in expected if each not in found]
    faults += [f"the file has no table {name}" for kind, name in missing if kind == "table"]
    return faults, [name for kind, name in missing if kind != "table"]


@cache
def _expected(version: int) -> Mapping[tuple[str, str], str | None]:
    """Return what SQLite makes of our schema: the sources by type and name, None for its own indexes."""
    db = sqlite3.connect(":memory:")
    try:
        for statement in (*SCHEMA, *(PRUNED if version == PRUNED_VERSION else ())):
            db.execute(statement)
        return {(kind, name): _spelled(sql) for kind, name, sql in db.execute(OBJECTS)}
    finally:
        db.close()


def _spelled(sql: object) -> str | None:
    """Return a source without regard to how its lines are broken."""
    return None if sql is None else " ".join(str(sql).split())

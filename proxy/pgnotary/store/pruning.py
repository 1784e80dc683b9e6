"""Taking archived entries out of a ledger's SQLite file: what was archived and a base enter, a new end leaves.

One transaction appends the `archived` entry, puts the base in the place of the entries before the cut, and deletes
these with all that belongs to them. Before its COMMIT everything is there, behind it nothing but the base; there is no
state in between. Nothing here looks at the archive: whoever calls has read it back.
"""

import sqlite3
from collections.abc import Callable

from pgnotary.errors import NotCanonical
from pgnotary.ledger.archived import Archived
from pgnotary.ledger.base import Base
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.store.batch import Batch, Tail
from pgnotary.store.schema import PRUNED, PRUNED_VERSION, SCHEMA
from pgnotary.store.writing import insert

__all__ = ["prune"]

# They forbid what is done here, and stand again at its end: word for word, since the schema is compared.
_GUARDS = ("entry_DELETE", "checkpoint_DELETE")

_TAKEN = "SELECT leaf FROM entry WHERE seq < :kept"
_DELETE = (
    f"DELETE FROM sealed WHERE leaf IN ({_TAKEN})",  # noqa: S608 - no text of others
    # A request ends before the cut, or begins behind it.
    f"DELETE FROM request_state WHERE leaf IN ({_TAKEN})",  # noqa: S608
    "DELETE FROM entry WHERE seq < :kept",
    # The one over nothing binds the file to its name and key.
    "DELETE FROM checkpoint WHERE size > 0 AND size < :kept",
)


def prune(
    db: sqlite3.Connection, batch: Batch, told: Archived, base: Base, seed: bytes, before_commit: Callable[[], None]
) -> Tail:
    """Append the entry that tells of the archive and delete what is in it; return the new end.

    Raises NotCanonical, and what SQLite and `before_commit` do: then the connection must be thrown away.
    """
    if told.kept != base.size or told.base != base.digest:
        raise NotCanonical("an archive is told with another base than its own")
    db.execute("BEGIN IMMEDIATE")
    receipts = batch.place([Draft(EntryType.ARCHIVED, told.body)])
    batch.take(receipts)
    end = batch.tail(seed)
    insert(db, receipts, end)
    [(version,)] = db.execute("PRAGMA user_version").fetchall()
    if version == PRUNED_VERSION:
        db.execute("DELETE FROM base")
    else:
        for statement in PRUNED:
            db.execute(statement)
    db.execute("INSERT INTO base VALUES (1, ?)", (base.raw,))
    for guard in _GUARDS:
        db.execute(f"DROP TRIGGER IF EXISTS {guard}")
    for statement in _DELETE:
        db.execute(statement, {"kept": told.kept})
    for statement in SCHEMA:
        if statement.startswith(tuple(f"CREATE TRIGGER {guard} " for guard in _GUARDS)):
            db.execute(statement)
    before_commit()
    db.execute("COMMIT")
    return end

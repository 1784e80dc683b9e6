"""One transaction of a ledger's SQLite file: groups of drafts enter, their rows are committed, results leave.

It runs as a whole in the thread of the connection, so that an entry costs one turn of that thread and not one for each
statement. A group is whole or absent, and its requests move only from where they stand: compare-and-set, in the same
transaction. Whatever is raised here leaves the transaction open: the connection must be thrown away.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from pgnotary.errors import NotCanonical, RedactionRefused, RequestMoved
from pgnotary.ledger.canonical import timestamp
from pgnotary.ledger.entries import EntryType, Receipt
from pgnotary.request.life import State
from pgnotary.store import Append
from pgnotary.store.batch import Batch, Tail

__all__ = ["insert", "write"]

# Values in one INSERT: Python gives up its lock for each statement, not for each row, and the event loop would take it
# each time. SQLite takes 32,766.
_VALUES_AT_ONCE = 4_096


def write(
    db: sqlite3.Connection,
    batch: Batch,
    groups: Sequence[Sequence[Append]],
    seed: bytes,
    before_commit: Callable[[], None],
) -> tuple[list[list[Receipt] | Exception], Tail | None]:
    """Append the groups to the end that `batch` began with; return what became of each, and the new end if any did.

    `seed` is the key of the checkpoint that is committed with the entries. Raises what SQLite and `before_commit` do.
    """
    db.execute("BEGIN IMMEDIATE")
    results = [_admit(db, batch, group) for group in groups]
    if not batch.receipts:
        db.execute("ROLLBACK")
        return results, None
    end = batch.tail(seed)
    insert(db, batch.receipts, end)
    before_commit()
    db.execute("COMMIT")
    return results, end


def insert(db: sqlite3.Connection, receipts: Sequence[Receipt], end: Tail) -> None:
    """Write the rows of entries and the checkpoint over all up to them, inside a transaction."""
    _insert(db, "entry", map(_entry_row, receipts))
    _insert(db, "sealed", chain.from_iterable(map(_sealed_rows, receipts)))
    db.execute("INSERT INTO checkpoint VALUES (?, ?)", (end.tree.size, end.note))


def _admit(db: sqlite3.Connection, batch: Batch, group: Sequence[Append]) -> list[Receipt] | Exception:
    """Take a group into the batch and make its moves, or return why not and leave no trace of it."""
    for each in group:
        if each.move and each.move.request != each.draft.request:
            return NotCanonical(f"an entry of request {each.draft.request} cannot move {each.move.request}")
    try:
        receipts = batch.place([each.draft for each in group])
    except NotCanonical as error:
        return error
    steps = [(each, receipt.leaf) for each, receipt in zip(group, receipts, strict=True) if each.draft.request]
    erases = [value for each in group for value in each.erases]
    if steps or erases:
        db.execute("SAVEPOINT one_group")
        if (refused := _refusal(db, steps, erases)) is not None:
            db.execute("ROLLBACK TO one_group")
        db.execute("RELEASE one_group")
        if refused is not None:
            return refused
    batch.take(receipts)
    return receipts


def _refusal(
    db: sqlite3.Connection, steps: Sequence[tuple[Append, bytes]], erases: Sequence[tuple[bytes, str]]
) -> Exception | None:
    """Make the moves of a group and delete what it erases, or return why that cannot be."""
    for each, leaf in steps:
        if not _moved(db, each, leaf):
            request = str(each.draft.request)
            found = db.execute("SELECT state FROM request_state WHERE request = ?", (request,)).fetchone()
            return RequestMoved(request, State(found[0]) if found else None)
    for leaf, name in erases:
        # The salt as well: with it whoever can guess the value could make sure.
        if not db.execute("DELETE FROM sealed WHERE leaf = ? AND name = ?", (leaf, name)).rowcount:
            return RedactionRefused(f"{name} of the entry {leaf.hex()[:8]} is not kept: it was redacted before")
    return None


def _moved(db: sqlite3.Connection, each: Append, leaf: bytes) -> bool:
    """Make the move, or only note the request's last leaf; False if the request is not where the entry continues."""
    request, after, move = each.draft.request, each.draft.after, each.move
    if move is None:
        # Evidence stands beside the life of a request: nothing continues from it.
        if each.draft.type is EntryType.REJECTED:
            return True
        change = "UPDATE request_state SET leaf = ? WHERE request = ? AND leaf = ?"
        return db.execute(change, (leaf, request, after)).rowcount == 1
    if move.of is None:
        if after is not None:
            return False
        change = "INSERT INTO request_state VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        return db.execute(change, (request, move.to.value, leaf)).rowcount == 1
    change = "UPDATE request_state SET state = ?, leaf = ? WHERE request = ? AND state = ? AND leaf = ?"
    return db.execute(change, (move.to.value, leaf, request, move.of.value, after)).rowcount == 1


def _insert(db: sqlite3.Connection, table: str, rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows of one width, many with one statement."""
    waiting = list(rows)
    if not waiting:
        return
    marks = f"({', '.join('?' * len(waiting[0]))})"
    at_once = _VALUES_AT_ONCE // len(waiting[0])
    for start in range(0, len(waiting), at_once):
        some = waiting[start : start + at_once]
        insert = f"INSERT INTO {table} VALUES {', '.join([marks] * len(some))}"  # noqa: S608 - no text of others
        db.execute(insert, [*chain.from_iterable(some)])


def _entry_row(receipt: Receipt) -> tuple[Any, ...]:
    entry = receipt.entry
    at = timestamp(entry.position.time)
    return entry.position.seq, receipt.leaf, entry.raw, at, entry.type.value, entry.request, entry.session


def _sealed_rows(receipt: Receipt) -> Iterator[tuple[Any, ...]]:
    leaf = receipt.leaf
    for name, (salt, value) in receipt.opened.items():
        yield leaf, name, salt, value

"""Every bit of a ledger's file as its tables hold it: a file enters, flips leave, one at a time, each undone again.

A cell's bits are those of its value: 64 of a number, all of a text or of bytes. NULL has none, and a key that another
row has already cannot be made by flipping one: SQLite keeps no two. Whoever verifies is asked once for each flip.
"""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import VerifyKey

from pgnotary.ledger.entries import parse_entry
from pgnotary.store import reader
from pgnotary.verify import checklist, heads

__all__ = ["Cell", "Table", "cells", "columns", "remember_what_was_read", "sampled"]

_KEYS = {
    "entry": ("seq",),
    "sealed": ("leaf", "name"),
    "checkpoint": ("size",),
    "request_state": ("request",),
    "probe": ("id",),
}


@dataclass(frozen=True)
class Cell:
    """One value: of which row, and which column."""

    table: str
    key: tuple[Any, ...]
    column: str
    value: Any

    @property
    def bits(self) -> int:
        if isinstance(self.value, int):
            return 64
        return 8 * len(self._bytes)

    @property
    def _bytes(self) -> bytes:
        return self.value.encode() if isinstance(self.value, str) else self.value or b""

    def flipped(self, bit: int) -> Any:
        """The value with one bit flipped; of a text it is bytes, to be cast, as it may be UTF-8 no more."""
        if isinstance(self.value, int):
            number = (self.value ^ 1 << bit) & (1 << 64) - 1
            return number - (1 << 64) if number >> 63 else number
        changed = bytearray(self._bytes)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)


class Table:
    """The file that is flipped, without guard rails."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        for (name,) in self._db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            self._db.execute(f"DROP TRIGGER {name}")
        for pragma in ("synchronous=OFF", "journal_mode=MEMORY", "ignore_check_constraints=ON"):
            self._db.execute(f"PRAGMA {pragma}")

    def close(self) -> None:
        self._db.close()

    def flip(self, cell: Cell, bit: int, look: Callable[[], None]) -> bool:
        """Flip a bit, let somebody look, and undo it; False if no file can have it flipped."""
        keys = _KEYS[cell.table]
        changed = cell.flipped(bit)
        cast = "CAST(? AS TEXT)" if isinstance(cell.value, str) else "?"
        try:
            self._set(cell, f"{cell.column} = {cast}", changed, cell.key)
        except sqlite3.IntegrityError:
            return False
        where = [changed if name == cell.column else value for name, value in zip(keys, cell.key, strict=True)]
        try:
            look()
        finally:
            self._set(cell, f"{cell.column} = ?", cell.value, where)
        return True

    def _set(self, cell: Cell, change: str, value: Any, key: Any) -> None:
        # Compared as bytes: a text that is no UTF-8 any more cannot be bound as one.
        where = " AND ".join(
            f"CAST({name} AS BLOB) = CAST(? AS BLOB)" if not isinstance(part, int) else f"{name} = ?"
            for name, part in zip(_KEYS[cell.table], key, strict=True)
        )
        done = self._db.execute(f"UPDATE {cell.table} SET {change} WHERE {where}", (value, *key))
        assert done.rowcount == 1, (cell, change)


def columns(path: Path) -> list[str]:
    """Every column of every table, as `table.column`."""
    with closing(sqlite3.connect(path)) as db:
        tables = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
        return [f"{table}.{each[1]}" for (table,) in tables for each in db.execute(f"PRAGMA table_info({table})")]


def cells(path: Path, column: str) -> list[Cell]:
    """Every cell of a column that has a value."""
    table, _, name = column.partition(".")
    keys = _KEYS[table]
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute(f"SELECT {', '.join(keys)}, {name} FROM {table} WHERE {name} IS NOT NULL").fetchall()
    return [Cell(table, tuple(row[: len(keys)]), name, row[-1]) for row in rows]


def sampled(of: list[Cell], count: int, rng: random.Random) -> Iterator[tuple[Cell, int]]:
    """So many bits, spread over the rows; each cell is as likely as another, and then each of its bits."""
    while count:
        cell = rng.choice(of)
        if cell.bits:
            count -= 1
            yield cell, rng.randrange(cell.bits)


def remember_what_was_read(patch: pytest.MonkeyPatch) -> None:
    """Let bytes that were read, and signatures that were good, be so again at once: nothing else decides about them.

    All but one entry of each ledger is that of the one before, and thousands are verified.
    """
    for module in (checklist, heads, reader):
        patch.setattr(module, "parse_entry", _READ)
    patch.setattr(VerifyKey, "verify", _CHECKED)


_remembered = lru_cache(4_096)
_READ, _CHECKED = _remembered(parse_entry), _remembered(VerifyKey.verify)

"""A copy of a ledger while its proxy writes: a reader and a path enter; a file of its own is there, or nothing is.

The copy is made under another name, synced, looked at, and only then put in its place, which must be free; so what has
the name of a backup is a whole one that was found good, whenever somebody pulls the plug. What a kill leaves behind has
a name that begins with a dot. The ledger is only read: no second connection writes to it or copies its WAL.
"""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pgnotary.errors import ConfigError
from pgnotary.store.reader import SqliteReader

__all__ = ["back_up"]

_Found = TypeVar("_Found")


def back_up(reader: SqliteReader, target: Path, look: Callable[[SqliteReader], _Found]) -> _Found:
    """Copy the ledger to `target`, mode 0600, and return what `look` finds in the copy; if it raises, nothing is left.

    Raises ConfigError if something is there already, OSError if the copy cannot be written.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - a link at its place is something that is there
    if os.path.lexists(target):
        raise _taken(target)
    if not target.parent.is_dir():
        raise ConfigError(f"there is no folder {target.parent} for the backup: make it, or correct the path")
    # Made with mode 0600; SQLite writes into an empty file.
    file, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        reader.copy_into(Path(name))
        os.fsync(file)
        with SqliteReader(name) as copy:
            found = look(copy)
        try:
            # Unlike a rename it never takes the place of something.
            os.link(name, target)
        except FileExistsError as error:
            raise _taken(target) from error
    finally:
        os.close(file)
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108 - it is a name
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return found


def _taken(target: Path) -> ConfigError:
    return ConfigError(f"{target} is there already: a backup takes no other file's place, give it a new name")

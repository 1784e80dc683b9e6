"""A ledger's file as the operating system knows it: made once, for one owner, held by one process, still in its place.

Only paths enter here, never a ledger's content.
"""

import fcntl
import os
from pathlib import Path

from pgnotary.errors import ConfigError

__all__ = ["create", "inode", "locked"]


def locked(path: Path) -> int:
    """Return the open lock file of the ledger at `path`, held until it is closed."""
    try:
        file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no folder {path.parent} for the ledger: make it, or correct the path") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        owner = os.pread(file, 20, 0).decode("ascii", "replace").strip()
        os.close(file)
        raise ConfigError(
            f"the ledger {path} is in use by process {owner or 'unknown'}: stop that proxy first, or use another ledger"
        ) from error
    except BaseException:
        os.close(file)
        raise
    return file


def create(path: Path) -> None:
    """Make an empty file that only its owner can read, unless there is one; SQLite gives its WAL the same mode.

    Raises ConfigError if what is there is no file.
    """
    # Never opened again while SQLite has it open: closing any descriptor of a file drops the process's POSIX locks.
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError as error:
        # SQLite would only say that it cannot open it.
        if not path.is_file():
            raise ConfigError(f"{path} is no file: give the ledger a file of its own, or correct the path") from error
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def inode(path: Path) -> tuple[int, int]:
    """Return what tells the file that is at `path` now from any other."""
    found = path.stat()
    return found.st_dev, found.st_ino

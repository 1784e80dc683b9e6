"""Bytes of deleted values leave a ledger's file and its WAL; and if the process dies before that, the next one knows.

A connection enters; when `erased` says so, neither file holds a byte of what was deleted. Deleting alone does not do
that, even with `secure_delete`: the WAL still has the pages as they were, and a page that was split long ago may have
kept a stale copy of a cell in what is now free space (seen: 1 of 300 deleted values). So the file is written anew,
without anything that is not in a table, and the WAL is emptied into it.

A file beside the ledger, `<ledger>.erasing`, is there from before a deletion is committed until its bytes are gone. It
holds nothing.
"""

import os
from pathlib import Path

import aiosqlite

__all__ = ["Mark", "beside", "emptied", "rewritten", "truncated"]


class Mark:
    """The file that says that values were deleted, and that their bytes may still be there."""

    def __init__(self, ledger: Path) -> None:
        self._path = Path(f"{ledger}.erasing")

    def __bool__(self) -> bool:
        return self._path.exists()

    def set(self) -> None:
        """Make it, durably; raises OSError."""
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.fsync(file)
        finally:
            os.close(file)
        self._sync_folder()

    def clear(self) -> None:
        """Take it away; raises OSError."""
        self._path.unlink(missing_ok=True)
        self._sync_folder()

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


async def beside(db: aiosqlite.Connection, folder: Path) -> None:
    """Let SQLite put what it writes meanwhile into `folder`, for this whole process.

    It is as large as the ledger, and holds every sealed value: it does not belong into /tmp.
    """
    # Said only once: all connections share it, and one that is at work may be reading it.
    if list(await db.execute_fetchall("PRAGMA temp_store_directory")) != [(str(folder),)]:
        quoted = str(folder).replace("'", "''")
        await db.execute_fetchall(f"PRAGMA temp_store_directory = '{quoted}'")


async def rewritten(db: aiosqlite.Connection) -> None:
    """Write all tables anew; the old pages are still in the file until `emptied` says that they are not."""
    # Through a file, which holds only what is kept: the whole ledger need not fit into memory.
    await db.execute_fetchall("PRAGMA temp_store=FILE")
    try:
        await db.execute_fetchall("VACUUM")
    finally:
        await db.execute_fetchall("PRAGMA temp_store=MEMORY")


async def emptied(db: aiosqlite.Connection, patience_ms: int) -> bool:
    """Copy the whole WAL into the file and cut it to nothing, or return False: a reader needs what is in it.

    It is tried once, without waiting for the reader: whoever waits here keeps all others from writing.
    """
    await db.execute_fetchall("PRAGMA busy_timeout = 0")
    try:
        [(busy, _, _)] = await db.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        await db.execute_fetchall(f"PRAGMA busy_timeout = {patience_ms}")
    return not busy


def truncated(ledger: Path) -> bool:
    """Say whether the WAL is empty on the disk too: a power cut must not bring back what SQLite has cut off.

    SQLite syncs the file that the WAL was copied into, not the cut. It locks neither by the WAL, so opening and closing
    it here drops no lock.
    """
    try:
        wal = os.open(f"{ledger}-wal", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        os.fsync(wal)
        return os.fstat(wal).st_size == 0
    finally:
        os.close(wal)

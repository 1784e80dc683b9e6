"""What drivers ask and say before they give a connection away: can it be written to, its name, its time zone."""

from collections.abc import Iterator
from typing import Any

import asyncpg
import psycopg
import pytest
from tests.flow.served import PASSWORD, Served

from pgnotary.demo.postgres import EmbeddedPostgres

# libpq and asyncpg believe the ParameterStatus default_transaction_read_only, pgx and pgjdbc ask SHOW.


@pytest.fixture(scope="module")
def served(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A proxy at which a hold ends soon: no driver waits for a decision while it connects."""
    with Served(postgres, tmp_path_factory.mktemp("proxy") / "pgnotary", hold_s=1) as proxy:
        yield proxy
        proxy.entries()


def wishing(served: Served, database: str, wish: str) -> psycopg.Connection[Any]:
    """Connect with libpq's target_session_attrs."""
    return served.connect(database, target_session_attrs=wish)


@pytest.mark.parametrize("wish", ["any", "primary", "prefer-standby"])
def test_a_client_that_wants_any_server_or_a_primary_comes_in(served: Served, database: str, wish: str) -> None:
    with wishing(served, database, wish) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_libpq_comes_in_that_wants_to_write(served: Served, database: str) -> None:
    with wishing(served, database, "read-write") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_libpq_does_not_come_in_that_wants_a_server_only_for_reading(served: Served, database: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="session is not read-only"):
        wishing(served, database, "read-only").close()


async def test_asyncpg_comes_in_that_wants_to_write(served: Served, database: str) -> None:
    connection = await asyncpg.connect(
        host="127.0.0.1",
        port=served.port,
        user="eva",
        password=PASSWORD,
        database=database,
        target_session_attrs="read-write",
    )
    await connection.close()


def test_pgjdbc_and_pgx_are_told_that_they_may_write(served: Served, database: str) -> None:
    with served.connect(database) as connection:
        assert connection.execute("show transaction_read_only").fetchone() == ("off",)


def test_pgjdbc_says_its_name_whenever_it_connects(served: Served, database: str) -> None:
    with served.connect(database) as connection:
        connection.execute("SET extra_float_digits = 3")
        connection.execute("SET application_name = 'PostgreSQL JDBC Driver'")
        assert connection.execute("SHOW application_name").fetchone() == ("PostgreSQL JDBC Driver",)


@pytest.mark.parametrize("in_block", [False, True], ids=["outside a block", "in a block"])
def test_what_django_sets_by_a_function_stays_set(served: Served, database: str, *, in_block: bool) -> None:
    with served.connect(database) as connection:
        if in_block:
            connection.execute("BEGIN")
        connection.execute("SELECT set_config('TimeZone', 'Asia/Tokyo', false)")
        assert connection.execute("SHOW timezone").fetchone() == ("Asia/Tokyo",)
        if in_block:
            connection.execute("COMMIT")
        assert connection.execute("SHOW timezone").fetchone() == ("Asia/Tokyo",)

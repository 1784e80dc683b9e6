"""Drivers read through the proxy with their defaults: prepared statements, parameters, blocks, pipelines."""

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

import asyncpg
import pg8000.dbapi
import pg8000.native
import psycopg
import pytest
from tests.flow.served import PASSWORD, Served, make_unseen


def default(served: Served, database: str, **options: Any) -> psycopg.Connection[Any]:
    """Connect with psycopg as it is: it binds on the server."""
    return served.connect(database, cursor_factory=psycopg.Cursor, **options)


# --- psycopg --------------------------------------------------------------------------------------------------------


def test_psycopg_binds_and_prepares(served: Served, database: str) -> None:
    with default(served, database) as connection:
        for n in range(12):
            row = connection.execute("SELECT count(*), %s::date FROM orders WHERE id <= %s", [date(2026, 1, 2), n])
            assert row.fetchone() == (n, date(2026, 1, 2))
        assert connection.execute("SELECT total FROM orders WHERE id = %s", [7], binary=True).fetchone() == (
            Decimal(7),
        )


def test_psycopg_opens_a_block_and_reads_in_it(served: Served, database: str) -> None:
    make_unseen(served, database)
    with default(served, database, autocommit=False) as connection:
        assert connection.execute("SELECT %s::int", [5]).fetchone() == (5,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("SELECT n FROM unseen WHERE 1 = %s", [1])
        connection.rollback()
        with connection.transaction(), connection.transaction():
            assert connection.execute("SELECT %s::text", ["x"]).fetchone() == ("x",)


def test_psycopgs_pipeline_is_answered_in_order(served: Served, database: str) -> None:
    with default(served, database, autocommit=False) as connection, connection.pipeline():
        found = [connection.execute("SELECT %s::int", [n]) for n in range(50)]
        assert [cursor.fetchone() for cursor in found] == [(n,) for n in range(50)]


def test_rows_stream_out_of_a_copy(served: Served, database: str) -> None:
    with default(served, database) as connection, connection.cursor() as cursor:
        with cursor.copy("COPY (SELECT id FROM orders ORDER BY id LIMIT 3) TO STDOUT") as copy:
            assert list(copy.rows()) == [("1",), ("2",), ("3",)]
        assert [row for (row,) in cursor.stream("SELECT id FROM orders ORDER BY id LIMIT %s", [3])] == [1, 2, 3]


# --- asyncpg --------------------------------------------------------------------------------------------------------


async def _asyncpg(served: Served, database: str) -> asyncpg.Connection:
    return await asyncpg.connect(host="127.0.0.1", port=served.port, user="eva", password=PASSWORD, database=database)


async def test_asyncpg_prepares_fetches_and_opens_blocks(served: Served, database: str) -> None:
    connection = await _asyncpg(served, database)
    try:
        assert await connection.fetchval("SELECT $1::int + 1", 1) == 2
        statement = await connection.prepare("SELECT id, total FROM orders WHERE id = ANY($1::int[]) ORDER BY id")
        assert [tuple(row) for row in await statement.fetch([3, 4])] == [(3, Decimal(3)), (4, Decimal(4))]
        async with connection.transaction():
            assert await connection.fetchval("SELECT count(*) FROM orders") == 100
            ids = [row["id"] async for row in connection.cursor("SELECT id FROM orders ORDER BY id", prefetch=10)]
            assert ids == list(range(1, 101))
    finally:
        await connection.close()


async def test_asyncpg_cancels_what_takes_too_long(served: Served, database: str) -> None:
    connection = await _asyncpg(served, database)
    try:
        with pytest.raises(asyncio.TimeoutError):
            await connection.fetch("SELECT pg_sleep(60)", timeout=0.5)
        assert await connection.fetchval("SELECT 1") == 1
    finally:
        await connection.close()


# --- pg8000 ---------------------------------------------------------------------------------------------------------


def _where(served: Served) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": served.port, "password": PASSWORD}


def test_pg8000_reads(served: Served, database: str) -> None:
    connection = pg8000.native.Connection(
        "eva", host="127.0.0.1", port=served.port, password=PASSWORD, database=database
    )
    try:
        assert connection.run("SELECT id FROM orders WHERE id <= :n ORDER BY id", n=3) == [[1], [2], [3]]
        prepared = connection.prepare("SELECT :n::int + 1")
        assert [prepared.run(n=n) for n in (1, 2)] == [[[2]], [[3]]]
    finally:
        connection.close()


def test_pg8000s_dbapi_begins_a_block_by_itself(served: Served, database: str) -> None:
    make_unseen(served, database)
    connection = pg8000.dbapi.connect("eva", database=database, **_where(served))
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM orders WHERE id <= %s", (7,))
        assert cursor.fetchone() == [7]
        with pytest.raises(pg8000.exceptions.DatabaseError, match="read-only transaction"):
            cursor.execute("SELECT n FROM unseen")
        connection.rollback()
        cursor.execute("SELECT 1")
        connection.commit()
    finally:
        connection.close()

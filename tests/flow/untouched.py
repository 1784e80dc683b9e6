"""A database for a table of statements, each of which runs in a block that is rolled back: all find it the same."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pgnotary.demo.postgres import EmbeddedPostgres


@contextmanager
def untouched(postgres: EmbeddedPostgres, name: str, schema: str, role: str) -> Iterator[str]:
    """Make a database of that schema, which makes a role as well, and drop both at the end."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'".encode())
        try:
            with psycopg.connect(postgres.dsn(name), autocommit=True) as connection:
                connection.execute(schema.encode())
            yield name
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
            server.execute(f"DROP ROLE IF EXISTS {role}".encode())

"""The servers that the fuzz asks, each with a scratch database of its own, and who asks there.

Nothing enters but what is installed; names and addresses leave. The servers live as long as the `with` block, do
nothing of their own accord that takes a transaction id, and say nothing to their logs.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql
from tests.fuzz.adapter import HARMLESS, Known, known_of
from tests.fuzz.scratch import SCHEMA
from tests.fuzz.texts import Signature

from pgnotary.demo.postgres import EmbeddedPostgres

__all__ = ["GUEST", "SETTINGS", "fresh_database", "known_at", "signatures_of", "started_servers"]

DATABASE = "fuzz"
GUEST = "guest"
"""Who is no superuser and owns nothing, so that row security binds it. Its password is its name."""

SETTINGS = {
    "max_prepared_transactions": "5",
    "autovacuum": "off",  # It would take transaction ids of its own.
    "log_min_messages": "fatal",
    "max_connections": "20",
    "shared_buffers": "32MB",
    "temp_file_limit": "100MB",
}
_DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")


def fresh_database(postgres: EmbeddedPostgres) -> str:
    """Make the scratch database anew and return its address."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(DATABASE)))
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(GUEST)))
        connection.execute(sql.SQL("CREATE ROLE {0} LOGIN PASSWORD {1}").format(sql.Identifier(GUEST), GUEST))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    dsn = postgres.dsn(DATABASE)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
    return dsn


def known_at(dsn: str) -> Known:
    """Return what the judge knows of the scratch database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return known_of(connection)


def signatures_of(dsn: str) -> list[Signature]:
    """Return each harmless function of a server with the types of its arguments, but those that only wait."""
    question = """
    SELECT p.proname, ARRAY(SELECT t.typname FROM unnest(p.proargtypes) WITH ORDINALITY a (oid, n)
      JOIN pg_type t ON t.oid = a.oid ORDER BY a.n)::text[]
    FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY (%s)
      AND p.proname NOT LIKE 'pg\\_sleep%%' AND p.prokind IN ('f', 'a', 'w') ORDER BY 1, 2
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        return [(str(name), tuple(types)) for name, types in connection.execute(question, (sorted(HARMLESS),))]


@contextlib.contextmanager
def started_servers() -> Iterator[dict[str, str]]:
    """Start PostgreSQL 18, and 15 where Debian's is installed; yield the address of each scratch database by name.

    The first is there once more, for a role that row security binds.
    """
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(EmbeddedPostgres(settings=SETTINGS))]
        if (_DEBIAN_15 / "initdb").exists():
            servers.append(stack.enter_context(EmbeddedPostgres(settings=SETTINGS, bin_dir=_DEBIAN_15)))
        found = {_version(server): fresh_database(server) for server in servers}
        yield found | {f"{_version(servers[0])} as a guest": servers[0].dsn(DATABASE, GUEST, GUEST)}


def _version(postgres: EmbeddedPostgres) -> str:
    with psycopg.connect(postgres.dsn("postgres")) as connection:
        return f"PostgreSQL {connection.info.server_version // 10000}"

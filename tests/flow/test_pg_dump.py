"""pg_dump through the proxy makes the same dump as without it, and nothing of what it asks is held."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.flow.served import PASSWORD, PATIENCE_S, Served

from pgnotary.demo.postgres import EmbeddedPostgres

SCHEMA = (Path(__file__).parents[1] / "corpus" / "tools.sql").read_bytes()
# Since August 2025 a plain dump begins and ends with a key drawn anew each time, against CVE-2025-8714.
_KEY = re.compile(rb"^\\(?:un)?restrict \w+$", re.MULTILINE)

# `pytest --runxfail tests/flow/test_pg_dump.py` shows the statement at which pg_dump stops, in its own words.


@pytest.fixture(scope="module")
def served(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A proxy at which a hold ends soon: pg_dump would wait for a decision as long as it is let."""
    with Served(postgres, tmp_path_factory.mktemp("proxy") / "pgnotary", hold_s=1) as proxy:
        yield proxy
        proxy.entries()


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """A database with one of everything, to copy."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE tools_template")
    with psycopg.connect(postgres.dsn("tools_template"), autocommit=True) as connection:
        connection.execute(SCHEMA)
    return "tools_template"


def run(postgres: EmbeddedPostgres, name: str, *arguments: str) -> bytes:
    """Run one of the server's own programs and return what it prints, without the keys drawn for it."""
    program = postgres.bin_dir / name
    if not os.access(program, os.X_OK):
        pytest.skip(f"this server comes without {name}: there is none in {postgres.bin_dir}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run(
        [str(program), *arguments], env=environment, capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return _KEY.sub(b"", done.stdout)


def through(served: Served, database: str) -> str:
    """Return the address of a database behind the proxy."""
    return f"postgresql://eva:{PASSWORD}@127.0.0.1:{served.port}/{database}"


def requests(served: Served) -> list[str]:
    """Return what was held."""
    return [entry["request"] for entry in served.entries() if entry["type"] == "request"]


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--schema-only",),
        ("--data-only",),
        ("--data-only", "--inserts"),
        ("--table=crm.*", "--enable-row-security"),
        ("--schema-only", "--serializable-deferrable", "--quote-all-identifiers"),
    ],
    ids=lambda options: " ".join(options) or "plain",
)
def test_a_dump_is_the_same_through_the_proxy(served: Served, database: str, options: tuple[str, ...]) -> None:
    directly = run(served.postgres, "pg_dump", *options, served.postgres.dsn(database))
    assert b"crm.orders" in directly.replace(b'"', b"")
    assert run(served.postgres, "pg_dump", *options, through(served, database)) == directly
    assert requests(served) == []


def test_an_archive_restores_to_the_same_through_the_proxy(served: Served, database: str, tmp_path: Path) -> None:
    scripts = []
    for number, address in enumerate((served.postgres.dsn(database), through(served, database))):
        archive = str(tmp_path / f"{number}.dump")
        run(served.postgres, "pg_dump", "--format=custom", f"--file={archive}", address)
        scripts.append(run(served.postgres, "pg_restore", "--file=-", archive))
    assert b"COPY crm.orders" in scripts[0]
    assert scripts[1] == scripts[0]
    assert requests(served) == []


# pg_dump reads them with lo_open, loread and lo_close in FunctionCall messages.
def test_large_objects_are_in_a_dump_through_the_proxy(served: Served, database: str) -> None:
    with served.behind(database) as connection:
        connection.execute("SELECT lo_from_bytea(4242, %s)", [b"\x01\x02" * 20_000])
    directly = run(served.postgres, "pg_dump", served.postgres.dsn(database))
    assert b"SELECT pg_catalog.lo_open('4242'" in directly
    assert run(served.postgres, "pg_dump", through(served, database)) == directly
    assert requests(served) == []


def test_roles_are_dumped_the_same_through_the_proxy(served: Served, database: str) -> None:
    directly = run(served.postgres, "pg_dumpall", "--globals-only", f"--dbname={served.postgres.dsn(database)}")
    assert b"CREATE ROLE postgres" in directly
    by_proxy = run(served.postgres, "pg_dumpall", "--globals-only", f"--dbname={through(served, database)}")
    assert by_proxy == directly
    assert requests(served) == []

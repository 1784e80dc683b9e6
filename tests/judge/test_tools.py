"""What tools ask of a server on their own account: nothing of it may be held under `default`.

`tools.jsonl` has the messages that drivers, ORMs, psql, pgcli, pg_dump and others sent to PostgreSQL 15 and 18 about
what `tools.sql` makes, taken off the wire between the two. Each text is there once, whatever the numbers and generated
names in it; of reads that differ in their constants alone, one is there. A row names its `tool` with its version, what
it was asked for (`what`), the `kind` of text, the `protocol`, the types of its `params`, and the `server` it was for.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.postgres import types as postgres_types
from tests.judge.asking import catalog_of, first_error
from tests.judge.texts import POLICIES

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.catalog import BUILT_IN, Catalog
from pgnotary.judge.meaning import weigh, weigh_run
from pgnotary.judge.policy import verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rules import Action
from pgnotary.judge.scope import UNSCOPED
from pgnotary.judge.statement import Statement

CORPUS = Path(__file__).parents[1] / "corpus"
TOOLS: list[dict[str, Any]] = [
    row
    for row in map(json.loads, (CORPUS / "tools.jsonl").read_text(encoding="ascii").splitlines())
    if row["kind"] != "startup"  # see tests/serve/test_tools.py
]
READS = {"read", "show", "explain", "copy-out"}
"""The kinds of row that need no more than to be read."""


def action(sql: str, catalog: Catalog = BUILT_IN) -> tuple[Action, str]:
    """Return what happens to a text under `default`, and why; what EXECUTE and FETCH run is a read here."""
    statement = weigh(read(sql.encode()), catalog, UNSCOPED)
    parts = [
        weigh_run(part, dict.fromkeys(part.prepared, read(b"SELECT 1"))) if part.prepared else part
        for part in statement.parts
    ]
    found = verdict(Statement(statement.text, tuple(parts)), POLICIES["default"])
    return found.action, found.reason


def not_forwarded(rows: Iterable[Mapping[str, Any]], catalog: Catalog = BUILT_IN) -> dict[str, str]:
    """Return the rows that do not pass, each with what happens to it and why."""
    found = {}
    for row in rows:
        decided, reason = action(row["sql"], catalog)
        if decided is not Action.FORWARD:
            found[row["id"]] = f"{decided}: {reason}"
    return found


@pytest.mark.parametrize("tool", dict.fromkeys(row["tool"] for row in TOOLS))
def test_nothing_that_a_tool_asks_is_held(tool: str) -> None:
    # What a cursor WITH HOLD runs at COMMIT is proven with a catalog only.
    rows = [row for row in TOOLS if row["tool"] == tool and "WITH HOLD" not in row["sql"]]
    assert not_forwarded(rows) == {}


# pg_dump names all tables in one text, until it is 100,000 bytes long, and their numbers without any limit.
@pytest.mark.parametrize(
    "sql",
    [
        f"LOCK TABLE {', '.join(f'public.customer_history_{n}' for n in range(3_000))} IN ACCESS SHARE MODE",
        "SELECT conrelid, conname FROM "
        f"unnest('{{{','.join(map(str, range(16_384, 19_384)))}}}'::pg_catalog.oid[]) AS src(tbloid) "
        "JOIN pg_catalog.pg_constraint ON (src.tbloid = conrelid)",
    ],
    ids=["LOCK TABLE", "unnest"],
)
def test_a_database_of_three_thousand_tables_can_be_dumped(sql: str) -> None:
    assert len(sql) < 100_000
    assert action(sql)[0] is Action.FORWARD


@pytest.fixture
def connection(postgres: EmbeddedPostgres, database: str) -> Iterator[psycopg.Connection[Any]]:
    """A session in a database with one of everything."""
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute((CORPUS / "tools.sql").read_bytes())
        yield connection


def test_no_more_is_held_where_the_database_has_functions_of_its_own(connection: psycopg.Connection[Any]) -> None:
    catalog = catalog_of(connection)
    assert catalog != BUILT_IN
    # Some tools made tables of their own before they asked about them.
    found = not_forwarded(TOOLS, catalog)
    assert {row: why for row, why in found.items() if "which the catalog does not know" not in why} == {}


def test_what_tools_read_changes_nothing(connection: psycopg.Connection[Any]) -> None:
    connection.execute("SET statement_timeout = '10s'")
    ran, faults = 0, []
    for row in TOOLS:
        if row["kind"] not in READS:
            continue
        connection.execute("BEGIN READ ONLY")
        sqlstate = _sqlstate(connection, row)
        if sqlstate == "25006":
            faults.append(row["id"])
        elif not sqlstate:
            ran += 1
            if connection.execute("SELECT pg_current_xact_id_if_assigned()").fetchone() != (None,):
                faults.append(row["id"])
        connection.execute("ROLLBACK")
    assert faults == []
    assert ran > 500, "most of them find what they ask for"


def _sqlstate(connection: psycopg.Connection[Any], row: Mapping[str, Any]) -> str:
    """Run a row as its tool did, with NULL for each parameter; return the SQLSTATE of its error, or ""."""
    server = connection.pgconn
    if row["protocol"] == "extended":
        types = [_type(name) for name in row.get("params", [])]
        places = max([len(types), *map(int, re.findall(r"\$(\d+)", row["sql"]))])
        types += [0] * (places - len(types))
        server.send_query_params(row["sql"].encode(), [None] * places, types)
    else:
        server.send_query(row["sql"].encode())
    return first_error(server)


def _type(name: str) -> int:
    known = postgres_types.get(name)
    return known.oid if known else 0

"""The corpora: what writes is never forwarded, what plainly reads is, and the server agrees with both."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.judge.asking import first_error
from tests.judge.texts import ATTACKS, CORPUS, FORWARDED, HOLDING, PSQL, REFUSED, action, judged

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.reading import read
from pgnotary.judge.rules import Action

READS = {"read", "explain", "explain_analyze:read", "show", "copy_out", "transaction", "empty", "session_setting"}
SCHEMA = """
CREATE TABLE t (a int); CREATE TABLE users (id int, a int, name text, admin bool);
CREATE TABLE orders (id int, total int); CREATE TABLE \u00e9 (\u00e9 int); CREATE SCHEMA app;
INSERT INTO t SELECT generate_series(1, 100);
"""


@pytest.mark.parametrize("row", [row for row in CORPUS if row["writes"]], ids=lambda row: row["id"])
def test_what_writes_is_never_forwarded(row: dict[str, str]) -> None:
    assert action(row["sql"], "strict") is not Action.FORWARD
    assert _is_of_tools(row["sql"])


@pytest.mark.parametrize("profile", HOLDING)
@pytest.mark.parametrize("row", [row for row in CORPUS if row["kind"] in READS], ids=lambda row: row["id"])
def test_what_plainly_reads_is_forwarded(row: dict[str, str], profile: str) -> None:
    assert action(row["sql"], profile) is Action.FORWARD


@pytest.mark.parametrize("sql", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_not_forwarded(sql: str) -> None:
    assert action(sql, "strict") is not Action.FORWARD
    assert _is_of_tools(sql)


def _is_of_tools(sql: str) -> bool:
    """Say whether `default` stops a text too, or lets it pass for what it is and not as harmless."""
    found = judged(sql)
    single_reader = "second reader stops" in found.reason or "second reader may spend" in found.reason
    return found.action is not Action.FORWARD or found.rule == "default/tools" or single_reader


@pytest.mark.parametrize("profile", HOLDING)
@pytest.mark.parametrize("sql", REFUSED)
def test_what_would_break_a_promise_or_is_not_carried_is_refused(sql: str, profile: str) -> None:
    assert action(sql, profile) is Action.REFUSE


@pytest.mark.parametrize("profile", HOLDING)
@pytest.mark.parametrize("sql", FORWARDED)
def test_the_harmless_passes_under_both_profiles(sql: str, profile: str) -> None:
    assert action(sql, profile) is Action.FORWARD


@pytest.mark.parametrize("profile", HOLDING)
def test_what_psql_asks_of_the_catalog_is_forwarded(profile: str) -> None:
    assert [row["name"] for row in PSQL if action(row["sql"], profile) is not Action.FORWARD] == []


@pytest.fixture
def tables(postgres: EmbeddedPostgres, database: str) -> Iterator[psycopg.Connection[Any]]:
    """A session in a database with the tables that the corpora speak of most."""
    with psycopg.connect(postgres.dsn(database), autocommit=True, prepare_threshold=None) as connection:
        connection.execute(SCHEMA.encode())
        connection.execute("SET statement_timeout = '500ms'")
        yield connection


def test_what_is_forwarded_neither_writes_nor_takes_a_transaction_id(tables: psycopg.Connection[Any]) -> None:
    texts = [*FORWARDED, *(row["sql"] for row in CORPUS), *(row["sql"] for row in PSQL)]
    ran, faults = 0, []
    for sql in dict.fromkeys(texts):
        if action(sql, "strict") is not Action.FORWARD or any(part.control for part in read(sql.encode()).parts):
            continue
        tables.execute("BEGIN READ ONLY")
        sqlstate = _sqlstate(tables, sql)
        if sqlstate == "25006":
            faults.append(sql)
        elif not sqlstate:
            ran += 1
            if tables.execute("SELECT pg_current_xact_id_if_assigned()").fetchone() != (None,):
                faults.append(sql)
        tables.execute("ROLLBACK")
    assert faults == []
    assert ran > 350, "most of them find their tables"


def test_the_wall_would_have_shown_a_write(tables: psycopg.Connection[Any]) -> None:
    tables.execute("BEGIN READ ONLY")
    assert _sqlstate(tables, "DELETE FROM t") == "25006"


def _sqlstate(connection: psycopg.Connection[Any], sql: str) -> str:
    """Send a text as one Query and return the SQLSTATE of its first error, or ""."""
    server = connection.pgconn
    server.send_query(sql.encode())
    return first_error(server)

"""Counting on a live server: what honest statements do is said by their texts, and what is hidden in them is not."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from tests.judge.asking import catalog_of, scope_of
from tests.play import Play
from tests.tiers import one_in

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.catalog import Catalog
from pgnotary.judge.meaning import weigh
from pgnotary.judge.reading import read
from pgnotary.judge.statement import Part
from pgnotary.session.counted import Count, count, unsaid
from pgnotary.session.steps import Answer, Ask

MADE = """
CREATE TABLE victims AS SELECT generate_series(1, 10) AS id; CREATE SEQUENCE s;
CREATE TABLE plain (id int PRIMARY KEY, a text); INSERT INTO plain VALUES (0, 'zero');
CREATE TABLE "Odd one" (id serial, n int GENERATED ALWAYS AS IDENTITY, twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE child (id int REFERENCES plain); CREATE UNLOGGED TABLE fast (a text);
CREATE TABLE whole (k int, a int) PARTITION BY LIST (k);
CREATE TABLE half PARTITION OF whole FOR VALUES IN (1, 2) PARTITION BY LIST (a);
CREATE TABLE quarter PARTITION OF half FOR VALUES IN (1); CREATE TABLE rest PARTITION OF half DEFAULT;
CREATE TABLE other PARTITION OF whole DEFAULT;
CREATE TABLE old AS SELECT 1 AS id; CREATE MATERIALIZED VIEW kept AS SELECT id FROM old; CREATE TYPE pair AS (a int);
CREATE ROLE counted_clerk;
"""


@dataclass(frozen=True)
class Bench:
    """A live server, and what the judge knows of its database."""

    connection: psycopg.Connection[Any]
    catalog: Catalog

    def part(self, text: str) -> Part:
        """Return the only part of a text, as the session would have it."""
        (part,) = weigh(read(text.encode()), self.catalog, scope_of(self.connection)).parts
        return part

    def counted(self, part: Part, *, ran: bool = True) -> Count:
        """Count as the session would."""
        asking = count(Play().state, part, ran=ran)
        step = next(asking)
        assert isinstance(step, Ask)
        row = self.connection.execute(step.messages[5:-1]).fetchone()
        assert row is not None
        with pytest.raises(StopIteration) as done:
            asking.send(Answer(rows=[(json.dumps(row[0]),)]))
        assert isinstance(done.value.value, Count)
        return done.value.value

    def found(self, text: str, hidden: Sequence[str] = (), before: Sequence[str] = ()) -> str:
        """Run a text, and what is hidden in it, in a transaction that is undone; return what was done unsaid."""
        with self.connection.transaction(force_rollback=True):
            for each in before:
                self.connection.execute(each.encode())
            part = self.part(text)
            was = self.counted(part, ran=False)
            for each in (text, *hidden):
                self.connection.execute(each.encode())
            return unsaid(part, was, self.counted(part))


@pytest.fixture(scope="module")
def server(postgres: EmbeddedPostgres) -> Iterator[Bench]:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE counts")
    with psycopg.connect(postgres.dsn("counts"), autocommit=True) as connection:
        connection.execute(MADE)
        yield Bench(connection, catalog_of(connection))
        connection.execute("DROP OWNED BY counted_clerk; DROP ROLE counted_clerk")
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE counts")


HONEST = [
    "INSERT INTO plain VALUES (1, 'one')",
    "INSERT INTO plain VALUES (1, 'one') RETURNING a",
    "INSERT INTO plain VALUES (1, repeat(md5('x'), 100000))",
    "INSERT INTO plain SELECT i, i::text FROM generate_series(1, 1000) AS i",
    "INSERT INTO plain VALUES (0, 'none') ON CONFLICT DO NOTHING",
    "INSERT INTO plain VALUES (0, 'new') ON CONFLICT (id) DO UPDATE SET a = excluded.a",
    "INSERT INTO child VALUES (0)",
    "INSERT INTO fast VALUES ('x')",
    'INSERT INTO "Odd one" DEFAULT VALUES',
    "INSERT INTO whole VALUES (1, 1), (1, 2), (3, 3)",
    "INSERT INTO half VALUES (1, 1)",
    "INSERT INTO quarter VALUES (1, 1)",
    "WITH x AS (INSERT INTO fast VALUES ('x') RETURNING a) INSERT INTO plain SELECT 2, a FROM x",
    "UPDATE plain SET a = 'x'",
    "DELETE FROM plain WHERE id = 0",
    "MERGE INTO plain USING victims ON plain.id = victims.id WHEN NOT MATCHED THEN INSERT VALUES (victims.id, NULL)",
    "SELECT nextval('s')",
    "SELECT * FROM plain FOR UPDATE",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "CREATE TEMP TABLE x (id serial PRIMARY KEY, a text UNIQUE DEFERRABLE, p pair, CHECK (a <> ''))",
    "CREATE TEMP TABLE x (id int GENERATED ALWAYS AS IDENTITY) ON COMMIT DROP",
    "CREATE TEMP TABLE x AS SELECT * FROM plain",
    "SELECT * INTO TEMP x FROM plain",
]
ON_TEMPORARY = [
    "INSERT INTO mine SELECT 1, repeat(md5('x'), 100000)",
    "UPDATE mine SET a = 'x'",
    "DELETE FROM mine",
    "TRUNCATE mine",
    "DROP TABLE mine",
    "CREATE INDEX ON mine (a)",
    "CREATE TEMP TABLE x (id int REFERENCES mine)",
]


@pytest.mark.parametrize("text", HONEST)
def test_what_a_text_says_is_said(server: Bench, text: str) -> None:
    assert server.found(text) == ""
    assert server.found(text, before=["UPDATE plain SET a = 'y'", "ALTER TABLE old ADD b int"]) == ""


@pytest.mark.parametrize(
    "text", ["SELECT * FROM plain FOR UPDATE", "CREATE TEMP TABLE x AS SELECT * FROM plain", *HONEST[:6]]
)
def test_so_it_is_where_reads_leave_locks_of_their_own(server: Bench, text: str) -> None:
    assert server.found(text, before=["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"]) == ""


@pytest.mark.parametrize("text", ON_TEMPORARY)
def test_what_is_done_with_temporary_tables_is_said(server: Bench, text: str) -> None:
    assert server.found(text, before=["CREATE TEMP TABLE mine (id int PRIMARY KEY, a text)"]) == ""


HIDDEN = [
    "DELETE FROM victims",
    "UPDATE victims SET id = 1",
    "TRUNCATE victims",
    "DROP TABLE victims",
    "ALTER TABLE victims RENAME TO gone",
    "ALTER TABLE whole DETACH PARTITION half",
    "REFRESH MATERIALIZED VIEW kept",
    "CREATE TABLE more (a int)",
    "CREATE VIEW more AS SELECT 1",
    "CREATE INDEX ON victims (id)",
    "CREATE TYPE more AS ENUM ()",
    "CREATE SCHEMA more",
    "CREATE DOMAIN more AS text CHECK (VALUE <> '')",
    "CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DROP TYPE pair",
    "GRANT SELECT ON victims TO counted_clerk",
    "GRANT SELECT (id) ON victims TO counted_clerk",
    "GRANT USAGE ON TYPE pair TO counted_clerk",
    "GRANT CREATE ON SCHEMA public TO counted_clerk",
    "ALTER ROLE counted_clerk CREATEDB",
    "SELECT lo_create(0)",
    "DECLARE k CURSOR WITH HOLD FOR SELECT 1",
    "DO $$ BEGIN BEGIN DELETE FROM victims; END; EXCEPTION WHEN OTHERS THEN NULL; END $$",
    "SAVEPOINT q; DELETE FROM victims; RELEASE q",
]
HOSTS = [
    "SELECT nextval('s')",
    "INSERT INTO plain VALUES (1, 'one')",
    "INSERT INTO plain SELECT id, 'one' FROM victims",
    "SELECT 1 INTO TEMP x",
    "CREATE TEMP TABLE x AS SELECT 1",
    "CREATE TEMP TABLE x (a int)",
    "WITH y AS (INSERT INTO plain VALUES (1, 'one') RETURNING a) SELECT a INTO TEMP x FROM y",
]


@pytest.mark.parametrize("text", one_in(2, HOSTS))
@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_is_hidden_in_a_text_is_found(server: Bench, text: str, hidden: str) -> None:
    assert server.found(text, hidden=[hidden]) != ""
    assert server.found(text, hidden=[hidden], before=["CREATE TEMP TABLE mine (a int)"]) != ""


@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_is_hidden_in_a_change_of_a_temporary_table_is_found(server: Bench, hidden: str) -> None:
    for text in ("INSERT INTO mine VALUES (1)", "DELETE FROM mine", "CREATE INDEX ON mine (a)"):
        assert server.found(text, hidden=[hidden], before=["CREATE TEMP TABLE mine (a int)"]) != ""


def test_a_truncate_of_what_was_truncated_before_is_found(server: Bench) -> None:
    """It happens in place: no row of pg_class changes, and the counts become less."""
    before = ["TRUNCATE victims", "INSERT INTO victims VALUES (1)"]
    assert "victims" in server.found("SELECT nextval('s')", hidden=["TRUNCATE victims"], before=before)


def test_a_relation_that_is_younger_than_the_snapshot_is_found(server: Bench, postgres: EmbeddedPostgres) -> None:
    function = "CREATE FUNCTION late() RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO late VALUES (1); END $$"
    server.connection.execute(function)
    part = server.part("SELECT nextval('s')")
    with server.connection.transaction(force_rollback=True):
        server.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        server.connection.execute("SELECT 1 FROM plain")
        with psycopg.connect(postgres.dsn("counts"), autocommit=True) as somebody:
            somebody.execute("CREATE TABLE late (a int)")
        was = server.counted(part, ran=False)
        server.connection.execute("SELECT nextval('s'), late()")
        assert "the relation with oid" in unsaid(part, was, server.counted(part))
    server.connection.execute("DROP TABLE late; DROP FUNCTION late()")


MEETING = """
CREATE TABLE met (id int);
CREATE FUNCTION wait(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN PERFORM pg_catalog.pg_advisory_xact_lock_shared(7); RETURN $1; END $$;
CREATE INDEX ON met (wait(id)); CREATE UNIQUE INDEX ON met (id);
"""
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted"


def test_what_loses_against_another_session_by_on_conflict_is_no_deletion(
    server: Bench, postgres: EmbeddedPostgres
) -> None:
    """It is inserted, and deleted again, if another row comes between the look at the index and the insertion."""
    server.connection.execute(MEETING)
    text = "INSERT INTO met VALUES (1) ON CONFLICT DO NOTHING"
    part = replace(server, catalog=catalog_of(server.connection)).part(text)
    lost, dsn = False, postgres.dsn("counts")
    with psycopg.connect(dsn, autocommit=True) as gate, psycopg.connect(dsn, autocommit=True) as somebody:
        # Whoever is second loses, and that is not always the same one.
        for _ in range(40):
            gate.execute("TRUNCATE met; SELECT pg_advisory_lock(7)")
            with ThreadPoolExecutor(2) as beside, server.connection.transaction(force_rollback=True):
                was = server.counted(part, ran=False)
                theirs = beside.submit(somebody.execute, text)
                ours = beside.submit(server.connection.execute, text)
                while gate.execute(WAITING).fetchone() != (2,):
                    assert not ours.done()
                gate.execute("SELECT pg_advisory_unlock(7)")
                ours.result()
                now = server.counted(part)
                assert unsaid(part, was, now) == ""
                lost = unsaid(replace(part, on_conflict=False), was, now) != ""
            theirs.result()
            if lost:
                break
    assert lost, "nobody ever lost"
    server.connection.execute("DROP TABLE met; DROP FUNCTION wait(int)")


def test_a_role_that_may_read_nothing_may_count(server: Bench) -> None:
    part = server.part("SELECT nextval('s')")
    with server.connection.transaction(force_rollback=True):
        server.connection.execute("SET ROLE counted_clerk")
        assert server.counted(part).role == "counted_clerk"

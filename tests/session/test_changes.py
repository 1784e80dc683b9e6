"""Counting what was signed on a live server: no row that stays is left out, and what no counter shows is said."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.judge.asking import catalog_of, scope_of

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import UpstreamProtocolError
from pgnotary.judge.meaning import weigh
from pgnotary.judge.reading import read
from pgnotary.request.ceiling import Changed, other_rows, own_rows
from pgnotary.session.changes import BEFORE, BEHIND, Changes, Counters, changes, counters_in, targets_of
from pgnotary.wire.messages import rows_of

MADE = """
CREATE TABLE plain (id int PRIMARY KEY, a text); INSERT INTO plain SELECT i, 'x' FROM generate_series(1, 20) AS i;
CREATE TABLE child (id int REFERENCES plain ON DELETE CASCADE ON UPDATE CASCADE, n int);
INSERT INTO child SELECT i % 4 + 1, i FROM generate_series(1, 400) AS i;
CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree ON DELETE CASCADE);
INSERT INTO tree SELECT i, nullif(i / 2, 0) FROM generate_series(1, 31) AS i;
CREATE TABLE whole (k int, a int) PARTITION BY LIST (k);
CREATE TABLE half PARTITION OF whole FOR VALUES IN (1, 2) PARTITION BY LIST (a);
CREATE TABLE quarter PARTITION OF half FOR VALUES IN (1); CREATE TABLE rest PARTITION OF half DEFAULT;
CREATE TABLE other PARTITION OF whole DEFAULT;
INSERT INTO whole SELECT i % 4, i % 3 FROM generate_series(1, 60) AS i;
CREATE TABLE parent (id int); CREATE TABLE heir () INHERITS (parent); INSERT INTO heir SELECT generate_series(1, 7);
CREATE TABLE audited (id int PRIMARY KEY); INSERT INTO audited SELECT generate_series(1, 9);
CREATE TABLE audit (at timestamptz, what text); CREATE TABLE victims AS SELECT generate_series(1, 10) AS id;
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO audit VALUES (now(), TG_OP); RETURN NULL; END';
CREATE TRIGGER noted AFTER DELETE ON audited FOR EACH ROW EXECUTE FUNCTION noted();
CREATE TABLE sly (id int); INSERT INTO sly SELECT generate_series(1, 5); CREATE TABLE told (what text);
CREATE FUNCTION does() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN EXECUTE (SELECT what FROM told LIMIT 1); RETURN NULL; END';
CREATE TRIGGER does AFTER DELETE ON sly FOR EACH STATEMENT EXECUTE FUNCTION does();
CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM victims; RETURN 1; END';
CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
CREATE FOREIGN TABLE afar (id int) SERVER far; CREATE SCHEMA "Odd one"; CREATE TABLE "Odd one".t (id int);
SELECT lo_create(90001); SELECT lo_put(90001, 0, 'x');
"""


class Bench:
    """A live server, and what the judge knows of its database."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.catalog = catalog_of(connection)

    def counters(self, question: bytes) -> Counters:
        """Ask as the session would."""
        row = self.connection.execute(question).fetchone()
        assert row is not None
        return counters_in([(json.dumps(row[0]),)])

    def found(self, text: str, *, hidden: str = "", before: str = "") -> tuple[int | None, Changes]:
        """Run a text in a transaction that is undone; return the rows of its tag and what was changed."""
        with self.connection.transaction(force_rollback=True):
            for each in filter(None, before.split(";")):
                self.connection.execute(each.encode())
            self.connection.execute("INSERT INTO told VALUES (%s)", [hidden])
            statement = weigh(read(text.encode()), self.catalog, scope_of(self.connection))
            was = self.counters(BEFORE)
            told = rows_of(self.connection.execute(text.encode()).statusmessage or "")
            return told, changes(was, self.counters(BEHIND), targets_of(statement))

    def counted(self, text: str, *, hidden: str = "", before: str = "") -> tuple[int, int]:
        """Return how many rows of its own targets a text changed, and how many others."""
        told, found = self.found(text, hidden=hidden, before=before)
        assert not found.uncountable
        return own_rows(told, found.changed), other_rows(found.changed)


@pytest.fixture(scope="module")
def server(postgres: EmbeddedPostgres) -> Iterator[Bench]:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE changes")
    with psycopg.connect(postgres.dsn("changes"), autocommit=True) as connection:
        connection.execute(MADE)
        yield Bench(connection)
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE changes")


@pytest.mark.parametrize(
    ("text", "own", "other"),
    [
        ("DELETE FROM plain WHERE id > 15", 5, 0),
        ("UPDATE plain SET a = 'y' WHERE id > 15", 5, 0),
        ("INSERT INTO plain SELECT i, 'x' FROM generate_series(30, 39) AS i", 10, 0),
        ("INSERT INTO plain VALUES (1, 'z'), (99, 'z') ON CONFLICT (id) DO UPDATE SET a = 'z'", 2, 0),
        ("UPDATE plain SET a = repeat(md5('x'), 100000) WHERE id = 1", 1, 0),
        (
            "MERGE INTO plain USING victims v ON plain.id = v.id + 15 WHEN MATCHED AND v.id < 3 THEN DELETE"
            " WHEN MATCHED THEN UPDATE SET a = 'm' WHEN NOT MATCHED THEN INSERT VALUES (v.id + 15, 'n')",
            10,
            0,
        ),
        ("DELETE FROM plain WHERE id = 1", 1, 100),
        ("UPDATE plain SET id = 101 WHERE id = 1", 1, 100),
        ("DELETE FROM tree WHERE id = 1", 31, 0),
        ("WITH gone AS (DELETE FROM plain WHERE id > 15 RETURNING id) SELECT count(*) FROM gone", 5, 0),
        ("WITH gone AS (DELETE FROM plain WHERE id > 15 RETURNING id) INSERT INTO victims SELECT id FROM gone", 10, 0),
        ("WITH gone AS (DELETE FROM plain WHERE id = 2 RETURNING id) SELECT count(*) FROM gone", 1, 100),
        ("DELETE FROM audited WHERE id < 4", 3, 3),
        ("DELETE FROM sly", 5, 7),
        ("DELETE FROM parent", 7, 0),
        ("DELETE FROM whole WHERE k = 1", 15, 0),
        ("UPDATE whole SET a = a + 10 WHERE k = 0", 15, 0),
        ("UPDATE whole SET k = 9 WHERE k = 1", 15, 0),
        ("UPDATE half SET a = 1 WHERE a <> 1 AND k = 1", 10, 0),
        ("DELETE FROM quarter", 10, 0),
        ("DELETE FROM plain WHERE id > 15 AND wipe() = 1", 5, 10),
        ("DELETE FROM plain WHERE id > 19 AND lo_unlink(90001) = 1", 1, 1),
        ("DELETE FROM plain WHERE false", 0, 0),
    ],
)
def test_every_row_is_counted_once(server: Bench, text: str, own: int, other: int) -> None:
    assert server.counted(text, hidden="DELETE FROM victims WHERE id < 8") == (own, other)


def test_what_the_transaction_has_changed_before_is_not_counted_again(server: Bench) -> None:
    before = "DELETE FROM plain WHERE id = 3; INSERT INTO audit VALUES (now(), 'x')"
    assert server.counted("DELETE FROM plain WHERE id > 15", before=before) == (5, 0)


def test_rows_that_a_savepoint_inside_of_it_has_undone_are_too_many_and_never_too_few(server: Bench) -> None:
    tries = "BEGIN DELETE FROM victims; PERFORM 1 / 0; EXCEPTION WHEN others THEN END;"
    assert server.counted("DELETE FROM sly", hidden=f"DO $$ BEGIN {tries} END $$") == (5, 0)
    stays = f"DO $$ BEGIN {tries} DELETE FROM victims WHERE id = 1; END $$"
    assert server.counted("DELETE FROM sly", hidden=stays) == (5, 11)
    undone = "SAVEPOINT s; DELETE FROM plain WHERE id > 15; ROLLBACK TO s"
    assert server.counted("DELETE FROM plain WHERE id > 15", before=undone) == (5, 0)


def test_a_move_between_partitions_hides_no_rows_that_are_deleted_and_inserted_beside_it(server: Bench) -> None:
    with server.connection.transaction(force_rollback=True):
        server.connection.execute("CREATE TRIGGER does AFTER UPDATE ON whole EXECUTE FUNCTION does()")
        swaps = "WITH gone AS (DELETE FROM whole WHERE k = 3 RETURNING *) INSERT INTO whole SELECT 3, 99 FROM gone"
        told, found = server.found("UPDATE whole SET a = a WHERE k = 0 AND a = 0", hidden=swaps)
    assert (told, own_rows(told, found.changed)) == (5, 35)


@pytest.mark.parametrize(
    ("hidden", "why"),
    [
        ("TRUNCATE victims", "it emptied, made anew or dropped public.victims"),
        ("DROP TABLE victims", "it emptied, made anew or dropped"),
        ("ALTER TABLE victims ALTER id TYPE text USING ''", "it emptied, made anew or dropped public.victims"),
        ("CREATE TABLE copied AS SELECT * FROM victims", "it emptied, made anew or dropped public.copied"),
        ('TRUNCATE "Odd one".t', 'it emptied, made anew or dropped "Odd one".t'),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT wipe()", "it left a cursor WITH HOLD behind"),
        ("LOCK TABLE victims IN ACCESS EXCLUSIVE MODE", "it emptied, made anew or dropped public.victims"),
    ],
)
def test_what_no_counter_shows_makes_it_uncountable(server: Bench, hidden: str, why: str) -> None:
    _, found = server.found("DELETE FROM sly", hidden=hidden)
    assert f"it {found.uncountable}".startswith(why)
    assert found.fields == {"uncountable": found.uncountable}


def test_what_the_block_has_locked_before_may_not_be_emptied_unseen(server: Bench) -> None:
    locked = "LOCK TABLE victims IN ACCESS EXCLUSIVE MODE"
    assert server.counted("DELETE FROM sly", hidden="DELETE FROM victims", before=locked) == (5, 10)
    _, found = server.found("DELETE FROM sly", hidden="TRUNCATE victims", before=locked)
    assert found.uncountable
    _, found = server.found("DELETE FROM sly", hidden="TRUNCATE victims", before="INSERT INTO victims VALUES (1)")
    assert found.uncountable


def test_what_is_on_another_server_is_not_countable(server: Bench) -> None:
    with server.connection.transaction(force_rollback=True):
        server.connection.execute("EXPLAIN DELETE FROM afar")
        _, found = server.found("DELETE FROM plain WHERE id > 15")
    assert found.uncountable == "may have changed public.afar, which is on another server"


def test_temporary_tables_are_known_by_the_name_that_the_judge_gives_them(server: Bench) -> None:
    made = "CREATE TEMP TABLE mine AS SELECT generate_series(1, 4) AS id"
    assert server.counted("DELETE FROM mine", before=made) == (4, 0)
    assert server.counted("DELETE FROM sly", before=made, hidden="TRUNCATE mine") == (5, 0)
    assert server.counted("DELETE FROM sly", before=made, hidden="DELETE FROM mine") == (5, 4)


def test_without_track_counts_nothing_is_known(server: Bench) -> None:
    _, found = server.found("DELETE FROM plain WHERE id > 15", before="SET LOCAL track_counts = off")
    assert found.uncountable == "cannot be counted while track_counts is off"


def test_operators_of_somebodys_own_are_not_asked(server: Bench) -> None:
    mine = (
        "CREATE SCHEMA mine; CREATE FUNCTION mine.lies(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT false';"
        "CREATE OPERATOR mine.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = mine.lies);"
        "CREATE FUNCTION mine.lies(text, text) RETURNS bool LANGUAGE sql AS 'SELECT false';"
        "CREATE OPERATOR mine.= (LEFTARG = text, RIGHTARG = text, FUNCTION = mine.lies);"
        "SET LOCAL search_path = mine, public, pg_catalog"
    )
    assert server.counted("DELETE FROM public.plain WHERE id > 15", before=mine) == (5, 0)


def test_an_entry_lists_the_targets_first_and_says_how_many_more_there_are(server: Bench) -> None:
    _, found = server.found("DELETE FROM plain WHERE id = 1")
    assert found.fields == {
        "changed": [
            {"relation": "public.plain", "target": True, "deleted": 1},
            {"relation": "public.child", "target": False, "deleted": 100},
        ],
        "other_rows": 100,
    }
    many = Changes(tuple(Changed(f"public.t{i}", target=False, inserted=1) for i in range(103)))
    assert len(str(many.fields["changed"])) < 20_000
    assert (many.fields["changed_more"], many.fields["other_rows"]) == (3, 103)


def test_a_partition_is_told_with_its_table(server: Bench) -> None:
    _, found = server.found("UPDATE whole SET k = 9 WHERE k = 1")
    assert {(each.relation, each.root) for each in found.changed} == {
        ("public.quarter", "public.whole"),
        ("public.rest", "public.whole"),
        ("public.other", "public.whole"),
    }
    assert all(Changed.of(each.fields) == each for each in found.changed)


@pytest.mark.parametrize(
    "rows", [[], [(None,)], [("{}",)], [('{"track_counts": "on", "cursors": null, "changed": [{}]}',)], [("1", "2")]]
)
def test_an_answer_that_cannot_be_read_is_the_servers_fault(rows: list[tuple[str | None, ...]]) -> None:
    with pytest.raises(UpstreamProtocolError, match="cannot be read"):
        counters_in(rows)

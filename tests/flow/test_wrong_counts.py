"""Statements made to have a count called exact that is not what then happens: each is named after the attack."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.flow.served import Served, holding_inserts
from tests.flow.untouched import untouched
from tests.tiers import one_in
from tests.versions import need

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.request.decision import Answer

SCHEMA = """
CREATE ROLE clerk_of_counts;
CREATE FUNCTION spread(int, int) RETURNS SETOF int LANGUAGE sql IMMUTABLE AS 'SELECT generate_series($1, $2)';
CREATE OPERATOR <-> (FUNCTION = spread, LEFTARG = int, RIGHTARG = int);
CREATE FUNCTION spread_internal(int, int) RETURNS SETOF int LANGUAGE internal IMMUTABLE AS 'generate_series_int4';
CREATE OPERATOR <~> (FUNCTION = spread_internal, LEFTARG = int, RIGHTARG = int);
CREATE TYPE pair AS (a int, b int);
CREATE FUNCTION spanned(pair) RETURNS SETOF int LANGUAGE sql IMMUTABLE AS 'SELECT generate_series($1.a, $1.b)';
CREATE TABLE t (id int PRIMARY KEY, a int, b int);
INSERT INTO t SELECT i, i, i FROM generate_series(1, 10) i;
CREATE TABLE other (id int, x int);
INSERT INTO other SELECT i, i FROM generate_series(1, 10) i;
CREATE VIEW low AS SELECT id, a FROM t WHERE id < 8;
CREATE VIEW high AS SELECT id, a FROM t WHERE id > 3;
CREATE TABLE mother (x int);
CREATE TABLE father (x int);
CREATE TABLE child () INHERITS (mother, father);
INSERT INTO child SELECT generate_series(1, 5);
CREATE FUNCTION sum_of(t) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1.a + $1.b';
CREATE FUNCTION a_of(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT a FROM t WHERE id = $1';
CREATE FUNCTION a_by(int, int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT $2 = (SELECT a FROM t WHERE id = $1)';
CREATE OPERATOR <=>> (FUNCTION = a_by, LEFTARG = int, RIGHTARG = int);
CREATE TABLE moved (k int, v int) PARTITION BY LIST (k);
CREATE TABLE moved_1 PARTITION OF moved FOR VALUES IN (1);
CREATE TABLE moved_2 PARTITION OF moved FOR VALUES IN (2);
INSERT INTO moved SELECT 1, generate_series(1, 5);
CREATE TABLE owned (id int, owner text);
ALTER TABLE owned ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON owned USING (owner = 'me') WITH CHECK (true);
INSERT INTO owned SELECT generate_series(1, 5), 'me';
CREATE FUNCTION locks() RETURNS int LANGUAGE sql STABLE AS
  $$ SELECT count(*)::int FROM pg_locks WHERE mode = 'RowExclusiveLock' $$;
CREATE FUNCTION stats() RETURNS int LANGUAGE plpgsql STABLE AS
  $$ BEGIN RETURN (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE state = 'active'); END $$;
CREATE VIEW recent AS SELECT id FROM other WHERE now() > '2020-01-01';
CREATE TABLE timed (id int);
ALTER TABLE timed ENABLE ROW LEVEL SECURITY;
CREATE POLICY recent ON timed USING (id IN (SELECT id FROM recent));
INSERT INTO timed SELECT generate_series(1, 5);
CREATE TABLE keyed (id int PRIMARY KEY, v int);
CREATE TABLE refers (x int REFERENCES keyed ON UPDATE CASCADE);
CREATE VIEW renames AS SELECT id AS key, v AS id FROM keyed;
CREATE VIEW renames_with_a_blank AS SELECT id AS "the key", v FROM keyed;
CREATE VIEW renamed_since AS SELECT id, v FROM keyed;
ALTER VIEW renamed_since RENAME COLUMN id TO key;
CREATE VIEW over_renames AS SELECT key, id FROM renames;
INSERT INTO keyed SELECT i, i FROM generate_series(1, 3) i;
INSERT INTO refers VALUES (1), (2);
CREATE TABLE made (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 10) STORED UNIQUE);
CREATE TABLE of_made (g int REFERENCES made (g) ON UPDATE CASCADE);
INSERT INTO made (id, a) SELECT i, i FROM generate_series(1, 3) i;
INSERT INTO of_made VALUES (10), (20);
CREATE VIEW one_address AS SELECT id, a, 0::oid AS tableoid, '(0,1)'::tid AS ctid FROM t;
CREATE VIEW no_table AS SELECT id, a, NULL::oid AS tableoid FROM t;
GRANT ALL ON ALL TABLES IN SCHEMA public TO clerk_of_counts;
ANALYZE;
"""


@dataclass(frozen=True)
class Attack:
    sql: str
    caveats: str
    executions: Sequence[Sequence[Any]] = ()
    role: str = ""


ATTACKS = {
    "an operator that returns a set in VALUES": Attack("INSERT INTO other (x) VALUES (1 <-> 5)", "set"),
    "an internal one": Attack("INSERT INTO other (x) VALUES (1 <~> 5)", "set"),
    "a set behind a dot": Attack("INSERT INTO other (x) VALUES ((ROW(1, 5)::pair).spanned)", "set"),
    "an operator that returns a set in a WITH": Attack(
        "WITH a AS (INSERT INTO other (x) VALUES (1 <-> 5)) SELECT 1", "set"
    ),
    "a set behind a dot in a WITH": Attack(
        "WITH a AS (INSERT INTO other (x) VALUES ((ROW(1, 5)::pair).spanned)) SELECT 1", "set"
    ),
    "two views over one table": Attack(
        "WITH a AS (UPDATE low SET a = 0 RETURNING 1) UPDATE high SET a = 1", "several"
    ),
    "a child of two mothers": Attack(
        "WITH a AS (UPDATE mother SET x = 0 RETURNING 1) UPDATE father SET x = 1", "several"
    ),
    "an address that a run before it moves": Attack(
        "UPDATE t SET a = %s WHERE ctid = '(0,1)'", "executions", [(1,), (2,)]
    ),
    "a system column without its table": Attack(
        "UPDATE t SET a = %s WHERE xmax::text = '0'", "executions volatile", [(1,), (2,)]
    ),
    "a system column of the table": Attack(
        "UPDATE moved SET k = %s WHERE moved.tableoid = 'moved_1'::regclass", "executions", [(2,), (2,)]
    ),
    "a function of the row, spelled as a column": Attack(
        "UPDATE t SET a = 100 WHERE t.sum_of < %s", "executions", [(50,), (50,)]
    ),
    "a function that reads the table": Attack(
        "UPDATE t SET a = 100 WHERE a_of(id) = %s", "executions", [(1,), (1,)]
    ),
    "an operator that reads the table": Attack(
        "UPDATE t SET a = 100 WHERE id <=>> %s", "volatile", [(1,), (1,)]
    ),
    "a policy that reads what is set": Attack(
        "UPDATE owned SET owner = %s", "executions", [("you",), ("them",)], role="clerk_of_counts"
    ),
    "a policy that reads a view that asks the clock": Attack(
        "DELETE FROM timed", "volatile", role="clerk_of_counts"
    ),
    "a function that reads what the server tells of itself": Attack("DELETE FROM t WHERE id < 3 + locks()", "volatile"),
    "a procedural one": Attack("DELETE FROM t WHERE id < 3 + stats()", "volatile"),
    "the first of an array in no order": Attack(
        "DELETE FROM t WHERE id = (SELECT (array_agg(id))[1] FROM t)", "order"
    ),
    "the first of an array in an order with ties": Attack(
        "DELETE FROM t WHERE id = (SELECT (array_agg(id ORDER BY a % 2))[1] FROM t)", "order"
    ),
    "the first of an array of a query": Attack(
        "DELETE FROM t WHERE array_position(ARRAY(SELECT id FROM t), id) = 1", "order"
    ),
    "the beginning of a text in no order": Attack(
        "DELETE FROM t WHERE (SELECT string_agg(x::text, '') FROM other) LIKE id || '%'", "order"
    ),
    "a value of any row": Attack("DELETE FROM t WHERE id = (SELECT any_value(x) FROM other)", "order"),
    "a view whose rows all have one address": Attack(
        "DELETE FROM one_address USING other WHERE other.id > one_address.id", "view-rows"
    ),
    "an update of one": Attack("UPDATE one_address v SET a = other.x FROM other WHERE other.id = v.id", "view-rows"),
    "a MERGE into a view of no table": Attack(
        "MERGE INTO no_table v USING other o ON v.id = o.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN DO NOTHING",
        "view-rows",
    ),
    "which transactions have met a row": Attack("DELETE FROM t WHERE xmax = '0'", "volatile"),
}  # fmt: skip


@pytest.fixture(scope="module")
def attacked(postgres: EmbeddedPostgres) -> Iterator[str]:
    with untouched(postgres, "wrong_counts", SCHEMA, "clerk_of_counts") as name:
        yield name


@pytest.fixture(scope="module")
def proxy(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with holding_inserts(postgres, Path(tmp_path_factory.mktemp("wrong_counts")) / "pgnotary", hold_s=60) as served:
        yield served
        served.entries()


def _changed(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(
        "SELECT sum(n_tup_ins + greatest(n_tup_upd, n_tup_del)) FROM pg_stat_xact_user_tables"
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("name", one_in(2, list(ATTACKS)))
def test_what_only_looks_exact_is_not_called_so(proxy: Served, attacked: str, name: str) -> None:
    attack = ATTACKS[name]
    need(attack.sql)
    with proxy.connect(attacked, autocommit=False, cursor_factory=psycopg.Cursor) as connection:
        if attack.role:
            connection.execute(f"SET ROLE {attack.role}".encode())
        before = _changed(connection)

        def run() -> None:
            if attack.executions:
                connection.cursor().executemany(attack.sql.encode(), attack.executions)
            else:
                connection.execute(attack.sql.encode())

        worker = threading.Thread(target=run)
        worker.start()
        paper = proxy.held()
        proxy.decide(paper, Answer.APPROVE)
        worker.join(60)
        changed = _changed(connection) - before
        connection.rollback()
    body: dict[str, Any] = dict(paper.preview.body)
    assert body.get("exact", changed) == changed, body
    assert "exact" not in body
    assert " ".join(body.get("caveats", ())) == attack.caveats, body


HIDDEN_KEYS = {
    "a view that has the key under another name": ("UPDATE renames SET key = key + 100", "public.refers", 2),
    "another name with a blank": ('UPDATE renames_with_a_blank SET "the key" = "the key" + 100', "public.refers", 2),
    "a column that was renamed later": ("UPDATE renamed_since SET key = key + 100", "public.refers", 2),
    "a view over such a view": ("UPDATE over_renames SET key = key + 100", "public.refers", 2),
    "a key that is generated of what is set": ("UPDATE made SET a = a + 100", "public.of_made", 2),
}


@pytest.mark.parametrize("name", HIDDEN_KEYS)
def test_a_foreign_key_that_the_names_do_not_show_is_told(proxy: Served, attacked: str, name: str) -> None:
    sql, table, rows = HIDDEN_KEYS[name]
    with proxy.connect(attacked, autocommit=False) as connection:
        before = _changed(connection)
        worker = threading.Thread(target=lambda: connection.execute(sql.encode()))
        worker.start()
        paper = proxy.held()
        proxy.decide(paper, Answer.APPROVE)
        worker.join(60)
        changed = _changed(connection) - before
        connection.rollback()
    body: dict[str, Any] = dict(paper.preview.body)
    assert [each["to"] for each in body["cascades"]] == [table]
    assert changed == 3 + rows

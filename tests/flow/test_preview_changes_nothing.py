"""A preview changes nothing, whatever the names in a statement call, and whatever that says of itself."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.flow.served import Served
from tests.tiers import one_in
from tests.versions import need

from pgnotary.demo.postgres import EmbeddedPostgres

# It lies in its label; what it does shows in spite of every rollback and of READ ONLY: an advisory lock of the session.
LIAR = """
CREATE TABLE t (id int PRIMARY KEY, a int);
CREATE TABLE c (t int REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE, n int);
INSERT INTO t SELECT i, i FROM generate_series(1, 9) i;
INSERT INTO c SELECT i, i FROM generate_series(1, 9) i;
CREATE FUNCTION liar(int) RETURNS int LANGUAGE plpgsql {label} AS
  $$ BEGIN PERFORM pg_advisory_lock_shared(4711); RETURN $1; END $$;
CREATE FUNCTION says(int) RETURNS boolean LANGUAGE plpgsql {label} AS
  $$ BEGIN PERFORM pg_advisory_lock_shared(4711); RETURN true; END $$;
CREATE FUNCTION same(int, int) RETURNS boolean LANGUAGE plpgsql {label} AS
  $$ BEGIN PERFORM pg_advisory_lock_shared(4711); RETURN $1 IS NOT DISTINCT FROM $2; END $$;
"""
# What is made of it -> the statements whose preview would meet it.
PLACES = {
    "WHERE": ("", "DELETE FROM t WHERE a = liar(1)"),
    "SET": ("", "UPDATE t SET a = liar(2)"),
    "VALUES": ("", "INSERT INTO t VALUES (liar(20), 1)"),
    "an INSERT's query": ("", "INSERT INTO c SELECT id, liar(1) FROM t"),
    "RETURNING": ("", "DELETE FROM t RETURNING liar(1)"),
    "ON CONFLICT": ("", "INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET a = liar(1) WHERE says(t.a)"),
    "MERGE": ("", "MERGE INTO t USING c ON c.t = t.id AND says(1) WHEN MATCHED THEN DELETE"),
    "an index": ("CREATE INDEX ON t ((a + length(a::text)))", "UPDATE t SET a = a + liar(1)"),
    "an index expression": ("CREATE INDEX ON t (liar(a))", "DELETE FROM t WHERE a > 1"),
    "an index predicate": ("CREATE INDEX ON t (a) WHERE says(1)", "DELETE FROM t WHERE a > 1"),
    "an index of what refers": ("CREATE INDEX ON c (t) WHERE says(1)", "DELETE FROM t WHERE id < 4"),
    "a check": ("ALTER TABLE t ADD CHECK (says(1))", "UPDATE t SET a = 3"),
    "a check of what refers": ("ALTER TABLE c ADD CHECK (says(1))", "DELETE FROM t WHERE id < 4"),
    "a domain": (
        "CREATE DOMAIN d AS int CHECK (says(1)); ALTER TABLE t ADD COLUMN d d",
        "UPDATE t SET d = 1 WHERE d = 1::d",
    ),
    "a policy": (
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY; "
        "CREATE POLICY p ON t USING (says(1)); GRANT ALL ON t, c TO clerk",
        "DELETE FROM t WHERE id < 4",
    ),
    "a policy of what refers": (
        "ALTER TABLE c ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON c USING (says(1)); GRANT ALL ON t, c TO clerk",
        "DELETE FROM t WHERE id < 4",
    ),
    "a view": ("CREATE VIEW v AS SELECT id, a FROM t WHERE says(1)", "DELETE FROM v WHERE id < 4"),
    "an operator": (
        "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = same)",
        "DELETE FROM t WHERE 1 === 1",
    ),
    "an equality before PostgreSQL's": (
        "CREATE SCHEMA first; CREATE OPERATOR first.= (LEFTARG = int, RIGHTARG = int, FUNCTION = same); "
        "ALTER DATABASE {database} SET search_path = first, pg_catalog, public",
        "DELETE FROM t WHERE id IN (1, 2)",
    ),
    "an equality of names and oids": (
        "CREATE SCHEMA first; CREATE FUNCTION first.oids(oid, oid) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS "
        "$$ BEGIN PERFORM pg_catalog.pg_advisory_lock_shared(4711); RETURN true; END $$; "
        "CREATE OPERATOR first.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = first.oids); "
        "CREATE FUNCTION first.names(name, name) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS "
        "$$ BEGIN PERFORM pg_catalog.pg_advisory_lock_shared(4711); RETURN true; END $$; "
        "CREATE OPERATOR first.= (LEFTARG = name, RIGHTARG = name, FUNCTION = first.names); "
        "ALTER DATABASE {database} SET search_path = first, pg_catalog, public",
        "DELETE FROM t WHERE id < 4",
    ),
    "functions before PostgreSQL's": (
        "CREATE SCHEMA first; CREATE FUNCTION first.count() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'; "
        "CREATE FUNCTION first.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_catalog.pg_advisory_lock_shared(4711); RETURN; END $$; "
        "ALTER DATABASE {database} SET search_path = first, pg_catalog, public",
        "DELETE FROM t WHERE id < 4",
    ),
    "a cast": (
        "CREATE TYPE kind AS (n int); CREATE FUNCTION kind(int) RETURNS kind LANGUAGE plpgsql {label} AS "
        "$f$ BEGIN PERFORM pg_advisory_lock_shared(4711); RETURN ROW($1)::kind; END $f$; "
        "CREATE CAST (int AS kind) WITH FUNCTION kind(int) AS IMPLICIT",
        "DELETE FROM t WHERE (1::kind) IS NOT NULL",
    ),
    "a default": ("ALTER TABLE t ALTER a SET DEFAULT liar(3)", "INSERT INTO t (id) VALUES (30)"),
    "a generated column": (
        "ALTER TABLE t ADD COLUMN g int GENERATED ALWAYS AS (liar(1)) STORED",
        "UPDATE t SET a = 2 WHERE g > 0",
    ),
    "statistics": ("CREATE STATISTICS s ON (liar(a)), id FROM t; ANALYZE t", "DELETE FROM t WHERE a > 1"),
    "a trigger": (
        "CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS "
        "$f$ BEGIN PERFORM pg_advisory_lock_shared(4711); RETURN NULL; END $f$; "
        "CREATE TRIGGER fires BEFORE DELETE ON t FOR EACH STATEMENT EXECUTE FUNCTION fires()",
        "DELETE FROM t WHERE id < 4",
    ),
    "a rule": ("CREATE RULE r AS ON DELETE TO t DO ALSO SELECT liar(1)", "DELETE FROM t WHERE id < 4"),
    "the key of a foreign key": (
        "CREATE DOMAIN k AS int CHECK (says(1)); CREATE TABLE p (id k PRIMARY KEY); "
        "CREATE TABLE r (p k REFERENCES p ON DELETE CASCADE)",
        "DELETE FROM p",
    ),
}


@pytest.fixture
def template() -> str:
    return "template0"


def _state(behind: psycopg.Connection[Any]) -> list[Any]:
    return [
        behind.execute("SELECT * FROM t ORDER BY 1").fetchall(),
        behind.execute("SELECT * FROM c ORDER BY 1").fetchall(),
        # To look is to plan, too: what this session itself has locked is left out.
        behind.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND pid <> pg_backend_pid()"
        ).fetchone(),
    ]


@pytest.fixture(scope="module")
def clerk(postgres: EmbeddedPostgres) -> Iterator[str]:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as server:
        server.execute("CREATE ROLE clerk")
        yield "clerk"
        for (name,) in server.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall():
            with psycopg.connect(postgres.dsn(name), autocommit=True) as each:
                each.execute("DROP OWNED BY clerk")
        server.execute("DROP ROLE clerk")


@pytest.mark.parametrize("label", one_in(2, ["IMMUTABLE", "VOLATILE"]))
@pytest.mark.parametrize("place", PLACES)
def test_no_preview_changes_anything(served: Served, database: str, clerk: str, place: str, label: str) -> None:
    made, statement = PLACES[place]
    need(made, statement)
    with served.behind(database) as behind:
        behind.execute(LIAR.replace("{label}", label).encode())
        try:
            if made:
                behind.execute(made.replace("{label}", label).replace("{database}", database).encode())
        except psycopg.errors.InvalidObjectDefinition:
            assert label == "VOLATILE"  # PostgreSQL itself wants the lie here.
            return
        before = _state(behind)
        role = ["-c", "SET ROLE clerk"] if "policy" in place else []
        with served.open_psql(database, *role, "-c", statement) as psql:
            paper = served.held()
            assert _state(behind) == before, dict(paper.preview.body)
            served.deny()
            psql.communicate(timeout=30)
        assert _state(behind) == before

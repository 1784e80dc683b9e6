"""What a change between decision and execution does, and what the question about it calls and costs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from tests.flow.served import Served

from pgnotary.request.decision import Answer

EVIL = """
CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 10); CREATE TABLE log (id int);
CREATE FUNCTION logs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (OLD.id); RETURN OLD; END $$;
CREATE TRIGGER w BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION logs();
CREATE SCHEMA evil;
CREATE FUNCTION evil.same("char", "char") RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_catalog.set_config('session_replication_role', 'replica', false);
  RETURN true;
END $$;
CREATE OPERATOR evil.= (leftarg = "char", rightarg = "char", function = evil.same);
"""
PARTITIONS = """
CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
DO $$ BEGIN FOR i IN 1..1000 LOOP
  EXECUTE format('CREATE TABLE p%s PARTITION OF p FOR VALUES FROM (%s) TO (%s)', i, i, i + 1);
END LOOP; END $$;
INSERT INTO p SELECT generate_series(1, 100);
"""


def decided(
    served: Served,
    her: psycopg.Connection[Any],
    text: str,
    change: Callable[[], object] = lambda: None,
    max_rows: int | None = None,
    others: int | None = 0,
) -> psycopg.Error | None:
    def send() -> psycopg.Error | None:
        try:
            her.execute(text.encode())
        except psycopg.Error as error:
            return error
        return None

    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send)
        paper = served.held()
        change()
        served.decide(paper, Answer.APPROVE, max_rows=max_rows, others=others)
        return sent.result(40)


def test_our_question_calls_no_operator_of_the_clients(served: Served, database: str) -> None:
    """CASE x WHEN compares with an = that is looked up in the client's search_path."""
    with served.behind(database) as behind, served.connect(database) as her:
        behind.execute(EVIL.encode())
        assert decided(served, her, "SET search_path = evil, pg_catalog, public") is None
        assert decided(served, her, "DELETE FROM t WHERE id < 3", max_rows=2, others=2) is None
        assert behind.execute("SELECT count(*) FROM log").fetchone() == (2,)


@pytest.mark.parametrize("analyzed", [False, True])
def test_a_table_of_a_thousand_partitions_can_be_approved(served: Served, database: str, *, analyzed: bool) -> None:
    with served.behind(database) as behind, served.connect(database) as her:
        behind.execute(PARTITIONS.encode())
        if analyzed:
            behind.execute("ANALYZE pg_catalog.pg_inherits, pg_catalog.pg_constraint, pg_catalog.pg_class")
        assert decided(served, her, "DELETE FROM p WHERE id < 3") is None


@pytest.mark.parametrize(
    "text", ["DELETE FROM r WHERE id = 1", "INSERT INTO r VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET a = 2"]
)
def test_an_index_that_is_made_anew_is_no_reason(served: Served, database: str, text: str) -> None:
    with served.behind(database) as behind, served.connect(database) as her:
        behind.execute("CREATE TABLE r (id int PRIMARY KEY, a int); INSERT INTO r VALUES (1)")
        assert decided(served, her, text, lambda: behind.execute("REINDEX TABLE CONCURRENTLY r")) is None


@pytest.mark.parametrize("text", ["GRANT SELECT ON public.r TO PUBLIC", "REINDEX TABLE public.r"])
def test_another_table_in_the_schema_is_no_reason(served: Served, database: str, text: str) -> None:
    with served.behind(database) as behind, served.connect(database) as her:
        behind.execute("CREATE TABLE r (id int PRIMARY KEY)")
        assert decided(served, her, text, lambda: behind.execute("CREATE TABLE another (id int)")) is None


CAST = """
CREATE SCHEMA x; CREATE TYPE x.e AS ENUM ('a');
CREATE FUNCTION x.f(x.e) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE CAST (x.e AS int) WITH FUNCTION x.f(x.e);
"""


def test_a_cast_of_types_that_it_cannot_meet_is_no_reason(served: Served, database: str) -> None:
    with served.behind(database) as behind, served.connect(database) as her:
        behind.execute("CREATE TABLE r (id int PRIMARY KEY); INSERT INTO r VALUES (1)")
        assert decided(served, her, "DELETE FROM r WHERE id = 1", lambda: behind.execute(CAST.encode())) is None


SWAPPED = {
    "statistics": (
        "CREATE TABLE r (id int, a int); CREATE STATISTICS s ON id, a FROM r; CREATE STATISTICS u ON (a + 1) FROM r",
        "DROP STATISTICS s",
        "ALTER STATISTICS s RENAME TO k; ALTER STATISTICS u RENAME TO s",
    ),
    "range type": (
        "CREATE TYPE s AS RANGE (subtype = int); CREATE TYPE u AS RANGE (subtype = text)",
        "DROP TYPE s",
        "ALTER TYPE s RENAME TO k; ALTER TYPE u RENAME TO s",
    ),
    "conversion": (
        "CREATE CONVERSION s FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
        "DROP CONVERSION s",
        "ALTER CONVERSION s RENAME TO k; CREATE CONVERSION s FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1",
    ),
}


@pytest.mark.parametrize(("schema", "text", "change"), SWAPPED.values(), ids=SWAPPED)
def test_what_is_dropped_is_what_was_called_so(
    served: Served, database: str, schema: str, text: str, change: str
) -> None:
    with served.behind(database) as behind, served.connect(database) as her:
        behind.execute(schema.encode())
        met = decided(served, her, text, lambda: behind.execute(change.encode()))
    assert met is not None
    assert met.sqlstate == "55000"


def test_a_temporary_view_of_another_session_is_no_reason(served: Served, database: str) -> None:
    with served.behind(database) as behind, served.connect(database) as her:
        behind.execute("CREATE TABLE r (id int)")
        text = "CREATE TEMP VIEW tv AS SELECT id FROM r"
        assert decided(served, her, text, lambda: behind.execute(text.encode())) is None

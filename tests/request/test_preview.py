"""Previews: what is counted is what then changes, and what cannot be counted says why."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tiers import one_in
from tests.versions import have

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.meaning import weigh
from pgnotary.judge.policy import verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rules import PROFILES, Action, policy_of
from pgnotary.request.preview import Questions, questions, read_estimate

SCHEMA = """
CREATE SCHEMA other;
CREATE TABLE t (id int PRIMARY KEY, a int, b int, "Odd Name" text, doc jsonb, at timestamptz, arr int[], "select" int);
CREATE TABLE s (t_id int, m int);
CREATE TABLE other.t (id int, a int);
CREATE TABLE parted (k int, v int) PARTITION BY LIST (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
CREATE TABLE parent (x int);
CREATE TABLE child () INHERITS (parent);
CREATE VIEW few AS SELECT id, a FROM t WHERE id <= 20;
CREATE TABLE ruled (x int);
CREATE TABLE noted (x int);
CREATE RULE noting AS ON DELETE TO ruled DO ALSO INSERT INTO noted VALUES (old.x);
CREATE TABLE dead (x int);
CREATE RULE nothing AS ON DELETE TO dead DO INSTEAD NOTHING;
INSERT INTO t SELECT i, i % 10, i % 7, 'r' || i, jsonb_build_object('n', i), '2026-01-01 UTC'::timestamptz
    + i * interval '1 hour', ARRAY[i], i FROM generate_series(1, 100) i;
INSERT INTO s SELECT i % 50 + 1, i FROM generate_series(1, 300) i;
INSERT INTO other.t SELECT i, i FROM generate_series(1, 30) i;
INSERT INTO parted SELECT i % 2 + 1, i FROM generate_series(1, 40) i;
INSERT INTO parent SELECT generate_series(1, 5);
INSERT INTO child SELECT generate_series(1, 7);
INSERT INTO ruled SELECT generate_series(1, 5);
INSERT INTO dead SELECT generate_series(1, 5);
ANALYZE;
"""
COUNTED = [
    "DELETE FROM t",
    "DELETE FROM t WHERE a = 3 -- a comment",
    "DELETE FROM t WHERE false",
    "DELETE FROM t WHERE true AND NULL",
    "DELETE FROM t AS z WHERE z.a IN (SELECT m FROM s WHERE m < 4)",
    # joined: each row is changed once, however often the join meets it
    "DELETE FROM t USING s WHERE s.t_id = t.id",
    "DELETE FROM t z USING s JOIN t o ON o.id = s.t_id WHERE s.t_id = z.id AND o.a = 1",
    "UPDATE t SET a = s.m FROM s WHERE s.t_id = t.id AND s.m > 200",
    "UPDATE t SET a = (a IS DISTINCT FROM s.m)::int FROM s WHERE s.t_id = t.id",
    "UPDATE t SET a = (a IS DISTINCT FROM 3)::int WHERE a IS DISTINCT FROM 3",
    "DELETE FROM t USING LATERAL (SELECT 3 AS q) l WHERE t.a = l.q",
    "DELETE FROM t USING generate_series(1, 5) WITH ORDINALITY AS g (n, o) WHERE t.id = g.n",
    "DELETE FROM parted USING s WHERE parted.v = s.t_id",
    "UPDATE parent * SET x = 0 FROM s WHERE s.m = parent.x",
    "DELETE FROM public.t USING other.t WHERE public.t.id = other.t.id",
    "DELETE FROM other.t AS t USING public.t AS u WHERE t.id = u.id AND u.a < 5",
    # WITH
    "WITH w AS (SELECT id FROM t WHERE id < 6) DELETE FROM t WHERE id IN (SELECT id FROM w)",
    "WITH w AS (SELECT id FROM t WHERE id < 6) UPDATE t SET a = 1 FROM w WHERE w.id = t.id",
    "WITH q AS (SELECT 1 AS id) UPDATE t SET a = 1 FROM q, q AS q2 WHERE t.id = q.id",
    "WITH t AS (SELECT 1 AS id) DELETE FROM public.t WHERE id <= 7",
    # partitions and parents
    "DELETE FROM parted WHERE v > 10",
    "UPDATE parted SET v = 0 WHERE k = 2",
    "UPDATE parted SET k = 1 WHERE v > 20",
    "DELETE FROM ONLY parent",
    "DELETE FROM parent",
    "UPDATE ONLY (parent) SET x = 0 WHERE x > 2",
    # views
    "DELETE FROM few",
    "UPDATE few SET a = 5 WHERE a > 5",
    # conditions
    "UPDATE t SET a = 0 WHERE id > 90 RETURNING *",
    "UPDATE t SET \"Odd Name\" = 'x' WHERE \"Odd Name\" LIKE 'r1%'",
    'DELETE FROM t WHERE arr[1] % 3 = 0 AND "select" > 10',
    'DELETE FROM t WHERE "Odd Name" COLLATE "C" < \'r3\' AND "Odd Name" ~ \'[0-5]$\'',
    "DELETE FROM t WHERE a > (SELECT avg(a) FROM t)",
    "DELETE FROM t WHERE (a, b) IN (SELECT 1, 1)",
    "DELETE FROM t WHERE (a, b) = ANY (SELECT a, b FROM t WHERE id < 9)",
    "DELETE FROM t WHERE a = 1 OR b = 2 AND NOT (a = 3 OR b = 4)",
    "DELETE FROM t WHERE NOT (a BETWEEN 2 AND 4) AND b NOT IN (1, 2)",
    "DELETE FROM t WHERE doc ->> 'n' = '7' OR doc @> '{\"n\": 8}'",
    "DELETE FROM t WHERE at AT TIME ZONE 'UTC' > '2026-01-02' AND at < '2026-01-01'::timestamptz + interval '60' hour",
    "DELETE FROM t WHERE EXISTS (SELECT FROM s WHERE s.t_id = t.id AND s.m > 280)",
    "DELETE FROM t WHERE id IN (SELECT t_id FROM s ORDER BY m DESC LIMIT 9)",
    "DELETE FROM t WHERE id IN (VALUES (1), (2)) OR id = ANY (ARRAY[3, 4])",
    "UPDATE t SET (a, b) = (SELECT 1, 2) WHERE CASE WHEN a > 5 THEN b > 3 ELSE false END",
    "UPDATE t SET a = DEFAULT WHERE at > '2026-01-03' AND coalesce(a, 0) = greatest(a, 2)",
    "DELETE FROM t WHERE t.* IS NOT NULL AND -a < - -1",
    # MERGE: the first WHEN that fits says what is done
    "MERGE INTO t USING generate_series(91, 110) g ON t.id = g WHEN MATCHED THEN DELETE",
    "MERGE INTO t USING generate_series(91, 110) g ON t.id = g WHEN NOT MATCHED THEN INSERT (id) VALUES (g)",
    "MERGE INTO t USING generate_series(91, 110) g ON t.id = g WHEN MATCHED THEN DO NOTHING "
    "WHEN NOT MATCHED THEN INSERT (id) VALUES (g)",
    "MERGE INTO t AS z USING (SELECT g FROM generate_series(1, 60) g) s (n) ON z.id = s.n "
    "WHEN MATCHED AND (z.a = 1 OR z.b = 2 AND NOT (z.a = 3 OR z.b = 4)) THEN UPDATE SET a = n "
    "WHEN MATCHED AND z.a > 8 THEN DO NOTHING WHEN MATCHED AND (z.a > 4 AND z.b > 1) THEN DELETE",
    "MERGE INTO t USING generate_series(1, 60) g ON t.id = g "
    "WHEN MATCHED AND NOT (t.a = 1 AND (t.b = 1 OR t.b IS NULL)) IS NOT true THEN DELETE",
    "MERGE INTO t USING generate_series(1, 60) g ON t.id = g AND (t.a = 1 OR t.b = 1) WHEN MATCHED THEN DELETE",
    "MERGE INTO t USING generate_series(1, 60) g ON t.id = g WHEN MATCHED AND CASE WHEN g > 5 THEN t.a > 3 END "
    "THEN UPDATE SET a = 0",
    "MERGE INTO t USING generate_series(1, 60) g ON t.id = g WHEN MATCHED AND t.doc IS NULL THEN DELETE "
    "WHEN MATCHED AND EXISTS (SELECT FROM s WHERE s.t_id = g AND s.m > 280) THEN UPDATE SET b = 1",
    "MERGE INTO public.t USING other.t AS o ON public.t.id = o.id WHEN MATCHED AND o.a < 5 THEN DELETE",
    "MERGE INTO other.t USING public.t AS u ON t.id = u.id WHEN MATCHED THEN UPDATE SET a = u.b "
    "WHEN NOT MATCHED AND u.id > 95 THEN INSERT VALUES (u.id, 1)",
    "WITH w AS (SELECT id FROM t WHERE id < 6) MERGE INTO t USING w ON t.id = w.id WHEN MATCHED THEN DELETE",
    "MERGE INTO t USING s JOIN other.t o ON o.id = s.t_id AND s.m < 31 ON t.id = s.t_id WHEN MATCHED THEN DELETE",
    "MERGE INTO parted USING generate_series(1, 9) g ON parted.v = g WHEN MATCHED THEN UPDATE SET k = 1",
    "MERGE INTO ONLY parent USING generate_series(2, 3) g ON x = g WHEN MATCHED THEN DELETE",
    "MERGE INTO parent USING generate_series(2, 3) g ON x = g WHEN MATCHED THEN DELETE",
    "MERGE INTO t USING s ON s.t_id = t.id WHEN NOT MATCHED BY SOURCE THEN DELETE",
    "MERGE INTO t USING generate_series(1, 60) g ON t.id = g WHEN NOT MATCHED BY SOURCE AND a = 3 THEN DO NOTHING "
    "WHEN NOT MATCHED BY SOURCE AND (b = 1 OR b = 2) THEN DELETE WHEN NOT MATCHED BY SOURCE THEN UPDATE SET a = 1",
    "MERGE INTO t z USING generate_series(91, 110) g ON z.id = g WHEN MATCHED AND z.a = 5 THEN DO NOTHING "
    "WHEN MATCHED THEN UPDATE SET a = 1 WHEN NOT MATCHED BY SOURCE AND z.id < 20 THEN DELETE "
    "WHEN NOT MATCHED BY TARGET THEN INSERT (id) VALUES (g)",
    "WITH w AS (SELECT id FROM t WHERE id < 6) MERGE INTO t USING w ON t.id = w.id WHEN MATCHED THEN DELETE "
    "WHEN NOT MATCHED BY SOURCE AND (SELECT max(id) FROM w) > 4 AND t.id > 95 THEN DELETE",
    "MERGE INTO parent USING generate_series(2, 3) g ON x = g WHEN NOT MATCHED BY SOURCE AND x > 3 THEN DELETE",
    "MERGE INTO parted USING (SELECT 1 WHERE false) e ON false WHEN NOT MATCHED BY SOURCE AND k = 1 THEN DELETE",
    "MERGE INTO t USING t AS o ON t.id = o.id AND o.a = 1 WHEN MATCHED AND t.* IS NOT NULL THEN DELETE",
]
UNCOUNTED = [
    (
        "WITH x AS (UPDATE s SET m = 1 RETURNING 1) MERGE INTO t USING x ON true WHEN MATCHED THEN DELETE",
        "it reads what a part of its WITH returns: x",
    ),
    (
        "WITH x AS (INSERT INTO s VALUES (1, 1) RETURNING 1), y AS (SELECT * FROM x) DELETE FROM t",
        "it reads what a part of its WITH returns: x",
    ),
    (
        "WITH x AS (DELETE FROM s USING t WHERE t.id = m RETURNING 1) UPDATE t SET a = 1 FROM x",
        "it reads what a part of its WITH returns: x",
    ),
    ("WITH RECURSIVE x AS (DELETE FROM s) SELECT 1", "a WITH RECURSIVE that changes data is not taken apart"),
    ("WITH x AS (WITH y AS (SELECT 1) DELETE FROM s) SELECT 1", "a part of its WITH has a WITH of its own"),
    (
        "WITH t AS (SELECT 1) MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE",
        "the WITH query t has the name of its target, which a count would read",
    ),
    ("ALTER TABLE t ADD b int", "what ALTER changes is not counted in rows"),
    (
        "DO $$ BEGIN DELETE FROM t; END $$",
        "what DO changes is not counted in rows; what its code names is compared again",
    ),
    ("CALL p()", "what CALL changes is not counted in rows; what its code names is compared again before it runs"),
    ("nonsense", "it cannot be read, so nobody knows what to count"),
    ("DELETE FROM t; DELETE FROM s", "2 of its statements change something: a count needs exactly one"),
    (
        "DELETE FROM t WHERE (1::bigint).pg_try_advisory_lock",
        "planning it could have effects: it selects",
    ),
    ("DELETE FROM t WHERE id = f()", "planning it could have effects: it calls f"),
    ("DELETE FROM t WHERE id IN (SELECT 1 FOR UPDATE)", "planning it could have effects: it has row locks"),
    ("UPDATE t SET a = nextval('s')", "planning it could have effects: it calls nextval"),
    ("DELETE FROM t WHERE CURRENT OF c", "WHERE CURRENT OF names the row where a cursor stands"),
    ("WITH t AS (SELECT 1 AS id) DELETE FROM t WHERE id <= 7", "the WITH query t has the name of its target"),
    (
        "SET search_path = other; DELETE FROM t",
        "what stands before it changes where its names are looked up",
    ),
    ("INSERT INTO t WITH x AS (DELETE FROM s RETURNING 1) SELECT * FROM x", "a WITH inside its query changes data too"),
    ("DELETE FROM t WHERE (a IS DISTINCT FROM b) IS TRUE", "no count could be built"),
    ("DELETE FROM t WHERE ((a > 1) OR (b > 1)) IS NOT JSON", "no count could be built"),
    ("DELETE FROM t WHERE a IN (" + "SELECT a FROM t WHERE a IN (" * 60 + "1" + ")" * 61, "no count could be built"),
]


@pytest.fixture(scope="module")
def tables(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    """A session in a database of this module's own; nothing that a test does in it stays."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as server:
        server.execute("CREATE DATABASE previews TEMPLATE template0 ENCODING 'UTF8'")
        try:
            with psycopg.connect(postgres.dsn("previews"), autocommit=True) as connection:
                connection.execute(SCHEMA.encode())
                yield connection
        finally:
            server.execute("DROP DATABASE previews WITH (FORCE)")


def asked(sql: str) -> Questions:
    return questions(weigh(read(sql.encode())))


def estimated(tables: psycopg.Connection[Any], sql: str) -> int | None:
    ((plan,),) = tables.execute(asked(sql).explain).fetchall()
    return read_estimate(json.dumps(plan))


def counted(tables: psycopg.Connection[Any], sql: str) -> int:
    """Count behind the wall, as the proxy does."""
    with tables.transaction(force_rollback=True):
        tables.execute("SET TRANSACTION READ ONLY")
        ((rows,),) = tables.execute(asked(sql).count).fetchall()
    return int(rows)


def changed(tables: psycopg.Connection[Any], sql: str) -> int:
    with tables.transaction(force_rollback=True):
        return tables.execute(sql.encode()).rowcount


@pytest.mark.parametrize("sql", one_in(2, COUNTED))
def test_the_count_is_what_then_changes(tables: psycopg.Connection[Any], sql: str) -> None:
    assert asked(sql).unavailable == ""
    assert counted(tables, sql) == changed(tables, sql)
    assert estimated(tables, sql) is not None


@pytest.mark.parametrize("sql", COUNTED)
def test_a_count_is_itself_a_plain_read(sql: str) -> None:
    for profile in PROFILES.values():
        assert verdict(weigh(read(asked(sql).count)), policy_of(profile)).action is Action.FORWARD


@pytest.mark.parametrize(("sql", "why"), UNCOUNTED)
def test_what_cannot_be_counted_says_why(sql: str, why: str) -> None:
    assert asked(sql).unavailable.startswith(why)


def test_of_a_change_too_deep_to_be_taken_apart_here_nothing_is_counted() -> None:
    statement = weigh(read(b"DELETE FROM t WHERE " + b"NOT (" * 200 + b"a" + b")" * 200))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        found = questions(statement)
    finally:
        sys.setrecursionlimit(limit)
    assert (found.count, found.unavailable) == (b"", "no count could be built: the text is nested too deeply")


def test_a_count_of_a_statement_among_reads_is_its_own() -> None:
    alone = asked("DELETE FROM t WHERE a = 3")
    among = asked("SELECT 1; DELETE FROM t WHERE a = 3; SELECT 2")
    assert (among.explain, among.count) == (alone.explain, alone.count)


def test_a_with_query_named_like_the_target_would_have_been_counted_instead(tables: psycopg.Connection[Any]) -> None:
    sql = "WITH t AS (SELECT 1 AS id) DELETE FROM t WHERE id <= 7"
    assert asked(sql).count == b""
    assert changed(tables, sql) == 7
    assert tables.execute("WITH t AS (SELECT 1 AS id) SELECT count(*) FROM t WHERE id <= 7").fetchone() == (1,)


def test_a_view_without_row_identity_has_no_count_and_the_server_says_so(tables: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.UndefinedColumn, match="tableoid"):
        counted(tables, "DELETE FROM few USING s WHERE s.t_id = few.id")


booleans = st.recursive(
    st.sampled_from(["a > 4", "b = 3", "arr[1] < 50", "true", "NULL::boolean", "doc @> '{}'", "EXISTS (SELECT 1)"]),
    lambda inner: st.one_of(
        st.builds("({}) AND ({})".format, inner, inner),
        st.builds("({}) OR ({})".format, inner, inner),
        st.builds("({}) = ({})".format, inner, inner),
        st.builds("({}) IS DISTINCT FROM ({})".format, inner, inner),
        st.builds("({}) BETWEEN ({}) AND ({})".format, inner, inner, inner),
        st.builds("({}) IN (({}), ({}))".format, inner, inner, inner),
        st.builds("NOT ({})".format, inner),
        st.builds("({}) IS NOT TRUE".format, inner),
        st.builds("({}) IS NULL".format, inner),
        st.builds("(({})::text || 'x') LIKE 't%'".format, inner),
        st.builds("CASE WHEN ({}) THEN ({}) ELSE ({}) END".format, inner, inner, inner),
        st.builds("(({})::int + a) * 2 > b - (({})::int - 3)".format, inner, inner),
        st.builds("(({})::text COLLATE \"C\") ~ ('^' || ({})::text)".format, inner, inner),
        st.builds("(({})::int, a) < (b, ({})::int)".format, inner, inner),
        st.builds("(SELECT ({}) FROM s LIMIT 1)".format, inner),
        *([st.builds("(({})::text) IS JSON".format, inner)] if have("IS JSON") else []),
    ),
    max_leaves=6,
)


@given(booleans)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_condition_is_counted_wrong(tables: psycopg.Connection[Any], condition: str) -> None:
    sql = f"DELETE FROM t WHERE {condition}"
    if asked(sql).count:
        assert counted(tables, sql) == changed(tables, sql)
    else:
        assert asked(sql).unavailable.startswith(("no count could be built", "the count built"))


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("DELETE FROM t", "SELECT FROM t"),
        ("UPDATE t SET a = 0 RETURNING id", "SELECT FROM t"),
        ("DELETE FROM t WHERE false", "SELECT FROM t WHERE false"),
        ("DELETE FROM t WHERE id = (SELECT max(m) FROM s)", "SELECT FROM t WHERE id = (SELECT max(m) FROM s)"),
        ("DELETE FROM parted", "SELECT FROM parted"),
        ("DELETE FROM parent", "SELECT FROM parent"),
        ("DELETE FROM few", "SELECT FROM few"),
        ("DELETE FROM t USING s", "SELECT FROM t, s"),
        ("WITH w AS MATERIALIZED (SELECT 1) DELETE FROM t", "SELECT FROM t"),
        ("INSERT INTO t (id) VALUES (1001), (1002)", "VALUES (1001), (1002)"),
        ("INSERT INTO t (id) SELECT t_id + 1000 FROM s", "SELECT FROM s"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 1", "SELECT 1"),
        ("MERGE INTO t USING s ON s.t_id = t.id WHEN MATCHED THEN DELETE", "SELECT FROM t JOIN s ON s.t_id = t.id"),
    ],
)
def test_the_estimate_is_the_planners_for_the_rows_to_change(
    tables: psycopg.Connection[Any], sql: str, rows: str
) -> None:
    (((explained,),),) = tables.execute(f"EXPLAIN (FORMAT JSON) {rows}".encode()).fetchall()
    assert estimated(tables, sql) == explained["Plan"]["Plan Rows"]


@pytest.mark.parametrize("sql", ["DELETE FROM ruled", "DELETE FROM dead"])
def test_a_rule_that_adds_or_takes_away_statements_leaves_no_estimate(
    tables: psycopg.Connection[Any], sql: str
) -> None:
    plans = tables.execute(asked(sql).explain).fetchall()
    answer = json.dumps(plans[0][0]) if plans else ""
    assert read_estimate(answer) is None


@pytest.mark.parametrize(
    ("plans", "estimate"),
    [
        ([{"Parent Relationship": "Outer", "Plan Rows": 5}], 5),
        ([{"Parent Relationship": "InitPlan", "Plan Rows": 7}, {"Parent Relationship": "Outer", "Plan Rows": 5}], 5),
        ([{"Parent Relationship": "Member", "Plan Rows": 5}, {"Parent Relationship": "Member", "Plan Rows": 6}], 11),
    ],
)
def test_the_shapes_of_older_servers_are_read(plans: list[dict[str, object]], estimate: int) -> None:
    assert (
        read_estimate(json.dumps([{"Plan": {"Node Type": "ModifyTable", "Plan Rows": 0, "Plans": plans}}])) == estimate
    )


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "[]",
        "{}",
        "nonsense",
        "[1]",
        "null",
        '[{"Plan": {"Node Type": "Result"}}]',
        '[{"Plan": {"Node Type": "ModifyTable"}}]',
        '[{"Plan": {"Node Type": "ModifyTable", "Plans": [{"Parent Relationship": "Outer"}]}}]',
        '[{"Plan": {"Node Type": "ModifyTable", "Plans": [{"Parent Relationship": "Outer", "Plan Rows": "5"}]}}]',
    ],
)
def test_an_estimate_of_unknown_shape_is_none_and_never_zero(answer: str) -> None:
    assert read_estimate(answer) is None


CLOCK = [
    "'now'", "' Now '", "'today'", "'now '::text", "U&'n\\006fw'", "'today 10:00'", "'tomorrow allballs'",
    "'today 5:00 CET'", "'{now,today}'", "'{2020-01-01,NOW}'", "'[now,tomorrow)'", "'(,yesterday]'", "'[\"now\"]'",
    "'{\"a\": \"today 10:00\"}'",
]  # fmt: skip
NO_CLOCK = [
    "'now or never'",
    "'available now'",
    "'nowhere'",
    "'todays'",
    "'2020-01-01 10:00'",
    "''",
    "'snow'",
    "'know'",
]


@pytest.mark.parametrize(("constants", "volatile"), [(CLOCK, True), (NO_CLOCK, False)])
def test_a_constant_that_may_be_a_time_by_the_clock_is_not_counted_as_exact(
    constants: list[str], volatile: bool
) -> None:
    """All are spelled as PostgreSQL would read them in a time, in an array or range of times, or in JSON."""
    for constant in constants:
        asked = questions(weigh(read(f'DELETE FROM t WHERE "Odd Name" = {constant}'.encode())))
        assert ("volatile" in asked.caveats) is volatile, constant

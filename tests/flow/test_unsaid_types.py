"""Types whose values are made where PostgreSQL's catalog says nothing of it: each works without us, and not through us.

pg_depend has no row for the state type of an aggregate, for a type that a text or an oid names in a view, for what
JSON_VALUE returns, nor for what a cursor of the caller's gives. The code behind such a type hides what it does in a
TRUNCATE beside a temporary table, behind a deferred trigger, or on another connection, where no wall stands.
"""

import psycopg
import pytest
from tests.flow.served import Served
from tests.flow.unsaid import Way, comes_to_nothing, eva, run, victims
from tests.tiers import one_in

from pgnotary.demo.postgres import EmbeddedPostgres

COMMON = """
CREATE TABLE victims AS SELECT generate_series(1, 10) AS id;
CREATE SEQUENCE s; CREATE TABLE plain (a text); INSERT INTO plain VALUES ('boom'), ('boom');
CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.victims; RETURN 1; END $$;
CREATE FUNCTION chk(text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
  IF $1 LIKE '%boom%' AND current_setting('application_name') = 'boom' THEN PERFORM public.wipe(); END IF;
  RETURN true; END $$;
CREATE DOMAIN d AS text CHECK (chk(VALUE));
CREATE TABLE t (c d); INSERT INTO t VALUES ('x');
CREATE TABLE tj (j jsonb); INSERT INTO tj VALUES ('"boom"'); CREATE TABLE tr (j jsonb);
INSERT INTO tr VALUES ('{"f1": "boom"}');
"""
ARMED = "SET application_name = boom"
HIDDEN = "SELECT ok INTO TEMP zz FROM v"
TRUNCATES = """
CREATE OR REPLACE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN TRUNCATE public.victims; RETURN 1; END $$;
"""
ELSEWHERE = """
CREATE EXTENSION dblink;
CREATE OR REPLACE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN PERFORM public.dblink_exec('{dsn}', 'DELETE FROM public.victims'); RETURN 1; END $$;
"""
DEFERRED = """
CREATE TABLE trg (a text);
CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN DELETE FROM public.victims; RETURN new; END $$;
CREATE CONSTRAINT TRIGGER told AFTER INSERT ON trg DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION told();
CREATE OR REPLACE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO public.trg VALUES ('q'); RETURN 1; END $$;
"""
AGGREGATE = "CREATE AGGREGATE ag(int) (sfunc = trim_array, stype = d[], finalfunc = cardinality, initcond = '{boom}');"
NAMED = "CREATE VIEW v AS SELECT a, pg_input_is_valid(a, 'd') AS ok FROM plain;"
RETURNING = "CREATE VIEW v AS SELECT JSON_VALUE(j, '$' RETURNING d)::text AS ok FROM tj;"
RULED = """
CREATE FUNCTION sf() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM public.wipe(); RETURN 1; END $$;
CREATE TABLE lg AS SELECT 1 AS id; ANALYZE lg;
CREATE RULE r AS ON INSERT TO plain DO ALSO UPDATE lg SET id = 2 WHERE id = sf();
CREATE RULE q AS ON DELETE TO plain DO ALSO UPDATE lg SET id = 2 WHERE id = sf();
"""
SAMPLED = """
CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE moods (c mood);
INSERT INTO moods VALUES ('good'), ('good'), ('bad'), ('bad'); ANALYZE moods;
CREATE FUNCTION tj(mood) RETURNS json LANGUAGE plpgsql AS
  $$ BEGIN PERFORM public.wipe(); RETURN '1'::json; END $$;
CREATE CAST (mood AS json) WITH FUNCTION tj(mood);
"""
OPERATOR = "CREATE OPERATOR #@ (leftarg = anyelement, rightarg = jsonb, function = jsonb_populate_record);"
WAYS = {
    "the state of an aggregate": Way([ARMED, "SELECT ag(1) AS ok INTO TEMP zz"], AGGREGATE + TRUNCATES),
    "the state of an aggregate, elsewhere": Way([ARMED, "SELECT ag(1)"], AGGREGATE + ELSEWHERE),
    "the moving state of an aggregate": Way(
        [
            ARMED,
            "SELECT am(1) OVER (ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS ok INTO TEMP zz FROM tj",
        ],
        TRUNCATES
        + "CREATE AGGREGATE am(int) (sfunc = int4pl, stype = int, initcond = '0', msfunc = trim_array,"
        " minvfunc = trim_array, mstype = d[], mfinalfunc = cardinality, minitcond = '{boom}')",
    ),
    "an aggregate in a proven body": Way(
        [ARMED, "SELECT f() AS ok INTO TEMP zz"],
        AGGREGATE + TRUNCATES + "CREATE FUNCTION f() RETURNS int LANGUAGE sql STABLE AS 'SELECT ag(1)'",
    ),
    "a type named in a view": Way([ARMED, HIDDEN], NAMED + TRUNCATES),
    "a type named in a view, elsewhere": Way([ARMED, "SELECT ok FROM v"], NAMED + ELSEWHERE),
    "a type named in a view, before a DELETE": Way(
        [ARMED, "DELETE FROM plain WHERE (SELECT ok FROM v LIMIT 1)"], NAMED + ELSEWHERE
    ),
    "a type's oid in a view": Way(
        [ARMED, HIDDEN],
        TRUNCATES + "DO $$ BEGIN EXECUTE format('CREATE VIEW v AS SELECT domain_in(textout(a), %s, -1) IS NULL AS ok"
        " FROM plain', 'd'::regtype::oid); END $$",
    ),
    "a type named in a check": Way(
        [ARMED, "WITH x AS (INSERT INTO k VALUES ('boom') RETURNING 1 AS n) SELECT n INTO TEMP zz FROM x"],
        TRUNCATES + "CREATE TABLE k (a text CHECK (pg_input_is_valid(a, 'd')))",
    ),
    "a type named in an argument's default": Way(
        [ARMED, "SELECT f() AS ok INTO TEMP zz"],
        TRUNCATES + "CREATE FUNCTION f(ok bool DEFAULT pg_input_is_valid('boom', 'd')) RETURNS bool"
        " LANGUAGE sql STABLE AS 'SELECT $1'",
    ),
    "JSON_VALUE in a view": Way([ARMED, HIDDEN], RETURNING + TRUNCATES),
    "JSON_VALUE in a view, elsewhere": Way([ARMED, "SELECT ok FROM v"], RETURNING + ELSEWHERE),
    "JSON_VALUE in a generated column": Way(
        [ARMED, "WITH x AS (INSERT INTO g VALUES ('\"boom\"') RETURNING 1 AS n) SELECT n INTO TEMP zz FROM x"],
        TRUNCATES + "CREATE TABLE g (j jsonb,"
        " a text GENERATED ALWAYS AS (JSON_VALUE(j, '$' RETURNING d)::text) STORED)",
    ),
    "JSON_VALUE in an index": Way(
        [ARMED, "WITH x AS (INSERT INTO g VALUES ('\"boom\"') RETURNING 1 AS n) SELECT n INTO TEMP zz FROM x"],
        TRUNCATES + "CREATE TABLE g (j jsonb); CREATE INDEX ON g ((JSON_VALUE(j, '$' RETURNING d)::text))",
    ),
    "a record that a view fills": Way(
        [ARMED, HIDDEN], TRUNCATES + "CREATE VIEW v AS SELECT jsonb_populate_record(ROW(c), j)::text AS ok FROM t, tr"
    ),
    "an operator that fills a record": Way(
        [ARMED, "SELECT (ROW(c) #@ '{\"f1\": \"boom\"}'::jsonb)::text AS ok INTO TEMP zz FROM t"],
        OPERATOR + TRUNCATES,
    ),
    "an operator that fills a record, elsewhere": Way(
        [ARMED, "SELECT ROW(c) #@ '{\"f1\": \"boom\"}'::jsonb FROM t"], OPERATOR + ELSEWHERE
    ),
    "a cursor without the word": Way(
        ["BEGIN", ARMED, "DECLARE k CURSOR FOR SELECT c FROM t", "SELECT g('k')", "COMMIT"],
        ELSEWHERE + "CREATE FUNCTION g(n text, OUT k refcursor) LANGUAGE plpgsql STABLE AS"
        " $$ DECLARE r record; BEGIN k := n; FETCH k INTO r; r.c := 'boom'; END $$",
    ),
    "a cursor by another's type": Way(
        ["BEGIN", ARMED, "DECLARE k CURSOR FOR SELECT c FROM t", "SELECT g('k') AS ok INTO TEMP zz", "COMMIT"],
        TRUNCATES + "CREATE TABLE curs (k refcursor); CREATE FUNCTION g(n text) RETURNS text LANGUAGE plpgsql STABLE AS"
        " $$ DECLARE x curs.k%TYPE := n; r record; BEGIN FETCH x INTO r; r.c := 'boom'; RETURN 'x'; END $$",
    ),
    "a temporary table of an earlier part": Way(
        [
            ARMED,
            "CREATE TEMP TABLE plain AS SELECT c AS a FROM t;"
            " WITH x AS (INSERT INTO plain VALUES ('boom') RETURNING a) SELECT 1 AS n INTO TEMP zz FROM x",
        ],
        TRUNCATES,
    ),
    "a temporary table of an earlier part, in a function": Way(
        [ARMED, "CREATE TEMP TABLE other AS SELECT c AS a FROM t; SELECT f() AS n INTO TEMP zz"],
        TRUNCATES + "CREATE TABLE other (a text); CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql STABLE AS"
        " $$ DECLARE r record; BEGIN SELECT * INTO r FROM other; r.a := 'boom'; RETURN 'x'; END $$",
    ),
    "another name for domain_in()": Way(
        [ARMED, "SELECT myin('boom', 'd'::regtype, -1) AS ok INTO TEMP zz"],
        TRUNCATES + "CREATE FUNCTION myin(cstring, oid, int) RETURNS text LANGUAGE internal STABLE AS 'domain_in'",
    ),
    "EXPLAIN plans what a rule does": Way(["EXPLAIN INSERT INTO plain VALUES ('q')"], ELSEWHERE + RULED),
    "what is held is planned, and what its rule does": Way(["DELETE FROM plain WHERE a = 'q'"], ELSEWHERE + RULED),
    "EXPLAIN plans what the rule of a view's table does": Way(
        ["EXPLAIN INSERT INTO over VALUES ('q')"], ELSEWHERE + RULED + "CREATE VIEW over AS SELECT a FROM plain"
    ),
    "samples of a column as JSON": Way(
        ["SELECT array_to_json(most_common_vals) FROM pg_stats WHERE tablename = 'moods'"], ELSEWHERE + SAMPLED
    ),
    "rows of pg_stats as JSON": Way(
        ["SELECT to_jsonb(s) FROM pg_stats s WHERE tablename = 'moods'"], ELSEWHERE + SAMPLED
    ),
    "a column's missing value as JSON": Way(
        ["SELECT to_json(attmissingval) FROM pg_attribute WHERE attname = 'm'"],
        ELSEWHERE + SAMPLED + "ALTER TABLE plain ADD m mood DEFAULT 'good'",
    ),
    "samples of a column in a view": Way(
        ["SELECT * FROM sv"],
        ELSEWHERE
        + SAMPLED
        + "CREATE VIEW sv AS SELECT to_json(most_common_vals) AS j FROM pg_stats WHERE tablename = 'moods'",
    ),
    "another name for a function of any": Way(
        [ARMED, "SELECT myvalid(ROW(c), '{\"f1\": \"boom\"}') FROM t"],
        ELSEWHERE + "CREATE FUNCTION myvalid(\"any\", jsonb) RETURNS bool LANGUAGE internal STABLE"
        " AS 'jsonb_populate_record_valid'",
    ),
    "a function that an extension was given": Way(
        [ARMED, "SELECT ok FROM v"],
        ELSEWHERE + "CREATE EXTENSION hstore; CREATE FUNCTION f(r record) RETURNS text LANGUAGE plpgsql STABLE AS"
        " $$ BEGIN r.f1 := 'boom'; RETURN 'x'; END $$; ALTER EXTENSION hstore ADD FUNCTION f(record);"
        "CREATE VIEW v AS SELECT f(ROW(c)) AS ok FROM t",
    ),
    "a temporary table made again in one text": Way(
        [
            "CREATE TEMP TABLE zz (a text)",
            ARMED,
            "DROP TABLE pg_temp.zz; CREATE TEMP TABLE zz AS SELECT c AS a FROM t;"
            " INSERT INTO pg_temp.zz VALUES ('boom')",
        ],
        ELSEWHERE,
    ),
    "the rows of a temporary table made again in one text": Way(
        [
            ARMED,
            "CREATE TEMP TABLE zz (c text); DROP TABLE zz; CREATE TEMP TABLE zz AS SELECT c FROM t;"
            " SELECT '(boom)'::zz",
        ],
        ELSEWHERE,
    ),
    "a deferred trigger of what is only read": Way(
        [ARMED, "INSERT INTO plain SELECT 'q' FROM v WHERE ok AND NOT EXISTS (SELECT FROM trg)"], NAMED + DEFERRED
    ),
    "a deferred trigger behind EXECUTE": Way(
        [ARMED, "PREPARE p AS INSERT INTO plain SELECT 'q' FROM v WHERE ok", "EXECUTE p"], NAMED + DEFERRED
    ),
    "a deferred trigger of a temporary table": Way(
        ["BEGIN", ARMED, "SELECT ok, pg_advisory_xact_lock(1) FROM v", "COMMIT"],
        NAMED + DEFERRED.replace("public.trg", "pg_temp.tt"),
        signed="CREATE TEMP TABLE tt (a text); CREATE CONSTRAINT TRIGGER told AFTER INSERT ON tt DEFERRABLE"
        " INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION told()",
    ),
}  # fmt: skip
SETTINGS_OF_ONES_OWN = """
CREATE DOMAIN dd AS text; CREATE FUNCTION yes(dd, dd) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR = (leftarg = dd, rightarg = dd, function = yes);
CREATE SCHEMA evil; CREATE TABLE evil.pg_settings (name dd); INSERT INTO evil.pg_settings VALUES ('app.tenant');
CREATE TABLE evil.others (name text); INSERT INTO evil.others VALUES ('app.tenant');
"""


@pytest.fixture
def template() -> str:
    """No shop here."""
    return "template1"


@pytest.mark.parametrize("way", one_in(2, WAYS))
def test_a_type_that_no_catalog_ties_to_its_use_comes_to_nothing(
    undecided: list[Served], postgres: EmbeddedPostgres, database: str, way: Way
) -> None:
    comes_to_nothing(undecided, postgres, database, COMMON, way)


@pytest.mark.parametrize(
    "texts",
    [
        ["SELECT set_config(name, 'evil', false) FROM evil.pg_settings WHERE name = 'jit'"],
        ["SET search_path = evil", "SELECT set_config(name, 'evil', false) FROM pg_settings WHERE name = 'jit'"],
        [
            "CREATE TEMP TABLE pg_settings AS SELECT name FROM evil.pg_settings",
            "SELECT set_config(name, 'evil', false) FROM pg_settings WHERE name = 'jit'",
        ],
        [
            "WITH pg_settings AS (SELECT name FROM evil.pg_settings)"
            " SELECT set_config(name, 'evil', false) FROM pg_settings WHERE name = 'jit'"
        ],
    ],
)
def test_a_table_that_is_called_pg_settings_sets_nothing(
    undecided: list[Served], postgres: EmbeddedPostgres, database: str, texts: list[str]
) -> None:
    with psycopg.connect(postgres.dsn(database), autocommit=True) as behind:
        behind.execute(SETTINGS_OF_ONES_OWN.encode())
    for proxy in undecided:
        with eva(proxy, database) as her:
            assert run(her, ["SET app.tenant = 'other'"]) != [""]
            assert any(run(her, texts))
            assert her.execute("SELECT current_setting('app.tenant', true)", prepare=False).fetchone() == (None,)


def test_where_code_sets_the_search_path_the_next_text_is_judged_by_that(
    undecided: list[Served], postgres: EmbeddedPostgres, database: str
) -> None:
    with psycopg.connect(postgres.dsn(database), autocommit=True) as behind:
        behind.execute(
            (
                COMMON
                + NAMED
                + TRUNCATES.replace("wipe", "trunc_it")
                + "CREATE SCHEMA b; CREATE TABLE x (a int); CREATE VIEW b.x AS SELECT trunc_it() AS a;"
                "CREATE OR REPLACE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS"
                " $$ BEGIN PERFORM set_config('search_path', 'b, public', false); RETURN 1; END $$;"
            ).encode()
        )
    for proxy in undecided:
        with eva(proxy, database) as her:
            run(her, [ARMED, "SELECT ok, nextval('s') FROM v", "SELECT a INTO TEMP zz FROM x"])
    with psycopg.connect(postgres.dsn(database), autocommit=True) as behind:
        assert victims(behind) == 10

"""Ways to run code that no text shows where no wall stands, found by attack: each works without us, and not through us.

A text that may write (nextval(), FOR UPDATE, a temporary table) runs in a read-write transaction, and what is left for
COMMIT to run has no wall either. The code works on a connection of its own, so that no count shows what it does.
"""

import pytest
from tests.flow.served import Served
from tests.flow.unsaid import Way, comes_to_nothing
from tests.tiers import one_in

from pgnotary.demo.postgres import EmbeddedPostgres

COMMON = """
CREATE EXTENSION dblink;
CREATE TABLE victims AS SELECT generate_series(1, 10) AS id;
CREATE SEQUENCE s; CREATE TABLE plain (a text);
CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN PERFORM public.dblink_exec('{dsn}', 'DELETE FROM public.victims'); RETURN 1; END $$;
CREATE FUNCTION chk(text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN IF $1 IN ('boom', '(boom)') THEN PERFORM public.wipe(); END IF; RETURN true; END $$;
CREATE DOMAIN d AS text CHECK (chk(VALUE)); CREATE TABLE t (c d); INSERT INTO t VALUES ('x');
CREATE TABLE u (r t); INSERT INTO u VALUES (ROW('x')::t);
"""
LEAVES_A_CURSOR = """
CREATE FUNCTION leave() RETURNS void LANGUAGE plpgsql AS
  $$ BEGIN EXECUTE 'DECLARE kk CURSOR WITH HOLD FOR SELECT public.wipe()'; END $$;
CREATE OR REPLACE FUNCTION chk(text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN IF $1 IN ('boom', '(boom)') THEN PERFORM public.leave(); END IF; RETURN true; END $$;
"""
CALLS_WHEN_PLANNED = """
CREATE FUNCTION g(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
  IF current_setting('application_name') = 'boom' THEN PERFORM public.wipe(); END IF; RETURN 1; END $$;
CREATE FUNCTION f(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT public.g(1)';
"""


WAYS = {
    "a column of a row type": Way(["SELECT COALESCE(r, '(boom)'), nextval('s') FROM u"]),
    "a parameter of a row type": Way(
        ["PREPARE p AS SELECT COALESCE(r, $1), nextval('s') FROM u", "EXPLAIN EXECUTE p('(boom)')"]
    ),
    "a view's column of a row type": Way(
        ["SELECT COALESCE(r, '(boom)'), nextval('s') FROM v"], "CREATE VIEW v AS SELECT t AS r FROM t"
    ),
    "a domain over a row type": Way(
        ["SELECT COALESCE(r, '(boom)'), nextval('s') FROM w"],
        "CREATE DOMAIN dt AS t; CREATE TABLE w (r dt); INSERT INTO w VALUES (ROW('x')::t)",
    ),
    "PREPARE reads a literal": Way(
        ["BEGIN", "PREPARE p AS SELECT COALESCE(r, '(boom)') FROM u", "COMMIT"],
    ),
    "DECLARE plans what leaves a cursor": Way(
        ["BEGIN", "DECLARE c CURSOR FOR SELECT COALESCE(r, '(boom)') FROM u", "COMMIT"], LEAVES_A_CURSOR
    ),
    "a lock that is kept, and a cursor beside it": Way(
        ["BEGIN", "SELECT COALESCE(r, '(boom)'), pg_advisory_xact_lock(1) FROM u", "COMMIT"], LEAVES_A_CURSOR
    ),
    "percentile_disc() of a domain": Way(
        ["SELECT percentile_disc('{0.5}'::float8[]) WITHIN GROUP (ORDER BY c) || '{boom}', nextval('s') FROM t"]
    ),
    "an operator over a polymorphic function": Way(
        ["SELECT c === 'boom', nextval('s') FROM t"],
        "CREATE FUNCTION pp(anyelement, anyelement) RETURNS text LANGUAGE plpgsql IMMUTABLE AS"
        " 'BEGIN RETURN $2::text; END';"
        "CREATE OPERATOR === (leftarg = anyelement, rightarg = anyelement, function = pp)",
    ),
    "a function of a record": Way(
        ["SELECT gg(ROW(c)), nextval('s') FROM t"],
        "CREATE FUNCTION gg(r record) RETURNS text LANGUAGE plpgsql STABLE AS"
        " $$ BEGIN r.f1 := 'boom'; RETURN 'x'; END $$",
    ),
    "a function of a cursor": Way(
        ["BEGIN", "DECLARE k CURSOR FOR SELECT c FROM t", "SELECT g('k'), nextval('s')", "COMMIT"],
        "CREATE FUNCTION g(k refcursor) RETURNS text LANGUAGE plpgsql STABLE AS"
        " $$ DECLARE r record; BEGIN FETCH k INTO r; r.c := 'boom'; RETURN 'x'; END $$",
    ),
    "a cursor WITH HOLD and an INSERT": Way(
        ["BEGIN", "DECLARE k CURSOR WITH HOLD FOR SELECT f(ROW(c)) FROM t", "INSERT INTO plain VALUES ('q')", "COMMIT"],
        "CREATE FUNCTION f(r record) RETURNS text LANGUAGE plpgsql STABLE AS"
        " $$ BEGIN r.f1 := 'boom'; RETURN 'x'; END $$",
    ),
    "a temporary table made and filled in one text": Way(
        ["CREATE TEMP TABLE plain AS SELECT c AS a FROM t; INSERT INTO plain VALUES ('boom')"]
    ),
    "SELECT INTO and INSERT in one text": Way(
        ["SELECT c AS a INTO TEMP plain FROM t; INSERT INTO plain VALUES ('boom')"]
    ),
    "a temporary table replaced in one text": Way(
        [
            "CREATE TEMP TABLE zz (a int)",
            "DROP TABLE pg_temp.zz; CREATE TEMP TABLE zz AS SELECT c AS a FROM t;"
            " INSERT INTO pg_temp.zz VALUES ('boom')",
        ]
    ),
    "the type of a temporary table's rows": Way(
        ["CREATE TEMP TABLE zz AS SELECT c FROM t", "SELECT '(boom)'::zz, nextval('s')"]
    ),
    "an array of a temporary table's rows": Way(
        ["CREATE TEMP TABLE zz AS SELECT c FROM t", "SELECT '{\"(boom)\"}'::_zz, nextval('s')"]
    ),
    "JSON as a temporary table's row": Way(
        [
            "CREATE TEMP TABLE plain AS SELECT c FROM t",
            "SELECT json_populate_record(NULL::plain, '{\"c\": \"boom\"}'), nextval('s')",
        ]
    ),
    "a temporary table in the place of what a function reads": Way(
        ["CREATE TEMP TABLE plain AS SELECT c AS a FROM t", "SELECT f(), nextval('s')"],
        "CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql STABLE AS"
        " $$ DECLARE r record; BEGIN SELECT * INTO r FROM plain; r.a := 'boom'; RETURN 'x'; END $$",
    ),
    "a call that is inlined in an index": Way(
        ["SET application_name = boom", "SELECT * FROM plain FOR UPDATE"],
        CALLS_WHEN_PLANNED + "CREATE INDEX ON plain (f(a))",
    ),
    "a call that is inlined in a check": Way(
        ["SET application_name = boom", "SET constraint_exclusion = on", "SELECT FROM plain WHERE a = 'x' FOR UPDATE"],
        CALLS_WHEN_PLANNED + "ALTER TABLE plain ADD CHECK (f(a) = 1)",
    ),
    "a negator that points one way": Way(
        ["SELECT nextval('s') FROM plain WHERE NOT (a === 'x')"],
        "INSERT INTO plain VALUES ('x');"
        "CREATE FUNCTION ne(text, text) RETURNS bool LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM public.wipe(); RETURN true; END $$;"
        "CREATE OPERATOR !== (leftarg = text, rightarg = text, function = ne);"
        "CREATE OPERATOR === (leftarg = text, rightarg = text, function = texteq, negator = !==)",
    ),
    "an order of one's own for an enum": Way(
        ["CREATE TEMP TABLE zz AS SELECT c FROM moods", "SELECT c FROM zz ORDER BY c FOR UPDATE"],
        "CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE moods (c mood);"
        "INSERT INTO moods VALUES ('bad'), ('good');"
        "CREATE FUNCTION no(mood, mood) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN false; END';"
        "CREATE FUNCTION cmp(mood, mood) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM public.wipe(); RETURN 0; END';"
        "CREATE OPERATOR <# (leftarg = mood, rightarg = mood, function = no);"
        "CREATE OPERATOR =# (leftarg = mood, rightarg = mood, function = no);"
        "CREATE OPERATOR ># (leftarg = mood, rightarg = mood, function = no);"
        "CREATE OPERATOR CLASS om DEFAULT FOR TYPE mood USING btree AS"
        " OPERATOR 1 <#, OPERATOR 3 =#, OPERATOR 5 >#, FUNCTION 1 cmp (mood, mood)",
    ),
    "an operator in the queries of pg_get_viewdef()": Way(
        ["SET search_path = evil, pg_catalog, public", "SELECT pg_get_viewdef('public.v'::regclass), nextval('s')"],
        "CREATE VIEW v AS SELECT 1; CREATE SCHEMA evil;"
        "CREATE FUNCTION evil.eq(oid, oid) RETURNS bool LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM public.wipe(); RETURN pg_catalog.oideq($1, $2); END $$;"
        "CREATE OPERATOR evil.= (leftarg = oid, rightarg = oid, function = evil.eq)",
    ),
    "a view and a table of one name": Way(
        ["SET search_path = b, public; INSERT INTO x VALUES ('q')"],
        "CREATE SCHEMA b; CREATE TABLE public.x (a text); CREATE TABLE trg (a text);"
        "CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.wipe(); RETURN new; END $$;"
        "CREATE TRIGGER told BEFORE INSERT ON trg FOR EACH ROW EXECUTE FUNCTION told();"
        "CREATE VIEW b.x AS SELECT a FROM trg",
    ),
    "a temporary view in the place of a table": Way(
        ["INSERT INTO plain VALUES ('q')"],
        "CREATE TABLE trg (a text);"
        "CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.wipe(); RETURN new; END $$;"
        "CREATE TRIGGER told BEFORE INSERT ON trg FOR EACH ROW EXECUTE FUNCTION told()",
        signed="CREATE TEMP VIEW plain AS SELECT a FROM public.trg",
    ),
    "a temporary view of an array of a domain": Way(
        ["SELECT a || '{boom}', nextval('s') FROM tv"],
        signed="CREATE TEMP VIEW tv AS SELECT array_agg(c) AS a FROM t",
    ),
    "a temporary view of rows": Way(
        ["SELECT COALESCE(r, '(boom)'), nextval('s') FROM tv"], signed="CREATE TEMP VIEW tv AS SELECT t AS r FROM t"
    ),
}  # fmt: skip


@pytest.fixture
def template() -> str:
    """No shop here."""
    return "template1"


@pytest.mark.parametrize("way", one_in(2, WAYS))
def test_code_that_no_text_shows_runs_without_us_and_not_through_us(
    undecided: list[Served], postgres: EmbeddedPostgres, database: str, way: Way
) -> None:
    comes_to_nothing(undecided, postgres, database, COMMON, way)

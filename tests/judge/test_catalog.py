"""What a database's names reach: the two questions, asked of a live server, and the verdicts that come of the answers.

Each case makes its objects in a transaction that is rolled back. Its code leaves a mark that no read-only transaction
stops, so that a case which does not really run somebody's code fails here, too.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from tests.judge.asking import catalog_of
from tests.judge.texts import action, judged

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.asked import FUNCTIONS_QUESTION, grown, reach_question, read_catalog, read_functions
from pgnotary.judge.catalog import BUILT_IN, Catalog, Relation
from pgnotary.judge.harmless_functions import HARMLESS
from pgnotary.judge.rules import Action
from pgnotary.judge.scope import Scope

Connection = psycopg.Connection[Any]
SCOPE = Scope(("pg_catalog", "public"), "postgres")

SHARED = """
CREATE TABLE t (a int, b text);
INSERT INTO t VALUES (1, 'x'), (2, 'y');
CREATE FUNCTION mark() RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN PERFORM set_config('test.reached', 'yes', false); RETURN 1; END $$;
CREATE FUNCTION check_int(int) RETURNS bool LANGUAGE plpgsql AS
  $$ BEGIN PERFORM set_config('test.reached', 'yes', false); RETURN true; END $$;
CREATE FUNCTION lying(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
  $$ BEGIN PERFORM set_config('test.reached', 'yes', false); RETURN $1; END $$;
CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2';
CREATE FUNCTION positive(int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1 > 0; END';
"""
"""What every case may use: code of somebody's, and its harmless twins."""

ROW = "CREATE TYPE own AS (x int);"
ORDERED = (
    ROW
    + """
CREATE FUNCTION own_lt(own, own) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS
  $$ BEGIN PERFORM set_config('test.reached', 'yes', false); RETURN $1.x < $2.x; END $$;
CREATE FUNCTION own_eq(own, own) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS
  $$ BEGIN PERFORM set_config('test.reached', 'yes', false); RETURN $1.x = $2.x; END $$;
CREATE FUNCTION own_cmp(own, own) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
  $$ BEGIN PERFORM set_config('test.reached', 'yes', false); RETURN $1.x - $2.x; END $$;
CREATE OPERATOR <<< (leftarg = own, rightarg = own, procedure = own_lt);
CREATE OPERATOR === (leftarg = own, rightarg = own, procedure = own_eq);
CREATE OPERATOR CLASS own_ops DEFAULT FOR TYPE own USING btree AS
  OPERATOR 1 <<<, OPERATOR 3 ===, FUNCTION 1 own_cmp(own, own);
CREATE TABLE ordered (o own); INSERT INTO ordered VALUES (ROW(1)), (ROW(2));
CREATE TYPE tame AS (x int);
CREATE TABLE tames (o tame); INSERT INTO tames VALUES (ROW(1)), (ROW(2));
"""
)
DOMAIN = """
CREATE DOMAIN d AS int CHECK (check_int(VALUE)); CREATE DOMAIN fine AS int CHECK (positive(VALUE));
CREATE TABLE with_d (v d, n int); CREATE TABLE with_fine (v fine, n int);
CREATE TABLE list_d (v d[]); CREATE TABLE list_fine (v fine[]);
INSERT INTO with_d VALUES (1, 1); INSERT INTO with_fine VALUES (1, 1);
INSERT INTO list_d VALUES ('{1}'); INSERT INTO list_fine VALUES ('{1}');
"""
CASTS = (
    ROW
    + """
CREATE FUNCTION int_to_own(int) RETURNS own LANGUAGE plpgsql AS
  $$ DECLARE o own; BEGIN PERFORM mark(); o.x := $1; RETURN o; END $$;
CREATE FUNCTION own_to_int(own) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM mark(); RETURN $1.x; END $$;
CREATE TABLE owned (o own); INSERT INTO owned VALUES (ROW(1));
"""
)
TAME_CAST = """
CREATE TYPE tame AS (x int); CREATE FUNCTION tame_to_int(tame) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1.x';
CREATE CAST (tame AS int) WITH FUNCTION tame_to_int(tame) AS IMPLICIT;
CREATE TABLE tames (o tame); INSERT INTO tames VALUES (ROW(1));
"""


@dataclass(frozen=True)
class Case:
    """One way in which code is reached."""

    name: str
    schema: str
    reaching: tuple[str, ...]
    """Each runs somebody's code, and no text shows it."""
    harmless: tuple[str, ...] = ()
    """Their twins, which run none."""
    version: int = 0
    """The first version of PostgreSQL that has it."""


_BODY = "CREATE FUNCTION f() RETURNS int STABLE LANGUAGE {} AS $f$ {} $f$;"


def in_body(name: str, schema: str, body: str, language: str = "sql") -> Case:
    """A function that says it is STABLE, and is reached by its name."""
    return Case(name, schema + _BODY.format(language, body), ("SELECT f()",), ("SELECT twice(1)",))


CASES = [
    Case("a function", "", ("SELECT mark()", "SELECT public.mark()"), ("SELECT twice(1)", "SELECT public.twice(1)")),
    Case(
        "attribute notation",
        "CREATE FUNCTION leap(t) RETURNS int LANGUAGE sql AS 'SELECT mark()';"
        "CREATE FUNCTION step(t) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1.a';",
        ("SELECT t.leap FROM t", "SELECT (x).leap FROM t x", "SELECT 1 FROM t WHERE t.leap = 1"),
        ("SELECT t.step FROM t", "SELECT (x).step FROM t x", "SELECT t.a FROM t"),
    ),
    Case(
        "an operator",
        "CREATE FUNCTION op(int, text) RETURNS int LANGUAGE sql AS 'SELECT mark()';"
        "CREATE FUNCTION opt(int, text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';"
        "CREATE OPERATOR === (leftarg = int, rightarg = text, procedure = op);"
        "CREATE OPERATOR ~=~ (leftarg = int, rightarg = text, procedure = opt);",
        ("SELECT 1 === 'x'::text", "SELECT 1 OPERATOR(public.===) 'x'::text"),
        ("SELECT 1 ~=~ 'x'::text", "SELECT 1 OPERATOR(public.~=~) 'x'::text"),
    ),
    Case(
        "an operator that no text shows",
        ROW + "CREATE FUNCTION eq(own, int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN mark() = 1; END $$;"
        "CREATE OPERATOR = (leftarg = own, rightarg = int, procedure = eq);"
        "CREATE TABLE owned (o own); INSERT INTO owned VALUES (ROW(1));",
        (
            "SELECT 1 FROM owned WHERE o IN (1)",
            "SELECT CASE o WHEN 1 THEN 2 END FROM owned",
            "SELECT nullif(o, 1) FROM owned",
            "SELECT 1 FROM owned WHERE o IN (SELECT a FROM t)",
        ),
        ("SELECT o FROM owned", "SELECT 1 FROM t WHERE a < 1"),
    ),
    Case(
        "the negator of an operator",
        "CREATE FUNCTION quiet(int, text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN true; END';"
        "CREATE FUNCTION loud(int, text) RETURNS bool LANGUAGE sql AS 'SELECT mark() = 1';"
        "CREATE OPERATOR =~= (leftarg = int, rightarg = text, procedure = quiet, negator = !~=);"
        "CREATE OPERATOR !~= (leftarg = int, rightarg = text, procedure = loud, negator = =~=);"
        "CREATE OPERATOR ~=~ (leftarg = int, rightarg = text, procedure = quiet);"
        + _BODY.format("sql", "SELECT 1 FROM t WHERE NOT (a =~= b)"),
        ("SELECT 1 FROM t WHERE NOT (a =~= b)", "SELECT f()"),
        ("SELECT 1 FROM t WHERE NOT (a ~=~ b)",),
    ),
    Case(
        "an explicit cast",
        CASTS + TAME_CAST + "CREATE CAST (int AS own) WITH FUNCTION int_to_own(int);",
        ("SELECT 1::own", "SELECT CAST(a AS own) FROM t", "SELECT ARRAY[1]::own[]"),
        ("SELECT o::int FROM tames", "SELECT 1::text"),
    ),
    Case(
        "an implicit cast",
        CASTS + TAME_CAST + "CREATE CAST (own AS int) WITH FUNCTION own_to_int(own) AS IMPLICIT;",
        ("SELECT o + 1 FROM owned", "SELECT abs(o) FROM owned", "SELECT int4larger(x.o, 2) FROM owned x"),
        ("SELECT o + 1 FROM tames", "SELECT abs(o) FROM tames"),
    ),
    Case(
        "an assignment cast",
        CASTS + TAME_CAST + "CREATE CAST (int AS own) WITH FUNCTION int_to_own(int) AS ASSIGNMENT;",
        ("INSERT INTO owned VALUES (2)", "INSERT INTO owned SELECT a FROM t"),
        ("INSERT INTO tames VALUES (ROW(2))", "INSERT INTO t VALUES (2)"),
    ),
    Case(
        "a cast between two built-in types",
        "CREATE FUNCTION bit_of(bool) RETURNS bit LANGUAGE plpgsql AS $$ BEGIN PERFORM mark(); RETURN B'1'; END $$;"
        "CREATE CAST (bool AS bit) WITH FUNCTION bit_of(bool);",
        ("SELECT true::bit", "SELECT (a > 0)::bit FROM t", "SELECT (true::pg_catalog.bit)"),
    ),
    Case(
        "a cast that looks like a call",
        "CREATE FUNCTION check_text(text) RETURNS bool LANGUAGE sql AS 'SELECT mark() = 1';"
        "CREATE DOMAIN abs AS text CHECK (check_text(VALUE)); CREATE DOMAIN twice AS text CHECK (check_text(VALUE));",
        ("SELECT abs('x'::text)", "SELECT twice('x'::text)", "SELECT ('x'::text).twice"),
        ("SELECT sign(1)", "SELECT positive(1)"),
    ),
    Case(
        "a domain",
        DOMAIN,
        (
            "SELECT 1::d",
            "SELECT '1'::d",
            "SELECT '{1}'::d[]",
            "SELECT '{1}'::_d",
            "INSERT INTO with_d (v) VALUES (1)",
            "INSERT INTO with_d SELECT a FROM t",
            "SELECT ROW(1, 1)::with_d",
            "SELECT '(1,1)'::with_d",
            "SELECT ARRAY['(1,1)']::with_d[]",
            "SELECT * FROM json_populate_record(NULL::with_d, '{\"v\": 1}')",
            "SELECT * FROM json_to_recordset('[{\"v\": 1}]') AS x (v d)",
            "SELECT json_populate_record(w, '{\"v\": 2}') FROM with_d w",
            "INSERT INTO list_d VALUES ('{1}')",
        ),
        (
            "SELECT 1::fine",
            "SELECT '{1}'::fine[]",
            "SELECT v, n FROM with_d",
            "SELECT v = 1, v IN (1, 2), coalesce(v, 3) FROM with_d",
            "INSERT INTO with_fine (v) VALUES (1)",
            "SELECT ROW(1, 1)::with_fine",
            "SELECT ARRAY[1, 2]",
            "SELECT count(*) FROM with_d GROUP BY v",
        ),
    ),
    Case(
        "a literal that becomes a domain beside an array of it",
        DOMAIN,
        (
            "SELECT v = '{5}' FROM list_d",
            "SELECT array_append(v, '5') FROM list_d",
            "SELECT v || '{5}' FROM list_d",
            "SELECT coalesce(v, '{5}') FROM list_d",
            "SELECT lag(v, 1, '5') OVER () FROM with_d",
            "SELECT array_agg(v) = '{5}' FROM with_d",
            "SELECT ARRAY[v] = '{5}' FROM with_d",
            "SELECT ARRAY(SELECT v FROM with_d) = '{5}'",
            "WITH w (x) AS (SELECT v FROM with_d) SELECT lag(x, 1, '5') OVER () FROM w",
        ),
        (
            "SELECT v = '{5}' FROM list_fine",
            "SELECT v = '5' FROM with_d",
            "SELECT v || '{5}' FROM list_fine",
            "SELECT array_agg(a) = '{5}' FROM t",
            "SELECT lag(a, 1, '5') OVER () FROM t",
            "SELECT ARRAY(SELECT a FROM t) = '{5}'",
        ),
    ),
    Case(
        "a literal that becomes a domain beside what a view or a function has of it",
        DOMAIN
        + "CREATE VIEW seen AS SELECT v AS x FROM with_d; CREATE VIEW seen_again AS SELECT x AS y FROM seen;"
        + "CREATE MATERIALIZED VIEW kept AS SELECT v AS x FROM with_d; CREATE TABLE child () INHERITS (with_d);"
        + "INSERT INTO child VALUES (1);"
        + "CREATE FUNCTION given() RETURNS TABLE (x d) LANGUAGE sql STABLE AS 'SELECT v FROM with_d';",
        (
            "SELECT lag(x, 1, '5') OVER () FROM seen",
            "SELECT lag(y, 1, '5') OVER () FROM seen_again",
            "SELECT lag(x, 1, '5') OVER () FROM kept",
            "SELECT lag(v, 1, '5') OVER () FROM child",
            "SELECT array_agg(x) = '{5}' FROM given()",
        ),
        ("SELECT x FROM seen", "SELECT y FROM seen_again", "SELECT x FROM kept", "SELECT v FROM child"),
    ),
    Case(
        "a literal that a polymorphic function makes a domain",
        DOMAIN
        + "CREATE FUNCTION five(anyelement) RETURNS bool LANGUAGE sql STABLE AS $$ SELECT ARRAY[$1] = '{5}' $$;"
        + "CREATE VIEW fives AS SELECT five(v) AS x FROM with_d; CREATE VIEW threes AS SELECT v = 3 AS x FROM with_d;"
        + "CREATE FUNCTION is_five(int) RETURNS bool LANGUAGE sql STABLE AS 'SELECT five($1)';",
        (
            "SELECT five(v) FROM with_d",
            "SELECT five(x) FROM (SELECT v AS x FROM with_d) AS w",
            "TABLE fives",
            "SELECT w.five FROM (SELECT v FROM with_d) AS w (five) WHERE five(w.five)",
        ),
        ("SELECT five(a) FROM t", "SELECT five(1), is_five(2)", "SELECT five('{1}'::int[])", "TABLE threes"),
    ),
    Case(
        "a literal that becomes a row with a domain",
        DOMAIN
        + "CREATE TYPE pair AS (l d, r int); CREATE TABLE pairs (p pair); INSERT INTO pairs VALUES (ROW(1, 1));"
        + "CREATE TYPE two AS (l int, r int); CREATE TABLE twos (p two); INSERT INTO twos VALUES (ROW(1, 1));",
        (
            "SELECT coalesce(with_d, '(1,1)') FROM with_d",
            "SELECT coalesce(x.*, '(1,1)') FROM with_d x",
            "SELECT CASE WHEN n < 0 THEN with_d ELSE '(1,1)' END FROM with_d",
            "SELECT with_d FROM with_d UNION SELECT '(1,1)'",
            "SELECT lead(x, 1, '(1,1)') OVER () FROM with_d x",
            "SELECT coalesce(p, '(1,1)') FROM pairs",
        ),
        (
            "SELECT coalesce(p, '(1,1)') FROM twos",
            "SELECT coalesce(n, 1) FROM with_d",
            "SELECT x.*, x.n FROM with_d x",
            "SELECT coalesce(t, '(1,1)') FROM t",
        ),
    ),
    Case(
        "a domain over a domain, a composite and a range",
        DOMAIN
        + "CREATE DOMAIN dd AS d; CREATE TYPE pair AS (l d, r text); CREATE DOMAIN dp AS pair;"
        + "CREATE TYPE reach AS RANGE (subtype = d); CREATE TYPE plain AS RANGE (subtype = int);",
        ("SELECT 1::dd", "SELECT ROW(1, 'x')::pair", "SELECT ROW(1, 'x')::dp", "SELECT '[1,2]'::reach"),
        ("SELECT '[1,2]'::plain", "SELECT plain(1, 2)"),
    ),
    Case(
        "asking whether a text is a domain's",
        DOMAIN,
        ("SELECT pg_input_is_valid('5', 'd')", "SELECT pg_input_error_info('5', 'd')"),
        ("SELECT to_regtype('d')",),
        version=160000,
    ),
    Case(
        "an input function by its own name",
        DOMAIN,
        (
            "SELECT domain_in('5', to_regtype('d'), -1) IS NULL",
            "SELECT array_in('{5}', to_regtype('d'), -1) IS NULL",
            "SELECT record_in('(5,5)', to_regtype('with_d'), -1) IS NULL",
        ),
        ("SELECT int4in('5')",),
    ),
    Case(
        "an operator class",
        ORDERED,
        (
            "SELECT DISTINCT o FROM ordered",
            "SELECT o FROM ordered ORDER BY o",
            "SELECT o FROM ordered GROUP BY o",
            "SELECT o FROM ordered UNION SELECT o FROM ordered",
            "SELECT greatest(o, ROW(1)::own) FROM ordered",
            "SELECT count(DISTINCT o) FROM ordered",
            "SELECT rank() OVER (ORDER BY o) FROM ordered",
            "INSERT INTO t SELECT (x.o).x FROM (SELECT DISTINCT o FROM ordered) x",
        ),
        ("SELECT DISTINCT o FROM tames", "SELECT o FROM tames ORDER BY o", "SELECT DISTINCT a FROM t ORDER BY a"),
    ),
    Case(
        "an index with an operator class",
        ORDERED + "CREATE TABLE sorted (o own); CREATE INDEX ON sorted (o); INSERT INTO sorted VALUES (ROW(1));",
        ("INSERT INTO sorted VALUES (ROW(3))",),
        ("INSERT INTO tames VALUES (ROW(3))",),
    ),
    Case(
        "a view",
        "CREATE VIEW v AS SELECT mark() AS n; CREATE VIEW vv AS SELECT n FROM v; CREATE VIEW vvv AS SELECT * FROM vv;"
        "CREATE VIEW fine AS SELECT twice(a) AS n FROM t; CREATE VIEW finer AS SELECT n FROM fine;",
        ("SELECT * FROM v", "TABLE vv", "SELECT 1 FROM public.vvv", "COPY (SELECT n FROM vv) TO STDOUT"),
        ("SELECT * FROM fine", "TABLE finer"),
    ),
    Case(
        "a view over a built-in function with effects",
        "CREATE VIEW v AS SELECT set_config('test.reached', 'yes', false) AS n; CREATE VIEW vv AS SELECT n FROM v;"
        "CREATE VIEW fine AS SELECT current_setting('test.reached', true) AS n;",
        ("SELECT * FROM v", "TABLE vv"),
        ("SELECT * FROM fine",),
    ),
    Case(
        "row level security",
        "CREATE TABLE guarded (a int); INSERT INTO guarded VALUES (1); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;"
        "ALTER TABLE guarded FORCE ROW LEVEL SECURITY; CREATE POLICY p ON guarded USING (mark() = 1);"
        "CREATE TABLE fenced (a int); ALTER TABLE fenced ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY p ON fenced USING (positive(a));"
        "CREATE TABLE asked (a int); INSERT INTO asked VALUES (1); ALTER TABLE asked ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY p ON asked USING (set_config('test.reached', 'yes', false) = 'yes');"
        "CREATE ROLE somebody; GRANT ALL ON guarded, fenced, asked TO somebody; SET LOCAL ROLE somebody;",
        ("SELECT * FROM guarded", "SELECT * FROM asked", "INSERT INTO guarded VALUES (1)"),
        ("SELECT * FROM fenced",),
    ),
    Case(
        "what is read under the name of what is made",
        "CREATE VIEW v AS SELECT mark() AS n; CREATE VIEW fine AS SELECT twice(a) AS n FROM t;",
        ("CREATE TEMP TABLE v AS SELECT * FROM v", "SELECT * INTO TEMP v FROM v", "CREATE TEMP TABLE v AS TABLE v"),
        ("CREATE TEMP TABLE fine AS SELECT * FROM fine", "SELECT * INTO TEMP fine FROM fine"),
    ),
    Case(
        "EXPLAIN ANALYZE of an INSERT",
        "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM mark(); RETURN NEW; END';"
        "CREATE TABLE watched (a int); CREATE TRIGGER w BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION tell();",
        ("EXPLAIN ANALYZE INSERT INTO watched VALUES (1)", "EXPLAIN ANALYZE INSERT INTO t VALUES (mark())"),
        ("EXPLAIN ANALYZE INSERT INTO t VALUES (1)", "EXPLAIN INSERT INTO watched VALUES (1)"),
    ),
    Case(
        "a cast of what is inside a composite",
        CASTS
        + TAME_CAST
        + "CREATE CAST (own AS int) WITH FUNCTION own_to_int(own) AS IMPLICIT;"
        + "CREATE TYPE wrap AS (o own); CREATE TABLE wrapped (w wrap); INSERT INTO wrapped VALUES (ROW(ROW(1)));"
        + "CREATE TYPE neat AS (o tame); CREATE TABLE neats (w neat); INSERT INTO neats VALUES (ROW(ROW(1)));",
        ("SELECT (w).o + 1 FROM wrapped", "SELECT abs((w).o) FROM wrapped", "SELECT (x.w).o + 1 FROM wrapped x"),
        ("SELECT (w).o + 1 FROM neats",),
    ),
    Case(
        "a domain in an index",
        DOMAIN
        + "CREATE TABLE indexed (a int); CREATE INDEX ON indexed (((a::d)::int)); CREATE TABLE calm (a int);"
        + "CREATE INDEX ON calm (((a::fine)::int));",
        ("INSERT INTO indexed VALUES (1)",),
        ("INSERT INTO calm VALUES (1)",),
    ),
    Case(
        "a rule",
        "CREATE TABLE ruled (a int); CREATE RULE r AS ON INSERT TO ruled DO ALSO SELECT mark();",
        ("INSERT INTO ruled VALUES (1)",),
        ("SELECT * FROM ruled", "INSERT INTO t VALUES (1)"),
    ),
    Case(
        "a trigger",
        "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM mark(); RETURN NEW; END';"
        "CREATE TABLE watched (a int); CREATE TRIGGER w BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION tell();"
        "CREATE TABLE once (a int); CREATE TRIGGER w AFTER INSERT ON once EXECUTE FUNCTION tell();"
        "CREATE TABLE parts (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF parts FOR VALUES IN (1);"
        "CREATE TRIGGER w BEFORE INSERT ON part FOR EACH ROW EXECUTE FUNCTION tell();"
        "CREATE TABLE others (a int) PARTITION BY LIST (a);"
        "CREATE TRIGGER w AFTER INSERT ON others FOR EACH ROW EXECUTE FUNCTION tell();"
        "CREATE TABLE other PARTITION OF others FOR VALUES IN (1);",
        (
            "INSERT INTO watched VALUES (1)",
            "INSERT INTO once VALUES (1)",
            "INSERT INTO parts VALUES (1)",
            "INSERT INTO part VALUES (1)",
            "INSERT INTO others VALUES (1)",
            "INSERT INTO other VALUES (1)",
        ),
        ("SELECT * FROM watched, once, parts, part", "INSERT INTO t SELECT a FROM watched"),
    ),
    Case(
        "a default",
        "CREATE TABLE by_function (a int DEFAULT mark(), b int);"
        "CREATE TABLE by_setting (a text DEFAULT set_config('test.reached', 'yes', false), b int);"
        "CREATE TABLE plain (id serial, n int GENERATED ALWAYS AS IDENTITY, at timestamptz DEFAULT now(),"
        "  u uuid DEFAULT gen_random_uuid(), tw int DEFAULT twice(2), b int);",
        ("INSERT INTO by_function (b) VALUES (1)", "INSERT INTO by_setting (b) VALUES (1)"),
        ("INSERT INTO plain (b) VALUES (1)", "SELECT * FROM by_function, by_setting"),
    ),
    Case(
        "a domain's default",
        "CREATE DOMAIN loud AS text DEFAULT set_config('test.reached', 'yes', false);"
        "CREATE DOMAIN own_loud AS int DEFAULT mark(); CREATE DOMAIN quiet AS text DEFAULT 'x';"
        "CREATE TABLE a (x loud, b int); CREATE TABLE c (x own_loud, b int); CREATE TABLE fine (x quiet, b int);",
        ("INSERT INTO a (b) VALUES (1)", "INSERT INTO c (b) VALUES (1)"),
        ("INSERT INTO fine (b) VALUES (1)", "SELECT a.b FROM a, c"),
    ),
    Case(
        "a check",
        "CREATE TABLE checked (a int CHECK (check_int(a))); CREATE TABLE fine (a int CHECK (positive(a)));"
        "CREATE TABLE by_setting (a int CHECK (set_config('test.reached', 'yes', false) = 'yes'));"
        "CREATE TABLE parent (a int CHECK (check_int(a))); CREATE TABLE child () INHERITS (parent);",
        (
            "INSERT INTO checked VALUES (1)",
            "INSERT INTO by_setting VALUES (1)",
            "INSERT INTO parent VALUES (1)",
            "INSERT INTO child VALUES (1)",
        ),
        ("INSERT INTO fine VALUES (1)", "SELECT a FROM checked"),
    ),
    Case(
        "a generated column",
        "CREATE TABLE stored (a int, b int GENERATED ALWAYS AS (lying(a)) STORED);"
        "CREATE TABLE fine (a int, b int GENERATED ALWAYS AS (twice(a)) STORED);",
        ("INSERT INTO stored VALUES (1)",),
        ("INSERT INTO fine VALUES (1)", "SELECT * FROM stored, fine"),
    ),
    Case(
        "a generated column that an operator makes, and one of a partition",
        "CREATE TABLE stored (a int, b int GENERATED ALWAYS AS (-(a + lying(a))) STORED);"
        "CREATE TABLE parent (a int, b int GENERATED ALWAYS AS (lying(a)) STORED) PARTITION BY LIST (a);"
        "CREATE TABLE part PARTITION OF parent DEFAULT;"
        "CREATE FUNCTION lies(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT lying($1)';"
        "CREATE OPERATOR @+@ (LEFTARG = int, RIGHTARG = int, FUNCTION = lies);"
        "CREATE TABLE by_operator (a int, b int GENERATED ALWAYS AS (a @+@ a) STORED);"
        "CREATE TABLE fine (a int, b int GENERATED ALWAYS AS (twice(a)) STORED) PARTITION BY LIST (a);"
        "CREATE TABLE fine_part PARTITION OF fine DEFAULT;",
        (
            "INSERT INTO stored VALUES (1)",
            "INSERT INTO parent VALUES (1)",
            "INSERT INTO part VALUES (1)",
            "INSERT INTO by_operator VALUES (1)",
        ),
        ("INSERT INTO fine VALUES (1)", "SELECT * FROM stored, fine, parent"),
    ),
    Case(
        "an index expression",
        "CREATE TABLE indexed (a int); CREATE INDEX ON indexed (lying(a)); INSERT INTO indexed VALUES (1);"
        "CREATE TABLE partly (a int); CREATE INDEX ON partly (a) WHERE lying(a) = 1;"
        "CREATE TABLE fine (a int); CREATE INDEX ON fine (twice(a)) WHERE positive(a);",
        ("INSERT INTO indexed VALUES (2)", "INSERT INTO partly VALUES (2)"),
        ("INSERT INTO fine VALUES (2)", "SELECT a FROM indexed WHERE a > 1"),
    ),
    Case(
        "the key of a partitioned table",
        "CREATE TABLE parts (a int) PARTITION BY RANGE (lying(a));"
        "CREATE TABLE middle PARTITION OF parts FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (a);"
        "CREATE TABLE part PARTITION OF middle FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE fines (a int) PARTITION BY RANGE (twice(a));"
        "CREATE TABLE fine PARTITION OF fines FOR VALUES FROM (0) TO (10);",
        ("INSERT INTO parts VALUES (1)", "INSERT INTO middle VALUES (1)", "INSERT INTO part VALUES (1)"),
        ("INSERT INTO fines VALUES (1)", "INSERT INTO fine VALUES (1)", "SELECT a FROM part"),
    ),
    Case(
        "a child table",
        "CREATE TABLE parent (a int); CREATE TABLE child () INHERITS (parent); CREATE VIEW v AS SELECT a FROM parent;",
        (),
        ("SELECT a FROM parent", "SELECT a FROM v", "INSERT INTO parent VALUES (1)", "INSERT INTO child VALUES (1)"),
    ),
    Case(
        "an aggregate",
        "CREATE FUNCTION step(int, int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN mark(); END';"
        "CREATE AGGREGATE loud (int) (sfunc = step, stype = int, initcond = '0');"
        "CREATE AGGREGATE largest (int) (sfunc = int4larger, stype = int);",
        ("SELECT loud(a) FROM t", "SELECT loud(a) OVER () FROM t"),
        ("SELECT largest(a) FROM t", "SELECT largest(a) OVER () FROM t"),
    ),
    Case(
        "an aggregate over a built-in function",
        "CREATE AGGREGATE made (text, bool) (sfunc = set_config, stype = text, initcond = 'test.reached');",
        ("SELECT made('yes', false) FROM t WHERE a = 1",),
        ("SELECT max(a) FROM t",),
    ),
    Case(
        "a default argument",
        "CREATE FUNCTION loud(a int DEFAULT mark()) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';"
        "CREATE FUNCTION built(a text DEFAULT set_config('test.reached', 'yes', false)) RETURNS text IMMUTABLE"
        "  LANGUAGE sql AS 'SELECT $1';"
        "CREATE FUNCTION fine(a int DEFAULT twice(2)) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';",
        ("SELECT loud()", "SELECT built()"),
        ("SELECT fine()",),
    ),
    Case(
        "a body that is kept as a tree",
        "CREATE FUNCTION atomic() RETURNS int STABLE BEGIN ATOMIC SELECT mark(); END;",
        ("SELECT atomic()",),
    ),
    in_body("a liar in SQL", "", "SELECT mark()"),
    in_body("a liar in PL/pgSQL", "", "BEGIN RETURN mark(); END", "plpgsql"),
    in_body("a liar who runs text", "", "BEGIN EXECUTE 'SELECT mark()'; RETURN 1; END", "plpgsql"),
    in_body("a quoted name in a body", 'ALTER FUNCTION mark() RENAME TO "M k";', 'SELECT "M k"()'),
    in_body("a Unicode name in a body", "", r'SELECT U&"\006dark"()'),
    in_body("a name in capitals in a body", "", "SELECT MARK()"),
    in_body("an accented capital in a body", 'ALTER FUNCTION mark() RENAME TO "\u00c9x";', "SELECT \u00c9X()"),
    in_body(
        "a name in a body that is cut", f"ALTER FUNCTION mark() RENAME TO {'m' * 63};", f"SELECT {'m' * 63}_and_more()"
    ),
    in_body("a comment inside a call in a body", "", "SELECT mark/* */ -- x\n ()"),
    in_body("a body that calls a liar", "CREATE FUNCTION g() RETURNS int STABLE AS 'SELECT mark()' LANGUAGE sql;",
            "SELECT g()"),
    in_body("a view in a body", "CREATE VIEW v AS SELECT mark() AS n;", "SELECT n FROM v"),
    in_body("a domain in a body", DOMAIN, "DECLARE x d; BEGIN x := 1; RETURN x; END", "plpgsql"),
    in_body("a composite with a domain in a body", DOMAIN, "SELECT (ROW(5, 5)::with_d).v::int"),
    in_body("a row of a table with a domain in a body", DOMAIN,
            "DECLARE x with_d; BEGIN x.v := 1; RETURN 1; END", "plpgsql"),
    in_body("an aggregate in a body",
            "CREATE FUNCTION step(int, int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN mark(); END';"
            "CREATE AGGREGATE loud (int) (sfunc = step, stype = int, initcond = '0');", "SELECT loud(a) FROM t"),
    in_body("a function that returns a domain in a body",
            DOMAIN + "CREATE FUNCTION g(int) RETURNS d STABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';",
            "SELECT g(5)::int"),
    Case(
        "a domain that only a literal names in a body",
        DOMAIN + _BODY.format("sql", "SELECT pg_input_is_valid('5', 'd')::int"),
        ("SELECT f()",),
        version=160000,
    ),
    in_body("an operator in a body",
            "CREATE FUNCTION op(int, text) RETURNS int LANGUAGE sql AS 'SELECT mark()';"
            "CREATE OPERATOR === (leftarg = int, rightarg = text, procedure = op);", "SELECT 1 === 'x'::text"),
    in_body("a hidden cast in a body",
            CASTS + "CREATE CAST (own AS int) WITH FUNCTION own_to_int(own) AS IMPLICIT;", "SELECT o + 1 FROM owned"),
    in_body("an unsaid operator in a body",
            ROW + "CREATE FUNCTION eq(own, int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN mark() = 1; END $$;"
            "CREATE OPERATOR = (leftarg = own, rightarg = int, procedure = eq);"
            "CREATE TABLE owned (o own); INSERT INTO owned VALUES (ROW(1));", "SELECT 1 FROM owned WHERE o IN (1)"),
    in_body("an operator with two spellings in a body",
            ROW + "CREATE FUNCTION ne(own, int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN mark() = 1; END $$;"
            "CREATE OPERATOR <> (leftarg = own, rightarg = int, procedure = ne);"
            "CREATE TABLE owned (o own); INSERT INTO owned VALUES (ROW(1));", "SELECT 1 FROM owned WHERE o != 1"),
    in_body("an order in a body", ORDERED, "SELECT 1 FROM (SELECT DISTINCT o FROM ordered) x LIMIT 1"),
    Case(
        "a search path of a body's own",
        "CREATE SCHEMA evil; CREATE FUNCTION evil.abs(int) RETURNS int LANGUAGE sql AS 'SELECT public.mark()';"
        "CREATE FUNCTION f() RETURNS int STABLE LANGUAGE sql SET search_path = evil, pg_catalog AS 'SELECT abs(1)';",
        ("SELECT f()",),
        ("SELECT twice(1)",),
    ),
    Case(
        "a trusted body",
        "CREATE VIEW v AS SELECT twice(a) AS n FROM t; CREATE TABLE orders (id int, note text);"
        "CREATE FUNCTION reads(x int) RETURNS bigint STABLE LANGUAGE plpgsql AS"
        "  $$ DECLARE n bigint; BEGIN SELECT count(*) INTO n FROM orders WHERE id > x AND note LIKE 'update%';"
        "  RETURN n; END $$;"
        "CREATE FUNCTION over_it() RETURNS bigint STABLE LANGUAGE sql SET search_path = public AS"
        "  'SELECT reads(twice(1))';",
        (),
        ("SELECT reads(1)", "SELECT over_it()", "SELECT reads(a) FROM t", "INSERT INTO t SELECT over_it()"),
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def server(postgres: EmbeddedPostgres) -> Iterator[Connection]:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE reached TEMPLATE template0 ENCODING 'UTF8'")
        try:
            with psycopg.connect(postgres.dsn("reached"), autocommit=True) as connection:
                connection.execute(SHARED.encode())
                yield connection
        finally:
            admin.execute("DROP DATABASE reached WITH (FORCE)")


def reaches(connection: Connection, sql: str) -> bool:
    """Run a text and say whether somebody's code has left its mark."""
    with connection.transaction(force_rollback=True):
        connection.execute("SELECT set_config('test.reached', 'no', false)")
        if sql.startswith("COPY"):
            with connection.cursor().copy(sql.encode()) as copy:
                list(copy)
        else:
            connection.execute(sql.encode())
        row = connection.execute("SELECT current_setting('test.reached')").fetchone()
    assert row is not None
    return bool(row[0] == "yes")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_reaches_somebodys_code_is_not_forwarded_and_its_twin_is(server: Connection, case: Case) -> None:
    if server.info.server_version < case.version:
        pytest.skip("this PostgreSQL does not have it")
    with server.transaction(force_rollback=True):
        server.execute(case.schema.encode())
        catalog = catalog_of(server)
        for sql in case.reaching:
            assert reaches(server, sql), f"runs nothing of anybody's: {sql}"
            assert action(sql, "default", catalog, SCOPE) is Action.HOLD, sql
        for sql in case.harmless:
            assert not reaches(server, sql), f"runs somebody's code: {sql}"
            found = judged(sql, "default", catalog, SCOPE)
            assert found.action is Action.FORWARD, f"{sql}: {found.reason}"


PLANNED = """
CREATE TABLE indexed (a int); CREATE INDEX ON indexed (lying(1));
CREATE TABLE partly (a int); CREATE INDEX ON partly (a) WHERE lying(1 + 1) = 2;
CREATE TABLE counted (a int); CREATE STATISTICS s ON (a + lying(1)), a FROM counted;
INSERT INTO counted VALUES (1), (2); ANALYZE counted;
CREATE TABLE parent (a int CHECK (lying(1) = 1)); CREATE TABLE child () INHERITS (parent);
CREATE TABLE defaulted (a int DEFAULT lying(1), b int); CREATE TABLE volatile (a int DEFAULT mark(), b int);
CREATE TABLE fine (a int, b varchar); CREATE INDEX ON fine (twice(1)); CREATE INDEX ON fine (lying(a));
CREATE FUNCTION lying(text) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN mark(); END';
CREATE INDEX ON fine (lying(b));
"""


@pytest.mark.parametrize(
    ("sql", "runs"),
    [
        ("SELECT a FROM indexed", True),
        ("SELECT a FROM partly WHERE a = 1", True),
        ("SELECT a FROM counted WHERE a = 1", True),
        ("SELECT a FROM parent WHERE a = 1", True),
        ("INSERT INTO t SELECT a FROM indexed", True),
        ("EXPLAIN INSERT INTO defaulted (b) VALUES (1)", True),
        ("EXPLAIN INSERT INTO volatile (b) VALUES (1)", False),
        ("SELECT b FROM volatile", False),
        ("SELECT a FROM fine WHERE a = 1", False),
    ],
)
def test_what_planning_a_read_computes_is_not_forwarded(
    postgres: EmbeddedPostgres, database: str, sql: str, runs: bool
) -> None:
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute((SHARED + PLANNED).encode())
        catalog = catalog_of(connection)
    # A session of its own: the one that made an index remembers what its expression was.
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        assert reaches(connection, sql) is runs
    assert action(sql, "default", catalog, SCOPE) is (Action.HOLD if runs else Action.FORWARD)


UNMARKED = [
    (
        "an operator over a built-in function",
        "CREATE OPERATOR === (leftarg = text, rightarg = text, procedure = pg_notify);",
        "SELECT 'a'::text === 'b'::text",
    ),
    (
        "an operator over a built-in function, in a body",
        "CREATE OPERATOR === (leftarg = text, rightarg = text, procedure = pg_notify);"
        "CREATE FUNCTION f() RETURNS int STABLE LANGUAGE sql AS"
        "  $$ SELECT 1 FROM (SELECT 'a'::text === 'b'::text) x $$;",
        "SELECT f()",
    ),
    (
        "a cast over a built-in function",
        "CREATE CAST (bigint AS bool) WITH FUNCTION pg_try_advisory_lock(bigint);",
        "SELECT 5::bigint::bool",
    ),
    ("a default that is large", "CREATE TABLE x (o oid DEFAULT lo_create(0), b int);", "INSERT INTO x (b) VALUES (1)"),
    (
        "a domain's default that is large",
        "CREATE DOMAIN large AS oid DEFAULT lo_create(0); CREATE TABLE x (o large, b int);",
        "INSERT INTO x (b) VALUES (1)",
    ),
    ("a view with row locks", "CREATE VIEW v AS SELECT a FROM t FOR UPDATE;", "SELECT * FROM v"),
    (
        "a view over a view with row locks",
        "CREATE VIEW v AS SELECT a FROM (SELECT a FROM t FOR SHARE) x; CREATE VIEW vv AS SELECT * FROM v;",
        "SELECT * FROM vv",
    ),
    ("a view with pg_notify()", "CREATE VIEW v AS SELECT pg_notify('a', 'b')::text AS n;", "SELECT n FROM v"),
    ("a view with nextval()", "CREATE SEQUENCE q; CREATE VIEW v AS SELECT nextval('q') AS n;", "SELECT n FROM v"),
    (
        "a foreign table",
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
        "CREATE FOREIGN TABLE far (a int) SERVER s;",
        "SELECT * FROM far",
    ),
    (
        "a foreign partition",
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
        "CREATE TABLE parts (a int) PARTITION BY LIST (a);"
        "CREATE FOREIGN TABLE far PARTITION OF parts FOR VALUES IN (1) SERVER s;",
        "SELECT * FROM parts",
    ),
    (
        "an insert into a foreign partition",
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
        "CREATE TABLE parts (a int) PARTITION BY LIST (a);"
        "CREATE FOREIGN TABLE far PARTITION OF parts FOR VALUES IN (1) SERVER s;",
        "INSERT INTO parts VALUES (1)",
    ),
    (
        "a view over a foreign table",
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
        "CREATE FOREIGN TABLE far (a int) SERVER s; CREATE VIEW v AS SELECT a FROM far;",
        "SELECT * FROM v",
    ),
    ("an insert into a view", "CREATE VIEW v AS SELECT a FROM t;", "INSERT INTO v VALUES (1)"),
    ("an insert into the catalog", "", "INSERT INTO pg_catalog.pg_class DEFAULT VALUES"),
    (
        "a child of a table with a rule",
        "CREATE TABLE child () INHERITS (t); CREATE RULE r AS ON INSERT TO child DO ALSO NOTIFY x;",
        "INSERT INTO child VALUES (1)",
    ),
    (
        "a rule that does something else instead",
        "CREATE TABLE x (a int); CREATE RULE r AS ON INSERT TO x DO INSTEAD DELETE FROM t;",
        "INSERT INTO x VALUES (1)",
    ),
    (
        "an event trigger",
        "CREATE FUNCTION tell() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION tell();",
        "CREATE TEMP TABLE x (a int)",
    ),
    ("a table that nobody knows", "", "SELECT * FROM nowhere"),
    ("an insert into what nobody knows", "", "INSERT INTO nowhere VALUES (1)"),
    ("a function that nobody knows", "", "SELECT nowhere()"),
]
"""What leaves no mark, or cannot run here."""


@pytest.mark.parametrize(("schema", "sql"), [each[1:] for each in UNMARKED], ids=[each[0] for each in UNMARKED])
def test_what_may_have_effects_of_another_kind_is_not_forwarded(server: Connection, schema: str, sql: str) -> None:
    with server.transaction(force_rollback=True):
        before = catalog_of(server)
        server.execute(schema.encode())
        assert action(sql, "default", catalog_of(server), SCOPE) is Action.HOLD
        assert action("SELECT twice(a) FROM t; INSERT INTO t VALUES (1)", "default", before, SCOPE) is Action.FORWARD


# --- what holds without a database ------------------------------------------------------------------------------------

CALLABLE = """
SELECT DISTINCT proname FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace AND pronargs >= 1 AND pronargs - pronargdefaults <= 1
AND prorettype NOT IN ('trigger'::regtype, 'internal'::regtype, 'event_trigger'::regtype)
AND proargtypes[0] <> 'internal'::regtype
"""


def test_without_a_database_every_built_in_function_is_known(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.dsn("postgres")) as connection:
        names = {name for (name,) in connection.execute(CALLABLE).fetchall()} - HARMLESS
    # PostgreSQL 14 has 68, later ones have more.
    assert len(names) > 60
    assert [name for name in sorted(names) if not BUILT_IN.may_call(name)] == []


def test_a_harmless_name_that_the_database_has_elsewhere_too_is_ambiguous(server: Connection) -> None:
    with server.transaction(force_rollback=True):
        server.execute("CREATE FUNCTION lower(int) RETURNS int LANGUAGE sql AS 'SELECT mark()'")
        catalog = catalog_of(server)
        assert reaches(server, "SELECT lower(5)")
    for sql in ("SELECT lower(5)", "SELECT (5).lower", "SELECT lower('A'), pg_catalog.lower('A')"):
        assert action(sql, "default", catalog, SCOPE) is Action.HOLD
    assert action("SELECT upper('a')", "default", catalog, SCOPE) is Action.FORWARD
    assert judged("SELECT lower(5)", "default", catalog, SCOPE).reason == (
        "it calls lower, and the database has a function of that name outside pg_catalog too"
    )


def test_the_reason_names_what_reaches_it(server: Connection) -> None:
    with server.transaction(force_rollback=True):
        server.execute("CREATE FUNCTION tell(t) RETURNS int LANGUAGE sql AS 'SELECT mark()'")
        server.execute('CREATE VIEW "The v" AS SELECT mark() AS n')
        catalog = catalog_of(server)
    found = judged("SELECT t.tell FROM t", "default", catalog, SCOPE)
    assert (found.reason, found.judge) == (
        "it selects the attribute tell, which may be a call of a function of that name",
        "catalog",
    )
    found = judged('SELECT * FROM "The v"', "default", catalog, SCOPE)
    assert found.reason == 'it reads "The v", which calls what nobody has read'


def test_a_plain_database_is_asked_once_and_reaches_nothing(server: Connection, database: str) -> None:
    with psycopg.connect(server.info.dsn, dbname=database, password=server.info.password) as connection:
        connection.execute("CREATE TABLE orders (id serial PRIMARY KEY, note text CHECK (length(note) < 9))")
        connection.execute("CREATE TABLE lines (id int REFERENCES orders, n int GENERATED ALWAYS AS IDENTITY)")
        connection.execute("CREATE TYPE mood AS ENUM ('glad'); CREATE TABLE moods (m mood DEFAULT 'glad', at date)")
        catalog = catalog_of(connection)
    assert (catalog.known, catalog.anything_casts, catalog.event_triggers) == (True, False, False)
    assert (catalog.types, catalog.operators, catalog.elsewhere) == (frozenset(), frozenset(), frozenset())
    for name in ("orders", "lines", "moods"):
        assert catalog.relations[name] == {"public": Relation("r")}
    assert not [name for name, found in catalog.relations.items() for each in found.values() if each.reading_calls]


@pytest.mark.parametrize(
    "extension",
    "btree_gin btree_gist citext cube fuzzystrmatch hstore intarray isn ltree pg_trgm seg unaccent vector".split(),
)
def test_the_types_of_an_extension_are_no_reason_to_hold_anything(
    server: Connection, database: str, extension: str
) -> None:
    """Of functions that are kept as trees, are other names for PostgreSQL's own, or take `internal`, all is known."""
    with psycopg.connect(server.info.dsn, dbname=database, password=server.info.password) as connection:
        known = connection.execute("SELECT name FROM pg_available_extensions").fetchall()
        if (extension,) not in known:
            pytest.skip(f"this server has no {extension}")
        connection.execute(f"CREATE EXTENSION {extension}")
        catalog = catalog_of(connection)
    assert (catalog.types, catalog.operators, catalog.anything_casts) == (frozenset(), frozenset(), False)


def test_the_questions_wait_for_nobody_who_alters_a_table(server: Connection, database: str) -> None:
    """To write out the tree of a body takes locks on the relations in it."""
    dsn, password = server.info.dsn, server.info.password
    with (
        psycopg.connect(dsn, dbname=database, password=password) as connection,
        psycopg.connect(dsn, dbname=database, password=password) as somebody,
    ):
        connection.execute("CREATE TABLE t (a int)")
        connection.execute("CREATE FUNCTION reads() RETURNS int STABLE BEGIN ATOMIC SELECT max(a) FROM t; END")
        connection.execute("CREATE FUNCTION adds(int) RETURNS int IMMUTABLE RETURN $1 + 1")
        connection.commit()
        somebody.execute("ALTER TABLE t ADD b int")
        connection.execute("SET lock_timeout = '100ms'")
        catalog = catalog_of(connection)
    assert ("adds" in catalog.proven, "reads" in catalog.elsewhere) == (True, True)


NO_FUNCTIONS = {"built_in": [], "own": [], "words": [], "making": [], "anyarrays": [], "unifying": [], "equals": False}


@pytest.mark.parametrize(
    "answer", ["", "nonsense", "null", "[]", "{}", '{"built_in": [1]}', '{"own": 1}', '{"words": 1}']
)
def test_an_answer_of_another_shape_is_refused(server: Connection, answer: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_functions(answer)
    functions = read_functions(json.dumps(NO_FUNCTIONS))
    with pytest.raises(ValueError, match=r"."):
        read_catalog(functions, answer)
    with pytest.raises(ValueError, match=r"."):
        grown(functions, answer)


def test_the_questions_are_plain_reads() -> None:
    functions = read_functions(json.dumps(NO_FUNCTIONS | {"built_in": [[1574, "nextval", True]]}))
    for question in (FUNCTIONS_QUESTION, reach_question(functions)):
        assert " pg_catalog." in question
        assert ";" not in question


# --- which relation a name stands for ---------------------------------------------------------------------------------

TWO = {"t": {"a": Relation("r"), "b": Relation("v", reading_calls=True)}, "u": {"b": Relation("r")}}


@pytest.mark.parametrize(
    ("name", "path", "found"),
    [
        (("t",), ("a", "b"), [("a", "t")]),
        (("t",), ("b", "a"), [("b", "t")]),
        (("t",), ("pg_catalog", "b"), [("b", "t")]),
        (("t",), ("c",), []),
        (("t",), (), []),
        (("t",), None, [("a", "t"), ("b", "t")]),
        (("u",), None, [("b", "u")]),
        (("a", "t"), ("b",), [("a", "t")]),
        (("db", "a", "t"), None, [("a", "t")]),
        (("c", "t"), None, []),
        (("pg_catalog", "pg_new"), None, [("pg_catalog", "pg_new")]),
        (("x",), None, []),
    ],
)
def test_a_name_is_looked_up_where_the_session_looks_and_in_doubt_it_is_each_of_that_name(
    name: tuple[str, ...], path: tuple[str, ...] | None, found: list[tuple[str, ...]]
) -> None:
    known = Catalog(known=True, relations=TWO).find(name, path)
    assert [whole for whole, _ in known] == found

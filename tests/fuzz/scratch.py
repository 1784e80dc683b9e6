"""The scratch database of the fuzz: harmless tables, and every disguise in which a name runs code that writes.

Each disguise calls a function that tells its name in a NOTICE ("via operator"), inserts a row into `trace` and so
takes a transaction id. Nothing here can stop the server, block, or touch anything outside the database.
"""

__all__ = ["DISGUISES", "SCHEMA"]

_WRITER = """
CREATE FUNCTION {name}({arguments}) RETURNS {returns} LANGUAGE plpgsql {volatility} AS
$body$ BEGIN PERFORM public.told('{via}'); RETURN {result}; END $body$;
"""


def _writer(
    name: str, arguments: str, via: str, *, returns: str = "int", result: str = "1", volatility: str = "VOLATILE"
) -> str:
    return _WRITER.format(
        name=name, arguments=arguments, via=via, returns=returns, result=result, volatility=volatility
    )


_TABLES = """
CREATE TABLE trace (via text);
CREATE TABLE t (a int PRIMARY KEY, b text);
CREATE TABLE users (id int PRIMARY KEY, a int, name text, admin bool);
CREATE TABLE orders (id int PRIMARY KEY, user_id int REFERENCES users, total int, placed timestamptz DEFAULT now());
CREATE TABLE \u00e9 (\u00e9 int);
CREATE SCHEMA app;
CREATE TABLE app.t (a int, j json DEFAULT '{"a": [1, 2]}');
CREATE SEQUENCE s;
CREATE TYPE mood AS ENUM ('sad', 'ok');
INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 5) i;
INSERT INTO users VALUES (1, 1, 'ann', true), (2, 2, 'bob', false), (3, NULL, NULL, NULL);
INSERT INTO orders SELECT i, 1 + i % 3, i * 10 FROM generate_series(1, 6) i;
INSERT INTO \u00e9 VALUES (1);
INSERT INTO app.t VALUES (1), (2);
CREATE VIEW plain_view AS SELECT a, b FROM t;
CREATE MATERIALIZED VIEW mv AS SELECT a FROM t;
CREATE FUNCTION reads() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION told(via text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
$$ BEGIN RAISE NOTICE 'via %', via; INSERT INTO public.trace VALUES (via); END $$;
CREATE PROCEDURE w_procedure() LANGUAGE plpgsql AS $$ BEGIN PERFORM public.told('procedure'); END $$;
"""

_CALLS = "".join(
    [
        _writer("w_plain", "", "function"),
        _writer("w_one", "int DEFAULT 1", "function"),
        _writer("w_any", "anyelement", "function"),
        _writer("w_attr", "t", "attribute"),
        _writer("w_attr", "users", "attribute"),
        _writer("w_attr", "int", "attribute"),
        # By a superuser, among the built-in ones.
        _writer("pg_catalog.initcap", "int", "function in pg_catalog"),
        # A built-in name with other arguments.
        _writer("app.upper", "int", "function"),
        _writer("abs", "text", "function"),
        # Words that are a function's name for an old server, and grammar for a new one.
        *(
            _writer(f'"{name}"', "anyelement", "keyword")
            + _writer(f'"{name}"', "text, text", "keyword")
            + _writer(f'"{name}"', "json, text", "keyword")
            for name in (
                "json_scalar",
                "json_exists",
                "json_query",
                "json_value",
                "json_serialize",
                "json",
                "merge_action",
                "json_array",
                "json_arrayagg",
            )
        ),
    ]
)

_HIDDEN = "".join(
    [
        _writer("w_view", "", "view"),
        "CREATE VIEW vw AS SELECT a, w_view() AS n FROM t;",
        "CREATE VIEW app.over AS SELECT n FROM public.vw;",
        # What a read-only block lets pass.
        "CREATE FUNCTION w_locks() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'via view beyond the wall';"
        " PERFORM pg_notify('a', 'b'); RETURN pg_try_advisory_lock(7)::int; END $$;",
        "CREATE VIEW vl AS SELECT a, w_locks() AS n FROM t;",
        _writer("w_planning", "int", "planning", volatility="IMMUTABLE"),
        "CREATE VIEW vp AS SELECT a FROM t WHERE a = w_planning(1);",
        _writer("w_operator", "int, text", "operator", returns="bool", result="true"),
        "CREATE OPERATOR === (FUNCTION = w_operator, LEFTARG = int, RIGHTARG = text);",
        "CREATE OPERATOR = (FUNCTION = w_operator, LEFTARG = int, RIGHTARG = text);",
        "CREATE OPERATOR ~~ (FUNCTION = w_operator, LEFTARG = int, RIGHTARG = text);",
        "CREATE OPERATOR app.<-> (FUNCTION = w_operator, LEFTARG = int, RIGHTARG = text);",
        _writer("w_prefix", "text", "operator", returns="text", result="$1"),
        "CREATE OPERATOR @ (FUNCTION = w_prefix, RIGHTARG = text);",
        "CREATE TYPE wt AS (x int);",
        _writer("w_cast", "int", "cast", returns="wt", result="row(1)::wt"),
        _writer("w_cast_json", "wt", "cast", returns="json", result="'1'::json"),
        _writer("w_cast_mood", "mood", "cast", returns="json", result="'1'::json"),
        _writer("w_cast_int", "text", "cast", returns="wt", result="row(1)::wt"),
        "CREATE CAST (int AS wt) WITH FUNCTION w_cast(int);",
        "CREATE CAST (wt AS json) WITH FUNCTION w_cast_json(wt);",
        "CREATE CAST (mood AS json) WITH FUNCTION w_cast_mood(mood);",
        "CREATE CAST (text AS wt) WITH FUNCTION w_cast_int(text) AS IMPLICIT;",
        _writer("w_cast_text", "wt", "cast", returns="text", result="'x'"),
        "CREATE CAST (wt AS text) WITH FUNCTION w_cast_text(wt) AS IMPLICIT;",
        _writer("w_domain", "int", "domain", returns="bool", result="true"),
        "CREATE DOMAIN wd AS int CHECK (w_domain(VALUE));",
        "CREATE TABLE td (d wd);",
        _writer("w_compare", "mood, mood", "operator class", result="0"),
        _writer("w_compare", "wt, wt", "operator class", result="0"),
        *(
            _writer(f"w_{name}", "wt, wt", "operator class", returns="bool", result="true")
            + f"CREATE OPERATOR {symbol} (FUNCTION = w_{name}, LEFTARG = wt, RIGHTARG = wt);"
            for name, symbol in (("lt", "<"), ("le", "<="), ("eq", "="), ("ge", ">="), ("gt", ">"))
        ),
        "CREATE OPERATOR CLASS wt_ops DEFAULT FOR TYPE wt USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =,"
        " OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 w_compare(wt, wt);",
        "CREATE TABLE tw (w wt);",
        "INSERT INTO tw VALUES (row(1)), (row(2)), (row(2));",
        "CREATE TYPE wr AS RANGE (SUBTYPE = wt);",
        _writer("w_index", "int", "index", volatility="IMMUTABLE"),
        "CREATE TABLE ti (a int); CREATE INDEX ON ti (a) WHERE a > public.w_index(1);",
        _writer("w_check", "int", "constraint", volatility="IMMUTABLE"),
        "CREATE TABLE tp (a int); CREATE TABLE tc (CHECK (a > public.w_check(1))) INHERITS (tp);",
        _writer("w_policy", "int", "policy"),
        "CREATE TABLE guarded (a int); INSERT INTO guarded VALUES (1); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY p ON guarded USING (w_policy(a) = 1);",
        "CREATE TABLE tdef (a int DEFAULT w_planning(1));",
        _writer("w_step", "int, users", "aggregate"),
        _writer("w_step", "int, t", "aggregate"),
        "CREATE AGGREGATE max (users) (SFUNC = w_step, STYPE = int);",
        "CREATE AGGREGATE sum (t) (SFUNC = w_step, STYPE = int);",
        "CREATE AGGREGATE w_aggregate (t) (SFUNC = w_step, STYPE = int);",
        "CREATE AGGREGATE app.count (users) (SFUNC = w_step, STYPE = int);",
    ]
)

_RIGHTS = """
GRANT ALL ON ALL TABLES IN SCHEMA public, app TO guest;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO guest;
GRANT USAGE ON SCHEMA app TO guest;
DELETE FROM trace;
ANALYZE;
"""

SCHEMA = _TABLES + _CALLS + _HIDDEN + _RIGHTS
"""Makes the scratch database's objects; one text of many statements. A role `guest` must be there."""

DISGUISES = (
    "w_plain()", "w_one()", "w_one(1)", "w_any(1)", "public.w_plain()", "app.upper(1)", "initcap(1)",
    "pg_catalog.initcap(1)", "abs('x'::text)", "t.w_attr", "u.w_attr", "(u).w_attr", "(1).w_attr", "(t.a).w_attr",
    "w_attr(t)", "json_scalar(1)", "json_exists('1', '$')", "json_query(1)", "json_value('1'::text, '$')",
    "json_serialize(1)", "json(1)", "1 === 'x'::text", "t.a = t.b", "t.a IN ('x'::text)",
    "t.a = ANY (ARRAY['x'::text])", "1 LIKE 'x'::text", "1 OPERATOR(public.===) 'x'::text",
    "1 OPERATOR(app.<->) 'x'::text", "@ t.b", "CAST(1 AS wt)", "t.a::wt", "wt(1)", "row(1)::wt::json",
    "to_json(row(1)::wt)", "json_agg('ok'::mood)", "to_jsonb(tw) FROM tw", "1::wd", "CAST(t.a AS wd)", "wd(1)",
    "json_populate_record(NULL::td, '{\"d\": 1}')", "pg_input_is_valid('1', 'wd')", "xmlserialize(content x as text)",
    "max(u)", "sum(t)", "w_aggregate(t)", "app.count(u)", "NULLIF(t.a, t.b)", "CASE t.a WHEN t.b THEN 1 END",
    "max(w) FROM tw", "count(DISTINCT w) FROM tw", "'[\"(1)\",\"(2)\"]'::wr", "length(w) FROM tw", "w || '' FROM tw",
    "COALESCE(w, 'x'::text) FROM tw", "json_array(1)", "json_array('1'::text, 'b'::text)", "json_arrayagg(1)",
    "nextval('s')", "setval('s', 9)", "lo_creat(-1)", "pg_notify('a', 'b')", "pg_advisory_lock(1)",
    "pg_advisory_xact_lock(1)", "pg_try_advisory_lock(1)", "set_config('work_mem', '1MB', true)",
    "set_config('jit', 'off', false)", "set_config('role', 'x', true)", "pg_current_xact_id()", "txid_current()",
    "setseed(0.5)", "lo_from_bytea(0, 'x')", "query_to_xml('select w_plain()'," " true, true, '')",
    "table_to_xml('vw', true, true, '')", "pg_logical_emit_message(true, 'a', 'b')", "pg_export_snapshot()",
    "lo_unlink(1)", "ts_stat('select w_plain()')", "cursor_to_xml('c', 1, true, true, '')",
)  # fmt: skip
"""Expressions over `t` and `users u` that write or lock, or may, seen plainly or not."""

"""A token-level generator of SQL: sentences of the constructs that a read may have, with a write somewhere in them.

A source of chance enters, a list of tokens leaves; most sentences are correct SQL about the scratch database. Tables of
productions only, no logic: `<name>` stands for one of the productions of that name.
"""

import random
import re

from tests.fuzz.adapter import HARMLESS
from tests.fuzz.scratch import DISGUISES

__all__ = ["sentence"]

# Shallow ones are more often correct, deep ones meet more of the grammar.
_DEPTHS = (3, 3, 3, 4, 4, 5, 6, 7)

_NAME = re.compile(r"(<[a-z_]+>)")

# Of each list the first is the one that ends a sentence which grows too deep.
_PRODUCTIONS: dict[str, tuple[str, ...]] = {
    "attack": (
        "<write>", "SELECT <disguise> FROM t , users u", "SELECT <disguise> FROM t , users u", "SELECT <disguise>",
        "SELECT a FROM t WHERE <disguise> IS NULL", "SELECT * FROM <disguise> f", "TABLE <relation>", "<settings>",
        "SELECT <into> FROM t", "SELECT a <into> FROM t", "SELECT a FROM t <locking>", "<other>",
        "COPY ( <write> ) TO STDOUT", "EXPLAIN ( <options> ) <write>", "EXPLAIN ( ANALYZE <switch> ) <write>",
        "EXPLAIN ( <options> ) <other>", "WITH x AS ( <write> RETURNING 1 ) SELECT 1 FROM x", "<select> ; <write>",
        "<select> ; <other>", "<copy>", "SELECT ( <column> ) . <column> FROM t , users u",
        "SELECT <harmless> , <disguise> FROM t , users u", "SET <setting> = <value>", "SET ROLE <value>",
        "SELECT set_config ( <literal> , <literal> , true )", "SELECT set_config ( 'role' , 'guest' , false )",
        "SELECT $1 <into> FROM t", "<select> <locking>", "<copy> ; <write>",
    ),
    "text": (
        "<statement>", "<statement>", "<statement>", "<statement>", "<statement>", "<statement> ;",
        "<statement> ; <statement>", "<select> ; <select> ; <select>", "; <statement> ; ;",
        "BEGIN ; <statement> ; COMMIT",
    ),
    "statement": (
        "<select>", "<select>", "<select>", "<select>", "<select>", "<select>", "<select>", "<set_operation>",
        "<explain>", "<explain>", "<copy>", "<settings>", "<show>", "<write>", "<other>",
    ),
    "select": (
        "SELECT <expr>", "SELECT <expr> FROM <from>", "SELECT <expr> <as> FROM <from>",
        "SELECT <expr> , <expr> FROM <from>", "SELECT <expr> FROM <from> WHERE <expr>",
        "SELECT <expr> FROM <from> <tail>", "SELECT * FROM <from>",
        "SELECT <distinct> <expr> FROM <from> ORDER BY <expr>", "SELECT <expr> FROM <from> GROUP BY <group>",
        "SELECT <expr> <into> FROM <from>", "SELECT <expr> <into>", "SELECT <expr> FROM <from> <locking>",
        "TABLE <relation>", "VALUES ( <expr> )", "VALUES ( <expr> , <expr> ) , ( <expr> , <expr> )",
        "WITH <ctes> <select>", "( <select> )", "SELECT <window> FROM <from>", "SELECT <disguise> FROM t , users u",
        "SELECT <disguise> FROM t , users u <tail>", "SELECT FROM <from>", "SELECT <harmless> FROM t , users u",
        "SELECT <json>", "SELECT <harmless>",
    ),
    "set_operation": (
        "SELECT 1 UNION SELECT 2", "<select> UNION ALL <select>", "( <select> ) EXCEPT ( <select> )",
        "<select> INTERSECT <select> ORDER BY 1", "( <select> ) UNION ( <select> ) <tail>",
    ),
    "tail": (
        "", "LIMIT <expr>", "OFFSET <expr>", "ORDER BY <expr> <direction>", "FETCH FIRST ( <expr> ) ROWS ONLY",
        "GROUP BY <group> HAVING <expr>", "<locking>", "WINDOW w AS ( PARTITION BY <expr> )", "LIMIT ALL <locking>",
    ),
    "direction": (
        "", "ASC", "DESC", "USING <operator>", "NULLS FIRST", "USING OPERATOR ( pg_catalog . < )",
    ),
    "locking": (
        "", "FOR UPDATE", "FOR SHARE", "FOR NO KEY UPDATE", "FOR KEY SHARE NOWAIT", "FOR UPDATE SKIP LOCKED",
        "FOR READ ONLY", "FOR UPDATE OF t",
    ),
    "into": (
        "AS into1", "INTO x1", "INTO TEMP x2", "INTO UNLOGGED TABLE x3", '"into"', 'INTO TABLE "x"',
    ),
    "as": (
        "AS <column>", "<column>", 'AS "for update"', 'AS U&"d\\0061t\\+000061"', "AS into", "AS \u00e9", 'AS "$$"',
    ),
    "distinct": (
        "DISTINCT", "ALL", "DISTINCT ON ( <expr> )",
    ),
    "group": (
        "1", "<expr>", "GROUPING SETS ( ( ) , ( <expr> ) )", "ROLLUP ( <expr> )", "DISTINCT CUBE ( <expr> )", "ALL",
    ),
    "ctes": (
        "x AS ( <select> )", "x AS MATERIALIZED ( <select> )", "x ( y ) AS ( <select> )",
        "x AS ( <write> RETURNING 1 )", "RECURSIVE x ( n ) AS ( SELECT 1 UNION ALL SELECT n + 1 FROM x WHERE n < 3 )",
        "x AS ( <select> ) , y AS ( <select> )", "x AS ( <select> ) , y AS ( <write> )",
        "x AS ( WITH z AS ( <write> RETURNING * ) SELECT * FROM z )",
        "RECURSIVE x ( n ) AS ( SELECT 1 UNION ALL SELECT n + 1 FROM x WHERE n < 3 ) SEARCH DEPTH FIRST BY n SET o",
    ),
    "from": (
        "t", "t , users u", "users u", "t AS <column>", "t JOIN users u ON <expr>", "t NATURAL JOIN users u",
        "t LEFT JOIN LATERAL ( <select> ) q ON true", "( <select> ) q", "<relation>", "<function> f", "ONLY ( t )",
        "t *", "ROWS FROM ( <function> , <function> ) WITH ORDINALITY q",
        "t TABLESAMPLE <column> ( 10 ) REPEATABLE ( <expr> )", "t TABLESAMPLE bernoulli ( 50 )", "t CROSS JOIN users u",
        "t JOIN users u USING ( a ) AS j", "app . t", "json_to_record ( '{\"d\": 1}' ) AS q ( d wd )",
        "jsonb_to_recordset ( '[{\"a\": 1}]' ) AS q ( a <type> )",
        "xmltable ( '/a' PASSING '<a />' :: xml COLUMNS c <type> PATH '.' DEFAULT <expr> )",
        "generate_series ( 1 , 3 ) g",
        "json_table ( '[1]' , '$[*]' COLUMNS ( c <type> PATH '$' DEFAULT <expr> ON EMPTY ) ) q",
        "json_table ( '[1]' , '$[*]' PASSING <expr> AS p COLUMNS ( c <type> PATH '$' ) ) q", "<disguise>", "vw",
        "unnest ( <array> ) q", "tp WHERE a > 3",
    ),
    "relation": (
        "t", "users", "app . t", "public . users", '"t"', "vw", "app . over", "ti", "guarded", "vl", "vp", "mv", "s",
        "td", "tw", "plain_view", "\u00e9", "pg_class", "pg_catalog . pg_settings", "pg_stat_activity",
        "information_schema . tables", "pg_cursors", "pg_locks", "pg_prepared_statements", "pg_timezone_abbrevs",
        "pg_stats", "fuzz . public . t", 'U&"\\0074"',
    ),
    "column": (
        "a", "b", "id", "name", "admin", "x", '"A"', "\u00e9", "n", "q", "t", "u", "into", "update", "delete", "system",
        "w_attr",
    ),
    "expr": (
        "1", "<literal>", "<literal>", "a", "t . a", "u . name", "<column>", "<column> . <column>",
        "<expr> <operator> <expr>", "<expr> <operator> <expr>", "<operator> <expr>", "( <expr> )", "( <select> )",
        "EXISTS ( <select> )", "ARRAY ( <select> )", "<array>", "<function>", "<function>", "<disguise>",
        "<expr> :: <type>", "CAST ( <expr> AS <type> )", "<type> <literal>",
        "CASE <expr> WHEN <expr> THEN <expr> ELSE <expr> END", "CASE WHEN <expr> THEN <expr> END",
        "<expr> IN ( <expr> , <expr> )", "<expr> IN ( <select> )", "<expr> <operator> ANY ( <array> )",
        "<expr> <operator> ALL ( <select> )", "<expr> BETWEEN <expr> AND <expr>", "<expr> IS NOT DISTINCT FROM <expr>",
        "<expr> LIKE <expr> ESCAPE <literal>", "<expr> SIMILAR TO <expr>", "NOT <expr>", "<expr> AND <expr>",
        "<expr> OR <expr>", "ROW ( <expr> , <expr> )", "( <expr> , <expr> ) = ( <expr> , <expr> )", "<expr> IS NULL",
        "COALESCE ( <expr> , <expr> )", "NULLIF ( <expr> , <expr> )", "GREATEST ( <expr> , <expr> )",
        "( <expr> ) . <column>", "( <column> ) . <column>", "( t ) . *", "<expr> [ <expr> ]",
        "<expr> [ <expr> : <expr> ]", '<expr> COLLATE "C"', "<json>", "<xml>", "<expr> AT TIME ZONE <expr>",
        "<expr> IS JSON", "<expr> ISNULL", "( <expr> , <expr> ) OVERLAPS ( <expr> , <expr> )", "<window>",
        "<expr> OPERATOR ( public . === ) <expr>", "<expr> OPERATOR ( pg_catalog . + ) <expr>", "<expr> IS DOCUMENT",
        "$1", "$2", "EXTRACT ( year FROM <expr> )", "CURRENT_DATE", "CURRENT_USER", "SYSTEM_USER", "DEFAULT", "t . *",
        "<expr> AT LOCAL", "+ <expr>",
    ),
    "operator": (
        "=", "<", ">", "<=", "<>", "!=", "+", "-", "*", "/", "%", "^", "||", "~", "!~*", "~~", "@>", "<@", "&&", "->",
        "->>", "#>", "#-", "@@", "<->", "===", "@", "|/", "@-@", "?|", "##", "!!", "&<|", "-|-", "<<", "|", "&", "#",
        "@?",
    ),
    "literal": (
        "1", "'x'", "0", "-1", "1.5", "1e3", ".5", "0x1F", "0b11", "0o17", "1_000", "NULL", "true", "'a'", "''", "'1'",
        "'{1,2}'", "'{\"a\": 1}'", "'<a/>'", "'t'", "'2020-01-01'", "E'\\x41'", "E'\\''", "U&'\\0041'",
        "U&'!0041' UESCAPE '!'", "$$x$$", "$q$ x $q$", "B'101'", "X'1F'", "N'x'", "'a'\n'b'", "'; DELETE FROM t; --'",
        "$$; DELETE FROM t; --$$", "'\\'", "E'\\\\'", "'users'", "'pg_class'", "'public.w_plain'", "'w_plain()'",
        "'$.a'", "'(1,2)'", "'[1,3)'", "'1 day'", "'10.0.0.1'", "'select w_plain()'", "'now'", "'ok'", "'(1)'",
        "'work_mem'",
    ),
    "type": (
        "int", "text", "wd", "wt", "wr", "mood", "json", "jsonb", "date", "numeric ( 5 , 2 )", "timestamptz",
        "interval year to month", "oid", "bytea", "regclass", "regproc", "regprocedure", "xml", "int [ ]", "wt [ ]",
        "wd [ ]", "text [ 3 ]", "int ARRAY", "char", '"char"', "bit varying ( 3 )", "pg_catalog . int4", "public . wd",
        "td", "users", "t . a % TYPE", "name", "box", "point", "int4range", "tsvector", "tsquery", "float ( 3 )",
        "double precision", "national character varying ( 3 )", "time ( 2 ) with time zone", "record", "SETOF int",
        "jsonpath", "pg_lsn", "inet",
    ),
    "array": (
        "ARRAY [ 1 , 2 ]", "ARRAY [ <expr> ]", "'{1}' :: int [ ]", "ARRAY [ ] :: text [ ]",
        "ARRAY [ [ 1 ] , [ <expr> ] ]",
    ),
    "function": (
        "now ( )", "<harmless>", "<harmless>", "<harmless>", "count ( * )", "pg_catalog . <harmless>",
        "sum ( DISTINCT <expr> )", "max ( <expr> ) FILTER ( WHERE <expr> )", "string_agg ( b , ',' ORDER BY a )",
        "concat ( VARIADIC <array> )", "percentile_disc ( 0.5 ) WITHIN GROUP ( ORDER BY <expr> )",
        "TRIM ( BOTH <expr> FROM <expr> )", "SUBSTRING ( <expr> FROM <expr> FOR <expr> )",
        "OVERLAY ( <expr> PLACING <expr> FROM <expr> )", "POSITION ( <expr> IN <expr> )",
        "make_interval ( days => <expr> )", "COLLATION FOR ( <expr> )", "NORMALIZE ( 'a' , NFC )", "<disguise>",
        'U&"\\006eow" ( )', '"now" ( )', "fuzz . pg_catalog . now ( )", "\"nextval\" ( 's' )",
        "U&\"next\\0076al\" ( 's' )", "max ( <column> )",
    ),
    "window": (
        "count ( * ) OVER ( )",
        "sum ( <expr> ) OVER ( PARTITION BY <expr> ORDER BY <expr> ROWS BETWEEN <expr> PRECEDING AND CURRENT ROW )",
        "lag ( <expr> ) OVER ( ORDER BY <expr> )",
    ),
    "json": (
        "JSON_OBJECT ( 'a' : 1 )", "JSON_OBJECT ( <expr> VALUE <expr> ABSENT ON NULL RETURNING <type> )",
        "JSON_ARRAY ( <expr> , <expr> )", "JSON_ARRAY ( <select> RETURNING <type> )",
        "JSON_ARRAYAGG ( <expr> ORDER BY <expr> )", "JSON_OBJECTAGG ( <expr> : <expr> )", "JSON ( <expr> )",
        "JSON_SCALAR ( <expr> )", "JSON_SERIALIZE ( <expr> )", "JSON_EXISTS ( <expr> , <expr> )",
        "JSON_VALUE ( <expr> , <expr> RETURNING <type> DEFAULT <expr> ON ERROR )",
        "JSON_QUERY ( <expr> , <expr> PASSING <expr> AS p RETURNING <type> )", "JSON_QUERY ( <expr> , <expr> )",
        "JSON_VALUE ( <expr> , <expr> )", "JSON_SERIALIZE ( <expr> RETURNING <type> )", "JSON_SCALAR ( 1 )",
        "JSON_EXISTS ( '1' , '$' )", "MERGE_ACTION ( )", "JSON ( '1' )",
    ),
    "xml": (
        "XMLELEMENT ( NAME a , <expr> )", "XMLFOREST ( <expr> AS a )", "XMLPARSE ( CONTENT <expr> )",
        "XMLSERIALIZE ( CONTENT <expr> AS <type> )", "XMLPI ( NAME a , <expr> )", "XMLEXISTS ( <expr> PASSING <expr> )",
        "XMLCONCAT ( <expr> , <expr> )", "XMLROOT ( <expr> , VERSION NO VALUE )",
    ),
    "explain": (
        "EXPLAIN <select>", "EXPLAIN <write>", "EXPLAIN ANALYZE <select>", "EXPLAIN ANALYZE VERBOSE <write>",
        "EXPLAIN ( <options> ) <write>", "EXPLAIN ( <options> ) <select>", "EXPLAIN ( <select> )",
        "EXPLAIN ( <options> , <options> ) <write>", "EXPLAIN VERBOSE ( <select> )",
        "EXPLAIN ( <options> , ANALYZE <switch> , ANALYZE <switch> ) <write>", "EXPLAIN EXECUTE p",
        "EXPLAIN DECLARE c CURSOR FOR <select>", "EXPLAIN ( ANALYZE ) CREATE TABLE x5 AS <select>",
        "EXPLAIN ( ANALYZE ) REFRESH MATERIALIZED VIEW mv", "EXPLAIN ANALYSE <write>",
    ),
    "options": (
        "COSTS off", "ANALYZE <switch>", '"analyze" <switch>', "ANALYSE <switch>", "VERBOSE", "FORMAT json",
        "BUFFERS <switch>", "GENERIC_PLAN", "SERIALIZE text", 'U&"analy\\007ae" <switch>', '"ANALYZE"', "WAL , ANALYZE",
        "TIMING <switch>",
    ),
    "switch": (
        "", "off", "on", "0", "1", "'false'", "'true'", "false", "true", "'OFF'", "2", "-1", "'0'", "1.0", "00",
        '"false"', "'of'", "0x0",
    ),
    "copy": (
        "COPY t TO STDOUT", "COPY ( <select> ) TO STDOUT", "COPY ( <write> RETURNING * ) TO STDOUT",
        "COPY ( <select> ) TO STDOUT ( FORMAT csv , HEADER <switch> )", "COPY t ( a ) TO STDOUT WITH CSV",
        "COPY t FROM STDIN", "COPY BINARY t TO STDOUT", "COPY vw TO STDOUT",
        "COPY ( <select> ) TO STDOUT WITH ( FORMAT <column> )", "COPY mv TO STDOUT",
    ),
    "settings": (
        "SET work_mem = '1MB'", "SET LOCAL <setting> = <value>", "SET SESSION <setting> TO <value>", "RESET <setting>",
        "RESET ALL", "SET TIME ZONE <value>", "SET <setting> = <value> ; <select>", "SET <setting> = DEFAULT",
        "SET <setting> FROM CURRENT", "SET NAMES <value>", "SET ROLE <value>", "SET XML OPTION CONTENT",
        "SET SCHEMA <literal>", "SET SEED TO 0.5", "SET search_path = app , public",
        "SET SESSION AUTHORIZATION DEFAULT", "SET search_path TO <value> ; <select>",
    ),
    "setting": (
        "datestyle", "work_mem", "jit", "enable_seqscan", "search_path", "extra_float_digits", "client_min_messages",
        "bytea_output", "pgnotary.reason", "timezone", '"JIT"', "role", "session_authorization",
        "transaction_read_only", "default_transaction_read_only", "standard_conforming_strings", "enable_.x", "app.x",
        "lc_messages", "transaction_isolation", "seed", "xmloption", "default_transaction_isolation",
        "session_replication_role", "check_function_bodies", "zero_damaged_pages", "log_statement",
    ),
    "value": (
        "'1'", "on", "off", "DEFAULT", "'x'", "app", "guest", "'guest'", "public , app", "0", "'UTC'", "LOCAL",
        "INTERVAL '1' HOUR", "'UTF8'", "none", "1", "app , pg_catalog", "'\"$user\", app'",
    ),
    "show": (
        "SHOW ALL", "SHOW work_mem", "SHOW <setting>", "SHOW TIME ZONE", "SHOW TRANSACTION ISOLATION LEVEL",
        "SHOW SESSION AUTHORIZATION", "SHOW seed",
    ),
    "write": (
        "DELETE FROM t", "DELETE FROM t WHERE <expr>", "INSERT INTO t VALUES ( 9 , <expr> )", "INSERT INTO t <select>",
        "UPDATE t SET b = <expr>", "INSERT INTO t DEFAULT VALUES", "INSERT INTO tdef DEFAULT VALUES", "DELETE FROM vp",
        "UPDATE t SET ( a , b ) = ( <select> )",
        "MERGE INTO t USING users u ON t . a = u . id WHEN MATCHED THEN DELETE",
        "DELETE FROM t USING users u WHERE <expr>",
        "INSERT INTO t VALUES ( 1 , 'x' ) ON CONFLICT ( a ) DO UPDATE SET b = <expr>",
        "MERGE INTO t USING users u ON <expr> WHEN NOT MATCHED THEN INSERT VALUES ( 9 , <expr> )",
        "WITH <ctes> DELETE FROM t", "UPDATE t SET a [ 1 ] = 1", "DELETE FROM ONLY t RETURNING w_plain ( )",
        "UPDATE t SET a = DEFAULT", "TRUNCATE t", "CREATE TABLE x4 AS <select>", "DROP TABLE t",
        "CREATE TEMP VIEW v5 AS <select>",
    ),
    "other": (
        "LISTEN a", "NOTIFY a", "PREPARE p AS <select>", "PREPARE p AS <write>", "EXECUTE p",
        "DECLARE c CURSOR FOR <select>", "DECLARE c CURSOR WITH HOLD FOR <select>", "FETCH c", "MOVE c", "CLOSE ALL",
        "DEALLOCATE ALL", "DISCARD TEMP", "LOCK t", "CALL w_procedure ( )", "DO 'begin perform w_plain(); end'",
        "ANALYZE t", "CREATE TEMP TABLE x6 ( a int )", "GRANT SELECT ON t TO PUBLIC", "COMMENT ON TABLE t IS 'x'",
        "REFRESH MATERIALIZED VIEW mv", "DISCARD PLANS", "DISCARD SEQUENCES", "UNLISTEN *",
        "SET CONSTRAINTS ALL IMMEDIATE", "CHECKPOINT", "LOCK TABLE t IN ACCESS SHARE MODE", "CREATE INDEX ON t ( b )",
        "ALTER TABLE t ADD c int", "REINDEX TABLE t", "SECURITY LABEL ON TABLE t IS 'x'",
        "SAVEPOINT a ; <select> ; RELEASE a", "DELETE FROM t", "IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c",
    ),
}  # fmt: skip

_CALLABLE = sorted(name for name in HARMLESS if not name.startswith("pg_sleep"))
_ARGUMENTS: tuple[str, ...] = (
    "",
    "<expr>",
    "<literal>",
    "<literal> , <literal>",
    "<expr> , <expr>",
    "t",
    "<literal> , <literal> , <literal>",
)
_ARGUMENTS += (
    "NULL :: td , <literal>",
    "<array>",
    "<literal> :: <type>",
    "<literal> :: <type> , <literal> :: <type>",
    "u",
    "w_plain ( )",
)


def sentence(chance: random.Random) -> list[str]:
    """Return the tokens of one text; one in four is short and sure to have a write, seen plainly or not."""
    tokens: list[str] = []
    deepest = chance.choice(_DEPTHS)
    # What is still to be said, last first, each with its depth.
    pending = [(chance.choice(("<text>", "<text>", "<text>", "<attack>")), 0)]
    while pending and len(tokens) < 300:
        symbol, depth = pending.pop()
        if not _NAME.fullmatch(symbol):
            tokens.extend(
                symbol.split(" ") if "'" not in symbol and "$" not in symbol and '"' not in symbol else [symbol]
            )
            continue
        production = _production(symbol[1:-1], deepest - depth, chance)
        pieces = [piece.strip(" ") for piece in _NAME.split(production)]
        pending.extend((piece, depth + 1) for piece in reversed(pieces) if piece)
    return [token for token in tokens if token]


def _production(name: str, room: int, chance: random.Random) -> str:
    if name == "disguise":
        return chance.choice(DISGUISES)
    if name == "harmless":
        arguments = chance.choice(_ARGUMENTS) if room >= 0 else ""
        return f"{chance.choice(_CALLABLE)} ( {arguments} )"
    choices = _PRODUCTIONS[name]
    return choices[0] if room < 0 else chance.choice(choices)

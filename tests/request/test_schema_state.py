"""The question itself, on a real server: whatever decides what a statement does is in its answer, and nothing else is.

All of it happens in one transaction that is undone, roles and databases too: a change is made and taken back.
"""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.versions import need

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.reading import read
from pgnotary.request.schema_state import difference, read_schema_state, schema_question

SCHEMA = """
CREATE ROLE app; CREATE ROLE boss; CREATE ROLE other; CREATE ROLE team; CREATE ROLE staff;
CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x');
CREATE TABLE u (id int, b text); CREATE TABLE unrelated (id int);
CREATE VIEW v AS SELECT id, a FROM t;
CREATE FUNCTION safe(int) RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN $1; END $$;

CREATE FOREIGN DATA WRAPPER wrapper OPTIONS (debug 'off');
CREATE SERVER files FOREIGN DATA WRAPPER wrapper OPTIONS (host 'a'); CREATE SERVER spare FOREIGN DATA WRAPPER wrapper;
CREATE USER MAPPING FOR CURRENT_USER SERVER files OPTIONS (password 'secret');
CREATE FOREIGN TABLE far (id int OPTIONS (name 'id'), a text) SERVER files OPTIONS (path '/a');
CREATE VIEW far_view AS SELECT id FROM far;

CREATE TYPE mood AS ENUM ('sad', 'fine'); CREATE DOMAIN some_mood AS mood DEFAULT 'sad';
CREATE TABLE moods (id int, m mood, many mood[], d some_mood);

CREATE COLLATION mine FROM "C"; CREATE TABLE sorted (id int, a text COLLATE mine);

CREATE TEXT SEARCH DICTIONARY words (template = simple);
CREATE TEXT SEARCH CONFIGURATION cfg (copy = simple);
ALTER TEXT SEARCH CONFIGURATION cfg ALTER MAPPING FOR asciiword WITH words;
CREATE TABLE docs (id int, body text, found tsvector GENERATED ALWAYS AS (to_tsvector('cfg', body)) STORED);
CREATE TABLE notes (id int, body text, found tsvector);
CREATE TRIGGER fill BEFORE UPDATE ON notes FOR EACH ROW
  EXECUTE FUNCTION tsvector_update_trigger(found, 'public.cfg', body);

CREATE TABLE guarded (id int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON guarded TO team USING (id > 0);
CREATE VIEW over_guarded AS SELECT id FROM guarded; ALTER VIEW over_guarded OWNER TO boss;

CREATE TABLE top (id int PRIMARY KEY); CREATE TABLE below (id int PRIMARY KEY, top int REFERENCES top);
CREATE TABLE split (id int) PARTITION BY RANGE (id);
CREATE TABLE low PARTITION OF split FOR VALUES FROM (0) TO (10);
CREATE TABLE lower (id int) PARTITION BY RANGE (id); CREATE TABLE lowest PARTITION OF lower FOR VALUES FROM (0) TO (5);
ALTER TABLE split ATTACH PARTITION lower FOR VALUES FROM (-10) TO (0);

CREATE SEQUENCE seq; CREATE TABLE numbered (id int DEFAULT nextval('seq'), n int GENERATED ALWAYS AS IDENTITY, a text);

CREATE FUNCTION on_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION made(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION joined(int, int) RETURNS int LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION to_mood(int) RETURNS mood LANGUAGE sql AS $$ SELECT 'sad'::mood $$;
CREATE FUNCTION on_event() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE FUNCTION inner_one() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM u; RETURN 1; END $$;
CREATE PROCEDURE clean(int) LANGUAGE plpgsql AS $$ BEGIN DELETE FROM t WHERE id = inner_one(); END $$;
CREATE TABLE "Odd name" (id int);
CREATE PROCEDURE odd() LANGUAGE plpgsql AS $$ BEGIN DELETE FROM "Odd name"; END $$;
CREATE PROCEDURE sets() LANGUAGE plpgsql SET search_path = away AS $$ BEGIN DELETE FROM far_off; END $$;
CREATE PROCEDURE feels() LANGUAGE plpgsql AS $$ BEGIN UPDATE moods SET m = 'sad'; END $$;
CREATE PROCEDURE searches() LANGUAGE plpgsql AS $$ BEGIN DELETE FROM t WHERE to_tsvector(a) @@ 'x'; END $$;
ALTER FUNCTION safe OWNER TO other;
CREATE FUNCTION cleans() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM u; END $$;
CREATE FUNCTION audits() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO u VALUES (1); RETURN NEW; END $$;
CREATE TABLE audited (id int); CREATE TRIGGER x BEFORE UPDATE ON audited FOR EACH ROW EXECUTE FUNCTION audits();
CREATE SCHEMA away; CREATE TABLE away.far_off (id int);
CREATE TABLE away.owned (id int); ALTER TABLE away.owned OWNER TO staff;

CREATE FUNCTION less(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 - $2';
CREATE OPERATOR CLASS odd_ops FOR TYPE int USING btree AS
  OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 less(int, int);
CREATE TABLE keyed (id int, b int); CREATE UNIQUE INDEX ON keyed (id odd_ops);
CREATE PUBLICATION pub FOR TABLE t;
CREATE EVENT TRIGGER cleaning ON ddl_command_end EXECUTE FUNCTION cleans();
ALTER EVENT TRIGGER cleaning DISABLE;
"""
LOUD = "CREATE OR REPLACE FUNCTION {} AS $$ BEGIN DELETE FROM t; RETURN {}; END $$"
ROW = LOUD.format("on_row() RETURNS trigger LANGUAGE plpgsql", "NEW")
ONE = "CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 2'"
MADE = "CREATE OR REPLACE FUNCTION made(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1'"
U = "ALTER TABLE u ENABLE ROW LEVEL SECURITY"
INNER = "CREATE OR REPLACE FUNCTION inner_one() RETURNS int LANGUAGE sql AS 'SELECT 2'"
CAST = (
    "CREATE FUNCTION of_mood(mood) RETURNS int LANGUAGE sql AS 'SELECT 9'; "
    "CREATE CAST (mood AS int) WITH FUNCTION of_mood(mood)"
)
MAPPED = "ALTER TEXT SEARCH CONFIGURATION cfg DROP MAPPING FOR asciiword"
# What is changed, by the kind of it: a statement, the change, and how it is told.
KINDS = {
    # Foreign tables.
    "options of a foreign table": (
        "DELETE FROM far WHERE id = 1",
        "ALTER FOREIGN TABLE far OPTIONS (SET path '/b')",
        "options of public.far",
    ),
    "options of its columns": (
        "DELETE FROM far WHERE id = 1",
        "ALTER FOREIGN TABLE far ALTER id OPTIONS (SET name 'x')",
        "columns of public.far",
    ),
    "options of a server": ("DELETE FROM far", "ALTER SERVER files OPTIONS (SET host 'b')", "the server files"),
    "a server behind a view": ("UPDATE far_view SET id = 1", "ALTER SERVER files VERSION '2'", "the server files"),
    "options of a wrapper": (
        "DELETE FROM far",
        "ALTER FOREIGN DATA WRAPPER wrapper OPTIONS (SET debug 'on')",
        "the foreign-data wrapper wrapper",
    ),
    "options of one's user mapping": (
        "DELETE FROM far",
        "ALTER USER MAPPING FOR CURRENT_USER SERVER files OPTIONS (SET password 'guess')",
        "the user mappings of files",
    ),
    "another user mapping": (
        "DELETE FROM far",
        "CREATE USER MAPPING FOR PUBLIC SERVER files",
        "the user mappings of files",
    ),
    # Views and owners.
    "who a view asks as": (
        "UPDATE v SET a = 'y'",
        "ALTER VIEW v SET (security_barrier = true)",
        "options of public.v",
    ),
    "what a view checks": ("UPDATE v SET a = 'y'", "ALTER VIEW v SET (check_option = local)", "options of public.v"),
    "who owns a view": ("UPDATE v SET a = 'y'", "ALTER VIEW v OWNER TO boss", "owner of public.v"),
    "who owns a table under a view": ("UPDATE v SET a = 'y'", "ALTER TABLE t OWNER TO boss", "owner of public.t"),
    "who owns a function": ("SELECT safe(1)", "ALTER FUNCTION safe OWNER TO boss", "the function safe"),
    # Enumerations.
    "a label's name": (
        "UPDATE moods SET m = 'fine'",
        "ALTER TYPE mood RENAME VALUE 'fine' TO 'glad'",
        "the labels of public.mood",
    ),
    "a label before others": (
        "UPDATE moods SET id = 1 WHERE m > 'sad'",
        "ALTER TYPE mood ADD VALUE 'bad' BEFORE 'sad'",
        "the labels of public.mood",
    ),
    "a label of a type that is named": (
        "DELETE FROM t WHERE a::mood = 'fine'",
        "ALTER TYPE mood RENAME VALUE 'fine' TO 'glad'",
        "the labels of public.mood",
    ),
    "a label of what a function takes": (
        "DELETE FROM t WHERE to_mood(id) = 'sad'",
        "ALTER TYPE mood RENAME VALUE 'fine' TO 'glad'",
        "the labels of public.mood",
    ),
    "a default of a domain": (
        "UPDATE moods SET d = DEFAULT",
        "ALTER DOMAIN some_mood SET DEFAULT 'fine'",
        "the domain public.some_mood",
    ),
    "a check of a domain": (
        "UPDATE moods SET d = 'sad'",
        "ALTER DOMAIN some_mood ADD CHECK (VALUE > 'sad')",
        "the domain public.some_mood",
    ),
    # Collations and text search.
    "a collation that is named": (
        "DELETE FROM t WHERE a > 'b' COLLATE \"mine\"",
        'ALTER COLLATION mine RENAME TO old; CREATE COLLATION mine FROM "POSIX"',
        "the collation public.mine",
    ),
    "a collation that is made": (
        "DELETE FROM t WHERE a > 'b' COLLATE \"new\"",
        'CREATE COLLATION new FROM "POSIX"',
        "the collation public.new",
    ),
    "a collation of a column": (
        "DELETE FROM sorted WHERE a > 'b'",
        "ALTER COLLATION mine RENAME TO old",
        "the collation public.old",
    ),
    "a configuration that is named": (
        "DELETE FROM t WHERE to_tsvector('cfg', a) @@ 'x'",
        MAPPED,
        "the text search configuration public.cfg",
    ),
    "a configuration that is bound": (
        "DELETE FROM t WHERE to_tsvector($1, a) @@ 'x'",
        MAPPED,
        "the text search configuration public.cfg",
    ),
    "the usual configuration": (
        "DELETE FROM t WHERE to_tsvector(a) @@ 'x'",
        "SET LOCAL default_text_search_config = 'public.cfg'",
        "default_text_search_config",
    ),
    "a dictionary": (
        "DELETE FROM t WHERE to_tsvector('cfg', a) @@ 'x'",
        "ALTER TEXT SEARCH DICTIONARY words (accept = false)",
        "the text search dictionary public.words",
    ),
    "a configuration of a generated column": (
        "UPDATE docs SET body = 'x'",
        MAPPED,
        "the text search configuration public.cfg",
    ),
    "a dictionary of a generated column": (
        "UPDATE docs SET body = 'x'",
        "ALTER TEXT SEARCH DICTIONARY words (accept = false)",
        "the text search dictionary public.words",
    ),
    "a configuration in a trigger's arguments": (
        "UPDATE notes SET body = 'x'",
        MAPPED,
        "the text search configuration public.cfg",
    ),
    # Roles, where row security decides.
    "a role that row security does not stop": (
        "DELETE FROM guarded",
        "ALTER ROLE app BYPASSRLS",
        "attributes of the role app",
    ),
    "a role that is all-powerful": ("DELETE FROM guarded", "ALTER ROLE app SUPERUSER", "attributes of the role app"),
    "a role that joins": ("DELETE FROM guarded", "GRANT team TO app", "memberships of the role app"),
    "a role that joins what has joined": (
        "DELETE FROM guarded",
        "GRANT team TO staff; GRANT staff TO app",
        "memberships of the role app",
    ),
    "the owner of a view over row security": (
        "DELETE FROM over_guarded",
        "GRANT team TO boss",
        "memberships of the role boss",
    ),
    "a role where the text asks": (
        "DELETE FROM t WHERE pg_has_role('team', 'member')",
        "GRANT team TO app",
        "memberships of the role app",
    ),
    # Foreign keys.
    "a foreign key that is switched off": (
        "DELETE FROM top",
        "ALTER TABLE top DISABLE TRIGGER ALL",
        "triggers of public.top",
    ),
    "one that is checked no more": (
        "UPDATE below SET top = 3",
        "ALTER TABLE below DISABLE TRIGGER ALL",
        "triggers of public.below",
    ),
    "one that may wait": (
        "DELETE FROM top",
        "ALTER TABLE below ALTER CONSTRAINT below_top_fkey DEFERRABLE INITIALLY DEFERRED",
        "constraints of public.top",
    ),
    # Partitions.
    "bounds of a partition": (
        "UPDATE split SET id = 1",
        "ALTER TABLE split DETACH PARTITION low; ALTER TABLE split ATTACH PARTITION low FOR VALUES FROM (0) TO (20)",
        "partitions of public.low",
    ),
    "bounds of what a partition is in": (
        "UPDATE lowest SET id = 1",
        "ALTER TABLE split DETACH PARTITION lower; "
        "ALTER TABLE split ATTACH PARTITION lower FOR VALUES FROM (-20) TO (0)",
        "partitions of public.lowest",
    ),
    "a partition less": ("DELETE FROM split", "ALTER TABLE split DETACH PARTITION low", "partitions of public.split"),
    # Sequences.
    "a sequence of a default": (
        "UPDATE numbered SET id = DEFAULT",
        "ALTER SEQUENCE seq INCREMENT 7",
        "sequences of public.numbered",
    ),
    "a sequence of an identity": (
        "INSERT INTO numbered DEFAULT VALUES",
        "ALTER TABLE numbered ALTER n SET INCREMENT 7",
        "sequences of public.numbered",
    ),
    "a sequence that is named": (
        "UPDATE t SET id = nextval('public.seq')",
        "ALTER SEQUENCE seq INCREMENT 7",
        "sequences of public.seq",
    ),
    # Classes of operators.
    "what a class of operators calls": (
        "INSERT INTO keyed VALUES (1, 1) ON CONFLICT (id) DO NOTHING",
        "CREATE OR REPLACE FUNCTION less(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 0'",
        "the function public.less(integer, integer), called by others",
    ),
    "a class of operators": (
        "INSERT INTO keyed VALUES (1, 1)",
        "ALTER OPERATOR CLASS odd_ops USING btree RENAME TO even_ops",
        "the operator class public.even_ops USING btree",
    ),
    # Roles, databases and the like that DDL names.
    "a role that is granted to": (
        "GRANT SELECT ON t TO boss",
        "ALTER ROLE boss RENAME TO old; ALTER ROLE other RENAME TO boss",
        "the role boss",
    ),
    "what a granted role may do": ("GRANT boss TO app", "ALTER ROLE boss CREATEROLE", "the role boss"),
    "what a granted role belongs to": ("GRANT boss TO app", "GRANT team TO boss", "the role boss"),
    "a role that is dropped": (
        "DROP ROLE other",
        "ALTER ROLE other RENAME TO old; CREATE ROLE other",
        "the role other",
    ),
    "a role that is made": ("CREATE ROLE late", "CREATE ROLE late", "the role late"),
    "a role that is altered": ("ALTER ROLE other SUPERUSER", "ALTER ROLE other REPLICATION", "the role other"),
    "what a role owns": (
        "REASSIGN OWNED BY staff TO boss",
        "ALTER TABLE u OWNER TO staff",
        "what is of the role staff",
    ),
    "what a role owns that is dropped": (
        "DROP OWNED BY staff",
        "ALTER TABLE away.far_off OWNER TO staff",
        "what is of the role staff",
    ),
    "a database that is dropped": (
        "DROP DATABASE template1",
        "ALTER DATABASE template1 RENAME TO old",
        "the database template1",
    ),
    "who owns a database": (
        "ALTER DATABASE postgres SET work_mem = '4MB'",
        "ALTER DATABASE postgres OWNER TO boss",
        "the database postgres",
    ),
    "a schema": (
        "ALTER SCHEMA away OWNER TO boss",
        "ALTER SCHEMA away RENAME TO old; CREATE SCHEMA away",
        "the schema away",
    ),
    "what is in a schema": (
        "GRANT SELECT ON ALL TABLES IN SCHEMA away TO boss",
        "CREATE TABLE away.new (id int)",
        "what is in the schema away",
    ),
    "a server that is altered": (
        "ALTER SERVER files OPTIONS (SET host 'c')",
        "ALTER SERVER files OPTIONS (SET host 'b')",
        "the server files",
    ),
    "a server that is dropped": (
        "DROP SERVER spare",
        "ALTER SERVER spare RENAME TO old; CREATE SERVER spare FOREIGN DATA WRAPPER wrapper",
        "the server spare",
    ),
    "a publication": (
        "ALTER PUBLICATION pub ADD TABLE u",
        "ALTER PUBLICATION pub SET (publish = 'insert')",
        "the publication pub",
    ),
    # What DDL calls and reads.
    "what a trigger will call": (
        "CREATE TRIGGER q BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION on_row()",
        ROW,
        "the function on_row",
    ),
    "what an event trigger will call": (
        "CREATE EVENT TRIGGER q ON ddl_command_end EXECUTE FUNCTION on_event()",
        "CREATE OR REPLACE FUNCTION on_event() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN DROP TABLE t; END $$",
        "the function on_event",
    ),
    "what an operator will call": (
        "CREATE OPERATOR ### (leftarg = int, rightarg = int, function = joined)",
        "CREATE OR REPLACE FUNCTION joined(int, int) RETURNS int LANGUAGE sql AS 'SELECT $2'",
        "the function joined",
    ),
    "what a cast will call": (
        "CREATE CAST (int AS mood) WITH FUNCTION to_mood(int)",
        "CREATE OR REPLACE FUNCTION to_mood(int) RETURNS mood LANGUAGE sql AS $$ SELECT 'fine'::mood $$",
        "the function to_mood",
    ),
    "what an aggregate will call": (
        "CREATE AGGREGATE total(int) (sfunc = joined, stype = int)",
        "CREATE OR REPLACE FUNCTION joined(int, int) RETURNS int LANGUAGE sql AS 'SELECT $2'",
        "the function joined",
    ),
    "what a default will call": ("ALTER TABLE t ADD n int DEFAULT one()", ONE, "the function one"),
    "what an index will call": ("CREATE INDEX ON t (made(id))", MADE, "the function made"),
    "a class of operators of an index": (
        "CREATE INDEX ON t (id odd_ops)",
        "CREATE OR REPLACE FUNCTION less(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 0'",
        "the function public.less(integer, integer), called by others",
    ),
    "a type of a new column": (
        "ALTER TABLE t ADD m mood DEFAULT 'sad'",
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'low'",
        "the labels of public.mood",
    ),
    "what a view will read": ("CREATE VIEW w AS SELECT * FROM u", U, "row security of public.u"),
    "what a rule will do": ("CREATE RULE r AS ON DELETE TO t DO ALSO DELETE FROM u", U, "row security of public.u"),
    "what a policy will read": (
        "CREATE POLICY q ON t USING (id IN (SELECT id FROM u))",
        U,
        "row security of public.u",
    ),
    "whose trigger is dropped": (
        "DROP TRIGGER x ON audited",
        "ALTER TABLE audited ADD b int",
        "columns of public.audited",
    ),
    "what is told of a table": ("COMMENT ON TABLE public.u IS 'x'", "ALTER TABLE u ADD c int", "columns of public.u"),
    "whose owner is another one": ("ALTER TABLE u OWNER TO boss", "ALTER TABLE u ADD c int", "columns of public.u"),
    "a configuration that is altered": (
        "ALTER TEXT SEARCH CONFIGURATION cfg ADD MAPPING FOR word WITH simple",
        MAPPED,
        "the text search configuration public.cfg",
    ),
    # Code in texts.
    "a table in a block of code": ("DO $$ BEGIN DELETE FROM u; END $$", U, "row security of public.u"),
    "a table of another schema in one": (
        "DO $$ BEGIN DELETE FROM away.far_off; END $$",
        "ALTER TABLE away.far_off ADD b int",
        "columns of away.far_off",
    ),
    "a function in one": ("DO $$ BEGIN PERFORM inner_one(); END $$", INNER, "the function inner_one"),
    "a table in a text in one": ("DO $$ BEGIN EXECUTE 'DELETE FROM u'; END $$", U, "row security of public.u"),
    "a table behind a function in one": ("DO $$ BEGIN PERFORM inner_one(); END $$", U, "row security of public.u"),
    "a table in a procedure": ("CALL clean(1)", "ALTER TABLE t ADD b int", "columns of public.t"),
    "a function in a procedure": ("CALL clean(1)", INNER, "the function public.inner_one(), called by others"),
    "a table behind a function in a procedure": ("CALL clean(1)", U, "row security of public.u"),
    "a table with an odd name in one": (
        "CALL odd()",
        'ALTER TABLE "Odd name" ADD b int',
        'columns of public."Odd name"',
    ),
    "a table that code names before there is one": (
        "DO $$ BEGIN DELETE FROM later; END $$",
        "CREATE TABLE later (id int)",
        "public.later",
    ),
    "a table in the schemas that a function sets": (
        "CALL sets()",
        "ALTER TABLE away.far_off ADD b int",
        "columns of away.far_off",
    ),
    "a table in quotes in one": (
        """DO $$ BEGIN DELETE FROM "away"."far_off"; END $$""",
        "ALTER TABLE away.far_off ADD b int",
        "columns of away.far_off",
    ),
    "a table in a text in a text": (
        "DO $$ BEGIN EXECUTE $q$DO $r$BEGIN DELETE FROM u$r$; END$q$; END $$",
        U,
        "row security of public.u",
    ),
    "a label that a body says": (
        "CALL feels()",
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'low'",
        "the labels of public.mood",
    ),
    "a configuration that a body may use": ("CALL searches()", MAPPED, "the text search configuration public.cfg"),
    "what an event trigger's code names": (
        "ALTER TABLE t ADD b int",
        U,
        "row security of public.u",
    ),
    "a role of which it is run": ("CALL clean(1)", "ALTER ROLE app BYPASSRLS", "attributes of the role app"),
    "whose rights a function has": ("SELECT safe(1)", "ALTER ROLE other BYPASSRLS", "attributes of the role other"),
    "a table in a trigger's code": ("UPDATE audited SET id = 2", U, "row security of public.u"),
    # Casts: PostgreSQL looks for them by the types that it meets.
    "a cast of a whole row": (
        "DELETE FROM t WHERE t::int > 1",
        "CREATE FUNCTION of_row(t) RETURNS int LANGUAGE sql AS 'SELECT 9'; "
        "CREATE CAST (t AS int) WITH FUNCTION of_row(t)",
        "casts",
    ),
    "a cast of a whole row of a partition": (
        "DELETE FROM split WHERE low::int > 1",
        "CREATE FUNCTION of_low(low) RETURNS int LANGUAGE sql AS 'SELECT 9'; "
        "CREATE CAST (low AS int) WITH FUNCTION of_low(low)",
        "casts",
    ),
    "a cast of a column": ("DELETE FROM moods WHERE m::int > 1", CAST, "casts"),
    "a cast of the elements of a column": ("DELETE FROM moods WHERE many::int[] = '{1}'", CAST, "casts"),
    "a cast of what a domain is over": ("DELETE FROM moods WHERE d::int > 1", CAST, "casts"),
    "a cast of what a function gives": ("DELETE FROM t WHERE to_mood(id)::int > 1", CAST, "casts"),
    "a cast of PostgreSQL's types": (
        "DELETE FROM t WHERE id::box IS NULL",
        "CREATE FUNCTION boxed(int) RETURNS box LANGUAGE sql AS 'SELECT NULL::box'; "
        "CREATE CAST (int AS box) WITH FUNCTION boxed(int)",
        "casts",
    ),
}
# Another's harmless work.
UNMOVED = {
    "rows": ("UPDATE t SET a = 'y'", "INSERT INTO t VALUES (2, 'y')"),
    "statistics": ("UPDATE t SET a = 'y'", "ANALYZE t"),
    "what tunes a table": ("UPDATE t SET a = 'y'", "ALTER TABLE t SET (fillfactor = 70, autovacuum_enabled = false)"),
    "roles where nothing asks": ("UPDATE t SET a = 'y'", "ALTER ROLE app BYPASSRLS; GRANT team TO app"),
    "other roles": ("DELETE FROM guarded", "GRANT team TO other; CREATE ROLE more"),
    "the values of a sequence": ("UPDATE numbered SET id = DEFAULT", "SELECT nextval('seq'); SELECT setval('seq', 50)"),
    "another server": ("DELETE FROM far", "ALTER SERVER spare OPTIONS (ADD host 'b')"),
    "privileges on a server": ("DELETE FROM far", "GRANT USAGE ON FOREIGN SERVER files TO boss"),
    "a table that no code names": ("CALL clean(1)", "ALTER TABLE unrelated ADD b int"),
    "a comment": ("ALTER ROLE other SUPERUSER", "COMMENT ON ROLE other IS 'x'"),
    "a password": ("ALTER ROLE other SUPERUSER", "ALTER ROLE other PASSWORD 'x' VALID UNTIL 'infinity'"),
    "a configuration that nothing uses": ("DELETE FROM t WHERE a > 'x'", MAPPED),
    "privileges on a database": ("DROP DATABASE postgres", "GRANT CONNECT ON DATABASE postgres TO boss"),
}


@pytest.fixture(scope="module")
def connection(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    """A transaction with the schema in it that is never committed."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as beside:
        beside.execute("CREATE DATABASE schema_state TEMPLATE template0")
        try:
            with psycopg.connect(postgres.dsn("schema_state"), cursor_factory=psycopg.ClientCursor) as found:
                found.execute("SET jit = off")
                found.execute(SCHEMA)
                found.execute(
                    "GRANT ALL ON ALL TABLES IN SCHEMA public TO app; GRANT USAGE ON FOREIGN SERVER files TO app"
                )
                found.execute("CREATE USER MAPPING FOR app SERVER files OPTIONS (password 'hers')")
                yield found
                found.rollback()
        finally:
            beside.execute("DROP DATABASE schema_state WITH (FORCE)")


def _state(connection: psycopg.Connection[Any], text: str, role: str = "") -> dict[str, str]:
    """Return what is so of what a text names, asked as a role, by default the one that the test is."""
    question = schema_question(read(text.encode()))
    if role:
        connection.execute(f"SET LOCAL ROLE {role}".encode())
    row = connection.execute(question).fetchone()
    if role:
        connection.execute("RESET ROLE")
    assert row is not None
    return read_schema_state(json.dumps(row[0]))


def _changed(connection: psycopg.Connection[Any], text: str, change: str, role: str) -> set[str]:
    need(text, change)
    with connection.transaction(force_rollback=True):
        before = _state(connection, text, role)
        connection.execute(change.encode())
        after = _state(connection, text, role)
    return {what for what, _, _ in difference(before, after)}


def _asked_as(what: str) -> str:
    """Return the role that the question is asked as: any may ask it, and a superuser sees no row security."""
    return "" if what == "the user mappings of files" else "app"


@pytest.mark.parametrize(("text", "change", "what"), KINDS.values(), ids=KINDS)
def test_what_decides_what_it_does_is_in_the_answer(
    connection: psycopg.Connection[Any], text: str, change: str, what: str
) -> None:
    assert what in _changed(connection, text, change, _asked_as(what))


@pytest.mark.parametrize(("text", "change"), UNMOVED.values(), ids=UNMOVED)
def test_what_decides_nothing_is_not(connection: psycopg.Connection[Any], text: str, change: str) -> None:
    assert _changed(connection, text, change, "app") == set()

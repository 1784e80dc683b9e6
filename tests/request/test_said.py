"""Words that may be names: found in whatever a statement says, the same ones by us and by the server; no secret."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.reading import read
from pgnotary.request.said import said_by
from pgnotary.request.schema_state import schema_question
from pgnotary.request.words import words_in, words_in_sql

BODIES = [
    "DELETE FROM public.t WHERE a='x'",
    'delete from "Odd name"; select * from "s"."t"',
    "EXECUTE $q$DELETE FROM u$q$; x$y := 1",
    "EXECUTE 'TRUNCATE ' || quote_ident('Mixed')",
    "SELECT ÄÖ, ärger FROM Größe -- comment\n/* more */",
    "a" * 70 + " " + "ä" * 40,
    "tab\tnew\nline\x7f\x01end",
    '"" """ [x]{y}^`~!@#%&|?\\ _a a1 1a',
    "",
]


@pytest.fixture(scope="module")
def connection(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres.dsn("postgres")) as found:
        yield found


@pytest.mark.parametrize("body", BODIES)
def test_the_server_finds_the_same_words(connection: psycopg.Connection[Any], body: str) -> None:
    question = words_in_sql("w.body").replace("%", "%%")
    row = connection.execute(f"SELECT {question} FROM (SELECT %s::text) AS w (body)".encode(), [body]).fetchone()
    assert row is not None
    assert set(row[0]) - {""} == words_in(body)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("DROP ROLE IF EXISTS a, B", {"a", "b"}),
        ("GRANT SELECT ON t TO boss WITH GRANT OPTION GRANTED BY app", {"boss", "app"}),
        ("GRANT team TO boss", {"team", "boss"}),
        ("REVOKE ALL ON DATABASE shop FROM boss", {"shop", "boss"}),
        ("ALTER DATABASE shop RENAME TO old", {"shop", "old"}),
        ("CREATE DATABASE shop TEMPLATE base OWNER boss TABLESPACE fast", {"shop", "base", "boss", "fast"}),
        ("ALTER ROLE boss IN DATABASE shop SET work_mem = 1", {"boss", "shop"}),
        ("CREATE POLICY p ON t TO boss USING (f(id))", {"boss"}),
        ("CREATE TRIGGER q BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION s.f()", {"s", "f"}),
        ("CREATE OPERATOR ### (leftarg = int, rightarg = kind, function = s.f)", {"kind", "s", "f"}),
        ("CREATE AGGREGATE total(int) (sfunc = f, stype = int)", {"f"}),
        ("ALTER TABLE t SET SCHEMA away", {"away"}),
        ("ALTER TABLE t ADD n int DEFAULT nextval('s.seq')", {"s", "seq"}),
        ("SELECT setval('\"Odd seq\"', 5)", {"Odd seq"}),
        ("UPDATE t SET a = 's.u'::regclass", {"s", "u"}),
        ("DO $$ BEGIN EXECUTE 'DELETE FROM s.u'; END $$", {"s", "u"}),
        ("DO LANGUAGE plpgsql 'BEGIN DELETE FROM \"Odd\"; END'", {"Odd", "plpgsql"}),
        ("DROP TRIGGER q ON s.t", {"q", "s", "t"}),
        ("COMMENT ON COLUMN s.t.c IS 'x'", {"s", "t", "c"}),
        ("DROP OWNED BY boss", {"boss"}),
        ("ALTER SYSTEM SET x; garbage (", {"garbage"}),
    ],
)
def test_what_a_statement_says_may_be_a_name(text: str, words: set[str]) -> None:
    assert words <= said_by(read(text.encode()))


@pytest.mark.parametrize(
    "text",
    [
        "ALTER ROLE boss PASSWORD 'hush'",
        "CREATE USER boss ENCRYPTED PASSWORD 'hush'",
        "CREATE USER MAPPING FOR boss SERVER s OPTIONS (user 'x', password 'hush')",
        "ALTER SERVER s OPTIONS (SET key 'hush')",
        "CREATE FOREIGN TABLE f (id int) SERVER s OPTIONS (token 'hush')",
        "ALTER FOREIGN TABLE s OPTIONS (SET token 'hush')",
        "CREATE SUBSCRIPTION s CONNECTION 'hush' PUBLICATION p",
    ],
)
def test_a_secret_is_sent_nowhere_else(text: str) -> None:
    statement = read(text.encode())
    assert {"boss", "s"} & said_by(statement)
    assert b"hush" not in schema_question(statement)


@pytest.mark.parametrize(
    "text", ["UPDATE t SET a = 'u' WHERE id = 1", "DELETE FROM t", "INSERT INTO t VALUES (1, 'u')"]
)
def test_a_plain_change_is_asked_nothing_that_it_cannot_need(text: str) -> None:
    statement = read(text.encode())
    assert said_by(statement) == set()
    question = schema_question(statement)
    for catalog in (b"pg_publication", b"pg_database", b"pg_shdepend", b"pg_tablespace", b"pg_language"):
        assert catalog not in question

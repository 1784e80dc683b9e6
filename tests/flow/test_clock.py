"""However a statement asks the clock or the dice, its preview claims no exact number; else it has one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from tests.flow.served import Served
from tests.tiers import one_in

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.request.clock import may_ask_clock

SCHEMA = """
CREATE TABLE o (id int PRIMARY KEY, at timestamptz, day date, words text, several text[], doc jsonb, name varchar(20),
  span text, pair text);
INSERT INTO o SELECT i, '2020-01-01', '2020-01-01', 'now', '{now}', '{"at": "now"}', 'now',
  '[yesterday,now]', '(x,today)' FROM generate_series(1, 9) i;
CREATE TABLE p (id int PRIMARY KEY, at timestamptz); INSERT INTO p VALUES (1, '2020-01-01');
CREATE DOMAIN moment AS timestamptz; CREATE TYPE mood AS ENUM ('fine', 'bad'); CREATE TYPE pair AS (a text, b date);
CREATE VIEW by_now AS SELECT id FROM o WHERE at < now();
CREATE VIEW by_name AS SELECT id FROM o WHERE at < CURRENT_TIMESTAMP;
CREATE VIEW by_words AS SELECT id FROM o WHERE at < words::timestamptz;
CREATE VIEW by_array AS SELECT id FROM o WHERE at < ANY (several::timestamptz[]);
CREATE VIEW by_domain AS SELECT id FROM o WHERE at < words::moment;
CREATE VIEW by_document AS SELECT o.id FROM o, jsonb_to_recordset('[]'::jsonb || doc) AS x (at timestamptz)
  WHERE o.at < x.at;
CREATE VIEW over_view AS SELECT id FROM by_words;
CREATE VIEW steady AS SELECT id, words FROM o WHERE day < at::date AND id::text <> '' AND doc ->> 'at' = 'now';
CREATE FUNCTION sql_now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now()';
CREATE FUNCTION sql_word() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT CURRENT_TIMESTAMP';
CREATE FUNCTION sql_cast() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT ('n' || 'ow')::timestamptz $$;
CREATE FUNCTION sql_over() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT sql_cast()';
CREATE FUNCTION sql_table() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM public.by_now';
CREATE FUNCTION pl_now() RETURNS timestamptz LANGUAGE plpgsql STABLE AS 'BEGIN RETURN now(); END';
CREATE FUNCTION pl_text() RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN 'n' || 'ow'; END $$;
CREATE FUNCTION pl_type() RETURNS int LANGUAGE plpgsql STABLE AS
  $$ DECLARE t public.o.at%TYPE; BEGIN t := 'n' || 'ow'; RETURN extract(day FROM t); END $$;
CREATE FUNCTION pl_lies() RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN 'n' || 'ow'; END $$;
CREATE FUNCTION pl_row() RETURNS public.p LANGUAGE plpgsql STABLE AS
  $$ DECLARE r public.p; BEGIN r.at := 'n' || 'ow'; RETURN r; END $$;
CREATE FUNCTION sql_steady(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1 + 1';
CREATE FUNCTION pl_steady(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN $1 + 1; END';
ANALYZE;
"""
ASKS = [
    # functions and words of the grammar
    "at < now()", "at < pg_catalog.now()", "at < current_timestamp", "at < current_timestamp(0)", "at < localtimestamp",
    "day < current_date", "at::time < localtime", "at::timetz < current_time", "at < transaction_timestamp()",
    "at < statement_timestamp()", "at < clock_timestamp()", "timeofday() > ''",
    "age(id::text::xid) > 0", "random() < 0.5", "age(at) > '1 day'",
    "id < extract(epoch FROM now())", "at < (SELECT max(x) FROM generate_series(now(), now(), '1 day') AS x)",
    "date_trunc('day', now()) > at", "at < date 'now' + 1", "to_char(now(), 'D') = '1'",
    # constants
    "at < 'now'", "at < 'now'::timestamptz", "day < 'today'::date", "at > timestamptz 'yesterday'", "at < 'tomorrow'",
    "at < E'n\\x6fw'", "at < U&'n\\006fw'", "at < $$now$$", "at < ' NOW '", "at < CAST('now' AS timestamp(0))",
    "at < 'today CET'", "at < 'today Singapore'", "at < 'today America/New_York'", "at < 'now monday'",
    "at < 'today est5edt'", "at < 'now, on mon'", "at < 'today 10:00'", "at < 'now'::text::timestamptz",
    "at < 'now'::moment", "(words, day) = '(x,today)'::pair", "at = ANY ('{now,tomorrow}')",
    "at <@ '[yesterday,tomorrow)'::tstzrange", "at <@ '{[yesterday,now]}'::tstzmultirange",
    "at < timestamptz_in('now', 0, -1)", "at < date('now')",
    # what becomes a time only when it runs
    "at < words::timestamptz", "at < o.words::timestamptz", "day < CAST(words AS date)", "at < name::timestamptz",
    "at < timestamptz(words)", "day < date(words)", "at < ANY (several::timestamptz[])", "at < several[1]::timestamptz",
    "at < words::moment", "at <@ ('[2020-01-01,' || words || ']')::tstzrange", "at <@ span::tstzrange",
    "(o.pair::pair).b = day", "at < ('n' || 'ow')::timestamptz", "at < lower('NOW'::text)::timestamptz",
    "at < (doc ->> 'at')::timestamptz", "at < (SELECT max(w::timestamptz) FROM (SELECT words AS w FROM o) AS x)",
    "at < (SELECT value::timestamptz FROM jsonb_each_text(doc))",
    "at < (SELECT x.at FROM jsonb_to_record(doc) AS x (at timestamptz))",
    "at < (jsonb_populate_record(NULL::p, doc)).at",
    "at < (SELECT x.at FROM jsonb_to_record('{\"at\": \"now\"}') AS x (at timestamptz))",
    "at < JSON_VALUE(doc, '$.at' RETURNING timestamptz)",
    "at < (SELECT x.at FROM JSON_TABLE(doc, '$' COLUMNS (at timestamptz PATH '$.at')) AS x)",
    # behind names
    "id IN (SELECT id FROM by_now)", "id IN (SELECT id FROM by_name)", "id IN (SELECT id FROM by_words)",
    "id IN (SELECT id FROM by_array)", "id IN (SELECT id FROM by_domain)", "id IN (SELECT id FROM by_document)",
    "id IN (SELECT id FROM over_view)", "at < sql_now()", "at < sql_word()", "at < sql_cast()", "at < sql_over()",
    "id < sql_table()", "at < pl_now()", "at < pl_text()", "id < pl_type()", "at < pl_lies()", "at < (pl_row()).at",
]  # fmt: skip
STEADY = [
    "at < '2026-01-01'", "day < date '2026-01-01'", "day < at::date", "day < CAST(at AS date)", "day < date(at)",
    "o.at::date = o.day", "id::text = '1'", "words::varchar = 'x'", "words = 'available now'", "words = 'know'",
    "doc ->> 'at' = 'x'", "id < sql_steady(3)", "id < pl_steady(3)", "id IN (SELECT id FROM steady)",
    "'fine'::mood = 'bad'::mood", "at < '2026-01-01 10:00 CET'", "date_trunc('day', at) = day",
    "id IN (SELECT x.id FROM jsonb_to_recordset('[{\"id\": 1}]') AS x (id int))", "extract(year FROM at) = 2020",
    "at < to_timestamp(0)", "several = '{a,b}'", "name = 'x'::text",
]  # fmt: skip


@pytest.fixture(scope="module")
def proxy(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(postgres, tmp_path_factory.mktemp("clock") / "pgnotary", hold_s=60) as served:
        yield served
        served.entries()


@pytest.fixture(scope="module")
def clocks(postgres: EmbeddedPostgres) -> str:
    """One database for all: nothing that is asked here runs."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE clocks")
    with psycopg.connect(postgres.dsn("clocks"), autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
    return "clocks"


def _preview(proxy: Served, database: str, sql: str, values: tuple[Any, ...] | None = None) -> dict[str, Any]:
    factory = psycopg.ClientCursor if values is None else psycopg.Cursor
    with proxy.connect(database, cursor_factory=factory) as her, ThreadPoolExecutor(1) as beside:
        running = beside.submit(her.execute, sql.encode(), values)
        paper = proxy.deny()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            running.result(30)
    return dict(paper.preview.body)


@pytest.mark.parametrize("condition", one_in(2, ASKS))
def test_what_asks_the_clock_is_not_counted_as_exact(proxy: Served, clocks: str, condition: str) -> None:
    with proxy.behind(clocks) as behind:
        behind.execute(f"SELECT count(*) FROM o WHERE {condition}".encode())
    body = _preview(proxy, clocks, f"DELETE FROM o WHERE {condition}")
    assert not body.keys() & {"exact", "at_most"}, body
    assert {"volatile", "calls"} & {*body.get("caveats", ())} or body["why"]


@pytest.mark.parametrize("condition", STEADY)
def test_what_asks_no_clock_is_counted(proxy: Served, clocks: str, condition: str) -> None:
    with proxy.behind(clocks) as behind:
        (rows,) = behind.execute(f"SELECT count(*) FROM o WHERE {condition}".encode()).fetchone() or (None,)
    body = _preview(proxy, clocks, f"DELETE FROM o WHERE {condition}")
    assert body.get("exact") == rows, body


BOUND = {
    "a word": ("DELETE FROM o WHERE at < %s::timestamptz", "now", False),
    "a word with a zone": ("DELETE FROM o WHERE at < %s::timestamptz", "today CET", False),
    "an array": ("DELETE FROM o WHERE at < ANY (%s::timestamptz[])", ["yesterday", "2020-01-01"], False),
    "a row": ("DELETE FROM o WHERE (words, day) = %s::pair", "(some words,today)", False),
    "a long document": (
        "DELETE FROM o USING jsonb_to_recordset(%s::jsonb) AS x (id int, at timestamptz) WHERE o.at < x.at",
        '[{"id": 1, "at": "2020-01-01", "more": "' + "x" * 11_000 + '"}, {"id": 1, "at": "now"}]',
        False,
    ),
    "a document without": (
        "DELETE FROM o USING jsonb_to_recordset(%s::jsonb) AS x (id int, at timestamptz) WHERE o.at < x.at",
        '[{"id": 1, "at": "2020-01-02", "more": "' + "x" * 11_000 + '"}]',
        True,
    ),
    "a time": ("DELETE FROM o WHERE at < %s::timestamptz", "2026-01-01 10:00 CET", True),
    "words": ("DELETE FROM o WHERE words = %s", "nothing is known now", True),
}


@pytest.mark.parametrize(("sql", "value", "exact"), BOUND.values(), ids=BOUND)
def test_what_is_bound_may_ask_the_clock_too(proxy: Served, clocks: str, sql: str, value: Any, exact: bool) -> None:
    body = _preview(proxy, clocks, sql, (value,))
    assert ("exact" in body) is exact, body
    assert ("volatile" in body.get("caveats", ())) is not exact


READS = """
CREATE FUNCTION reads(spelled text) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN PERFORM spelled::timestamptz; RETURN true; EXCEPTION WHEN others THEN RETURN false; END $$
"""
BESIDE = """
SELECT w, x FROM unnest(array['now', 'today', 'tomorrow', 'yesterday']) AS w, (
  SELECT abbrev FROM pg_timezone_abbrevs UNION SELECT name FROM pg_timezone_names
  UNION SELECT unnest(array['', '10:00', '1000', 'T10', 'allballs', '+02', 'monday', 'on mon', 'BC', 'at 10:00 pm',
    'est5edt', 'utc+3', '<foo>+3', 'est dst', '10:00 Europe/Paris', 'january', 'z', 'dst', 'j', '2020-01-01'])
) AS s (x)
"""


def test_whatever_the_server_reads_as_a_time_by_the_clock_is_taken_for_one(proxy: Served, clocks: str) -> None:
    with proxy.behind(clocks) as behind:
        behind.execute(READS.encode())
        beside = behind.execute(BESIDE.encode()).fetchall()
        texts = [
            text
            for w, x in beside
            for text in (f"{w} {x}", f"{x} {w.upper()}", f"{w}, {x}", f"{w}{x}", f"{x}{w}", f"{w}-{x}", f"{w}/{x}")
        ]
        read = behind.execute("SELECT x FROM unnest(%s::text[]) AS x WHERE reads(x)", (texts,)).fetchall()
    assert len(read) > 5_000
    missed = [text for (text,) in read if not may_ask_clock(text)]
    assert not missed, "|".join(missed)

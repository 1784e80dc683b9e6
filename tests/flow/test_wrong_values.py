"""Statements made to have a new value shown that is not what then stands: each is named after the attack."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.flow.served import Served
from tests.flow.shown import Run
from tests.flow.untouched import untouched
from tests.tiers import one_in

from pgnotary.cli.paper_view import MARGIN, describe
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.request.decision import Answer
from pgnotary.request.sample import Becomes, Sample

SCHEMA = """
CREATE ROLE clerk_of_values;
CREATE DOMAIN label AS varchar(4);
CREATE DOMAIN short_label AS label CHECK (VALUE <> 'no');
CREATE DOMAIN labels AS varchar(3)[];
CREATE TYPE pair AS (a varchar(3), b numeric(4,1));
CREATE TYPE of_pairs AS (pairs pair[]);
CREATE TABLE things (id int PRIMARY KEY, n int, f float8, at timestamptz, name text, short varchar(3), code char(4),
  bits bit(3), flags varbit(3), price numeric(5,2), label label, short_label short_label, tags varchar(3)[],
  labels labels, duo pair, pairs of_pairs, at_3 timestamp(3), words text[]);
INSERT INTO things (id, n, f, name) SELECT i, i, i, 'now' FROM generate_series(1, 4) i;
CREATE TABLE offers (thing int, cost int);
INSERT INTO offers SELECT i % 4 + 1, i FROM generate_series(1, 12) i;
CREATE TABLE alike (thing int, cost int);
INSERT INTO alike SELECT 1, 7 FROM generate_series(1, 60);
INSERT INTO alike VALUES (1, 8);
CREATE TABLE many (id int PRIMARY KEY, n int);
INSERT INTO many SELECT i, i FROM generate_series(1, 300) i;
CREATE TABLE news (id int, n int);
INSERT INTO news SELECT i, i * 10 FROM generate_series(1, 300) i;
CREATE FUNCTION clock_inside() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now()';
CREATE FUNCTION clock_in_plpgsql() RETURNS timestamptz LANGUAGE plpgsql STABLE AS
  $$ BEGIN RETURN CURRENT_TIMESTAMP; END $$;
CREATE FUNCTION dice(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT ($1 + 1000 * random())::int';
CREATE OPERATOR <%> (FUNCTION = dice, LEFTARG = int, RIGHTARG = int);
CREATE FUNCTION dearest(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT max(cost) FROM offers WHERE thing = $1';
CREATE VIEW clocks AS SELECT now() AS t;
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.n := new.n + 100; RETURN new; END $$;
CREATE TABLE meddled (id int, n int);
INSERT INTO meddled VALUES (1, 1), (2, 2);
CREATE TRIGGER meddle BEFORE UPDATE ON meddled FOR EACH ROW EXECUTE FUNCTION meddle();
CREATE TABLE parts (id int, k int, n int) PARTITION BY LIST (k);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
INSERT INTO parts VALUES (1, 1, 1), (2, 2, 2);
CREATE TRIGGER meddle BEFORE UPDATE ON parts_2 FOR EACH ROW EXECUTE FUNCTION meddle();
CREATE TABLE moving (id int, k int, n int) PARTITION BY LIST (k);
CREATE TABLE moving_1 PARTITION OF moving FOR VALUES IN (1);
CREATE TABLE moving_2 PARTITION OF moving FOR VALUES IN (2);
INSERT INTO moving VALUES (1, 1, 1);
CREATE TRIGGER meddle BEFORE INSERT ON moving_2 FOR EACH ROW EXECUTE FUNCTION meddle();
CREATE FUNCTION once_more() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN IF pg_trigger_depth() < 2 THEN UPDATE behind SET n = -1 WHERE id = new.id; END IF; RETURN NULL; END $$;
CREATE TABLE behind (id int, n int);
INSERT INTO behind VALUES (1, 1), (2, 2);
CREATE TRIGGER once_more AFTER UPDATE ON behind FOR EACH ROW EXECUTE FUNCTION once_more();
CREATE TABLE unmoved (id int, n int);
INSERT INTO unmoved VALUES (1, 1), (2, 2);
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN old; END $$;
CREATE TRIGGER keep BEFORE DELETE ON unmoved FOR EACH ROW EXECUTE FUNCTION keep();
CREATE VIEW computed AS SELECT id, n, n * 2 AS twice FROM many;
CREATE VIEW doubled AS SELECT id, n, n AS again FROM many;
CREATE VIEW of_doubled AS SELECT id, n, again FROM doubled;
CREATE TABLE folders (id int PRIMARY KEY, parent int REFERENCES folders ON UPDATE CASCADE);
INSERT INTO folders VALUES (1, 1), (2, 2);
CREATE TABLE spelt (id int PRIMARY KEY, f float8, d date, at timestamptz, i interval, raw bytea);
INSERT INTO spelt VALUES (1, 0.1, '2020-02-01', '2020-02-01 10:00+00', '-1 day 2 hours', '\\x41ff');
CREATE VIEW of_things AS SELECT id, n FROM things;
ANALYZE;
"""

EVERY = None
# What is set -> the columns of which nothing is told.
ATTACKS: dict[str, tuple[str, set[str] | None]] = {
    "dice": ("UPDATE things SET f = random(), n = n + 1", {"f"}),
    "the clock": ("UPDATE things SET at = clock_timestamp()", {"at"}),
    "the time of the transaction": ("UPDATE things SET at = now(), name = CURRENT_DATE::text", {"at", "name"}),
    "a word that is a time": ("UPDATE things SET at = 'today', name = 'today'", {"at", "name"}),
    "a word in an expression": ("UPDATE things SET at = CASE WHEN n > 0 THEN 'now'::timestamptz END", {"at"}),
    "a column that holds a word": ("UPDATE things SET at = name::timestamptz", {"at"}),
    "the session": ("UPDATE things SET name = current_setting('application_name')", {"name"}),
    "who is connected": ("UPDATE things SET n = pg_backend_pid()", {"n"}),
    "a clock in a function": ("UPDATE things SET at = clock_inside()", {"at"}),
    "a clock in a procedural function": ("UPDATE things SET at = clock_in_plpgsql()", {"at"}),
    "dice behind an operator": ("UPDATE things SET n = n <%> 2, f = 3", {"n"}),
    "a clock behind a view": ("UPDATE things SET at = (SELECT t FROM clocks), f = 3", {"at"}),
    "what is first in no order": ("UPDATE things SET n = (SELECT cost FROM offers LIMIT 1), f = 3", {"n"}),
    "several at once": ("UPDATE things SET (f, n) = (random(), 3)", {"f"}),
    "dice in FROM": ("UPDATE things SET f = r FROM (SELECT random() AS r) s", {"f"}),
    "dice in WITH": ("WITH s AS (SELECT random() AS r) UPDATE things SET f = r, n = 4 FROM s", {"f"}),
    "any row of FROM": ("UPDATE things SET n = cost FROM (SELECT cost FROM offers LIMIT 1) s", {"n"}),
    "a trigger before": ("UPDATE meddled SET n = 5", EVERY),
    "a trigger before, of a partition": ("UPDATE parts SET n = 5", EVERY),
    "a trigger before, where a row moves to": ("UPDATE moving SET k = 2, n = 6", EVERY),
    "joined rows that disagree": ("UPDATE things SET n = cost FROM offers WHERE thing = id", {"n"}),
    "joined rows that disagree in one column": (
        "UPDATE things SET n = cost, name = 'x' || thing FROM offers WHERE thing = id", {"n"},
    ),
    "a joined row behind fifty others": ("UPDATE things SET n = cost FROM alike WHERE thing = id", {"n"}),
    "rows joined to a view": ("UPDATE of_things SET n = cost FROM offers WHERE thing = id", {"n"}),
    "a change beside it": (
        "WITH a AS (UPDATE things SET n = 3 RETURNING id) UPDATE things SET n = 4, f = 5", EVERY,
    ),
    "blanks in an array": ("UPDATE things SET tags = ARRAY['ab    '], labels = ARRAY['ab    ']", {"tags", "labels"}),
    "blanks in a row": ("UPDATE things SET duo = ROW('ab    ', 1.25)", {"duo"}),
    "blanks in a row in an array in a row": ("UPDATE things SET pairs = ROW(ARRAY[ROW('ab    ', 1)::pair])", {"pairs"}),
    "a column of a view that is computed": ("UPDATE computed SET n = 5", {"twice"}),
    "a column that a view has twice": ("UPDATE doubled SET n = 5", {"id", "again"}),
    "a column that a view of a view has twice": ("UPDATE of_doubled SET n = 5", {"id", "again"}),
    "a key that refers to its own table": ("UPDATE folders SET id = id + 100", {"parent"}),
    "a column that is set, and set again by such a key": (
        "UPDATE folders SET id = id + 100, parent = 1 WHERE id = 1", {"parent"},
    ),
    "a trigger that changes the row afterwards": ("UPDATE behind SET n = 5", EVERY),
}  # fmt: skip


@pytest.fixture(scope="module")
def attacked(postgres: EmbeddedPostgres) -> Iterator[str]:
    with untouched(postgres, "wrong_values", SCHEMA, "clerk_of_values") as name:
        yield name


@pytest.fixture(scope="module")
def proxy(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(postgres, Path(tmp_path_factory.mktemp("wrong_values")) / "pgnotary", hold_s=60) as served:
        yield served
        served.entries()


@pytest.fixture(scope="module")
def her(proxy: Served, attacked: str) -> Iterator[psycopg.Connection[Any]]:
    """One session for all: it finds out only once what the database is like."""
    with proxy.connect(attacked, autocommit=False) as connection:
        yield connection


def _untold(sample: Sample) -> set[str]:
    return {column.name for column in sample.columns if column.becomes is Becomes.UNTOLD}


def _stands_so(run: Run) -> None:
    """Assert that each row that is shown stands as it is said to become, but for what is not told."""
    assert run.rows, run.sample
    untold = [place for place, column in enumerate(run.sample.columns) if column.becomes not in (None, Becomes.SHOWN)]
    stands = [_but(row, untold) for row in run.after]
    for _, new in run.old_and_new():
        assert _but(new, untold) in stands, (new, run.after)


def _but(row: tuple[str | None, ...], places: list[int]) -> list[str | None]:
    return [value for place, value in enumerate(row) if place not in places]


@pytest.mark.parametrize("name", one_in(2, list(ATTACKS)))
def test_what_may_become_something_else_is_not_told(proxy: Served, her: psycopg.Connection[Any], name: str) -> None:
    sql, untold = ATTACKS[name]
    run = Run(proxy, her, sql)
    assert _untold(run.sample) == (set(run.names) if untold is EVERY else untold), run.sample
    _stands_so(run)


def test_what_a_function_reads_from_a_table_is_not_told(proxy: Served, her: psycopg.Connection[Any]) -> None:
    run = Run(proxy, her, "UPDATE things SET n = dearest(id)")
    assert [column.becomes for column in run.sample.columns if column.name == "n"] == [Becomes.MASKED]


TOLD = {
    "of many joined rows each is met once": "UPDATE many SET n = news.n FROM news WHERE news.id = many.id",
    "joined rows that agree": "UPDATE things SET name = 'x' || thing FROM offers WHERE thing = id",
    "a trigger that only deletes": "UPDATE unmoved SET n = 3",
    "blanks too many": "UPDATE things SET short = 'ab     ', label = 'abc    ', short_label = 'ab     '",
    "blanks that are missing": "UPDATE things SET code = 'ab'",
    "bits": "UPDATE things SET bits = B'101', flags = B'10'",
    "digits too many": "UPDATE things SET price = 1.005, at_3 = '2020-01-01 10:00:00.123456'",
    "an array of other numbers": "UPDATE things SET words = ARRAY[1.1::float4, 2::float8]",
    "the role": "UPDATE things SET name = current_user",
    "a view": "UPDATE of_things SET n = n + 1",
}


@pytest.mark.parametrize("name", TOLD)
def test_what_is_told_is_what_is_stored(proxy: Served, her: psycopg.Connection[Any], name: str) -> None:
    run = Run(proxy, her, TOLD[name])
    assert _untold(run.sample) == set(), run.sample
    assert run.sample.width > len(run.sample.columns)
    assert len(run.rows) == min(5, run.paper.measured.exact or run.paper.measured.at_most or 0)
    _stands_so(run)


CUT = {
    "varchar": "short = 'abcdef'",
    "char": "code = 'abcdef'",
    "bit": "bits = B'1'",
    "varbit": "flags = B'10101'",
    "a domain": "label = 'abcdef'",
    "a domain of a domain": "short_label = 'abcdef'",
    "an expression": "label = name || 'abcdef'",
}


@pytest.mark.parametrize("name", CUT)
def test_what_a_cast_would_cut_is_not_shown_since_it_is_an_error(proxy: Served, attacked: str, name: str) -> None:
    errors: list[psycopg.Error] = []
    with proxy.connect(attacked, autocommit=False) as connection:

        def run() -> None:
            try:
                connection.execute(f"UPDATE things SET {CUT[name]}".encode())
            except psycopg.Error as error:
                errors.append(error)

        worker = threading.Thread(target=run)
        worker.start()
        paper = proxy.held()
        proxy.decide(paper, Answer.APPROVE)
        worker.join(60)
    assert errors
    assert errors[0].sqlstate in ("22001", "22026"), errors
    assert not paper.rows
    assert paper.measured.sample is not None
    assert paper.measured.sample.why == "the question failed"


EXECUTIONS: dict[str, tuple[str, list[tuple[Any, ...]], set[str]]] = {
    "each meets a row of its own": ("UPDATE things SET name = %s WHERE id = %s", [("a", 1), ("b", 2)], set()),
    "two meet the same row": ("UPDATE things SET name = %s WHERE id = %s", [("a", 1), ("b", 1)], {"name"}),
    "two make the same of the same row": ("UPDATE things SET n = n + %s WHERE id = %s", [(1, 1), (1, 1)], {"n"}),
    "one behind those that are shown": (
        "UPDATE many SET n = %s WHERE id = %s", [(1000 + i, i) for i in range(1, 9)] + [(7, 2)], {"n"},
    ),
    "each meets what others have changed": ("UPDATE things SET n = n + %s WHERE n < %s", [(1, 3), (1, 3)], {"n"}),
    "each reads what those before it have made": (
        "UPDATE things SET n = (SELECT max(n) FROM things) + %s WHERE id = %s", [(1, 1), (1, 2)], {"n"}
    ),
    "each asks whether others have made it": (
        "UPDATE things SET n = CASE WHEN EXISTS (SELECT FROM things WHERE n = 700) THEN 1 ELSE 700 END WHERE id = %s",
        [(1,), (2,)],
        {"n"},
    ),
    "each joins what others have made": (
        "UPDATE many SET n = m.n + %s FROM many m WHERE m.id = many.id - 1 AND many.id = %s", [(1, 2), (1, 3)], {"n"}
    ),
    "a word that is a time": ("UPDATE things SET at = %s WHERE id = %s", [("now", 1), ("now", 2)], {"at"}),
}  # fmt: skip


@pytest.mark.parametrize("name", EXECUTIONS)
def test_what_several_runs_make_of_a_row_is_told_only_if_one_meets_it(proxy: Served, attacked: str, name: str) -> None:
    sql, values, untold = EXECUTIONS[name]
    with proxy.connect(attacked, autocommit=False, cursor_factory=psycopg.Cursor) as connection:
        worker = threading.Thread(target=lambda: connection.cursor().executemany(sql.encode(), values))
        worker.start()
        paper = proxy.held()
        proxy.decide(paper, Answer.APPROVE)
        worker.join(60)
        connection.rollback()
    assert paper.measured.sample is not None
    assert _untold(paper.measured.sample) == untold
    told = {row[-1].text for row in paper.rows}
    assert untold or told == {value[0] for value in values}


ODD_SPELLING = """
SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Tokyo'; SET IntervalStyle = 'sql_standard';
SET bytea_output = 'escape'; SET extra_float_digits = 0
"""


@pytest.mark.parametrize("odd", [False, True])
def test_a_session_that_spells_values_its_own_way_is_told(proxy: Served, attacked: str, odd: bool) -> None:
    with proxy.connect(attacked, autocommit=False) as her:
        for setting in ODD_SPELLING.split(";") if odd else ():
            her.execute(setting.encode())
        her.commit()
        run = Run(proxy, her, "UPDATE spelt SET f = f + 0.2, d = d + 1, at = at + i, raw = raw || raw")
    _stands_so(run)
    new = dict(zip([each.name for each in run.sample.columns if each.becomes], run.rows[0][6:], strict=True))
    settings = {"datestyle": "ISO, MDY", "intervalstyle": "postgres"}
    if odd:
        assert new == {"f": "0.3", "d": "02/02/2020", "at": "31/01/2020 21:00:00 JST", "raw": "A\\377A\\377"}
        settings = {"datestyle": "SQL, DMY", "intervalstyle": "sql_standard", "timezone": "Asia/Tokyo"}
        settings |= {"bytea_output": "escape", "extra_float_digits": "0"}
    else:
        assert (new["f"], new["d"], new["raw"]) == ("0.30000000000000004", "2020-02-02", "\\x41ff41ff")
    assert {"timezone": run.paper.context.settings["timezone"]} | settings == run.paper.context.settings
    told = " ".join(line[MARGIN:] for line in describe(run.paper, 2_000))
    assert all(f"{name} = {value}" in told for name, value in settings.items())

"""The rows that a preview shows, against what stood before a statement ran and what stands after it."""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.flow.served import Served, holding_inserts
from tests.flow.shown import Run
from tests.flow.untouched import untouched
from tests.tiers import one_in
from tests.versions import need

from pgnotary.approval.papers import Paper
from pgnotary.cli.paper_view import MARGIN, describe
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.request.decision import Answer
from pgnotary.request.sample import Becomes

SECRET = "correct horse battery staple"
HOME = "Elm Street 13"

SCHEMA = f"""
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN short AS varchar(4);
CREATE TABLE people (name text, id int, pay numeric(8,2), born date, password text DEFAULT '{SECRET}', home text
  DEFAULT '{HOME}', bonus int DEFAULT 7, twice numeric GENERATED ALWAYS AS (pay * 2) STORED, doc jsonb, tags text[],
  duo pair, code char(5), word short, most varchar(12), gone int, PRIMARY KEY (id));
ALTER TABLE people DROP COLUMN gone;
INSERT INTO people (name, id, pay, born, doc, tags, duo, code, word)
  SELECT 'n' || i, i, i * 1.5, date '2000-01-01' + i, jsonb_build_object('a', i), array['x', i::text, NULL],
  CASE WHEN i % 2 = 0 THEN ROW(i, 'b')::pair END, 'c' || i, 'w' || i FROM generate_series(1, 20) i;
CREATE TABLE twice_keyed (note text, b int, a int, PRIMARY KEY (a, b));
INSERT INTO twice_keyed SELECT 'n' || i, i, i % 3 FROM generate_series(1, 9) i;
CREATE TABLE visits (person int, n int);
INSERT INTO visits SELECT i % 4 + 1, i FROM generate_series(1, 40) i;
CREATE TABLE parts (k int, v int, PRIMARY KEY (k, v)) PARTITION BY LIST (k);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE parts_2 (v int NOT NULL, k int NOT NULL);
ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES IN (2);
INSERT INTO parts SELECT i % 2 + 1, i FROM generate_series(1, 6) i;
CREATE VIEW wealthy AS SELECT id, name, pay FROM people WHERE pay > 15;
CREATE VIEW renamed AS SELECT id, name, password AS pw FROM people;
CREATE VIEW of_renamed AS SELECT id, name, pw AS words FROM renamed;
CREATE VIEW whole AS SELECT id, name, people::text AS words FROM people;
CREATE MATERIALIZED VIEW stored AS SELECT id, home AS words FROM people;
CREATE TABLE filed (id int, path text, kind int) PARTITION BY LIST (kind);
CREATE TABLE filed_1 PARTITION OF filed FOR VALUES IN (1);
CREATE TABLE filed_2 PARTITION OF filed FOR VALUES IN (2);
INSERT INTO filed SELECT i, '{HOME}', i % 2 + 1 FROM generate_series(1, 4) i;
CREATE TABLE wide ({", ".join(f"c{i} int" for i in range(25))}, PRIMARY KEY (c24));
INSERT INTO wide (c24, c23) VALUES (1, 2);
CREATE TABLE texts (id int PRIMARY KEY, t text);
INSERT INTO texts VALUES (1, repeat('é', 200)), (2, repeat('y', 201)),
  (3, E'\\x1b[31mred\\n''; DROP'), (4, ''), (5, NULL);
CREATE TABLE "Odd ""name" ("The id" int PRIMARY KEY, "select" text);
INSERT INTO "Odd ""name" VALUES (1, 'a'), (2, 'b');
CREATE TABLE archive (id int, who text, password text, pay numeric(4,1));
INSERT INTO archive VALUES (1, 'w', '{SECRET}', 1);
CREATE TABLE logged (id int, line text, kind int) PARTITION BY LIST (kind);
CREATE TABLE logged_1 PARTITION OF logged FOR VALUES IN (1);
INSERT INTO logged VALUES (1, '{HOME}', 1);
CREATE TABLE secured (id int PRIMARY KEY, owner text);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secured USING (id % 2 = 0);
INSERT INTO secured SELECT i, 'o' FROM generate_series(1, 6) i;
CREATE TABLE guarded (id int, shown text, hidden text);
INSERT INTO guarded VALUES (1, 'seen', 'unseen by the clerk');
CREATE FUNCTION leak(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT home FROM people WHERE id = $1';
CREATE FUNCTION leak_all() RETURNS SETOF people LANGUAGE sql STABLE AS 'TABLE people';
CREATE FUNCTION leak_again(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT upper(leak($1))';
CREATE FUNCTION plain(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
CREATE FUNCTION writes(int) RETURNS int LANGUAGE plpgsql VOLATILE AS
  $$ BEGIN INSERT INTO visits VALUES ($1, $1); RETURN $1; END $$;
CREATE FUNCTION told_as(text, text) RETURNS bool LANGUAGE plpgsql STABLE AS
  $$ BEGIN RAISE EXCEPTION USING MESSAGE = $1, ERRCODE = $2; END $$;
CREATE ROLE clerk_of_samples;
GRANT ALL ON secured TO clerk_of_samples;
GRANT SELECT (id, shown), UPDATE, DELETE ON guarded TO clerk_of_samples;
CREATE SEQUENCE numbers;
CREATE TABLE shifted (a text, b text, c text, d text, e text, f text, g text, h text, i text, j text, k text, l text,
  m text, n text, o text, p text, q text);
CREATE TABLE hollow (id int);
CREATE MATERIALIZED VIEW plain_stored AS SELECT id FROM texts;
CREATE SCHEMA app; CREATE TABLE app.kept (id int); INSERT INTO app.kept VALUES (1);
ANALYZE;
"""
RULES = """
[[policy.rule]]
name = "pays"
result = "hold"
relation = ["public.twice_keyed"]
class = ["update", "delete"]
sample_rows = 2
mask = ["note"]
"""


@pytest.fixture(scope="module")
def people(postgres: EmbeddedPostgres) -> Iterator[str]:
    with untouched(postgres, "sample_table", SCHEMA, "clerk_of_samples") as name:
        yield name


@pytest.fixture(scope="module")
def proxy(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = Path(tmp_path_factory.mktemp("sample")) / "pgnotary"
    mask = ["public.people.home", "public.filed.path", "public.logged_1.line"]
    with holding_inserts(postgres, folder, RULES, hold_s=60, mask=mask) as served:
        yield served
        served.entries()


@pytest.fixture(scope="module")
def her(proxy: Served, people: str) -> Iterator[psycopg.Connection[Any]]:
    """One session for all: it finds out only once what the database is like."""
    with proxy.connect(people, autocommit=False) as connection:
        yield connection


UPDATES = [
    "UPDATE people SET name = upper(name), bonus = 3",
    "UPDATE people SET pay = pay * 1.333 WHERE id < 4",
    "UPDATE people SET pay = 7, born = '2020-02-03', bonus = '12', doc = '{\"b\" :  2}' WHERE id = 5",
    "UPDATE people SET pay = 1.005, bonus = 2.5 WHERE id = 5",
    "UPDATE people SET name = NULL, tags = NULL, duo = ROW(NULL, NULL) WHERE id < 3",
    "UPDATE people SET tags[2] = 'new' WHERE id < 3",
    "UPDATE people SET duo.b = 'new' WHERE id = 2",
    "UPDATE people SET (name, bonus) = ('x', bonus + id) WHERE id < 3",
    "UPDATE people SET (name, bonus) = ROW('x', bonus + id) WHERE id < 3",
    "UPDATE people SET (name, bonus) = (SELECT 'y', max(n) FROM visits WHERE person = id) WHERE id < 3",
    "UPDATE people SET bonus = (SELECT max(n) FROM visits WHERE person = id) WHERE id < 3",
    "UPDATE people SET bonus = DEFAULT, name = DEFAULT WHERE id < 3",
    "UPDATE people SET code = 'ab', word = 'wxyz' WHERE id = 9",
    "UPDATE people SET id = id + 100 WHERE id > 17",
    "UPDATE people SET name = 'it''s ' || id, home = 'elsewhere' WHERE id < 3",
    "UPDATE people p SET bonus = p.id WHERE p.id < 3",
    "UPDATE people SET bonus = n FROM visits WHERE person = id AND n = 7",
    "UPDATE ONLY people SET born = born + 1 WHERE born > '2000-01-12'",
    "UPDATE people SET bonus = plain(id)",
    "WITH w AS (SELECT max(n) AS top FROM visits) UPDATE people SET bonus = top FROM w",
    "UPDATE parts SET v = v + 100",
    "UPDATE parts SET k = 1 WHERE k = 2",
    "UPDATE parts_2 SET v = 0 WHERE v = 3",
    "UPDATE wealthy SET name = 'rich'",
    "UPDATE wide SET c23 = 4, c0 = 5",
    "UPDATE texts SET t = t || '!'",
    'UPDATE "Odd ""name" SET "select" = "select" || "The id"',
    "UPDATE people SET bonus = id RETURNING *",
    "UPDATE people SET name = $$a'b$$, bonus = -1 WHERE id = 3",
    "UPDATE people SET bonus = CASE WHEN id > 2 THEN 1 ELSE 2 END WHERE pay BETWEEN 2 AND 9",
]


@pytest.mark.parametrize("sql", one_in(2, UPDATES))
def test_what_an_update_is_said_to_make_of_rows_is_what_then_stands(
    proxy: Served, her: psycopg.Connection[Any], sql: str
) -> None:
    run = Run(proxy, her, sql)
    assert run.rows, run.sample
    shorn = [place for place, column in enumerate(run.sample.columns) if column.becomes not in (None, Becomes.SHOWN)]
    cut = any(value.is_cut for row in run.paper.rows for value in row)
    for old, new in run.old_and_new():
        if not cut:
            assert old in run.before, (old, run.sample)
            assert any(_but(new, shorn) == _but(row, shorn) for row in run.after), (new, run.after)
    assert len(run.rows) == min(5, run.paper.measured.exact or 0), run.paper.measured


def _but(row: tuple[str | None, ...], places: list[int]) -> list[str | None]:
    # What is cast to char has its blanks only where it is stored.
    return [value and value.rstrip(" ") for place, value in enumerate(row) if place not in places]


DELETES = [
    "DELETE FROM people",
    "DELETE FROM people WHERE id = 3 RETURNING password",
    "DELETE FROM people USING visits WHERE person = id",
    "DELETE FROM people p USING people q WHERE p.id = q.id + 1",
    "DELETE FROM people WHERE id IN (SELECT person FROM visits)",
    "WITH w AS (SELECT 3 AS n) DELETE FROM people USING w WHERE id = n",
    "DELETE FROM parts USING visits WHERE v = n",
    "DELETE FROM parts_2",
    "DELETE FROM wealthy WHERE id = 15",
    "DELETE FROM visits WHERE n < 3",
    "MERGE INTO people USING visits ON id = person AND n < 5 WHEN MATCHED THEN DELETE",
    "MERGE INTO people p USING (SELECT 1 AS one) s ON p.id > 17 WHEN MATCHED AND p.id = 18 THEN DO NOTHING "
    "WHEN MATCHED THEN DELETE",
    "MERGE INTO people USING visits ON id = person WHEN NOT MATCHED THEN INSERT (id) VALUES (person + 100) "
    "WHEN NOT MATCHED BY SOURCE AND id > 18 THEN DELETE",
    "WITH w AS (SELECT 3 AS n) MERGE INTO people USING w ON id = n WHEN MATCHED THEN DELETE "
    "WHEN NOT MATCHED BY SOURCE AND id = (SELECT n + 1 FROM w) THEN DELETE",
    'DELETE FROM "Odd ""name"',
    "DELETE FROM texts WHERE t IS NULL OR t = ''",
]


@pytest.mark.parametrize("sql", DELETES)
def test_the_rows_that_a_delete_shows_are_gone_then(proxy: Served, her: psycopg.Connection[Any], sql: str) -> None:
    run = Run(proxy, her, sql)
    assert run.rows, run.sample
    shown = Counter(tuple(row) for row in run.rows)
    assert all(number <= run.before[row] - run.after[row] for row, number in shown.items()), (shown, run.before)
    assert len(run.rows) == min(5, run.paper.measured.exact or 0)


INSERTS = [
    "INSERT INTO archive SELECT id, name, 'p', pay FROM people",
    "INSERT INTO archive (pay, id) SELECT pay, id FROM people WHERE id < 4",
    "INSERT INTO archive (who) SELECT 'a' UNION ALL SELECT 'b'",
    "INSERT INTO visits SELECT * FROM visits",
    "INSERT INTO visits SELECT id FROM people UNION ALL (SELECT n FROM visits ORDER BY n LIMIT 1)",
    "WITH w AS (SELECT 3 AS n) INSERT INTO visits SELECT n, n FROM w",
    "INSERT INTO visits SELECT i, i FROM generate_series(500, 503) i",
    "INSERT INTO people (id, name, pay, born) SELECT id + 100, 'n', '7', '2020-01-01' FROM people",
    "INSERT INTO visits (SELECT id FROM people ORDER BY id LIMIT 3)",
]


@pytest.mark.parametrize("sql", INSERTS)
def test_the_rows_that_a_query_gives_stand_then(proxy: Served, her: psycopg.Connection[Any], sql: str) -> None:
    run = Run(proxy, her, sql)
    assert run.rows, run.sample
    assert run.sample.given
    shown = Counter(tuple(row) for row in run.rows)
    assert all(number <= run.after[row] - run.before[row] for row, number in shown.items()), (shown, run.after)


def _update(names: str, where: str = "id = 3") -> str:
    return f"UPDATE people SET {names} WHERE {where}"


def test_the_primary_key_stands_first_then_what_is_set(proxy: Served, her: psycopg.Connection[Any]) -> None:
    run = Run(proxy, her, _update("bonus = 3, name = 'x'"))
    assert run.names[:3] == ["id", "name", "bonus"]
    assert [column.key for column in run.sample.columns[:2]] == [True, False]
    assert [run.rows[0][place] for place in (0, 1, 2)] == ["3", "n3", "7"]
    assert run.rows[0][-2:] == ["x", "3"]
    twice = Run(proxy, her, "DELETE FROM twice_keyed WHERE b = 5")
    assert twice.names == ["a", "b"]
    assert twice.rows == [["2", "5"]]


def test_what_an_approver_sees(proxy: Served, people: str, her: psycopg.Connection[Any]) -> None:
    run = Run(proxy, her, _update("bonus = DEFAULT, name = NULL, pay = pay + 1, tags[1] = 'a', password = 'new'"))
    lines = dict(_fields(_shown(run)))
    assert lines["sample"] == "1 row as they stand now, of public.people -> as they would become"
    assert lines["row 1"] == (
        "id 3, name 'n3' -> NULL, pay 4.50 -> 5.50, bonus 7 -> (its default), tags '{x,3,NULL}' -> (not worked out), "
        "born '2000-01-04', twice 9.00 -> (not worked out), doc '{\"a\": 3}', duo NULL, code 'c3   ', word 'w3', "
        "most NULL"
    )
    assert lines["masked"] == "password, home: no approver is shown their values"


def denied(proxy: Served, database: str, sql: str) -> Paper:
    """Have a statement held and denied, and return what its approver saw."""
    need(sql)
    with proxy.open_psql(database, "-c", sql) as psql:
        paper = proxy.deny()
        psql.wait(30)
    return paper


def _shown(run: Run) -> str:
    return "\n".join(describe(run.paper, 2_000))


def _fields(shown: str) -> list[tuple[str, str]]:
    """Return labels and values of a paper as it is shown, each value on one line."""
    found: list[tuple[str, str]] = []
    for line in shown.splitlines():
        label, value = line[:MARGIN].strip(), line[MARGIN:].strip()
        if label:
            found.append((label, value))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {value}")
    return found


MASKED = {
    "what is set from a masked column": "UPDATE people SET name = substr(home, 1, 7) WHERE id = 3",
    "a name that secrets have": "UPDATE people SET name = left(password, 3) WHERE id = 3",
    "a subquery": "UPDATE people SET name = (SELECT max(home) FROM people p) WHERE id = 3",
    "another name in a subquery": "UPDATE people SET name = (SELECT max(h) FROM (SELECT home AS h FROM people) s)",
    "another name in FROM": "UPDATE people SET name = h FROM (SELECT id AS i, home AS h FROM people) s WHERE i = id",
    "another name in WITH": "WITH s AS (SELECT home AS h FROM people) UPDATE people SET name = h FROM s WHERE id = 3",
    "an alias of columns": "UPDATE people SET name = f FROM people p (a, b, c, d, e, f) WHERE b = people.id AND b = 3",
    "a star in FROM": "UPDATE people SET name = s::text FROM (SELECT * FROM people) s WHERE s.id = people.id",
    "the whole row": "UPDATE people SET name = left(people::text, 12) WHERE id = 3",
    "the whole row of an alias": "UPDATE people p SET name = left(p::text, 12) WHERE p.id = 3",
    "a row's field": "UPDATE people SET name = (people).home WHERE id = 3",
    "as JSON": "UPDATE people SET doc = to_jsonb(people) WHERE id = 3",
    "WITH and a star": "WITH s AS (TABLE people) UPDATE people SET name = s::text FROM s WHERE s.id = people.id",
    "several at once": "UPDATE people SET (name, word) = (left(home, 7), 'x') WHERE id = 3",
    "a row of a subquery": "UPDATE people SET (name, word) = (SELECT left(home, 7), 'x') WHERE id = 3",
    "INSERT under another name": "INSERT INTO archive (who) SELECT home FROM people",
    "INSERT computes": "INSERT INTO archive (who, id) SELECT left(home, 7), id FROM people",
    "INSERT of a star": "INSERT INTO archive SELECT p.id, q.* FROM people p, (SELECT home FROM people) q",
    "INSERT from WITH": "WITH w AS (SELECT home AS h FROM people) INSERT INTO archive (who) SELECT h FROM w",
    "INSERT of a union": "INSERT INTO archive (who) SELECT 'x' UNION SELECT home FROM people",
    "INSERT into a masked column": "INSERT INTO archive (password) SELECT name || ' is hidden' FROM people",
    "INSERT of a table": "INSERT INTO people SELECT name, id + 100, pay, born, password, home FROM people",
    "DELETE joined": "DELETE FROM visits USING people WHERE person = id AND home > ''",
    "DELETE of all": "DELETE FROM people WHERE id = 3",
    "a function of the row, as a column": "UPDATE people p SET name = p.concat WHERE p.id = 3",
    "JSON of the row, as a column": "UPDATE people p SET doc = p.to_jsonb WHERE p.id = 3",
    "INSERT of a function of the row": "INSERT INTO archive (who) SELECT p.quote_literal FROM people p",
    "INSERT of a row's fields": "INSERT INTO shifted SELECT (p).*, 1, 2, 3 FROM people p",
    "a function": "UPDATE people SET name = lower(upper(leak(id))) WHERE id = 3",
    "a function of a function": "UPDATE people SET name = lower(leak_again(id)) WHERE id = 3",
    "a function in FROM": "UPDATE people SET name = l::text FROM leak_all() AS l WHERE l.id = people.id",
    "a column of a function": "UPDATE people SET name = (SELECT max(x) FROM leak_all() AS l (a, b, c, d, e, x))",
    "INSERT from a function": "INSERT INTO archive (who) SELECT leak(id) FROM people",
    "a join by name": "UPDATE archive SET who = j::text FROM (people NATURAL JOIN (SELECT 3 AS id) three) AS j",
    "names of a WITH query": "WITH w (a, h) AS (SELECT id, home FROM people) UPDATE people SET name = h FROM w "
    "WHERE a = id",
    "a key of a document": "UPDATE people SET name = to_jsonb(p)->>'home' FROM people p WHERE p.id = people.id",
    "a view": "UPDATE renamed SET name = 'x'",
    "a view of a view": "UPDATE of_renamed SET name = 'x'",
    "a view of whole rows": "UPDATE whole SET name = 'x'",
    "joined to a view": "UPDATE archive SET who = pw FROM renamed",
    "a view in a subquery": "UPDATE people SET name = (SELECT max(words) FROM of_renamed)",
    "INSERT from a materialized view": "INSERT INTO archive (who) SELECT words FROM stored",
    "a partition of what is masked": "UPDATE filed_1 SET id = 3",
    "the table of a partition that is masked": "DELETE FROM logged",
}


@pytest.mark.parametrize("name", one_in(2, list(MASKED)))
def test_a_masked_value_is_nowhere(proxy: Served, her: psycopg.Connection[Any], name: str) -> None:
    """Neither in the ledger, whose seals are open to who holds the file, nor on the screen."""
    run = Run(proxy, her, MASKED[name])
    told = json.dumps([run.rows, run.sample.why]) + _shown(run)
    files = b"".join(path.read_bytes() for path in proxy.folder.glob("ledger.db*"))
    # Each has what no base64 has: keys and signatures in the files may be anything.
    for secret in (SECRET, HOME, HOME[:7], SECRET[:3] + '"', "n3 is hidden"):
        for spelled in (secret, secret.upper(), secret.lower()):
            assert spelled not in told, (spelled, run.rows)
            assert spelled.encode() not in files, spelled


UNKNOWN = {
    "what a subquery gives to several": ("UPDATE people SET (name, bonus) = (SELECT 'y', 3)", {"name", "bonus"}),
    "an element of an array": ("UPDATE people SET tags[2] = 'x'", {"tags"}),
    "a field": ("UPDATE people SET duo.a = 4", {"duo"}),
    "what MERGE sets": (
        "MERGE INTO people USING (SELECT 3 AS i) s ON id = i WHEN MATCHED AND pay > 1000 THEN DELETE "
        "WHEN MATCHED THEN UPDATE SET bonus = 4",
        {"bonus"},
    ),
    "what is generated": ("UPDATE people SET pay = 3", {"twice"}),
    "a sequence": ("UPDATE people SET bonus = nextval('numbers')", {"bonus"}),
    "what writes": ("UPDATE people SET bonus = writes(id)", {"bonus"}),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_cannot_be_worked_out_without_a_change_is_said_so(
    proxy: Served, her: psycopg.Connection[Any], name: str
) -> None:
    sql, unknown = UNKNOWN[name]
    run = Run(proxy, her, sql if sql.startswith("MERGE") else f"{sql} WHERE id = 3")
    told = {column.name: column.becomes for column in run.sample.columns}
    assert {column for column, becomes in told.items() if becomes is Becomes.UNTOLD} >= unknown
    assert len(run.rows) == 1


def test_a_sequence_is_where_it_was(proxy: Served, people: str) -> None:
    with proxy.behind(people) as behind:
        before = behind.execute("SELECT last_value, is_called FROM numbers").fetchone()
        for sql in ("UPDATE people SET bonus = nextval('numbers')", "UPDATE people SET bonus = writes(id)"):
            with proxy.open_psql(people, "-c", sql) as psql:
                paper = proxy.held()
                assert behind.execute("SELECT last_value, is_called FROM numbers").fetchone() == before
                assert behind.execute("SELECT count(*) FROM visits").fetchone() == (40,)
                proxy.decide(paper, Answer.DENY)
                psql.wait(30)


def test_a_rule_says_how_many_rows_and_which_columns(proxy: Served, her: psycopg.Connection[Any]) -> None:
    run = Run(proxy, her, "DELETE FROM twice_keyed")
    assert len(run.rows) == 2
    assert run.sample.masked == ("note",)
    assert run.paper.measured.obtained["sample"].how == "select"


def test_what_a_role_may_not_read_is_not_asked_for(proxy: Served, her: psycopg.Connection[Any]) -> None:
    run = Run(proxy, her, "DELETE FROM guarded", role="clerk_of_samples")
    assert run.rows == [["1", "seen"]]
    assert run.sample.unreadable == ("hidden",)
    assert "unreadable    hidden: the role may not read them" in _shown(run)


def test_rows_are_those_that_a_policy_lets_the_role_see(proxy: Served, her: psycopg.Connection[Any]) -> None:
    run = Run(proxy, her, "DELETE FROM secured", role="clerk_of_samples")
    assert sorted(row[0] or "" for row in run.rows) == ["2", "4", "6"]


def test_what_is_long_is_cut_and_said_to_be(proxy: Served, her: psycopg.Connection[Any]) -> None:
    run = Run(proxy, her, "DELETE FROM texts WHERE id < 3")
    (_, full), (_, cut) = sorted(run.paper.rows, key=lambda row: row[0].text or "")
    assert (full.text, full.is_cut) == ("é" * 200, False)
    assert (cut.text, cut.is_cut) == ("y" * 200, True)
    assert "(its first 200 characters)" in _shown(run)


def test_a_value_cannot_speak_for_us(proxy: Served, her: psycopg.Connection[Any]) -> None:
    shown = _shown(Run(proxy, her, "DELETE FROM texts WHERE id = 3"))
    assert "\x1b" not in shown
    assert "red" in shown
    assert "'';" in shown


def test_of_many_columns_the_rest_is_counted(proxy: Served, her: psycopg.Connection[Any]) -> None:
    run = Run(proxy, her, "UPDATE wide SET c23 = 4")
    assert run.names[:2] == ["c24", "c23"]
    assert (len(run.names), run.sample.more) == (20, 5)
    assert "AND 5 MORE COLUMNS" in _shown(run)


def test_a_row_that_is_met_several_times_is_shown_once(proxy: Served, her: psycopg.Connection[Any]) -> None:
    run = Run(proxy, her, "UPDATE people SET bonus = 1 FROM visits WHERE person = id AND id < 3")
    assert sorted(row[0] or "" for row in run.rows) == ["1", "2"]


NONE = {
    "no row": "DELETE FROM people WHERE id > 1000",
    "spelled out": "INSERT INTO visits VALUES (1, 2)",
}


@pytest.mark.parametrize("name", NONE)
def test_where_there_is_nothing_to_show_nothing_is_said(proxy: Served, her: psycopg.Connection[Any], name: str) -> None:
    run = Run(proxy, her, NONE[name])
    assert run.paper.measured.sample is None
    assert "sample" not in dict(_fields(_shown(run)))


WHY = {
    "a MERGE that only inserts": (
        "MERGE INTO visits USING people ON id = person WHEN NOT MATCHED THEN INSERT VALUES (id, 1)",
        "it only inserts: no row that stands is met",
    ),
    "nothing may be shown": ("DELETE FROM filed", ""),
    "a view over what is masked": ("DELETE FROM renamed", "its target is a view that reads masked columns"),
    "the question fails": ("UPDATE people SET bonus = 1 / (id - 3)", "the question failed"),
}  # fmt: skip


@pytest.mark.parametrize("name", WHY)
def test_where_there_is_no_sample_the_preview_says_why(proxy: Served, people: str, name: str) -> None:
    sql, why = WHY[name]
    paper = denied(proxy, people, sql)
    sample = paper.measured.sample
    assert sample is not None
    assert sample.why == why
    assert not paper.rows or not why


def test_parameters_give_the_rows_of_the_first_executions(proxy: Served, people: str) -> None:
    values = [(f"x{i}", i) for i in range(1, 9)]
    with proxy.connect(people, autocommit=False, cursor_factory=psycopg.Cursor) as connection:

        def run() -> None:
            connection.cursor().executemany("UPDATE people SET name = %s WHERE id = %s", values)

        worker = threading.Thread(target=run)
        worker.start()
        paper = proxy.held()
        proxy.decide(paper, Answer.APPROVE)
        worker.join(60)
        connection.rollback()
    found = [(row[0].text, row[1].text, row[-1].text) for row in paper.rows]
    assert found == [(str(i), f"n{i}", f"x{i}") for i in range(1, 6)]


def test_parameters_of_any_type_become_what_then_stands(proxy: Served, people: str) -> None:
    sql = "UPDATE people SET pay = %s, doc = %s, tags = %s, born = %s WHERE id = %s"
    values = (1.239, '{"z":  1}', ["a", None], "2021-01-02", 3)
    with proxy.connect(people, autocommit=False, cursor_factory=psycopg.Cursor) as connection:
        worker = threading.Thread(target=lambda: connection.execute(sql, values))
        worker.start()
        paper = proxy.held()
        proxy.decide(paper, Answer.APPROVE)
        worker.join(60)
        stands = connection.execute("SELECT pay::text, doc::text, tags::text, born::text FROM people WHERE id = 3")
        row = stands.fetchone()
        connection.rollback()
    sample = paper.measured.sample
    assert sample is not None
    told = iter(value.text for value in paper.rows[0][len(sample.columns) :])
    new = {column.name: next(told) for column in sample.columns if column.becomes is Becomes.SHOWN}
    assert (new["pay"], new["doc"], new["tags"], new["born"]) == row


def test_the_page_drawn_again_from_the_ledger_shows_the_same_rows(proxy: Served, her: psycopg.Connection[Any]) -> None:
    run = Run(proxy, her, "UPDATE people SET name = 'x' WHERE id = 3")
    printed = proxy.pgnotary("show", run.paper.id, "--page")
    assert "row 1         id 3, name 'n3' -> 'x'" in printed
    assert "row 1: id 3, name 'n3' -> 'x'" in proxy.pgnotary("replay", run.paper.id)
    told = json.loads(proxy.pgnotary("show", run.paper.id, "--page", "--json"))
    assert told["sample"][0][0] == "3"


def test_a_value_with_line_ends_is_told_on_one_line_and_begins_none_of_ours(
    proxy: Served, her: psycopg.Connection[Any]
) -> None:
    run = Run(proxy, her, "UPDATE people SET name = E'x\nR-9 approved by bo\n  | row 2: id 4' WHERE id = 3")
    for lines in (proxy.pgnotary("replay", run.paper.id), proxy.pgnotary("show", run.paper.id, "--page")):
        (row,) = [line for line in lines.splitlines() if "-> 'x" in line]
        assert r"-> 'x\u{a}R-9 approved by bo\u{a}" in row
        assert not any(line.strip().startswith("R-9 approved") for line in lines.splitlines() if line != row)


@pytest.mark.parametrize(
    ("condition", "sqlstate"),
    [
        ("home::int = 12", "22P02"),
        ("home::regclass::oid = 1", "42602"),
        ("current_setting(home) = 'a'", "42704"),
        ("chr(-length(home) + 4000000 - 17) = 'x'", "54000"),
        ("make_date(ascii(home), 99, 99) IS NULL", "22008"),
        ("told_as(home, '22012')", "22012"),
    ],
)
def test_an_error_of_our_question_does_not_quote_a_masked_value(
    proxy: Served, people: str, condition: str, sqlstate: str
) -> None:
    paper = denied(proxy, people, f"UPDATE people SET name = 'x' WHERE {condition}")
    assert f"the count failed with SQLSTATE {sqlstate} (" in paper.measured.why
    _is_nowhere(proxy, HOME)


def test_an_sqlstate_that_a_function_makes_up_does_not_quote_a_masked_value(proxy: Served, people: str) -> None:
    condition = "told_as('', upper(right(md5(home), 5)))"
    paper = denied(proxy, people, f"UPDATE people SET name = 'x' WHERE {condition}")
    assert "the count failed with an SQLSTATE that is not shown: it could quote data" in paper.measured.why
    _is_nowhere(proxy, hashlib.md5(HOME.encode()).hexdigest()[-5:].upper())


def _is_nowhere(proxy: Served, value: str) -> None:
    for path in proxy.folder.glob("ledger.db*"):
        assert value.encode() not in path.read_bytes()


EMPTIED = {
    "TRUNCATE": ("TRUNCATE visits", "public.visits", 5),
    "several, the first of them empty": ("TRUNCATE hollow, texts", "public.texts", 5),
    "partitions": ("TRUNCATE parts", "public.parts_1", 3),
    "DROP TABLE": ('DROP TABLE "Odd ""name"', 'public."Odd ""name"', 2),
    "DROP MATERIALIZED VIEW": ("DROP MATERIALIZED VIEW plain_stored", "public.plain_stored", 5),
    "DROP SCHEMA": ("DROP SCHEMA app CASCADE", "app.kept", 1),
}


@pytest.mark.parametrize("name", EMPTIED)
def test_rows_of_what_is_emptied_or_dropped_are_shown(proxy: Served, people: str, name: str) -> None:
    sql, relation, rows = EMPTIED[name]
    paper = denied(proxy, people, sql)
    sample = paper.measured.sample
    assert sample is not None
    assert (sample.relation, len(paper.rows)) == (relation, rows), sample
    with proxy.behind(people) as behind:
        names = ", ".join(f"""format('%s', "{column.name}")""" for column in sample.columns)
        stands = behind.execute(f"SELECT {names} FROM {relation}".encode()).fetchall()
    assert {tuple(value.text or "" for value in row) for row in paper.rows if not row[-1].is_cut} <= set(stands)


def test_a_masked_column_of_what_is_emptied_is_masked(proxy: Served, people: str) -> None:
    paper = denied(proxy, people, "TRUNCATE people")
    assert paper.measured.sample is not None
    assert paper.measured.sample.masked == ("password", "home")
    assert HOME not in "\n".join(describe(paper, 2_000))


def test_a_large_sample_keeps_nobodys_request_from_being_listed(proxy: Served, people: str) -> None:
    with proxy.behind(people) as behind:
        behind.execute(
            "CREATE TABLE IF NOT EXISTS large AS SELECT "
            + ", ".join(f"repeat('{chr(97 + i)}', 200) AS c{i}" for i in range(20))
            + " FROM generate_series(1, 5)"
        )
    with proxy.open_psql(people, "-c", "DELETE FROM large") as psql:
        paper = proxy.held()
        assert len(paper.rows) == 5
        assert paper.id in proxy.pgnotary("requests")
        proxy.decide(paper, Answer.DENY)
        psql.wait(30)

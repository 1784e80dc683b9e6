"""Ways round a mask, each against a server: a value that nobody may be shown is on no screen and in no file."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.flow.served import Served, holding_inserts
from tests.flow.shown import Run
from tests.flow.test_sample import denied
from tests.flow.untouched import untouched
from tests.tiers import one_in
from tests.versions import major

from pgnotary.cli.paper_view import describe
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.request.sample import MAX_NAMED

SECRET = "correct horse battery staple"
HOME = "Elm Street 13"
LONG = "secret_" + "x" * 48

SCHEMA = f"""
CREATE TABLE notes (id int, t text);
INSERT INTO notes VALUES (1, 'a note');
CREATE TABLE houses (id int PRIMARY KEY, home text DEFAULT '{HOME}', n int,
  loud text GENERATED ALWAYS AS (home || '!') STORED);
INSERT INTO houses (id, n) SELECT i, i % 2 FROM generate_series(1, 20) i;
CREATE STATISTICS of_houses (mcv) ON home, n FROM houses;
CREATE STATISTICS of_shouts ON (home || '?') FROM houses;
CREATE TABLE huts (floors int) INHERITS (houses);
INSERT INTO huts (id, n) VALUES (21, 1);
CREATE TABLE streets (id int, line text, loud text GENERATED ALWAYS AS (line || '!') STORED) PARTITION BY LIST (id);
CREATE TABLE streets_1 PARTITION OF streets FOR VALUES IN (1);
INSERT INTO streets VALUES (1, '{HOME}');
CREATE TYPE login AS (name text, password text);
CREATE TYPE address AS (id int, street text);
CREATE TYPE deep AS (id int, of_it login[]);
CREATE DOMAIN known_login AS login;
CREATE DOMAIN several AS known_login[];
CREATE TYPE logins AS RANGE (subtype = login);
CREATE TABLE accounts (id int PRIMARY KEY, n int, a login, b login[], c known_login, d known_login[],
  e several, f deep, g logins, h houses, i address, j login GENERATED ALWAYS AS (ROW('me', 'mine')::login) STORED);
INSERT INTO accounts SELECT 1, 1, l, ARRAY[l], l, ARRAY[l]::known_login[], ARRAY[l]::known_login[]::several,
  ROW(1, ARRAY[l])::deep, logins(l, l, '[]'), (SELECT h FROM ONLY houses h LIMIT 1), ROW(1, '{HOME}')::address
  FROM (SELECT ROW('me', '{SECRET}')::login AS l) s;
CREATE TABLE filed (id int, path text, kind int) PARTITION BY LIST (kind);
CREATE TABLE filed_1 PARTITION OF filed FOR VALUES IN (1);
INSERT INTO filed VALUES (1, '{HOME}', 1);
CREATE TABLE logged (id int, entry text, kind int) PARTITION BY LIST (kind);
CREATE TABLE logged_1 PARTITION OF logged FOR VALUES IN (1);
INSERT INTO logged VALUES (1, '{HOME}', 1);
CREATE TABLE mother (id int, kept text);
CREATE TABLE father (id int, kept text);
CREATE TABLE child (n int) INHERITS (mother, father);
INSERT INTO child VALUES (1, '{HOME}', 1);
CREATE VIEW of_generated AS SELECT id, loud AS w FROM houses;
CREATE VIEW of_partition AS SELECT id, path AS w FROM filed_1;
CREATE VIEW of_parent AS SELECT id, entry AS w FROM logged;
CREATE VIEW of_child AS SELECT id, kept AS w FROM child;
CREATE VIEW of_view AS SELECT id, w AS v FROM of_partition;
CREATE VIEW of_composite AS SELECT id, a AS w FROM accounts;
CREATE VIEW of_text AS SELECT id, b::text AS w FROM accounts;
CREATE MATERIALIZED VIEW stored AS SELECT id, home AS w FROM houses;
CREATE FUNCTION read_home(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT home FROM houses WHERE id = $1';
CREATE FUNCTION read_on(text, int) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1 || home FROM houses WHERE id = $2';
CREATE OPERATOR <~> (LEFTARG = text, RIGHTARG = int, FUNCTION = read_on);
CREATE VIEW of_function AS SELECT id, read_home(id) AS w FROM notes;
CREATE VIEW of_operator AS SELECT id, t <~> id AS w FROM notes;
CREATE FUNCTION copied(int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT home FROM houses WHERE id = $1';
CREATE TABLE copies (id int, n int, w text GENERATED ALWAYS AS (copied(id)) STORED);
INSERT INTO copies VALUES (1, 1);
CREATE TABLE spelled (id int, n int, "homeAddr" text, "HomePhone" text, "HOME" text);
INSERT INTO spelled VALUES (1, 1, '{HOME}', '{HOME}', '{HOME}');
CREATE TABLE "Spelled" (id int, "lineOne" text);
INSERT INTO "Spelled" VALUES (1, '{HOME}');
CREATE TABLE later (id int);
INSERT INTO later VALUES (1);
ALTER TABLE later ADD COLUMN home text DEFAULT '{HOME}';
CREATE VIEW of_statistics AS SELECT stavalues1::text AS w FROM pg_statistic
  WHERE starelid = 'houses'::regclass AND staattnum = 2;
CREATE VIEW of_stats AS SELECT attname AS id, most_common_vals::text AS w FROM pg_stats WHERE tablename = 'houses';
CREATE VIEW of_activity AS SELECT query AS w FROM pg_stat_get_activity(NULL);
CREATE FOREIGN DATA WRAPPER far;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER far;
CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere OPTIONS (password '{SECRET}');
CREATE VIEW of_mappings AS SELECT umoptions::text AS w FROM pg_user_mapping;
CREATE VIEW of_missing AS SELECT attmissingval::text AS w FROM pg_attribute WHERE attrelid = 'later'::regclass;
CREATE TABLE secretive ({", ".join(f"{LONG}{i} int" for i in range(1_590))}, id int);
INSERT INTO secretive (id) VALUES (1);
CREATE TYPE two AS (a int, b int);
CREATE TABLE openly (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED, pair two);
INSERT INTO openly VALUES (1, 2, DEFAULT, ROW(1, 2));
CREATE VIEW of_openly AS SELECT id, twice FROM openly;
CREATE TABLE residents (home text PRIMARY KEY, n int, UNIQUE (n, home));
INSERT INTO residents VALUES ('{HOME}', 1);
CREATE TABLE guests (id int, place text UNIQUE REFERENCES residents,
  loud text GENERATED ALWAYS AS (place || '!') STORED);
INSERT INTO guests VALUES (1, '{HOME}');
CREATE TABLE visits (id int, spot text REFERENCES guests (place));
INSERT INTO visits VALUES (1, '{HOME}');
CREATE TABLE pairs (id int, n int, spot text, FOREIGN KEY (n, spot) REFERENCES residents (n, home));
INSERT INTO pairs VALUES (1, 1, '{HOME}');
CREATE TABLE trips (id int, spot text REFERENCES residents) PARTITION BY LIST (id);
CREATE TABLE trips_1 PARTITION OF trips FOR VALUES IN (1);
INSERT INTO trips VALUES (1, '{HOME}');
CREATE TABLE tours (id int, spot text) PARTITION BY LIST (id);
CREATE TABLE tours_1 PARTITION OF tours FOR VALUES IN (1);
ALTER TABLE tours_1 ADD FOREIGN KEY (spot) REFERENCES residents;
INSERT INTO tours VALUES (1, '{HOME}');
CREATE TABLE elder (id int, spot text);
CREATE TABLE younger (FOREIGN KEY (spot) REFERENCES residents) INHERITS (elder);
INSERT INTO younger VALUES (1, '{HOME}');
CREATE TABLE spots (spot text PRIMARY KEY, n int) PARTITION BY LIST (spot);
CREATE TABLE spots_1 PARTITION OF spots DEFAULT;
INSERT INTO spots VALUES ('{HOME}', 1);
CREATE TABLE owners (id int PRIMARY KEY, home text REFERENCES spots);
INSERT INTO owners VALUES (1, '{HOME}');
CREATE TABLE bosses (id int PRIMARY KEY, boss int REFERENCES bosses, owner int REFERENCES owners, label text);
INSERT INTO bosses VALUES (1, 1, 1, 'open');
CREATE VIEW of_key AS SELECT id, spot AS w FROM visits;
CREATE ROLE clerk_of_masks;
CREATE TABLE guarded (id int, {", ".join(f"c{i} int" for i in range(30))});
INSERT INTO guarded VALUES (1);
GRANT SELECT (id), UPDATE, DELETE ON guarded TO clerk_of_masks;
ANALYZE;
"""
MASK = [
    "home*",
    "public.streets.line",
    "public.filed.path",
    "public.logged_1.entry",
    "public.father.kept",
    "public.address.street",
    'public."Spelled".line*',
]
VIRTUAL = """
CREATE TABLE virtual (id int, n int, home text, loud text GENERATED ALWAYS AS (home || '!') VIRTUAL);
INSERT INTO virtual VALUES (1, 1, 'Elm Street 13');
"""


@pytest.fixture(scope="module")
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    schema = SCHEMA + (VIRTUAL if major() >= 18 else "")
    with untouched(postgres, "masks_table", schema, "clerk_of_masks") as name:
        yield name


@pytest.fixture(scope="module")
def proxy(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with holding_inserts(postgres, Path(tmp_path_factory.mktemp("masks")) / "pgnotary", hold_s=60, mask=MASK) as served:
        yield served
        served.entries()


@pytest.fixture(scope="module")
def her(proxy: Served, database: str) -> Iterator[psycopg.Connection[Any]]:
    """One session for all: it finds out only once what the database is like."""
    with proxy.connect(database, autocommit=False) as connection:
        yield connection


def _told(proxy: Served, run: Run) -> str:
    """Return all that is shown of a request, while it is held and from the ledger."""
    looks = (proxy.pgnotary("show", run.paper.id), proxy.pgnotary("show", run.paper.id, "--page"))
    return "\n".join((*looks, *describe(run.paper, 2_000), json.dumps([run.rows, run.sample.why])))


def _is_nowhere(proxy: Served, run: Run) -> None:
    told, files = _told(proxy, run), b"".join(path.read_bytes() for path in proxy.folder.glob("ledger.db*"))
    for secret in (HOME, SECRET, SECRET[:7]):
        assert secret not in told, (run.rows, run.sample)
        assert secret.encode() not in files


def _into(query: str) -> str:
    return f"INSERT INTO notes (t) {query}"


ATTACKS = {
    "a generated column": "UPDATE houses SET n = 2 WHERE id = 1",
    "a generated column, computed from": _into("SELECT left(loud, 20) FROM houses"),
    "a generated column in a subquery": "UPDATE notes SET t = (SELECT max(loud) FROM houses)",
    "a generated column of a child": "DELETE FROM huts",
    "a generated column of a partition": "UPDATE streets_1 SET id = 1",
    "a generated column of the table of partitions": "DELETE FROM streets",
    "a generated column that calls what reads": "DELETE FROM copies",
    "a view of a generated column": _into("SELECT w FROM of_generated"),
    "a star of a table with a generated column": "INSERT INTO spelled SELECT id, n, home, loud, loud FROM houses",
    "a field of a composite": "UPDATE accounts SET n = 2",
    "a field of a composite, computed from": _into("SELECT a::text FROM accounts"),
    "a field in an array": _into("SELECT b[1]::text FROM accounts"),
    "a field under a domain": _into("SELECT c::text FROM accounts"),
    "a field under a domain in an array": _into("SELECT d::text FROM accounts"),
    "a field under a domain of an array of a domain": _into("SELECT e::text FROM accounts"),
    "a field in an array in a composite": _into("SELECT f::text FROM accounts"),
    "a field in a range": _into("SELECT g::text FROM accounts"),
    "a row of a table as a column": _into("SELECT h::text FROM accounts"),
    "a field that a pattern names": _into("SELECT i::text FROM accounts"),
    "a view of a composite": _into("SELECT w::text FROM of_composite"),
    "a view of the text of a composite": _into("SELECT w FROM of_text"),
    "a view of a partition": _into("SELECT w FROM of_partition"),
    "a view of a view of a partition": _into("SELECT v FROM of_view"),
    "a view of the table of a partition": _into("SELECT w FROM of_parent"),
    "a view of a child of two": _into("SELECT w FROM of_child"),
    "the other parent of a child": "DELETE FROM mother",
    "a view that calls what reads": _into("SELECT w FROM of_function"),
    "a view with an operator that reads": _into("SELECT w FROM of_operator"),
    "pg_stats": _into("SELECT most_common_vals::text FROM pg_stats WHERE tablename = 'houses'"),
    "pg_stats in a subquery": "UPDATE notes SET t = "
    "(SELECT max(most_common_vals::text) FROM pg_stats WHERE attname = 'home')",
    "pg_stats in WITH": "WITH s AS (SELECT most_common_vals::text AS v FROM pg_stats WHERE attname = 'home') "
    + _into("SELECT v FROM s"),
    "pg_statistic": _into("SELECT stavalues1::text FROM pg_statistic WHERE starelid = 'houses'::regclass"),
    "pg_stats_ext": _into("SELECT most_common_vals::text FROM pg_stats_ext WHERE tablename = 'houses'"),
    "pg_stats_ext_exprs": _into("SELECT most_common_vals::text FROM pg_stats_ext_exprs"),
    "pg_statistic_ext_data": _into("SELECT m.values::text FROM pg_statistic_ext_data, pg_mcv_list_items(stxdmcv) m"),
    "pg_attribute": _into("SELECT attmissingval::text FROM pg_attribute WHERE attrelid = 'later'::regclass"),
    "a view of pg_statistic": _into("SELECT w FROM of_statistics"),
    "a view of pg_stats": _into("SELECT w FROM of_stats"),
    "a view of pg_attribute": _into("SELECT w FROM of_missing"),
    "the statement of another session": _into("SELECT query FROM pg_stat_activity WHERE query LIKE '%zzz%'"),
    "the statement of another session, computed": "UPDATE notes SET t = "
    "(SELECT max(query) FROM pg_stat_activity WHERE query LIKE '%zzz%')",
    "a function that tells statements": _into(
        "SELECT a.query FROM pg_stat_get_activity(NULL) AS a WHERE a.query LIKE '%zzz%'"
    ),
    "a function that tells a statement": _into("SELECT pg_stat_get_backend_activity(i) FROM generate_series(1, 9) i"),
    "a view of a function that tells statements": _into("SELECT w FROM of_activity"),
    "the options of a user mapping": _into("SELECT umoptions::text FROM pg_user_mapping"),
    "a view of the options of user mappings": _into("SELECT umoptions::text FROM pg_user_mappings"),
    "a view of a view of the options of user mappings": _into("SELECT w FROM of_mappings"),
    "a name in quotes": "DELETE FROM spelled",
    "a name in quotes, computed from": _into('SELECT "homeAddr" FROM spelled'),
    "another case, computed from": _into('SELECT "HomePhone" || "HOME" FROM spelled'),
    "a whole name in quotes": 'DELETE FROM "Spelled"',
    "a foreign key that is referred to": "UPDATE guests SET id = 2",
    "a foreign key to a foreign key": "DELETE FROM visits",
    "a foreign key of several columns": "UPDATE pairs SET id = 2",
    "a foreign key of a partition's table": "DELETE FROM trips_1",
    "a foreign key of a table of partitions": "UPDATE trips SET spot = spot",
    "a foreign key of a partition alone": "DELETE FROM tours",
    "a foreign key of a child alone": "DELETE FROM elder",
    "a foreign key, computed from": _into("SELECT upper(spot) || '!' FROM visits"),
    "a foreign key under another name": _into("SELECT v.w FROM (SELECT spot AS w FROM visits) v"),
    "a column generated of a foreign key": _into("SELECT left(loud, 20) FROM guests"),
    "a view of a foreign key": _into("SELECT w FROM of_key"),
    "what a masked foreign key refers to": "UPDATE spots SET n = 2",
    "a partition that a masked foreign key refers to": "UPDATE spots_1 SET n = 2",
}


@pytest.fixture(scope="module", autouse=True)
def _other(proxy: Served, database: str) -> Iterator[None]:
    with proxy.behind(database) as behind:
        behind.execute(f"SELECT 'zzz', '{HOME}'".encode())
        yield


@pytest.mark.parametrize("name", one_in(2, list(ATTACKS)))
def test_a_value_that_a_mask_hides_is_nowhere(proxy: Served, her: psycopg.Connection[Any], name: str) -> None:
    _is_nowhere(proxy, Run(proxy, her, ATTACKS[name]))


@pytest.mark.skipif(major() < 18, reason="virtual columns came with PostgreSQL 18")
@pytest.mark.parametrize("sql", ["UPDATE virtual SET n = 2", _into("SELECT left(loud, 20) FROM virtual")])
def test_a_virtual_column_is_nowhere_if_what_it_is_made_of_is_masked(
    proxy: Served, her: psycopg.Connection[Any], sql: str
) -> None:
    _is_nowhere(proxy, Run(proxy, her, sql))


OPEN = {
    "a generated column of what is open": ("DELETE FROM openly", ["id", "n", "twice", "pair"]),
    "a foreign key to what is open, and one to itself": ("DELETE FROM bosses", ["id", "boss", "owner", "label"]),
    "a view of what is open": ("DELETE FROM of_openly", ["id", "twice"]),
    "PostgreSQL's own tables without values": (_into("SELECT relname FROM pg_class WHERE relname = 'openly'"), ["t"]),
}


@pytest.mark.parametrize("name", OPEN)
def test_what_is_made_of_nothing_masked_is_shown(proxy: Served, her: psycopg.Connection[Any], name: str) -> None:
    sql, names = OPEN[name]
    run = Run(proxy, her, sql)
    assert run.names == names
    assert run.rows
    assert run.sample.masked == ()


def test_of_a_foreign_key_of_several_columns_the_others_are_shown(proxy: Served, her: psycopg.Connection[Any]) -> None:
    run = Run(proxy, her, "DELETE FROM pairs")
    assert (run.names, run.rows, run.sample.masked) == (["id", "n"], [["1", "1"]], ("spot",))


def test_a_materialized_view_of_what_is_masked_is_not_shown_when_it_is_dropped(proxy: Served, database: str) -> None:
    paper = denied(proxy, database, "DROP MATERIALIZED VIEW stored")
    assert paper.measured.sample is not None
    assert paper.measured.sample.why == "it is made of masked columns"
    assert HOME not in "\n".join(describe(paper, 2_000))
    assert HOME.encode() not in b"".join(path.read_bytes() for path in proxy.folder.glob("ledger.db*"))


def _words(text: str) -> str:
    """Return a text as it is wherever it is broken into lines."""
    return "".join(re.sub(r"\n\s+: ", "", text).split())


def test_columns_by_the_thousand_that_are_masked_are_counted(proxy: Served, her: psycopg.Connection[Any]) -> None:
    """Their names alone, in the `preview` entry, would be longer than an entry can be."""
    run = Run(proxy, her, "DELETE FROM secretive")
    assert (run.names, run.rows) == (["id"], [["1"]])
    assert (len(run.sample.masked), run.sample.masked_more) == (MAX_NAMED, 1_590 - MAX_NAMED)
    words = "AND1,570MORECOLUMNS:noapproverisshowntheirvalues"
    assert words in _words("\n".join(describe(run.paper, 2_000)))
    assert words in _words(proxy.pgnotary("show", run.paper.id, "--page"))
    assert words in _words(proxy.pgnotary("replay", run.paper.id))


def test_columns_by_the_thousand_that_a_query_fills_and_masks_are_counted(
    proxy: Served, her: psycopg.Connection[Any]
) -> None:
    run = Run(proxy, her, "INSERT INTO secretive SELECT * FROM secretive")
    assert run.names == ["id"]
    assert (len(run.sample.masked), run.sample.masked_more) == (MAX_NAMED, 1_590 - MAX_NAMED)


def test_columns_that_a_role_may_not_read_are_counted(proxy: Served, her: psycopg.Connection[Any]) -> None:
    run = Run(proxy, her, "DELETE FROM guarded", role="clerk_of_masks")
    assert run.rows == [["1"]]
    assert (len(run.sample.unreadable), run.sample.unreadable_more) == (MAX_NAMED, 10)
    assert "AND10MORECOLUMNS:therolemaynotreadthem" in _words("\n".join(describe(run.paper, 2_000)))


NAMED_ALIKE = """
CREATE TABLE plain (id int PRIMARY KEY, t text);
INSERT INTO plain VALUES (1, 'shown');
CREATE FUNCTION {schema}."left"(text, text) RETURNS text LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN $1; END';
CREATE FUNCTION {schema}.format(text, int) RETURNS text LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN $1; END';
"""


@pytest.mark.parametrize(("schema", "shown"), [("public", True), ("pg_catalog", False)])
def test_functions_of_ones_own_named_as_those_that_we_call_leave_the_sample(
    proxy: Served, postgres: EmbeddedPostgres, schema: str, *, shown: bool
) -> None:
    """But for one in pg_catalog itself: nobody knows which of them our question would call."""
    with untouched(postgres, f"alike_{schema}", NAMED_ALIKE.format(schema=schema), "clerk_of_none") as database:
        for sql in ("DELETE FROM plain", "UPDATE plain SET t = upper(t)"):
            paper = denied(proxy, database, sql)
            assert paper.measured.sample is not None
            assert bool(paper.rows) is shown, paper.measured

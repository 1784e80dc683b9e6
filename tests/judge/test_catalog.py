"""What the catalog adds to a text: which selected attributes and which calls may be functions that nobody has read."""

import psycopg
import pytest

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.catalog import BUILT_IN, QUESTION, Catalog, read_catalog
from pgnotary.judge.harmless_functions import HARMLESS
from pgnotary.judge.policy import PROFILES, Action, verdict
from pgnotary.judge.reading import read

OF_ONES_OWN = """
CREATE SCHEMA app;
CREATE FUNCTION app.tell(text) RETURNS void LANGUAGE sql AS $$ SELECT pg_notify('c', $1) $$;
CREATE FUNCTION app.label(t anyelement, sep text DEFAULT '-') RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT sep $$;
CREATE FUNCTION app.pair(a int, b int) RETURNS int LANGUAGE sql AS $$ SELECT $1 $$;
CREATE FUNCTION public.lower(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;
CREATE FUNCTION public.upper_c(text) RETURNS text LANGUAGE internal IMMUTABLE AS 'upper';
"""


def forwarded(sql: str, catalog: Catalog) -> bool:
    return verdict(read(sql.encode(), catalog), PROFILES["default"]).action is Action.FORWARD


@pytest.fixture
def catalog(postgres: EmbeddedPostgres, database: str) -> Catalog:
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute(OF_ONES_OWN)
        connection.execute("SET search_path = app")
        # As text, as a session gets it.
        row = connection.execute(f"SELECT one::text, other::text FROM ({QUESTION}) AS q (one, other, level)").fetchone()
    assert row is not None
    return read_catalog(*row)


def test_a_function_of_ones_own_is_found_wherever_it_is_selected_as_an_attribute(catalog: Catalog) -> None:
    for sql in (
        "SELECT ('x'::text).tell",
        "SELECT t.tell FROM t",
        "SELECT q.label FROM unnest(ARRAY['a']) q",
        "SELECT count(*) FROM t WHERE (t.a).label = 'x'",
    ):
        assert forwarded(sql, BUILT_IN), sql
        assert not forwarded(sql, catalog), sql


def test_what_no_function_of_one_argument_is_called_is_a_column(catalog: Catalog) -> None:
    for sql in (
        "SELECT t.pair FROM t",
        "SELECT (t.a).b FROM t",
        "SELECT t.upper_c FROM t",
        "SELECT app.t.a FROM app.t",
    ):
        assert forwarded(sql, catalog), sql


def test_a_harmless_name_that_the_database_has_elsewhere_too_is_ambiguous(catalog: Catalog) -> None:
    assert not forwarded("SELECT lower(5)", catalog)
    assert not forwarded("SELECT (5).lower", catalog)
    assert forwarded("SELECT pg_catalog.lower('A'), upper('a')", catalog)
    assert forwarded("SELECT lower(5)", BUILT_IN)


def test_the_reason_names_the_attribute(catalog: Catalog) -> None:
    found = verdict(read(b"SELECT t.tell FROM t", catalog), PROFILES["default"])
    assert found.reason == "it selects the attribute tell, which may be a call of a function of that name"


CALLABLE = """
SELECT DISTINCT proname FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace AND pronargs >= 1 AND pronargs - pronargdefaults <= 1
AND prorettype NOT IN ('trigger'::regtype, 'internal'::regtype, 'event_trigger'::regtype)
AND proargtypes[0] <> 'internal'::regtype
"""


def test_without_a_database_every_built_in_function_is_known(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.dsn("postgres")) as connection:
        names = {name for (name,) in connection.execute(CALLABLE).fetchall()} - HARMLESS
    assert len(names) > 70
    assert [name for name in sorted(names) if not BUILT_IN.may_call(name)] == []


def test_the_same_answer_is_the_same_catalog() -> None:
    assert read_catalog('["a"]', "[]") is read_catalog('["a"]', "[]")
    assert read_catalog(None, None) == BUILT_IN


@pytest.mark.parametrize("answer", ["", "{}", "[1]", '"a"', "nonsense", "null"])
def test_an_answer_that_is_no_list_of_names_is_refused(answer: str) -> None:
    if answer:
        with pytest.raises(ValueError, match=r"."):
            read_catalog(answer, "[]")
    else:
        assert read_catalog(answer, "[]") == BUILT_IN

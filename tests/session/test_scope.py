"""Where a session stands, asked of a live server: above all, which of its temporary tables run nobody's code."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.judge.asking import scope_of

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.scoped import SCOPE_QUESTIONS, may_have_temporary

Connection = psycopg.Connection[Any]

MADE = """
CREATE FUNCTION loud(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION shout(int, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR === (leftarg = int, rightarg = int, procedure = shout);
CREATE DOMAIN small AS int; CREATE TYPE mood AS ENUM ('glad'); CREATE TABLE parent (a int);
"""


@pytest.fixture
def session(postgres: EmbeddedPostgres, database: str) -> Iterator[Connection]:
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute(MADE.encode())
        yield connection


def path_of(session: Connection) -> str:
    cursor = session.execute(SCOPE_QUESTIONS[0].encode())
    assert cursor.pgresult is not None
    return (cursor.pgresult.get_value(0, 0) or b"").decode()


def scope(session: Connection) -> tuple[list[str], str, dict[str, bool]]:
    found = scope_of(session)
    known = {**dict.fromkeys(found.busy_temporary | found.odd_temporary, False), **dict.fromkeys(found.temporary, True)}
    return list(found.path or ()), found.role, known


@pytest.mark.parametrize(
    "columns",
    [
        "a int, b text",
        "id serial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, at timestamptz DEFAULT now()",
        "u uuid DEFAULT gen_random_uuid(), r float8 DEFAULT random(), c timestamptz DEFAULT clock_timestamp()",
        "a int CHECK (a > 0), b int GENERATED ALWAYS AS (a * 2) STORED, UNIQUE (a, b)",
        "m mood DEFAULT 'glad'",
        "a int) PARTITION BY LIST (a",
    ],
)
def test_a_temporary_table_of_postgresqls_own_is_plain(session: Connection, columns: str) -> None:
    session.execute(f"CREATE TEMP TABLE x ({columns})".encode())
    assert scope(session)[2] == {"x": True}


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TEMP TABLE x (a int DEFAULT loud(1))",
        "CREATE TEMP TABLE x (a int CHECK (loud(a) = 1))",
        "CREATE TEMP TABLE x (a int CHECK (a === 1))",
        "CREATE TEMP TABLE x (a int, b int GENERATED ALWAYS AS (loud(a)) STORED)",
        "CREATE TEMP TABLE x (a oid DEFAULT lo_create(0))",
        "CREATE TEMP TABLE x (a text DEFAULT set_config('a.b', 'c', false))",
        "CREATE TEMP TABLE x (a small)",
        "CREATE TEMP TABLE x (a small[])",
        "CREATE TEMP TABLE x (p parent)",
        "CREATE TEMP TABLE x () INHERITS (parent)",
        "CREATE TEMP TABLE x (a int); CREATE INDEX ON x (loud(a))",
        "CREATE TEMP TABLE x (a int); CREATE INDEX ON x (a) WHERE loud(a) = 1",
        "CREATE TEMP TABLE x (a int); CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW EXECUTE FUNCTION tell()",
        "CREATE TEMP TABLE x (a int); CREATE RULE r AS ON INSERT TO x DO ALSO NOTIFY a",
        "CREATE TEMP TABLE x (a int); ALTER TABLE x ENABLE ROW LEVEL SECURITY",
        "CREATE TEMP VIEW x AS SELECT a FROM parent FOR UPDATE",
    ],
)
def test_a_temporary_relation_that_may_run_somebodys_code_is_odd(session: Connection, made: str) -> None:
    session.execute(made.encode())
    assert scope(session)[2] == {"x": False}


def test_a_temporary_view_is_known_by_what_it_is_of(session: Connection) -> None:
    session.execute("CREATE TEMP TABLE mine (a int)")
    session.execute("CREATE TEMP VIEW inner_view AS SELECT abs(a) AS a FROM parent WHERE a === 1")
    session.execute("CREATE TEMP VIEW x AS SELECT loud(v.a), '{1}'::small[] FROM inner_view v, mine WHERE v.a < 3")
    views = dict(scope_of(session).temporary_views)
    assert set(views) == {"inner_view", "x"}
    assert views["inner_view"].relations == {("public", "parent")}
    assert views["inner_view"].functions == {("pg_catalog", "abs")}
    assert views["inner_view"].operators == {("===",)}
    assert views["x"].relations == {("pg_temp", "inner_view"), ("pg_temp", "mine")}
    assert views["x"].functions == {("public", "loud")}
    assert views["x"].types >= {("_small",)}


@pytest.mark.parametrize("path", ["public", "nowhere", "", "public, pg_temp", "pg_catalog, pg_temp, public"])
def test_a_session_with_temporary_relations_searches_their_schema_whatever_its_search_path(
    session: Connection, path: str
) -> None:
    assert not may_have_temporary(path_of(session))
    session.execute(f"CREATE TEMP TABLE x (a int); SELECT set_config('search_path', '{path}', false)".encode())
    assert may_have_temporary(path_of(session))


def test_a_temporary_schema_is_searched_even_after_its_relations_are_dropped(session: Connection) -> None:
    session.execute("CREATE TEMP TABLE x (a int); DISCARD TEMP")
    assert may_have_temporary(path_of(session))


def test_the_schemas_that_are_searched_unsaid_are_listed_too(session: Connection) -> None:
    assert scope(session)[:2] == (["pg_catalog", "public"], "postgres")
    session.execute("CREATE SCHEMA app; SET search_path = app, nowhere, public; CREATE TEMP TABLE x (a int)")
    path, _, _ = scope(session)
    assert (path[0][:8], path[1:]) == ("pg_temp_", ["pg_catalog", "app", "public"])
    session.execute("CREATE ROLE somebody_else; SET ROLE somebody_else")
    assert scope(session)[1] == "somebody_else"
    session.execute("RESET ROLE; DROP ROLE somebody_else")

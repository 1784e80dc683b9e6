"""Between the decision and the execution something changes on a real server: nothing runs, and the entry says what.

The requester cannot do it in the session that waits; somebody else can, in another one.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.flow.served import Served, until
from tests.tiers import one_in

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.request.decision import Answer

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, a text DEFAULT 'x'); INSERT INTO t SELECT generate_series(1, 10);
CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent); INSERT INTO child SELECT generate_series(1, 5);
CREATE VIEW v AS SELECT id, a FROM t;
CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$;
CREATE TABLE watched (id int); INSERT INTO watched SELECT generate_series(1, 10);
CREATE TRIGGER w BEFORE DELETE ON watched FOR EACH ROW EXECUTE FUNCTION quiet();
CREATE FUNCTION seven() RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN 7; END $$;
CREATE FUNCTION near(int, int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN $1 = $2; END $$;
CREATE OPERATOR ### (leftarg = int, rightarg = int, function = near);
CREATE AGGREGATE pick(int) (sfunc = int4smaller, stype = int);
CREATE TABLE grandchild () INHERITS (child);
CREATE TABLE refers (a int UNIQUE, t int REFERENCES t);
CREATE FUNCTION plain() RETURNS text LANGUAGE sql AS 'SELECT ''x''::text';
CREATE FUNCTION good(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 > 0';
CREATE FUNCTION made(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE DOMAIN positive AS int CHECK (good(VALUE));
CREATE TABLE coded (id int CHECK (good(id)), a text DEFAULT plain(), p positive,
  g int GENERATED ALWAYS AS (made(id)) STORED);
CREATE INDEX ON coded (made(id)); INSERT INTO coded (id) VALUES (1), (2);
CREATE VIEW seen AS SELECT id, a FROM coded WHERE good(id);
CREATE TABLE guarded (id int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON guarded USING (good(id));
INSERT INTO guarded VALUES (1);
CREATE TABLE ruled (id int); CREATE TABLE of_rule (id int); INSERT INTO ruled VALUES (1);
CREATE RULE r AS ON DELETE TO ruled DO ALSO DELETE FROM of_rule WHERE id = old.id;
CREATE TABLE top (id int PRIMARY KEY); CREATE TABLE below (id int REFERENCES top ON DELETE CASCADE);
CREATE TABLE lower (id int); INSERT INTO top VALUES (1); INSERT INTO below VALUES (1);
CREATE TABLE upserted (id int PRIMARY KEY, b int); INSERT INTO upserted VALUES (1, 1);
CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE TYPE mood AS ENUM ('fine');
CREATE FUNCTION deepest(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN $1; END $$;
CREATE FUNCTION deep(int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT deepest($1); END;
CREATE FUNCTION round_trip(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN $1; END $$;
CREATE FUNCTION there(int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT round_trip($1); END;
CREATE OR REPLACE FUNCTION round_trip(int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT there($1 - 1) WHERE $1 > 0; END;
CREATE FUNCTION by_default(int DEFAULT deepest(1)) RETURNS int LANGUAGE sql AS 'SELECT $1';
CREATE TABLE deeply (id int, a int DEFAULT deep(1)); INSERT INTO deeply VALUES (1), (2);
CREATE VIEW deep_view AS SELECT id FROM deeply WHERE deep(id) > 0;
CREATE FUNCTION fills() RETURNS int LANGUAGE sql BEGIN ATOMIC INSERT INTO of_rule VALUES (1) RETURNING id; END;
CREATE DOMAIN outer_domain AS positive;
CREATE TABLE of_domains (id int, p outer_domain); INSERT INTO of_domains VALUES (1);
CREATE DOMAIN inside AS int CHECK (deepest(VALUE) > 0);
CREATE TYPE pair AS (a inside, b int);
CREATE TABLE of_pairs (id int, p pair); INSERT INTO of_pairs VALUES (1);
CREATE TABLE allowed (id int); CREATE TABLE asks (id int); ALTER TABLE asks ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON asks USING (id IN (SELECT id FROM allowed)); INSERT INTO asks VALUES (1);
CREATE FUNCTION used(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
CREATE TABLE split (id int, k int); INSERT INTO split VALUES (1, 1);
CREATE SCHEMA prod; CREATE TABLE prod.t (id int); INSERT INTO prod.t SELECT generate_series(1, 10);
"""
BETTER = "CREATE OR REPLACE FUNCTION good(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 > -1'"
DEEPER = """
CREATE OR REPLACE FUNCTION deepest(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM t; RETURN $1; END $$
"""
LOUD = (
    "CREATE OR REPLACE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM t; RETURN OLD; END $$"
)
KINDS = {
    "a column": ("DELETE FROM t WHERE id < 3", "ALTER TABLE t ADD b int", "columns of public.t"),
    "a default": (
        "UPDATE t SET a = DEFAULT WHERE id = 1",
        "ALTER TABLE t ALTER a SET DEFAULT 'y'",
        "columns of public.t",
    ),
    "another table of the name": (
        "DELETE FROM t WHERE id < 3",
        "ALTER TABLE t RENAME TO old; ALTER TABLE prod.t SET SCHEMA public",
        "public.t",
    ),
    "a trigger": (
        "DELETE FROM t WHERE id < 3",
        "CREATE TRIGGER q BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION quiet()",
        "triggers of public.t",
    ),
    "what a trigger runs": ("DELETE FROM watched WHERE id < 3", LOUD, "triggers of public.watched"),
    "a disabled trigger": (
        "DELETE FROM watched WHERE id < 3",
        "ALTER TABLE watched DISABLE TRIGGER w",
        "triggers of public.watched",
    ),
    "a rule": (
        "DELETE FROM t WHERE id < 3",
        "CREATE RULE r AS ON DELETE TO t DO ALSO DELETE FROM watched",
        "rules of public.t",
    ),
    "the query of a view": (
        "DELETE FROM v WHERE id < 3",
        "CREATE OR REPLACE VIEW v AS SELECT id, a FROM t WHERE id > 1",
        "rules of public.v",
    ),
    "what is under a view": ("DELETE FROM v WHERE id < 3", "ALTER TABLE t ALTER a SET NOT NULL", "columns of public.t"),
    "a policy": ("DELETE FROM t WHERE id < 3", "ALTER TABLE t ENABLE ROW LEVEL SECURITY", "row security of public.t"),
    "a cascade": (
        "DELETE FROM t WHERE id < 3",
        "CREATE TABLE kids (t int REFERENCES t ON DELETE CASCADE)",
        "constraints of public.t",
    ),
    "a check": ("UPDATE t SET a = 'z' WHERE id = 1", "ALTER TABLE t ADD CHECK (id > 0)", "constraints of public.t"),
    "a child": ("DELETE FROM parent", "CREATE TABLE second () INHERITS (parent)", "partitions of public.parent"),
    "a function": (
        "SELECT seven()",
        "CREATE OR REPLACE FUNCTION seven() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM t; RETURN 7; END $$",
        "the function seven",
    ),
    "what is behind an operator": (
        "DELETE FROM t WHERE id ### 3",
        "CREATE OR REPLACE FUNCTION near(int, int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN true; END $$",
        "the operator ###",
    ),
    "a trigger's arguments": (
        "DELETE FROM watched WHERE id < 3",
        "CREATE OR REPLACE TRIGGER w BEFORE DELETE ON watched FOR EACH ROW EXECUTE FUNCTION quiet('loud')",
        "triggers of public.watched",
    ),
    "a trigger of a child's child": (
        "DELETE FROM parent",
        "CREATE TRIGGER q BEFORE DELETE ON grandchild FOR EACH ROW EXECUTE FUNCTION quiet()",
        "triggers of public.grandchild",
    ),
    "what is attached below": (
        "TRUNCATE parent",
        "CREATE TABLE further () INHERITS (grandchild)",
        "partitions of public.grandchild",
    ),
    "an aggregate": (
        "DELETE FROM t WHERE id = (SELECT pick(id) FROM t)",
        "CREATE OR REPLACE AGGREGATE pick(int) (sfunc = int4larger, stype = int)",
        "the function pick",
    ),
    "a table that is moved into a schema": (
        "DROP SCHEMA prod CASCADE",
        "ALTER TABLE parent SET SCHEMA prod",
        "table prod.parent, which goes along",
    ),
    "a table that is made in a schema": (
        "DROP SCHEMA prod CASCADE",
        "CREATE TABLE prod.new (id int)",
        "table prod.new, which goes along",
    ),
    "another table of the name in a schema": (
        "DROP SCHEMA prod CASCADE",
        "ALTER TABLE prod.t RENAME TO old; CREATE TABLE prod.t (id int)",
        "table prod.t, which goes along",
    ),
    "a view over a view": (
        "DROP VIEW v CASCADE",
        "CREATE VIEW over AS SELECT * FROM v",
        "view public.over, which goes along",
    ),
    "a column of a dropped type": (
        "DROP TYPE mood CASCADE",
        "ALTER TABLE grandchild ADD m mood",
        "table column public.grandchild.m, which goes along",
    ),
    "a table that refers to one that refers": (
        "TRUNCATE t CASCADE",
        "CREATE TABLE further (a int REFERENCES refers (a))",
        "table public.further, which goes along",
    ),
    "a function of a dropped schema": (
        "DROP SCHEMA prod CASCADE",
        "CREATE FUNCTION prod.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "function prod.f(), which goes along",
    ),
    "what a default calls": (
        "UPDATE coded SET a = DEFAULT WHERE id = 1",
        "CREATE OR REPLACE FUNCTION plain() RETURNS text LANGUAGE sql AS 'SELECT ''y''::text'",
        "functions of public.coded",
    ),
    "what a check calls": ("UPDATE coded SET id = 3 WHERE id = 1", BETTER, "functions of public.coded"),
    "what a generated column or an index calls": (
        "UPDATE coded SET id = 3 WHERE id = 1",
        "CREATE OR REPLACE FUNCTION made(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1'",
        "functions of public.coded",
    ),
    "a check of a domain": (
        "UPDATE coded SET p = 3 WHERE id = 1",
        "ALTER DOMAIN positive ADD CHECK (VALUE < 10)",
        "functions of public.coded",
    ),
    "what a view calls": ("DELETE FROM seen WHERE id = 1", BETTER, "functions of public.seen"),
    "what a policy calls": ("DELETE FROM guarded WHERE id = 1", BETTER, "functions of public.guarded"),
    "a trigger where a rule leads": (
        "DELETE FROM ruled",
        "CREATE TRIGGER q BEFORE DELETE ON of_rule FOR EACH ROW EXECUTE FUNCTION quiet()",
        "triggers of public.of_rule",
    ),
    "a trigger where a cascade leads": (
        "DELETE FROM top WHERE id = 1",
        "CREATE TRIGGER q BEFORE DELETE ON below FOR EACH ROW EXECUTE FUNCTION quiet()",
        "triggers of public.below",
    ),
    "a unique index under ON CONFLICT": (
        "INSERT INTO upserted VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET b = 3",
        "CREATE UNIQUE INDEX ON upserted (b)",
        "unique indexes of public.upserted",
    ),
    "an event trigger": (
        "ALTER TABLE t DROP a",
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION on_ddl()",
        "event triggers",
    ),
    "what a function calls behind a default": (
        "UPDATE deeply SET a = DEFAULT WHERE id = 1",
        DEEPER,
        "the function public.deepest(integer), called by others",
    ),
    "what a function calls behind a view": (
        "DELETE FROM deep_view WHERE id = 1",
        DEEPER,
        "the function public.deepest(integer), called by others",
    ),
    "what a function calls that is called by name": (
        "DELETE FROM t WHERE id < deep(3)",
        DEEPER,
        "the function public.deepest(integer), called by others",
    ),
    "what the default of an argument calls": (
        "DELETE FROM t WHERE id < by_default()",
        DEEPER,
        "the function public.deepest(integer), called by others",
    ),
    "functions that call each other": (
        "DELETE FROM t WHERE id < there(3)",
        "CREATE OR REPLACE FUNCTION round_trip(int) RETURNS int LANGUAGE sql AS 'SELECT $1'",
        "the function public.round_trip(integer), called by others",
    ),
    "a trigger where a function leads": (
        "SELECT fills()",
        "CREATE TRIGGER q BEFORE INSERT ON of_rule FOR EACH ROW EXECUTE FUNCTION quiet()",
        "triggers of public.of_rule",
    ),
    "a check of a domain under a domain": (
        "UPDATE of_domains SET p = 3 WHERE id = 1",
        "ALTER DOMAIN positive ADD CHECK (VALUE < 10)",
        "the domain public.positive",
    ),
    "what a domain calls that is named": ("DELETE FROM t WHERE id < 3::positive", BETTER, "public.good(integer)"),
    "a check of a domain that is named": (
        "DELETE FROM t WHERE id < 3::positive",
        "ALTER DOMAIN positive ADD CHECK (VALUE < 10)",
        "the domain public.positive",
    ),
    "a domain in a composite type": (
        "UPDATE of_pairs SET p = '(3,4)' WHERE id = 1",
        DEEPER,
        "the function public.deepest(integer), called by others",
    ),
    "what a policy reads": (
        "DELETE FROM asks",
        "ALTER TABLE allowed RENAME TO old; ALTER TABLE old ENABLE ROW LEVEL SECURITY",
        "row security of public.old",
    ),
    "a trigger where TRUNCATE leads": (
        "TRUNCATE t CASCADE",
        "CREATE TRIGGER q BEFORE TRUNCATE ON refers EXECUTE FUNCTION quiet()",
        "triggers of public.refers",
    ),
    "a view over what a function is dropped from": (
        "DROP FUNCTION used(int) CASCADE",
        "CREATE VIEW of_used AS SELECT used(1)",
        "view public.of_used, which goes along",
    ),
    "what refers to a dropped constraint": (
        "ALTER TABLE refers DROP CONSTRAINT refers_a_key CASCADE",
        "CREATE TABLE further (a int REFERENCES refers (a))",
        "table constraint further_a_fkey on public.further, which goes along",
    ),
    "a view over a dropped column": (
        "ALTER TABLE split DROP k CASCADE",
        "CREATE VIEW of_split AS SELECT k FROM split",
        "view public.of_split, which goes along",
    ),
    "DDL": ("ALTER TABLE t DROP a", "ALTER TABLE t ADD b int", "columns of public.t"),
    "outside a transaction": ("VACUUM FULL t", "ALTER TABLE t ADD b int", "columns of public.t"),
}
UNMOVED = {
    "a unique index without ON CONFLICT": ("DELETE FROM upserted", "CREATE UNIQUE INDEX ON upserted (b)"),
    "an event trigger where none fires": (
        "DELETE FROM t WHERE id < 3",
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION on_ddl()",
    ),
    "a table that refers without an action": (
        "DELETE FROM top WHERE id = 2",
        "CREATE TRIGGER q BEFORE DELETE ON lower FOR EACH ROW EXECUTE FUNCTION quiet()",
    ),
    "an index on what goes along": ("DROP SCHEMA prod CASCADE", "CREATE INDEX ON prod.t (id)"),
    "rows of what goes along": ("DROP SCHEMA prod CASCADE", "INSERT INTO prod.t VALUES (11)"),
    "a view of another column": (
        "ALTER TABLE split DROP k CASCADE",
        "CREATE VIEW of_split AS SELECT id FROM split",
    ),
    "a view over another function": ("DROP FUNCTION used(int) CASCADE", "CREATE VIEW of_deep AS SELECT deep(1)"),
    "a trigger that TRUNCATE without CASCADE does not reach": (
        "TRUNCATE refers",
        "CREATE TRIGGER q BEFORE TRUNCATE ON top EXECUTE FUNCTION quiet()",
    ),
    "another schema": ("DROP SCHEMA prod CASCADE", "CREATE SCHEMA other; CREATE TABLE other.t (id int)"),
    "what refers without CASCADE": ("TRUNCATE refers", "CREATE TABLE further (id int)"),
}
INNOCENT = {
    "rows": "INSERT INTO t SELECT generate_series(100, 200)",
    "statistics": "ANALYZE t",
    "an index": "CREATE INDEX ON t (a)",
    "privileges": "GRANT SELECT ON t TO PUBLIC",
    "another table": "CREATE TABLE u (id int)",
}


@pytest.fixture(scope="module")
def proxy(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(postgres, Path(tmp_path_factory.mktemp("changed")) / "pgnotary", hold_s=60) as served:
        yield served
        served.entries()


@pytest.fixture
def made(proxy: Served, database: str) -> str:
    with proxy.behind(database) as behind:
        behind.execute(SCHEMA.encode())
    return database


def _decided(
    proxy: Served, connection: psycopg.Connection[Any], text: str, change: Callable[[], object]
) -> tuple[str, psycopg.Error | None]:
    """Send a text, change something while it waits, and approve it; return the request and the error it met."""

    def send() -> psycopg.Error | None:
        try:
            connection.execute(text.encode())
        except psycopg.Error as error:
            return error
        return None

    with ThreadPoolExecutor(1) as beside:
        sent = beside.submit(send)
        paper = proxy.held()
        change()
        proxy.decide(paper, Answer.APPROVE)
        return paper.id, sent.result(30)


def _state(proxy: Served, database: str) -> list[tuple[Any, ...]]:
    with proxy.behind(database) as behind:
        return behind.execute("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM watched)").fetchall()


# What stands around the relations, with a schema for each; tests/request/test_schema_state.py has all kinds of it.
AROUND = {
    "options of a server": (
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER files FOREIGN DATA WRAPPER w OPTIONS (host 'a');"
        "CREATE FOREIGN TABLE far (id int) SERVER files",
        "DELETE FROM far",
        "ALTER SERVER files OPTIONS (SET host 'b')",
        "the server files",
    ),
    "a label": (
        "CREATE TYPE mood AS ENUM ('sad', 'fine'); CREATE TABLE moods (m mood); INSERT INTO moods VALUES ('fine')",
        "UPDATE moods SET m = 'sad' WHERE m > 'sad'",
        "ALTER TYPE mood ADD VALUE 'bad' BEFORE 'sad'",
        "the labels of public.mood",
    ),
    "who owns a view": (
        "CREATE TABLE base (id int); INSERT INTO base VALUES (1); CREATE VIEW over AS SELECT id FROM base",
        "DELETE FROM over",
        "ALTER VIEW over OWNER TO pg_monitor",
        "owner of public.over",
    ),
    "a table in a block of code": (
        "CREATE TABLE emptied (id int); INSERT INTO emptied VALUES (1)",
        "DO $$ BEGIN DELETE FROM emptied; END $$",
        "ALTER TABLE emptied RENAME TO old; CREATE TABLE emptied (id int); INSERT INTO emptied VALUES (2), (3)",
        "public.emptied",
    ),
    "a schema of the name": (
        "CREATE SCHEMA s; CREATE TABLE s.kept (id int)",
        "ALTER SCHEMA s RENAME TO gone",
        "ALTER SCHEMA s RENAME TO other; CREATE SCHEMA s",
        "the schema s",
    ),
}


@pytest.mark.parametrize("case", one_in(2, AROUND))
def test_what_stands_around_it_voids_it_too(proxy: Served, database: str, case: tuple[str, str, str, str]) -> None:
    schema, text, change, what = case
    with proxy.behind(database) as behind, proxy.connect(database) as her:
        behind.execute(schema.encode())
        request, met = _decided(proxy, her, text, lambda: behind.execute(change.encode()))
    assert met is not None
    assert (met.sqlstate, f"{what}: signed" in (met.diag.message_detail or "")) == ("55000", True), met
    void = until(lambda: [each for each in proxy.life(request) if each["type"] == "void"], "the entry")[-1]
    assert what in [each["what"] for each in void["body"]["changed"]]
    assert [each["type"] for each in proxy.life(request)] == ["request", "preview", "decision", "void"]


# What has changed is asked in the same way, however the statement came.
EXTENDED = ("a column", "another table of the name", "what a trigger runs", "DDL", "outside a transaction")


@pytest.mark.parametrize(
    ("name", "extended"),
    [*((name, False) for name in KINDS), *((name, True) for name in EXTENDED)],
    ids=[*KINDS, *(f"{name}, extended" for name in EXTENDED)],
)
def test_nothing_runs_and_the_entry_says_what_has_changed(proxy: Served, made: str, name: str, extended: bool) -> None:
    text, change, what = KINDS[name]
    before: list[tuple[Any, ...]] = []

    def meddle() -> None:
        with proxy.behind(made) as behind:
            behind.execute(change.encode())
        before.extend(_state(proxy, made))

    factory = psycopg.Cursor if extended else psycopg.ClientCursor
    with proxy.connect(made, cursor_factory=factory) as her:
        request, met = _decided(proxy, her, text, meddle)
        assert her.execute("SELECT 1").fetchone() == (1,)
    assert met is not None
    assert (met.sqlstate, what in (met.diag.message_detail or "")) == ("55000", True), met
    life = until(lambda: [each for each in proxy.life(request) if each["type"] == "void"], "the entry")
    assert any(what in each["what"] for each in life[-1]["body"]["changed"])
    assert [each["type"] for each in proxy.life(request)] == ["request", "preview", "decision", "void"]
    assert _state(proxy, made) == before


@pytest.mark.parametrize("jit", ["on", "off"])
def test_what_compiles_queries_is_as_the_client_left_it(proxy: Served, made: str, jit: str) -> None:
    """A question of ours is not compiled, which takes longer than its limit of time; the client's statement may be."""
    with proxy.connect(made, autocommit=False) as her:
        her.execute(f"SET jit = {jit}".encode())
        _, met = _decided(proxy, her, "DELETE FROM t WHERE id < 3", lambda: None)
        assert met is None
        assert her.execute("SHOW jit").fetchone() == (jit,)
        her.commit()
        assert her.execute("SHOW jit").fetchone() == (jit,)


def test_what_execute_runs_is_looked_at_by_what_it_names(proxy: Served, made: str) -> None:
    def meddle() -> None:
        with proxy.behind(made) as behind:
            behind.execute("CREATE TRIGGER q BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION quiet()")

    with proxy.connect(made) as her:
        _, met = _decided(proxy, her, "PREPARE d AS DELETE FROM t WHERE id < 3", lambda: None)
        assert met is None
        request, met = _decided(proxy, her, "EXECUTE d", meddle)
    assert met is not None
    assert "triggers of public.t" in [each["what"] for each in proxy.life(request)[-1]["body"]["changed"]]
    assert _state(proxy, made) == [(10, 10)]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (BETTER, "the function good"),
        ("CREATE OR REPLACE VIEW v AS SELECT id, a FROM t WHERE id > 1", "rules of public.v"),
    ],
    ids=["a function", "a view"],
)
def test_what_execute_runs_is_looked_at_by_what_it_calls_and_reads(
    proxy: Served, made: str, change: str, what: str
) -> None:
    def meddle() -> None:
        with proxy.behind(made) as behind:
            behind.execute(change.encode())

    with proxy.connect(made) as her:
        text = "PREPARE d AS DELETE FROM watched WHERE good(id) AND id IN (SELECT id FROM v)"
        _, met = _decided(proxy, her, text, lambda: None)
        assert met is None
        request, met = _decided(proxy, her, "EXECUTE d", meddle)
    assert met is not None
    assert what in [each["what"] for each in proxy.life(request)[-1]["body"]["changed"]]
    assert _state(proxy, made) == [(10, 10)]


def test_what_a_cast_runs_is_looked_at(proxy: Served, made: str) -> None:
    """With a cast of one's own in the database, whatever may call it is held."""
    function = "CREATE OR REPLACE FUNCTION cast_it(text) RETURNS pg_lsn LANGUAGE sql AS 'SELECT ''0/{}''::pg_lsn'"
    with proxy.behind(made) as behind:
        behind.execute(function.format(1).encode())
        behind.execute("CREATE CAST (text AS pg_lsn) WITH FUNCTION cast_it(text)")

        def meddle() -> None:
            behind.execute(function.format(2).encode())

        with proxy.connect(made) as her:
            request, met = _decided(proxy, her, "DELETE FROM t WHERE a::pg_lsn > '0/0'", meddle)
    assert met is not None
    assert [each["what"] for each in proxy.life(request)[-1]["body"]["changed"]] == ["casts"]
    assert _state(proxy, made) == [(10, 10)]


@pytest.mark.parametrize(
    "place",
    ["__NAMED__", "__CALLED__", "__SPELLED__", "__OPERATORS__", "__ASPECTS__", "__GONE__", "__TAKEN__", "__SAID__"],
)
def test_a_table_that_is_called_like_a_place_in_our_questions_puts_nothing_into_them(
    proxy: Served, made: str, place: str
) -> None:
    inside = 'x"]; COMMIT; BEGIN READ WRITE; DELETE FROM t; COMMIT; --'
    with proxy.behind(made) as behind:
        behind.execute(f'CREATE TABLE "{place}" (id int); INSERT INTO "{place}" VALUES (1), (2)'.encode())
        body = "LANGUAGE sql IMMUTABLE AS 'SELECT 1'"
        name = inside.replace('"', '""')
        behind.execute(f'CREATE FUNCTION "{name}"() RETURNS int {body}'.encode())
    with proxy.connect(made) as her:
        text = f'DELETE FROM "{place}" WHERE id = "{name}"()'
        request, met = _decided(proxy, her, text, lambda: None)
        assert met is None
    assert proxy.outcome(request)["rows"] == 1
    assert "failed" not in proxy.life(request)[1]["body"].get("why", "")
    assert _state(proxy, made) == [(10, 10)]


@pytest.mark.parametrize("change", INNOCENT.values(), ids=INNOCENT)
def test_what_changes_nothing_of_it_is_no_reason(proxy: Served, made: str, change: str) -> None:
    def meddle() -> None:
        with proxy.behind(made) as behind:
            behind.execute(change.encode())

    with proxy.connect(made) as her:
        request, met = _decided(proxy, her, "DELETE FROM t WHERE id < 3", meddle)
    assert met is None
    assert proxy.outcome(request)["result"] == "committed"


@pytest.mark.parametrize(("text", "change"), UNMOVED.values(), ids=UNMOVED)
def test_what_takes_nothing_else_along_is_no_reason(proxy: Served, made: str, text: str, change: str) -> None:
    def meddle() -> None:
        with proxy.behind(made) as behind:
            behind.execute(change.encode())

    with proxy.connect(made) as her:
        request, met = _decided(proxy, her, text, meddle)
    assert met is None
    assert proxy.outcome(request)["result"] == "committed"


def test_a_role_of_another_name_is_another_role(proxy: Served, made: str) -> None:
    with proxy.behind(made) as behind:
        behind.execute("CREATE ROLE clerk; GRANT ALL ON t TO clerk")
        try:
            with proxy.connect(made) as her:
                her.execute("SET ROLE clerk")
                request, met = _decided(
                    proxy, her, "DELETE FROM t WHERE id < 3", lambda: behind.execute("ALTER ROLE clerk RENAME TO boss")
                )
            assert met is not None
            assert "role: signed clerk, now boss" in str(met.diag.message_detail)
            changed = proxy.life(request)[-1]["body"]["changed"]
            assert changed == [{"what": "role", "signed": "clerk", "found": "boss"}]
        finally:
            behind.execute("REVOKE ALL ON t FROM boss; DROP ROLE boss")


def test_inside_a_block_it_is_left_failed(proxy: Served, made: str) -> None:
    def meddle() -> None:
        with proxy.behind(made) as behind:
            behind.execute("ALTER TABLE watched ADD b int")

    with proxy.connect(made, autocommit=False) as her:
        her.execute("SELECT 1")
        _, met = _decided(proxy, her, "DELETE FROM watched", meddle)
        assert met is not None
        assert her.info.transaction_status is psycopg.pq.TransactionStatus.INERROR
        her.rollback()
    assert _state(proxy, made) == [(10, 10)]


def test_a_search_path_of_the_configuration_may_not_move_what_was_signed(tmp_path: Path) -> None:
    with EmbeddedPostgres() as own, psycopg.connect(own.dsn("postgres"), autocommit=True) as behind:
        behind.execute(SCHEMA.encode())

        def reload() -> None:
            behind.execute("ALTER SYSTEM SET search_path = prod, public")
            behind.execute("SELECT pg_reload_conf()")
            until(lambda: behind.execute("SHOW search_path").fetchone() == ("prod, public",), "the configuration")

        with Served(own, tmp_path / "pgnotary", hold_s=60) as proxy, proxy.connect("postgres") as her:
            request, met = _decided(proxy, her, "DELETE FROM t WHERE id < 3", reload)
            assert met is not None
            changed = proxy.life(request)[-1]["body"]["changed"]
            assert [each["found"] for each in changed if each["what"] == "search_path"] == ["prod, public"]
        assert behind.execute("SELECT count(*) FROM prod.t").fetchone() == (10,)

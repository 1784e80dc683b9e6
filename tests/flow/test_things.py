"""What a preview says of TRUNCATE, DROP and ALTER, against what the server itself then locks, drops and empties."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import psycopg
import pytest
from tests.flow.served import Served

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge import grammar
from pgnotary.request.locking import LockMode, Work, locking_of
from pgnotary.request.subject import subject_of
from pgnotary.request.things import Things, read_things, things_question

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, a int, b text);
CREATE TABLE child (x int) INHERITS (t);
CREATE TABLE below (z int) INHERITS (child);
CREATE TABLE top (id int PRIMARY KEY); CREATE TABLE refer_top (top int REFERENCES top);
CREATE TABLE of_refer () INHERITS (refer_top); INSERT INTO top VALUES (1); INSERT INTO of_refer VALUES (1);
CREATE TABLE refers (t int REFERENCES t, n int);
CREATE TABLE further (id int REFERENCES t ON DELETE CASCADE);
CREATE TABLE logs (k int, v int) PARTITION BY LIST (k);
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES IN (1);
CREATE TABLE logs_2 PARTITION OF logs FOR VALUES IN (2);
CREATE TABLE lone (k int, v int);
CREATE VIEW v AS SELECT id, a FROM t;
CREATE VIEW vv AS SELECT id FROM v;
CREATE MATERIALIZED VIEW m AS SELECT id FROM vv;
CREATE UNIQUE INDEX m_id ON m (id);
CREATE INDEX t_a ON t (a);
CREATE TYPE mood AS ENUM ('fine', 'bad');
CREATE DOMAIN age AS int CHECK (VALUE > 0);
CREATE TABLE moods (m mood, how age);
CREATE FUNCTION moody(mood) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch();
CREATE FUNCTION of_t(t) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE SEQUENCE s;
CREATE TABLE counted (id int DEFAULT nextval('s'), own serial);
CREATE POLICY p ON lone USING (k > 0);
CREATE RULE r AS ON DELETE TO lone DO ALSO NOTIFY gone;
CREATE SCHEMA app;
CREATE TABLE app.one (id int PRIMARY KEY);
CREATE TABLE app."Two ""x" (id int REFERENCES app.one);
CREATE VIEW outside AS SELECT * FROM app.one;
CREATE TABLE beside (id int REFERENCES app.one);
CREATE TABLE hidden (id int); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON hidden USING (id < 3);
CREATE FUNCTION bad() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN DELETE FROM t; RETURN 1; END $$;
INSERT INTO t SELECT i, i, 'x' FROM generate_series(1, 10) i;
INSERT INTO child SELECT i, i, 'x', i FROM generate_series(11, 13) i;
INSERT INTO below SELECT i, i, 'x', i, i FROM generate_series(14, 15) i;
INSERT INTO refers SELECT i, i FROM generate_series(1, 4) i;
INSERT INTO logs SELECT i % 2 + 1, i FROM generate_series(1, 7) i;
INSERT INTO lone VALUES (3, 1);
INSERT INTO app.one SELECT generate_series(1, 5);
INSERT INTO hidden SELECT generate_series(1, 5);
REFRESH MATERIALIZED VIEW m;
"""


@pytest.fixture(scope="module")
def proxy(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(postgres, tmp_path_factory.mktemp("things") / "pgnotary", hold_s=60) as served:
        yield served
        served.entries()


@pytest.fixture
def made(postgres: EmbeddedPostgres, database: str) -> str:
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
    return database


@contextmanager
def _undone(postgres: EmbeddedPostgres, database: str) -> Iterator[psycopg.Connection[Any]]:
    """A superuser's transaction that is rolled back."""
    with psycopg.connect(postgres.dsn(database)) as connection:
        yield connection
        connection.rollback()


M, W = LockMode, Work
LOCKS = [
    ("TRUNCATE lone", "lone", M.AccessExclusiveLock, W.NONE),
    ("DROP TABLE lone", "lone", M.AccessExclusiveLock, W.NONE),
    ("DROP INDEX t_a", "t", M.AccessExclusiveLock, W.NONE),
    ("DROP TRIGGER touch ON t", "t", M.AccessExclusiveLock, W.NONE),
    ("DROP POLICY p ON lone", "lone", M.AccessExclusiveLock, W.NONE),
    ("DROP RULE r ON lone", "lone", M.AccessExclusiveLock, W.NONE),
    ("LOCK TABLE t IN SHARE MODE", "t", M.ShareLock, W.NONE),
    ("LOCK TABLE t IN ROW EXCLUSIVE MODE", "t", M.RowExclusiveLock, W.NONE),
    ("LOCK TABLE t", "t", M.AccessExclusiveLock, W.NONE),
    ("CREATE INDEX ON t (b)", "t", M.ShareLock, W.SCAN),
    ("CREATE TRIGGER x BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION touch()", "t", M.ShareRowExclusiveLock, W.NONE),
    ("CREATE RULE x AS ON DELETE TO t DO NOTHING", "t", M.AccessExclusiveLock, W.NONE),
    ("CREATE POLICY x ON t", "t", M.AccessExclusiveLock, W.NONE),
    ("ALTER POLICY p ON lone USING (true)", "lone", M.AccessExclusiveLock, W.NONE),
    ("REFRESH MATERIALIZED VIEW m", "m", M.AccessExclusiveLock, W.REWRITE),
    ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", "m", M.ExclusiveLock, W.REWRITE),
    ("CLUSTER t USING t_pkey", "t", M.AccessExclusiveLock, W.REWRITE),
    ("REINDEX TABLE t", "t", M.ShareLock, W.SCAN),
    ("ANALYZE t", "t", M.ShareUpdateExclusiveLock, W.NONE),
    ("ALTER TABLE t RENAME a TO c", "t", M.AccessExclusiveLock, W.NONE),
    ("ALTER TABLE lone SET SCHEMA app", "app.lone", M.AccessExclusiveLock, W.NONE),
    ("ALTER TABLE t ADD c int", "t", M.AccessExclusiveLock, W.NONE),
    ("ALTER TABLE t ADD c int DEFAULT 7", "t", M.AccessExclusiveLock, W.NONE),
    ("ALTER TABLE t ADD c int NOT NULL DEFAULT 7", "t", M.AccessExclusiveLock, W.NONE),
    ("ALTER TABLE t ADD c float DEFAULT random()", "t", M.AccessExclusiveLock, W.REWRITE),
    ("ALTER TABLE t ADD c int GENERATED ALWAYS AS (a + 1) STORED", "t", M.AccessExclusiveLock, W.REWRITE),
    ("ALTER TABLE lone ADD c int GENERATED ALWAYS AS IDENTITY", "lone", M.AccessExclusiveLock, W.REWRITE),
    ("ALTER TABLE lone ADD c int UNIQUE", "lone", M.AccessExclusiveLock, W.SCAN),
    ("ALTER TABLE t DROP b", "t", M.AccessExclusiveLock, W.NONE),
    ("ALTER TABLE lone ALTER v TYPE bigint", "lone", M.AccessExclusiveLock, W.REWRITE),
    ("ALTER TABLE lone ALTER v SET NOT NULL", "lone", M.AccessExclusiveLock, W.SCAN),
    ("ALTER TABLE t ALTER b DROP DEFAULT", "t", M.AccessExclusiveLock, W.NONE),
    ("ALTER TABLE lone ALTER v SET STATISTICS 10", "lone", M.ShareUpdateExclusiveLock, W.NONE),
    ("ALTER TABLE lone ADD CHECK (v > 0)", "lone", M.AccessExclusiveLock, W.SCAN),
    ("ALTER TABLE lone ADD CHECK (v > 0) NOT VALID", "lone", M.AccessExclusiveLock, W.NONE),
    ("ALTER TABLE lone ADD FOREIGN KEY (v) REFERENCES t", "lone", M.ShareRowExclusiveLock, W.SCAN),
    ("ALTER TABLE lone ADD FOREIGN KEY (v) REFERENCES t NOT VALID", "lone", M.ShareRowExclusiveLock, W.NONE),
    ("ALTER TABLE lone SET UNLOGGED", "lone", M.AccessExclusiveLock, W.REWRITE),
    ("ALTER TABLE t DISABLE TRIGGER touch", "t", M.ShareRowExclusiveLock, W.NONE),
    ("ALTER TABLE t ENABLE ALWAYS TRIGGER touch", "t", M.ShareRowExclusiveLock, W.NONE),
    ("ALTER TABLE t DISABLE TRIGGER USER", "t", M.ShareRowExclusiveLock, W.NONE),
    ("ALTER TABLE lone ENABLE ROW LEVEL SECURITY", "lone", M.AccessExclusiveLock, W.NONE),
    ("ALTER TABLE logs ATTACH PARTITION lone FOR VALUES IN (3)", "logs", M.ShareUpdateExclusiveLock, W.SCAN),
    ("ALTER TABLE logs DETACH PARTITION logs_1", "logs", M.AccessExclusiveLock, W.NONE),
    ("ALTER TABLE lone ADD c int, ALTER v SET STATISTICS 3", "lone", M.AccessExclusiveLock, W.NONE),
    ("DELETE FROM t WHERE id > 100", "t", M.RowExclusiveLock, W.NONE),
    ("UPDATE t SET a = 1", "t", M.RowExclusiveLock, W.NONE),
    ("INSERT INTO lone VALUES (1, 2)", "lone", M.RowExclusiveLock, W.NONE),
    ("MERGE INTO counted USING t ON own = t.id WHEN MATCHED THEN DELETE", "counted", M.RowExclusiveLock, W.NONE),
]


@pytest.mark.parametrize(("sql", "name", "mode", "work"), LOCKS, ids=[each[0] for each in LOCKS])
def test_it_locks_as_is_said_and_rewrites_only_what_is_said(
    postgres: EmbeddedPostgres, made: str, sql: str, name: str, mode: LockMode, work: Work
) -> None:
    (raw,) = grammar.parse(sql.encode())
    said = locking_of(raw)
    assert said is not None
    assert (said.mode, said.work) == (mode, work)
    with _undone(postgres, made) as connection:
        # By oid: what is dropped has no name any more.
        oid, before = _file(connection, name.removeprefix("app."))
        connection.execute(sql.encode())
        held = connection.execute(
            "SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = %s", [oid]
        ).fetchall()
        assert max(LockMode[each] for (each,) in held) == mode
        found = connection.execute("SELECT relfilenode FROM pg_class WHERE oid = %s", [oid]).fetchone()
        rewritten = found is not None and found[0] != before
    emptied = sql.startswith(("TRUNCATE", "REFRESH"))
    assert emptied or not rewritten or work is Work.REWRITE


def _file(connection: psycopg.Connection[Any], name: str) -> tuple[int, int]:
    found = connection.execute("SELECT oid, relfilenode FROM pg_class WHERE oid = %s::regclass", [name]).fetchone()
    assert found is not None
    return cast("tuple[int, int]", found)


UNCERTAIN = {
    "VACUUM t": M.ShareUpdateExclusiveLock,
    "VACUUM FULL t": M.AccessExclusiveLock,
    "VACUUM (FULL off) t": M.ShareUpdateExclusiveLock,
    "VACUUM (FULL 0) t": M.ShareUpdateExclusiveLock,
    "VACUUM (FULL true) t": M.AccessExclusiveLock,
    "CREATE INDEX CONCURRENTLY ON t (b)": M.ShareUpdateExclusiveLock,
    "DROP INDEX CONCURRENTLY t_a": M.ShareUpdateExclusiveLock,
    "REINDEX TABLE CONCURRENTLY t": M.ShareUpdateExclusiveLock,
    "REINDEX (CONCURRENTLY false) TABLE t": M.ShareLock,
    "REINDEX INDEX t_a": M.AccessExclusiveLock,
    "ALTER TABLE logs DETACH PARTITION logs_1 CONCURRENTLY": M.ShareUpdateExclusiveLock,
    # What depends on which option: the strongest.
    "ALTER TABLE t SET (fillfactor = 50)": M.AccessExclusiveLock,
}


@pytest.mark.parametrize("sql", UNCERTAIN)
def test_what_runs_in_no_block_is_said_as_the_manual_says_it(sql: str) -> None:
    (raw,) = grammar.parse(sql.encode())
    said = locking_of(raw)
    assert said is not None
    assert said.mode is UNCERTAIN[sql]


DROPS = [
    "DROP TABLE t", "DROP TABLE lone", "DROP TABLE logs", "DROP TABLE logs_1", "DROP VIEW v", "DROP VIEW vv",
    "DROP MATERIALIZED VIEW m", "DROP INDEX t_a", "DROP SEQUENCE s", "DROP TYPE mood", "DROP DOMAIN age",
    "DROP SCHEMA app", "DROP TABLE app.one", "DROP TABLE t, refers", "DROP TABLE app.one, app.\"Two \"\"x\"",
    "DROP TABLE counted", "DROP TABLE moods", "DROP TYPE mood, age",
]  # fmt: skip


@pytest.mark.parametrize("sql", DROPS)
def test_what_drop_takes_along_is_what_the_server_says_that_it_takes(
    postgres: EmbeddedPostgres, made: str, sql: str
) -> None:
    things = _things(postgres, made, sql)
    with _undone(postgres, made) as connection:
        told: list[str] = []
        connection.add_notice_handler(lambda notice: told.extend(_told(notice)))
        connection.execute(f"{sql} CASCADE".encode())
    assert sorted(things.dependents) == sorted(told)


def _told(notice: psycopg.errors.Diagnostic) -> list[str]:
    """Return what a NOTICE of DROP CASCADE names: one in its message, several in its detail."""
    lines = (notice.message_detail or notice.message_primary or "").splitlines()
    return [line.removeprefix("drop cascades to ") for line in lines]


def _things(postgres: EmbeddedPostgres, database: str, sql: str) -> Things:
    subject = subject_of(sql.encode())
    assert subject is not None
    with _undone(postgres, database) as connection:
        found = connection.execute(things_question(subject)).fetchone()
    assert found is not None
    return read_things(json.dumps(found[0]))


EMPTIED: dict[str, tuple[str, dict[str, tuple[str, int]]]] = {
    "TRUNCATE with its children": (
        "TRUNCATE child", {"public.child": ("named", 3), "public.below": ("child", 2)},
    ),
    "TRUNCATE of partitions": (
        "TRUNCATE logs", {"public.logs_1": ("child", 3), "public.logs_2": ("child", 4)},
    ),
    "TRUNCATE CASCADE": (
        "TRUNCATE t CASCADE",
        {
            "public.t": ("named", 10), "public.child": ("child", 3), "public.below": ("child", 2),
            "public.refers": ("refers", 4),
            "public.further": ("refers", 0),
        },
    ),
    "TRUNCATE ONLY": ("TRUNCATE ONLY t, refers, further", {
        "public.t": ("named", 10), "public.refers": ("named", 4), "public.further": ("named", 0),
    }),
    "TRUNCATE with ONLY and without": (
        "TRUNCATE child, ONLY child", {"public.child": ("named", 3), "public.below": ("child", 2)},
    ),
    "TRUNCATE CASCADE leaves the children of who refers": (
        "TRUNCATE top CASCADE", {"public.top": ("named", 1), "public.refer_top": ("refers", 0)},
    ),
    "DROP TABLE": ("DROP TABLE lone", {"public.lone": ("named", 1)}),
    "DROP of partitions": ("DROP TABLE logs", {"public.logs_1": ("along", 3), "public.logs_2": ("along", 4)}),
    "DROP SCHEMA": (
        "DROP SCHEMA app CASCADE", {"app.one": ("along", 5), 'app."Two ""x"': ("along", 0)},
    ),
    "DROP MATERIALIZED VIEW": ("DROP MATERIALIZED VIEW m", {"public.m": ("named", 15)}),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTIED)
def test_all_rows_that_go_are_counted_and_then_gone(proxy: Served, made: str, name: str) -> None:
    sql, expected = EMPTIED[name]
    body = _approved(proxy, made, sql)
    took = {each["relation"]: (each["how"], each["rows"]["exact"]) for each in body["takes"] if each["rows"]}
    total = sum(rows for _, rows in expected.values())
    assert took == expected
    assert body["exact"] == total
    assert body["obtained"]["exact"]["how"] == "count"
    assert body["status"] == "measured"
    with proxy.behind(made) as behind:
        for relation in expected:
            found = behind.execute("SELECT to_regclass(%s) IS NOT NULL", [relation]).fetchone()
            if found == (True,):
                assert behind.execute(f"SELECT count(*) FROM ONLY {relation}".encode()).fetchone() == (0,)


def _approved(proxy: Served, database: str, sql: str) -> dict[str, Any]:
    with proxy.connect(database) as her, ThreadPoolExecutor(1) as beside:
        running = beside.submit(her.execute, sql.encode())
        paper = proxy.approve()
        running.result(30)
    return dict(paper.preview.body)


def test_who_reads_what_a_dropped_schema_holds_is_told(postgres: EmbeddedPostgres, proxy: Served, made: str) -> None:
    with proxy.behind(made) as reader:
        reader.execute("BEGIN; SELECT * FROM app.one")
        body = _asked(proxy, made, "DROP SCHEMA app CASCADE")
        reader.execute("ROLLBACK")
    with _undone(postgres, made) as connection:
        connection.execute("SET search_path = app")
        oid, _ = _file(connection, "one")
        connection.execute("DROP SCHEMA app CASCADE")
        question = "SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = %s"
        assert connection.execute(question, [oid]).fetchall() == [("AccessExclusiveLock",)]
    assert body["lock"] == {"mode": "AccessExclusiveLock"}
    assert {(each["relation"], each["mode"]) for each in body["holders"]} >= {("app.one", "AccessShareLock")}


def test_the_triggers_that_a_truncate_fires_are_named(proxy: Served, made: str) -> None:
    with proxy.behind(made) as behind:
        behind.execute(
            "CREATE TABLE fired (name text); CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO fired VALUES (TG_NAME); RETURN NULL; END $$; "
            "CREATE TRIGGER on_t BEFORE TRUNCATE ON t FOR EACH STATEMENT EXECUTE FUNCTION noted(); "
            "CREATE TRIGGER on_below AFTER TRUNCATE ON below FOR EACH STATEMENT EXECUTE FUNCTION noted(); "
            "CREATE TRIGGER on_refers AFTER TRUNCATE ON refers FOR EACH STATEMENT EXECUTE FUNCTION noted(); "
            "CREATE TRIGGER not_then AFTER DELETE ON t FOR EACH STATEMENT EXECUTE FUNCTION noted(); "
            "CREATE TRIGGER disabled AFTER TRUNCATE ON child FOR EACH STATEMENT EXECUTE FUNCTION noted(); "
            "ALTER TABLE child DISABLE TRIGGER disabled"
        )
        body = _approved(proxy, made, "TRUNCATE t CASCADE")
        fired = {name for (name,) in behind.execute("SELECT name FROM fired").fetchall()}
    assert {each["name"] for each in body["triggers"]} == fired == {"on_t", "on_below", "on_refers"}


def test_who_holds_a_conflicting_lock_and_who_waits_for_one_is_told(proxy: Served, made: str) -> None:
    with proxy.behind(made) as reader, proxy.behind(made) as writer, proxy.behind(made) as elsewhere:
        texts = {reader: "SELECT * FROM t", writer: "UPDATE t SET a = a", elsewhere: "SELECT * FROM lone"}
        for connection, text in texts.items():
            connection.autocommit = False
            connection.execute(text.encode())
        body = _asked(proxy, made, "ALTER TABLE t ADD c int")
        assert body["lock"] == {"mode": "AccessExclusiveLock"}
        assert {(each["pid"], each["mode"], each["relation"], each["granted"]) for each in body["holders"]} >= {
            (reader.info.backend_pid, "AccessShareLock", "public.t", True),
            (writer.info.backend_pid, "RowExclusiveLock", "public.t", True),
        }
        assert elsewhere.info.backend_pid not in {each["pid"] for each in body["holders"]}
        # What only reads is in nobody's way who deletes.
        assert "holders" not in _asked(proxy, made, "DELETE FROM t WHERE id > 100")


def test_who_is_behind_an_exclusive_lock_is_told_who_has_it_and_no_size(proxy: Served, made: str) -> None:
    with proxy.behind(made) as other:
        other.autocommit = False
        other.execute("LOCK TABLE lone")
        body = _asked(proxy, made, "TRUNCATE lone")
        (holder,) = body["holders"]
        assert (holder["pid"], holder["mode"]) == (other.info.backend_pid, "AccessExclusiveLock")
        assert "exact" not in body
        assert "takes" not in body
        assert "the question what it takes failed with SQLSTATE 55P03" in body["why"]


def test_what_row_security_hides_is_an_estimate_and_says_so(proxy: Served, made: str) -> None:
    with proxy.behind(made) as behind:
        behind.execute("CREATE ROLE keeper; ALTER TABLE hidden OWNER TO keeper; ANALYZE hidden")
        behind.execute("ALTER TABLE hidden FORCE ROW LEVEL SECURITY")
    try:
        body = _asked(proxy, made, "TRUNCATE hidden", before="SET ROLE keeper")
        assert body["estimate"] == 5
        assert body["obtained"]["estimate"]["how"] == "statistics"
        assert "exact" not in body
        assert body["why"] == "the rows of public.hidden cannot be counted: row security hides some of them"
    finally:
        with proxy.behind(made) as behind:
            behind.execute("DROP OWNED BY keeper; DROP ROLE keeper")


def test_nothing_hides_behind_a_name_in_the_search_path(proxy: Served, made: str) -> None:
    """What is asked is about the table that will be emptied, whatever else is called so."""
    with proxy.behind(made) as behind:
        behind.execute("CREATE TABLE app.lone (x int); INSERT INTO app.lone SELECT generate_series(1, 9)")
    body = _asked(proxy, made, "TRUNCATE lone", before="SET search_path = app, public")
    assert [(each["relation"], each["rows"]) for each in body["takes"]] == [("app.lone", {"exact": 9})]


@pytest.mark.parametrize("sql", ["DROP TABLE t", "DROP TYPE mood", "ALTER TABLE lone ADD c int", "TRUNCATE t CASCADE"])
def test_the_approver_reads_all_of_it(proxy: Served, made: str, sql: str) -> None:
    with proxy.connect(made) as her, ThreadPoolExecutor(1) as beside:
        running = beside.submit(her.execute, sql.encode())
        shown = proxy.pgnotary("show", proxy.held().id)
        proxy.deny()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            running.result(30)
    for words in SHOWN[sql]:
        assert words in shown, shown


SHOWN = {
    "DROP TABLE t": [
        "table public.t, named: ", "10 rows counted", "view v: goes along under CASCADE, stops it without",
        "AccessExclusiveLock: NOBODY READS OR WRITES MEANWHILE",
    ],
    "DROP TYPE mood": ["column m of table moods: goes along", "function moody(mood): goes along"],
    "ALTER TABLE lone ADD c int": ["table public.lone, named: ", "AccessExclusiveLock: NOBODY READS OR WRITES"],
    "TRUNCATE t CASCADE": ["table public.refers, it refers to what is emptied: ", "19 rows counted"],
}  # fmt: skip


def _asked(proxy: Served, database: str, sql: str, *, before: str = "") -> dict[str, Any]:
    """Return what the preview says of a statement that is denied then."""
    with proxy.connect(database) as her, ThreadPoolExecutor(1) as beside:
        if before:
            her.execute(before.encode())
        running = beside.submit(her.execute, sql.encode())
        paper = proxy.deny()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            running.result(30)
    return dict(paper.preview.body)

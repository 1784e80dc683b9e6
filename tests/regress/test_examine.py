"""What the trial of a judgement finds out: each test takes a judge that is wrong, and sees it caught."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from tests.regress.examine import Scripts, TextExaminer
from tests.regress.judged import Ask, Judgement
from tests.regress.relay import Relay

from pgnotary.demo.postgres import EmbeddedPostgres

SETUP = """
CREATE TABLE t (a int);
CREATE FUNCTION w() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (1) RETURNING a';
CREATE FUNCTION v() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
CREATE VIEW vw AS SELECT w();
CREATE VIEW xid AS SELECT pg_current_xact_id();
CREATE SEQUENCE s;
"""


class Careless:
    """Calls everything harmless."""

    def renew(self, ask: Ask) -> None:
        pass

    def judge(self, text: bytes) -> Judgement:
        return Judgement(harmless=True, held=False, reason="all is well")


class Fearful(Careless):
    """Holds everything."""

    def judge(self, text: bytes) -> Judgement:
        return Judgement(harmless=False, held=True, reason="nothing is well")


class Client:
    """Sends simple Queries through a relay whose judge is the one given."""

    def __init__(self, postgres: EmbeddedPostgres, database: str, folder: Path) -> None:
        self.scripts = Scripts(Careless)
        self.tally = self.scripts.of_scripts
        self.relay = Relay(folder, (postgres.host, postgres.port), lambda: TextExaminer(self.scripts))
        self._login = {"dbname": database, "user": postgres.superuser, "password": postgres.password}

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        login = " ".join(f"{name}={value}" for name, value in self._login.items())
        return psycopg.connect(f"host={self.relay.host} port={self.relay.port} {login}", autocommit=True)

    def run(self, *texts: str) -> list[PGresult]:
        with self.connect() as connection:
            return [connection.pgconn.exec_(text.encode()) for text in texts]

    @property
    def wrong(self) -> list[tuple[str, str]]:
        return [(finding.text, finding.why) for finding in self.tally.wrong]


@pytest.fixture
def client(postgres: EmbeddedPostgres, database: str) -> Iterator[Client]:
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute(SETUP.encode())
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="pgnotary-") as folder:
        client = Client(postgres, database, Path(folder))
        with client.relay:
            yield client
        assert client.relay.surprises == []


def _value(result: PGresult) -> str:
    assert result.status == ExecStatus.TUPLES_OK, result.error_message
    value = result.get_value(0, 0)
    assert value is not None
    return value.decode()


@pytest.mark.parametrize("text", ["INSERT INTO t VALUES (1)", "SELECT w()", "TABLE vw", "SELECT nextval('s')"])
def test_a_write_called_harmless_meets_25006_before_it_runs(client: Client, text: str) -> None:
    client.run(text)
    assert client.wrong == [(text, "25006")]


def test_a_write_in_a_block_is_found_and_the_block_goes_on(client: Client) -> None:
    *_, count, _ = client.run("BEGIN", "INSERT INTO t VALUES (1)", "TABLE vw", "SELECT count(*) FROM t", "COMMIT")
    assert client.wrong == [("INSERT INTO t VALUES (1)", "25006"), ("TABLE vw", "25006")]
    assert _value(count) == "2"


def test_a_transaction_id_is_found_where_read_only_does_not_object(client: Client) -> None:
    texts = ["CREATE TEMP TABLE own (a int)", "INSERT INTO own VALUES (1)", "TABLE xid"]
    client.run(*texts)
    assert client.wrong == [(texts[0], "25006")] + [(text, "was given a transaction id") for text in texts[1:]]


def test_a_transaction_id_is_found_in_a_block_that_has_one_already(client: Client) -> None:
    begin = ("CREATE TEMP TABLE own (a int)", "BEGIN")
    *_, insert, _ = client.run(*begin, "TABLE xid", "INSERT INTO own VALUES (1)", "END")
    assert insert.command_tuples == 1
    assert client.wrong[1:] == [
        ("TABLE xid", "was given a transaction id"),
        ("INSERT INTO own VALUES (1)", "was given a transaction id"),
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SELECT lo_create(0)", "lo_create"),
        ("SELECT * FROM t WHERE a = (SELECT lo_unlink(7))", "lo_unlink"),
        ("DO 'BEGIN NULL; END'", "DoStmt"),
        ("COPY t TO PROGRAM 'true'", "COPY-to-a-program"),
        ("ALTER SYSTEM SET jit = off", "AlterSystemStmt"),
    ],
)
def test_a_known_escape_called_harmless_is_wrong_without_a_trial(client: Client, text: str, name: str) -> None:
    client.run(text)
    assert client.wrong == [(text, f"is {name}, which READ ONLY does not stop")]
    assert client.tally.executed == 0


def test_a_cursor_that_writes_when_it_is_fetched_is_found(client: Client) -> None:
    client.run("BEGIN", "DECLARE c CURSOR FOR SELECT w()", "FETCH c", "ROLLBACK")
    assert client.wrong == [("FETCH c", "25006")]


def test_a_cursor_with_hold_that_writes_when_its_transaction_ends_is_found(client: Client) -> None:
    text = "DECLARE c CURSOR WITH HOLD FOR SELECT w()"
    *_, fetched = client.run(text, "FETCH c")
    assert client.wrong == [(text, "25006")]
    assert _value(fetched) == "1"


def test_what_reads_is_executed_and_nothing_is_wrong(client: Client) -> None:
    client.run("SELECT a FROM t", "BEGIN", "SELECT 1; SELECT 2", "SELECT 1/0", "SELECT 'in a failed block'", "END")
    assert client.wrong == []
    assert (client.tally.judged, client.tally.executed, client.tally.failed) == (7, 4, 1)


def test_each_text_runs_once_for_its_script_and_the_session_is_as_without_a_trial(client: Client) -> None:
    results = client.run(
        "PREPARE p AS SELECT 7",
        "EXECUTE p",
        "SET work_mem = '123kB'",
        "SHOW work_mem",
        "BEGIN",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "DECLARE c CURSOR FOR VALUES (1), (2)",
        "FETCH c",
        "FETCH c",
        "SHOW transaction_isolation",
        "SHOW transaction_read_only",
        "END",
    )
    assert [_value(results[at]) for at in (1, 3, 7, 8, 9, 10)] == ["7", "123kB", "1", "2", "serializable", "off"]
    assert client.wrong == []


def test_copied_data_goes_through(client: Client) -> None:
    with client.connect() as connection:
        with connection.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write_row((5,))
        assert _value(connection.pgconn.exec_(b"SELECT a FROM t")) == "5"


def test_a_held_plain_read_is_counted_but_none_that_is_volatile_or_writes_or_fails(client: Client) -> None:
    client.scripts.judge = Fearful
    plain = ["SELECT a FROM t", "EXPLAIN DELETE FROM t", "COPY t TO STDOUT"]
    others = ["SELECT v()", "TABLE vw", "SELECT 1/0", "SELECT 1 FROM t FOR UPDATE", "DELETE FROM t", "SELECT 1 INTO u"]
    client.run(*plain, *others)
    assert [finding.text for finding in client.tally.held] == plain
    assert client.tally.reads == len(plain)
    assert client.tally.held_share == 1.0


def test_a_function_made_by_the_script_is_known_to_be_volatile_at_once(client: Client) -> None:
    client.scripts.judge = Fearful
    client.run("SELECT 1", "CREATE FUNCTION fresh() RETURNS int LANGUAGE sql AS 'SELECT 1'", "SELECT fresh()")
    assert [finding.text for finding in client.tally.held] == ["SELECT 1"]


def test_a_read_in_which_a_volatile_function_was_called_unsaid_is_no_plain_one(client: Client) -> None:
    client.scripts.judge = Fearful
    client.run(
        "SET track_functions = 'all'",
        "CREATE FUNCTION deep() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'",
        "CREATE VIEW over_deep AS SELECT deep()",
        "TABLE over_deep",
        "EXPLAIN (COSTS OFF) TABLE over_deep",
        "EXPLAIN TABLE t",
    )
    assert [finding.text for finding in client.tally.held] == ["EXPLAIN TABLE t"]
    assert client.tally.reads_of_volatile == 2


def test_an_aggregate_of_something_volatile_is_volatile(client: Client) -> None:
    client.scripts.judge = Fearful
    client.run(
        "CREATE FUNCTION add(int, int) RETURNS int LANGUAGE sql AS 'SELECT $1 + $2'",
        "CREATE AGGREGATE total (int) (SFUNC = add, STYPE = int, INITCOND = '0')",
        "SELECT total(a) FROM t",
        "SELECT sum(a) FROM t",
    )
    assert [finding.text for finding in client.tally.held] == ["SELECT sum(a) FROM t"]


def test_a_transaction_that_has_an_id_does_not_tell_what_a_read_is(client: Client) -> None:
    client.scripts.judge = Fearful
    client.run("BEGIN", "TABLE t", "INSERT INTO t VALUES (7)", "SELECT a FROM t", "ROLLBACK")
    assert [finding.text for finding in client.tally.held] == ["TABLE t"]


def test_a_text_under_foreign_settings_is_not_judged(client: Client) -> None:
    client.run(
        "SET standard_conforming_strings = off", "SELECT 'a\\nb'", "RESET standard_conforming_strings", "SELECT 1"
    )
    assert client.tally.foreign == 2
    assert client.tally.judged == 2


def test_what_the_grammar_cannot_read_is_only_counted(client: Client) -> None:
    (result,) = client.run("SELEKT 1")
    assert result.status == ExecStatus.FATAL_ERROR
    assert (client.tally.unparsed, client.tally.judged) == (1, 0)


def test_a_text_is_found_in_its_script_from_where_the_last_one_stood(tmp_path: Path) -> None:
    script = tmp_path / "a.sql"
    script.write_text("SELECT 1;\nSELECT\n  2;\n\\d t\nSELECT 1;\nSELECT :'it';\nSELECT 3\\; SELECT 4;\n")
    scripts = Scripts()
    scripts.begin("a.sql", script)
    texts = [b"SELECT 1;", b"SELECT\n  2;", b"SELECT c.oid,\n FROM pg_catalog.pg_class c", b"SELECT 1;"]
    assert [scripts.place(text)[1] for text in texts] == [1, 2, 0, 5]
    assert scripts.place(b"SELECT 2;") == ("a.sql", 5)
    assert scripts.place(b"SELECT 3; SELECT 4;") == ("a.sql", 7)

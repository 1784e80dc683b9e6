"""Reading through the proxy is as reading without it."""

import subprocess

import pytest
from tests.flow.raw import raw_client
from tests.flow.served import PASSWORD, Served, make_unseen
from tests.listed import listed

from pgnotary.wire.messages import query

BACKSLASHES = [
    "\\d", "\\d orders", "\\d+ orders", "\\df", "\\df+", "\\l", "\\dt+", "\\di", "\\dv", "\\dn+", "\\du", "\\dp",
    "\\dT", "\\do ===", "\\sf wipe", "\\sv innocent", "\\encoding",
]  # fmt: skip


def _directly(served: Served, database: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command, environment = served.psql(database, *arguments)
    port = command.index("-p") + 1
    command[port] = str(served.postgres.port)
    command[command.index("-U") + 1] = served.postgres.superuser
    environment["PGPASSWORD"] = served.postgres.password
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("command", BACKSLASHES)
def test_a_backslash_command_shows_what_it_shows_without_us(served: Served, database: str, command: str) -> None:
    through = served.run_psql(database, "-c", command)
    direct = _directly(served, database, "-c", command)
    assert through.stdout == direct.stdout
    assert through.stderr == direct.stderr == ""
    assert through.returncode == direct.returncode == 0


SELECTS = [
    "SELECT count(*), sum(total) FROM orders WHERE status = 'stale'",
    "SELECT o.id, i.line FROM orders o JOIN items i ON i.order_id = o.id ORDER BY o.id LIMIT 3",
    "WITH s AS (SELECT * FROM orders WHERE id < 5) SELECT * FROM s ORDER BY id",
    "SELECT generate_series(1, 2000)",
    "VALUES (1, 'a'), (2, 'b')",
    "TABLE items LIMIT 2",
    "SELECT 1; SELECT 2; SELECT 'three'",
    "SHOW server_encoding",
    "EXPLAIN (COSTS OFF) SELECT * FROM orders WHERE id = 1",
    "EXPLAIN (COSTS OFF) DELETE FROM orders WHERE id = 1",
    "SELECT 1/0",
    "SELECT * FROM nosuch",
    "selct 1",
    "",
    "SELECT $$DROP TABLE orders$$, E'\\'; DELETE FROM orders; --'",
    "SELECT repeat('x', 100000)",
]


@pytest.mark.parametrize("statement", SELECTS, ids=range(len(SELECTS)))
def test_a_plain_statement_answers_byte_for_byte_as_without_us(served: Served, database: str, statement: str) -> None:
    through = served.run_psql(database, "-A", "-c", statement)
    direct = _directly(served, database, "-A", "-c", statement)
    assert (through.stdout, through.stderr, through.returncode) == (direct.stdout, direct.stderr, direct.returncode)


def test_copy_out_of_a_query_passes(served: Served, database: str) -> None:
    done = served.run_psql(database, "-c", "\\copy (SELECT id FROM orders ORDER BY id LIMIT 2) TO stdout")
    assert (done.stdout, done.stderr) == ("1\n2\n", "")


def test_a_megabyte_of_rows_arrives_whole(served: Served, database: str) -> None:
    with served.connect(database) as connection:
        rows = connection.execute("SELECT i, repeat('y', 1000) FROM generate_series(1, 2000) i").fetchall()
    assert [number for number, _ in rows] == list(range(1, 2001))
    assert {len(text) for _, text in rows} == {1000}


def test_timing_and_conninfo_work(served: Served, database: str) -> None:
    done = served.run_psql(database, "-At", "-f", "-", stdin="\\timing on\nSELECT 1;\n\\conninfo\n")
    timing, one, time, *about = done.stdout.splitlines()
    assert (timing, one) == ("Timing is on.", "1")
    assert time.startswith("Time: ")
    assert "eva" in "".join(about)


def test_tab_completion_queries_pass(served: Served, database: str) -> None:
    completion = (
        "SELECT pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'v') "
        "AND substring(pg_catalog.quote_ident(c.relname),1,2)='or' "
        "AND pg_catalog.pg_table_is_visible(c.oid)\nLIMIT 1000"
    )
    done = served.run_psql(database, "-At", "-c", completion)
    assert done.stdout == "orders\n"


def test_the_server_sees_who_is_behind_the_session(served: Served, database: str) -> None:
    done = served.run_psql(
        database, "-At", "-c", "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    )
    assert done.stdout == "pgnotary/eva/psql\n"


def test_a_client_is_told_its_own_name(served: Served, database: str) -> None:
    with served.connect(database, application_name="app-1") as connection:
        assert connection.info.parameter_status("application_name") == "app-1"


def test_the_backend_pid_is_the_real_one(served: Served, database: str) -> None:
    with served.connect(database) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row == (connection.info.backend_pid,)


def test_reads_inside_a_read_write_block_pass_and_stay_walled(served: Served, database: str) -> None:
    make_unseen(served, database, "BEGIN DELETE FROM orders; EXCEPTION WHEN OTHERS THEN RAISE '%', SQLERRM; END;")
    done = served.run_psql(
        database,
        "-At",
        "-c",
        "BEGIN",
        "-c",
        "SELECT count(*) FROM orders",
        "-c",
        "SELECT n FROM unseen",
        "-c",
        "COMMIT",
    )
    assert done.stdout.splitlines() == ["BEGIN", "100", "ROLLBACK"]
    assert "cannot execute DELETE in a read-only transaction" in done.stderr


def test_what_was_forwarded_is_in_the_ledger_within_a_second_or_two(served: Served, database: str) -> None:
    served.run_psql(database, "-c", "SELECT 'a needle in the ledger'")
    entries = served.entries()
    executions = [execution for entry in entries if entry["type"] == "forwarded" for execution in listed(entry["body"])]
    assert any(execution.get("tag") == "SELECT 1" and execution["verdict"] == "forward" for execution in executions)
    assert "a needle in the ledger" in served.pgnotary("search", "--forwarded", "--text", "a needle in the ledger")


def test_questions_of_ours_report_no_search_path(served: Served, database: str) -> None:
    with raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client:
        client.send(query(b"SET search_path = public, pg_temp"))
        # From PostgreSQL 18 on it is reported.
        assert [each for each in client.until_ready() if each != "S"] == ["C SET", "Z I"]
        for _ in range(2):
            client.send(query(b"SELECT id FROM orders LIMIT 1"))
            assert client.until_ready() == ["T", "D", "C SELECT 1", "Z I"]

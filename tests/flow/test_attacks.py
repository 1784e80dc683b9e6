"""Attacks that were tried against a running proxy, each by its name: the database and the ledger must not notice."""

import threading
from collections.abc import Iterator
from typing import Any

import asyncpg
import psycopg
import pytest
from tests.flow.served import PASSWORD, Served, make_unseen, until

from pgnotary.errors import ApiError
from pgnotary.request.decision import Answer

DELETE = "DELETE FROM orders"
MADE = """
CREATE FUNCTION tell(text) RETURNS void LANGUAGE sql AS $$ SELECT pg_notify('attack', $1) $$;
CREATE FUNCTION lower(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(77); RETURN 1; END $$;
CREATE SCHEMA prod; CREATE TABLE prod.orders AS TABLE orders;
"""


@pytest.fixture
def behind(served: Served, database: str) -> Iterator[psycopg.Connection[Any]]:
    """The server itself, after somebody has made things there without us."""
    with served.behind(database) as connection:
        connection.execute(MADE.encode())
        yield connection


def _locks(behind: psycopg.Connection[Any]) -> int:
    row = behind.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()
    assert row is not None
    return int(row[0])


def _orders(behind: psycopg.Connection[Any]) -> int:
    row = behind.execute("SELECT count(*) FROM orders").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT (99::bigint).pg_advisory_lock",
        "SELECT q.pg_try_advisory_lock FROM unnest(ARRAY[99::bigint]) q",
        "SELECT ('x'::text).tell",
        "SELECT lower(5)",
        "SELECT o.tell FROM (SELECT 'x'::text AS t) s, unnest(ARRAY[s.t]) o",
        "COPY (SELECT (99::bigint).pg_advisory_lock) TO STDOUT",
    ],
)
def test_a_call_in_disguise_is_held(
    served: Served, database: str, behind: psycopg.Connection[Any], statement: str
) -> None:
    behind.execute("LISTEN attack")
    with served.open_psql(database, "-c", statement) as psql:
        served.deny()
        psql.communicate(timeout=30)
    assert _locks(behind) == 0
    assert list(behind.notifies(timeout=0.1, stop_after=1)) == []


def test_a_call_in_disguise_does_not_run_in_the_preview(
    served: Served, database: str, behind: psycopg.Connection[Any]
) -> None:
    with served.open_psql(
        database, "-c", "DELETE FROM orders WHERE (99::bigint).pg_try_advisory_lock AND id = 1"
    ) as psql:
        assert "planning it could have effects" in served.held().measured.why
        assert _locks(behind) == 0
        served.deny()
        psql.communicate(timeout=30)


UNCOUNTABLE = {
    "DO": "DO $$ BEGIN DELETE FROM orders; END $$",
    "CALL": "CALL wipe_all()",
    "a function": "SELECT wipe()",
    "TRUNCATE": "TRUNCATE orders CASCADE",
    "a cursor that COMMIT runs": "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM innocent",
}


@pytest.mark.parametrize("statement", UNCOUNTABLE.values(), ids=UNCOUNTABLE)
def test_a_row_ceiling_over_what_cannot_be_counted_does_not_count_as_an_approval(
    served: Served, database: str, behind: psycopg.Connection[Any], statement: str
) -> None:
    with served.open_psql(database, "-c", statement) as psql:
        paper = served.held()
        with pytest.raises(ApiError, match="its rows cannot be counted"):
            served.decide(paper, Answer.APPROVE, max_rows=1_000)
        served.decide(paper, Answer.APPROVE)
        psql.communicate(timeout=30)
    assert "rows" not in served.outcome(paper.id)


@pytest.mark.parametrize("around", [("", ""), ("BEGIN; ", "; COMMIT")], ids=["string", "bracket"])
def test_a_read_beside_an_approved_statement_stays_behind_the_wall(
    served: Served, database: str, behind: psycopg.Connection[Any], around: tuple[str, str]
) -> None:
    make_unseen(served, database)
    text = f"{around[0]}DELETE FROM orders WHERE id = 1; SELECT n FROM unseen{around[1]}"
    with served.open_psql(database, "-c", text) as psql:
        paper = served.approve(max_rows=1)
        printed, _ = psql.communicate(timeout=30)
    assert "cannot execute DELETE in a read-only transaction" in printed
    assert _orders(behind) == 100
    assert served.outcome(paper.id)["result"] == "failed"


def _approving(served: Served, script: list[str], database: str) -> list[str]:
    """Run a script statement by statement while bo approves what is held, but for reads; return the errors."""
    done = threading.Event()

    def approve() -> None:
        while not done.wait(0.02):
            if served.api.requests():
                paper = served.held()
                served.decide(paper, Answer.DENY if paper.context.kind == "select" else Answer.APPROVE)
                name = paper.id
                until(lambda name=name: name not in {each.id for each in served.api.requests()}, "its turn")  # type: ignore[misc]

    robot = threading.Thread(target=approve)
    robot.start()
    errors = []
    try:
        with served.connect(database) as connection:
            for statement in script:
                try:
                    connection.execute(statement.encode())
                except psycopg.Error as error:
                    errors.append(str(error))
    finally:
        done.set()
        robot.join()
    return errors


SAVEPOINTS = {
    "our savepoint left behind by a failed read": [
        "BEGIN", "SELECT 1/0", "ROLLBACK TO pgnotary_read", "ROLLBACK", "BEGIN", "DELETE FROM orders WHERE id <= 10",
        "ROLLBACK TO pgnotary_read", "COMMIT",
    ],
    "a savepoint with the name of ours": [
        "BEGIN", "SAVEPOINT pgnotary_read", "ROLLBACK", "BEGIN", "DELETE FROM orders WHERE id <= 10", "SELECT 1/0",
        "ROLLBACK TO pgnotary_read", "COMMIT",
    ],
    "a savepoint that nobody can read": [
        "BEGIN", "SAVEPOINT a " + "/**/" * 40, "ROLLBACK", "BEGIN", "DELETE FROM orders WHERE id <= 10",
        "ROLLBACK TO a", "COMMIT",
    ],
    "a COMMIT that nobody can read": [
        "BEGIN", "DELETE FROM orders WHERE id <= 10", "COMMIT " + "/**/" * 40, "COMMIT",
    ],
}  # fmt: skip


@pytest.mark.parametrize("script", SAVEPOINTS.values(), ids=SAVEPOINTS)
def test_savepoints_cannot_make_the_ledger_lie(
    served: Served, database: str, behind: psycopg.Connection[Any], script: list[str]
) -> None:
    assert _approving(served, script, database)
    request = [entry for entry in served.entries() if entry["type"] == "executed"][-1]["request"]
    result = served.outcome(request)["result"]
    assert _orders(behind) == (90 if result == "committed" else 100)


@pytest.mark.parametrize(
    "statement",
    ["SET LOCAL search_path = prod; DELETE FROM orders", "BEGIN; SET search_path = prod; DELETE FROM orders; COMMIT"],
)
def test_a_setting_beside_a_held_statement_is_refused(
    served: Served, database: str, behind: psycopg.Connection[Any], statement: str
) -> None:
    done = served.run_psql(database, "-c", statement)
    assert "a setting changes what is held in the same message" in done.stderr


def test_what_an_execute_runs_is_shown(served: Served, database: str, behind: psycopg.Connection[Any]) -> None:
    with served.open_psql(database, "-c", "PREPARE p AS DELETE FROM orders", "-c", "EXECUTE p") as psql:
        first = served.approve()
        paper = until(lambda: (found := served.held()).id != first.id and found, "the second request")
        assert paper
        (request,) = [entry for entry in served.life(paper.id) if entry["type"] == "request"]
        assert "prepared" in request["seals"]
        assert "PREPARE p AS DELETE FROM orders" in served.pgnotary("show", paper.id)
        served.decide(paper, Answer.DENY)
        psql.communicate(timeout=30)


def test_the_settings_that_a_text_is_read_with_are_in_the_request(served: Served, database: str) -> None:
    with served.open_psql(database, "-c", "SET datestyle = 'SQL, DMY'", "-c", "DELETE FROM orders") as psql:
        paper = served.deny()
        psql.communicate(timeout=30)
    (request,) = [entry for entry in served.life(paper.id) if entry["type"] == "request"]
    assert request["body"]["settings"]["datestyle"] == "SQL, DMY"


def test_whoever_signs_is_told_of_what_changes_how_a_literal_is_read(served: Served, database: str) -> None:
    """{NULL} is a null, or four letters."""
    with served.open_psql(database, "-c", "SET array_nulls = off", "-c", "DELETE FROM orders") as psql:
        served.deny()
        psql.communicate(timeout=30)
    request = next(entry for entry in reversed(served.entries()) if entry["type"] == "request")
    assert request["body"]["settings"]["array_nulls"] == "off"
    assert "xmloption" not in request["body"]["settings"]


def test_a_reason_that_was_rolled_back_is_not_signed(served: Served, database: str) -> None:
    script = [
        "SET pgnotary.reason = 'outer'",
        "BEGIN",
        "SET pgnotary.reason = 'inner'",
        "ROLLBACK",
        "DELETE FROM orders",
    ]
    with served.open_psql(database, *(word for line in script for word in ("-c", line))) as psql:
        paper = served.deny()
        psql.communicate(timeout=30)
    assert paper.reason == "outer"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 AS \u2028$$; DELETE FROM orders; --$$",
        "selec x; delete from orders",
        "DELETE FORM orders",
        "SET client_encoding = latin1",
    ],
)
def test_what_was_not_let_through_is_recorded(served: Served, database: str, statement: str) -> None:
    served.run_psql(database, "-c", statement, "-c", f"SELECT 'after {statement[:4]}'")
    found = served.pgnotary("search", "--forwarded", "--text", statement[-12:])
    assert found.strip()


HOLDING = "EXECUTE 'DECLARE left_behind CURSOR WITH HOLD FOR SELECT wipe()';"


@pytest.mark.parametrize(
    "statements",
    [
        ["BEGIN", "SELECT n FROM unseen", "COMMIT"],
        ["BEGIN", "DELETE FROM items WHERE line = 0", "SELECT n FROM unseen", "COMMIT"],
        ["BEGIN", "SELECT 1; SELECT n FROM unseen", "COMMIT AND CHAIN", "COMMIT"],
        ["BEGIN; SELECT n FROM unseen; COMMIT"],
    ],
)
def test_a_cursor_that_a_read_leaves_behind_does_not_write_at_commit(
    served: Served, database: str, behind: psycopg.Connection[Any], statements: list[str]
) -> None:
    make_unseen(served, database, HOLDING)
    _approving(served, statements, database)
    assert _orders(behind) == 100


async def test_a_drivers_cursor_lives_on_and_what_its_read_left_behind_does_not(
    served: Served, database: str, behind: psycopg.Connection[Any]
) -> None:
    make_unseen(served, database, HOLDING)
    connection = await asyncpg.connect(
        host="127.0.0.1", port=served.port, user="eva", password=PASSWORD, database=database
    )
    try:
        await connection.execute("BEGIN")
        cursor = await connection.cursor("SELECT n FROM unseen UNION ALL SELECT 2")
        assert [row["n"] for row in [*await cursor.fetch(1), *await cursor.fetch(1)]] == [1, 2]
        await connection.execute("COMMIT")
    finally:
        await connection.close()
    assert _orders(behind) == 100

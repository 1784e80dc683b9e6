"""The extended protocol over the real wire: drivers as they are hold, are approved, denied, cancelled, and write."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, TypeVar

import asyncpg
import pg8000.native
import psycopg
import pytest
from psycopg import sql
from tests.flow.beside import LEFT, deciding, left
from tests.flow.raw import message, raw_client, without_notices
from tests.flow.served import PASSWORD, Served

from pgnotary.approval.papers import Paper
from pgnotary.request.decision import Answer
from pgnotary.request.parameters import spelled
from pgnotary.wire.messages import SYNC, bind, close_portal, execute, parse, query

_T = TypeVar("_T")


def default(served: Served, database: str, **options: Any) -> psycopg.Connection[Any]:
    """Connect with psycopg as it is: it binds on the server."""
    return served.connect(database, cursor_factory=psycopg.Cursor, **options)


def shown(paper: Paper) -> list[tuple[str, str]]:
    """Return the parameters that the approver was shown."""
    assert paper.parameters is not None
    return list(spelled(paper.parameters))


# --- psycopg --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prepare", [False, True])
@pytest.mark.parametrize("binary", [False, True])
def test_psycopg_is_held_with_its_parameters_and_runs_once_it_is_signed(
    served: Served, database: str, *, prepare: bool, binary: bool
) -> None:
    with default(served, database) as connection, deciding(served.approve) as papers:
        cursor = connection.execute(
            "DELETE FROM orders WHERE id <= %s AND status = %s AND total < %s",
            [7, "open", Decimal("6.5")],
            prepare=prepare,
            binary=binary,
        )
        assert cursor.rowcount == 5
    (paper,) = papers
    assert paper.statement == "DELETE FROM orders WHERE id <= $1 AND status = $2 AND total < $3"
    assert [value for _, value in shown(paper)] == ["smallint: '7'", "text: 'open'", "numeric: '6.5'"]
    assert paper.measured.exact == 5
    assert left(served, database) == 95
    assert served.outcome(paper.id) | {"xid": ""} == {
        "result": "committed",
        "ended": "batch-commit",
        "rows": 5,
        "xid": "",
    }


def test_psycopg_writes_what_policy_lets_pass(served: Served, database: str) -> None:
    with default(served, database) as connection:
        found = connection.execute("INSERT INTO orders VALUES (%s, %s, %s) RETURNING id", [1000, "new", Decimal(5)])
        assert found.fetchone() == (1000,)
        with connection.transaction():
            connection.execute("INSERT INTO orders VALUES (%s, %s)", [1001, "new"])
            assert connection.execute("SELECT count(*) FROM orders WHERE id >= %s", [1000]).fetchone() == (2,)
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO orders VALUES (%s, %s)", [1001, "new"])
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert left(served, database) == 102


def test_executemany_is_one_request_that_lists_every_set(served: Served, database: str) -> None:
    with default(served, database) as connection, deciding(served.approve) as papers:
        cursor = connection.cursor()
        cursor.executemany("UPDATE orders SET status = %s WHERE id = %s", [("a", 1), ("b", 2), (None, 0)])
        assert cursor.rowcount == 2
    (paper,) = papers
    assert [label for label, _ in shown(paper)] == ["#1 $1", "#1 $2", "#2 $1", "#2 $2", "#3 $1", "#3 $2"]
    assert [value for _, value in shown(paper)][-2:] == ["text: NULL", "smallint: '0'"]
    assert (paper.context.executions, paper.measured.exact) == (3, 2)
    assert served.outcome(paper.id)["rows"] == 2


def test_a_long_value_keeps_nobodys_request_from_being_listed(served: Served, database: str) -> None:
    """The list leaves out what is long; what was left out is asked for by itself."""
    long = "x" * 50_000
    with default(served, database) as eva, ThreadPoolExecutor(1) as beside:
        running = beside.submit(eva.execute, "UPDATE orders SET status = %s WHERE id = 1", (long,))
        paper = served.held()
        assert dict(shown(paper))["$1"] == f"text: '{long}'"
        assert paper.id in served.pgnotary("requests")
        served.decide(paper, Answer.DENY)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            running.result(30)


def test_a_ceiling_counts_the_rows_of_all_executions(served: Served, database: str) -> None:
    refused = pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="2 rows affected")
    approving = deciding(lambda: served.approve(max_rows=1))
    with default(served, database) as connection, approving as papers, refused:
        connection.cursor().executemany("DELETE FROM orders WHERE id = %s", [(1,), (2,)])
    assert left(served, database) == 100
    assert served.outcome(papers[0].id)["result"] == "rolled-back"


def test_a_typing_mistake_in_a_value_is_answered_and_not_held(served: Served, database: str) -> None:
    with default(served, database) as connection:
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            connection.execute("DELETE FROM orders WHERE id = %s::int", ["seven"])
        assert connection.execute("SELECT %s::int", [1]).fetchone() == (1,)


def test_a_pipeline_is_one_transaction_and_a_denial_undoes_it(served: Served, database: str) -> None:
    with default(served, database) as connection, deciding(served.deny):
        with connection.pipeline() as pipeline:
            connection.execute("INSERT INTO orders VALUES (%s, %s)", [1000, "new"])
            connection.execute("DELETE FROM orders WHERE id = %s", [1])
            connection.execute("INSERT INTO orders VALUES (%s, %s)", [1001, "new"])
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                pipeline.sync()
        assert connection.execute("SELECT %s::int", [3]).fetchone() == (3,)
    assert left(served, database) == 100


def test_a_pipeline_is_committed_as_a_whole(served: Served, database: str) -> None:
    with default(served, database) as connection, deciding(served.approve) as papers:
        with connection.pipeline():
            connection.execute("INSERT INTO orders VALUES (%s, %s)", [1000, "new"])
            connection.execute("DELETE FROM orders WHERE id = %s", [1])
            found = connection.execute("SELECT count(*) FROM orders WHERE id <= %s", [1000])
            connection.execute("INSERT INTO orders VALUES (%s, %s)", [1001, "new"])
        assert found.fetchone() == (100,)
    assert papers[0].context.block == "open"
    assert papers[0].context.statements_before == 1
    assert served.outcome(papers[0].id)["result"] == "committed"
    assert left(served, database) == 101


def test_an_error_behind_something_signed_takes_it_back_and_the_ledger_says_so(served: Served, database: str) -> None:
    with (
        default(served, database) as connection,
        deciding(served.approve) as papers,
        connection.pipeline() as pipeline,
    ):
        connection.execute("DELETE FROM orders WHERE id = %s", [1])
        connection.execute("INSERT INTO orders VALUES (%s, %s)", [2, "there is one"])
        with pytest.raises(psycopg.errors.UniqueViolation):
            pipeline.sync()
    assert served.outcome(papers[0].id)["result"] == "rolled-back"
    assert left(served, database) == 100


def test_in_a_block_its_commit_decides(served: Served, database: str) -> None:
    with default(served, database, autocommit=False) as connection:
        for commit in (False, True):
            with deciding(served.approve) as papers:
                connection.execute("DELETE FROM orders WHERE id = %s", [1])
            connection.commit() if commit else connection.rollback()
            assert served.outcome(papers[0].id)["result"] == ("committed" if commit else "rolled-back")
            assert left(served, database) == 100 - commit


def test_a_deferred_constraint_fails_at_the_sync(served: Served, database: str) -> None:
    with served.behind(database) as behind:
        behind.execute("ALTER TABLE items ADD UNIQUE (line, order_id) DEFERRABLE INITIALLY DEFERRED")
    with default(served, database) as connection:
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO items VALUES (%s, %s)", [1, 1])
        assert connection.execute("SELECT count(*) FROM items WHERE order_id = %s", [1]).fetchone() == (1,)


def test_a_hold_is_withdrawn_by_a_cancel(served: Served, database: str) -> None:
    with default(served, database) as connection:
        connection.add_notice_handler(lambda _: connection.cancel_safe())
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("DELETE FROM orders WHERE id = %s", [1])
        assert connection.execute(LEFT).fetchone() == (100,)


def test_a_hold_that_nobody_decides_expires(undecided: list[Served], database: str) -> None:
    for served in undecided:
        with default(served, database) as connection, pytest.raises(psycopg.errors.QueryCanceled, match="expired"):
            connection.execute("DELETE FROM orders WHERE id = %s", [1])


def test_what_runs_only_outside_a_block_runs_there(served: Served, database: str) -> None:
    with default(served, database) as connection, deciding(served.approve) as papers:
        connection.execute("VACUUM orders", prepare=True)
    assert served.outcome(papers[0].id)["result"] == "committed"


def test_cursors_and_prepared_statements_of_sql_share_the_name_space(served: Served, database: str) -> None:
    with default(served, database, autocommit=False) as connection:
        with connection.cursor("c") as cursor:
            cursor.execute("SELECT id FROM orders WHERE id <= %s ORDER BY id", [4])
            assert cursor.fetchmany(3) == [(1,), (2,), (3,)]
            assert cursor.fetchone() == (4,)
        with deciding(served.approve):
            connection.execute("PREPARE gone (int) AS DELETE FROM orders WHERE id = $1", prepare=True)
        with deciding(served.approve) as papers:
            connection.execute("EXECUTE gone (1)", prepare=True)
        assert "DELETE FROM orders" in str(papers[0].prepared)
        connection.commit()
    assert left(served, database) == 99


def test_the_clients_own_read_only_default_is_set_and_shown(served: Served, database: str) -> None:
    with default(served, database) as connection:
        for value in ("off", "on", "off"):
            connection.execute(f"SET default_transaction_read_only = {value}".encode(), prepare=True)
            for name in ("default_transaction_read_only", "transaction_read_only"):
                assert connection.execute(sql.SQL("SHOW {}").format(sql.SQL(name)), prepare=True).fetchone() == (value,)
            found = connection.execute("SELECT current_setting(%s)", ["transaction_read_only"], prepare=True)
            assert found.fetchone() == (value,)


# --- asyncpg --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def connected(served: Served, database: str) -> Any:
    connection = await asyncpg.connect(
        host="127.0.0.1", port=served.port, user="eva", password=PASSWORD, database=database
    )
    yield connection
    await connection.close()


async def beside(decide: Callable[[], Paper], work: Any) -> tuple[Paper, Any]:
    """Decide while something is under way; return the paper, and what the work returned."""
    found = await asyncio.gather(asyncio.to_thread(decide), work, return_exceptions=True)
    paper = found[0]
    assert isinstance(paper, Paper), paper
    return paper, found[1]


async def test_asyncpg_is_held_denied_and_approved(
    served: Served, database: str, connected: asyncpg.Connection
) -> None:
    paper, found = await beside(served.approve, connected.execute("DELETE FROM orders WHERE id <= $1", 3))
    assert found == "DELETE 3"
    assert shown(paper) == [("$1", "integer: '3'")]
    _, found = await beside(served.deny, connected.execute("DELETE FROM orders WHERE id <= $1", 9))
    assert isinstance(found, asyncpg.exceptions.InsufficientPrivilegeError)
    assert left(served, database) == 97


async def test_asyncpg_asks_for_one_row_and_all_that_changed_are_counted(
    served: Served, database: str, connected: asyncpg.Connection
) -> None:
    work = connected.fetchval("DELETE FROM orders WHERE id <= $1 RETURNING id", 3)
    paper, found = await beside(served.approve, work)
    assert found == 1
    assert served.outcome(paper.id)["rows"] == 3
    assert await connected.fetchval("INSERT INTO orders VALUES ($1, 'new') RETURNING id", 1000) == 1000
    assert left(served, database) == 98


def test_only_the_last_of_several_may_ask_for_some_rows_and_all_are_counted(served: Served, database: str) -> None:
    one = parse(b"s", b"DELETE FROM orders WHERE id <= $1 RETURNING id", [23])
    first, second = (bind(b"", b"s", b"\0\0\0\1\0\0\0\1" + value) for value in (b"2", b"6"))
    with (
        raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client,
        deciding(served.approve) as papers,
    ):
        client.send(one + first + message("E", bytes(5)) + second + message("E", b"\0\0\0\0\1") + SYNC)
        said = without_notices(client.until_ready())
    assert said == ["1", "2", "D", "D", "C DELETE 2", "2", "D", "s", "Z I"]
    assert served.outcome(papers[0].id)["rows"] == 6
    assert left(served, database) == 94


def test_a_portal_is_closed_when_its_rest_has_been_counted(served: Served, database: str) -> None:
    with (
        raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client,
        deciding(served.approve) as papers,
    ):
        text = b"DELETE FROM orders WHERE id <= 3 RETURNING id"
        client.send(parse(b"", text) + bind(b"p", b"") + message("E", b"p\0\0\0\0\1") + close_portal(b"p") + SYNC)
        assert without_notices(client.until_ready()) == ["1", "2", "D", "s", "3", "Z I"]
    assert served.outcome(papers[0].id)["rows"] == 3


@pytest.mark.parametrize(
    ("batch", "said", "found"),
    [
        (["SET LOCAL search_path = prod", "INSERT INTO t VALUES (1)"], "Z I", ["prod"]),
        (["SELECT set_config('search_path', 'prod', true)", "INSERT INTO t VALUES (1)"], "Z I", ["prod"]),
        (["SET TRANSACTION READ ONLY", "INSERT INTO t VALUES (1)"], "E 25006", []),
        (["SET search_path = prod", "INSERT INTO t VALUES (NULL)"], "E 23502", []),
        (["SET LOCAL lock_timeout = '1s'", "INSERT INTO t VALUES (1)"], "Z I", ["public"]),
    ],
)
def test_a_setting_and_a_change_of_one_batch_are_one_transaction(
    served: Served, database: str, batch: list[str], said: str, found: list[str]
) -> None:
    """As PostgreSQL has it: the batch went to another schema, or was committed though it had been made read only."""
    with served.behind(database) as behind:
        behind.execute("CREATE SCHEMA prod; CREATE TABLE t (n int NOT NULL); CREATE TABLE prod.t (n int NOT NULL)")
        for place in ("proxy", "server"):
            where = ("127.0.0.1", served.port, "eva", PASSWORD)
            if place == "server":
                where = (behind.info.host, behind.info.port, behind.info.user, behind.info.password)
            with raw_client(*where, database) as client:
                client.send(
                    b"".join(parse(b"", text.encode()) + bind(b"", b"") + execute(b"") for text in batch) + SYNC
                )
                assert said in client.until_ready(), place
                # What was set for the batch, or in one that failed, is gone.
                client.send(query(b"INSERT INTO t VALUES (2)"))
                assert "C INSERT 0 1" in client.until_ready(), place
            rows = behind.execute("DELETE FROM t RETURNING 'public' AS at").fetchall()
            rows += behind.execute("DELETE FROM prod.t RETURNING 'prod'").fetchall()
            assert sorted(at for (at,) in rows) == [*found, "public"], place


async def test_a_ceiling_holds_for_who_asks_for_one_row(
    served: Served, database: str, connected: asyncpg.Connection
) -> None:
    work = connected.fetchrow("DELETE FROM orders WHERE id <= $1 RETURNING id", 3)
    _, found = await beside(lambda: served.approve(max_rows=2), work)
    assert isinstance(found, asyncpg.exceptions.ObjectNotInPrerequisiteStateError)
    assert left(served, database) == 100


async def test_asyncpg_executes_many_in_one_transaction(
    served: Served, database: str, connected: asyncpg.Connection
) -> None:
    await connected.executemany("INSERT INTO orders VALUES ($1, $2)", [(n, "new") for n in range(1000, 1050)])
    assert left(served, database) == 150
    with pytest.raises(asyncpg.exceptions.UniqueViolationError):
        await connected.executemany("INSERT INTO orders VALUES ($1, $2)", [(2000, "new"), (1, "there is one")])
    assert left(served, database) == 150
    work = connected.executemany("DELETE FROM orders WHERE id = $1", [(n,) for n in range(1000, 1050)])
    paper, found = await beside(served.approve, work)
    assert (found, served.outcome(paper.id)["rows"]) == (None, 50)
    assert left(served, database) == 100


async def test_what_is_larger_than_any_buffer_of_ours_passes(
    served: Served, database: str, connected: asyncpg.Connection
) -> None:
    rows = [(n, "x" * 32_768) for n in range(1000, 1300)]
    await connected.executemany("INSERT INTO orders VALUES ($1, $2)", rows)
    await connected.execute("INSERT INTO orders VALUES ($1, $2)", 2000, "y" * 3_000_000)
    found = await connected.fetchval("SELECT sum(length(status)) FROM orders WHERE id >= $1 AND status <> $2", 1000, "")
    assert found == 300 * 32_768 + 3_000_000
    others = [(n + 5000, text) for n, text in rows[:100]]
    rollback = connected.executemany("INSERT INTO orders VALUES ($1, $2)", [*others, (1, "there is one")])
    with pytest.raises(asyncpg.exceptions.UniqueViolationError):
        await rollback
    assert left(served, database) == 401


async def test_asyncpgs_timeout_withdraws(served: Served, database: str, connected: asyncpg.Connection) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await connected.execute("DELETE FROM orders WHERE id <= $1", 3, timeout=0.5)
    assert await connected.fetchval(LEFT) == 100


async def test_asyncpg_holds_in_a_block_and_makes_temporary_tables(
    served: Served, database: str, connected: asyncpg.Connection
) -> None:
    async with connected.transaction():
        await connected.execute("CREATE TEMP TABLE mine (id int)")
        await connected.execute("INSERT INTO mine SELECT generate_series(1, $1)", 3)
        paper, found = await beside(
            served.approve, connected.execute("DELETE FROM orders WHERE id IN (SELECT id FROM mine) AND id > $1", 1)
        )
        assert found == "DELETE 2"
    assert served.outcome(paper.id)["result"] == "committed"


# --- pg8000 ---------------------------------------------------------------------------------------------------------


def test_pg8000_is_held_approved_denied_and_writes(served: Served, database: str) -> None:
    connection = pg8000.native.Connection(
        "eva", host="127.0.0.1", port=served.port, password=PASSWORD, database=database
    )
    try:
        with deciding(served.approve) as papers:
            assert connection.run("DELETE FROM orders WHERE id = :n RETURNING id", n=1) == [[1]]
        assert [value for _, value in shown(papers[0])] == ["integer: '1'"]
        with deciding(served.deny), pytest.raises(pg8000.exceptions.DatabaseError, match="add a WHERE"):
            connection.run("DELETE FROM orders WHERE id = :n", n=2)
        connection.run("BEGIN")
        connection.run("INSERT INTO orders VALUES (:n, :s)", n=1000, s="new")
        connection.run("COMMIT")
        prepared = connection.prepare("DELETE FROM orders WHERE id = :n")
        with deciding(served.approve):
            prepared.run(n=1000)
    finally:
        connection.close()
    assert left(served, database) == 99

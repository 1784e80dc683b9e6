"""COPY FROM STDIN of real clients: held until it is approved, then it takes their data, and nothing but data."""

import asyncio
import hashlib
import select
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from tests.flow.beside import deciding, left
from tests.flow.drivers import Refused
from tests.flow.raw import Raw, message, raw_client, without_notices
from tests.flow.relay import Relay
from tests.flow.served import PASSWORD, Served, until
from tests.listed import listed
from tests.tiers import one_in

from pgnotary.approval.papers import Paper, read_paper
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.request.decision import Answer
from pgnotary.wire.messages import SYNC, bind, execute, parse, query

COPY = b"COPY orders (id, status) FROM STDIN"
DONE = message("c")
ROWS = message("d", b"1001\tnew\n1002\tnew\n")
DELETE = b"DELETE FROM orders"


def run(text: bytes) -> bytes:
    return parse(b"", text) + bind(b"", b"") + execute(b"")


RUN = run(COPY)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Ten rows of orders."""
    found = tmp_path / "rows.txt"
    found.write_text("".join(f"{n}\tnew\n" for n in range(1001, 1011)))
    return found


@pytest.fixture(scope="module")
def open_proxy(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(postgres, tmp_path_factory.mktemp("open") / "pgnotary", profile="forward-all") as proxy:
        yield proxy
        proxy.entries()


# --- clients as they are ----------------------------------------------------------------------------------------------


def with_psql(served: Served, database: str, file: Path) -> int:
    done = served.run_psql(
        database, "-v", "VERBOSITY=verbose", "-c", f"\\copy orders (id, status) FROM '{file}'", "-c", "SELECT 'usable'"
    )
    assert "usable" in done.stdout
    if "ERROR:  " in done.stderr:
        raise Refused(done.stderr.partition("ERROR:  ")[2][:5], done.stderr)
    return int(done.stdout.partition("COPY ")[2].split()[0])


def _psycopg(served: Served, database: str, file: Path, factory: type[psycopg.Cursor]) -> int:
    with served.connect(database, cursor_factory=factory) as connection, connection.cursor() as cursor:
        try:
            with cursor.copy(COPY) as copy:
                copy.write(file.read_bytes())
        except psycopg.Error as error:
            raise Refused(error.sqlstate, str(error)) from error
        finally:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        return cursor.rowcount


def with_psycopg(served: Served, database: str, file: Path) -> int:
    return _psycopg(served, database, file, psycopg.Cursor)


def with_psycopg_binding_here(served: Served, database: str, file: Path) -> int:
    return _psycopg(served, database, file, psycopg.ClientCursor)


async def _asyncpg(served: Served, database: str, work: Callable[[asyncpg.Connection], object]) -> int:
    connection = await asyncpg.connect(
        host="127.0.0.1", port=served.port, user="eva", password=PASSWORD, database=database
    )
    try:
        tag = await work(connection)  # type: ignore[misc]
        return int(str(tag).removeprefix("COPY "))
    except asyncpg.PostgresError as error:
        raise Refused(error.sqlstate, str(error)) from error
    finally:
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


def with_asyncpg(served: Served, database: str, file: Path) -> int:
    return asyncio.run(
        _asyncpg(served, database, lambda each: each.copy_to_table("orders", source=file, columns=["id", "status"]))
    )


def with_asyncpg_records(served: Served, database: str, file: Path) -> int:
    rows = [(int(line.split("\t")[0]), line.split("\t")[1]) for line in file.read_text().splitlines()]
    return asyncio.run(
        _asyncpg(
            served, database, lambda each: each.copy_records_to_table("orders", records=rows, columns=["id", "status"])
        )
    )


CLIENTS = {
    "psql": with_psql,
    "psycopg": with_psycopg,
    "psycopg binding here": with_psycopg_binding_here,
    "asyncpg": with_asyncpg,
    "asyncpg records": with_asyncpg_records,
}


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_approved_takes_the_data_once(served: Served, database: str, file: Path, client: str) -> None:
    with deciding(served.approve) as papers:
        assert CLIENTS[client](served, database, file) == 10
    assert left(served, database) == 110
    (executed,) = (entry["body"] for entry in served.life(papers[0].id) if entry["type"] == "executed")
    assert executed["rows"] == 10
    if client != "asyncpg records":  # binary
        assert executed["copied_bytes"] == file.stat().st_size
        assert executed["copied_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert served.outcome(papers[0].id)["result"] == "committed"
    assert (papers[0].measured.status, papers[0].measured.exact) == ("unavailable", None)
    assert "not countable before it runs" in papers[0].measured.why


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_denied_takes_no_data(served: Served, database: str, file: Path, client: str) -> None:
    with deciding(served.deny) as papers, pytest.raises(Refused) as refused:
        CLIENTS[client](served, database, file)
    assert refused.value.sqlstate == "42501"
    assert left(served, database) == 100
    assert [entry["type"] for entry in served.life(papers[0].id)] == ["request", "preview", "decision"]


@pytest.mark.parametrize("client", CLIENTS)
def test_what_policy_forwards_takes_the_data_at_once(
    open_proxy: Served, database: str, file: Path, client: str
) -> None:
    assert CLIENTS[client](open_proxy, database, file) == 10
    assert left(open_proxy, database) == 110


@pytest.mark.parametrize("client", ["psql", "psycopg", "asyncpg"])
def test_bad_data_leave_nothing_and_the_session_usable(served: Served, database: str, file: Path, client: str) -> None:
    file.write_text(file.read_text() + "what\tnew\n" + file.read_text() * 1_000)
    with deciding(served.approve) as papers, pytest.raises(Refused) as refused:
        CLIENTS[client](served, database, file)
    assert refused.value.sqlstate == "22P02"
    assert left(served, database) == 100
    outcome = served.outcome(papers[0].id)
    assert (outcome["result"], outcome["sqlstate"]) == ("failed", "22P02")
    assert len(outcome["copied_sha256"]) == 64


@pytest.mark.parametrize("client", ["psql", "psycopg", "asyncpg"])
def test_a_row_that_is_there_already_leaves_nothing(served: Served, database: str, file: Path, client: str) -> None:
    file.write_text(file.read_text() + "1\tnew\n")
    with deciding(served.approve), pytest.raises(Refused) as refused:
        CLIENTS[client](served, database, file)
    assert refused.value.sqlstate == "23505"
    assert left(served, database) == 100


def test_more_rows_than_were_approved_leave_nothing(served: Served, database: str, file: Path) -> None:
    with deciding(lambda: served.approve(max_rows=9)), pytest.raises(Refused, match="10 rows affected") as refused:
        with_psql(served, database, file)
    assert refused.value.sqlstate == "55000"
    assert left(served, database) == 100


def test_in_a_block_of_the_clients_its_rollback_undoes_it(served: Served, database: str, file: Path) -> None:
    script = f"BEGIN;\n\\copy orders (id, status) FROM '{file}'\nSELECT count(*) FROM orders;\nROLLBACK;\n"
    with deciding(served.approve) as papers:
        done = served.run_psql(database, "-At", "-f", "-", stdin=script)
    assert done.stdout.splitlines() == ["BEGIN", "COPY 10", "110", "ROLLBACK"]
    assert left(served, database) == 100
    assert served.outcome(papers[0].id)["result"] == "rolled-back"


@pytest.mark.parametrize("undone", [True, False], ids=["undone", "committed"])
def test_a_drivers_transaction_is_committed_or_undone_whole(served: Served, database: str, *, undone: bool) -> None:
    with (
        deciding(served.approve) as papers,
        served.connect(database, cursor_factory=psycopg.Cursor) as connection,
        connection.transaction(force_rollback=undone),
    ):
        connection.execute("SELECT count(*) FROM orders")
        with connection.cursor() as cursor, cursor.copy(COPY) as copy:
            copy.write(b"1001\tnew\n1002\tnew\n")
    assert left(served, database) == (100 if undone else 102)
    assert served.outcome(papers[0].id)["result"] == ("rolled-back" if undone else "committed")


def test_asyncpgs_transaction_is_committed_whole(served: Served, database: str, file: Path) -> None:
    async def work(connection: asyncpg.Connection) -> str:
        async with connection.transaction():
            tag = await connection.copy_to_table("orders", source=file, columns=["id", "status"])
            assert await connection.fetchval("SELECT count(*) FROM orders WHERE id > $1", 100) == 10
            return str(tag)

    with deciding(served.approve):
        assert asyncio.run(_asyncpg(served, database, work)) == 10
    assert left(served, database) == 110


def test_a_script_with_its_data_in_line_runs_as_it_does_without_us(served: Served, database: str) -> None:
    script = "COPY orders (id, status) FROM STDIN;\n1001\tnew\n1002\tnew\n\\.\nSELECT count(*) FROM orders;\n"
    with deciding(served.approve):
        done = served.run_psql(database, "-At", "-f", "-", stdin=script)
    assert done.stdout.splitlines() == ["COPY 2", "102"]


def test_a_driver_that_gives_up_in_the_middle_leaves_nothing(served: Served, database: str) -> None:
    with deciding(served.approve) as papers, served.connect(database) as connection:
        with pytest.raises(ZeroDivisionError):
            _give_up(connection)
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert left(served, database) == 100
    assert served.outcome(papers[0].id)["sqlstate"] == "57014"


def _give_up(connection: psycopg.Connection[Any]) -> None:
    with connection.cursor() as cursor, cursor.copy(COPY) as copy:
        copy.write(b"1001\tnew\n")
        raise ZeroDivisionError


def test_ctrl_c_in_the_middle_leaves_nothing(served: Served, database: str) -> None:
    with served.open_psql(database, "-At", "-v", "VERBOSITY=verbose", "-f", "-") as psql:
        assert psql.stdin is not None
        rows = "".join(f"{n}\tnew\n" for n in range(1_000, 50_000))
        writing = threading.Thread(target=lambda: psql.stdin and psql.stdin.write(f"{COPY.decode()};\n{rows}"))
        writing.start()
        paper = served.approve()
        until(lambda: _copying(served, database), "COPY to read")
        psql.send_signal(signal.SIGINT)
        writing.join()
        printed, _ = psql.communicate(timeout=30)
    assert "57014" in printed
    assert left(served, database) == 100
    assert served.outcome(paper.id)["result"] == "failed"


def _copying(served: Served, database: str) -> bool:
    """Say whether COPY has read something and waits for more."""
    with served.behind(database) as behind:
        found = behind.execute(
            "SELECT count(*) FROM pg_stat_progress_copy WHERE datname = current_database() AND bytes_processed > 0"
        ).fetchone()
    return found != (0,)


@pytest.mark.parametrize("profile", ["default", "forward-all"])
def test_a_client_that_vanishes_in_the_middle_leaves_nothing(
    served: Served, open_proxy: Served, database: str, profile: str
) -> None:
    proxy = served if profile == "default" else open_proxy
    with raw_client("127.0.0.1", proxy.port, "eva", PASSWORD, database) as client:
        client.send(query(COPY))
        paper = served.approve() if proxy is served else None
        while client.read().type != b"G":
            pass
        client.send(ROWS)
        until(lambda: _copying(proxy, database), "COPY to read")
    until(lambda: not _copying(proxy, database), "COPY to end")
    assert left(proxy, database) == 100
    if paper is not None:
        assert served.outcome(paper.id)["result"] == "failed"


def test_a_cancel_in_the_middle_takes_effect_with_the_next_data(served: Served, database: str) -> None:
    with deciding(served.approve), served.connect(database) as connection:
        with pytest.raises(psycopg.errors.QueryCanceled):
            _cancel(served, database, connection)
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert left(served, database) == 100


def _cancel(served: Served, database: str, connection: psycopg.Connection[Any]) -> None:
    with connection.cursor() as cursor, cursor.copy(COPY) as copy:
        copy.write(b"".join(b"%d\tnew\n" % n for n in range(2_000, 50_000)))
        until(lambda: _copying(served, database), "COPY to read")
        connection.cancel_safe()
        for n in range(50_000, 200_000):
            copy.write(b"%d\tnew\n" % n)


# --- attacks: each would delete all orders ----------------------------------------------------------------------------

SMUGGLED = {
    "a query inside the data": query(COPY) + message("d", b"1001\tnew\n" + query(DELETE)) + DONE,
    "a query behind the data": query(COPY) + ROWS + query(DELETE) + DONE,
    "a query behind bad data": query(COPY) + message("d", b"bad\n") + query(DELETE) + DONE,
    "a query behind the end": query(COPY) + ROWS + DONE + query(DELETE),
    "a query behind CopyFail": query(COPY) + message("f", b"\0") + query(DELETE),
    "a batch behind the end": query(COPY) + ROWS + DONE + run(DELETE) + SYNC,
    "a query behind an extended copy": RUN + SYNC + ROWS + query(DELETE) + DONE + SYNC,
    "a query behind the end of an extended copy": RUN + SYNC + ROWS + DONE + query(DELETE) + SYNC,
    "a query behind bad extended data": RUN + SYNC + message("d", b"bad\n") + SYNC + query(DELETE),
    "a length that ends inside the data": query(COPY) + b"d\0\0\0\4" + query(DELETE) + DONE,
}


@pytest.mark.parametrize("approved", [True, False], ids=["approved", "denied"])
@pytest.mark.parametrize("bytewise", one_in(2, {"bytewise": True, "whole": False}))
@pytest.mark.parametrize("name", SMUGGLED)
def test_nothing_is_smuggled_with_the_data(
    served: Served, database: str, name: str, *, approved: bool, bytewise: bool
) -> None:
    with (
        raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client,
        ThreadPoolExecutor() as pool,
    ):
        client.send(SMUGGLED[name] + SYNC + query(b"SHOW port"), bytewise=bytewise)
        paper = served.approve() if approved else served.deny()
        assert paper.statement == COPY.decode()
        reading = pool.submit(_up_to_the_end, client)
        until(lambda: reading.done() or _deny_others(served, paper), "the end")
        reading.result()
    assert left(served, database) in (100, 101, 102)


def _up_to_the_end(client: Raw) -> None:
    said = list[str]()
    while not {"C SHOW", "closed"} & set(said):
        said += client.until_ready()


def _deny_others(served: Served, paper: Paper) -> bool:
    for body in served.api.requests():
        if body.id != paper.id:
            served.decide(read_paper(body, body.id), Answer.DENY)
    return False


# --- memory -----------------------------------------------------------------------------------------------------------


def test_fifty_megabytes_pass_and_never_wait_in_the_proxy(
    postgres: EmbeddedPostgres, tmp_path: Path, database: str
) -> None:
    """The server takes nothing for a while: the proxy reads nothing more from the client then."""
    row = b"%07d\tsome more of the same old words\n"
    rows = [b"".join(row % n for n in range(at, at + 200)) for at in range(1_000, 1_300_000, 200)]
    data = b"".join(message("d", each) for each in rows)
    with (
        Relay(postgres.host, postgres.port) as relay,
        Served(postgres, tmp_path / "pgnotary", upstream=relay.address, profile="forward-all") as proxy,
    ):
        assert proxy.process is not None
        with raw_client("127.0.0.1", proxy.port, "eva", PASSWORD, database) as client:
            client.send(query(COPY))
            while client.read().type != b"G":
                pass
            before = _peak_kb(proxy.process.pid)
            with relay.stopped_before(b"0003000\t"):
                client.plug.setblocking(False)
                sent = 0
                while sent < len(data) and select.select([], [client.plug], [], 3.0)[1]:
                    sent += client.plug.send(data[sent : sent + 65_536])
                client.plug.settimeout(60)
            assert sent < 30_000_000
            client.send(data[sent:] + DONE)
            assert without_notices(client.until_ready()) == ["C COPY 1299000", "Z I"]
            assert _peak_kb(proxy.process.pid) - before < 16_000
        until(lambda: _copied(proxy), "the record")
        (copied,) = _copied(proxy)
    assert copied["copied_sha256"] == hashlib.sha256(b"".join(rows)).hexdigest()
    assert copied["copied_bytes"] > 50_000_000


def _copied(proxy: Served) -> list[dict[str, Any]]:
    """Return the executions of COPY in the ledger."""
    found = [each for entry in proxy.entries() if entry["type"] == "forwarded" for each in listed(entry["body"])]
    return [each for each in found if "copied_bytes" in each]


def _peak_kb(pid: int) -> int:
    """Return the most memory that a process has had so far."""
    (line,) = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmHWM")]
    return int(line.split()[1])

"""`record = "summary"` on a live server: what ran is counted and can be proven, its texts are nowhere."""

import asyncio
import hashlib
import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from tests.flow.raw import raw_client
from tests.flow.served import PASSWORD, Served, until

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.wire.messages import query

RULES = """
[[policy.rule]]
name = "quiet"
result = "forward"
class = ["select", "insert"]
qualifier = ["write"]
record = "summary"
"""


@pytest.fixture
def quiet(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Served]:
    with Served(postgres, tmp_path / "pgnotary", hold_s=60, tables=RULES) as served:
        yield served


def summaries(served: Served, kind: str) -> list[dict[str, Any]]:
    """Return what the ledger counts of a kind, oldest first."""
    bodies = [entry["body"] for entry in served.entries() if entry["type"] == "forwarded"]
    return [each for body in bodies for each in body.get("summaries", []) if each["kind"] == kind]


def count(served: Served, kind: str) -> int:
    return sum(each["executions"] for each in summaries(served, kind))


def assert_were(served: Served, kind: str, texts: Sequence[str]) -> None:
    """Recompute each digest from the texts, in the order in which they ran."""
    at = 0
    for each in summaries(served, kind):
        ran = [text.encode() for text in texts[at : at + each["executions"]]]
        hashed = b"pgnotary/summary/1\n" + b"".join(len(text).to_bytes(8, "big") + text for text in ran)
        assert each["sha256"] == hashlib.sha256(hashed).hexdigest()
        at += each["executions"]
    assert at == len(texts)


def closed(served: Served) -> dict[str, Any]:
    """Wait for the end of the only session, and return what its last entry says."""
    bodies = until(lambda: [each["body"] for each in served.entries() if each["type"] == "session-closed"], "its end")
    (body,) = bodies
    return dict(body)


def test_simple_queries_are_counted_and_auditors_are_told_so(quiet: Served, database: str, tmp_path: Path) -> None:
    reads = [f"SELECT status FROM orders WHERE id = {n}" for n in range(40)]
    inserts = ["INSERT INTO orders VALUES (1001, 's3cret')", "INSERT INTO orders VALUES (1002, 's3cret'), (1003, 'x')"]
    with quiet.connect(database) as connection:
        for text in (*reads, *inserts):
            connection.execute(text.encode())
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1/0")
        connection.execute("SHOW work_mem")
    assert closed(quiet) == {"why": "client-gone", "forwarded": 44, "held": 0, "refused": 0}
    assert_were(quiet, "select", reads)
    assert_were(quiet, "insert", inserts)
    assert sum(each["rows"] for each in summaries(quiet, "select")) == 39
    assert sum(each["rows"] for each in summaries(quiet, "insert")) == 3
    for file in quiet.folder.glob("ledger.db*"):
        assert b"s3cret" not in file.read_bytes()

    assert "44 forwarded (42 only counted), 0 refused" in quiet.pgnotary("verify")
    found = [json.loads(line) for line in quiet.pgnotary("search", "--forwarded", "--json").splitlines()]
    assert [each["statement"] for each in found if "executions" not in each] == ["SELECT 1/0", "SHOW work_mem"]
    assert sum(each["executions"] for each in found if each.get("kind") == "select" and "executions" in each) == 40
    table = quiet.pgnotary("search", "--forwarded", "--kind", "insert", "--who", "eva")
    assert "(not kept) SHA-256" in table
    report = quiet.pgnotary("report")
    assert "| Statements forwarded without a decision | 44 |" in report
    assert "| of which only counts and a digest are kept | 42 |" in report
    (session,) = {entry["session"] for entry in quiet.entries() if entry["type"] == "session-opened"}
    assert "insert, " in quiet.pgnotary("replay", session)

    folder = tmp_path / "evidence"
    quiet.pgnotary("export", str(folder))
    lines = (folder / "entries.jsonl").read_text().splitlines()
    exported = [json.loads(line)["body"].get("summaries", []) for line in lines]
    assert sum(each["executions"] for found in exported for each in found) == 42
    assert b"s3cret" not in b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_what_drivers_bind_is_counted_by_its_text(quiet: Served, database: str) -> None:
    text = "SELECT $1::int + 1"

    async def ask() -> None:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=quiet.port, user="eva", password=PASSWORD, database=database
        )
        try:
            prepared = await connection.prepare(text)
            assert [await prepared.fetchval(n) for n in range(20)] == list(range(1, 21))
            async with connection.transaction(readonly=True):
                assert await prepared.fetchval(7) == 8
        finally:
            await connection.close()

    asyncio.run(ask())
    with quiet.connect(database, cursor_factory=psycopg.Cursor) as connection, connection.pipeline():
        found = [connection.execute("SELECT %s::int + 1", [n], prepare=True) for n in range(5)]
        assert [cursor.fetchone() for cursor in found] == [(n + 1,) for n in range(5)]
    sessions = until(lambda: [each for each in quiet.entries() if each["type"] == "session-closed"][1:], "their ends")
    assert len(sessions) == 1
    assert_were(quiet, "select", [text] * 26)
    assert "26 forwarded (26 only counted)" in quiet.pgnotary("verify")


def test_bytes_that_are_cut_anywhere_are_counted_as_they_were_sent(quiet: Served, database: str) -> None:
    texts = [f"select {n} -- \u00e9" for n in range(12)]
    with raw_client("127.0.0.1", quiet.port, "eva", PASSWORD, database) as client:
        for at, text in enumerate(texts):
            sent = query(text.encode())
            client.send(sent[: 3 + at])
            client.send(sent[3 + at :])
            client.until_ready()
    closed(quiet)
    assert_were(quiet, "select", texts)


def test_with_the_disk_full_nothing_is_forwarded_and_what_ran_is_counted(quiet: Served, database: str) -> None:
    """Promise 5, and nothing that the client has had an answer to is missing afterwards."""
    ran: list[str] = []

    def runs(connection: psycopg.Connection[Any]) -> bool:
        text = f"SELECT {len(ran)}"
        try:
            connection.execute(text.encode())
        except psycopg.errors.IoError:
            return False
        ran.append(text)
        return True

    with quiet.connect(database) as connection:
        assert runs(connection)
        quiet.limit_files(0)
        until(lambda: not runs(connection), "the fault to be noticed")
        heard = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO orders%'"
        with pytest.raises(psycopg.errors.IoError):
            connection.execute("INSERT INTO orders VALUES (1001, 'new')")
        assert not runs(connection)
        with quiet.behind(database) as behind:
            assert behind.execute(heard.encode()).fetchone() == (0,)
        quiet.limit_files(None)
        until(lambda: runs(connection), "the ledger to come back")
    assert closed(quiet)["forwarded"] == len(ran)
    assert_were(quiet, "select", ran)


def test_a_proxy_that_is_killed_loses_nothing_that_a_second_was_given(quiet: Served, database: str) -> None:
    with quiet.connect(database) as connection:
        for n in range(30):
            connection.execute(f"SELECT {n}".encode())
        until(lambda: count(quiet, "select") == 30, "what ran to be in the ledger while the session is open")
        connection.execute("SELECT 'later'")
        quiet.stop(signal.SIGKILL)
    quiet.start()
    assert count(quiet, "select") in (30, 31)
    quiet.pgnotary("verify")

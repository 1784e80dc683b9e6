"""If it cannot be recorded it is not forwarded: a full disk, a file that cannot be written, and the way back."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.flow.served import Served, until
from tests.unprivileged import NOBODY, reachable_folder

from pgnotary.demo.postgres import EmbeddedPostgres


def _refusal(connection: psycopg.Connection[object], statement: str) -> str:
    """Return what the client is told while the ledger is down, or ""."""
    try:
        connection.execute(statement.encode())
    except psycopg.errors.IoError as error:  # 58030
        return str(error)
    return ""


def _refused(connection: psycopg.Connection[object], statement: str) -> bool:
    return bool(_refusal(connection, statement))


@pytest.fixture
def unprivileged(postgres: EmbeddedPostgres) -> Iterator[Served]:
    """A proxy under a user that file modes apply to, in a folder that this user can reach."""
    with reachable_folder() as folder:
        folder.chmod(0o755)
        served = Served(postgres, folder / "pgnotary", hold_s=60)
        if os.geteuid() == 0:
            served.give_to(NOBODY)
        with served:
            yield served


def test_with_the_disk_full_nothing_is_forwarded_and_it_recovers(own_proxy: Served, database: str) -> None:
    with own_proxy.connect(database) as connection:
        assert connection.execute("SELECT 'before'").fetchone() == ("before",)
        own_proxy.limit_files(0)
        until(lambda: _refused(connection, "SELECT 'noticed'"), "the fault to be noticed")
        for statement in ("SELECT 1", "DELETE FROM orders", "BEGIN", "SHOW server_version", "SET work_mem = '8MB'"):
            assert _refused(connection, statement), statement
        with pytest.raises(psycopg.OperationalError, match="ledger"):
            own_proxy.connect(database)
        with own_proxy.behind(database) as behind:
            assert behind.execute("SELECT count(*) FROM orders").fetchone() == (100,)
            seen = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DELETE FROM orders%'"
            assert behind.execute(seen).fetchone() == (0,)
        own_proxy.limit_files(None)
        until(lambda: not _refused(connection, "SELECT 'back'"), "the ledger to come back")
    texts = until(lambda: "back" in own_proxy.pgnotary("search", "--forwarded", "--text", "back"), "what was forwarded")
    assert texts
    assert "before" in own_proxy.pgnotary("search", "--forwarded", "--text", "before")
    own_proxy.entries()


def test_a_hold_when_the_disk_is_full_is_refused_and_psql_says_why(own_proxy: Served, database: str) -> None:
    with own_proxy.connect(database) as connection:
        connection.execute("SELECT 1")
        own_proxy.limit_files(0)
        with pytest.raises(psycopg.errors.IoError, match="ledger"):
            connection.execute("DELETE FROM orders")
        own_proxy.limit_files(None)
        until(lambda: not _refused(connection, "SELECT 1"), "the ledger to come back")
    assert [entry for entry in own_proxy.entries() if entry["type"] in ("intent", "executed", "outcome")] == []


def test_an_open_block_can_be_rolled_back_while_the_ledger_is_down(own_proxy: Served, database: str) -> None:
    with own_proxy.connect(database) as connection:
        connection.execute("BEGIN")
        own_proxy.limit_files(0)
        until(lambda: _refused(connection, "SELECT 1"), "the fault to be noticed")
        connection.execute("ROLLBACK")
        own_proxy.limit_files(None)
        until(lambda: not _refused(connection, "SELECT 1"), "the ledger to come back")


def test_a_ledger_that_cannot_be_written_stops_all_and_recovers(unprivileged: Served, database: str) -> None:
    with unprivileged.connect(database) as connection:
        connection.execute("SELECT 1")
        # A file that is open stays writable whatever its mode: the store reopens it after a fault, and then cannot.
        unprivileged.limit_files(0)
        until(lambda: _refused(connection, "SELECT 1"), "the fault to be noticed")
        files = [path for path in unprivileged.folder.iterdir() if path.name.startswith("ledger.db")]
        for path in files:
            path.chmod(0o444)
        unprivileged.folder.chmod(0o555)
        # Only then: a probe that had the file open before its mode changed would find it whole.
        until(lambda: re.search("SQLITE_(READONLY|CANTOPEN)", _refusal(connection, "SELECT 1")), "the new fault")
        unprivileged.limit_files(None)
        assert _refused(connection, "SELECT 1")
        assert _refused(connection, "DELETE FROM orders")
        unprivileged.folder.chmod(0o755)
        for path in files:
            if path.exists():
                path.chmod(0o600)
        until(lambda: not _refused(connection, "SELECT 1"), "the ledger to come back")
    unprivileged.entries()


def test_a_ledger_that_cannot_be_opened_keeps_the_proxy_from_starting(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    served = Served(postgres, tmp_path / "pgnotary")
    served.ledger.mkdir()
    with pytest.raises(AssertionError, match="ledger"):
        served.start()
    assert served.process is not None
    assert served.process.wait(10) == 2
    served.process = None

"""The proxy's log: an operator can follow sessions and holds in it, and reads no statement there."""

import socket
from pathlib import Path

import psycopg
import pytest
from tests.flow.served import Served, until


def line_with(served: Served, *words: str) -> str:
    """Wait for a line of the log that has all of `words`."""

    def found() -> str:
        return next((line for line in served.log.splitlines() if all(word in line for word in words)), "")

    return until(found, f"a line with {words}")


def test_the_log_tells_the_life_of_a_session_and_its_holds_and_no_statement(served: Served, database: str) -> None:
    with served.open_psql(database, "-c", "DELETE FROM orders WHERE status = 'stale' AND total = 424242") as psql:
        paper = served.approve()
        psql.communicate(timeout=30)
    opened = line_with(served, "INFO", "session opened", f"database={database}", "user=eva", "client=127.0.0.1:")
    (session,) = [word for word in opened.split() if word.startswith("session=")]
    line_with(served, "INFO", "statement held", session, f"request={paper.id}", "user=eva")
    line_with(served, "INFO", "request decided", session, f"request={paper.id}", "answer=approve", "approver=bo")
    line_with(served, "INFO", "request ended", session, f"request={paper.id}", "result=committed", "rows=0")
    line_with(served, "INFO", "session closed", session, "held=1")
    assert "DELETE" not in served.log
    assert "424242" not in served.log
    assert "stale" not in served.log


def test_a_login_that_is_refused_is_logged_with_client_and_reason(served: Served, database: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(host="127.0.0.1", port=served.port, user="mallory", password="x", dbname=database)
    line = line_with(served, "INFO", "login refused", 'user \\"mallory\\"')
    assert "client=127.0.0.1:" in line
    assert "sqlstate=28P01" in line


def test_a_server_that_lets_nobody_in_is_logged_as_a_warning(served: Served) -> None:
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        served.connect("no_such_database")
    line_with(served, "WARNING", "PostgreSQL does not let us in", "no_such_database")


def test_a_health_check_leaves_no_line_in_the_log(served: Served, database: str) -> None:
    before = served.log.count("\n")
    with socket.create_connection(("127.0.0.1", served.port)) as probe:
        probe.shutdown(socket.SHUT_WR)
        # The proxy closes its half when it has seen that we left.
        assert probe.recv(1) == b""
    served.connect(database).close()
    line_with(served, "session closed", "forwarded=0", "held=0")
    after = served.log.splitlines()[before:]
    assert [line for line in after if "session " not in line] == []


def test_a_password_file_that_is_gone_is_told_to_the_client_and_in_the_log(own_proxy: Served, database: str) -> None:
    (secret,) = (own_proxy.folder / "secrets").iterdir()
    secret.unlink()
    with pytest.raises(psycopg.OperationalError, match="pgnotary cannot serve this connection; its log says why"):
        own_proxy.connect(database)
    line = line_with(own_proxy, "WARNING", "client cannot be served", "password_file")
    assert Path(secret).name in line

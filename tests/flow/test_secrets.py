"""A password in a statement, from psql to the auditor: it runs as it was written, and nobody sees it without asking."""

import json
import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from tests.flow.served import Served

SECRET = "hunter2-" + secrets.token_hex(8)
SCHEMA = "CREATE TABLE accounts (id int PRIMARY KEY, pin int); INSERT INTO accounts VALUES (1, 1)"


@pytest.fixture
def account(served: Served, database: str) -> Iterator[str]:
    """A role that exists as long as the test, and a table of accounts."""
    name = f"role_{database}"
    with served.behind(database) as connection:
        connection.execute(SCHEMA)
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
        yield name
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def told(served: Served, request: str, session: str) -> dict[str, str]:
    """What everybody is told about a request that has ended, and where its statements are listed."""
    return {
        "log": served.log,
        "ledger": json.dumps(served.entries()),
        "show": served.pgnotary("show", request),
        "show --json": served.pgnotary("show", request, "--json"),
        "search": served.pgnotary("search", "--json"),
        "search --forwarded": served.pgnotary("search", "--forwarded", "--json"),
        "replay": served.pgnotary("replay", request),
        "replay of the session": served.pgnotary("replay", session),
        "report": served.pgnotary("report"),
        "table": served.pgnotary("export", "--csv", "-"),
    }


def test_a_new_password_is_set_and_shown_to_nobody(served: Served, database: str, account: str) -> None:
    with served.open_psql(database, "-c", f"ALTER ROLE {account} PASSWORD '{SECRET}'") as psql:
        name = served.held().id
        for words in (["requests"], ["requests", "--json"], ["show", name], ["show", name, "--json"]):
            assert SECRET not in served.pgnotary(*words)
        assert "PASSWORD '***'" in served.pgnotary("show", name)
        assert f"PASSWORD '{SECRET}'" in served.pgnotary("show", name, "--secrets")
        paper = served.approve()
        printed, _ = psql.communicate(timeout=30)
    assert printed.endswith("ALTER ROLE\n")
    assert SECRET not in printed
    with served.behind(database) as connection:
        query = "SELECT rolpassword LIKE 'SCRAM-SHA-256$%%' FROM pg_authid WHERE rolname = %s"
        assert connection.execute(query, (account,)).fetchone() == (True,)
    for where, what in told(served, paper.id, paper.request.session or "").items():
        assert SECRET not in what, where
    assert SECRET in served.pgnotary("replay", paper.id, "--secrets")


def test_an_error_that_quotes_a_secret_is_told_without_it(served: Served, database: str, account: str) -> None:
    statement = f"UPDATE accounts SET pin = (lower('{SECRET}') || id)::int"
    with served.connect(database) as eva, served.open_psql(database, "-c", statement) as psql:
        paper = served.approve(max_rows=5, others=None)
        printed, _ = psql.communicate(timeout=30)
        # A forwarded one that the server refuses is recorded too.
        with pytest.raises(psycopg.errors.UndefinedTable):
            eva.execute(f"SELECT 1 FROM nothing WHERE token = '{SECRET}'".encode())
    assert "invalid input syntax for type integer" in printed  # Who wrote it is told everything.
    assert served.outcome(paper.id)["result"] == "failed"
    for where, what in told(served, paper.id, paper.request.session or "").items():
        assert SECRET not in what, where
    assert SECRET in served.pgnotary("replay", paper.id, "--secrets")

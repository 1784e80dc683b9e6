"""What ran when the server's connection ended, or failed at its COMMIT: it is in the record, and the session lives."""

import json
from typing import Any

import psycopg
import pytest
from tests.flow.served import Served, until

RULES = """
CREATE TABLE parents (id int PRIMARY KEY);
CREATE TABLE children (parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
"""


def found(served: Served, text: str) -> list[dict[str, Any]]:
    """Return what an auditor finds of forwarded statements with a text."""
    printed = served.pgnotary("search", "--forwarded", "--text", text, "--json")
    return [json.loads(line) for line in printed.splitlines()]


def test_rows_that_were_read_before_the_server_ended_the_session_cannot_stay_out_of_the_record(
    served: Served, database: str
) -> None:
    slow = "SELECT id FROM orders UNION ALL SELECT count(*) FROM generate_series(1, 20000000000)"
    with served.open_psql(database, "-c", slow) as psql:
        with served.behind(database) as server:
            sql = (
                "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT id FROM orders UNION%' AND state = 'active'"
            )
            ((pid,),) = until(lambda: server.execute(sql).fetchall(), "the read")
            server.execute("SELECT pg_terminate_backend(%s)", [pid])
        psql.communicate(timeout=30)
    (ran,) = until(lambda: found(served, "20000000000"), "the record")
    assert ran["sqlstate"] == "08006"


def test_a_session_whose_batch_failed_at_its_commit_goes_on_and_the_record_says_what_failed(
    served: Served, database: str
) -> None:
    with served.behind(database) as server:
        server.execute(RULES.encode())
    with served.connect(database, cursor_factory=psycopg.Cursor) as client:
        for parent in (901, 902):
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                client.execute("INSERT INTO children VALUES (%s)", [parent])
        assert client.execute("SELECT count(*) FROM children WHERE parent > %s", [900]).fetchone() == (0,)
    executed = until(lambda: found(served, "INTO children"), "the record")
    assert [(each["sqlstate"], each["why"]) for each in executed] == [("23503", "undone with its batch")] * 2

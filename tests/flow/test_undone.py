"""What was forwarded in a client's own block and did not stay: the ledger says so, where it has told of rows before."""

from collections.abc import Iterator

import psycopg
import pytest
from tests.flow.raw import message, raw_client, without_notices
from tests.flow.served import PASSWORD, Served, until

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.wire.messages import SYNC, bind, parse, query

INSERT = "INSERT INTO orders VALUES (1000, 'new')"
ANOTHER = "INSERT INTO orders VALUES (1001, 'new')"


@pytest.fixture(scope="module")
def proxy(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(postgres, tmp_path_factory.mktemp("undone") / "pgnotary", hold_s=60) as served:
        yield served
        served.entries()


CASES = {
    "rolled back": (["BEGIN", INSERT, ANOTHER, "ROLLBACK"], ["undoes 2"]),
    "failed": (["BEGIN", INSERT, "SELECT 1/0", "COMMIT"], ["undoes 1"]),
    "chained": (["BEGIN", INSERT, "ROLLBACK AND CHAIN", ANOTHER, "COMMIT"], ["undoes 1"]),
    "to a savepoint": (
        ["BEGIN", INSERT, "SAVEPOINT s", ANOTHER, "ROLLBACK TO s", "COMMIT"],
        ["undoes 1"],
    ),
    "twice to a savepoint": (
        ["BEGIN", "SAVEPOINT s", INSERT, "ROLLBACK TO s", ANOTHER, "ROLLBACK TO s", "ROLLBACK"],
        ["undoes 1", "undoes 1"],
    ),
    "a released savepoint": (
        ["BEGIN", "SAVEPOINT s", INSERT, "RELEASE s", ANOTHER, "ROLLBACK"],
        ["undoes 2"],
    ),
    "committed": (["BEGIN", INSERT, "COMMIT"], []),
    "what only reads": (["BEGIN", "SELECT 1", "ROLLBACK"], []),
    "a deferred constraint": (
        ["BEGIN", "INSERT INTO late VALUES (1)", "INSERT INTO late VALUES (1)", "COMMIT"],
        ["undoes 2"],
    ),
}


def _undone(proxy: Served, session: str) -> list[str]:
    """Return what each undoing of a session says, once its session is closed."""

    def closed() -> list[dict[str, object]]:
        entries = [entry for entry in proxy.entries() if entry.get("session") == session]
        return entries if entries and entries[-1]["type"] == "session-closed" else []

    entries = until(closed, "the end of the session")
    found = []
    for entry in entries:
        body = entry["body"]
        assert isinstance(body, dict)
        for place in body.get("executions", {}).get("alike", ()):
            alike = body["alike"][place]
            if alike["kind"] == "transaction":
                found.append(alike["why"])
        if entry["type"] == "session-closed" and "undone" in body["why"]:
            found.append(body["why"])
    return found


def _session(proxy: Served) -> str:
    return str([entry for entry in proxy.entries() if entry["type"] == "session-opened"][-1]["session"])


@pytest.mark.parametrize(("texts", "said"), CASES.values(), ids=CASES)
def test_what_a_block_undoes_is_told(proxy: Served, database: str, texts: list[str], said: list[str]) -> None:
    with proxy.behind(database) as behind:
        behind.execute("CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    with raw_client("127.0.0.1", proxy.port, "eva", PASSWORD, database) as client:
        for text in texts:
            client.send(query(text.encode()))
            client.until_ready()
        session = _session(proxy)
    assert [each.split(" statement")[0] for each in _undone(proxy, session)] == said


def test_what_the_end_of_a_session_undoes_is_told(proxy: Served, database: str) -> None:
    with proxy.connect(database, autocommit=False) as her:
        her.execute(INSERT.encode())
        session = _session(proxy)
        her.close()
    (said,) = _undone(proxy, session)
    assert "1 statement forwarded in its open transaction is undone" in said


def test_a_portal_that_is_left_with_rows_says_no_number(proxy: Served, database: str) -> None:
    """All rows are inserted; PostgreSQL tells nobody how many before the last one is fetched."""
    text = b"INSERT INTO orders SELECT n, 'new' FROM generate_series(1000, 1002) n RETURNING id"
    with raw_client("127.0.0.1", proxy.port, "eva", PASSWORD, database) as client:
        client.send(query(b"BEGIN"))
        client.until_ready()
        client.send(parse(b"", text) + bind(b"p", b"") + message("E", b"p\0\0\0\0\1") + SYNC)
        assert without_notices(client.until_ready()) == ["1", "2", "D", "s", "Z T"]
        client.send(query(b"ROLLBACK"))
        client.until_ready()
        session = _session(proxy)
    assert [each.split(" statement")[0] for each in _undone(proxy, session)] == ["undoes 1"]
    (inserted,) = [
        alike
        for entry in proxy.entries()
        if entry.get("session") == session and entry["type"] == "forwarded"
        for alike in entry["body"]["alike"]
        if alike["kind"] == "insert"
    ]
    assert not inserted.keys() & {"rows", "tag"}


def test_a_rollback_of_psycopg_is_told_too(proxy: Served, database: str) -> None:
    with proxy.connect(database, autocommit=False, cursor_factory=psycopg.Cursor) as her:
        her.execute("INSERT INTO orders VALUES (%s, 'new')", (1000,))
        her.rollback()
        session = _session(proxy)
    assert [each.split(" statement")[0] for each in _undone(proxy, session)] == ["undoes 1"]

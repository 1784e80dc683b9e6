"""Two-phase commit on a real server: what is prepared, who ends it, and what the ledger says of it in the end."""

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import errors
from tests.flow.beside import deciding, left
from tests.flow.raw import raw_client, without_notices
from tests.flow.relay import Relay
from tests.flow.served import PASSWORD, PATIENCE_S, Served, until

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.wire import messages

DELETE = "DELETE FROM orders WHERE id <= 5"


@pytest.fixture
def gid(postgres: EmbeddedPostgres, database: str) -> Iterator[str]:
    """A name that no other test uses; whatever waits in the test's database is rolled back in the end."""
    yield f"of {database}'s"
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        waiting = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
        for (name,) in connection.execute(waiting).fetchall():
            connection.execute(b"ROLLBACK PREPARED %b" % quoted(name).encode())


def quoted(gid: str) -> str:
    return "'" + gid.replace("'", "''") + "'"


def run(client: psycopg.Connection[object], text: str) -> None:
    client.execute(text.encode())


def prepare(served: Served, database: str, gid: str, text: str = DELETE) -> str:
    """Leave a signed statement behind prepared, and return its request."""
    with served.connect(database) as client:
        client.execute("BEGIN")
        with deciding(served.approve) as approved:
            run(client, text)
        run(client, f"PREPARE TRANSACTION {quoted(gid)}")
        assert client.info.transaction_status.name == "IDLE"
    return str(approved[0].id)


def prepared_elsewhere(served: Served, database: str, gid: str) -> None:
    """Leave a DELETE behind that never passed through the proxy."""
    with served.behind(database) as connection:
        connection.execute("BEGIN")
        connection.execute("DELETE FROM orders")
        run(connection, f"PREPARE TRANSACTION {quoted(gid)}")


def results(served: Served, request: str) -> list[str]:
    return [entry["body"]["result"] for entry in served.life(request) if entry["type"] == "outcome"]


@pytest.mark.parametrize(("word", "fate", "gone"), [("COMMIT", "committed", 5), ("ROLLBACK", "rolled-back", 0)])
def test_what_was_signed_is_prepared_and_ended_by_another_session(
    served: Served, database: str, gid: str, word: str, fate: str, gone: int
) -> None:
    request = prepare(served, database, gid)
    assert left(served, database) == 100
    assert served.outcome(request)["gid"] == gid
    with served.connect(database) as client:
        run(client, f"{word} PREPARED {quoted(gid)}")
    assert left(served, database) == 100 - gone
    assert results(served, request) == ["prepared", fate]


def test_psycopg_commits_in_two_phases_what_is_only_forwarded(served: Served, database: str, gid: str) -> None:
    with closing(served.connect(database, autocommit=False)) as client:
        client.tpc_begin(client.xid(1, gid, "branch"))
        client.execute("INSERT INTO orders VALUES (101, 'new')")
        client.tpc_prepare()
        client.tpc_commit()
        client.tpc_begin(client.xid(1, gid, "branch"))
        client.execute("INSERT INTO orders VALUES (102, 'new')")
        client.tpc_prepare()
    with closing(served.connect(database, autocommit=False)) as client:
        (waiting,) = [each for each in client.tpc_recover() if each.gtrid == gid]
        client.tpc_rollback(waiting)
    assert left(served, database) == 101


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("word", ["COMMIT", "ROLLBACK"])
def test_what_somebody_has_prepared_beside_the_proxy_is_not_ended_unsigned(
    served: Served, database: str, gid: str, word: str, extended: bool
) -> None:
    prepared_elsewhere(served, database, gid)
    text = f"{word} PREPARED {quoted(gid)}".encode()
    batch = messages.parse(b"", text) + messages.bind(b"", b"") + messages.execute(b"") + messages.SYNC
    with raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client:
        client.send(batch if extended else messages.query(text))
        paper = served.deny()
        assert "E 42501" in without_notices(client.until_ready())
    assert "DELETE" not in paper.statement
    assert paper.prepared is not None
    assert "RowExclusiveLock on public.orders" in paper.prepared
    assert left(served, database) == 100
    with served.behind(database) as connection:
        assert connection.execute("SELECT 1 FROM pg_prepared_xacts WHERE gid = %s", (gid,)).fetchone() == (1,)


@pytest.mark.parametrize("extended", [False, True])
def test_what_somebody_has_prepared_beside_the_proxy_is_committed_once_it_is_signed(
    served: Served, database: str, gid: str, extended: bool
) -> None:
    prepared_elsewhere(served, database, gid)
    with served.connect(database, cursor_factory=psycopg.Cursor) as client:
        with deciding(served.approve) as approved:
            client.execute(f"COMMIT PREPARED {quoted(gid)}".encode(), binary=extended)
        # The session is read only as before.
        with pytest.raises(errors.InsufficientPrivilege), deciding(served.deny):
            client.execute("DELETE FROM items")
    assert left(served, database) == 0
    assert served.outcome(approved[0].id)["result"] == "committed"


def test_a_name_that_is_given_to_another_transaction_meanwhile_is_not_the_one_that_was_signed(
    served: Served, database: str, gid: str
) -> None:
    request = prepare(served, database, gid, "DELETE FROM items WHERE order_id = 1")
    with served.behind(database) as connection:
        run(connection, f"ROLLBACK PREPARED {quoted(gid)}")
    prepared_elsewhere(served, database, gid)
    with (
        served.connect(database) as client,
        pytest.raises(errors.InsufficientPrivilege),
        deciding(served.deny) as denied,
    ):
        run(client, f"COMMIT PREPARED {quoted(gid)}")
    assert denied[0].id != request
    assert left(served, database) == 100


def test_the_server_answers_what_nobody_needs_to_sign(served: Served, database: str, gid: str) -> None:
    with served.connect(database) as client:
        with pytest.raises(errors.UndefinedObject, match="does not exist"):
            run(client, f"COMMIT PREPARED {quoted(gid)}")
        client.execute("BEGIN")
        with pytest.raises(errors.ActiveSqlTransaction):
            run(client, f"COMMIT PREPARED {quoted(gid)}")
        client.execute("ROLLBACK")
        client.execute("CREATE TEMP TABLE own (n int)")
        client.execute("BEGIN")
        client.execute("SELECT count(*) FROM own")
        with pytest.raises(errors.FeatureNotSupported, match="temporary"):
            run(client, f"PREPARE TRANSACTION {quoted(gid)}")
        assert client.info.transaction_status.name == "IDLE"
        client.execute("BEGIN")
        with pytest.raises(errors.DivisionByZero):
            client.execute("SELECT 1/0")
        cursor = client.execute(f"PREPARE TRANSACTION {quoted(gid)}".encode())
        assert cursor.statusmessage == "ROLLBACK"


def test_after_a_restart_it_is_ended_by_its_name(own_proxy: Served, database: str, gid: str) -> None:
    request = prepare(own_proxy, database, gid)
    own_proxy.stop(signal.SIGKILL)
    own_proxy.start()
    assert f"prepared, neither committed nor rolled back: {request}" in own_proxy.pgnotary("verify")
    with own_proxy.connect(database) as client:
        run(client, f"COMMIT PREPARED {quoted(gid)}")
    assert left(own_proxy, database) == 95
    assert results(own_proxy, request) == ["prepared", "committed"]
    story = own_proxy.pgnotary("show", request)
    assert "committed" in story


def test_a_transaction_manager_that_ends_at_once_what_it_finds_after_a_crash_leaves_a_good_ledger(
    postgres: EmbeddedPostgres, tmp_path: Path, database: str, gid: str
) -> None:
    """The proxy hears what has become of the last statement while the session records the fate of the first ones."""
    requests: list[str] = []
    with (
        Relay(postgres.host, postgres.port) as relay,
        Served(postgres, tmp_path / "pgnotary", hold_s=60, upstream=relay.address) as proxy,
    ):
        with proxy.connect(database) as client:
            client.execute("BEGIN")
            for n in range(6):
                with deciding(proxy.approve) as approved:
                    run(client, f"DELETE FROM orders WHERE id = {n + 1}")
                requests.append(approved[0].id)
            run(client, f"PREPARE TRANSACTION {quoted(gid)}")
        proxy.stop(signal.SIGKILL)
        asks = f"pgnotary/resolver/{requests[-1]}\0".encode()
        with relay.stopped_before(b"pg_xact_status", of=asks, until=b"COMMIT PREPARED\0") as stopped:
            proxy.start()
            assert stopped.wait(PATIENCE_S)
            with proxy.connect(database) as client:
                assert client.execute(f"COMMIT PREPARED {quoted(gid)}".encode()).statusmessage == "COMMIT PREPARED"
                assert client.execute("SELECT count(*) FROM orders").fetchone() == (94,)
        assert [results(proxy, each) for each in requests] == [["prepared", "committed"]] * 6
        assert "6 sent (6 committed)" in proxy.pgnotary("verify")


@pytest.mark.parametrize(("word", "fate"), [("COMMIT", "committed"), ("ROLLBACK", "rolled-back")])
def test_what_was_ended_beside_the_proxy_is_resolved_by_the_next_start(
    own_proxy: Served, database: str, gid: str, word: str, fate: str
) -> None:
    request = prepare(own_proxy, database, gid)
    own_proxy.stop()
    with own_proxy.behind(database) as connection:
        run(connection, f"{word} PREPARED {quoted(gid)}")
    own_proxy.start()
    until(lambda: own_proxy.outcome(request)["result"] == "resolved", "what PostgreSQL says of it")
    assert own_proxy.outcome(request)["fate"] == fate
    assert own_proxy.outcome(request).get("rows") == (5 if fate == "committed" else None)


def test_what_is_prepared_for_execute_is_not_run_by_it(served: Served, database: str, gid: str) -> None:
    prepared_elsewhere(served, database, gid)
    commit = messages.parse(b"s1", f"COMMIT PREPARED {quoted(gid)}".encode()) + messages.SYNC
    with raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client:
        client.send(commit)
        client.until_ready()
        client.send(messages.query(b"EXECUTE s1"))
        assert without_notices(client.until_ready()) == ["E 0A000", "Z I"]
        client.send(messages.bind(b"", b"s1") + messages.execute(b"") + messages.SYNC)
        served.deny()
        assert "E 42501" in without_notices(client.until_ready())
    assert left(served, database) == 100


def test_code_that_prepares_the_transaction_it_was_signed_for_is_not_believed(
    served: Served, database: str, gid: str
) -> None:
    """The server prepares it behind the statement, and nobody here has seen under which name."""
    with served.behind(database) as connection:
        connection.execute(
            "CREATE FUNCTION run_s1() RETURNS int LANGUAGE plpgsql AS "
            "$$ BEGIN DELETE FROM orders; EXECUTE 'EXECUTE s1'; RETURN 1; END $$"
        )
    prepares = messages.parse(b"s1", f"PREPARE TRANSACTION {quoted(gid)}".encode()) + messages.SYNC
    with raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client:
        client.send(prepares + messages.query(b"BEGIN"))
        client.until_ready(2)
        client.send(messages.query(b"SELECT run_s1()"))
        paper = served.approve()
        assert without_notices(client.until_ready())[-2:] == ["E 08007", "closed"]
    assert results(served, paper.id) == ["unknown"]
    with served.connect(database) as client, pytest.raises(errors.InsufficientPrivilege), deciding(served.deny):
        run(client, f"COMMIT PREPARED {quoted(gid)}")
    assert left(served, database) == 100
    with served.behind(database) as connection:
        run(connection, f"ROLLBACK PREPARED {quoted(gid)}")
    until(lambda: served.outcome(paper.id)["result"] == "resolved", "what PostgreSQL says of it")
    assert served.outcome(paper.id)["fate"] == "rolled-back"


def test_a_rule_can_refuse_or_hold_what_ends_a_prepared_transaction(
    postgres: EmbeddedPostgres, tmp_path: Path, database: str, gid: str
) -> None:
    rule = '[[policy.rule]]\nname = "no-ends"\nresult = "refuse"\nclass = "two-phase"\n'
    with Served(postgres, tmp_path / "pgnotary", hold_s=60, tables=rule) as proxy:
        prepare(proxy, database, gid)
        with proxy.connect(database) as client, pytest.raises(errors.FeatureNotSupported, match="refused by pgnotary"):
            run(client, f"COMMIT PREPARED {quoted(gid)}")
        assert left(proxy, database) == 100


def test_where_policy_holds_nothing_all_of_it_passes(
    postgres: EmbeddedPostgres, tmp_path: Path, database: str, gid: str
) -> None:
    with Served(postgres, tmp_path / "pgnotary", profile="forward-all") as proxy:
        prepared_elsewhere(proxy, database, gid)
        with proxy.connect(database) as client:
            run(client, f"COMMIT PREPARED {quoted(gid)}")
            assert left(proxy, database) == 0
            with pytest.raises(errors.UndefinedObject):
                run(client, f"ROLLBACK PREPARED {quoted(gid)}")

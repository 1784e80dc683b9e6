"""Bounds: how many clients there may be, how many statements may wait, and how much may wait behind one of them."""

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from psycopg.pq import DiagnosticField
from tests.flow.served import Served, until
from tests.listed import listed

from pgnotary.approval.papers import read_paper
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.request.decision import Answer
from pgnotary.wire.messages import query

DELETE = "DELETE FROM orders"


@pytest.fixture
def narrow(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Served]:
    """A proxy where two statements of one person may wait, and three in all."""
    with Served(
        postgres, tmp_path / "pgnotary", hold_s=60, queue_bytes=1024, max_held_per_person=2, max_held=3
    ) as proxy:
        yield proxy
        proxy.entries()


def _waiting(served: Served, count: int) -> list[str]:
    """Wait until so many requests are open and return their ids, oldest first."""

    def found() -> list[str]:
        ids = [body.id for body in served.api.requests()]
        return ids if len(ids) == count else []

    return until(found, f"{count} requests")


def _refusals(served: Served) -> list[str]:
    """The SQLSTATEs of what was refused, as the ledger has them."""
    found = [each for entry in served.entries() if entry["type"] == "forwarded" for each in listed(entry["body"])]
    return [str(each["sqlstate"]) for each in found if each["verdict"] == "refuse"]


def test_one_statement_too_many_is_refused_and_psql_stays_usable(narrow: Served, database: str) -> None:
    with narrow.open_psql(database, "-c", DELETE), narrow.open_psql(database, "-c", DELETE):
        _waiting(narrow, 2)
        done = narrow.run_psql(database, "-v", "VERBOSITY=verbose", "-c", DELETE, "-c", "SELECT 'usable'")
        assert (
            "ERROR:  53300: 2 statements of eva wait for approval already, at most 2 may (policy.max_held_per_person)"
        ) in done.stderr
        assert "HINT:  Wait until one of them is decided, or withdraw one with Ctrl-C" in done.stderr
        assert "usable" in done.stdout
        assert len(_waiting(narrow, 2)) == 2
        until(lambda: _refusals(narrow) == ["53300"], "the record of the refusal")


def test_one_too_many_inside_a_block_fails_the_block(narrow: Served, database: str) -> None:
    script = f"BEGIN;\n{DELETE};\nSELECT 'ignored';\nROLLBACK;\nSELECT 'usable';\n"
    with narrow.open_psql(database, "-c", DELETE), narrow.open_psql(database, "-c", DELETE):
        _waiting(narrow, 2)
        done = narrow.run_psql(database, "-At", "-f", "-", stdin=script)
    assert "2 statements of eva wait" in done.stderr
    assert "current transaction is aborted" in done.stderr
    assert done.stdout.splitlines() == ["BEGIN", "ROLLBACK", "usable"]


def test_another_person_may_still_ask_until_all_places_are_taken(narrow: Served, database: str) -> None:
    with ExitStack() as open_now:
        for count in (1, 2):
            open_now.enter_context(narrow.open_psql(database, "-c", DELETE))
            _waiting(narrow, count)
        bo = [open_now.enter_context(narrow.connect(database, user="bo")) for _ in range(2)]
        asking = threading.Thread(target=_execute, args=(bo[0],))
        asking.start()
        ids = _waiting(narrow, 3)
        with pytest.raises(psycopg.errors.TooManyConnections, match=r"3 statements wait .* \(policy.max_held\)"):
            bo[1].execute(DELETE)
        assert bo[1].execute("SELECT 1").fetchone() == (1,)
        bo[0].cancel()
        asking.join()
        assert _waiting(narrow, 2) == ids[:2]


def _execute(connection: psycopg.Connection[object]) -> None:
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(DELETE)


def test_each_session_of_a_person_has_a_hold_of_its_own(narrow: Served, database: str) -> None:
    first = narrow.open_psql(database, "-c", "DELETE FROM orders WHERE id = 1")
    second = narrow.open_psql(database, "-c", "DELETE FROM orders WHERE id = 2")
    with first as one, second as two:
        _waiting(narrow, 2)
        found = (read_paper(body, body.id) for body in narrow.api.requests())
        papers = {paper.statement[-1]: paper for paper in found}
        narrow.decide(papers["2"], Answer.DENY, "not that one")
        assert "denied by bo: not that one" in two.communicate(timeout=30)[0]
        assert _waiting(narrow, 1) == [papers["1"].id]
        assert one.poll() is None
        narrow.decide(papers["1"], Answer.APPROVE)
        assert one.communicate(timeout=30)[0].rstrip().endswith("DELETE 1")
    with narrow.behind(database) as connection:
        assert connection.execute("SELECT min(id) FROM orders").fetchone() == (2,)


def test_a_place_is_free_again_after_each_end(narrow: Served, database: str) -> None:
    for _ in range(3):
        with narrow.open_psql(database, "-c", DELETE) as psql:
            narrow.deny()
            psql.communicate(timeout=30)
        with narrow.open_psql(database, "-c", DELETE) as psql:
            narrow.held()
            psql.kill()
            psql.wait(30)
            until(lambda: not narrow.api.requests(), "the withdrawal")


def test_more_than_may_wait_behind_a_hold_ends_the_session_and_withdraws(narrow: Served, database: str) -> None:
    with closing(narrow.connect(database)) as connection:
        plug = connection.pgconn
        plug.send_query(DELETE.encode())
        plug.flush()
        paper = narrow.held()
        # Sent behind libpq's back, which would wait for the answer first.
        for _ in range(3):
            os.write(plug.socket, query(b"SELECT '" + b"x" * 500 + b"'"))
        ended = plug.get_result()
        assert ended is not None
        assert ended.error_field(DiagnosticField.SQLSTATE) == b"54000"
        assert b"more than 1024 bytes of messages wait behind a statement" in ended.error_message
    life = narrow.life(paper.id)
    assert [entry["type"] for entry in life] == ["request", "preview", "withdrawn"]
    assert life[-1]["body"] == {"by": "parting"}
    with narrow.behind(database) as behind:
        assert behind.execute("SELECT count(*) FROM orders").fetchone() == (100,)


def _with_limits(postgres: EmbeddedPostgres, folder: Path, *lines: str) -> Served:
    """Return a proxy with these lines in [listen], not started yet."""
    proxy = Served(postgres, folder / "pgnotary")
    text = proxy.config.read_text()
    assert text.count("[listen]\n") == 1
    proxy.config.write_text(text.replace("[listen]\n", "\n".join(["[listen]", *lines, ""])))
    return proxy


@pytest.fixture
def small(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Served]:
    """A proxy for two clients, while two more are on their way in."""
    with _with_limits(postgres, tmp_path, "max_clients = 2", "max_logins = 2") as proxy:
        yield proxy


def test_a_client_too_many_is_told_so_and_comes_in_when_another_has_left(small: Served, database: str) -> None:
    with small.connect(database) as first, closing(small.connect(database)):
        with pytest.raises(psycopg.OperationalError, match=r"carries 2 clients already.*\(listen.max_clients\)"):
            small.connect(database)
        first.close()

        def back() -> psycopg.Connection[object] | None:
            try:
                return small.connect(database)
            except psycopg.OperationalError:
                return None

        third = until(back, "the place of the one that has left")
        assert third is not None
        with closing(third):
            assert third.execute("SELECT 1").fetchone() == (1,)


def test_clients_that_come_all_at_once_are_counted_too(
    postgres: EmbeddedPostgres, tmp_path: Path, database: str
) -> None:
    """Each was let in that came before the first one had its session."""
    proxy = _with_limits(postgres, tmp_path, "max_clients = 2")

    def come(_: int) -> psycopg.Connection[object] | None:
        try:
            return proxy.connect(database, sslmode="disable")
        except psycopg.OperationalError:
            return None

    with proxy:
        with ThreadPoolExecutor(12) as pool:
            inside = [connection for connection in pool.map(come, range(12)) if connection is not None]
        assert 1 <= len(inside) <= 2
        for connection in inside:
            connection.close()


def test_who_says_nothing_keeps_others_out_only_until_they_leave(small: Served, database: str) -> None:
    with small.connect(database) as inside:
        with ExitStack() as silent:
            for _ in range(2):
                silent.enter_context(socket.create_connection(("127.0.0.1", small.port)))

            def full() -> bool:
                try:
                    # What is said to an SSLRequest libpq does not repeat: it came unencrypted.
                    small.connect(database, sslmode="disable").close()
                except psycopg.OperationalError as error:
                    return "too many connections are logging in (listen.max_logins)" in str(error)
                return False

            until(full, "both silent ones to be counted")
            assert inside.execute("SELECT 1").fetchone() == (1,)
        until(lambda: not full(), "a place")

"""Clients that read none of their answers: they hold up themselves, and nobody else."""

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from tests.flow.raw import Raw
from tests.flow.served import PASSWORD, Served, until

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.wire.messages import query
from pgnotary.wire.startup import PROTOCOL_3_0

# As many as are looked at at once.
MOST = 8
OTHER = b"DELETE FROM items WHERE line = 9"


@contextlib.contextmanager
def deaf(served: Served, user: str, database: str) -> Iterator[Raw]:
    """A client whose kernel takes next to nothing for it."""
    with socket.socket() as plug:
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        plug.settimeout(20)
        plug.connect(("127.0.0.1", served.port))
        client = Raw(plug)
        client.login(user, PASSWORD, database, PROTOCOL_3_0)
        yield client


def selects(count: int) -> bytes:
    return b"".join(query(f"SELECT {n} AS deaf, repeat('x', 6000)".encode()) for n in range(1, count + 1))


def last_select(served: Served, database: str) -> int:
    """Return the number of the SELECT that the server has come to, once it comes no further."""
    said = "SELECT max(substring(query FROM 'SELECT ([0-9]+) AS deaf')::int) FROM pg_stat_activity"
    found = -1
    with served.behind(database) as behind:
        while True:
            time.sleep(0.5)
            (number,) = behind.execute(said).fetchone() or (None,)
            if number is not None and number == found:
                return int(number)
            found = number or -1


@pytest.fixture
def proxy(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Served]:
    with Served(postgres, tmp_path / "pgnotary", hold_s=60, max_held_per_person=100) as served:
        yield served
        served.entries()


def test_eight_who_read_nothing_do_not_keep_the_others_from_being_held(proxy: Served, database: str) -> None:
    """The answer before their DELETE fills a buffer, so that the answers to our own questions are not read either."""
    with deaf(proxy, "eva", database) as probe:
        probe.send(selects(1_500))
        before = last_select(proxy, database) - 1
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as beside:
        # Where exactly it stands still the kernel decides.
        for n in range(3 * MOST):
            client = stack.enter_context(deaf(proxy, "eva", database))
            client.send(selects(before + n % 3 - 1) + query(b"DELETE FROM orders WHERE id = 1"))
        looking = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN READ ONLY%%' AND datname = %s"
        with proxy.behind(database) as behind:
            until(lambda: (behind.execute(looking, [database]).fetchone() or (0,))[0] >= MOST, "eight to be looked at")
        with proxy.connect(database, user="bo") as other:
            sent = beside.submit(other.execute, OTHER)
            try:
                # Some of the deaf may be held, too: those whose answers did not fill the buffer.
                until(lambda: any(each.request.opened["statement"][1] == OTHER for each in proxy.api.requests()), "it")
            finally:
                other.cancel()
            assert isinstance(sent.exception(20), psycopg.errors.QueryCanceled)

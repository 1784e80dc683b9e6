"""One client's excess is not the others' trouble: bursts, answers that nobody reads, logins while the proxy stops."""

import contextlib
import select
import signal
import socket
import threading

import psycopg
import pytest
from tests.flow.served import Served, until

from pgnotary.wire.startup import encode_startup

FUNCTION_CALL = b"F\0\0\0\4"
FLOOD = FUNCTION_CALL * 50_000


def _socket_of(connection: psycopg.Connection[object]) -> socket.socket:
    """The connection's own socket, to say on it what no driver would."""
    plug = socket.socket(fileno=connection.pgconn.socket)
    plug.setblocking(False)
    return plug


def _send(plug: socket.socket, data: bytes) -> int:
    """Send until all is sent, or the proxy takes nothing more for five seconds; return how much it took."""
    sent = 0
    while sent < len(data) and select.select([], [plug], [], 5.0)[1]:
        sent += plug.send(data[sent : sent + 65_536])
    return sent


def test_a_burst_of_tiny_messages_does_not_stop_the_others(served: Served, database: str) -> None:
    with served.connect(database) as noisy, served.connect(database) as other:
        plug = _socket_of(noisy)
        try:
            sender = threading.Thread(target=_send, args=(plug, FLOOD))
            sender.start()
            for n in range(20):
                assert other.execute(f"SELECT {n}".encode()).fetchone() == (n,)
            sender.join()
        finally:
            plug.detach()
            noisy.pgconn.finish()


def test_a_client_that_reads_no_answers_is_not_read_either(served: Served, database: str) -> None:
    with served.connect(database) as deaf, served.connect(database) as other:
        plug = _socket_of(deaf)
        try:
            # What the kernel keeps for us is more than the proxy does; it need not grow.
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            # Each takes five bytes, and more than a hundred to answer.
            assert _send(plug, FUNCTION_CALL * 4_000_000) < 20_000_000
            assert other.execute("SELECT 1").fetchone() == (1,)
        finally:
            plug.detach()
            deaf.pgconn.finish()


def test_who_comes_in_while_the_proxy_stops_does_not_keep_it(own_proxy: Served, database: str) -> None:
    stopped = threading.Event()

    def knock() -> None:
        while not stopped.is_set():
            with contextlib.suppress(psycopg.OperationalError):
                arrived.append(own_proxy.connect(database, connect_timeout=5))

    arrived: list[psycopg.Connection[object]] = []
    knocking = [threading.Thread(target=knock) for _ in range(6)]
    for thread in knocking:
        thread.start()
    try:
        until(lambda: len(arrived) > 10, "some to come in")
        assert own_proxy.process is not None
        own_proxy.process.send_signal(signal.SIGTERM)
        assert own_proxy.process.wait(15) == 0
    finally:
        stopped.set()
        for thread in knocking:
            thread.join()
        for connection in arrived:
            connection.close()
    own_proxy.process = None
    assert own_proxy.entries()[-1]["type"] == "proxy-stopped"


def test_half_a_login_does_not_keep_the_proxy(own_proxy: Served, database: str) -> None:
    with socket.create_connection(("127.0.0.1", own_proxy.port)) as plug:
        plug.sendall(encode_startup({"user": "eva", "database": database}))
        assert plug.recv(1) == b"R"
        assert own_proxy.process is not None
        own_proxy.process.send_signal(signal.SIGTERM)
        assert own_proxy.process.wait(15) == 0
    own_proxy.process = None


def test_a_session_that_is_idle_hears_why_it_ends(own_proxy: Served, database: str) -> None:
    with own_proxy.connect(database) as connection:
        own_proxy.stop()
        with pytest.raises(psycopg.errors.AdminShutdown, match="pgnotary is stopping"):
            connection.execute("SELECT 1")

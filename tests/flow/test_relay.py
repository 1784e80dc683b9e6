"""The wire that tests put between: it carries both ways, and keeps nothing of a connection that has ended."""

import socket
import threading

from tests.flow.relay import Relay
from tests.flow.served import until


def test_a_relay_keeps_no_thread_and_no_socket_of_what_has_ended() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, Relay(*server.getsockname()) as relay:
        before = threading.active_count()
        host, _, port = relay.address.partition(":")
        for _ in range(3):
            with socket.create_connection((host, int(port))) as client:
                there, _ = server.accept()
                with there:
                    client.sendall(b"ask")
                    assert there.recv(3) == b"ask"
                    there.sendall(b"answer")
                    assert client.recv(6) == b"answer"
            until(lambda: threading.active_count() == before, "its threads to end")
            assert len(relay._sockets) == 1

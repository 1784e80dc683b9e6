"""A wire between the proxy and its server that a test can stop, or that forgets what a session is opened with.

Everything passes; inside `stopped_before` a write that holds certain bytes waits, and what follows it.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Self

from tests.flow.served import PATIENCE_S

from pgnotary.wire.startup import StartupMessage, encode_startup, parse_packet, startup_length

__all__ = ["Relay"]


class Relay:
    """Listens at `address`, inside `with`, and connects each that comes to the server."""

    def __init__(self, host: str, port: int, *, forgets: str = "") -> None:
        """`forgets` names a start-up parameter that is dropped without a word, as poolers do."""
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._address = "{}:{}".format(*self._listener.getsockname())
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []
        self._forgets = forgets
        self._words = self._of = self._until = b""
        self._stopped = threading.Event()
        self._passing = threading.Event()
        self._passing.set()

    @property
    def address(self) -> str:
        """host:port."""
        return self._address

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._passing.set()
        for plug in list(self._sockets):
            with contextlib.suppress(OSError):
                plug.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for plug in self._sockets:
            plug.close()

    @contextlib.contextmanager
    def stopped_before(self, words: bytes, *, of: bytes = b"", until: bytes = b"") -> Iterator[threading.Event]:
        """Let nothing pass to the server from the first write on that holds `words`; yields what is set by then.

        `of`: only where these have passed before; `until`: all goes on once these pass, if not before the end.
        """
        self._stopped.clear()
        self._passing.clear()
        self._words, self._of, self._until = words, of, until
        try:
            yield self._stopped
        finally:
            self._words = self._of = self._until = b""
            self._passing.set()

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                if self._forgets:
                    server.sendall(_without(self._forgets, client))
                self._start(self._pair, client, server)

    def _pair(self, client: socket.socket, server: socket.socket) -> None:
        back = threading.Thread(target=self._carry, args=(server, client), daemon=True)
        back.start()
        self._carry(client, server)
        back.join()
        for plug in (client, server):
            self._sockets.remove(plug)
            plug.close()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        is_meant = False
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                is_meant = is_meant or bool(self._of and self._of in data)
                if self._words and self._words in data and (is_meant or not self._of):
                    self._stopped.set()
                    self._passing.wait(PATIENCE_S)
                if self._until and self._until in data:
                    self._passing.set()
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def _without(forgotten: str, client: socket.socket) -> bytes:
    """Read a start-up packet and return it without a parameter."""
    with client.makefile("rb", buffering=0) as stream:
        word = stream.read(4)
        packet = parse_packet(word + stream.read(startup_length(word) - 4))
    assert isinstance(packet, StartupMessage)
    assert forgotten in packet.parameters
    return encode_startup({name: value for name, value in packet.parameters.items() if name != forgotten})

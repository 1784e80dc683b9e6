"""A wire between clients and a server that tells when what passed on it, by the clock that all processes share.

Everything passes as it is, on as many connections as there are. Times are `time.monotonic()`, which on Linux is one
clock for the whole machine.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

__all__ = ["Clocked"]

_CHUNK_BYTES = 65_536
_PATIENCE_S = 30.0


class Clocked:
    """Listens on 127.0.0.1, at `port`, while the `with` block lasts."""

    def __init__(self, host: str, port: int, mark: bytes = b"") -> None:
        """`mark`: what a message must hold to be told of; empty: any bytes from a client are."""
        self._server = (host, port)
        self._mark = mark
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)
        self.port: int = self._listener.getsockname()[1]
        self._plugs: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.last = 0.0
        """When the newest of them came, from whichever client."""

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for plug in (self._listener, *self._plugs):
            with contextlib.suppress(OSError):
                plug.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_PATIENCE_S)
        self._listener.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._start(self._join, client)

    def _join(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            self._plugs += [client, server]
            for plug in (client, server):
                plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = self._start(_carry, server, client, None)
            _carry(client, server, self._told)
            back.join(_PATIENCE_S)

    def _told(self, data: bytes) -> None:
        if self._mark in data:
            self.last = time.monotonic()


def _carry(source: socket.socket, target: socket.socket, told: Callable[[bytes], None] | None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            if told is not None:
                told(data)
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)

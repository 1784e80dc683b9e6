"""A wire between a client and a server that tells the SQLSTATE of the first error which passes on it.

pgbench prints an error's words and keeps its code to itself. One connection, without TLS: everything passes as it is.
"""

import contextlib
import socket
import threading
from typing import Self

__all__ = ["Tap", "first_sqlstate"]

_CHUNK_BYTES = 65_536
_PATIENCE_S = 30.0


def first_sqlstate(said: bytes) -> str:
    """Return the code of the first ErrorResponse in a server's whole messages, or nothing."""
    at = 0
    while at + 5 <= len(said):
        size = int.from_bytes(said[at + 1 : at + 5], "big")
        if said[at : at + 1] == b"E":
            fields = said[at + 5 : at + 1 + size].split(b"\0")
            return next((field[1:].decode() for field in fields if field[:1] == b"C"), "")
        at += 1 + size
    return ""


class Tap:
    """Listens on 127.0.0.1, at `port`, while the `with` block lasts."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._said = bytearray()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def sqlstate(self) -> str:
        """Of the first error, once the block has been left."""
        return first_sqlstate(bytes(self._said))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(_PATIENCE_S)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                # Of a client that connects anew, as some do to see whether they may, the last connection counts.
                self._said.clear()
                with client, socket.create_connection(self._server) as server:
                    there = threading.Thread(target=_carry, args=(client, server), daemon=True)
                    there.start()
                    _carry(server, client, self._said)
                    there.join(_PATIENCE_S)


def _carry(source: socket.socket, target: socket.socket, kept: bytearray | None = None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            if kept is not None:
                kept += data
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)

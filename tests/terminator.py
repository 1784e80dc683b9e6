"""A TLS server before one in plain text: answers the SSLRequest, does the handshake, and passes on what comes.

What cannot be brought through the handshake is closed, and the server behind it hears nothing.
"""

import contextlib
import socket
import ssl
import threading
from typing import Self

__all__ = ["Terminator"]

_SSL_REQUEST = bytes.fromhex("00000008 04d2162f")
_PATIENCE_S = 30.0


class Terminator:
    """Listens at `port` of loopback, inside `with`."""

    def __init__(self, context: ssl.SSLContext, host: str, port: int) -> None:
        self.encrypted = 0
        """How many connections have come through the handshake."""
        self._context = context
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for plug in self._sockets:
            _shut(plug)
        for thread in self._threads:
            thread.join(_PATIENCE_S)
        for plug in self._sockets:
            plug.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            self._start(self._serve, client)

    def _start(self, work: object, *arguments: socket.socket) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            assert client.recv(8, socket.MSG_WAITALL) == _SSL_REQUEST
            client.sendall(b"S")
            encrypted = self._context.wrap_socket(client, server_side=True, suppress_ragged_eofs=True)
            self.encrypted += 1
            behind = socket.create_connection(self._server)
            self._sockets += [encrypted, behind]
            self._start(_pump, behind, encrypted)
            _pump(encrypted, behind)
            return
        _shut(client)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65_536):
            target.sendall(chunk)
    _shut(source)
    _shut(target)


def _shut(plug: socket.socket) -> None:
    with contextlib.suppress(OSError):
        plug.shutdown(socket.SHUT_RDWR)

"""Stands between a client and a server, so that each text which the client sends can be looked at before it runs.

A client's connection enters at a Unix socket; every message goes to the server and back as it is, byte for byte. For
each simple Query an examiner is called with the text first: it may ask the server things of its own on the same
connection, whose answers the client never sees, and it must let the text go. One thread for each connection, since
psql connects anew before it leaves the old connection.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

__all__ = ["Answer", "Examiner", "Relay", "Server"]

_CANCEL = 80877102
# Authentication requests that the client answers: a password in clear, MD5, SASL and its continuation.
_WANT_ANSWER = frozenset({3, 5, 10, 11})
_KEPT_ROWS = 4


class _Gone(Exception):
    """One of the two has closed the connection."""


@dataclass
class Answer:
    """What the server said to one Query."""

    tags: list[str] = field(default_factory=list)
    sqlstate: str = ""
    """Of the error, if there was one."""
    rows: list[list[str | None]] = field(default_factory=list)
    """The first few rows of what an examiner has asked."""


class Server(Protocol):
    """The server as an examiner sees it."""

    settings: dict[str, str]
    """What the server has reported."""

    @property
    def status(self) -> str:
        """I: idle, T: in a block, E: in a failed one."""
        ...

    def ask(self, text: bytes) -> Answer:
        """Run a text that the client knows nothing of."""
        ...


class Examiner(Protocol):
    """Looks at one connection's texts."""

    def examine(self, server: Server, text: bytes, forward: Callable[[], Answer]) -> None:
        """Look at a text, and call `forward`, which runs it for the client, once."""
        ...


class _Stream:
    """Messages from a socket, whole."""

    def __init__(self, plug: socket.socket) -> None:
        self.plug = plug
        self._held = bytearray()

    def take(self, size: int) -> bytes:
        while len(self._held) < size:
            if not (more := self.plug.recv(1 << 16)):
                raise _Gone
            self._held += more
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def message(self) -> tuple[bytes, bytes]:
        """Return a message's type and its body."""
        head = self.take(5)
        return head[:1], self.take(struct.unpack(">I", head[1:])[0] - 4)

    def send(self, type_: bytes, body: bytes) -> None:
        self.plug.sendall(type_ + struct.pack(">I", len(body) + 4) + body)


class _Conversation:
    """One client and its server; a `Server` for the examiner."""

    def __init__(self, client: socket.socket, server: socket.socket, examiner: Examiner) -> None:
        self.settings: dict[str, str] = {}
        self._client = _Stream(client)
        self._server = _Stream(server)
        self._examiner = examiner
        self._status = "I"

    @property
    def status(self) -> str:
        return self._status

    def ask(self, text: bytes) -> Answer:
        self._server.send(b"Q", text + b"\0")
        return self._until_ready(asked=True)

    def run(self) -> None:
        head = self._client.take(8)
        size, code = struct.unpack(">II", head)
        self._server.plug.sendall(head + self._client.take(size - 8))
        if code == _CANCEL:
            return
        self._until_ready(asked=False)
        while True:
            type_, body = self._client.message()
            if type_ == b"Q":
                self._query(body)
                continue
            self._server.send(type_, body)
            if type_ in (b"S", b"F"):
                self._until_ready(asked=False)

    def _query(self, body: bytes) -> None:
        forwarded = False

        def forward() -> Answer:
            nonlocal forwarded
            assert not forwarded, "a text ran twice for the client"
            forwarded = True
            self._server.send(b"Q", body)
            return self._until_ready(asked=False)

        self._examiner.examine(self, body.removesuffix(b"\0"), forward)
        assert forwarded, "a text never ran"

    def _until_ready(self, *, asked: bool) -> Answer:
        """Pass on what the server says, unless an examiner has asked it, until it is ready for the next text."""
        answer = Answer()
        while True:
            type_, body = self._server.message()
            if type_ == b"S":
                name, value, _ = body.split(b"\0")
                self.settings[name.decode()] = value.decode()
            # What nobody has asked for comes whenever it likes.
            if not asked or type_ in (b"S", b"A"):
                self._client.send(type_, body)
            match type_:
                case b"Z":
                    self._status = body.decode()
                    return answer
                case b"C":
                    answer.tags.append(body[:-1].decode())
                case b"E":
                    answer.sqlstate = _sqlstate(body)
                case b"D" if asked and len(answer.rows) < _KEPT_ROWS:
                    answer.rows.append(_columns(body))
                case b"G" if asked:
                    self._server.send(b"f", b"nothing to copy\0")
                case b"G":
                    self._copy_in()
                case b"R" if struct.unpack(">I", body[:4])[0] in _WANT_ANSWER:
                    self._server.send(*self._client.message())

    def _copy_in(self) -> None:
        while True:
            type_, body = self._client.message()
            self._server.send(type_, body)
            if type_ in (b"c", b"f"):
                return


def _sqlstate(body: bytes) -> str:
    return next((part[1:].decode() for part in body.split(b"\0") if part[:1] == b"C"), "")


def _columns(body: bytes) -> list[str | None]:
    at, columns = 2, list[str | None]()
    for _ in range(struct.unpack(">H", body[:2])[0]):
        size = struct.unpack(">i", body[at : at + 4])[0]
        at += 4
        columns.append(None if size < 0 else body[at : at + size].decode(errors="replace"))
        at += max(size, 0)
    return columns


class Relay:
    """Listens in `folder` as a server would, while the `with` block lasts; `upstream` is a host or folder, and a port.

    `surprises` are errors of the relay and its examiners: whoever uses it must find none.
    """

    def __init__(self, folder: Path, upstream: tuple[str, int], examiner: Callable[[], Examiner]) -> None:
        self.host, self.port = str(folder), 5432
        self.surprises: list[BaseException] = []
        self._upstream = upstream
        self._examiner = examiner
        self._listener = socket.socket(socket.AF_UNIX)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._listener.bind(f"{self.host}/.s.PGSQL.{self.port}")
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone does not wake a thread that waits in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._threads.append(threading.Thread(target=self._serve, args=(client,), daemon=True))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, self._dialled() as server:
            try:
                _Conversation(client, server, self._examiner()).run()
            except (_Gone, ConnectionError):
                pass
            except BaseException as surprise:
                self.surprises.append(surprise)

    def _dialled(self) -> socket.socket:
        host, port = self._upstream
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        plug = socket.socket(socket.AF_UNIX)
        plug.connect(f"{host}/.s.PGSQL.{port}")
        return plug

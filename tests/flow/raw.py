"""A client that sends whatever bytes a test wants, and takes apart what comes back: what no driver would do."""

import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pgnotary.serve.scram import ScramClient
from pgnotary.wire import messages
from pgnotary.wire.frames import Frame, backend_frames
from pgnotary.wire.startup import PROTOCOL_3_0, encode_startup

__all__ = ["Raw", "message", "raw_client", "without_notices"]

_PATIENCE_S = 20.0


def message(kind: str, body: bytes = b"") -> bytes:
    """Any message."""
    return kind.encode() + (len(body) + 4).to_bytes(4, "big") + body


class Raw:
    """One connection that has logged in."""

    def __init__(self, plug: socket.socket) -> None:
        self.plug = plug
        """The socket, for what no message says."""
        self._cutter = backend_frames()
        self._waiting: list[Frame] = []
        self.key = b""
        """What cancels a statement of ours: the process, in 4 bytes, and a secret."""

    def login(self, user: str, password: str, database: str, protocol: int) -> None:
        """Prove who we are, and read up to the first ReadyForQuery."""
        packet = encode_startup({"user": user, "database": database})
        self.send(packet[:4] + protocol.to_bytes(4, "big") + packet[8:])
        scram = ScramClient(password, secrets.token_urlsafe(18))
        while (frame := self.read()).type != b"Z":
            code = int.from_bytes(frame.body[:4], "big") if frame.type == b"R" else 0
            if code == 10:
                self.send(messages.sasl_initial_response("SCRAM-SHA-256", scram.first()))
            elif code == 11:
                self.send(messages.sasl_response(scram.final(frame.body[4:])))
            elif frame.type == b"K":
                self.key = frame.body
            assert frame.type != b"E", messages.diagnostic(frame.body)

    def send(self, data: bytes, *, bytewise: bool = False) -> None:
        """Send bytes, all at once or each in a segment of its own."""
        for piece in (data[at : at + 1] for at in range(len(data))) if bytewise else (data,):
            self.plug.sendall(piece)

    def read(self) -> Frame:
        """Return the next message; ConnectionError if there is none any more."""
        while not self._waiting:
            chunk = self.plug.recv(65_536)
            if not chunk:
                raise ConnectionError("the server has closed")
            self._waiting += self._cutter.feed(chunk)
        return self._waiting.pop(0)

    def until_ready(self, count: int = 1) -> list[str]:
        """Return what came up to that many ReadyForQuery: types, tags, SQLSTATEs; "closed" if the session ended."""
        said: list[str] = []
        deadline = time.monotonic() + _PATIENCE_S
        try:
            while count:
                assert time.monotonic() < deadline, f"waited in vain behind {said}"
                frame = self.read()
                said.append(_in_words(frame))
                count -= frame.type == b"Z"
        except ConnectionError:
            said.append("closed")
        return said


def _in_words(frame: Frame) -> str:
    match frame.type:
        case b"E":
            return f"E {messages.diagnostic(frame.body).sqlstate}"
        case b"C":
            return f"C {messages.command_tag(frame.body)}"
        case b"Z":
            return f"Z {frame.body.decode()}"
    return frame.type.decode()


@contextmanager
def raw_client(
    host: str, port: int, user: str, password: str, database: str, *, protocol: int = PROTOCOL_3_0
) -> Iterator[Raw]:
    """Connect and log in."""
    with socket.create_connection((host, port), timeout=_PATIENCE_S) as plug:
        plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Raw(plug)
        client.login(user, password, database, protocol)
        yield client


def without_notices(said: Sequence[str]) -> list[str]:
    """Leave out what may come at any time."""
    return [each for each in said if each not in ("N", "S", "A")]

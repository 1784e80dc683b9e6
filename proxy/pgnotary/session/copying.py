"""COPY FROM STDIN under way: the client's messages enter, what the server gets of them leaves.

Only CopyData, CopyDone and CopyFail ever leave, as they came, and a CopyFail of our own if the client breaks off. What
was copied is counted and digested as it passes; nothing of it is kept. A query can never pass here, whatever the client
takes the server to be doing: the server may have left COPY by an error that is still on its way.

In the extended protocol the server reads and passes over a Sync while it takes data, but not one that comes before it
does. So none is sent ahead: ours follows the last of the data, or the server's error if that is first, exactly once.

Source: PostgreSQL 18, "COPY Operations"; CopyGetData() in src/backend/commands/copyfromparse.c.
"""

import hashlib

from pgnotary.errors import ClientProtocolError, UpstreamProtocolError
from pgnotary.ledger.canonical import JSON
from pgnotary.wire.frames import Frame
from pgnotary.wire.messages import SYNC, Diagnostic, copy_fail, diagnostic, error_response

__all__ = ["COPY_MESSAGES", "CopyIn"]

COPY_MESSAGES = frozenset((b"d", b"c", b"f"))
"""CopyData, CopyDone, CopyFail: outside COPY the server passes over them."""
_PASSED_OVER = frozenset((b"S", b"H"))
_ENDS = frozenset((b"C", b"E"))


class CopyIn:
    """The data of one COPY FROM STDIN."""

    def __init__(self, *, extended: bool) -> None:
        self._owes_sync = extended
        self._bytes = 0
        self._digest = hashlib.sha256()
        self.begun = False
        """The server has asked for data."""
        self.open = False
        """It takes what the client sends."""
        self.fault: ClientProtocolError | None = None
        """What came has no place here, unless the server's next error is another one: it is not sent, and may wait."""

    def hear(self, kind: bytes) -> bytes:
        """Take note of the server's next message, and return what it must be sent at once."""
        if kind == b"G":
            if self.begun:
                raise UpstreamProtocolError("COPY asks for data a second time")
            self.begun = self.open = True
        elif kind in _ENDS:
            self.open = False
            return self._sync()
        return b""

    def take(self, frame: Frame) -> bytes:
        """Return what the server gets of the client's next message; only while it is `open`."""
        match frame.type:
            case b"d":
                for body in frame.bodies():
                    self._bytes += len(body)
                    self._digest.update(body)
                return frame.raw
            case b"c" | b"f":
                self.open = False
                return frame.raw + self._sync()
            case kind if kind in _PASSED_OVER:
                return b""
            case kind:
                said = f"unexpected message type 0x{kind.hex().upper()} during COPY from stdin"
                self.fault = ClientProtocolError(said)
                return self.fail(said)

    def explained(self, error: Frame) -> Frame:
        """Return the server's error, or what it would have said itself of a message that it was not sent."""
        if self.fault is None:
            return error
        if self.fault.message not in diagnostic(error.body).message:
            self.fault = None  # It had left COPY by then: the message is one like any other.
            return error
        said = Diagnostic(severity="ERROR", sqlstate=self.fault.sqlstate, message=self.fault.message)
        return Frame(b"E", error_response(said))

    def fail(self, why: str) -> bytes:
        """Return what makes the server give up; only while it is `open`."""
        self.open = False
        return copy_fail(why) + self._sync()

    def _sync(self) -> bytes:
        owed, self._owes_sync = self._owes_sync, False
        return SYNC if owed else b""

    @property
    def told(self) -> dict[str, JSON]:
        """What a ledger says of the data that was sent to the server: how much, and its SHA-256; nothing if none was.

        It is what CopyData messages carry, joined: for COPY of a file the bytes of the file.
        """
        return {"copied_bytes": self._bytes, "copied_sha256": self._digest.hexdigest()} if self.begun else {}

"""What a client has sent to have one text run: the messages themselves, and what the proxy must know of them.

A Query, or the extended messages of one text with what was bound to it, enter as they came, and are sent on so.
"""

from dataclasses import dataclass, replace

from pgnotary.session.copying import CopyIn
from pgnotary.wire.frames import Frame
from pgnotary.wire.messages import SYNC, Bound, query, query_text

__all__ = ["Sent", "copying", "of_query", "query_of", "up_to_sync"]


@dataclass(frozen=True, slots=True)
class Sent:
    """Messages that run one text, once or, in the extended protocol, once for each Bind."""

    text: bytes
    message: bytes
    """All of them, up to the one that makes the server ready."""
    frames: tuple[Frame, ...] = ()
    """The extended messages among them; none of a Query."""
    prepared: bytes | None = None
    """The name under which the server has the text; None if the messages bring it themselves."""
    types: tuple[int, ...] = ()
    """The oids that a Parse among them gives its parameters; 0 where the server is to find out."""
    bounds: tuple[Bound, ...] = ()
    """What is bound, for each execution."""
    answered: int = 0
    """How many of the first messages the client has had its answer to."""
    followed: bool = False
    """Something else is bound or run behind them, before the client's Sync."""
    shown: bytes = b""
    """The value of client_encoding that its answer shall tell, instead of the server's; nothing if it tells none."""
    copy: CopyIn | None = None
    """Of COPY FROM STDIN: where the client's data passes through."""

    @property
    def extended(self) -> bool:
        """Whether they are extended messages."""
        return bool(self.frames)

    @property
    def executions(self) -> int:
        """How often the text runs."""
        return max(len(self.bounds), 1)


def query_of(text: bytes) -> Sent:
    """Return a text as a Query of its own."""
    return Sent(text, query(text))


def of_query(frame: Frame) -> Sent:
    """Return what a Query sends; raises ClientProtocolError unless it is one string to its end."""
    return Sent(query_text(frame.body), frame.raw)


def up_to_sync(frames: tuple[Frame, ...]) -> bytes:
    """Return extended messages and a Sync behind them."""
    return b"".join(frame.raw for frame in frames) + SYNC


def copying(sent: Sent) -> Sent:
    """Return what sends COPY FROM STDIN: no Sync goes ahead of its data."""
    raw = b"".join(frame.raw for frame in sent.frames)
    return replace(sent, message=raw or sent.message, copy=CopyIn(extended=sent.extended))

"""One answer of the server under way: its messages enter, what the client gets of them leaves, until it is complete.

An `Ask` hears our own question: the client gets nothing. A `Relay` hears the client's message: the client gets the
answer but for its ReadyForQuery, and what the flow wants kept back waits in the `Answer`. A message that cannot be part
of such an answer is the server's breach of the protocol.
"""

from pgnotary.errors import UpstreamProtocolError
from pgnotary.ledger.canonical import MAX_INT
from pgnotary.session.state import FAILED, IDLE, IN_BLOCK
from pgnotary.session.steps import Answer, Ask, Keep, Relay
from pgnotary.wire import messages
from pgnotary.wire.frames import Frame

__all__ = ["Hearing"]

# An answer to one of our own questions: an EXPLAIN, the names of all functions, or a few values.
_MAX_ASKED_BYTES = 16 << 20

_LAST = frozenset({"FATAL", "PANIC"})

# COMPLETION_TAG_BUFSIZE in src/include/tcop/cmdtag.h.
_MAX_TAG_BYTES = 64

_RELAYED = frozenset((b"T", b"D", b"C", b"I", b"E", b"H", b"d", b"c", b"1", b"2", b"3", b"t", b"n", b"s"))
"""What a client's message is answered with, beside CopyInResponse, ReadyForQuery and what may come at any time."""
_COMPLETIONS = frozenset((b"1", b"2", b"3", b"T", b"n", b"C", b"I", b"s"))
"""Each message of the extended protocol is answered by exactly one of them, or by an error that ends its batch."""
_READ_ONLY_TRANSACTION = "25006"
_STATUSES = frozenset((IDLE, IN_BLOCK, FAILED))


class Hearing:
    """The answer to one step, as far as it has come."""

    def __init__(self, step: Ask | Relay) -> None:
        self._step = step
        self._asked_bytes = 0
        self.answer = Answer()
        self.status = b""
        """The transaction status, once ReadyForQuery has come."""
        self.complete = False
        self.copy_refused = False
        """The server waits for data that nobody will send: it must be told so."""

    def take(self, frame: Frame) -> bytes:
        """Take the next message in and return what the client gets now."""
        if frame.type == b"Z":
            if frame.body not in _STATUSES:
                raise UpstreamProtocolError(f"transaction status {frame.body!r}")
            self.status, self.complete = frame.body, True
            return b""
        return self._asked(frame) if isinstance(self._step, Ask) else self._relayed(frame, self._step)

    def _asked(self, frame: Frame) -> bytes:
        self._asked_bytes += len(frame.raw)
        if self._asked_bytes > _MAX_ASKED_BYTES:
            raise UpstreamProtocolError("an answer to our own question has no end")
        match frame.type:
            case b"D":
                self.answer.rows += map(messages.data_row, frame.bodies())
            case b"t":
                self.answer.types = messages.described_types(frame.body)
            case b"C":
                self.answer.tags.append(_tag(frame))
            case b"E":
                if self.answer.error is None:
                    self.answer.error, self.answer.raw_error = messages.diagnostic(frame.body), frame.raw
            case b"G" | b"H" | b"W":
                raise UpstreamProtocolError("COPY in an answer to our own question")
        return b""

    def _relayed(self, frame: Frame, step: Relay) -> bytes:
        answer = self.answer
        self.copy_refused = False
        match frame.type:
            case b"D":
                answer.row_count += frame.count
                if step.shown:
                    frame = _told(frame, step.shown)
            case b"C":
                answer.tags.append(_tag(frame))
                answer.row_count = 0
            case b"E":
                frame = step.copy.explained(frame) if step.copy else frame
                answer.error, answer.raw_error = messages.diagnostic(frame.body), frame.raw
                # In the extended protocol nothing more comes before a Sync; behind a FATAL error nothing ever does.
                self.complete = step.expects > 0 and answer.error.severity not in _LAST
            case b"G" if step.copy is not None:
                pass
            case b"G":
                # Only a text that nobody could read can get here.
                self.copy_refused = True
                return b""
            case b"V" if step.messages.startswith(b"F"):
                pass
            case kind if kind not in _RELAYED:
                raise UpstreamProtocolError(f"message {kind!r} in the answer to a client's message")
        if frame.type in _COMPLETIONS:
            answer.completions.append(frame.type)
            self.complete |= 0 < step.expects <= len(answer.completions)
            if len(answer.completions) <= step.answered:
                return b""
        if step.keep is Keep.FOREVER:
            return b""
        if step.keep is Keep.ALL or (step.keep is Keep.COMPLETION and self._has_completed()):
            answer.keep(frame.raw)
            return b""
        if step.keep is Keep.HEAD and answer.kept_whole and self._may_be_taken_back(frame):
            answer.keep(frame.raw)
            return b""
        return answer.released() + frame.raw

    def _has_completed(self) -> bool:
        """Say whether something has run to where the client may believe it."""
        answer = self.answer
        return bool(answer.tags or answer.error or b"s" in answer.completions)

    def _may_be_taken_back(self, frame: Frame) -> bool:
        """Say whether nothing is lost if the client does not get this yet: no row, and no error but the wall's."""
        error = self.answer.error
        return frame.type in (b"T", b"H") or (error is not None and error.sqlstate == _READ_ONLY_TRANSACTION)


def _told(frame: Frame, shown: bytes) -> Frame:
    """Return rows that tell one setting, or all by name, value and description, with another client_encoding."""
    rows: list[list[bytes | None]] = []
    for values in map(messages.row_values, frame.bodies()):
        if len(values) == 1:
            rows.append([shown])
        else:
            name, value, *others = values
            rows.append([name, shown if name == b"client_encoding" else value, *others])
    return Frame(b"D", b"".join(map(messages.row_of, rows)), frame.count)


def _tag(frame: Frame) -> str:
    """Return a command tag that a ledger can hold."""
    tag = messages.command_tag(frame.body)
    if len(frame.body) > _MAX_TAG_BYTES or (messages.rows_of(tag) or 0) > MAX_INT:
        raise UpstreamProtocolError(f"command tag {tag[:_MAX_TAG_BYTES]!r}")
    return tag

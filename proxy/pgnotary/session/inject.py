"""Our own statements: as one simple query, or in the extended protocol where that would destroy what the client has.

Texts enter, messages leave that end in one ReadyForQuery. A Query takes the client's unnamed statement and portal away;
so while extended messages are answered, our statements and portals bear names of ours and are closed again.
"""

from collections.abc import Generator
from typing import Any

from pgnotary.session.state import SessionState
from pgnotary.session.steps import Answer, Step, ask
from pgnotary.wire import messages

__all__ = ["OURS", "inject", "put"]

OURS = b"pgnotary_"
"""What the names of our own statements, portals and savepoints begin with; clients may use no such name."""

_STATEMENT = OURS + b"statement"
_PORTAL = OURS + b"portal"


def put(state: SessionState, *texts: bytes) -> Generator[Step, Any, Answer]:
    """Run statements of ours, one after the other up to the first error, and return what they answered."""
    message = inject(*texts) if state.extended else messages.query(b"; ".join(texts))
    return (yield from ask(message))


def inject(*texts: bytes) -> bytes:
    """Return the messages that run these statements, one after the other, up to the first error."""
    # An error has passed over the Closes behind it, and a statement outlives its transaction.
    return messages.close_statement(_STATEMENT) + b"".join(map(_one, texts)) + messages.SYNC


def _one(text: bytes) -> bytes:
    return b"".join(
        [
            messages.parse(_STATEMENT, text),
            messages.bind(_PORTAL, _STATEMENT),
            messages.execute(_PORTAL),
            messages.close_portal(_PORTAL),
            messages.close_statement(_STATEMENT),
        ]
    )

"""Our own statements in the extended protocol, for when a simple query would destroy what the client has prepared.

Texts enter, messages leave that end in one Sync; statements and portals bear names of ours and are closed again.
"""

from pgnotary.wire import messages

__all__ = ["OURS", "inject"]

OURS = b"pgnotary_"
"""What the names of our own statements, portals and savepoints begin with; clients may use no such name."""

_STATEMENT = OURS + b"statement"
_PORTAL = OURS + b"portal"


def inject(*texts: bytes) -> bytes:
    """Return the messages that run these statements, one after the other, up to the first error."""
    return b"".join(map(_one, texts)) + messages.SYNC


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

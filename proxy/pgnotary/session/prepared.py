"""What stands behind a name on the server: the text of a prepared statement or of a cursor, asked for by its name.

A name enters, its text leaves, or None if the server knows no such name.
"""

from collections.abc import Generator
from typing import Any

from pgnotary.errors import NotSupported, UpstreamProtocolError
from pgnotary.session.inject import put
from pgnotary.session.state import SessionState
from pgnotary.session.steps import Step

__all__ = ["all_prepared", "text_behind"]

_ALL = b"SELECT name, statement FROM pg_catalog.pg_prepared_statements"
_ONE = b"SELECT statement FROM pg_catalog.%b WHERE name OPERATOR(pg_catalog.=) '%b'"


def text_behind(state: SessionState, name: bytes, *, is_cursor: bool = False) -> Generator[Step, Any, bytes | None]:
    """Return the text of one prepared statement or cursor; raises NotSupported if the server does not say."""
    table = b"pg_cursors" if is_cursor else b"pg_prepared_statements"
    answer = yield from put(state, _ONE % (table, name.replace(b"'", b"''")))
    if answer.error is not None:
        raise _unread(answer.error)
    match answer.rows:
        case []:
            return None
        case [(str(text),)]:
            return text.encode()
    raise UpstreamProtocolError("what stands behind a name is not one text")


def all_prepared(state: SessionState) -> Generator[Step, Any, dict[bytes, bytes]]:
    """Return name and text of every prepared statement; raises NotSupported if the server does not say."""
    answer = yield from put(state, _ALL)
    if answer.error is not None:
        raise _unread(answer.error)
    try:
        return {str(name).encode(): str(text).encode() for name, text in answer.rows}
    except ValueError as error:
        raise UpstreamProtocolError("a prepared statement is not a name and a text") from error


def _unread(error: object) -> NotSupported:
    return NotSupported(f"what stands behind a name could not be read: {error}")

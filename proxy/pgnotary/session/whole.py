"""What has been signed, sent as it was signed: the same statement under its name, and every row that it changed told.

What the client has sent enters; the server's whole answer leaves. A statement that was prepared before must still be
the same, since a preview runs code, and code may give its name to another one. A client that asks for a part of the
rows gets just these; the server is asked for the rest all the same, because only then it says how many it changed.
"""

from collections.abc import Generator
from contextlib import suppress
from typing import Any

from pgnotary.errors import NotSupported
from pgnotary.session.names import UNNAMED
from pgnotary.session.prepared import text_behind
from pgnotary.session.run import NotRun
from pgnotary.session.sent import Sent
from pgnotary.session.state import SessionState
from pgnotary.session.steps import Answer, Flow, Keep, Relay, Step, relay
from pgnotary.wire.messages import SYNC, execute, rows_of

__all__ = ["relay_whole", "require_same_statement"]


def require_same_statement(state: SessionState, sent: Sent) -> Flow:
    """Raise NotRun unless the statement that is bound is still the one that was judged."""
    if sent.prepared is None or sent.prepared == UNNAMED:
        return  # No SQL can give the unnamed statement to another text.
    text = None
    with suppress(NotSupported):
        text = yield from text_behind(state, sent.prepared)
    if text != sent.text:
        state.names.statements.pop(sent.prepared, None)
        raise NotRun("the prepared statement is another one now", hint="Prepare it anew, and run it again.")


def relay_whole(sent: Sent) -> Generator[Step, Any, Answer]:
    """Relay what was signed, the client's answer kept back from its first completion on."""
    answer = yield from relay(sent, keep=Keep.COMPLETION)
    if answer.error is None and b"s" in answer.completions:
        rest: Answer = yield Relay(execute(sent.bounds[-1].portal) + SYNC, Keep.FOREVER)
        # A tag counts the rows of its own Execute; each row that was changed has come back once.
        answer.tags += [_more(tag, answer.row_count) for tag in rest.tags]
        if rest.error is not None:
            answer.error, answer.raw_error = rest.error, rest.raw_error
            answer.keep(rest.raw_error)
    return answer


def _more(tag: str, rows: int) -> str:
    head, _, last = tag.rpartition(" ")
    return f"{head} {int(last) + rows}" if rows_of(tag) is not None else tag

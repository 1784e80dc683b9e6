"""That a transaction is still the one in which something signed has run, and that nothing of it was undone unseen.

A mark and the id of the transaction enter; UpstreamProtocolError leaves if they are not found any more, and then nobody
knows what became of the block.
"""

from pgnotary.errors import UpstreamProtocolError
from pgnotary.session.inject import put
from pgnotary.session.mark import Mark
from pgnotary.session.state import IN_BLOCK, SessionState
from pgnotary.session.steps import Flow

__all__ = ["mark_anew", "require_same_transaction"]


def mark_anew(state: SessionState, mark: Mark) -> Flow:
    """Make the mark anew before the next statement: RESET ALL may have taken it, and each has a value of its own."""
    answer = yield from put(state, mark.renewed())
    if answer.error is not None:
        _lose(state)


def require_same_transaction(state: SessionState, xid: str, mark: Mark) -> Flow:
    """Raise UpstreamProtocolError unless the mark is there as it was made last; `xid` is the server's decimal text."""
    if state.status == IN_BLOCK:
        answer = yield from put(state, mark.ASK)
        if answer.error is None and answer.rows == [(xid, mark.value)]:
            return
    _lose(state)


def _lose(state: SessionState) -> None:
    if state.block:
        state.block.lost = True
    raise UpstreamProtocolError("the statement ended or changed the transaction that it ran in")

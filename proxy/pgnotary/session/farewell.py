"""The end of a session: what is still open in its record is settled.

An approved statement in a block that was never committed is rolled back by PostgreSQL when the connection ends; that is
recorded as its outcome. If the ledger cannot be written the session still ends; what is missing shows as missing.
"""

from pgnotary.errors import LedgerUnavailable, RequestMoved
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.ended import Ended
from pgnotary.request.life import Move, State
from pgnotary.session.outcomes import outcome
from pgnotary.session.state import SessionState
from pgnotary.session.steps import Flow, await_room, write

__all__ = ["farewell"]


def farewell(state: SessionState, why: str) -> Flow:
    """Record how the session ended."""
    try:
        yield from await_room()
        if state.block:
            state.block.note_ran("", "the session ended in its transaction")
        for pending in state.block.pending if state.block else ():
            if pending.doubtful:
                continue  # It is settled at the next start, when its newest entry can be read.
            lost = state.block is not None and state.block.lost
            fate = State.UNKNOWN if lost else State.ROLLED_BACK
            why = "the server ended its transaction" if lost else "the session ended in its transaction"
            ended = Ended.SERVER_LOST if lost else Ended.SESSION_END
            draft = outcome(state, pending.request, pending.leaf, fate, ended, xid=pending.xid, why=why)
            yield from write(draft, move=Move(pending.request, State.EXECUTED, fate))
        why += _open_block(state)
        counts = {"forwarded": state.forwarded, "held": state.held, "refused": state.refused}
        yield from write(*state.log.take(), Draft(EntryType.CLOSED, {"why": why, **counts}, session=state.who.session))
    except (LedgerUnavailable, RequestMoved):
        return


def _open_block(state: SessionState) -> str:
    """Return what became of what was forwarded in the client's open block."""
    if state.block is None or not state.block.noted:
        return ""
    number = state.block.noted
    some = f"{number} statement{'' if number == 1 else 's'} forwarded in its open transaction"
    one = number == 1
    fate = "may have been committed" if state.block.lost else f"{'is' if one else 'are'} undone"
    return f"; {some} {fate}"

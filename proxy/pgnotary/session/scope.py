"""Where a session stands, asked of the server when something may have changed it.

A session enters; its `scope` (which schemas are searched, as which role, which temporary tables there are) and the
client's own default_transaction_read_only are known afterwards. A pool has it asked for at each of its connections, and
again whenever one is given back: so what is temporary is asked for only where something is, since to plan that question
takes the server twenty times as long as all the rest.
"""

from collections.abc import Generator
from typing import Any

from pgnotary.errors import UpstreamProtocolError
from pgnotary.judge.scoped import SCOPE_QUESTIONS, may_have_temporary, read_scope
from pgnotary.session.inject import put
from pgnotary.session.look import BUILT_IN_ONLY, NamesUnread, closing, leave, opening
from pgnotary.session.state import FAILED, IDLE, SessionState
from pgnotary.session.steps import Answer, Flow, Step
from pgnotary.session.virtual import tell_default

__all__ = ["renew_scope"]

_PATH, _TEMPORARY = (question.encode() for question in SCOPE_QUESTIONS)


def renew_scope(state: SessionState) -> Flow:
    """Ask where the session stands if that may have changed; raises StatementError if it cannot be read."""
    if not state.scope_stale or state.status == FAILED or state.unsynced:
        return
    where = yield from _look(state, _PATH)
    try:
        ((path, role, read_only),) = where.rows
        relations = None
        if may_have_temporary(path or ""):
            ((relations,),) = (yield from _look(state, BUILT_IN_ONLY, _TEMPORARY)).rows
        state.scope = read_scope(path or "", role or "", relations)
    except (ValueError, TypeError) as error:
        raise UpstreamProtocolError(f"the answer about the session's scope cannot be read: {error}") from error
    tell_default(state, read_only == "on" if read_only else state.who.read_only_by_default)
    state.scope_stale = False


def _look(state: SessionState, *questions: bytes) -> Generator[Step, Any, Answer]:
    idle = state.status == IDLE
    answer = yield from put(state, opening(idle), *questions, *closing(idle))
    if answer.error is not None:
        yield from leave(state, idle=idle)
        raise NamesUnread(f"where the session's names are looked up could not be read: {answer.error}")
    return answer

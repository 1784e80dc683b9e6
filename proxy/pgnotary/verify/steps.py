"""What an entry makes of its request: an entry enters, the state that it leads to leaves.

Which state may follow which is the table of `pgnotary.request.life`; here is only what an entry says of itself.
"""

from pgnotary.ledger.entries import Entry, EntryType
from pgnotary.request.decision import Answer
from pgnotary.request.life import State

__all__ = ["STAYS_IN", "STEPS", "is_short", "leads_to"]

_MOVES_TO = {
    EntryType.REQUEST: State.HELD,
    EntryType.WITHDRAWN: State.WITHDRAWN,
    EntryType.EXPIRED: State.EXPIRED,
    EntryType.ORPHANED: State.ORPHANED,
    EntryType.VOID: State.VOID,
    EntryType.INTENT: State.INTENT,
    EntryType.EXECUTED: State.EXECUTED,
}
STAYS_IN = {EntryType.PREVIEW: State.HELD, EntryType.ENDING: State.EXECUTED}
"""Steps that leave their request in the state that it must be in already; an `ending` may be of a prepared one."""
_ENDS_PREPARED = frozenset({"commit-prepared", "rollback-prepared"})

STEPS = frozenset({*_MOVES_TO, *STAYS_IN, EntryType.DECISION, EntryType.OUTCOME} - {EntryType.REQUEST})
"""What may follow a request in its life; a rejected decision stands beside it."""

_ANSWERS = {
    Answer.APPROVE.value: State.APPROVED,
    Answer.DENY.value: State.DENIED,
    Answer.BREAK_GLASS.value: State.APPROVED,
}
_RESULTS = {
    state.value: state
    for state in (State.COMMITTED, State.ROLLED_BACK, State.FAILED, State.UNKNOWN, State.PREPARED, State.RESOLVED)
}
_FATES = (State.COMMITTED.value, State.ROLLED_BACK.value)


def is_short(entry: Entry) -> bool:
    """Say whether an entry is an approval that is not enough: its request stays held."""
    approves = entry.type is EntryType.DECISION and entry.body.get("answer") == Answer.APPROVE.value
    return approves and "lacks" in entry.body


def leads_to(entry: Entry) -> State | None:
    """Return where an entry leaves its request, or None: it is no step, or one without a known answer or result."""
    if entry.type is EntryType.DECISION:
        to = _ANSWERS.get(str(entry.body.get("answer")))
        return State.HELD if is_short(entry) else to
    if entry.type is EntryType.OUTCOME:
        result = _RESULTS.get(str(entry.body.get("result")))
        # What is resolved says how; nothing else does.
        return result if entry.body.get("fate") in (_FATES if result is State.RESOLVED else (None,)) else None
    # As text: what is no text might not even be looked up.
    if entry.type is EntryType.ENDING and str(entry.body.get("action")) in _ENDS_PREPARED:
        return State.PREPARED
    return _MOVES_TO.get(entry.type) or STAYS_IN.get(entry.type)

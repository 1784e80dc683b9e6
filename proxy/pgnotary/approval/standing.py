"""Where a request stands that is no longer open: its entries enter, a `Standing` leaves.

Nothing is remembered beside the ledger: what an approver hears of an outcome is what its entries say.
"""

from collections.abc import Mapping, Sequence

from pgnotary.approval.bodies import Standing
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Entry, EntryType
from pgnotary.request.life import State
from pgnotary.verify.steps import is_short

__all__ = ["standing_of"]

_ENDS: Mapping[EntryType, State] = {
    EntryType.WITHDRAWN: State.WITHDRAWN,
    EntryType.EXPIRED: State.EXPIRED,
    EntryType.ORPHANED: State.ORPHANED,
    EntryType.VOID: State.VOID,
    EntryType.INTENT: State.INTENT,
    EntryType.EXECUTED: State.EXECUTED,
}


def standing_of(name: str, entries: Sequence[Entry]) -> Standing | None:
    """Return where a request stands, or None if there is no entry about it."""
    standing = None
    for entry in entries:
        standing = _after(standing, name, entry)
    return standing


def _after(before: Standing | None, name: str, entry: Entry) -> Standing | None:
    """Return where a request stands after one more of its entries."""
    body, seq = entry.body, entry.position.seq
    match entry.type:
        case EntryType.REQUEST | EntryType.PREVIEW:
            return Standing(id=name, state=State.HELD.value, seq=seq)
        case EntryType.DECISION:
            state = State.DENIED if body.get("answer") == "deny" else State.APPROVED
            state = State.HELD if is_short(entry) else state
            return Standing(id=name, state=state.value, seq=seq)
        case EntryType.OUTCOME:
            rows = _number(body, "rows")
            return Standing(
                id=name,
                state=_text(body, "result"),
                rows=before.rows if rows is None and before else rows,
                tags=before.tags if before else [],
                fate=_text(body, "fate"),
                sqlstate=_text(body, "sqlstate"),
                why=_text(body, "why"),
                seq=seq,
            )
        case type_ if type_ in _ENDS:
            tags = body.get("tags")
            return Standing(
                id=name,
                state=_ENDS[type_].value,
                rows=_number(body, "rows"),
                tags=[str(tag) for tag in tags] if isinstance(tags, list) else [],
                why=_text(body, "why") or _text(body, "by"),
                seq=seq,
            )
        case _:
            return before  # A decision that does not count, or the announcement of an ending, moves nothing.


def _text(body: Mapping[str, JSON], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _number(body: Mapping[str, JSON], name: str) -> int | None:
    value = body.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None

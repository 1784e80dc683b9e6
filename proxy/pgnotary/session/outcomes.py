"""Drafts of the entries that tell how an approved statement ended."""

from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.life import State
from pgnotary.session.state import SessionState
from pgnotary.wire.messages import Diagnostic

__all__ = ["outcome"]


def outcome(
    state: SessionState,
    request: str,
    after: bytes,
    result: State,
    *,
    rows: int | None = None,
    xid: str = "",
    error: Diagnostic | None = None,
    why: str = "",
) -> Draft:
    """Return an `outcome` draft; the server's own words about an error are sealed, they may quote data."""
    body: dict[str, JSON] = {"result": result.value}
    if rows is not None:
        body["rows"] = rows
    if xid:
        body["xid"] = xid
    if error is not None:
        body["sqlstate"] = error.sqlstate or "XX000"
    if why:
        body["why"] = why
    sealed = {"error": str(error).encode()} if error is not None else {}
    return Draft(EntryType.OUTCOME, body, session=state.who.session, request=request, after=after, sealed=sealed)

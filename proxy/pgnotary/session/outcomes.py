"""Drafts of the entries that tell how an approved statement ended."""

from collections.abc import Mapping
from types import MappingProxyType

from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.ended import Ended
from pgnotary.request.life import State
from pgnotary.session.state import SessionState
from pgnotary.wire.messages import Diagnostic

__all__ = ["outcome"]

_NOTHING: Mapping[str, JSON] = MappingProxyType({})


def outcome(
    state: SessionState,
    request: str,
    after: bytes,
    result: State,
    ended: Ended,
    *,
    rows: int | None = None,
    xid: str = "",
    error: Diagnostic | None = None,
    why: str = "",
    gid: str | None = None,
    copied: Mapping[str, JSON] = _NOTHING,
    exceeded: Mapping[str, JSON] = _NOTHING,
) -> Draft:
    """Return an `outcome` draft; the server's own words about an error are sealed, they may quote data.

    `copied`: what is told of the data of a COPY, if no entry before has told it; `gid`: the name of the prepared
    transaction that it is in, or was; `exceeded`: what was signed, and how many rows it would have been.
    """
    body: dict[str, JSON] = {"result": result.value, "ended": ended.value, **copied}
    if rows is not None:
        body["rows"] = rows
    if xid:
        body["xid"] = xid
    if gid is not None:
        body["gid"] = gid
    if error is not None:
        body["sqlstate"] = error.sqlstate or "XX000"
    if why:
        body["why"] = why
    if exceeded:
        body["ceiling_exceeded"] = dict(exceeded)
    sealed = {"error": str(error).encode()} if error is not None else {}
    return Draft(EntryType.OUTCOME, body, session=state.who.session, request=request, after=after, sealed=sealed)

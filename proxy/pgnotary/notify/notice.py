"""What a webhook says of an entry: the entry, and the request that it is about, enter; a `Notice` leaves.

Said is what a person needs to go and look, and the command to look with. Never said is what is sealed (the statement,
its parameters, rows, reasons, a server's errors) nor any text that somebody may have quoted those in. Every text is
bounded, and there is a notice for every entry of these types, whatever it lacks: one that could not be told of would
keep all behind it from being told.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pgnotary.ledger.canonical import JSON, timestamp
from pgnotary.ledger.entries import Entry, EntryType
from pgnotary.webhook import Event

__all__ = ["Notice", "notice", "types_of"]

_T = EntryType
# With `held` the preview is waited for: before it nobody can decide, and nobody knows how many rows it is about.
_EVENTS: Mapping[EntryType, tuple[Event, str]] = {
    _T.PREVIEW: ("held", "request.held"),
    _T.DECISION: ("decided", "request.decided"),
    _T.WITHDRAWN: ("ended", "request.ended"),
    _T.EXPIRED: ("ended", "request.ended"),
    _T.ORPHANED: ("ended", "request.ended"),
    _T.VOID: ("ended", "request.ended"),
    _T.OUTCOME: ("ended", "request.ended"),
    _T.REJECTED: ("rejected", "decision.rejected"),
    _T.REVIEWED: ("reviewed", "decision.reviewed"),
    _T.REDACTED: ("redacted", "values.redacted"),
    _T.ROSTER: ("roster", "roster.recorded"),
    _T.POLICY: ("policy", "policy.recorded"),
    _T.STARTED: ("proxy", "proxy.started"),
    _T.STOPPED: ("proxy", "proxy.stopped"),
    _T.FULL: ("proxy", "ledger.full"),
}

_OF_REQUEST = ("person", "user", "database", "kind", "rule", "needs", "expires_at")
_OF_ENTRY: Mapping[EntryType, tuple[str, ...]] = {
    _T.DECISION: ("answer", "approver", "lacks", "max_rows", "max_other_rows"),
    _T.WITHDRAWN: ("by",),
    _T.OUTCOME: ("result", "rows", "sqlstate"),
    _T.REDACTED: ("redactor",),
    _T.POLICY: ("profile", "policy", "config"),
    _T.STARTED: ("version", "profile", "policy", "config"),
}
_ROWS = ("exact", "at_most", "estimate")

_REQUEST = re.compile(r"R-[0-9]{1,18}")
_MAX_CHARS = 200
_MAX_RELATIONS = 20


@dataclass(frozen=True, slots=True)
class Notice:
    """One message, whoever it is sent to."""

    id: str
    """The same however often it is sent, and of no other entry of any ledger; no full stop in it."""
    type: str
    at: str
    """When it was recorded."""
    data: Mapping[str, JSON]


def types_of(events: Iterable[Event]) -> frozenset[EntryType]:
    """Return the types of the entries that are told of for these events."""
    wanted = frozenset(events)
    return frozenset(type_ for type_, (event, _) in _EVENTS.items() if event in wanted)


def notice(entry: Entry, about: Sequence[Entry] = ()) -> Notice:
    """Return what is said of an entry of one of those types; `about` is the `request` that it belongs to, if any."""
    request = entry.request if entry.request and _REQUEST.fullmatch(entry.request) else None
    data: dict[str, JSON] = {
        "ledger": entry.position.ledger,
        "entry": entry.position.seq,
        "leaf": entry.leaf.hex(),
        # Its command comes before what others have written, and needs nothing of it.
        **({"request": request, "command": f"pgnotary show {request}"} if request else {}),
        **dict(_said_of_request(about)),
        **dict(_said_of_entry(entry)),
    }
    return Notice(
        id=f"entry_{entry.position.seq}_{entry.leaf.hex()[:32]}",
        type=_EVENTS[entry.type][1],
        at=timestamp(entry.position.time),
        data=data,
    )


def _said_of_request(about: Sequence[Entry]) -> Iterator[tuple[str, JSON]]:
    asked = next((each.body for each in about if each.type is EntryType.REQUEST), None)
    if asked is None:
        return
    yield from _plain(asked, _OF_REQUEST)
    relations = asked.get("relations")
    if isinstance(relations, list):
        names = [_bounded(each) for each in relations if isinstance(each, str)]
        yield "relations", [*names[:_MAX_RELATIONS]]
        if len(names) > _MAX_RELATIONS:
            yield "relations_more", len(names) - _MAX_RELATIONS


def _said_of_entry(entry: Entry) -> Iterator[tuple[str, JSON]]:
    yield from _plain(entry.body, _OF_ENTRY.get(entry.type, ()))
    match entry.type:
        case EntryType.PREVIEW:
            yield from _plain(entry.body, ("status",))
            yield "rows", dict(_plain(entry.body, _ROWS))
        case EntryType.WITHDRAWN | EntryType.EXPIRED | EntryType.ORPHANED | EntryType.VOID:
            yield "result", entry.type.value


def _plain(body: Mapping[str, JSON], names: Sequence[str]) -> Iterator[tuple[str, JSON]]:
    for name in names:
        value = body.get(name)
        if isinstance(value, str):
            yield name, _bounded(value)
        elif isinstance(value, int):
            yield name, value


def _bounded(text: str) -> str:
    return text if len(text) <= _MAX_CHARS else text[: _MAX_CHARS - 1] + "…"

"""A session or a request as it happened: a reader and a name enter, the lines of one timeline leave.

Three passes: the first finds what the name stands for, the second what was redacted, the third tells it. Events are
put in the order in which they happened; that is the ledger's order, except for forwarded statements, which are summed
up after the fact. Memory is bounded by one session. Each line must be shown as one line, whatever characters it holds.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from pgnotary.audit.executions import Counted, Execution, Sessions
from pgnotary.audit.parsed import parsed
from pgnotary.audit.redactions import Redactions
from pgnotary.audit.timeline import Told, tell, tell_execution
from pgnotary.audit.veil import Veil
from pgnotary.audit.words import counted
from pgnotary.ledger.entries import Entry, EntryType
from pgnotary.store import LedgerReader, base_of

__all__ = ["UnknownName", "replay"]

_PLACE = re.compile(r"#([0-9]{1,15})")


class UnknownName(LookupError):
    """The ledger has no session, request or entry of this name."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is replayed: one request in its session, a whole session, or one entry that belongs to neither."""

    session: str | None = None
    request: str | None = None
    seq: int | None = None


def replay(reader: LedgerReader, what: str, veil: Veil | None = None) -> Iterator[str]:
    """Yield the timeline of a session (`S-...`), a request (`R-...`) or what an entry (`#12`) belongs to.

    A request is told with the opening of its session, and with the number of statements that its session had forwarded
    before it. Raises UnknownName, and LedgerBroken on a damaged entry.
    """
    subject = _find(reader, what)
    gone = Redactions.of(reader.entries())
    told = (
        _request(reader, subject, veil, gone) if subject.request is not None else _session(reader, subject, veil, gone)
    )
    # Sorting is stable: what has the same time stays in the ledger's order.
    for each in sorted(told, key=lambda event: event.at):
        yield from each.lines


def _find(reader: LedgerReader, what: str) -> _Subject:
    place = _PLACE.fullmatch(what)
    for entry, _ in parsed(reader.entries()):
        if place and entry.position.seq == int(place[1]):
            return _subject_of(entry, reader)
        if entry.request == what and entry.type is EntryType.REQUEST:
            return _Subject(entry.session, entry.request)
        if entry.session == what:
            return _Subject(entry.session)
    raise UnknownName(f"the ledger has no {what}: name a session (S-...), a request (R-...) or an entry (#12)")


def _subject_of(entry: Entry, reader: LedgerReader) -> _Subject:
    if entry.request is not None and entry.type is not EntryType.REQUEST:
        # Only the request itself is sure to name its session.
        return _find(reader, entry.request)
    if entry.request is not None or entry.session is not None:
        return _Subject(entry.session, entry.request)
    return _Subject(seq=entry.position.seq)


def _request(reader: LedgerReader, subject: _Subject, veil: Veil | None, gone: Redactions) -> list[Told]:
    told: list[Told] = []
    ran: list[Execution | Counted] = []
    sessions = Sessions(base=base_of(reader))
    for entry, opened in parsed(reader.entries()):
        if entry.request == subject.request or (entry.session == subject.session and entry.type is EntryType.OPENED):
            told.append(tell(*(veil.over(entry, opened) if veil else (entry, opened)), gone.told(entry)))
        elif entry.session == subject.session:
            ran += sessions.follow(entry, opened)
    asked = next((at for at, each in enumerate(told) if each.type is EntryType.REQUEST), 0)
    if note := _before(ran, told[asked].at):
        note = f"the session had forwarded {note} before; replay {subject.session} tells them"
        told[asked] = replace(told[asked], detail=(*told[asked].detail, note))
    return told


def _session(reader: LedgerReader, subject: _Subject, veil: Veil | None, gone: Redactions) -> Iterator[Told]:
    sessions = Sessions(gone, base_of(reader))
    # What stands beside a request's chain, or was written after a crash, may not name the session.
    requests: set[str | None] = set()
    for entry, opened in parsed(reader.entries()):
        if veil:
            entry, opened = veil.over(entry, opened)  # noqa: PLW2901 - from here on there is no other
        inside = entry.session is not None and entry.session == subject.session
        if inside and entry.request is not None:
            requests.add(entry.request)
        if inside and (ran := sessions.follow(entry, opened)):
            yield from (tell_execution(each, entry.leaf) for each in ran)
        elif inside or (entry.request is not None and entry.request in requests) or entry.position.seq == subject.seq:
            yield tell(entry, opened, gone.told(entry))


def _before(ran: Iterable[Execution | Counted], at: datetime) -> str:
    """Return how many statements ran before an instant: of what is only counted, some may have."""
    surely = perhaps = 0
    for each in ran:
        if isinstance(each, Execution):
            surely += each.at < at
        elif each.last_at < at:
            surely += each.executions
        elif each.at < at:
            # The first of them began before it, and the last did not.
            surely, perhaps = surely + 1, perhaps + each.executions - 2
    if not surely:
        return ""
    said = counted(surely, "statement")
    return f"{said}, and perhaps {perhaps:,} more," if perhaps > 0 else said

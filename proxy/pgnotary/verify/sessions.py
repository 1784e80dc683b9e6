"""Who connected, and whether what a session asked for agrees with that: entries enter in order, faults and notes leave.

Only open sessions are kept; none survives its proxy, so a start forgets them. The number is that of the checklist.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pgnotary.ledger.base import Base, CarriedSession, Ranges, merged
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Entry, EntryType
from pgnotary.ledger.executions import Told, told_in
from pgnotary.ledger.summaries import summaries_in
from pgnotary.verify.execution import number
from pgnotary.verify.findings import Findings
from pgnotary.verify.heads import Heads

__all__ = ["Sessions", "told_by"]

# What cannot change while a session lasts; role and application can.
_SAME = ("user", "person", "database", "client", "upstream_pid", "system_identifier")

_TEXT = re.compile(r"t(0|[1-9][0-9]{0,14})")


@dataclass(slots=True)
class _Session:
    opened: Mapping[str, JSON]
    """The body of its `session-opened`."""
    held: int = 0
    forwarded: int = 0
    refused: int = 0
    texts: set[str] = field(default_factory=set)
    """The names of the texts that were sealed for it so far."""
    archived: Ranges = ()
    """The numbers of further ones, sealed by entries that are archived."""

    def lacks(self, names: frozenset[str]) -> list[str]:
        """Return which of these texts were sealed nowhere before."""
        return sorted(name for name in names - self.texts if not self._is_archived(name))

    def carried(self, name: str) -> CarriedSession:
        """Return what must be known of it behind a cut."""
        numbers = (int(found[1]) for found in map(_TEXT.fullmatch, self.texts) if found)
        texts = merged((*self.archived, *((number, number) for number in numbers)))
        return CarriedSession(name, self.opened, self.held, self.forwarded, self.refused, texts)

    def _is_archived(self, name: str) -> bool:
        found = _TEXT.fullmatch(name)
        return found is not None and any(first <= int(found[1]) <= last for first, last in self.archived)


class Sessions:
    """Follows the open sessions through a ledger."""

    def __init__(self, heads: Heads, findings: Findings, base: Base | None = None) -> None:
        self._heads = heads
        self._findings = findings
        self._open = {each.name: _resumed(each) for each in (base.sessions if base else ())}

    def carried(self) -> tuple[CarriedSession, ...]:
        """Return what must be known of the open sessions if the ledger is cut here, by name."""
        return tuple(session.carried(name) for name, session in sorted(self._open.items()))

    def person(self, entry: Entry) -> str:
        """Return whose session an entry belongs to, if that is open; of a `request`, who it says has asked."""
        session = self._open.get(entry.session or "")
        told = entry.body if entry.type is EntryType.REQUEST else session.opened if session else {}
        person = told.get("person")
        return person if isinstance(person, str) else ""

    def follow(self, entry: Entry, told: Told | None) -> None:
        """Take the next entry, and what it tells of executions, if it can be read; `heads` must reach up to it."""
        # (18) a request is asked in an open session, by whom and over what that session was opened with
        name = entry.session or ""
        session = self._open.get(name)
        match entry.type:
            case EntryType.STARTED:
                self._open.clear()
            case EntryType.OPENED:
                if session is not None:
                    self._fault(f"{name} is opened again while it is open")
                self._open[name] = _Session(entry.body)
            case EntryType.REQUEST:
                self._ask(entry, session)
            case EntryType.PREVIEW if session is not None:
                session.held += 1
            case EntryType.FORWARDED if session is not None:
                # Of one that cannot be read there is a fault already.
                if told is not None:
                    self._ran(entry, told, session)
            case EntryType.CLOSED if session is None:
                self._fault(f"{name or 'no session'} is closed, but is not open")
            case EntryType.CLOSED:
                self._close(entry, self._open.pop(name))
            case _:
                pass

    def _ran(self, entry: Entry, told: Told, session: _Session) -> None:
        session.forwarded += told.forwarded
        session.refused += told.refused
        session.texts.update(entry.seals)
        if missing := session.lacks(told.texts):
            self._fault(f"{entry.session} ran {missing[0]}, a text that is sealed nowhere before")

    def _ask(self, request: Entry, session: _Session | None) -> None:
        what = request.request or "a request"
        if session is None:
            self._fault(f"{what}: asked in {request.session or 'no session'}, which is not open")
            return
        for name in _SAME:
            opened, asked = session.opened.get(name), request.body.get(name)
            if opened is not None and asked is not None and opened != asked:
                self._fault(f"{what}: asked with {name} {asked!r:.60}, its session was opened with {opened!r:.60}")

    def _close(self, closed: Entry, session: _Session) -> None:
        held = number(closed, "held")
        if held is not None and held > session.held:
            self._fault(f"{closed.session} is closed with {held} held, {session.held} of them are in the ledger")
        for name, found in (("forwarded", session.forwarded), ("refused", session.refused)):
            said = number(closed, name)
            # No fault: what was forwarded may be lost with the proxy, for one interval.
            if said is not None and said != found:
                text = f"{closed.session} is closed with {said} {name}, {found} of them are in the ledger"
                self._findings.note(self._heads.size, text)

    def _fault(self, text: str) -> None:
        self._findings.fault(self._heads.size, text)


def _resumed(carried: CarriedSession) -> _Session:
    return _Session(carried.opened, carried.held, carried.forwarded, carried.refused, archived=carried.texts)


def told_by(entry: Entry) -> Told:
    """Return how many executions a `forwarded` entry tells of; raises NotCanonical if it has not the form of one."""
    if "summaries" in entry.body:
        return Told(sum(each.executions for each in summaries_in(entry.body)), 0, frozenset())
    return told_in(entry.body)

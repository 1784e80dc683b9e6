"""Who connected, and whether what a session asked for agrees with that: entries enter in order, faults and notes leave.

Only open sessions are kept; none survives its proxy, so a start forgets them. The number is that of the checklist.
"""

from dataclasses import dataclass, field

from pgnotary.ledger.entries import Entry, EntryType
from pgnotary.ledger.executions import Told, told_in
from pgnotary.ledger.summaries import summaries_in
from pgnotary.verify.execution import number
from pgnotary.verify.findings import Findings
from pgnotary.verify.heads import Heads

__all__ = ["Sessions", "told_by"]

# What cannot change while a session lasts; role and application can.
_SAME = ("user", "person", "database", "client", "upstream_pid", "system_identifier")


@dataclass(slots=True)
class _Session:
    opened: Entry
    held: int = 0
    forwarded: int = 0
    refused: int = 0
    texts: set[str] = field(default_factory=set)
    """The names of the texts that were sealed for it so far."""


class Sessions:
    """Follows the open sessions through a ledger."""

    def __init__(self, heads: Heads, findings: Findings) -> None:
        self._heads = heads
        self._findings = findings
        self._open: dict[str, _Session] = {}

    def person(self, entry: Entry) -> str:
        """Return whose session an entry belongs to, if that is open; of a `request`, who it says has asked."""
        session = self._open.get(entry.session or "")
        told = entry if entry.type is EntryType.REQUEST else session.opened if session else None
        person = told.body.get("person") if told else None
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
                self._open[name] = _Session(entry)
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
        if missing := told.texts - session.texts:
            self._fault(f"{entry.session} ran {min(missing)}, a text that is sealed nowhere before")

    def _ask(self, request: Entry, session: _Session | None) -> None:
        what = request.request or "a request"
        if session is None:
            self._fault(f"{what}: asked in {request.session or 'no session'}, which is not open")
            return
        for name in _SAME:
            opened, asked = session.opened.body.get(name), request.body.get(name)
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


def told_by(entry: Entry) -> Told:
    """Return how many executions a `forwarded` entry tells of; raises NotCanonical if it has not the form of one."""
    if "summaries" in entry.body:
        return Told(sum(each.executions for each in summaries_in(entry.body)), 0, frozenset())
    return told_in(entry.body)

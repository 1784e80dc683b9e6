"""Statements that were forwarded without a decision, out of the entries that list them, or only count them.

Entries enter in order, executions leave as they stand in the ledger, and for those of which it keeps counts and no text
what it has counted. A text is sealed only where it first appears in its session, so the texts of open sessions are kept
until they close; memory is bounded by them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pgnotary.audit.body import number, text
from pgnotary.audit.copied import Copied, copied_in
from pgnotary.audit.parsed import parsed
from pgnotary.audit.redactions import Redactions
from pgnotary.audit.veil import Veil
from pgnotary.errors import LedgerBroken, NotCanonical
from pgnotary.ledger.base import Base
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Entry, EntryType
from pgnotary.ledger.executions import executions_in
from pgnotary.ledger.summaries import summaries_in
from pgnotary.store import StoredEntry
from pgnotary.verify.decisions import Opened

__all__ = ["Counted", "Execution", "Sessions", "executions"]


@dataclass(frozen=True, slots=True)
class Execution:
    """One statement that was forwarded, or refused at once."""

    seq: int
    """The entry that tells of it."""
    at: datetime
    session: str
    user: str
    person: str
    database: str
    application: str
    statement: str | None
    """None if it is withheld."""
    kind: str
    verdict: str
    tag: str
    rows: int | None
    sqlstate: str
    took_us: int
    would: str
    """The rule that would have held it, if policy did more than observe; else empty."""
    why: str
    """Why pgnotary undid it; else empty."""
    copied: Copied | None
    """Of COPY FROM STDIN: what is known of its data."""
    redacted: str = ""
    """What to say in the place of its statement, if that was redacted."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Statements of one kind that were forwarded under a rule with `record = "summary"`: their texts are not kept."""

    seq: int
    """The entry that tells of them."""
    at: datetime
    """When the first of them began."""
    last_at: datetime
    session: str
    user: str
    person: str
    database: str
    application: str
    kind: str
    executions: int
    rows: int
    took_us: int
    """Of all of them together, as are the rows."""
    sha256: str
    """Over their texts, in hex; docs/ledger-format.md says how."""
    statement: None = None
    """Nobody can tell which they were."""


@dataclass(slots=True)
class _Session:
    """What later entries of a session refer to."""

    user: str = ""
    person: str = ""
    database: str = ""
    application: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    redacted: dict[str, str] = field(default_factory=dict)
    """What to say in the place of a text that was redacted."""


class Sessions:
    """Remembers the open sessions and their texts; made for one pass over a ledger, from its base on if it has one.

    Texts that were sealed before the base are not known.
    """

    def __init__(self, redactions: Redactions | None = None, base: Base | None = None) -> None:
        self._open = {each.name: _opened(each.opened) for each in (base.sessions if base else ())}
        self._redactions = redactions or Redactions()

    def follow(self, entry: Entry, opened: Opened) -> list[Execution] | list[Counted]:
        """Take the next entry and return the executions that it lists, or counts; raises LedgerBroken if damaged."""
        key = entry.session or ""
        match entry.type:
            case EntryType.OPENED:
                self._open[key] = _opened(entry.body)
            case EntryType.CLOSED:
                self._open.pop(key, None)
            case EntryType.FORWARDED:
                session = self._open.setdefault(key, _Session())
                session.redacted |= self._redactions.told(entry)
                session.texts |= {name: value.decode(errors="replace") for name, (_, value) in opened.items()}
                try:
                    return _counted(entry, session) if "summaries" in entry.body else list(_listed(entry, session))
                except NotCanonical as error:
                    raise LedgerBroken([f"#{entry.position.seq} {error}"]) from error
            case _:
                pass
        return []


def executions(
    entries: Iterable[StoredEntry],
    veil: Veil | None = None,
    redactions: Redactions | None = None,
    base: Base | None = None,
) -> Iterator[Execution | Counted]:
    """Yield all that was forwarded or refused; raises LedgerBroken on a damaged entry.

    With a veil, no secret of their texts is told; with `redactions`, why a text is gone that was redacted.
    """
    sessions = Sessions(redactions, base)
    for entry, opened in parsed(entries):
        if veil and entry.request is None:
            entry, opened = veil.over(entry, opened)  # noqa: PLW2901 - from here on there is no other
        yield from sessions.follow(entry, opened)


def _opened(body: Mapping[str, JSON]) -> _Session:
    return _Session(
        user=text(body, "user"),
        person=text(body, "person"),
        database=text(body, "database"),
        application=text(body, "application"),
    )


def _listed(entry: Entry, session: _Session) -> Iterator[Execution]:
    for each in executions_in(entry.body):
        yield Execution(
            seq=entry.position.seq,
            at=each.at,
            session=entry.session or "",
            user=session.user,
            person=session.person,
            database=session.database,
            application=session.application,
            statement=session.texts.get(each.text),
            kind=text(each.told, "kind"),
            verdict=text(each.told, "verdict"),
            tag=text(each.told, "tag"),
            rows=number(each.told, "rows"),
            sqlstate=text(each.told, "sqlstate"),
            took_us=each.took_us,
            would=text(each.told, "would"),
            why=text(each.told, "why"),
            copied=copied_in(each.told),
            redacted=session.redacted.get(each.text, ""),
        )


def _counted(entry: Entry, session: _Session) -> list[Counted]:
    return [
        Counted(
            seq=entry.position.seq,
            at=each.first,
            last_at=each.last,
            session=entry.session or "",
            user=session.user,
            person=session.person,
            database=session.database,
            application=session.application,
            kind=each.kind,
            executions=each.executions,
            rows=each.rows,
            took_us=each.took_us,
            sha256=each.sha256,
        )
        for each in summaries_in(entry.body)
    ]

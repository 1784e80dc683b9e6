"""Finding requests and forwarded statements: what is wanted and stories enter, those that match leave, in order.

Every condition that is given must hold. Names are compared without regard to case: a person is named in full or by what
stands before an @, a relation with or without its schema.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pgnotary.audit.copied import Copied
from pgnotary.audit.effect import Effect
from pgnotary.audit.executions import Counted, Execution
from pgnotary.audit.story import Preview, Story
from pgnotary.ledger.canonical import JSON, timestamp
from pgnotary.request.life import State

__all__ = ["Search", "Wanted", "execution_fields", "moment", "story_fields"]

_AGO = re.compile(r"([0-9]{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an auditor looks for; None means any."""

    who: str | None = None
    """The user or person who asked, or the approver who decided."""
    relation: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    outcome: State | None = None
    kind: str | None = None
    text: str | None = None
    """A part of the statement."""


def moment(said: str, now: datetime) -> datetime:
    """Return the instant of an ISO date or time, or the one `7d`, `24h`, `30m` or `2w` before `now`.

    A time without zone is UTC. Raises ValueError with the forms that are understood.
    """
    if ago := _AGO.fullmatch(said):
        try:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError as error:
            raise ValueError(f"{said} is further back than dates go") from error
    try:
        at = datetime.fromisoformat(said)
    except ValueError as error:
        raise ValueError(f"{said!r} is neither a date like 2026-01-31 nor a time ago like 7d or 24h") from error
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{said} is outside of what dates can say in UTC") from error


class Search:
    """Finds what is wanted, and counts what might be but is withheld."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self.withheld = 0
        """Statements that fit in all else, and whose text could not be looked into."""
        self.redacted = 0
        """As the withheld, and gone for good."""
        self.not_kept = 0
        """Executions that fit in all else, and of whose texts only a digest was ever kept."""

    def stories(self, told: Iterable[Story]) -> Iterator[Story]:
        """Yield the stories that match."""
        return (story for story in told if _matches(story, self._wanted) and self._reads(story, self._wanted.text))

    def executions(self, told: Iterable[Execution | Counted]) -> Iterator[Execution | Counted]:
        """Yield what matches; a relation that is wanted must stand in the text, none is recorded.

        Of what was only counted some of it may be of the wanted time, and all of it is told.
        """
        return (each for each in told if _was_by(each, self._wanted) and self._reads_executed(each))

    def _reads_executed(self, found: Execution | Counted) -> bool:
        wanted = self._wanted
        if isinstance(found, Execution):
            return self._reads(found, wanted.text, wanted.relation)
        if wanted.text is None and wanted.relation is None:
            return True
        self.not_kept += found.executions
        return False

    def _reads(self, found: Story | Execution, *words: str | None) -> bool:
        parts = [each.casefold() for each in words if each is not None]
        if parts and found.statement is None:
            is_redacted = found.redacted if isinstance(found, Execution) else "statement" in found.redacted
            self.redacted += bool(is_redacted)
            self.withheld += not is_redacted
            return False
        statement = (found.statement or "").casefold()
        return all(part in statement for part in parts)


def story_fields(story: Story) -> dict[str, JSON | None]:
    """Return a story as one flat object; its names are a promise to scripts."""
    preview, decision, outcome = story.preview, story.decision, story.outcome
    return {
        "request": story.request,
        "request_leaf": story.steps[0].leaf.hex(),
        "session": story.session,
        "entry": story.steps[0].seq,
        "asked_at": timestamp(story.asked_at),
        "user": story.user,
        "person": story.person,
        "role": story.role,
        "database": story.database,
        "application": story.application,
        "client": story.client,
        "kind": story.kind,
        "what": story.what,
        "relations": list(story.relations),
        "rule": story.rule,
        "why": story.why,
        "statement": story.statement,
        "parameters": list(story.parameters) if story.parameters is not None else None,
        "prepared": story.prepared,
        "reason": story.reason,
        "estimate": preview.estimate if preview else None,
        "exact": preview.exact if preview else None,
        "at_most": preview.at_most if preview else None,
        "estimate_by": (preview.how or None) if preview else None,
        "caveats": list(preview.caveats) if preview else [],
        **_statements(preview),
        "state": story.state.value,
        "answer": decision.answer if decision else None,
        "approver": decision.approver if decision else None,
        "decided_at": timestamp(decision.at) if decision else None,
        "decision_reason": decision.reason if decision else None,
        "max_rows": story.max_rows,
        "approved_before_by": [each.approver for each in story.approvals],
        "reviewed_by": story.reviewed.reviewer if story.reviewed else None,
        "ended_at": timestamp(story.ended_at) if story.ended_at else None,
        "fate": (outcome.fate or None) if outcome else None,
        "rows": story.rows,
        "executed_rows": story.executed_rows,
        **_effect(story.effect),
        "ended": (outcome.ended or None) if outcome else None,
        "changed_since_signed": list(story.meanwhile),
        "sqlstate": (outcome.sqlstate or None) if outcome else None,
        "xid": story.xid or None,
        **_copied(story.copied),
        **({"redacted": dict(story.redacted)} if story.redacted else {}),
    }


def _statements(preview: Preview | None) -> dict[str, JSON | None]:
    """Return what was measured of each statement of a text in which several change something; nothing of others."""
    if preview is None or not preview.statements:
        return {}
    told: list[JSON] = [
        {
            "place": each.place or 0,
            "status": each.status,
            **{name: rows for name in ("estimate", "exact", "at_most") if (rows := getattr(each, name)) is not None},
            "caveats": list(each.caveats),
        }
        for each in preview.statements
    ]
    return {"statements": told, "statements_more": preview.more}


def execution_fields(execution: Execution | Counted) -> dict[str, JSON | None]:
    """Return an execution, or what was only counted, as one flat object; its names are a promise to scripts."""
    if isinstance(execution, Counted):
        return _counted_fields(execution)
    return {
        "entry": execution.seq,
        "at": timestamp(execution.at),
        "session": execution.session,
        "user": execution.user,
        "person": execution.person,
        "database": execution.database,
        "application": execution.application,
        "statement": execution.statement,
        "kind": execution.kind,
        "verdict": execution.verdict,
        "tag": execution.tag or None,
        "rows": execution.rows,
        "sqlstate": execution.sqlstate or None,
        "took_us": execution.took_us,
        "would_hold": execution.would or None,
        "why": execution.why or None,
        **_copied(execution.copied),
        **({"redacted": {"statement": execution.redacted}} if execution.redacted else {}),
    }


def _effect(effect: Effect | None) -> dict[str, JSON | None]:
    changed: list[JSON] = [
        {
            "relation": each.relation,
            "target": each.target,
            "inserted": each.inserted,
            "updated": each.updated,
            "deleted": each.deleted,
        }
        for each in (effect.changed if effect else ())
    ]
    return {
        "other_rows": effect.other_rows if effect else None,
        "tags": list(effect.tags) if effect else [],
        "changed": changed,
        "took_us": effect.took_us if effect else None,
    }


def _counted_fields(counted: Counted) -> dict[str, JSON | None]:
    return {
        "entry": counted.seq,
        "at": timestamp(counted.at),
        "last_at": timestamp(counted.last_at),
        "session": counted.session,
        "user": counted.user,
        "person": counted.person,
        "database": counted.database,
        "application": counted.application,
        "statement": None,
        "kind": counted.kind,
        "verdict": "forward",
        "executions": counted.executions,
        "rows": counted.rows,
        "took_us": counted.took_us,
        "sha256": counted.sha256,
    }


def _copied(copied: Copied | None) -> dict[str, JSON | None]:
    return {
        "copied_bytes": copied.bytes if copied else None,
        "copied_sha256": copied.sha256 if copied else None,
    }


def _approvers(story: Story) -> list[str]:
    decided = [each.approver for each in (*story.approvals, *([story.decision] if story.decision else []))]
    return [*decided, *([story.reviewed.reviewer] if story.reviewed else [])]


def _matches(story: Story, wanted: Wanted) -> bool:
    return (
        _is_one_of(wanted.who, (story.user, story.person, *_approvers(story)))
        and _names(wanted.relation, story.touched)
        and _within(story.asked_at, wanted)
        and wanted.outcome in (None, story.state)
        and _is_one_of(wanted.kind, story.kinds)
    )


def _was_by(found: Execution | Counted, wanted: Wanted) -> bool:
    # The last may stand before the first, if the clock was set back.
    times = (found.at, found.last_at) if isinstance(found, Counted) else (found.at,)
    in_time = (wanted.since is None or max(times) >= wanted.since) and (
        wanted.until is None or min(times) < wanted.until
    )
    return in_time and _is_one_of(wanted.who, (found.user, found.person)) and _is_one_of(wanted.kind, (found.kind,))


def _is_one_of(name: str | None, among: Iterable[str]) -> bool:
    if name is None:
        return True
    name = name.casefold()
    return any(name in (each.casefold(), each.casefold().partition("@")[0]) for each in among)


def _names(relation: str | None, among: Iterable[str]) -> bool:
    if relation is None:
        return True
    schema, _, name = relation.casefold().rpartition(".")
    for each in among:
        other_schema, _, other_name = each.casefold().rpartition(".")
        # Relations are recorded as they were spelled: without a schema it may be any on the search path.
        if name == other_name and (schema == other_schema or not schema or not other_schema):
            return True
    return False


def _within(at: datetime, wanted: Wanted) -> bool:
    return (wanted.since is None or at >= wanted.since) and (wanted.until is None or at < wanted.until)

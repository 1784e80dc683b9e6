"""The story of a request: everything that its entries tell, put together in one value.

Entries enter in order, stories leave in the order in which they were asked. Each entry only adds to the story before
it; nothing is judged here, and an entry that fits nowhere is kept as a step that adds nothing. A story with its
statement is a few kilobytes, and each request was looked at by a person: those of a whole ledger fit into memory, which
is what `stories` needs. Forwarded statements are in `pgnotary.audit.executions`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pgnotary.audit.body import number, text, texts
from pgnotary.audit.copied import Copied, copied_in
from pgnotary.audit.effect import Effect, effect_in
from pgnotary.audit.parsed import parsed
from pgnotary.audit.redactions import redacted_in
from pgnotary.audit.veil import Veil
from pgnotary.errors import DecisionRefused, NotCanonical, RedactionRefused
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import BREAK_GLASS, Entry, EntryType
from pgnotary.request.decision import read
from pgnotary.request.life import State
from pgnotary.request.parameters import opened as parameters_in
from pgnotary.request.parameters import spelled
from pgnotary.request.withdrawal import REQUESTER
from pgnotary.store import StoredEntry
from pgnotary.verify.decisions import Opened
from pgnotary.verify.signed import signed
from pgnotary.verify.steps import is_short

__all__ = [
    "Decided",
    "Outcome",
    "Part",
    "Preview",
    "Rejected",
    "Step",
    "Story",
    "begin",
    "changed_meanwhile",
    "claimed_approver",
    "continued",
    "disclosed",
    "end_words",
    "preview_of",
    "stories",
]


_FATES = (State.COMMITTED.value, State.ROLLED_BACK.value)


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a story."""

    seq: int
    at: datetime
    type: EntryType
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Preview:
    """What was measured before anybody decided."""

    status: str
    why: str
    estimate: int | None
    exact: int | None
    at_most: int | None = None
    """What was counted, and the change may stay below."""
    how: str = ""
    """How the estimate was had: `count`, `explain`; empty if the entry does not say."""
    caveats: tuple[str, ...] = ()
    """Why the number may not be what then changed."""
    place: int | None = None
    """Of a statement among several that change something: which of its text it is, from 1."""
    statements: tuple["Preview", ...] = ()
    """Of a text with several changes, each of them."""
    more: int = 0
    """How many further ones were not measured."""

    @property
    def rows(self) -> int | None:
        """The counted rows, or how many there may be at most, or the guess if they were not counted."""
        return next((each for each in (self.exact, self.at_most) if each is not None), self.estimate)


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision that counted."""

    approver: str
    key: str
    answer: str
    max_rows: int | None
    max_other_rows: int | str | None
    """Of other tables: a number, or "any"; None: 0, if there is a `max_rows`."""
    reason: str
    """The approver's words, from the signed document."""
    at: datetime
    document: bytes
    """What was signed; empty if it cannot be read."""
    signature: str


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A review of what one person alone has let run."""

    reviewer: str
    words: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Rejected:
    """A decision that did not count."""

    claimed: str
    """Who the document says it is by; nobody has proven it. Empty if it is withheld or cannot be read."""
    why: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended in the database."""

    result: str
    ended: str
    """Which way it came about, one word of `pgnotary.request.ended`; empty if the entry does not say."""
    fate: str
    """Of a resolved one: what the server says that became of its transaction; else empty."""
    rows: int | None
    sqlstate: str
    gid: str
    """The name that its transaction was prepared under; else empty."""
    why: str
    xid: str
    error: str | None
    """What PostgreSQL said; None if it is withheld or there was no error."""


@dataclass(frozen=True, slots=True)
class Part:
    """One statement of the string that was held."""

    kind: str
    relations: tuple[str, ...]
    harmless: bool

    @property
    def what(self) -> str:
        """The kind and the relations, in a few words."""
        return " ".join(filter(None, (self.kind.upper(), ", ".join(self.relations))))


@dataclass(frozen=True, slots=True)
class Story:
    """One request, from the hold to its end."""

    request: str
    session: str
    asked_at: datetime
    user: str
    person: str
    role: str
    database: str
    application: str
    client: str
    kind: str
    relations: tuple[str, ...]
    parts: tuple[Part, ...]
    """All statements in it; empty if the entry does not say which of them are harmless."""
    settings: tuple[str, ...]
    """What the session had set that changes the statement's meaning, as `name = value`."""
    profile: str
    rule: str
    why: str
    """Why it was held."""
    statement: str | None
    """None if it is withheld."""
    parameters: tuple[str, ...] | None
    """What was bound to it, a line each; None if nothing was, or it is withheld."""
    prepared: str | None
    """What EXECUTE or FETCH runs, if it does and it is not withheld."""
    reason: str | None
    """The engineer's words, if there were any and they are not withheld."""
    state: State
    steps: tuple[Step, ...]
    preview: Preview | None = None
    approvals: tuple[Decided, ...] = ()
    """Those that were not enough by themselves, oldest first."""
    decision: Decided | None = None
    """The one that decided it."""
    reviewed: Reviewed | None = None
    """Of one that somebody has let run alone: who has looked at it since."""
    rejected: tuple[Rejected, ...] = ()
    ended_at: datetime | None = None
    end_why: str = ""
    """Why it was withdrawn, orphaned or void."""
    xid: str = ""
    effect: Effect | None = None
    """What PostgreSQL counted before anything was committed."""
    meanwhile: tuple[str, ...] = ()
    """Of a void one: what was not as it was signed any more, a line each."""
    copied: Copied | None = None
    """Of COPY FROM STDIN: what is known of its data."""
    outcome: Outcome | None = None
    redacted: Mapping[str, str] = field(default_factory=dict)
    """What to say in the place of each redacted value, by its name."""

    @property
    def what(self) -> str:
        """Each part that is not harmless, in a few words."""
        parts = [each.what for each in self.parts if not each.harmless]
        return "; ".join(parts) or Part(self.kind, self.relations, harmless=False).what

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of all parts, harmless ones too."""
        return frozenset({self.kind, *(each.kind for each in self.parts)})

    @property
    def is_broken(self) -> bool:
        """Whether one person alone has let it run."""
        return self.decision is not None and self.decision.answer == BREAK_GLASS

    @property
    def carried_by(self) -> tuple[Decided, ...]:
        """The decisions that its fate rests on, oldest first: a denial, and what breaks the glass, stands alone."""
        if self.decision is None:
            return ()
        return (*self.approvals, self.decision) if self.decision.answer == "approve" else (self.decision,)

    @property
    def max_rows(self) -> int | None:
        """How many rows those allow together: the fewest of them; None: any number, or nobody has decided."""
        return min((each.max_rows for each in self.carried_by if each.max_rows is not None), default=None)

    @property
    def touched(self) -> tuple[str, ...]:
        """The relations of all parts."""
        return (*self.relations, *(name for each in self.parts for name in each.relations))

    @property
    def fate(self) -> State:
        """Where it stands, and if it was resolved, how."""
        if self.state is State.RESOLVED and self.outcome and self.outcome.fate in _FATES:
            return State(self.outcome.fate)
        return self.state

    @property
    def rows(self) -> int | None:
        """How many rows it changed for good, or None if the ledger does not know."""
        if self.fate in (State.ROLLED_BACK, State.FAILED):
            return 0
        if self.fate is not State.COMMITTED:
            return None
        return self.outcome.rows if self.outcome and self.outcome.rows is not None else self.executed_rows

    @property
    def executed_rows(self) -> int | None:
        """What PostgreSQL counted before anything was committed."""
        return self.effect.rows if self.effect else None

    @property
    def time_to_decision(self) -> timedelta | None:
        """From when the approver could see it to when the decision counted."""
        return self.time_to(self.decision) if self.decision else None

    def time_to(self, decided: Decided) -> timedelta:
        """From when the approver could see it to when this decision counted."""
        shown = next((step.at for step in self.steps if step.type is EntryType.PREVIEW), self.asked_at)
        return decided.at - shown


def stories(entries: Iterable[StoredEntry], veil: Veil | None = None) -> Iterator[Story]:
    """Yield the story of every request, in the order of asking; raises LedgerBroken on a damaged one.

    With a veil, no secret of its texts is told.
    """
    told: dict[str, Story] = {}
    for entry, opened in parsed(entries):
        name = entry.request
        if entry.type is EntryType.REDACTED:
            _redact(told, entry)
        elif entry.type is EntryType.REVIEWED and (story := told.get(text(entry.body, "request"))) is not None:
            reviewed = Reviewed(text(entry.body, "reviewer"), text(entry.body, "words"), entry.position.time)
            told[story.request] = replace(story, reviewed=reviewed)
        if name is None:
            continue
        if veil:
            entry, opened = veil.over(entry, opened)  # noqa: PLW2901 - from here on there is no other
        if entry.type is EntryType.REQUEST:
            # An id that comes twice is a fault for `verify`; here the later one would hide the earlier.
            told.setdefault(name, begin(entry, opened))
        elif name in told:
            told[name] = continued(told[name], entry, opened)
    yield from told.values()


def _redact(told: dict[str, Story], entry: Entry) -> None:
    """Say in the stories so far what a redaction has erased of them."""
    try:
        redacted = redacted_in(entry)
    except RedactionRefused:
        return
    names = {values.leaf: values.seals for values in redacted.values}
    for request, story in told.items():
        gone = {name: redacted.words for step in story.steps for name in names.get(step.leaf, ())}
        if gone:
            told[request] = replace(story, redacted={**story.redacted, **gone})


def begin(entry: Entry, opened: Opened) -> Story:
    """Return the story as its `request` entry begins it."""
    body = entry.body
    return Story(
        request=entry.request or "",
        session=entry.session or "",
        asked_at=entry.position.time,
        user=text(body, "user"),
        person=text(body, "person"),
        role=text(body, "role"),
        database=text(body, "database"),
        application=text(body, "application"),
        client=text(body, "client"),
        kind=text(body, "kind"),
        relations=texts(body, "relations"),
        parts=tuple(_parts(body)),
        settings=tuple(_settings(body)),
        profile=text(body, "profile"),
        rule=text(body, "rule"),
        why=text(body, "why"),
        statement=disclosed(opened, "statement"),
        parameters=bound_in(opened),
        prepared=disclosed(opened, "prepared"),
        reason=disclosed(opened, "reason"),
        state=State.HELD,
        steps=(_step(entry),),
    )


def bound_in(opened: Opened) -> tuple[str, ...] | None:
    """Return the parameters of a request, a line each, or None; what is no list of parameters stands as it is."""
    raw = disclosed(opened, "parameters")
    if raw is None:
        return None
    try:
        return tuple(f"{name} {value}" for name, value in spelled(parameters_in(raw.encode())))
    except NotCanonical:
        return (raw,)


def continued(story: Story, entry: Entry, opened: Opened) -> Story:
    """Return the story with one more of its entries."""
    story = replace(story, steps=(*story.steps, _step(entry)))
    body, at = entry.body, entry.position.time
    match entry.type:
        case EntryType.PREVIEW:
            return replace(story, preview=preview_of(entry))
        case EntryType.DECISION:
            return _decided(story, entry)
        case EntryType.REJECTED:
            rejected = Rejected(claimed_approver(opened), text(body, "why"), at)
            return replace(story, rejected=(*story.rejected, rejected))
        case EntryType.WITHDRAWN:
            return replace(story, state=State.WITHDRAWN, ended_at=at, end_why=end_words(body))
        case EntryType.EXPIRED | EntryType.ORPHANED | EntryType.VOID:
            ended = replace(story, state=State(entry.type.value), ended_at=at, end_why=end_words(body))
            return replace(ended, meanwhile=tuple(changed_meanwhile(body)))
        case EntryType.INTENT:
            return replace(story, state=State.INTENT, xid=text(body, "xid"))
        case EntryType.EXECUTED:
            return replace(story, state=State.EXECUTED, effect=effect_in(body), copied=copied_in(body))
        case EntryType.OUTCOME:
            return _ended(story, entry, opened)
        case _:
            return story


def disclosed(opened: Opened, name: str) -> str | None:
    """Return a sealed value as text, or None if it is withheld; bytes that are not UTF-8 become U+FFFD."""
    return opened[name][1].decode(errors="replace") if name in opened else None


def preview_of(entry: Entry) -> Preview:
    """Return what a `preview` entry says; the caveats of a text are those of all its statements."""
    whole = _preview(entry.body)
    listed = entry.body.get("statements")
    statements = tuple(
        _preview(each) for each in (listed if isinstance(listed, list) else ()) if isinstance(each, Mapping)
    )
    caveats = dict.fromkeys((*whole.caveats, *(caveat for each in statements for caveat in each.caveats)))
    return replace(
        whole,
        caveats=tuple(caveats),
        statements=statements,
        more=number(entry.body, "statements_more") or 0,
    )


def _preview(body: Mapping[str, JSON]) -> Preview:
    return Preview(
        status=text(body, "status"),
        why=text(body, "why"),
        estimate=number(body, "estimate"),
        exact=number(body, "exact"),
        at_most=number(body, "at_most"),
        how=_how(body),
        caveats=texts(body, "caveats"),
        place=number(body, "place"),
    )


def _how(body: Mapping[str, JSON]) -> str:
    obtained = body.get("obtained")
    had = obtained.get("estimate") if isinstance(obtained, Mapping) else None
    return text(had, "how") if isinstance(had, Mapping) else ""


def claimed_approver(opened: Opened) -> str:
    """Return the approver that a rejected document names, or "" if there is none to read."""
    try:
        return read(opened["document"][1]).approver if "document" in opened else ""
    except DecisionRefused:
        return ""


def changed_meanwhile(body: Mapping[str, JSON]) -> Iterator[str]:
    """Yield what a `void` entry names as another than was signed."""
    listed = body.get("changed")
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, Mapping):
            was, now = text(each, "signed") or "nothing", text(each, "found") or "nothing"
            yield f"{text(each, 'what')}: signed {was}, found {now}"


def end_words(body: Mapping[str, JSON]) -> str:
    """Return why a request ended without being run; of who took it back by a call whether the entry holds that."""
    by, why = text(body, "by"), text(body, "why")
    if by == REQUESTER:
        signed_ = "signed" if "document" in body else "not signed"
        by = f"{by} {text(body, 'person')} ({text(body, 'key')}), {signed_}"
    return ": ".join(filter(None, (why, by)))


def _step(entry: Entry) -> Step:
    return Step(entry.position.seq, entry.position.time, entry.type, entry.leaf)


def _parts(body: Mapping[str, JSON]) -> Iterator[Part]:
    listed = body.get("parts")
    for each in listed if isinstance(listed, list) else ():
        # Without this field nobody can tell which of them were held.
        if isinstance(each, Mapping) and isinstance(harmless := each.get("harmless"), bool):
            yield Part(text(each, "kind"), texts(each, "relations"), harmless)


def _settings(body: Mapping[str, JSON]) -> Iterator[str]:
    settings = body.get("settings")
    for name, value in settings.items() if isinstance(settings, Mapping) else ():
        yield f"{name} = {value}"


def _decided(story: Story, entry: Entry) -> Story:
    body, at = entry.body, entry.position.time
    try:
        document = signed(entry)[0]
        reason, raw = document.reason, document.raw
    except DecisionRefused:
        reason, raw = "", b""
    answer = text(body, "answer")
    decision = Decided(
        approver=text(body, "approver"),
        key=text(body, "key"),
        answer=answer,
        max_rows=number(body, "max_rows"),
        max_other_rows=number(body, "max_other_rows") or text(body, "max_other_rows") or None,
        reason=reason,
        at=at,
        document=raw,
        signature=text(body, "signature"),
    )
    if is_short(entry):
        return replace(story, approvals=(*story.approvals, decision))
    if answer in ("approve", BREAK_GLASS):
        return replace(story, decision=decision, state=State.APPROVED)
    return replace(story, decision=decision, state=State.DENIED, ended_at=at)


def _ended(story: Story, entry: Entry, opened: Opened) -> Story:
    body = entry.body
    result = text(body, "result")
    outcome = Outcome(
        result=result,
        ended=text(body, "ended"),
        fate=text(body, "fate"),
        rows=number(body, "rows"),
        sqlstate=text(body, "sqlstate"),
        gid=text(body, "gid"),
        why=text(body, "why"),
        xid=text(body, "xid"),
        error=disclosed(opened, "error"),
    )
    try:
        state = State(result)
    except ValueError:
        state = story.state
    copied, xid = story.copied or copied_in(body), outcome.xid or story.xid
    return replace(story, state=state, outcome=outcome, ended_at=entry.position.time, xid=xid, copied=copied)

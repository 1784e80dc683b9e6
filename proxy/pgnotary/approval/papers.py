"""The approver's side of trust: what a paper says is recomputed from the bytes that a signature will bind.

A paper as it came over the socket, or out of a ledger, enters; a `Paper` leaves whose every word was read from the
document that a decision names by its digest, or from a value that opens a commitment in it. What does not fit is an
error, never a guess: an altered value is a BrokenSeal, everything else an ApiError of status 502. Nothing here trusts
the proxy; whether the entries are the ledger's own is for the head to prove that the decision names.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from pgnotary.approval.bodies import UNFIT, EntryPaper, RequestPaper
from pgnotary.errors import ApiError, DecisionRefused, NotCanonical
from pgnotary.ledger.canonical import JSON, decode, parse_timestamp
from pgnotary.ledger.entries import Entry, EntryType, parse_entry
from pgnotary.ledger.seals import check_opened
from pgnotary.request.parameters import Parameters, opened, spelled
from pgnotary.request.quorum import Quorum, quorum_in
from pgnotary.request.sample import Row, Sample, opened_each
from pgnotary.request.signed_context import context_digest, context_document
from pgnotary.verify.signed import signed

__all__ = [
    "Cascade",
    "Context",
    "Holder",
    "Measured",
    "Needed",
    "Obtained",
    "Paper",
    "Piece",
    "Seen",
    "Stated",
    "TableLock",
    "Taken",
    "Trigger",
    "on",
    "read_paper",
]

_Count = Annotated[int, Meta(ge=0)]
_ID = re.compile(r"R-[1-9][0-9]{0,17}", re.ASCII)


class Piece(msgspec.Struct, frozen=True):
    """One statement of a text; offsets in bytes."""

    kind: str
    start: _Count
    end: _Count
    harmless: bool | None = None
    """Whether it is known to change nothing; None if the entry does not say."""
    relations: tuple[str, ...] = ()


# What PostgreSQL's command tag counts.
_COUNTED = frozenset({"insert", "update", "delete", "merge"})


class Needed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many approvals by people of a group, with those who were in it; without people, by anybody."""

    count: _Count
    group: str
    people: tuple[str, ...] | None = None


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a `request` entry; what may be absent is empty."""

    user: str
    person: str
    database: str
    kind: str
    bytes: _Count
    expires_at: str
    role: str = ""
    session_user: str = ""
    system_identifier: str = ""
    search_path: str = ""
    application: str = ""
    client: str = ""
    upstream_pid: int = 0
    block: str = ""
    statements_before: _Count = 0
    relations: tuple[str, ...] = ()
    parts: tuple[Piece, ...] = ()
    profile: str = ""
    policy: str = ""
    rule: str = ""
    why: str = ""
    needs: _Count = 1
    quorum: tuple[Needed, ...] = ()
    """Whose they must be; empty: anybody's."""
    break_glass: tuple[str, ...] = ()
    """Who may approve it alone."""
    countable: bool | None = None
    """Whether the command tag counts what it changes; None if the entry does not say."""
    outside: bool = False
    """It runs outside any transaction: it has no transaction id, and nothing can undo it."""
    parameters: _Count = 0
    """How many are bound to each execution in the extended protocol."""
    executions: _Count = 1
    """How often it runs, with parameters of their own each."""
    settings: dict[str, str] = {}
    """The session's settings that change what the text means."""

    @property
    def has_ceiling(self) -> bool:
        """Whether a highest number of rows can be held: only if what it changes is counted."""
        return self.kind in _COUNTED if self.countable is None else self.countable

    @property
    def runs_unseen(self) -> bool:
        """Whether it runs a text that stands elsewhere, which PREPARE once named."""
        return "execute" in (self.kind, *(part.kind for part in self.parts))


class Obtained(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a number of rows was obtained, and when."""

    at: str
    took_us: _Count
    how: str
    """count, explain, statistics, text (the statement spells its rows out), or sum (over several statements)."""

    def __post_init__(self) -> None:
        """Refuse what is no time; ValidationError."""
        try:
            parse_timestamp(self.at)
        except NotCanonical as error:
            raise ValueError(str(error)) from error


class Reached(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many rows a cascade changes: one of these, or nobody knows."""

    exact: _Count | None = None
    at_most: _Count | None = None
    estimate: _Count | None = None


class Cascade(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """A foreign key that changes the rows that refer to those that are changed."""

    source: str
    to: str
    constraint: str
    action: str
    depth: _Count
    rows: Reached
    indexed: bool


class Trigger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trigger that fires."""

    relation: str
    name: str
    when: str
    each: str
    events: tuple[str, ...]
    function: str


class TableLock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How hard a statement locks what it names."""

    mode: str
    """As pg_locks spells it."""
    work: str = ""
    """What it does with all rows of a table: scan, rewrite, or nothing."""


class Holder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who had, or waited for, a lock that it would have to wait for."""

    pid: int
    role: str
    mode: str
    relation: str
    granted: bool
    since_s: int | None = None
    """How long its transaction had lasted."""


class Taken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A relation that it takes, beside rows that it says it changes."""

    relation: str
    kind: str
    how: str
    """named, child, refers (TRUNCATE CASCADE), or along: it depends on what is dropped."""
    bytes: _Count
    rows: Reached


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of one change; of the numbers of rows, only `exact` is one that others alone can make untrue."""

    status: str
    why: str = ""
    estimate: int | None = None
    exact: _Count | None = None
    at_most: _Count | None = None
    """What was counted, and the change may stay below."""
    obtained: dict[str, Obtained] = {}
    """By the name of the number."""
    relation_rows: _Count | None = None
    """What the planner believes to be in the relations that are changed."""
    caveats: tuple[str, ...] = ()
    cascades: tuple[Cascade, ...] = ()
    cascades_more: _Count = 0
    triggers: tuple[Trigger, ...] = ()
    triggers_more: _Count = 0
    rules: tuple[str, ...] = ()
    """Those that add to the statement or take its place."""
    rules_more: _Count = 0
    row_security: tuple[str, ...] = ()
    row_security_more: _Count = 0
    lock: TableLock | None = None
    holders: tuple[Holder, ...] = ()
    holders_more: _Count = 0
    takes: tuple[Taken, ...] = ()
    takes_more: _Count = 0
    dependents: tuple[str, ...] = ()
    """What DROP takes along under CASCADE, and what stops it without."""
    dependents_more: _Count = 0
    sample: Sample | None = None
    """A few of the rows that it would meet, without their values, or why there are none."""
    took_us: _Count = 0

    def __post_init__(self) -> None:
        """Refuse two numbers that cannot both be true; ValidationError."""
        if self.exact is not None and self.at_most is not None:
            raise ValueError("`exact` and `at_most` cannot both be there")

    @property
    def bound(self) -> int | None:
        """The highest number of rows that was counted; None if nobody can name one."""
        return self.at_most if self.exact is None else self.exact

    @property
    def along(self) -> int | None:
        """How many rows foreign keys change at the most; None if one of them was not counted."""
        bounds = [each.rows.at_most if each.rows.exact is None else each.rows.exact for each in self.cascades]
        known = [bound for bound in bounds if bound is not None]
        return sum(known) if len(known) == len(bounds) and not self.cascades_more else None

    @property
    def is_summed(self) -> bool:
        """Whether its number of rows is the sum of those of several statements."""
        return any(each.how == "sum" for each in self.obtained.values())

    @property
    def is_guess_counted(self) -> bool:
        """Whether the estimate is a count, though one that may be another when the statement runs."""
        return "estimate" in self.obtained and self.obtained["estimate"].how == "count"


class Stated(Seen, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was seen of one statement of a text in which several change something."""

    place: Annotated[int, Meta(ge=1)]
    """Of the statement among all of its text, from 1."""


class Measured(Seen, frozen=True, kw_only=True):
    """The body of a `preview` entry; of a text with several changes its numbers are sums over them."""

    statements: tuple[Stated, ...] = ()
    """Each of several changes; empty if there is one."""
    statements_more: _Count = 0
    """How many further ones have no preview."""

    def __post_init__(self) -> None:
        """Refuse statements out of their order; ValidationError."""
        Seen.__post_init__(self)
        places = [each.place for each in self.statements]
        if places != sorted(set(places)):
            raise ValueError("the statements do not stand in their order")
        if self.statements and self.sample is not None:
            raise ValueError("a sample beside statements, of which each has its own")

    @property
    def elsewhere(self) -> int:
        """How many rows foreign keys change at the most, as far as each of them was counted; else 0."""
        seen = self.statements or (self,)
        bounds = [each.along for each in seen]
        known = [bound for bound in bounds if bound is not None]
        return sum(known) if len(known) == len(bounds) and not self.statements_more else 0

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All samples, in the order in which their rows are sealed."""
        return tuple(each.sample for each in self.statements or (self,) if each.sample is not None)


@dataclass(frozen=True, slots=True)
class Paper:
    """An open request, as far as it can be believed."""

    id: str
    request: Entry
    preview: Entry
    """These two make the document; what people are shown comes from it, that is, from the fields below."""
    document: bytes
    """The canonical context, as `pgnotary.request.signed_context` makes it."""
    ledger: str
    session: str
    held_at: datetime
    request_leaf: str
    """In hex."""
    preview_leaf: str
    context: Context
    measured: Measured
    statement: str
    reason: str
    """The engineer's words, or empty."""
    parameters: Parameters | None
    """What was bound to it, for each execution; None of a simple query."""
    prepared: str | None
    """What the prepared statement or cursor says that it runs; None if nobody knows."""
    rows: tuple[Row, ...]
    """The rows of the preview's sample; of several samples, those of one behind those of another."""
    expires_at: datetime
    unread: tuple[tuple[str, JSON], ...]
    """Fields of the two entries that this version does not know: they will be signed, so they must be shown."""

    quorum: Quorum
    """Whose approvals it needs, as `context` says it."""
    approvals: tuple[Entry, ...] = ()
    """The decisions that are there already and not enough, oldest first; they are no part of the document."""
    approved_by: tuple[str, ...] = ()
    """Whose those are."""

    @property
    def missing(self) -> str:
        """Whose approvals are still needed, in words."""
        return self.quorum.missing_words(self.approved_by)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What a head must cover before anything is signed: the request, its preview, and the newest approval.

        That one names the approval before it by its leaf, and so all whose signers are shown.
        """
        return self.request, self.preview, *self.approvals[-1:]

    @property
    def digest(self) -> str:
        """The digest of the document, in hex: what a decision names."""
        return context_digest(self.document).hex()

    @property
    def bound(self) -> tuple[tuple[str, str], ...]:
        """The parameters for people, as `spelled` gives them; not safe for a terminal."""
        return tuple(spelled(self.parameters)) if self.parameters else ()

    @property
    def what(self) -> str:
        """What may change something, kind and relations, e.g. `DELETE on orders; DROP on items`.

        Not safe for a terminal.
        """
        parts = [part for part in self.context.parts if part.harmless is False]
        return "; ".join(on(part.kind, part.relations) for part in parts) or on(
            self.context.kind, self.context.relations
        )


def on(kind: str, relations: Sequence[str]) -> str:
    """Return a kind of statement with what it is about, e.g. `DELETE on orders`."""
    return kind.upper() + (f" on {', '.join(relations)}" if relations else "")


def read_paper(body: RequestPaper, asked: str) -> Paper:
    """Return the paper of the request that was asked for; raises BrokenSeal or ApiError if it cannot be believed."""
    if not _ID.fullmatch(asked):
        # It is shown as it is, and typed in commands.
        raise _unfit(f"{asked!r:.80} is no request's id")
    request, preview = _entry(body.request, "request"), _entry(body.preview, "preview")
    _check_belonging(request, preview, asked)
    told, said = _opened(body.request, request), _opened(body.preview, preview)
    document = context_document(request, preview)
    fields = _Fields(decode(document))
    context, measured = fields.read(asked, "asked", Context), fields.read(asked, "measured", Measured)
    statement = told.pop("statement", None)
    if statement is None:
        raise _unfit(f"{asked}: the statement is withheld")
    if len(statement.encode()) != context.bytes:
        raise _unfit(f"{asked}: a statement of {len(statement.encode())} bytes, the request says {context.bytes}")
    try:
        expires_at = parse_timestamp(context.expires_at)
    except NotCanonical as error:
        raise _unfit(f"{asked}: {error}") from error
    try:
        quorum = quorum_in(request.body)
    except NotCanonical as error:
        raise _unfit(f"{asked}: {error}") from error
    approved = tuple(_approvals(asked, preview, body.decisions))
    return Paper(
        id=asked,
        quorum=quorum,
        approvals=tuple(entry for entry, _ in approved),
        approved_by=tuple(person for _, person in approved),
        request=request,
        preview=preview,
        document=document,
        ledger=fields.text("ledger"),
        session=fields.text("session"),
        held_at=parse_timestamp(fields.text("held_at")),
        request_leaf=fields.text("request_leaf"),
        preview_leaf=fields.text("preview_leaf"),
        context=context,
        measured=measured,
        statement=statement,
        reason=told.pop("reason", ""),
        parameters=_parameters(asked, told.pop("parameters", None)),
        prepared=told.pop("prepared", None),
        rows=_rows(asked, measured.samples, said.pop("sample", None)),
        expires_at=expires_at,
        unread=(
            *fields.unread("asked", Context),
            *fields.unread("measured", Measured),
            *((f"sealed {name}", value) for name, value in (*told.items(), *said.items())),
        ),
    )


def _approvals(asked: str, preview: Entry, decisions: Sequence[bytes]) -> Iterator[tuple[Entry, str]]:
    """Yield the approvals that are there already, each behind the one before it, and whose it says it is.

    Whose key has signed it is for the ledger to know, which the head proves to hold it.
    """
    last = preview.leaf
    for raw in decisions:
        entry = _entry(EntryPaper(entry=raw), "decision")
        if entry.type is not EntryType.DECISION or entry.request != asked or entry.after != last:
            raise _unfit(f"{asked}: an approval that does not follow on what was shown")
        try:
            yield entry, signed(entry)[0].approver
        except DecisionRefused as error:
            raise _unfit(f"{asked}: an approval that cannot be read: {error}") from error
        last = entry.leaf


def _parameters(asked: str, sealed: str | None) -> Parameters | None:
    try:
        return None if sealed is None else opened(sealed.encode())
    except NotCanonical as error:
        raise _unfit(f"{asked}: {error}") from error


def _rows(asked: str, samples: Sequence[Sample], sealed: str | None) -> tuple[Row, ...]:
    if any(sample.rows for sample in samples) != (sealed is not None):
        raise _unfit(f"{asked}: a sample without its rows, or rows without their sample")
    try:
        return () if sealed is None else tuple(chain(*opened_each(samples, sealed.encode())))
    except NotCanonical as error:
        raise _unfit(f"{asked}: {error}") from error


def _unfit(message: str) -> ApiError:
    return ApiError(f"the proxy's answer does not fit: {message}", UNFIT)


def _entry(paper: EntryPaper, what: str) -> Entry:
    try:
        return parse_entry(paper.entry)
    except NotCanonical as error:
        raise _unfit(f"the {what} entry is {error}") from error


def _check_belonging(request: Entry, preview: Entry, asked: str) -> None:
    """Raise unless these are request and preview of the request that was asked for, the one right behind the other."""
    for entry, expected in ((request, EntryType.REQUEST), (preview, EntryType.PREVIEW)):
        if entry.type is not expected:
            raise _unfit(f"{asked}: an entry of type {entry.type} where its {expected} should be")
        if entry.request != asked:
            raise _unfit(f"asked for {asked}, got the {entry.type} of {entry.request}")
    if request.after is not None:
        raise _unfit(f"{asked}: its request entry follows another entry")
    if preview.after != request.leaf:
        raise _unfit(f"{asked}: the preview was made for another request entry")
    if preview.position.ledger != request.position.ledger or preview.position.seq <= request.position.seq:
        raise _unfit(f"{asked}: the preview does not stand behind the request in one ledger")
    if preview.session != request.session:
        raise _unfit(f"{asked}: request and preview are of different sessions")


def _opened(paper: EntryPaper, entry: Entry) -> dict[str, str]:
    """Return every sealed value of an entry as text, each checked against its commitment; none may be missing."""
    if odd := paper.opened.keys() ^ entry.seals.keys():
        raise _unfit(f"{entry.request}: sealed values are withheld or too many: {', '.join(sorted(odd))}")
    values = {}
    for name, (salt, value) in paper.opened.items():
        check_opened(name, salt, value, entry.seals[name])
        try:
            values[name] = value.decode()
        except UnicodeDecodeError as error:
            raise _unfit(f"{entry.request}: {name} is not UTF-8 at byte {error.start}") from error
    return values


_Known = TypeVar("_Known", Context, Measured)


_ENTRIES = {"asked": "request", "measured": "preview"}
"""Which entry's body stands under a name in a context document."""


class _Fields:
    """The fields of a context document."""

    def __init__(self, fields: Mapping[str, JSON]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        return str(self._fields[name])

    def read(self, asked: str, name: str, type_: type[_Known]) -> _Known:
        try:
            return msgspec.convert(self._fields[name], type_)
        except msgspec.ValidationError as error:
            raise _unfit(f"{asked}: the {_ENTRIES[name]} entry: {error}") from error

    def unread(self, name: str, type_: type[msgspec.Struct]) -> list[tuple[str, JSON]]:
        body = self._fields[name]
        known = type_.__struct_fields__
        return [(key, value) for key, value in body.items() if key not in known] if isinstance(body, Mapping) else []

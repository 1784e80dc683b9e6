"""What one entry says, in a sentence and a few lines beneath it: how replay tells each step.

An entry and what is disclosed of its values enter, `Told` leaves. Executions are told apart from the entry that sums
them up, because they happened one by one before it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from pgnotary.audit.body import number, text, texts
from pgnotary.audit.copied import copied_in
from pgnotary.audit.effect import effect_in
from pgnotary.audit.executions import Counted, Execution
from pgnotary.audit.redactions import redacted_in
from pgnotary.audit.rosters import signers_of
from pgnotary.audit.sample_words import sample_lines
from pgnotary.audit.story import begin, changed_meanwhile, claimed_approver, disclosed, end_words, preview_of
from pgnotary.audit.words import (
    behind_name,
    ceiling_words,
    clock,
    counted,
    digest_words,
    milliseconds,
    preview_words,
    quoted,
    reasons,
    row_count,
    verdict_words,
    who,
)
from pgnotary.errors import DecisionRefused, NotCanonical, RedactionRefused
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import BREAK_GLASS, Entry, EntryType
from pgnotary.request.sample import Sample, opened_each
from pgnotary.verify.decisions import Opened
from pgnotary.verify.sessions import told_by
from pgnotary.verify.signed import signed

__all__ = ["Told", "tell", "tell_execution"]


@dataclass(frozen=True, slots=True)
class Told:
    """One event: when it happened, the entry that tells of it, and the words."""

    at: datetime
    seq: int
    type: EntryType
    leaf: bytes
    text: str
    detail: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """Return the event as lines; each must be shown as one line, whatever characters it holds."""
        head = f"#{self.seq:<5} {clock(self.at)}  {self.leaf.hex()[:8]}  {self.text}"
        return [head, *(f"        {line}" for line in self.detail)]


_NOTHING: Mapping[str, str] = {}


def tell(entry: Entry, opened: Opened, redacted: Mapping[str, str] = _NOTHING) -> Told:
    """Return what an entry says; `redacted` is what to say in the place of values of these names."""
    sentence, *detail = _sentences(entry, opened, redacted)
    detail += [str(copied)] if (copied := copied_in(entry.body)) else []
    return Told(entry.position.time, entry.position.seq, entry.type, entry.leaf, sentence, tuple(detail))


def tell_execution(execution: Execution | Counted, leaf: bytes) -> Told:
    """Return what was forwarded, or refused at once."""
    if isinstance(execution, Counted):
        return _tell_counted(execution, leaf)
    ending = execution.sqlstate or execution.tag or execution.kind
    took = f" in {milliseconds(execution.took_us)}"
    would = f", which {execution.would} would have held" if execution.would else ""
    why = f", {execution.why}" if execution.why else ""
    sentence = f"{execution.session} {verdict_words(execution)}: {ending}{took}{would}{why}"
    detail = (
        *quoted(execution.statement, redacted=execution.redacted),
        *([str(execution.copied)] if execution.copied else []),
    )
    return Told(execution.at, execution.seq, EntryType.FORWARDED, leaf, sentence, detail)


def _tell_counted(found: Counted, leaf: bytes) -> Told:
    """Return what was forwarded and only counted, at the time when the first of it began."""
    took = milliseconds(found.took_us)
    ran = f"{found.executions:,} {found.kind}, {row_count(found.rows)} in {took}, the last at {clock(found.last_at)}"
    sentence = f"{found.session} forwarded: {ran}"
    return Told(found.at, found.seq, EntryType.FORWARDED, leaf, sentence, (digest_words(found),))


def _sentences(entry: Entry, opened: Opened, redacted: Mapping[str, str]) -> list[str]:
    match entry.type:
        case EntryType.REQUEST:
            return _asked(entry, opened, redacted)
        case EntryType.DECISION:
            return _decided(entry)
        case EntryType.OUTCOME:
            return _ended(entry, opened, redacted)
        case EntryType.REDACTED:
            return _redacted(entry)
        case EntryType.OPENED | EntryType.CLOSED | EntryType.FORWARDED:
            return [_of_session(entry)]
        case EntryType.STARTED | EntryType.STOPPED | EntryType.ROSTER | EntryType.HEARTBEAT | EntryType.FULL:
            return _of_proxy(entry)
        case EntryType.REVIEWED:
            by = f"{text(entry.body, 'request')} reviewed by {text(entry.body, 'reviewer')}"
            return [f"{by} with {text(entry.body, 'key')}", *quoted(text(entry.body, "words"), "  > ")]
        case EntryType.POLICY:
            return [f"policy in force: profile {text(entry.body, 'profile')}, digest {text(entry.body, 'policy')}"]
        case EntryType.PREVIEW:
            return _previewed(entry, opened, redacted)
        case EntryType.EXECUTED:
            return [f"{entry.request or 'no request'} {_step(entry, opened)}", *effect_in(entry.body).lines]
        case EntryType.VOID:
            return [f"{entry.request or 'no request'} {_step(entry, opened)}", *changed_meanwhile(entry.body)]
        case _:
            gone = [f"{name}: {words}" for name, words in redacted.items()]
            return [f"{entry.request or 'no request'} {_step(entry, opened)}", *gone]


def _of_proxy(entry: Entry) -> list[str]:
    body = entry.body
    if entry.type is EntryType.STARTED:
        return [f"proxy {text(body, 'version')} started, profile {text(body, 'profile')}"]
    if entry.type is EntryType.STOPPED:
        return [f"proxy stopped: {text(body, 'why')}"]
    if entry.type is EntryType.HEARTBEAT:
        sessions, held = (number(body, name) or 0 for name in ("sessions", "held"))
        return [f"proxy alive, {counted(sessions, 'session')} open, {held:,} held"]
    if entry.type is EntryType.FULL:
        return [f"proxy could not record any more: {text(body, 'why')}"]
    signers = signers_of(entry)
    people = ", ".join(sorted({person for person, _ in signers}))
    return [f"roster in force: {people or 'nobody'}", *(f"{person} {key}" for person, key in signers)]


def _of_session(entry: Entry) -> str:
    body, session = entry.body, entry.session or "no session"
    if entry.type is EntryType.OPENED:
        person = who(text(body, "person"), text(body, "user"))
        place = f"{text(body, 'application') or 'a program without name'} from {text(body, 'client') or 'somewhere'}"
        return f"{session} opened by {person}, {place}, on {text(body, 'database')} as role {text(body, 'role')}"
    if entry.type is EntryType.CLOSED:
        counts = ", ".join(f"{number(body, name) or 0:,} {name}" for name in ("forwarded", "held", "refused"))
        return f"{session} closed: {text(body, 'why')}; {counts}"
    verb = "counts" if "summaries" in body else "lists"
    told = told_by(entry)
    return f"{session} {verb} {counted(told.forwarded + told.refused, 'execution')}"


def _redacted(entry: Entry) -> list[str]:
    try:
        redacted = redacted_in(entry)
    except RedactionRefused as error:
        return [f"a redaction that cannot be read: {error}"]
    count = counted(sum(len(values.seals) for values in redacted.values), "value")
    what = [f"{', '.join(values.seals)} of #{values.seq}" for values in redacted.values]
    return [f"{count} redacted by {redacted.by} with {redacted.key}", *what, *quoted(redacted.reason, "  > ")]


def _asked(entry: Entry, opened: Opened, redacted: Mapping[str, str]) -> list[str]:
    body = entry.body
    person = who(text(body, "person"), text(body, "user"))
    before = number(body, "statements_before") or 0
    block = (
        f"its transaction is open, {counted(before, 'statement')} before"
        if text(body, "block") == "open"
        else "no transaction"
    )
    story = begin(entry, opened)
    lines = [
        f"{entry.request} held: {story.what} by {person}",
        f"on {text(body, 'database')} as role {text(body, 'role')}, search_path {text(body, 'search_path')}; {block}",
        *(f"set {each}" for each in story.settings),
        f"because {text(body, 'why')} (rule {text(body, 'rule')}); expires {text(body, 'expires_at')}",
        *quoted(story.statement, redacted=redacted.get("statement", "")),
    ]
    if "parameters" in entry.seals:
        bound = "\n".join(story.parameters) if story.parameters is not None else None
        lines += ["with", *quoted(bound, redacted=redacted.get("parameters", ""))]
    if "prepared" in entry.seals:
        lines += [behind_name(story), *quoted(story.prepared, redacted=redacted.get("prepared", ""))]
    if "reason" in entry.seals:
        lines += ["in the engineer's words:", *quoted(story.reason, "  > ", redacted.get("reason", ""))]
    return lines


def _previewed(entry: Entry, opened: Opened, redacted: Mapping[str, str]) -> list[str]:
    preview = preview_of(entry)
    lines = [f"{entry.request} preview {preview_words(preview)}"]
    # A value may have line ends, and would begin lines of its own: each row stays one.
    return lines + [f"  | {label}: {words}" for label, words in _sampled(entry, opened, redacted.get("sample", ""))]


def _sampled(entry: Entry, opened: Opened, redacted: str) -> Iterator[tuple[str, str]]:
    """Yield what the approver was shown of the rows; a sample that cannot be read is said to be one."""
    raw, told = disclosed(opened, "sample"), list(_samples(entry.body))
    try:
        samples = [msgspec.convert(sample, Sample) for _, sample in told]
        has_rows = any(sample.rows for sample in samples)
        rows = opened_each(samples, raw.encode()) if raw is not None and has_rows else [()] * len(samples)
        for (where, _), sample, own in zip(told, samples, rows, strict=True):
            if raw is None and sample.rows:
                yield (
                    f"{where}sample",
                    f"{counted(sample.rows, 'row')} of {sample.relation}, ({redacted or 'withheld'})",
                )
            else:
                yield from ((f"{where}{label}", words) for label, words in sample_lines(sample, own))
    except (msgspec.ValidationError, NotCanonical) as error:
        yield "sample", f"cannot be read: {error}"


def _samples(body: Mapping[str, JSON]) -> Iterator[tuple[str, JSON]]:
    """Yield each sample that a preview tells of, with the statement that it is of, if there are several."""
    if "sample" in body:
        yield "", body["sample"]
    listed = body.get("statements")
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, Mapping) and "sample" in each:
            yield f"statement {number(each, 'place')}, ", each["sample"]


_ANSWERS = {"approve": "approved", BREAK_GLASS: "GLASS BROKEN"}


def _lacking(body: Mapping[str, JSON]) -> str:
    lacks = number(body, "lacks")
    return f"; {counted(lacks, 'approval')} more needed" if lacks else ""


def _decided(entry: Entry) -> list[str]:
    body = entry.body
    verb = _ANSWERS.get(text(body, "answer"), "denied")
    max_rows = number(body, "max_rows")
    ceiling = ceiling_words(max_rows, number(body, "max_other_rows") or text(body, "max_other_rows"))
    lines = [f"{entry.request} {verb} by {text(body, 'approver')} with {text(body, 'key')}{ceiling}{_lacking(body)}"]
    try:
        document = signed(entry)[0]
    except DecisionRefused as error:
        return [*lines, f"what was signed cannot be read: {error}"]
    head = f"head {document.seen.root.hex()[:8]} over {document.seen.size:,} entries"
    return [*lines, f"having seen {head}", *quoted(document.reason, "  > ")]


def _ended(entry: Entry, opened: Opened, redacted: Mapping[str, str]) -> list[str]:
    body = entry.body
    rows = number(body, "rows")
    parts = [
        f"by {text(body, 'ended')}" if text(body, "ended") else "",
        text(body, "fate"),
        f"as {text(body, 'gid')!r}" if "gid" in body else "",
        "" if rows is None else row_count(rows),
        f"SQLSTATE {text(body, 'sqlstate')}" if text(body, "sqlstate") else "",
        reasons(entry.request or "", text(body, "why")),
        f"transaction {text(body, 'xid')}" if text(body, "xid") else "",
    ]
    told = ", ".join(filter(None, parts))
    lines = [f"{entry.request} {text(body, 'result')}{': ' * bool(told)}{told}"]
    if "error" in entry.seals:
        lines += quoted(disclosed(opened, "error"), redacted=redacted.get("error", ""))
    return lines


def _step(entry: Entry, opened: Opened) -> str:
    body = entry.body
    match entry.type:
        case EntryType.REJECTED:
            claimed = claimed_approver(opened)
            return f"a decision did not count{f' (it says it is by {claimed})' if claimed else ''}: {text(body, 'why')}"
        case EntryType.INTENT:
            if not text(body, "xid"):
                return "about to be sent outside any transaction"
            return f"about to be sent in transaction {text(body, 'xid')} ({text(body, 'where')})"
        case EntryType.EXECUTED:
            ran = ", ".join([*texts(body, "tags"), milliseconds(number(body, "took_us") or 0)])
            return f"executed: {row_count(number(body, 'rows'))} ({ran}); nothing is committed yet"
        case EntryType.ENDING:
            return _about_to_end(entry)
        case _:
            why = end_words(body)
            return f"{entry.type}{': ' * bool(why)}{why}"


def _about_to_end(entry: Entry) -> str:
    body = entry.body
    if "gid" not in body:
        return f"about to send {text(body, 'action').upper()} {text(body, 'savepoint')}".rstrip()
    through = text(body, "through")
    where = f" in {through}" if through and through != entry.session else ""
    return f"about to send {text(body, 'action').replace('-', ' ').upper()} {text(body, 'gid')!r}{where}"

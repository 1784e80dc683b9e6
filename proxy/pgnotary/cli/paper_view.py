"""An open request as an approver sees it: a believed `Paper` enters, lines that are safe for a terminal leave, or JSON.

Everything that a signature will bind is shown, foreign text with its hidden characters escaped. Every line begins with
one of our own labels or with a margin, and every text is broken to the width that stands behind it: nothing that an
engineer or a server wrote can begin a line, and so none of it can imitate another field. A statement stands behind
line numbers; runs of blank lines are told in one, so that none of it can be pushed out of sight unsaid.
"""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby, islice

from pgnotary.approval.papers import Context, Paper, on
from pgnotary.audit.sample_words import sample_lines
from pgnotary.audit.words import counted, row_count
from pgnotary.cli.hidden import Shown, without_secrets
from pgnotary.cli.preview_view import preview_lines
from pgnotary.cli.safe_text import one_line, pieces, visible
from pgnotary.judge.secrets import HIDDEN
from pgnotary.judge.statement import StatementClass
from pgnotary.ledger.canonical import JSON, timestamp
from pgnotary.request.sample import in_json

__all__ = ["MARGIN", "describe", "facts", "field", "span", "statement_lines", "time_left"]

MARGIN = 14
"""The columns of a label; a text stands behind them, in every line."""

_MAX_BLANK = 2
_MAX_NAMED = 40


def describe(paper: Paper, width: int = 100, *, secrets: bool = False) -> Iterator[str]:
    """Yield the lines that show a request; no foreign text has more than `width` columns behind its margin.

    They are drawn from the document that a signature binds, and from nothing else: the same document is the same page,
    whenever it is drawn. The secrets in its texts are shown only with `secrets`; otherwise a line says how many are
    not.
    """
    extent, prepared_extent = _extent(paper.statement), _extent(paper.prepared or "")
    shown = Shown(paper, 0) if secrets else without_secrets(paper)
    paper = shown.paper
    yield f"{paper.id}   held {paper.held_at:%Y-%m-%d %H:%M:%S} UTC, expires {paper.expires_at:%H:%M:%S}"
    for label, text in (*_asked(paper), *_judged(paper)):
        yield from field(label, text, width)
    yield ""
    yield f"{'statement':<{MARGIN}}{extent}"
    yield from statement_lines(paper.statement, width)
    for label, text in paper.bound:
        yield from field(label, text, width)
    if paper.prepared is not None:
        ends = StatementClass.TWO_PHASE in (paper.context.kind, *(part.kind for part in paper.context.parts))
        what = "the transaction that it ends" if ends else "what it runs, as it was prepared"
        yield f"{'prepared':<{MARGIN}}{what}: {prepared_extent}"
        yield from statement_lines(paper.prepared, width)
    if shown.hidden:
        yield from field("secrets", _told_hidden(shown.hidden), width)
    if shown.hides_code:
        yield from field("secrets", "PART OF WHAT RUNS IS HIDDEN WITH THEM: read it with --secrets first", width)
    yield ""
    for label, text in (*_notes(paper), *_measured(paper), *_bound(paper)):
        yield from field(label, text, width)


def time_left(paper: Paper, now: datetime) -> str:
    """Return for how long a request can still be decided; it is no part of the page."""
    left = f"{span(paper.expires_at - now)} left to decide" if paper.expires_at > now else "its time has passed"
    approved = f"; approved by {', '.join(paper.approved_by)}; needs {paper.missing}" if paper.approved_by else ""
    return f"{paper.id}   {left}{visible(approved)}"


def _told_hidden(hidden: int) -> str:
    verb = "is" if hidden == 1 else "are"
    return (
        f"{counted(hidden, 'secret')} {verb} hidden, {HIDDEN} stands for each: the digest covers the full text, and so "
        "will your signature; --secrets shows it"
    )


def field(label: str, text: str, width: int) -> Iterator[str]:
    """Yield one of our labels and a text of whatever origin behind it, broken to `width` columns behind the margin."""
    first, *rest = pieces(visible(text), width)
    yield f"{label:<{MARGIN}}{first}".rstrip(" ")
    yield from (f"{':':>{MARGIN - 1}} {piece}".rstrip(" ") for piece in rest)


def _asked(paper: Paper) -> Iterator[tuple[str, str]]:
    """Yield who asks, where it would run, and why."""
    context = paper.context
    yield "person", context.person or "unknown"
    if context.user != context.person:
        yield "user", context.user or "unknown"
    yield "client", context.client or "unknown"
    yield "application", one_line(context.application) or "unknown"
    yield "database", context.database or "unknown"
    yield "role", context.role or "unknown"
    if context.session_user not in ("", context.role):
        yield "session_user", context.session_user
    yield "search_path", context.search_path or "unknown"
    if context.settings:
        yield "settings", "; ".join(f"{name} = {value}" for name, value in context.settings.items())
    yield "system", context.system_identifier or "unknown"
    yield "backend", str(context.upstream_pid)
    yield "session", paper.session or "unknown"
    yield "block", _block(paper)
    yield "reason", one_line(paper.reason) or "(none given)"


def _judged(paper: Paper) -> Iterator[tuple[str, str]]:
    """Yield what policy says of it."""
    context = paper.context
    yield "rule", context.rule or "unknown"
    yield "held because", context.why or "unknown"
    yield "profile", context.profile or "unknown"
    yield "policy", context.policy or "unknown"
    if context.quorum:
        yield "needs", paper.quorum.words(context.person)
    else:
        yield "needs", f"{counted(context.needs, 'approval')}, by anybody on the roster but {context.person}"
    if context.break_glass:
        yield "break-glass", f"by {', '.join(context.break_glass)}, alone, to be reviewed afterwards"
    yield "what", paper.what
    if paper.context.executions > 1:
        yield "executions", f"{paper.context.executions:,}, each with parameters of its own"
    if len(context.parts) > 1:
        yield "parts", f"{len(context.parts)} statements: {', '.join(part.kind for part in context.parts)}"


def _notes(paper: Paper) -> Iterator[tuple[str, str]]:
    """Yield what the eye could miss."""
    values = ((f"the parameter {label}", text) for label, text in paper.bound)
    texts = (("it", paper.statement), *values, ("what it runs", paper.prepared or ""), ("the reason", paper.reason))
    for name, text in (*texts, *_names(paper.context)):
        yield from (("note", f"{name} holds {told}") for told in _strange(text))
    if paper.prepared is None and paper.context.runs_unseen:
        yield "note", "NOBODY CAN SEE WHAT IT RUNS: it executes a prepared statement whose text is not known"
    if paper.context.outside:
        yield (
            "note",
            "IT RUNS OUTSIDE ANY TRANSACTION: nothing can undo it, no transaction id tells its outcome",
        )
    if not paper.context.has_ceiling:
        yield "note", "ANY NUMBER OF ROWS MAY CHANGE: PostgreSQL does not count them, so no ceiling can be held"


def _names(context: Context) -> Iterator[tuple[str, str]]:
    """Yield the names that a person knows people and places by, each with what it is."""
    for what in ("person", "user", "application", "database", "role", "session_user", "search_path"):
        yield f"the {what}", getattr(context, what)
    yield "the relation", ", ".join(context.relations)


def _strange(text: str) -> Iterator[str]:
    """Yield which characters of a text do not show as themselves, and which may be taken for others."""
    found = Counter(text)
    hidden = {each: times for each, times in found.items() if each not in "\n\t" and visible(each) != each}
    foreign = {each: times for each, times in found.items() if not each.isascii() and each not in hidden}
    if hidden:
        yield f"characters that do not show as themselves and stand there as escapes: {_named(hidden)}"
    if foreign:
        yield f"characters outside ASCII, which may look like others: {_named(foreign)}"


def _named(found: dict[str, int]) -> str:
    """Return characters with their code points and how often they occur, plain letters last."""
    each = sorted(found.items(), key=lambda item: (item[0].isalpha(), item[0]))
    named = [f"{_drawn(character)}U+{ord(character):04X} ({times:,}x)" for character, times in each[:_MAX_NAMED]]
    more = [f"{len(each) - _MAX_NAMED:,} more"] if len(each) > _MAX_NAMED else []
    return ", ".join([*named, *more])


def _drawn(character: str) -> str:
    return f"{character} " if visible(character) == character else ""


def _measured(paper: Paper) -> Iterator[tuple[str, str]]:
    """Yield what the preview saw."""
    measured, rows = paper.measured, iter(paper.rows)
    if measured.statements:
        yield from _summed(paper)
    else:
        yield from preview_lines(measured)
    for each in measured.statements:
        yield "", ""
        yield from preview_lines(each, f"statement {each.place}", f"{_what(paper.context, each.place)}: ")
        yield from sample_lines(each.sample, list(islice(rows, each.sample.rows)) if each.sample else ())
    if measured.statements_more:
        yield "", ""
        yield (
            "preview",
            f"AND {counted(measured.statements_more, 'MORE STATEMENT', 'MORE STATEMENTS')} WITHOUT A PREVIEW",
        )
    if measured.statements:
        yield "", ""
    else:
        yield from sample_lines(measured.sample, list(rows))


def _summed(paper: Paper) -> Iterator[tuple[str, str]]:
    """Yield what the preview says of all statements together, and what an approval without a number allows."""
    measured, changing = paper.measured, len(paper.measured.statements) + paper.measured.statements_more
    yield from preview_lines(measured, what=f"{changing} statements that change something: ")
    if paper.context.has_ceiling and measured.bound is not None:
        others = f", and {row_count(measured.elsewhere)} in other tables" if measured.elsewhere else ""
        yield "ceiling", f"unless you name another: {row_count(measured.bound)} by all of them together{others}"
    elif paper.context.has_ceiling:
        yield "ceiling", "one number for all of them together, which you are asked for"


def _what(context: Context, place: int) -> str:
    """Return what the statement at a place of the text does to what."""
    if place > len(context.parts):
        return "NONE OF ITS TEXT"
    part = context.parts[place - 1]
    return on(part.kind, part.relations)


def _bound(paper: Paper) -> Iterator[tuple[str, str]]:
    """Yield what else a signature binds."""
    yield from (("also", f"{name} = {value}") for name, value in paper.unread)
    yield "ledger", paper.ledger
    yield "request", f"sha256:{paper.request_leaf}"
    yield "preview of it", f"sha256:{paper.preview_leaf}"
    yield "all of this", f"sha256:{paper.digest}"


def statement_lines(statement: str, width: int) -> Iterator[str]:
    """Yield a statement's lines behind their numbers, at most `width` columns each; blank runs are summed up."""
    lines = _lines(statement)
    digits = max(len(str(len(lines))), 4)
    for is_blank, run in groupby(_rows(lines, width, digits), key=lambda row: not row[1].strip(" ")):
        rows = list(run)
        yield from (f"{margin} {text}".rstrip(" ") for margin, text in (rows[:_MAX_BLANK] if is_blank else rows))
        if is_blank and len(rows) > _MAX_BLANK:
            yield f"{'':>{digits}} ~ {len(rows) - _MAX_BLANK:,} more blank lines"


def _lines(text: str) -> list[str]:
    """Return the lines of a text as PostgreSQL reads them: a carriage return, which stays, ends a `--` comment too."""
    return re.sub(r"\r(?!\n)", "\r\n", text).split("\n")


def _rows(lines: list[str], width: int, digits: int) -> Iterator[tuple[str, str]]:
    """Yield margin and text of each line, or of each part of one that is too wide."""
    for number, line in enumerate(lines, 1):
        margin = f"{number:>{digits}} |"
        for piece in pieces(visible(line.replace("\t", "    ")), width):
            yield margin, piece
            margin = f"{'':>{digits}} :"


def _extent(text: str) -> str:
    return f"{counted(len(_lines(text)), 'line')}, {counted(len(text.encode()), 'byte')}"


def span(length: timedelta) -> str:
    """Return a length of time in few characters: `31s`, `14:29`, `2h 05m`."""
    seconds = max(int(length.total_seconds()), 0)
    minutes, rest = divmod(seconds, 60)
    if minutes >= 60:
        return f"{minutes // 60}h {minutes % 60:02}m"
    return f"{minutes}:{rest:02}" if minutes else f"{rest}s"


def _block(paper: Paper) -> str:
    context = paper.context
    if context.block == "none":
        return "none: it runs in a transaction of its own"
    if context.block == "open":
        ran = counted(context.statements_before, "statement has", "statements have")
        return f"open, {ran} run in it: whether it stays is decided by the engineer's COMMIT"
    return context.block or "unknown"


def facts(paper: Paper, *, secrets: bool = False) -> dict[str, JSON]:
    """Return all of a request for `--json`: the bodies of its entries, the sealed texts, and the leaves.

    Secrets in texts are left out unless `secrets`.
    """
    shown = Shown(paper, 0) if secrets else without_secrets(paper)
    paper = shown.paper
    words = {name: getattr(paper.context, name) for name in ("why", "search_path", "application")}
    body = dict(paper.request.body)
    sealed: dict[str, JSON] = {} if paper.prepared is None else {"prepared": paper.prepared}
    if paper.parameters is not None:
        sealed["parameters"] = [{"name": name, "value": value} for name, value in paper.bound]
    if paper.rows:
        sealed["sample"] = [[in_json(value) for value in row] for row in paper.rows]
    return (
        body
        | {name: value for name, value in (words | dict(paper.unread)).items() if name in body}
        | {
            "request": paper.id,
            "state": "held",
            "ledger": paper.ledger,
            "session": paper.session,
            "asked_at": timestamp(paper.held_at),
            "statement": paper.statement,
            "hidden_secrets": shown.hidden,
            "hides_code": shown.hides_code,
            "reason": paper.reason,
            **sealed,
            **({"approved_by": [*paper.approved_by], "missing": paper.missing} if paper.approved_by else {}),
            "preview": _preview(paper),
            "request_leaf": paper.request_leaf,
            "preview_leaf": paper.preview_leaf,
            "context": paper.digest,
        }
    )


def _preview(paper: Paper) -> dict[str, JSON]:
    """Return the body of the preview with the reasons in it as they are shown."""
    body, measured = dict(paper.preview.body), paper.measured
    if measured.why:
        body["why"] = measured.why
    if isinstance(listed := body.get("statements"), list):
        shown = zip(listed, measured.statements, strict=True)
        body["statements"] = [
            dict(told) | ({"why": each.why} if each.why else {}) if isinstance(told, dict) else told
            for told, each in shown
        ]
    return body

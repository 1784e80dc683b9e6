"""An open request as an approver sees it: a believed `Paper` enters, lines that are safe for a terminal leave.

Everything that a signature will bind is shown, foreign text with its hidden characters escaped. Every line begins with
one of our own labels or with a margin, and every text is broken to the width that stands behind it: nothing that an
engineer or a server wrote can begin a line, and so none of it can imitate another field.

What matters most stands where the eye begins: first on a page that is read from its top, last, and next to the
question, on one that is read before an answer.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import chain, islice

from pgnotary.approval.papers import Context, Paper, on
from pgnotary.audit.words import counted, row_count
from pgnotary.cli.hidden import Shown, without_secrets
from pgnotary.cli.paper_notes import notes
from pgnotary.cli.preview_view import preview_lines
from pgnotary.cli.safe_text import one_line, phrases, visible
from pgnotary.cli.statement_view import extent, statement_lines
from pgnotary.judge.secrets import HIDDEN
from pgnotary.judge.statement import StatementClass

__all__ = ["MARGIN", "describe", "field", "span", "text_width", "time_left"]

MARGIN = 14
"""The columns of a label; a text stands behind them, in every line."""
_LEAST = 20
_USUAL = 100


def text_width(columns: int | None) -> int:
    """Return how wide a text may be on a page for a terminal of that many columns, or for no terminal."""
    return _USUAL if columns is None else max(columns - MARGIN, _LEAST)


def describe(paper: Paper, width: int = _USUAL, *, secrets: bool = False, asks: bool = False) -> Iterator[str]:
    """Yield the lines that show a request; no foreign text has more than `width` columns behind its margin.

    They are drawn from the document that a signature binds, and from nothing else: the same document is the same page,
    whenever it is drawn. The secrets in its texts are shown only with `secrets`; otherwise a line says how many are
    not. With `asks` a question follows.
    """
    shown = Shown(paper, 0) if secrets else without_secrets(paper)
    extents, paper = (extent(paper.statement), extent(paper.prepared or "")), shown.paper
    asked = _fields(_asked(paper), width)
    ran = _texts(paper, extents, width)
    seen = _fields(_measured(paper), width)
    warned = _fields(chain(_hidden(shown), notes(paper)), width)
    rest = _fields(_rest(paper), width)
    blocks = map(list, (rest, seen, ran, warned, asked) if asks else (asked, ran, seen, warned, rest))
    yield f"{paper.id}   held {paper.held_at:%Y-%m-%d %H:%M:%S} UTC, expires {paper.expires_at:%H:%M:%S}"
    for number, block in enumerate(filter(None, blocks)):
        if number:
            yield ""
        yield from block


def time_left(paper: Paper, now: datetime) -> str:
    """Return for how long a request can still be decided; it is no part of the page."""
    left = f"{span(paper.expires_at - now)} left to decide" if paper.expires_at > now else "its time has passed"
    approved = f"; approved by {', '.join(paper.approved_by)}; needs {paper.missing}" if paper.approved_by else ""
    return f"{paper.id}   {left}{visible(approved)}"


def _hidden(shown: Shown) -> Iterator[tuple[str, str]]:
    """Yield what is said of secrets that are not shown."""
    verb = "is" if shown.hidden == 1 else "are"
    if shown.hidden:
        yield (
            "secrets",
            f"{counted(shown.hidden, 'secret')} {verb} hidden, {HIDDEN} stands for each: the digest covers the full "
            "text, and so will your signature; --secrets shows it",
        )
    if shown.hides_code:
        yield "secrets", "PART OF WHAT RUNS IS HIDDEN WITH THEM: read it with --secrets first"


def _texts(paper: Paper, extents: tuple[str, str], width: int) -> Iterator[str]:
    """Yield what runs: the statement, what is bound to it, and the text behind a name in it; with how long each is."""
    yield f"{'statement':<{MARGIN}}{extents[0]}"
    yield from statement_lines(paper.statement, width)
    yield from _fields(paper.bound, width)
    if paper.prepared is not None:
        ends = StatementClass.TWO_PHASE in (paper.context.kind, *(part.kind for part in paper.context.parts))
        what = "the transaction that it ends" if ends else "what it runs, as it was prepared"
        yield f"{'prepared':<{MARGIN}}{what}: {extents[1]}"
        yield from statement_lines(paper.prepared, width)


def field(label: str, text: str, width: int) -> Iterator[str]:
    """Yield one of our labels and a text of whatever origin behind it, broken to `width` columns behind the margin."""
    first, *rest = phrases(visible(text), width)
    yield f"{label:<{MARGIN}}{first}".rstrip(" ")
    yield from (f"{':':>{MARGIN - 1}} {piece}".rstrip(" ") for piece in rest)


def _fields(fields: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    for label, text in fields:
        yield from field(label, text, width)


def _asked(paper: Paper) -> Iterator[tuple[str, str]]:
    """Yield who asks where for what, and why."""
    context = paper.context
    yield "person", context.person or "unknown"
    if context.user != context.person:
        yield "user", context.user or "unknown"
    yield "database", context.database or "unknown"
    yield "reason", one_line(paper.reason) or "(none given)"
    yield "what", paper.what
    if context.executions > 1:
        yield "executions", f"{context.executions:,}, each with parameters of its own"
    if len(context.parts) > 1:
        yield "parts", f"{len(context.parts)} statements: {', '.join(part.kind for part in context.parts)}"


def _measured(paper: Paper) -> Iterator[tuple[str, str]]:
    """Yield what the preview saw."""
    measured, rows = paper.measured, iter(paper.rows)
    if not measured.statements:
        yield from preview_lines(measured, list(rows))
        return
    yield from _summed(paper)
    for each in measured.statements:
        own = list(islice(rows, each.sample.rows)) if each.sample else []
        yield "", ""
        yield from preview_lines(each, own, f"statement {each.place}", f"{_what(paper.context, each.place)}: ")
    if measured.statements_more:
        yield "", ""
        yield (
            "preview",
            f"AND {counted(measured.statements_more, 'MORE STATEMENT', 'MORE STATEMENTS')} WITHOUT A PREVIEW",
        )


def _summed(paper: Paper) -> Iterator[tuple[str, str]]:
    """Yield what the preview says of all statements together, and what an approval without a number allows."""
    measured, changing = paper.measured, len(paper.measured.statements) + paper.measured.statements_more
    yield from preview_lines(measured, [], what=f"{changing} statements that change something: ")
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


def _rest(paper: Paper) -> Iterator[tuple[str, str]]:
    """Yield what else a signature binds."""
    context = paper.context
    yield "client", context.client or "unknown"
    yield "application", one_line(context.application) or "unknown"
    yield "role", context.role or "unknown"
    if context.session_user not in ("", context.role):
        yield "session_user", context.session_user
    yield "search_path", context.search_path or "unknown"
    if context.settings:
        yield "settings", "; ".join(f"{name} = {value}" for name, value in context.settings.items())
    yield "system", context.system_identifier or "unknown"
    yield "backend", str(context.upstream_pid)
    yield "session", paper.session or "unknown"
    yield "block", _block(context)
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
    yield from (("also", f"{name} = {value}") for name, value in paper.unread)
    yield "ledger", paper.ledger
    yield "request", f"sha256:{paper.request_leaf}"
    yield "preview of it", f"sha256:{paper.preview_leaf}"
    yield "all of this", f"sha256:{paper.digest}"


def span(length: timedelta) -> str:
    """Return a length of time in few characters: `31s`, `14:29`, `2h 05m`."""
    seconds = max(int(length.total_seconds()), 0)
    minutes, rest = divmod(seconds, 60)
    if minutes >= 60:
        return f"{minutes // 60}h {minutes % 60:02}m"
    return f"{minutes}:{rest:02}" if minutes else f"{rest}s"


def _block(context: Context) -> str:
    if context.block == "none":
        return "none: it runs in a transaction of its own"
    if context.block == "open":
        ran = counted(context.statements_before, "statement has", "statements have")
        return f"open, {ran} run in it: whether it stays is decided by the engineer's COMMIT"
    return context.block or "unknown"

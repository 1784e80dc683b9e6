"""An open request as an approver sees it: a believed `Paper` enters, lines that are safe for a terminal leave, or JSON.

Everything that a signature will bind is shown, foreign text with its hidden characters escaped. A statement stands
behind a margin of line numbers that nothing in it can imitate: its long lines are broken here and not by the terminal,
and runs of blank ones are told in one line, so that none of it can be pushed out of sight unsaid.
"""

import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby

from pgnotary.approval.papers import Measured, Paper
from pgnotary.cli.safe_text import visible
from pgnotary.ledger.canonical import JSON, timestamp

__all__ = ["TABLE_HEADINGS", "describe", "facts", "rows_in_words", "span", "statement_lines", "table_row", "who"]

TABLE_HEADINGS = ("ID", "AGE", "LEFT", "WHO", "DATABASE", "WHAT", "ROWS", "RULE")

_MAX_BLANK = 2
_WIDE = frozenset("WF")


def describe(paper: Paper, now: datetime, width: int = 100) -> Iterator[str]:
    """Yield the lines that show a request; no statement line has more than `width` columns behind the margin."""
    context = paper.context
    asked_at = paper.request.position.time
    left = f"{span(paper.expires_at - now)} left" if paper.expires_at > now else "which has passed"
    yield (
        f"{paper.id}   held {asked_at:%H:%M:%S} UTC, expires {paper.expires_at:%H:%M:%S} ({left})   "
        f"ledger {visible(paper.request.position.ledger)}"
    )
    yield f"who       {who(paper)}, from {_text(context.client)} with {_text(context.application)}"
    as_role = _text(context.role)
    if context.session_user not in ("", context.role):
        as_role += f" (logged in as {visible(context.session_user)})"
    yield f"where     database {_text(context.database)} as role {as_role}, search_path {_text(context.search_path)}"
    yield (
        f"          system {_text(context.system_identifier)}, backend {context.upstream_pid}, "
        f"session {_text(paper.request.session or '')}"
    )
    yield f"block     {_block(paper)}"
    yield f"reason    {visible(paper.reason) or '(none given)'}"
    yield f"rule      {_text(context.rule)}: {_text(context.why)}"
    yield f"          policy {_text(context.profile)} {_text(context.policy)}, needs {context.needs} approval"
    yield f"what      {visible(paper.what)}"
    yield ""
    yield from statement_lines(paper.statement, width)
    yield ""
    yield f"text      {_extent(paper)}"
    yield from _warnings(paper.statement)
    yield f"preview   {rows_in_words(paper.measured)}, {visible(paper.measured.status)}, {_took(paper.measured)}"
    if paper.measured.why:
        yield f"          {visible(paper.measured.why)}"
    for name, value in paper.unread:
        yield f"also      {visible(name)} = {visible(str(value))}"
    yield f"digest    request sha256:{paper.request.leaf.hex()}"
    yield f"          preview sha256:{paper.preview.leaf.hex()}"


def statement_lines(statement: str, width: int) -> Iterator[str]:
    """Yield a statement's lines behind their numbers, at most `width` columns each; blank runs are summed up."""
    digits = max(len(str(statement.count("\n") + 1)), 4)
    for is_blank, run in groupby(_rows(statement, width, digits), key=lambda row: not row[1].strip(" ")):
        rows = list(run)
        yield from (f"{margin} {text}".rstrip(" ") for margin, text in (rows[:_MAX_BLANK] if is_blank else rows))
        if is_blank and len(rows) > _MAX_BLANK:
            yield f"{'':>{digits}} ~ {len(rows) - _MAX_BLANK:,} more blank lines"


def _rows(statement: str, width: int, digits: int) -> Iterator[tuple[str, str]]:
    """Yield margin and text of each line, or of each part of one that is too wide."""
    for number, line in enumerate(statement.split("\n"), 1):
        margin = f"{number:>{digits}} |"
        for piece in _pieces(visible(line.replace("\t", "    ")), width):
            yield margin, piece
            margin = f"{'':>{digits}} :"


def _pieces(line: str, width: int) -> Iterator[str]:
    """Break a line so that no piece is wider than `width` columns; a combining mark counts as one."""
    start = columns = 0
    for at, character in enumerate(line):
        columns += _columns(character)
        if columns > width:
            yield line[start:at]
            start, columns = at, _columns(character)
    yield line[start:]


def _columns(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1


def _text(value: str) -> str:
    return visible(value) or "unknown"


def who(paper: Paper) -> str:
    """Return the person who asks, and the user they are logged in as."""
    person, user = paper.context.person, paper.context.user
    return _text(person) if user == person else f"{_text(person)} (user {_text(user)})"


def span(length: timedelta) -> str:
    """Return a length of time in few characters: `31s`, `14:29`, `2h 05m`."""
    seconds = max(int(length.total_seconds()), 0)
    minutes, rest = divmod(seconds, 60)
    if minutes >= 60:
        return f"{minutes // 60}h {minutes % 60:02}m"
    return f"{minutes}:{rest:02}" if minutes else f"{rest}s"


def rows_in_words(measured: Measured) -> str:
    """Return how many rows the preview saw, and how it knows."""
    of = f" of {measured.relation_rows:,}" if measured.relation_rows is not None else ""
    if measured.exact is not None:
        estimate = "" if measured.estimate is None else f", {measured.estimate:,} by the planner's estimate"
        return f"{measured.exact:,} rows{of} counted{estimate}"
    if measured.estimate is not None:
        return f"about {measured.estimate:,} rows{of} by the planner's estimate"
    return "rows unknown"


def _took(measured: Measured) -> str:
    return f"in {measured.took_us / 1_000:,.0f} ms"


def _block(paper: Paper) -> str:
    context = paper.context
    if context.block == "none":
        return "none: it runs in a transaction of its own"
    if context.block == "open":
        return (
            f"open, {context.statements_before} statements have run in it: whether it stays is decided by the "
            "engineer's COMMIT"
        )
    return _text(context.block)


def _extent(paper: Paper) -> str:
    lines = paper.statement.count("\n") + 1
    extent = f"{lines:,} line{'s' * (lines != 1)}, {paper.context.bytes:,} bytes"
    kinds = [visible(piece.kind) for piece in paper.context.parts]
    return extent if len(kinds) < 2 else f"{extent}, {len(kinds)} statements: {', '.join(kinds)}"


def _warnings(statement: str) -> Iterator[str]:
    """Yield what the eye could miss."""
    hidden = sum(visible(character) != character for character in set(statement) - {"\n", "\t"})
    if hidden:
        yield "note      it holds characters that do not show as themselves; they stand there as \\u{...}"
    foreign = sorted({character for character in statement if not character.isascii() and character.isalpha()})
    if foreign:
        named = ", ".join(f"{visible(character)} U+{ord(character):04X}" for character in foreign[:8])
        more = f" and {len(foreign) - 8} more" if len(foreign) > 8 else ""
        yield f"note      it holds letters outside ASCII, which may look like others: {named}{more}"


def table_row(paper: Paper, now: datetime) -> tuple[str, ...]:
    """Return the cells under TABLE_HEADINGS."""
    measured = paper.measured
    rows = f"{measured.exact:,}" if measured.exact is not None else "?"
    if measured.exact is None and measured.estimate is not None:
        rows = f"~{measured.estimate:,}"
    return (
        paper.id,
        span(now - paper.request.position.time),
        span(paper.expires_at - now),
        who(paper),
        visible(paper.context.database),
        visible(paper.what),
        rows,
        visible(paper.context.rule),
    )


def facts(paper: Paper) -> dict[str, JSON]:
    """Return all of a request for `--json`: the bodies of its entries, the sealed texts, and the leaves."""
    preview: dict[str, JSON] = dict(paper.preview.body)
    return dict(paper.request.body) | {
        "id": paper.id,
        "state": "held",
        "ledger": paper.request.position.ledger,
        "session": paper.request.session or "",
        "asked_at": timestamp(paper.request.position.time.astimezone(UTC)),
        "statement": paper.statement,
        "reason": paper.reason,
        "preview": preview,
        "request_leaf": paper.request.leaf.hex(),
        "preview_leaf": paper.preview.leaf.hex(),
    }

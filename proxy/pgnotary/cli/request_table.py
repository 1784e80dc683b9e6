"""Open requests as a table, a line for each: papers enter, lines that are safe for a terminal leave.

What we say ourselves keeps its columns whatever the engineers wrote: names are cut to a width, and what is left of the
line is for what is asked and the rule that held it.
"""

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime

from pgnotary.approval.papers import Measured, Paper
from pgnotary.cli.paper_view import span
from pgnotary.cli.safe_text import columns, cut, visible

__all__ = ["cells", "table_lines"]

_HEADINGS = ("ID", "AGE", "LEFT", "WHO", "DATABASE", "WHAT", "ROWS", "RULE")
_TO_THE_RIGHT = frozenset({"AGE", "LEFT", "ROWS"})
_WIDEST = {"WHO": 16, "DATABASE": 16}
_LEAST = 8
_GAP = "  "


def table_lines(papers: Sequence[Paper], now: datetime, width: int | None) -> Iterator[str]:
    """Yield the headings and a line for each request; with a width, no line has more columns."""
    rows = [_HEADINGS, *(cells(paper, now) for paper in papers)]
    widths = [max(columns(row[at]) for row in rows) for at in range(len(_HEADINGS))]
    if width is not None:
        widths = _narrowed(widths, width)
    for row, paper in zip(rows, (None, *papers), strict=True):
        shown = (
            _padded(cut(cell, room), room, to_the_right=heading in _TO_THE_RIGHT)
            for cell, room, heading in zip(row, widths, _HEADINGS, strict=True)
        )
        yield _GAP.join(shown).rstrip(" ")
        if paper is not None and not paper.quorum.is_usual:
            yield cut(f"{' ' * widths[0]}{_GAP}{_approvals(paper)}", width or sys.maxsize)


def _approvals(paper: Paper) -> str:
    """Return who has approved, and who still has to."""
    missing = " and ".join(each.words(paper.context.person) for each in paper.quorum.missing(paper.approved_by))
    had = f"approved by {', '.join(paper.approved_by)}, " if paper.approved_by else ""
    return visible(f"{had}needs {missing}")


def cells(paper: Paper, now: datetime) -> tuple[str, ...]:
    """Return the cells of a request, safe for a terminal, however long."""
    context, measured = paper.context, paper.measured
    who = context.person or context.user
    return (
        paper.id,
        span(now - paper.request.position.time),
        span(paper.expires_at - now),
        visible(who if context.user in ("", who) else f"{who} (user {context.user})"),
        visible(context.database),
        visible(paper.what),
        _rows(measured),
        visible(context.rule),
    )


def _rows(measured: Measured) -> str:
    if measured.exact is not None:
        return f"{measured.exact:,}"
    if measured.at_most is not None:
        return f"<={measured.at_most:,}"
    return f"~{measured.estimate:,}" if measured.estimate is not None else "?"


def _narrowed(widths: Sequence[int], width: int) -> list[int]:
    """Return widths that fit: names are cut first, then what is asked and the rule share the rest of the line."""
    known = {heading: min(room, _WIDEST.get(heading, room)) for heading, room in zip(_HEADINGS, widths, strict=True)}
    what, rule = known["WHAT"], known["RULE"]
    left = width - (sum(known.values()) - what - rule) - len(_GAP) * (len(_HEADINGS) - 1)
    known["RULE"] = max(min(rule, max(left // 3, left - what)), _LEAST)
    known["WHAT"] = max(min(what, left - known["RULE"]), _LEAST)
    return list(known.values())


def _padded(text: str, width: int, *, to_the_right: bool) -> str:
    space = " " * (width - columns(text))
    return space + text if to_the_right else text + space

"""Open requests in a line each, as a table or one by one: papers enter, lines that are safe for a terminal leave.

What we say ourselves keeps its columns whatever the engineers wrote; the rest of the line is shared by their names, of
which what is asked gets most. Whatever is cut says so.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from pgnotary.approval.papers import Measured, Paper
from pgnotary.cli.paper_view import span
from pgnotary.cli.safe_text import columns, cut, cut_before, visible
from pgnotary.cli.shared_lines import GAP, fair_widths

__all__ = ["cells", "held_line", "table_lines"]

_HEADINGS = ("ID", "AGE", "LEFT", "WHO", "DATABASE", "WHAT", "ROWS", "RULE")
_TO_THE_RIGHT = frozenset({"AGE", "LEFT", "ROWS"})
# Of what our own columns leave.
_PARTS = {"WHO": 1, "DATABASE": 1, "WHAT": 6, "RULE": 1}


def table_lines(papers: Sequence[Paper], now: datetime, width: int | None) -> Iterator[str]:
    """Yield the headings and a line for each request; with a width, no line has more columns."""
    width = width or sys.maxsize
    rows = [dict(zip(_HEADINGS, _HEADINGS, strict=True)), *(cells(paper, now) for paper in papers)]
    needs = {heading: max(columns(row[heading]) for row in rows) for heading in _HEADINGS}
    widths = _narrowed(needs, width - len(GAP) * (len(_HEADINGS) - 1))
    for row, paper in zip(rows, (None, *papers), strict=True):
        shown = (_padded(heading, _fitted(heading, cell, widths), widths[heading]) for heading, cell in row.items())
        yield cut(GAP.join(shown).rstrip(" "), width)
        if paper is not None and not paper.quorum.is_usual:
            yield cut(f"{' ' * widths['ID']}{GAP}{_approvals(paper)}", width)


def held_line(paper: Paper, now: datetime, width: int) -> str:
    """Return the line that tells that a request is held, in at most `width` columns."""
    row = cells(paper, now)
    rows = "row" if row["ROWS"].lstrip("<=~") == "1" else "rows"
    ours = [row["ID"], "held", f"{row['LEFT']} left", f"{row['ROWS']} {rows}"]
    theirs = {heading: row[heading] for heading in _PARTS}
    room = width - columns(GAP.join(ours)) - len(GAP) * len(theirs)
    widths = fair_widths({heading: columns(cell) for heading, cell in theirs.items()}, _PARTS, room)
    return cut(GAP.join([*ours, *(_fitted(heading, cell, widths) for heading, cell in theirs.items())]), width)


def _approvals(paper: Paper) -> str:
    """Return who has approved, and who still has to."""
    missing = " and ".join(each.words(paper.context.person) for each in paper.quorum.missing(paper.approved_by))
    had = f"approved by {', '.join(paper.approved_by)}, " if paper.approved_by else ""
    return visible(f"{had}needs {missing}")


def cells(paper: Paper, now: datetime) -> dict[str, str]:
    """Return the cells of a request by their headings, safe for a terminal, however long."""
    context, measured = paper.context, paper.measured
    who = context.person or context.user
    return {
        "ID": paper.id,
        "AGE": span(now - paper.request.position.time),
        "LEFT": span(paper.expires_at - now),
        "WHO": visible(who if context.user in ("", who) else f"{who} (user {context.user})"),
        "DATABASE": visible(context.database),
        "WHAT": visible(paper.what),
        "ROWS": _rows(measured),
        "RULE": visible(context.rule),
    }


def _rows(measured: Measured) -> str:
    if measured.exact is not None:
        return f"{measured.exact:,}"
    if measured.at_most is not None:
        return f"<={measured.at_most:,}"
    return f"~{measured.estimate:,}" if measured.estimate is not None else "?"


def _narrowed(needs: Mapping[str, int], room: int) -> dict[str, int]:
    """Return the widths of all columns: ours as they are, what they leave shared by the others."""
    ours = {heading: need for heading, need in needs.items() if heading not in _PARTS}
    theirs = {heading: needs[heading] for heading in _PARTS}
    return ours | fair_widths(theirs, _PARTS, room - sum(ours.values()))


def _fitted(heading: str, cell: str, widths: Mapping[str, int]) -> str:
    # Rules of one policy begin alike, with its name.
    shorten = cut_before if heading == "RULE" else cut
    return shorten(cell, widths[heading])


def _padded(heading: str, cell: str, width: int) -> str:
    space = " " * (width - columns(cell))
    return space + cell if heading in _TO_THE_RIGHT else cell + space

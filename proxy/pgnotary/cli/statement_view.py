"""A statement for a terminal: any text enters, numbered lines that are safe and fit leave, and none of it unsaid.

Every line stands behind its number, or behind a mark if it goes on from the line before, so that none of it can imitate
anything else. Runs of blank lines are told in one: none of it can be pushed out of sight.
"""

import re
from collections.abc import Iterator
from itertools import groupby

from pgnotary.audit.words import counted
from pgnotary.cli.safe_text import pieces, visible

__all__ = ["extent", "statement_lines"]

_MAX_BLANK = 2


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


def extent(text: str) -> str:
    """Return how long a text is."""
    return f"{counted(len(_lines(text)), 'line')}, {counted(len(text.encode()), 'byte')}"

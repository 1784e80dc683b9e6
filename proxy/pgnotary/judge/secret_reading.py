"""A text as secrets are looked for in it: bytes enter, statements of lexemes leave, and the comments beside them.

Nothing is judged here. A text that has no tokens raises Unreadable.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pgnotary.judge import grammar
from pgnotary.judge.grammar import Unreadable
from pgnotary.judge.literals import Lexeme, Sort, lexemes

__all__ = ["Cut", "Reading", "cut"]


@dataclass(frozen=True, slots=True)
class Cut:
    """A text cut into pieces."""

    statements: tuple[tuple[Lexeme, ...], ...]
    """The lexemes of each, without its semicolon."""
    comments: tuple[Lexeme, ...]


class Reading:
    """Whether PostgreSQL's grammar can read a text; asked of it once, and only if somebody needs to know."""

    def __init__(self, text: bytes, *, is_inside: bool) -> None:
        self._text = text
        # What stands inside a literal may be another language, whose mistakes are not known here.
        self._parses: bool | None = True if is_inside else None

    def __call__(self) -> bool:
        """Say whether it can."""
        if self._parses is None:
            try:
                grammar.parse(self._text)
                self._parses = True
            except Unreadable:
                self._parses = False
        return self._parses


def cut(text: bytes) -> Cut:
    """Return the statements and the comments of a text; raises Unreadable if it has no tokens."""
    found = lexemes(text)
    plain = [each for each in found if each.sort is not Sort.COMMENT]
    return Cut(tuple(_statements(plain)), tuple(each for each in found if each.sort is Sort.COMMENT))


def _statements(plain: Sequence[Lexeme]) -> list[tuple[Lexeme, ...]]:
    statements: list[tuple[Lexeme, ...]] = []
    start = 0
    for place, each in enumerate(plain):
        if each.sort is Sort.MARK and each.value == ";":
            statements.append(tuple(plain[start:place]))
            start = place + 1
    return [*statements, tuple(plain[start:])]

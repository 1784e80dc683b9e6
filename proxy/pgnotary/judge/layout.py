"""What stands where in a statement: its lexemes enter, its words, brackets, items and values leave.

It knows SQL by its words, not by its grammar, so that a text with a mistake in it is read like one without. No text
takes longer to read than anybody may be made to wait: one that is made to is given up with `Tiresome`.
"""

from collections.abc import Iterator, Sequence

from pgnotary.judge.literals import Lexeme, Sort

__all__ = ["CLOSING", "ENDS_NAME", "OPENING", "Layout", "Tiresome"]

OPENING, CLOSING = frozenset("(["), frozenset(")]")
# Words behind which a name has no value any more.
ENDS_NAME = frozenset(
    """
    and as by cascade else end except for from group having intersect into join limit loop offset on or order returning
    select set then union using values when where window with
    """.split()
)
_ENDS_VALUE = ENDS_NAME - {"as", "by", "end", "into", "select", "set", "values", "with"} | {"as"}
_BEGINS_VALUE = _ENDS_VALUE | frozenset({"by", "distinct", "into", "not", "select", "set", "values", "with"})
_NOT_CALLED = frozenset("table into exists on update join from index only type domain view truncate".split())
# How many words may be looked at: ordinary statements take 3 to 10 for each of theirs, a million take a second.
_EFFORT, _EFFORT_EACH = 20_000, 40


class Tiresome(Exception):
    """A statement that takes more time than anybody may be made to wait."""


class Layout:
    """The lexemes of one statement by their places, and how they hang together."""

    def __init__(self, lexemes: Sequence[Lexeme]) -> None:
        self.lexemes = lexemes
        self._effort = _EFFORT + _EFFORT_EACH * len(lexemes)
        self._closes: dict[int, int] = {}
        self.opens: dict[int, int] = {}
        """Of each bracket that closes another: where that stands."""
        self.around: list[int | None] = []
        """Of each lexeme: the bracket that it stands in."""
        self._pair_brackets()

    def _pair_brackets(self) -> None:
        opened: list[int] = []
        for i in range(len(self.lexemes)):
            word = self.word(i)
            if word in CLOSING and opened:
                self.opens[i] = opened.pop()
                self._closes[self.opens[i]] = i
            self.around.append(opened[-1] if opened else None)
            if word in OPENING:
                opened.append(i)

    def word(self, i: int) -> str:
        """Return the word, folded, or the mark at a place; "" beyond the end, and for literals."""
        self._effort -= 1
        if self._effort < 0:
            raise Tiresome
        if not 0 <= i < len(self.lexemes) or self.lexemes[i].sort not in (Sort.WORD, Sort.MARK):
            return ""
        return "" if self.lexemes[i].quoted else self.lexemes[i].value

    def is_a(self, i: int, *sorts: Sort) -> bool:
        """Say whether a lexeme of one of these sorts stands at a place."""
        return 0 <= i < len(self.lexemes) and self.lexemes[i].sort in sorts

    def closing(self, opening: int) -> int:
        """Return where the bracket closes that opens there, or the end."""
        return self._closes.get(opening, len(self.lexemes))

    def items(self, opening: int) -> Iterator[range]:
        """Yield the places of each item of a list in brackets."""
        closing = self.closing(opening)
        depth, start = 0, opening + 1
        for i in range(opening + 1, closing):
            depth += (self.word(i) in OPENING) - (self.word(i) in CLOSING)
            if depth == 0 and self.word(i) == ",":
                yield range(start, i)
                start = i + 1
        yield range(start, closing)

    def is_call(self, i: int) -> bool:
        """Say whether a word is a function's name, and its arguments follow."""
        if not self.is_a(i, Sort.WORD) or self.word(i + 1) != "(":
            return False
        before = i - 1
        while self.word(before) == "." and self.is_a(before - 1, Sort.WORD):
            before -= 2
        return self.word(before) not in _NOT_CALLED

    def end_of_value(self, start: int) -> int:
        """Return where the value ends that begins there."""
        end = start
        stack: list[str] = []
        while end < len(self.lexemes):
            word = self.word(end)
            if word in OPENING or word == "case":
                stack.append(word)
            elif word in CLOSING or word == "end":
                if not stack:
                    break
                stack.pop()
            elif not stack and (word == "," or word in _ENDS_VALUE):
                break
            end += 1
        return end

    def begin_of_value(self, end: int) -> int:
        """Return where the value begins that ends before `end`."""
        begin = end
        while begin > 0:
            word = self.word(begin - 1)
            if word in CLOSING and begin - 1 in self.opens:
                begin = self.opens[begin - 1]
            elif word in OPENING or word == "," or word in _BEGINS_VALUE:
                break
            else:
                begin -= 1
        return begin

    def end_of_list(self, at: int) -> int:
        """Return where the list of a SELECT in brackets ends."""
        while at < len(self.lexemes) and self.word(at) not in (*CLOSING, "from", "where"):
            at = self.closing(at) + 1 if self.word(at) in OPENING else at + 1
        return at

    def is_alias(self, i: int) -> bool:
        """Say whether a word may be the name of the value before it."""
        return self.word(i - 1) not in (".", ",", "(") and self.word(i + 1) in ("", ",", ")", "from", "where")

    def is_distinct(self, i: int) -> bool:
        """Say whether IS [NOT] DISTINCT FROM begins there."""
        return self.word(i) == "is" and "distinct" in (self.word(i + 1), self.word(i + 2))

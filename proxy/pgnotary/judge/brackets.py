"""What the brackets of a text may cost the second reader.

The marks of a text in order enter, brackets as their ASCII codes, 0 for all else; how deep they are nested leaves, and
how much effort they are. A unit of effort is 10 to 30 us of sqlglot's time; no query of psql's own has more than 150.
sqlglot doubles its time with each level of ARRAY[ARRAY[... (14 ms at 8 levels, 7.5 s at 20); below that depth, too,
16 KB of such nests side by side took it 5 s, and of subscripts in a row (a[1][1]...) minutes.
"""

from collections.abc import Iterable

__all__ = ["effort"]

_DOUBLINGS = 8
_OPENING = frozenset(b"([")
_CLOSING = frozenset(b")]")
_SUBSCRIPT, _CLOSED = b"[]"


def effort(marks: Iterable[int]) -> tuple[int, int]:
    """Return the depth of the deepest bracket, and the effort of all."""
    depth = deepest = total = subscripts = 0
    before = 0
    for mark in marks:
        if mark in _OPENING:
            depth += 1
            deepest = max(deepest, depth)
            subscripts += mark == _SUBSCRIPT and before == _CLOSED
            total += (1 << min(depth, _DOUBLINGS)) + subscripts
        elif mark in _CLOSING:
            depth = max(depth - 1, 0)
        before = mark
    return deepest, total

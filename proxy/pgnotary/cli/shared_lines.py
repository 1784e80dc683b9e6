"""How texts share the lines of a terminal: their widths enter, and the columns that each gets leave; or the texts, and
the lines that they fill.

No text takes the room of the others, however long it is: what one does not need of its part is shared by those that
need more; and where nothing may be cut, what does not fit goes on below, never at the left edge.
"""

from collections.abc import Iterator, Mapping, Sequence

from pgnotary.cli.safe_text import broken, columns

__all__ = ["GAP", "fair_widths", "flowing"]

GAP = "  "
_LEAST = 6
_DEEPEST = 12


def fair_widths(needs: Mapping[str, int], parts: Mapping[str, int], room: int) -> dict[str, int]:
    """Return the columns that each text gets of `room`, by its name: as many as it needs, or in proportion to `parts`.

    Each gets 6 if it needs them, even if there is no room.
    """
    widths = {name: min(need, _LEAST) for name, need in needs.items()}
    lacks = {name: need - widths[name] for name, need in needs.items()}
    room, left = max(room - sum(widths.values()), 0), sum(parts[name] for name in needs)
    # Who needs least for its part first: what it leaves is there for the next.
    for name in sorted(needs, key=lambda each: lacks[each] / parts[each]):
        more = min(lacks[name], room * parts[name] // left)
        widths[name], room, left = widths[name] + more, room - more, left - parts[name]
    return widths


def flowing(first: str, others: Sequence[str], room: int | None) -> Iterator[str]:
    """Yield the lines of visible texts that stand one behind the other, the first alone at the left edge.

    No line has more than `room` columns; without one there is one line.
    """
    margin, line = " " * min(columns(first), _DEEPEST), first
    for text in others:
        if room is not None and line != margin and columns(line) + len(GAP) + columns(text) > room:
            yield from broken(line, room, f"{margin}{GAP * 2}").split("\n")
            line = margin
        line += GAP + text
    yield from broken(line, room, f"{margin}{GAP * 2}").split("\n")

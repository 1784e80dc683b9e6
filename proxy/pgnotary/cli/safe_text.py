"""Foreign text for a terminal: any text enters, one that shows every character it holds leaves, and keeps to its place.

What an engineer, a server or a proxy sent may hold escape sequences that move the cursor, marks that turn the reading
direction or sit on another character, or characters that are drawn as nothing: none of them reaches a terminal, each is
shown as `\\u{...}` with its code point in hex. Different texts stay different: a backslash that would begin such an
escape is escaped itself. A text that is too long for its line is broken or cut here: a terminal would go on at the left
edge, where our own words stand. Characters that merely look alike (a Cyrillic o in a name) are not told apart here.
"""

import re
import unicodedata
from collections.abc import Iterator

__all__ = ["broken", "columns", "cut", "cut_before", "one_line", "phrases", "pieces", "visible"]

# Controls, formats (bidi marks, zero widths, tags), surrogates, private use, unassigned, line and paragraph separators,
# every space that is not the space, and the marks that are drawn over the character before them.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs", "Mn", "Me"})

# Letters and symbols that are drawn as nothing, everywhere or in many fonts: Unicode's Default_Ignorable_Code_Point
# outside the categories above, the empty Braille cell, the half fill space, the Lisu full stop, blank hieroglyphs,
# the null notehead.
_BLANK = frozenset({0x115F, 0x1160, 0x2800, 0x303F, 0x3164, 0xA4FF, 0xFFA0, 0x1D159}).union(range(0x13441, 0x13447))

_TAB = "    "
_WIDE = frozenset("WF")
_CUT = "…"
_NARROW = 20


def visible(text: str, *, lines: bool = False) -> str:
    """Return `text` with all that a terminal would not show as itself escaped.

    With `lines`, newlines stay and a tab becomes four spaces.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    shown = text.replace("\\u{", "\\u{5c}u{")
    return "".join(_shown(character, lines=lines) for character in shown)


def one_line(text: str) -> str:
    """Return `text` with each run of spaces as one: padding says nothing, and pushes what follows it out of sight."""
    return re.sub(" {2,}", " ", text)


def columns(text: str) -> int:
    """Return how many columns a terminal gives a visible text."""
    return sum(2 if unicodedata.east_asian_width(character) in _WIDE else 1 for character in text)


def pieces(text: str, width: int) -> Iterator[str]:
    """Break a visible text so that no piece has more than `width` columns; an empty one is one piece."""
    start = taken = 0
    for at, character in enumerate(text):
        taken += columns(character)
        if taken > width:
            yield text[start:at]
            start, taken = at, columns(character)
    yield text[start:]


def phrases(text: str, width: int) -> Iterator[str]:
    """Break a visible text as `pieces` does, but before a space if one stands in the last third of the line.

    The space stays, so that a word that was broken cannot be taken for two.
    """
    start = 0
    while start + len(piece := next(pieces(text[start : start + width + 1], width))) < len(text):
        space = text.rfind(" ", start + len(piece) * 2 // 3, start + len(piece) + 1)
        end = start + len(piece) if space <= start else space
        yield text[start:end]
        start = end
    yield piece


def broken(text: str, width: int | None, margin: str = "  ") -> str:
    """Return a visible text in lines of at most `width` columns, all but the first behind a margin; None: in one."""
    if width is None or columns(text) <= width:
        return text
    return f"\n{margin}".join(phrases(text, max(width - len(margin), _NARROW)))


def cut(text: str, width: int) -> str:
    """Return as much of a visible text as `width` columns hold, with a sign at its end if that is not all."""
    if columns(text) <= width:
        return text
    return next(pieces(text, max(width - 1, 1))) + _CUT


def cut_before(text: str, width: int) -> str:
    """Return as much of a visible text's end as `width` columns hold, behind a sign if that is not all."""
    if columns(text) <= width:
        return text
    return _CUT + next(pieces(text[::-1], max(width - 1, 1)))[::-1]


def _shown(character: str, *, lines: bool) -> str:
    if lines and character in "\n\t":
        return "\n" if character == "\n" else _TAB
    if character == " " or (unicodedata.category(character) not in _HIDDEN and ord(character) not in _BLANK):
        return character
    return f"\\u{{{ord(character):x}}}"

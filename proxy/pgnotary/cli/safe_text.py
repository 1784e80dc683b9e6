"""Foreign text for a terminal: any text enters, one that shows every character it holds leaves.

What an engineer, a server or a proxy sent may hold escape sequences that move the cursor, marks that turn the reading
direction, or characters without width: none of them reaches a terminal, each is shown as `\\u{...}` with its code point
in hex. Different texts stay different: a backslash that would begin such an escape is escaped itself. Characters that
merely look alike (a Cyrillic o in a name) are not told apart here.
"""

import unicodedata

__all__ = ["visible"]

# Controls, formats (bidi marks, zero widths, tags), surrogates, private use, unassigned, line and paragraph separators,
# and every space that is not the space.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})

# Letters and marks that are drawn as nothing: Unicode's Default_Ignorable_Code_Point outside the categories above, and
# the empty Braille cell.
_BLANK = frozenset({0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0}).union(
    range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)
)

_TAB = "    "


def visible(text: str, *, lines: bool = False) -> str:
    """Return `text` with all that a terminal would not show as itself escaped.

    With `lines`, newlines stay and a tab becomes four spaces.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    shown = text.replace("\\u{", "\\u{5c}u{")
    return "".join(_shown(character, lines=lines) for character in shown)


def _shown(character: str, *, lines: bool) -> str:
    if lines and character in "\n\t":
        return "\n" if character == "\n" else _TAB
    if character == " " or (unicodedata.category(character) not in _HIDDEN and ord(character) not in _BLANK):
        return character
    return f"\\u{{{ord(character):x}}}"

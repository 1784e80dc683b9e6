"""The gate before any parser: what is not even worth reading with certainty.

The bytes of a Query's text enter; the same text as `str` leaves with its tokens, or a reason why no reader may be
trusted with it. Both readers assume UTF-8 and agree on white space only inside ASCII: a text that uses anything else
outside literals and comments is held, whatever it seems to say (U+2028 before `$$` made one reader see a string where
the server saw a second statement).
"""

import unicodedata

from pgnotary.errors import InvalidText
from pgnotary.judge.grammar import Token, Unreadable, scan

__all__ = ["MAX_JUDGED_BYTES", "decode", "tokens_of"]

# A longer text would stall the event loop (sqlglot: 13 ms for 32 KB); until it is parsed elsewhere it is held unread.
MAX_JUDGED_BYTES = 16_384

_PLAIN_SPACE = frozenset("\t\n\r\f ")
_OPAQUE = frozenset({"SCONST", "USCONST", "BCONST", "XCONST", "C_COMMENT", "SQL_COMMENT"})


def decode(text: bytes) -> str:
    """Return the text; raises InvalidText (the server's own 22021) if it is not UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise InvalidText(
            f'invalid byte sequence for encoding "UTF8": 0x{text[error.start : error.end].hex()} at byte {error.start}'
        ) from error


def tokens_of(text: bytes) -> tuple[Token, ...]:
    """Return the tokens of a text that may be read; raises Unreadable with the reason otherwise."""
    if len(text) > MAX_JUDGED_BYTES:
        raise Unreadable(f"is {len(text)} bytes long; at most {MAX_JUDGED_BYTES} are read")
    tokens = scan(text)
    opaque = [token for token in tokens if token.name in _OPAQUE]
    at = 0
    for token in opaque:
        _refuse_odd_characters(text[at : token.start])
        at = token.end
    _refuse_odd_characters(text[at:])
    return tokens


def _refuse_odd_characters(plain: bytes) -> None:
    if plain.isascii() and plain.decode().isprintable():
        return
    for character in plain.decode():
        if character not in _PLAIN_SPACE and unicodedata.category(character)[0] in "CZ":
            raise Unreadable(f"has U+{ord(character):04X} outside a literal, which readers take differently")

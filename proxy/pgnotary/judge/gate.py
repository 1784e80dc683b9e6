"""The gate before any parser: what is not even worth reading with certainty.

The bytes of a Query's text enter; the same text as `str` leaves with its tokens, or a reason why no reader may be
trusted with it. Both readers assume UTF-8 and agree on white space only inside ASCII: a text that uses anything else
outside literals and comments is held, whatever it seems to say (U+2028 before `$$` made one reader see a string where
the server saw a second statement).
"""

import re
import unicodedata

from pgnotary.errors import InvalidText
from pgnotary.judge.grammar import Token, Unreadable, scan

__all__ = ["MAX_JUDGED_BYTES", "decode", "first_word", "tokens_of"]

# A longer text would stall the event loop (sqlglot: 13 ms for 32 KB); until it is parsed elsewhere it is held unread.
MAX_JUDGED_BYTES = 16_384

_PLAIN_SPACE = frozenset("\t\n\r\f ")
# White space in scan.l; \v is one since PostgreSQL 16.
_SPACE = frozenset((b" ", b"\t", b"\n", b"\r", b"\f", b"\v"))
_WORD = re.compile(rb"[A-Za-z_]+")
_COMMENT_MARK = re.compile(rb"/\*|\*/")
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


def first_word(text: bytes) -> str:
    """Return the first keyword or name of a text as the server's lexer would find it, in lower case; "" for others.

    For texts that nobody can read: comments are skipped as scan.l does, nested ones too.
    """
    at = 0
    while at < len(text):
        if text[at : at + 1] in _SPACE or text[at : at + 1] == b";":
            at += 1
        elif text.startswith(b"--", at):
            # Either of the two ends the comment.
            at = min((end for end in (text.find(b"\n", at), text.find(b"\r", at)) if end >= 0), default=len(text))
        elif text.startswith(b"/*", at):
            at = _end_of_comment(text, at)
        else:
            break
    word = _WORD.match(text, at)
    return word[0].decode().lower() if word else ""


def _end_of_comment(text: bytes, at: int) -> int:
    depth = 0
    for mark in _COMMENT_MARK.finditer(text, at):
        depth += 1 if mark[0] == b"/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)


def _refuse_odd_characters(plain: bytes) -> None:
    if plain.isascii() and plain.decode().isprintable():
        return
    for character in plain.decode():
        if character not in _PLAIN_SPACE and unicodedata.category(character)[0] in "CZ":
            raise Unreadable(f"has U+{ord(character):04X} outside a literal, which readers take differently")

"""The gate before any parser: what is not even worth reading with certainty.

The bytes of a Query's text enter; the same text as `str` leaves with its tokens, or a reason why no reader may be
trusted with it. Both readers assume UTF-8 and agree on white space only inside ASCII: a text that uses anything else
outside literals and comments is held, whatever it seems to say (U+2028 before `$$` made one reader see a string where
the server saw a second statement).
"""

import re
import string
import unicodedata
from itertools import islice

from pgnotary.errors import InvalidText
from pgnotary.judge.brackets import effort
from pgnotary.judge.grammar import Token, Unreadable, scan

__all__ = ["MAX_JUDGED_BYTES", "UNSEEN", "decode", "first_word", "needs_worker", "tokens_of"]

# What a session takes as one message: no longer text ever comes.
MAX_JUDGED_BYTES = 1 << 20

# Reading takes 6 to 20 us a token, so that these cost an event loop milliseconds, and a literal of that size nothing.
# The longest query of psql's own has 651 tokens in 3,029 bytes, and brackets worth 144.
_MAX_BYTES_ON_THE_LOOP = 16_384
_MAX_TOKENS_ON_THE_LOOP = 1_200
_MAX_EFFORT_ON_THE_LOOP = 400

UNSEEN = "/*"
"""What a text begins with whose first word is hidden behind too many comments."""

_MAX_COMMENT_MARKS = 1_000

_PLAIN_SPACE = frozenset("\t\n\r\f ")
# White space in scan.l (\v is one since PostgreSQL 16), and empty statements.
_GAP = re.compile(rb"[\t\n\r\f\v ;]*")
_WORD = re.compile(rb"[A-Za-z_]+")
_LINE = re.compile(rb"[^\n\r]*")
_COMMENT_MARK = re.compile(rb"/\*|\*/")
_BRACKETS = re.compile(rb"[()\[\]]+")
# Each may be a token of its own: an underscore is one only in a name.
_MARKS = string.punctuation.replace("_", "").encode()
_MARKS_AS_SPACES = bytes.maketrans(_MARKS, b" " * len(_MARKS))
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


def needs_worker(text: bytes) -> bool:
    """Say whether an event loop must not read that text: reading it may take more than a few milliseconds.

    Says it of more texts than it must: what looks like tokens and brackets inside a literal is counted too. A closing
    bracket in a literal may hide how deep a nest is; what is then read on the loop is short, and the bounds of the
    second reader there count tokens.
    """
    if len(text) > _MAX_BYTES_ON_THE_LOOP:
        return True
    words = text.translate(_MARKS_AS_SPACES)
    if len(text) - len(text.translate(None, _MARKS)) + len(words.split()) > _MAX_TOKENS_ON_THE_LOOP:
        return True
    openings = text.count(b"(") + text.count(b"[")
    # Seven brackets, each in the one before it, are worth 254.
    return openings > 7 and effort(_brackets(text))[1] > _MAX_EFFORT_ON_THE_LOOP


def _brackets(text: bytes) -> bytes:
    """Return the brackets, with a NUL wherever something stands between two of them."""
    return b"\0".join(_BRACKETS.findall(text.translate(None, b"\t\n\r\f\v ")))


def first_word(text: bytes) -> str:
    """Return the first keyword or name of a text as the server's lexer would find it, in lower case; "" for others.

    For texts that nobody can read: comments are skipped as scan.l does, nested ones too; UNSEEN if there are too many.
    """
    at = marks = 0
    while marks < _MAX_COMMENT_MARKS:
        at = _after(_GAP, text, at)
        if text.startswith(b"--", at):
            # A new line and a carriage return each end the comment.
            at = _after(_LINE, text, at)
            marks += 1
        elif text.startswith(b"/*", at):
            at, passed = _end_of_comment(text, at, _MAX_COMMENT_MARKS - marks)
            marks += passed
        else:
            word = _WORD.match(text, at)
            return word[0].decode().lower() if word else ""
    return UNSEEN


def _after(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _end_of_comment(text: bytes, at: int, most: int) -> tuple[int, int]:
    """Return where the comment ends, and how many marks it has; beyond `most` of them nobody looks."""
    depth = count = 0
    for count, mark in enumerate(islice(_COMMENT_MARK.finditer(text, at), most), start=1):
        depth += 1 if mark[0] == b"/*" else -1
        if depth == 0:
            return mark.end(), count
    return len(text), count


def _refuse_odd_characters(plain: bytes) -> None:
    if plain.isascii() and plain.decode().isprintable():
        return
    for character in plain.decode():
        if character not in _PLAIN_SPACE and unicodedata.category(character)[0] in "CZ":
            raise Unreadable(f"has U+{ord(character):04X} outside a literal, which readers take differently")

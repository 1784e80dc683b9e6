"""A text's tokens with what they mean: words folded, literals decoded, comments apart.

Bytes that PostgreSQL's lexer can cut enter, `Lexeme`s leave, or Unreadable. Literals of every form are decoded as the
server does; what is not a proper escape stays as it is written, because here a value is only looked at.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from pgnotary.judge import grammar
from pgnotary.judge.grammar import Token, Unreadable

__all__ = ["Lexeme", "Sort", "code_of", "lexemes", "literal_value"]


class Sort(Enum):
    """What a lexeme is."""

    WORD = "a keyword or an identifier"
    STRING = "a literal in quotes"
    NUMBER = "a number"
    PARAMETER = "$1"
    MARK = "an operator or a bracket"
    COMMENT = "a comment"


@dataclass(frozen=True, slots=True)
class Lexeme:
    """One token, or a literal of several; `start` and `end` are byte offsets."""

    start: int
    end: int
    sort: Sort
    value: str
    """Of a word its folded name, of a literal what it says, of all others what is written."""
    quoted: bool = False
    """A word that was written in double quotes."""
    places: tuple[tuple[int, int], ...] = ()
    """Of a literal: where its pieces stand; comments may stand between them."""


_STRINGS = frozenset({"SCONST", "USCONST", "BCONST", "XCONST"})
_COMMENTS = frozenset({"C_COMMENT", "SQL_COMMENT"})
_NUMBERS = frozenset({"ICONST", "FCONST"})
_NAMES = frozenset({"IDENT", "UIDENT"})

_COMMENT_MARK = re.compile(rb"/\*|\*/")
_OPAQUE = re.compile(
    rb"(?s)(?<![\w\x80-\xff$])[Ee]'(?:[^'\\]|\\.|'')*'|'[^']*'|\"[^\"]*\"|(?P<comment>--[^\r\n]*|/\*)"
    rb"|(?<![\w\x80-\xff$])(?P<tag>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$)"
)
_PIECE = re.compile(r"'((?:[^']|'')*)'")
_ESCAPED_PIECE = re.compile(r"'((?:[^'\\]|''|\\[\s\S])*)'")
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-7]{1,3})|([\s\S]))")
_PLAIN_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_DOLLAR = re.compile(r"\$[^$\s]*\$")


def lexemes(text: bytes) -> list[Lexeme]:
    """Return the lexemes of a text, all comments first; raises Unreadable if it cannot be cut into tokens."""
    found: list[Lexeme] = []
    if b"\0" in text:
        raise Unreadable("holds a NUL, behind which libpg_query reads nothing")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise Unreadable("is not UTF-8") from error
    if text.count(b"/*") > grammar.MAX_COMMENT_DEPTH:
        found, text = _comments_apart(text)
    tokens = grammar.scan(text)
    found += [_plain(text, token) for token in tokens if token.name in _COMMENTS]
    # Comments say nothing, not even between the pieces of one literal.
    tokens = tuple(token for token in tokens if token.name not in _COMMENTS)
    at = 0
    while at < len(tokens):
        taken, lexeme = _literal(text, tokens, at) if tokens[at].name in _STRINGS else (1, _plain(text, tokens[at]))
        found.append(lexeme)
        at += taken
    return found


def _comments_apart(text: bytes) -> tuple[list[Lexeme], bytes]:
    """Return the comments of a text that has too many for libpg_query, and the text with spaces in their places."""
    comments: list[Lexeme] = []
    plain = bytearray(text)
    at = 0
    while found := _OPAQUE.search(text, at):
        start, at = found.span()
        if found["tag"]:
            end = text.find(found["tag"], at)
            at = len(text) if end < 0 else end + len(found["tag"])
        elif found["comment"]:
            at = _end_of_comment(text, start) if found["comment"] == b"/*" else at
            plain[start:at] = b" " * (at - start)
            comments.append(Lexeme(start, at, Sort.COMMENT, text[start:at].decode(errors="replace")))
    return comments, bytes(plain)


def _end_of_comment(text: bytes, at: int) -> int:
    depth = 0
    for mark in _COMMENT_MARK.finditer(text, at):
        depth += 1 if mark[0] == b"/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)


def _plain(text: bytes, token: Token) -> Lexeme:
    written = text[token.start : token.end].decode()
    if token.name in _COMMENTS:
        return Lexeme(token.start, token.end, Sort.COMMENT, written)
    if token.name in _NUMBERS:
        return Lexeme(token.start, token.end, Sort.NUMBER, written)
    if token.name == "PARAM":
        return Lexeme(token.start, token.end, Sort.PARAMETER, written)
    if token.name in _NAMES and written.endswith('"'):
        value = written[written.index('"') + 1 : -1].replace('""', '"')
        value = _unicode(value, "\\") if token.name == "UIDENT" else value
        return Lexeme(token.start, token.end, Sort.WORD, value, quoted=True)
    if written[0].isalpha() or written[0] == "_":
        return Lexeme(token.start, token.end, Sort.WORD, written.lower())
    return Lexeme(token.start, token.end, Sort.MARK, written)


def _literal(text: bytes, tokens: Sequence[Token], at: int) -> tuple[int, Lexeme]:
    """Return how many tokens a literal takes, and the literal: its continuations and its UESCAPE belong to it."""
    end = at + 1
    while end < len(tokens) and tokens[end].name in _STRINGS:
        end += 1
    pieces, escape = tokens[at:end], "\\"
    places = [(piece.start, piece.end) for piece in pieces]
    if [token.name for token in tokens[end : end + 2]] == ["UESCAPE", "SCONST"]:
        last = tokens[end + 1]
        escape = _read(text, last.start, last.end, escape) or escape
        places[-1] = (places[-1][0], last.end)
        end += 2
    value = "".join(_read(text, piece.start, piece.end, escape) for piece in pieces)
    return end - at, Lexeme(places[0][0], places[-1][1], Sort.STRING, value, places=tuple(places))


def _read(text: bytes, start: int, end: int, escape: str) -> str:
    return literal_value(text[start:end].decode(errors="replace"), escape)


def literal_value(written: str, escape: str = "\\") -> str:
    """Return what a literal says, in whatever form it is written."""
    if opening := _DOLLAR.match(written):
        return written[opening.end() : -opening.end()]
    prefix = written[: written.find("'")].upper()
    if prefix == "E":
        return _ESCAPE.sub(_escaped, "".join(_ESCAPED_PIECE.findall(written)).replace("''", "'"))
    value = "".join(_PIECE.findall(written)).replace("''", "'")
    return _unicode(value, escape) if prefix == "U&" else value


def code_of(text: bytes, literal: Lexeme) -> int | None:
    """Return where the text inside a dollar-quoted literal begins, in bytes; None for one in other quotes."""
    opening = _DOLLAR.match(text[literal.start : literal.end].decode(errors="replace"))
    return literal.start + len(opening[0].encode()) if opening and len(literal.places) == 1 else None


def _escaped(found: re.Match[str]) -> str:
    two, four, eight, octal, other = found.groups()
    if other is not None:
        return _PLAIN_ESCAPES.get(other, other)
    return _character(int(two or four or eight or "0", 16) if octal is None else int(octal, 8))


def _unicode(value: str, escape: str) -> str:
    mark = re.escape(escape)
    pattern = rf"{mark}(?:({mark})|\+([0-9A-Fa-f]{{6}})|([0-9A-Fa-f]{{4}}))"
    return re.sub(pattern, lambda found: found[1] or _character(int(found[2] or found[3], 16)), value)


def _character(code: int) -> str:
    # Half of a surrogate pair cannot be a character of its own.
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"

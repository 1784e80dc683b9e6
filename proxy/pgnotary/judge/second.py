"""The second reader: sqlglot, on a text re-lexed from PostgreSQL's own tokens.

Tokens of one statement enter; an objection leaves, or nothing. sqlglot never sees the raw text: its own lexer can be
made to take code for a string. Comments and the `[]` of array types are dropped, tokens are joined by single spaces,
` ;` ends the text (a `$` as the last character would shift its tokens). It is a reader, never the gate: it can only
add a doubt.
"""

from collections.abc import Collection, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.dialects.postgres import Postgres

from pgnotary.judge.brackets import effort
from pgnotary.judge.grammar import Token, Unreadable

__all__ = ["ON_THE_LOOP", "TIMED", "UNTIMED", "Bounds", "bounds", "objection", "relex"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What sqlglot is given to read: of more it would make seconds, hours or a broken stack."""

    depth: int
    effort: int


ON_THE_LOOP = Bounds(depth=8, effort=512)
"""Where clients wait: some milliseconds."""

UNTIMED = Bounds(depth=8, effort=10_000)
"""Where nobody else waits, and nothing ends a reading: some hundred milliseconds."""

TIMED = Bounds(depth=64, effort=1 << 30)
"""Where a reading that takes too long is ended from outside."""

bounds: ContextVar[Bounds] = ContextVar("bounds", default=UNTIMED)

# sqlglot would load its parser at the first text: where the files cannot be read any more, each text would be held.
sqlglot.parse("SELECT 1", read=Postgres)

_EMPTIED = "the opening bracket of an empty pair"
_COMMENTS = frozenset({"C_COMMENT", "SQL_COMMENT"})
_BRACKETS = {f"ASCII_{code}": code for code in b"()[]"}

_WRITES = (
    exp.DML,
    exp.DDL,
    exp.Into,
    exp.Lock,
    exp.Drop,
    exp.Alter,
    exp.TruncateTable,
    exp.Copy,
    exp.Command,
)


def relex(text: bytes, tokens: Sequence[Token]) -> str:
    """Return the statement that `tokens` spell, without comments, with single spaces, ended by ` ;`.

    The empty brackets of an array type are left out: behind a type that sqlglot does not know (`oid[]`) it takes them
    for a subscript. PostgreSQL's grammar has them nowhere else but in `ARRAY[]`.
    """
    plain = [token for token in tokens if token.name not in _COMMENTS]
    words, before = [], ""
    following = [token.name for token in plain[1:]] + [""]
    for token, after in zip(plain, following, strict=True):
        empties = token.name == "ASCII_91" and after == "ASCII_93" and before != "ARRAY"
        if not empties and before != _EMPTIED:
            words.append(text[token.start : token.end])
        before = _EMPTIED if empties else token.name
    return b" ".join([*words, b";"]).decode()


def objection(text: bytes, tokens: Sequence[Token], seen: Collection[type[exp.Expression]]) -> str:
    """Return what sqlglot sees in the statement that PostgreSQL's grammar does not, or "" if nothing.

    `seen` are the kinds of change that the grammar sees. Raises Unreadable if sqlglot cannot read the text.
    """
    allowed = bounds.get()
    depth, total = effort(_BRACKETS.get(token.name, 0) for token in tokens if token.name not in _COMMENTS)
    if depth > allowed.depth:
        raise Unreadable(f"is nested {depth} brackets deep; the second reader stops at {allowed.depth}")
    if total > allowed.effort:
        raise Unreadable("has more nested brackets or subscripts than the second reader may spend its time on")
    try:
        found = [root for root in sqlglot.parse(relex(text, tokens), read=Postgres) if root is not None]
    # A foreign parser over hostile text: whatever it stumbles over, it has not read the text.
    except Exception as error:
        raise Unreadable("cannot be read by the second reader") from error
    if len(found) != 1:
        return f"the second reader sees {len(found)} statements where PostgreSQL's grammar sees one"
    if isinstance(found[0], exp.Command) and exp.Create in seen:
        raise Unreadable("cannot be read by the second reader")
    for node in found[0].walk():
        if isinstance(node, _WRITES) and type(node) not in seen:
            return f"the second reader sees {type(node).__name__.upper()}"
    if not isinstance(found[0], exp.Query | exp.Values) and type(found[0]) not in seen:
        return f"the second reader sees {type(found[0]).__name__.upper()}"
    return ""

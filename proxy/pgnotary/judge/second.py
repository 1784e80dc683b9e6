"""The second reader: sqlglot, on a text re-lexed from PostgreSQL's own tokens.

Tokens of one statement enter; an objection leaves, or nothing. sqlglot never sees the raw text: its own lexer can be
made to take code for a string. Comments and the `[]` of array types are dropped, tokens are joined by single spaces,
` ;` ends the text (a `$` as the last character would shift its tokens). It is a reader, never the gate: it can only
add a doubt.
"""

from collections.abc import Sequence

import sqlglot
from sqlglot import exp
from sqlglot.dialects.postgres import Postgres

from pgnotary.judge.grammar import Token, Unreadable

__all__ = ["MAX_DEPTH", "MAX_EFFORT", "objection", "relex"]

# sqlglot doubles its time with each level of ARRAY[ARRAY[...: 14 ms at 8 levels, 7.5 s at 20.
MAX_DEPTH = 8

# Below that depth, too, 16 KB of such nests side by side took it 5 s, and of subscripts in a row (a[1][1]...) minutes.
# A unit of effort (`_brackets`) is 10 to 30 us of its time; no query of psql's own has more than 150.
MAX_EFFORT = 10_000

# sqlglot would load its parser at the first text: where the files cannot be read any more, each text would be held.
sqlglot.parse("SELECT 1", read=Postgres)

_EMPTIED = "the opening bracket of an empty pair"
_COMMENTS = frozenset({"C_COMMENT", "SQL_COMMENT"})
_OPENING = frozenset({"ASCII_40", "ASCII_91"})
_CLOSING = frozenset({"ASCII_41", "ASCII_93"})

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


def objection(text: bytes, tokens: Sequence[Token], *, expected: type[exp.Expression] | None = None) -> str:
    """Return why sqlglot takes the statement for more than a read, or "" if it does not.

    `expected` is a kind of write that may stand at the root (the statement of an EXPLAIN). Raises Unreadable if
    sqlglot cannot read the text.
    """
    depth, effort = _brackets(tokens)
    if depth > MAX_DEPTH:
        raise Unreadable(f"is nested {depth} brackets deep; the second reader stops at {MAX_DEPTH}")
    if effort > MAX_EFFORT:
        raise Unreadable("has more nested brackets or subscripts than the second reader may spend its time on")
    try:
        found = [root for root in sqlglot.parse(relex(text, tokens), read=Postgres) if root is not None]
    # A foreign parser over hostile text: whatever it stumbles over, it has not read the text.
    except Exception as error:
        raise Unreadable("cannot be read by the second reader") from error
    if len(found) != 1:
        return f"the second reader sees {len(found)} statements where PostgreSQL's grammar sees one"
    for node in found[0].walk():
        if isinstance(node, _WRITES) and not (node is found[0] and expected and isinstance(node, expected)):
            return f"the second reader sees {type(node).__name__.upper()}"
    if not isinstance(found[0], exp.Query | exp.Values) and not (expected and isinstance(found[0], expected)):
        return f"the second reader sees {type(found[0]).__name__.upper()}"
    return ""


def _brackets(tokens: Sequence[Token]) -> tuple[int, int]:
    """Return how deep brackets are nested, and what reading them may cost the second reader."""
    depth = deepest = effort = subscripts = 0
    before = ""
    for name in (token.name for token in tokens if token.name not in _COMMENTS):
        if name in _OPENING:
            depth += 1
            deepest = max(deepest, depth)
            subscripts += name == "ASCII_91" and before == "ASCII_93"
            effort += (1 << min(depth, MAX_DEPTH)) + subscripts
        elif name in _CLOSING:
            depth -= 1
        before = name
    return deepest, effort

"""Mutations of SQL texts: what an attacker, an old driver or a bad joiner of strings may do to one.

A text enters and a mutant leaves, with a source of chance and other texts to take pieces from. The lexer here is crude
on purpose: it cuts what no reader can read as well, and joining its tokens gives the text back.
"""

import random
import re
from collections.abc import Callable, Sequence

__all__ = ["cut", "mutate", "respell"]

_TOKEN = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | \$[A-Za-z_]*\$.*?\$[A-Za-z_]*\$ | [EeBbXxNn]?'(?:[^']|'')*' | [Uu]&'(?:[^']|'')*'
    | (?:[Uu]&)?"(?:[^"]|"")*" | \$\d+ | \d+(?:\.\d+)? | [A-Za-z_\u0080-\U0010ffff][\w$\u0080-\U0010ffff]* | \s+
    | [-+*/<>=~!@\#%^&|`?]+ | .""",
    re.VERBOSE | re.DOTALL,
)
_WORD = re.compile(r"[A-Za-z_]+")

# What readers have been known to take for different things.
_CONFUSERS = (
    "--", "/*", "*/", "/**/", "/*/**/*/", "--\n", "-- '\n", "-- $$\n", "/* ' */", "/* $$ */", "'", "''", "\\'", "\\",
    '"', '""', "$$", "$a$", "$1$", "$", "$1", "$2", "$0", "$1a", "$a", "a$", "a$$", "E'", "e'\\'", "U&'", 'U&"',
    "UESCAPE '!'", "N'", "B'", "X'", "'\n'", "'--\n'", "' '", ";", "::", ":=", "=>", "..", ".", "[", "]", "(", ")", "{",
    "}", "#-", "#--", "@--", "|/*", "!=-", "<--", "->", "?", "??", ":a", "%s", "%(a)s", "@a", "#", "`", "\u2028",
    "\u00a0", "\u3000", "\u0085", "\ufeff", "\u200b", "\x0b", "\x0c", "\x1c", "\x01", "\x7f", "\r", "\t", "\u00e9",
    "\U0001f600", "\u2028$$", "1_000", "1__0", "0x", "0xg", "1e", "1.e1", "1..2", "1a", "1.a", "0b2", "E'\\",
    "E'\\u0027'", "E'\\047'", "U&'\\0027'", "\n", " ",
)  # fmt: skip
_GLUES = (
    " ",
    " ",
    " ",
    " ",
    "",
    "\n",
    "\t",
    "/**/",
    "/* ; */",
    "--\n",
    "-- '\n",
    "/*/**/*/",
    "\r",
    "\f",
    "  ",
    "/*'*/",
    "-- $$\r",
    '/* " */',
)
_ODD_SPACE = ("\u2028", "\u00a0", "\u3000", "\u0085", "\u2003", "\ufeff", "\x0b", "\x1c", "\x1f", "\u180e", "\u200b")
_PAYLOADS = (
    "; DELETE FROM t", "; DELETE FROM t; --", " INTO x", " FOR UPDATE", ") DELETE FROM t", "; COMMIT; DELETE FROM t",
    " UNION SELECT w_plain()", ", w_plain()", "; SET work_mem = 1", ", d AS (DELETE FROM t RETURNING 1)",
    "; INSERT INTO t VALUES (9)", "; SELECT nextval('s')", "; TRUNCATE t", " FOR SHARE", " RETURNING 1",
    " INTO TEMP y FROM t", ".w_attr", "::wd", " === 'x'::text", "\\gexec", "\n\\! true\n",
    "; DO $$ BEGIN PERFORM w_plain(); END $$",
)  # fmt: skip
_WRAPS = (
    ("SELECT (", ")"), ("SELECT * FROM (", ") q"), ("EXPLAIN ", ""), ("EXPLAIN ANALYZE ", ""),
    ("COPY (", ") TO STDOUT"), ("WITH c AS (", ") SELECT * FROM c"), ("(", ")"), ("BEGIN; ", "; COMMIT"),
    ("SELECT 1; ", ""), ("", "; SELECT 1"), ("SELECT EXISTS (", ")"), ("SELECT ARRAY(", ")"), ("PREPARE p AS ", ""),
    ("DECLARE c CURSOR FOR ", ""), ("SELECT '", "'"), ("SELECT $$", "$$"), ("SELECT E'", "'"), ("/*", "*/"),
    ("--", "\n"), ("SELECT 1 AS \"", "\""), ("SELECT 1 UNION ", ""), ("", " UNION ALL SELECT 1"),
    ("EXPLAIN (ANALYZE off) ", ""), ("SELECT 1 /* ", " */"), ("SELECT $q$ ", " $q$ ; SELECT 1"), (";", ";"),
    ("SET work_mem = 1; ", ""), ("SELECT JSON_ARRAY(", ")"), ("CREATE TABLE x7 AS ", ""), ("SELECT 1 IN (", ")"),
    ("VALUES ((", "))"), ("SELECT 1 LIMIT (", ")"),
)  # fmt: skip


def cut(text: str) -> list[str]:
    """Return the tokens of a text, white space and comments among them."""
    return _TOKEN.findall(text)


def mutate(text: str, others: Sequence[str], chance: random.Random) -> str:
    """Return a text that one to four mutations made of `text`; pieces are taken from `others`."""
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        text = chance.choice(_MUTATIONS)(text, others, chance)
    return text


def respell(token: str, chance: random.Random) -> str:
    """Return another spelling of a word: other case, quoted, or with escapes of Unicode."""
    match chance.randrange(6):
        case 0:
            return token.upper()
        case 1:
            return '"' + token + '"'
        case 2:
            at = chance.randrange(len(token))
            return 'U&"' + token[:at] + f"\\{ord(token[at]):04x}" + token[at + 1 :] + '"'
        case 3:
            at = chance.randrange(len(token))
            return 'U&"' + token[:at] + f"!+{ord(token[at]):06x}" + token[at + 1 :] + "\" UESCAPE '!'"
        case 4:
            return token.swapcase()
        case _:
            return '"' + token.lower() + '"'


_Mutation = Callable[[str, Sequence[str], random.Random], str]


def _at(tokens: list[str], chance: random.Random) -> int:
    return chance.randrange(len(tokens)) if tokens else 0


def _swap(text: str, others: Sequence[str], chance: random.Random) -> str:
    tokens = cut(text)
    if len(tokens) > 1:
        i, j = _at(tokens, chance), _at(tokens, chance)
        tokens[i], tokens[j] = tokens[j], tokens[i]
    return "".join(tokens)


def _drop(text: str, others: Sequence[str], chance: random.Random) -> str:
    tokens = cut(text)
    i = _at(tokens, chance)
    return "".join(tokens[:i] + tokens[i + chance.choice((1, 1, 1, 2, 5)) :])


def _double(text: str, others: Sequence[str], chance: random.Random) -> str:
    tokens = cut(text)
    i = _at(tokens, chance)
    length = chance.choice((1, 1, 2, 3, 8))
    return "".join(
        tokens[: i + length] + tokens[i : i + length] * chance.choice((1, 1, 1, 2, 20)) + tokens[i + length :]
    )


def _replace(text: str, others: Sequence[str], chance: random.Random) -> str:
    tokens, theirs = cut(text), cut(chance.choice(others))
    if tokens and theirs:
        tokens[_at(tokens, chance)] = chance.choice(theirs)
    return "".join(tokens)


def _insert(text: str, others: Sequence[str], chance: random.Random) -> str:
    tokens, theirs = cut(text), cut(chance.choice(others))
    i, j = _at(tokens, chance), _at(theirs, chance)
    return "".join(tokens[:i] + theirs[j : j + chance.choice((1, 2, 3, 5, 9))] + tokens[i:])


def _splice(text: str, others: Sequence[str], chance: random.Random) -> str:
    tokens, theirs = cut(text), cut(chance.choice(others))
    return "".join(tokens[: _at(tokens, chance) + 1] + theirs[_at(theirs, chance) :])


def _confuse(text: str, others: Sequence[str], chance: random.Random) -> str:
    tokens = cut(text)
    for _ in range(chance.choice((1, 1, 2, 3))):
        tokens.insert(_at(tokens, chance), chance.choice(_CONFUSERS))
    return "".join(tokens)


def _confuse_inside(text: str, others: Sequence[str], chance: random.Random) -> str:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(_CONFUSERS) + text[at + chance.choice((0, 0, 1)) :]


def _pay(text: str, others: Sequence[str], chance: random.Random) -> str:
    tokens = cut(text)
    i = chance.choice((len(tokens), _at(tokens, chance)))
    return "".join(tokens[:i]) + chance.choice(_PAYLOADS) + "".join(tokens[i:])


def _hide(text: str, others: Sequence[str], chance: random.Random) -> str:
    """Put a write where only a reader that ends a quote or a comment elsewhere sees code."""
    tokens = cut(text)
    i = _at(tokens, chance)
    opening = "".join(chance.choice(_CONFUSERS) for _ in range(chance.choice((1, 2, 2, 3))))
    closing = "".join(chance.choice(_CONFUSERS) for _ in range(chance.choice((0, 1, 2))))
    return "".join(tokens[:i]) + " " + opening + chance.choice(_PAYLOADS) + closing + "".join(tokens[i:])


def _wrap(text: str, others: Sequence[str], chance: random.Random) -> str:
    before, after = chance.choice(_WRAPS)
    return before + text + after


def _nest(text: str, others: Sequence[str], chance: random.Random) -> str:
    tokens = cut(text)
    i = _at(tokens, chance)
    times = chance.choice((1, 2, 7, 20, 60))
    before, after = chance.choice(
        (
            ("(", ")"),
            ("ARRAY[", "]"),
            ("(SELECT ", ")"),
            ("abs(", ")"),
            ("date(", ")"),
            ("- ", ""),
            ("", "[1]"),
            ("CASE WHEN ", " THEN 1 END"),
        )
    )
    return "".join(tokens[:i]) + before * times + "".join(tokens[i : i + 1]) + after * times + "".join(tokens[i + 1 :])


def _glue(text: str, others: Sequence[str], chance: random.Random) -> str:
    tokens = cut(text)
    share = chance.choice((0.1, 0.3, 1.0))
    return "".join(chance.choice(_GLUES) if token.isspace() and chance.random() < share else token for token in tokens)


def _odd_space(text: str, others: Sequence[str], chance: random.Random) -> str:
    tokens = cut(text)
    tokens.insert(_at(tokens, chance), chance.choice(_ODD_SPACE))
    return "".join(tokens)


def _respell(text: str, others: Sequence[str], chance: random.Random) -> str:
    tokens = cut(text)
    words = [i for i, token in enumerate(tokens) if _WORD.fullmatch(token)]
    for i in chance.sample(words, min(len(words), chance.choice((1, 1, 2, 4)))):
        tokens[i] = respell(tokens[i], chance)
    return "".join(tokens)


def _quote_otherwise(text: str, others: Sequence[str], chance: random.Random) -> str:
    tokens = cut(text)
    literals = [i for i, token in enumerate(tokens) if token.startswith("'") and len(token) > 1]
    if literals:
        i = chance.choice(literals)
        inner = tokens[i][1:-1]
        tokens[i] = chance.choice(
            (f"$${inner}$$", f"$q${inner}$q$", f"E'{inner}'", f"U&'{inner}'", f"N'{inner}'", f"'{inner}\\'", "$1")
        )
    return "".join(tokens)


def _parametrise(text: str, others: Sequence[str], chance: random.Random) -> str:
    tokens = cut(text)
    numbers = [i for i, token in enumerate(tokens) if token.isdigit() or token.startswith("'")]
    for n, i in enumerate(numbers[: chance.choice((1, 2, 3))], start=1):
        tokens[i] = f"${n}"
    return "".join(tokens)


_MUTATIONS: tuple[_Mutation, ...] = (
    _swap, _drop, _double, _replace, _replace, _insert, _insert, _splice, _confuse, _confuse, _confuse_inside, _pay,
    _pay, _hide, _hide, _wrap, _wrap, _nest, _glue, _glue, _odd_space, _respell, _respell, _quote_otherwise,
    _parametrise,
)  # fmt: skip

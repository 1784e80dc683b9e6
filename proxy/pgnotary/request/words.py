"""The words of a text that may be names in it: by us, and by the server, as an expression; both find the same ones.

A text leaves as its words, folded and cut as PostgreSQL folds and cuts names, and as what is in its quotes. Nothing is
read: comments, literals and keywords are words too, so that a name in a text that is run is found, and a word too many
is only one that names nothing. What is not found is a name that is put together out of pieces, or spelled with escapes.

Source: PostgreSQL 18, "Identifiers and Key Words"; scansup.c (`downcase_truncate_identifier`).
"""

import re

__all__ = ["NAME_BYTES", "clipped", "words_in", "words_in_sql"]

NAME_BYTES = 63
"""PostgreSQL cuts longer names: NAMEDATALEN - 1."""
# What no unquoted name has in it: white space, control characters and ASCII signs but for _, and for $.
_SIGNS, _SIGNS_AND_DOLLAR = r"[\x01-#%-/:-@\[-^`{-\x7f]+", r"[\x01-/:-@\[-^`{-\x7f]+"
_QUOTES = "'\""
_WORDS_IN_SQL = (
    """
ARRAY(SELECT DISTINCT x.word::pg_catalog.name FROM pg_catalog.unnest(
  pg_catalog.regexp_split_to_array(pg_catalog.lower((__TEXT__) COLLATE pg_catalog."C"), '__SIGNS__')
  OPERATOR(pg_catalog.||) CASE WHEN pg_catalog.strpos(__TEXT__, '$') OPERATOR(pg_catalog.>) 0 THEN
    pg_catalog.regexp_split_to_array(pg_catalog.lower((__TEXT__) COLLATE pg_catalog."C"), '__AND_DOLLAR__') END
  OPERATOR(pg_catalog.||) pg_catalog.string_to_array(__TEXT__, '"')
  OPERATOR(pg_catalog.||) pg_catalog.string_to_array(__TEXT__, '''')) AS x (word)
  WHERE x.word OPERATOR(pg_catalog.<>) '')
""".strip()
    .replace("__SIGNS__", _SIGNS)
    .replace("__AND_DOLLAR__", _SIGNS_AND_DOLLAR)
)


def words_in(text: str) -> set[str]:
    """Return all that may be a name in a text, as PostgreSQL folds and cuts names.

    What is in quotes is one whole, and made of words as well.
    """
    words = {word for signs in (_SIGNS, _SIGNS_AND_DOLLAR) for word in re.split(signs, _folded(text))}
    words |= {word for quote in _QUOTES for word in text.split(quote)}
    return {word for each in words if (word := clipped(each))}


def clipped(word: str) -> str:
    """Return a word as long as a name may be, cut where a character ends, as PostgreSQL cuts it."""
    return word.encode()[:NAME_BYTES].decode(errors="ignore")


def words_in_sql(text: str) -> str:
    """Return an array of the same words, of the text that an expression is."""
    return _WORDS_IN_SQL.replace("__TEXT__", text)


def _folded(text: str) -> str:
    return text.encode().lower().decode()

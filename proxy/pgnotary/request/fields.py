"""Fields of a signed document by their type: an object and a name enter, the value leaves, or NotCanonical."""

import re
from collections.abc import Mapping

from pgnotary.errors import NotCanonical
from pgnotary.ledger.canonical import JSON

__all__ = ["hexadecimal", "is_line", "number", "text"]

# Spelled out, so that two readers with other tables of characters agree.
_NO_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def is_line(words: str, most: int) -> bool:
    """Say whether words are one line of 1 to `most` characters."""
    return 1 <= len(words) <= most and _NO_LINE.search(words) is None


def text(fields: Mapping[str, JSON], name: str) -> str:
    """Return a string."""
    value = fields[name]
    if not isinstance(value, str):
        raise NotCanonical(f"{name} {value!r:.60}, expected a text")
    return value


def number(fields: Mapping[str, JSON], name: str) -> int:
    """Return a number from 0."""
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise NotCanonical(f"{name} {value!r:.60}, expected a number from 0")
    return value


def hexadecimal(fields: Mapping[str, JSON], name: str, size: int) -> bytes:
    """Return so many bytes out of lower-case hexadecimal digits."""
    value = text(fields, name)
    if len(value) != 2 * size or value.strip("0123456789abcdef"):
        raise NotCanonical(f"{name} {value!r:.80}, expected {2 * size} hexadecimal digits")
    return bytes.fromhex(value)

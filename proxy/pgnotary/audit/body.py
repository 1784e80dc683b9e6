"""Fields of an entry's body by their type: what is absent or of another type is as good as not known."""

from collections.abc import Mapping

from pgnotary.ledger.canonical import JSON

__all__ = ["number", "text", "texts"]


def text(body: Mapping[str, JSON], name: str) -> str:
    """Return a string, or "" if there is none."""
    value = body.get(name)
    return value if isinstance(value, str) else ""


def number(body: Mapping[str, JSON], name: str) -> int | None:
    """Return an integer, or None if there is none."""
    value = body.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def texts(body: Mapping[str, JSON], name: str) -> tuple[str, ...]:
    """Return the strings of a list, or none."""
    value = body.get(name)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()

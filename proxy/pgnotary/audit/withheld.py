"""Which sealed values an export leaves out: names and patterns enter, yes or no leaves.

A pattern that names nothing is refused: a slip of the pen must not disclose what was to be withheld.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from pgnotary.errors import ConfigError

__all__ = ["SEALED", "check_patterns", "is_withheld"]

SEALED = ("statement", "parameters", "prepared", "reason", "sample", "error", "document", "signature")
"""The names of sealed values; the texts of forwarded statements are t1, t2 and so on."""


def check_patterns(patterns: Sequence[str]) -> None:
    """Raise ConfigError if one of the patterns cannot name a sealed value."""
    for pattern in patterns:
        is_text = pattern.startswith("t") and pattern[1:].isascii() and pattern[1:].isdigit()
        if not is_text and not any(fnmatchcase(name, pattern) for name in (*SEALED, "t1")):
            known = ", ".join(SEALED)
            raise ConfigError(f"no sealed value is named {pattern!r:.60}: withhold {known}, t1 or t*, or *")


def is_withheld(name: str, patterns: Sequence[str]) -> bool:
    """Whether a sealed value is to be left out."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)

"""Which sealed values an export gives: names and patterns enter, yes or no leaves.

A pattern that names nothing is refused: a slip of the pen must not disclose what was to be withheld.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pgnotary.errors import ConfigError

__all__ = ["SEALED", "Disclosure", "check_patterns"]

SEALED = ("statement", "parameters", "prepared", "reason", "sample", "error", "document", "signature")
"""The names of sealed values; the texts of forwarded statements are t1, t2 and so on."""


def check_patterns(patterns: Sequence[str]) -> None:
    """Raise ConfigError if one of the patterns cannot name a sealed value."""
    for pattern in patterns:
        is_text = pattern.startswith("t") and pattern[1:].isascii() and pattern[1:].isdigit()
        if not is_text and not any(fnmatchcase(name, pattern) for name in (*SEALED, "t1")):
            known = ", ".join(SEALED)
            raise ConfigError(f"no sealed value is named {pattern!r:.60}: name {known}, t1 or t*, or *")


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Which sealed values are given, by their names: all but those withheld, or only those disclosed."""

    withhold: tuple[str, ...] = ()
    disclose: tuple[str, ...] = ()
    """If there are any, nothing else is given."""

    def __post_init__(self) -> None:
        check_patterns((*self.withhold, *self.disclose))

    def gives(self, name: str) -> bool:
        """Whether the value of this name may be given; what is named on both sides is not."""
        return not _is_in(name, self.withhold) and (not self.disclose or _is_in(name, self.disclose))


def _is_in(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)

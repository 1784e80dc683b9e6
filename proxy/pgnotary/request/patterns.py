"""Patterns of columns, as `mask` writes them: a pattern and names enter, yes or no leaves.

`column` is of any relation, `schema.relation.column` of one; `*` and `?` stand for others, as in a shell, and never for
the dot between two names. A part in quotes is compared with the name as PostgreSQL spells it. One without quotes is
compared with the bare name, too, whatever its case: `homea*` is also "homeAddr". That hides more than SQL would call by
that name, never less.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from pgnotary.judge.identifiers import identifier
from pgnotary.judge.statement import Name

__all__ = ["Pattern", "pattern"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern, cut at its dots."""

    relation: Name
    """Empty if it is of any relation."""
    column: str

    def is_of(self, relation: Name, column: str) -> bool:
        """Say whether a column of a relation has such a name."""
        return self.may_be(column) and (
            not self.relation
            or (len(relation) == len(self.relation) and all(map(_is_like, relation, self.relation)))
        )  # fmt: skip

    def may_be(self, column: str) -> bool:
        """Say whether a column of whatever relation may have such a name."""
        return _is_like(column, self.column)


@lru_cache(1_024)
def pattern(text: str) -> Pattern:
    """Return a pattern as `mask` writes it."""
    *relation, column = _parts(text)
    return Pattern(tuple(relation), column)


def _parts(text: str) -> list[str]:
    parts, inside = [""], False
    for character in text:
        inside ^= character == '"'
        if character == "." and not inside:
            parts.append("")
        else:
            parts[-1] += character
    return parts


@lru_cache(16_384)
def _is_like(name: str, part: str) -> bool:
    return fnmatchcase(identifier(name), part) or ('"' not in part and fnmatchcase(name.lower(), part.lower()))

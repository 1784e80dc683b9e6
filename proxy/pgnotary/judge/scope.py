"""Where a session stands: what decides which relation a name stands for.

A `Scope` never changes; `scoped` makes one of a server's answers. It knows the schemas that are searched and the
session's own temporary relations, which no catalog of the database shows, and what a part of a text adds to them for
the parts behind it.
"""

from collections.abc import Container
from dataclasses import dataclass, replace
from enum import Enum

from pgnotary.judge.statement import Name, Names, Part, Qualifier

__all__ = ["TEMP", "UNSCOPED", "Scope", "Temporary"]

TEMP = "pg_temp"


class Temporary(Enum):
    """What is known of one of the session's own temporary relations."""

    PLAIN = "plain"
    """A table that runs no code of anybody's."""
    BUSY = "busy"
    """A table that runs code when it is written to."""
    ODD = "odd"
    """It may run code when it is read: a table with types of one's own."""
    VIEW = "view"


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a session stands."""

    path: tuple[str, ...] | None = None
    """The schemas that are searched, in order, with those that are searched unsaid; None if that is not known."""
    role: str = ""
    temporary: frozenset[str] = frozenset()
    """The session's own temporary tables that are plain."""
    busy_temporary: frozenset[str] = frozenset()
    odd_temporary: frozenset[str] = frozenset()
    temporary_views: frozenset[tuple[str, Names]] = frozenset()
    """Its temporary views, with what they are of."""

    @property
    def looks_there_first(self) -> bool:
        """Whether a name is looked up among the temporary relations first: pg_temp may stand last in search_path."""
        return self.path is not None and "".join(self.path[:1]).startswith(TEMP)

    def temporary_kind(self, name: Name) -> Temporary | None:
        """Return what is known of the temporary relation that a name may stand for; None if it cannot be one."""
        *schema, only = name
        if schema and schema[-1] != TEMP:
            return None
        kinds: tuple[tuple[Temporary, Container[str]], ...] = (
            (Temporary.PLAIN, self.temporary),
            (Temporary.BUSY, self.busy_temporary),
            (Temporary.ODD, self.odd_temporary),
            (Temporary.VIEW, {view for view, _ in self.temporary_views}),
        )
        return next((kind for kind, names in kinds if only in names), None)

    def behind(self, part: Part) -> "Scope":
        """Return where the session stands once a part has run.

        What a query makes has types that nobody has looked at; a table that CREATE TABLE makes has those that it names,
        and the part is held if one of them may run code.
        """
        made = frozenset(name[-1] for name in part.makes)
        if not made:
            return self
        if part.node == "CreateStmt" and part.qualifiers <= {Qualifier.TEMP, Qualifier.SINGLE_READER}:
            # IF NOT EXISTS: what is there may stay.
            fresh = frozenset(name for name in made if self.temporary_kind((name,)) is None)
            return replace(self, temporary=self.temporary | fresh)
        # An earlier part may have dropped what had the name.
        return replace(
            self,
            temporary=self.temporary - made,
            busy_temporary=self.busy_temporary - made,
            odd_temporary=self.odd_temporary | made,
            temporary_views=frozenset(view for view in self.temporary_views if view[0] not in made),
        )


UNSCOPED = Scope()
"""Nothing is known of the session."""

"""How many rows an approval lets change, and whether that many have: numbers enter, the rows to compare leave.

Two numbers bound what an approved statement may change: `max_rows` its own targets, `max_other_rows` everything else,
by foreign keys that cascade, by triggers, by functions. Who signs the first without the second allows nothing else.
This is the one rule: the session enforces it, an approver's command line says it, `verify` holds the record against it.

Nothing here is ever too few: what cannot be told apart is counted twice.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pgnotary.ledger.canonical import JSON
from pgnotary.wire.messages import rows_of

__all__ = ["ANY", "Ceiling", "Changed", "lowest", "other_rows", "own_rows", "told_rows"]

ANY = "any"
"""What a document says of `max_other_rows` that allows any number."""

_NO_CHANGE = "a change of a relation that does not say how many rows of what"
# The first words of tags that count rows which were changed; of all others they were only read.
_COUNTING = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "COPY"})


@dataclass(frozen=True, slots=True)
class Ceiling:
    """At most so many rows."""

    max_rows: int
    """Of the statement's own targets."""
    max_other_rows: int | None = 0
    """Of all other relations together; None: any."""

    def is_exceeded(self, rows: int, other_rows: int) -> bool:
        """Say whether these are more."""
        return rows > self.max_rows or (self.max_other_rows is not None and other_rows > self.max_other_rows)

    def excess(self, rows: int, other_rows: int) -> str:
        """Return in words how these are more, e.g. "11 rows affected, approved for at most 10"; or ""."""
        if rows > self.max_rows:
            return f"{rows} rows affected, approved for at most {self.max_rows}"
        if self.is_exceeded(rows, other_rows):
            return f"{other_rows} rows affected in other tables, approved for at most {self.max_other_rows} there"
        return ""

    @property
    def fields(self) -> dict[str, JSON]:
        """The fields of a document or an entry that say it; without `max_other_rows` that is 0."""
        fields: dict[str, JSON] = {"max_rows": self.max_rows}
        if self.max_other_rows != 0:
            fields["max_other_rows"] = ANY if self.max_other_rows is None else self.max_other_rows
        return fields


def lowest(ceilings: Iterable[Ceiling | None]) -> Ceiling | None:
    """Return what all of these allow together; None: any number of rows, anywhere."""
    said = [each for each in ceilings if each is not None]
    if not said:
        return None
    others = [each.max_other_rows for each in said if each.max_other_rows is not None]
    return Ceiling(min(each.max_rows for each in said), min(others, default=None))


@dataclass(frozen=True, slots=True)
class Changed:
    """What was changed in one relation, in rows."""

    relation: str
    """Schema and name, as SQL spells them."""
    target: bool
    """It is what the statement says that it changes, or a part of that."""
    root: str = ""
    """The partitioned table that it is a partition of."""
    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    @property
    def rows(self) -> int:
        """All of them."""
        return self.inserted + self.updated + self.deleted

    @property
    def in_words(self) -> str:
        """Name and rows, e.g. `public.orders: 3 updated, 1 deleted`."""
        numbers = ((self.inserted, "inserted"), (self.updated, "updated"), (self.deleted, "deleted"))
        return f"{self.relation}: {', '.join(f'{number} {done}' for number, done in numbers if number)}"

    @property
    def fields(self) -> dict[str, JSON]:
        """The fields of an entry that say it; what is 0 is left out."""
        fields: dict[str, JSON] = {"relation": self.relation, "target": self.target}
        if self.root:
            fields["root"] = self.root
        numbers = {"inserted": self.inserted, "updated": self.updated, "deleted": self.deleted}
        return fields | {name: number for name, number in numbers.items() if number}

    @classmethod
    def of(cls, fields: Mapping[str, JSON]) -> "Changed":
        """Read what `fields` gives; raises ValueError if that is none."""
        match fields.get("relation"), fields.get("root", ""), fields.get("target"):
            case str(relation), str(root), bool(target):
                rows = [_rows(fields.get(name, 0)) for name in ("inserted", "updated", "deleted")]
                return cls(relation, target, root, *rows)
        raise ValueError(_NO_CHANGE)


def _rows(number: JSON) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError(_NO_CHANGE)
    return number


def told_rows(tags: Collection[str]) -> int | None:
    """Return how many rows command tags say were changed; None if none of them says it."""
    counts = [rows_of(tag) for tag in tags if tag.partition(" ")[0] in _COUNTING]
    known = [each for each in counts if each is not None]
    return sum(known) if known else None


def own_rows(told: int | None, changed: Collection[Changed]) -> int:
    """Return how many rows of the targets were changed: what the tags say, or what the server counts, if that is more.

    `told`: the rows of all command tags; None if they do not count them. A row that moves to another partition is
    deleted there and inserted here. It is one row, as far as the tags tell of rows that were not updated in place.
    """
    own = [each for each in changed if each.target]
    moves = 0
    for root in {each.root for each in own if each.root}:
        parts = [each for each in own if each.root == root]
        moves += min(sum(each.inserted for each in parts), sum(each.deleted for each in parts))
    in_place = sum(each.updated for each in own)
    moved = min(moves, max((told or 0) - in_place, 0))
    return max(told or 0, sum(each.rows for each in own) - moved)


def other_rows(changed: Collection[Changed]) -> int:
    """Return how many rows were changed in what is no target."""
    return sum(each.rows for each in changed if not each.target)

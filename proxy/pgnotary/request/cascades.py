"""What a change takes with it over foreign keys: the keys that act, and the counts of the rows that they reach.

`Facts` and the rows that the change meets enter; `Cascade`s leave, each with the SELECT that counts its rows, if one
can be built. A foreign key works as the owner of its table: what row security hides from the role changes all the same,
so no count is made where the role may not see everything. A count is exact only along one way, without a loop; where
ways meet, rows are met twice, and the number is an upper bound.

Source: PostgreSQL 18, "Foreign Keys"; ri_triggers.c (the comparison is pk OPERATOR fk, and ONLY a plain table is read).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from pgnotary.judge.identifiers import identifier
from pgnotary.request.counting import Source
from pgnotary.request.facts import Facts, ForeignKey
from pgnotary.request.selects import Uncounted

__all__ = ["MAX_DEPTH", "MOST", "Bound", "Cascade", "cascades_of"]

MAX_DEPTH = 8
MOST = 50
"""How many a preview lists."""

_ACTIONS = {"c": "cascade", "n": "set null", "d": "set default"}


class Bound(Enum):
    """What the number of rows of a cascade is worth."""

    EXACT = "exact"
    AT_MOST = "at_most"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Cascade:
    """One foreign key that would act."""

    key: ForeignKey
    action: str
    deletes: bool
    """It deletes the referencing rows, and does not only change them."""
    depth: int
    bound: Bound
    count: bytes
    """The SELECT of the number of rows; empty if there is none."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows that change: the targets, or what one foreign key reaches."""

    oids: frozenset[int]
    """Of their relation, its partitions and what it is a partition of."""
    deleted: bool
    columns: frozenset[str] | None
    """Of an update: the columns that it may set; None if it may be any."""
    depth: int = 0
    key: ForeignKey | None = None
    """What led here; None of the targets themselves."""
    letter: str = ""
    above: "_Rows | None" = None

    def meets(self, other: "_Rows") -> bool:
        """Say whether both are changes of one kind to rows of one relation."""
        return self.deleted is other.deleted and not self.oids.isdisjoint(other.oids)


def cascades_of(
    facts: Facts, source: Source | None, *, deletes: bool, updates: frozenset[str] | None, bound: Bound
) -> tuple[Cascade, ...]:
    """Return the cascades of a change of the targets, at most one more than are shown.

    `updates`: the columns that it may set, None for any; `bound`: what the count of the targets themselves is worth.
    """
    oids = frozenset({each.oid for each in facts.targets}) | facts.ancestors
    if not facts.only_tables:
        source = None
    reached = []
    if deletes:
        reached.append(_Rows(oids, deleted=True, columns=None))
    if updates is None or updates:
        reached.append(_Rows(oids, deleted=False, columns=updates))
    for rows in reached:
        if len(reached) > MOST + 2:
            break
        if rows.depth < MAX_DEPTH:
            reached += [each for each in _below(facts, rows) if not any(_is_same(each, known) for known in reached)]
    counted: dict[int, tuple[str, Bound]] = {}
    return tuple(
        Cascade(
            rows.key,
            _ACTIONS[rows.letter],
            rows.deleted,
            rows.depth,
            *_counted(facts, source, bound, rows, reached, counted),
        )
        for rows in reached
        if rows.key is not None
    )


def _is_same(rows: _Rows, known: _Rows) -> bool:
    return rows.key is known.key and rows.letter == known.letter and rows.deleted is known.deleted


def _below(facts: Facts, rows: _Rows) -> Iterator[_Rows]:
    for key in facts.keys:
        letter = key.on_delete if rows.deleted else key.on_update
        any_column = rows.deleted or rows.columns is None or key.computed
        touched = any_column or {column for _, column, _ in key.columns} & (rows.columns or set())
        if key.source in rows.oids and letter in _ACTIONS and touched:
            deleted = rows.deleted and letter == "c"
            # A BEFORE trigger may set any column.
            columns = None if deleted or key.keeps else frozenset(column for column, _, _ in key.columns)
            yield _Rows(key.family, deleted, columns, rows.depth + 1, key, letter, rows)


def _counted(
    facts: Facts,
    source: Source | None,
    bound: Bound,
    rows: _Rows,
    reached: Sequence[_Rows],
    counted: dict[int, tuple[str, Bound]],
) -> tuple[Bound, bytes]:
    """Return what the number of rows is worth, and the SELECT that gives it; `counted` are the rows above."""
    text, worth = _selected(facts, source, bound, rows, reached, counted)
    counted[id(rows)] = text, worth
    if worth is Bound.UNKNOWN:
        return worth, b""
    return worth, f"SELECT pg_catalog.count(*) FROM ({text}) AS pgnotary_cascade".encode()  # noqa: S608


def _selected(
    facts: Facts,
    source: Source | None,
    bound: Bound,
    rows: _Rows,
    reached: Sequence[_Rows],
    counted: dict[int, tuple[str, Bound]],
) -> tuple[str, Bound]:
    key, above = rows.key, rows.above
    if key is None or above is None or key.secured or source is None:
        return "", Bound.UNKNOWN
    levels = _refers_to_itself(rows, above)
    # What else changes rows of the relation above is not among those that this way leads from.
    others = [each for each in reached if each is not above and each.meets(above) and not (levels and each is rows)]
    if others:
        return "", Bound.UNKNOWN
    if above.key is None:
        try:
            selected, worth = source.keyed([column for _, column, _ in key.columns]).decode(), bound
        except Uncounted:
            return "", Bound.UNKNOWN
        if key.source in {each.oid for each in facts.targets if each.how == "child"}:
            worth = Bound.AT_MOST if worth is Bound.EXACT else worth
    else:
        selected, worth = counted[id(above)]
    if worth is Bound.UNKNOWN:
        return "", worth
    alone = not any(each is not rows and not each.oids.isdisjoint(rows.oids) for each in reached)
    if worth is Bound.AT_MOST or not alone or key.keeps or not key.acts or not above.deleted:
        worth = Bound.AT_MOST
    return (_all_levels if levels else _referring)(key, selected), worth


def _refers_to_itself(rows: _Rows, above: _Rows) -> bool:
    return rows.deleted and above.deleted and not rows.oids.isdisjoint(above.oids) and above.key is None


def _child(key: ForeignKey) -> tuple[str, str]:
    match = " AND ".join(
        f"p.{identifier(referenced)} {operator} c.{identifier(own)}" for own, referenced, operator in key.columns
    )
    return f"{'' if key.partitioned else 'ONLY '}{key.target_name} AS c", match


def _referring(key: ForeignKey, above: str) -> str:
    """Return a SELECT of the rows that refer to those above."""
    child, match = _child(key)
    return f"SELECT c.* FROM {child} WHERE EXISTS (SELECT 1 FROM ({above}) AS p WHERE {match})"  # noqa: S608


def _all_levels(key: ForeignKey, above: str) -> str:
    """Return a SELECT of what refers to the rows above, and to those that do, in one relation that refers to itself."""
    child, match = _child(key)
    given = ", ".join(f"c.{identifier(column)}" for column in dict.fromkeys(column for _, column, _ in key.columns))
    level = f"SELECT c.tableoid, c.ctid, {given} FROM {child}"  # noqa: S608
    return (
        f"WITH RECURSIVE pgnotary_levels AS ({level} WHERE EXISTS (SELECT 1 FROM ({above}) AS p WHERE {match}) "  # noqa: S608
        f"UNION {level} JOIN pgnotary_levels AS p ON {match}) "
        "SELECT DISTINCT l.tableoid, l.ctid FROM pgnotary_levels AS l"
    )

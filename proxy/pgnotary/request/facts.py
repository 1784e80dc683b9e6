"""What is true of the relations that a statement changes or reads: the catalog's answer enters, `Facts` leave.

Triggers, rules, row security, foreign tables, foreign keys that go on to other tables, and which of the functions that
a count calls may answer otherwise later. The question is in `facts_question`.

Source: PostgreSQL 18, "System Catalogs"; trigger.h for the bits of tgtype.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgnotary.judge.identifiers import qualified
from pgnotary.judge.statement import Name
from pgnotary.ledger.canonical import JSON

__all__ = ["Facts", "ForeignKey", "RelationFacts", "Trigger", "read_facts"]


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger that would fire if rows of its relation are changed in one of its ways."""

    relation: str
    name: str
    when: str
    """before, after or instead of."""
    each: str
    """row or statement."""
    events: tuple[str, ...]
    function: str

    @property
    def fields(self) -> dict[str, JSON]:
        """What a preview says of it."""
        return {
            "relation": self.relation,
            "name": self.name,
            "when": self.when,
            "each": self.each,
            "events": list(self.events),
            "function": self.function,
        }


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that adds to a statement or takes its place."""

    event: str
    text: str
    """As the server spells it, on one line."""


@dataclass(frozen=True, slots=True)
class RelationFacts:
    """A relation that is named, or a partition, a child or, under a view, a base of one."""

    oid: int
    name: Name
    kind: str
    """pg_class.relkind."""
    target: bool
    how: str
    """named, child or base."""
    rows: int | None
    """The planner's reltuples; None if nobody has counted yet."""
    secured: bool
    """Row security is in force for the role; of a view's base, it is on: whose rights count is not asked."""
    one_sight: bool
    """All its policies are for all commands: what can be seen is what can be changed."""
    codes: bool
    """A default, a check, an index or the type of a column is not all PostgreSQL's own, and may run code."""
    rules: tuple[Rule, ...]
    triggers: tuple[Trigger, ...]
    unsteady: bool
    """What it shows may be other rows at another time."""
    parents: int = 0
    """How many relations it inherits from, or is a partition of."""
    twice: bool = False
    """It is a view that may show one column under two names."""
    renames: bool = False
    """It is a view that may show a column under another name."""

    @property
    def spelled(self) -> str:
        """Its whole name."""
        return qualified(self.name)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key that changes the referencing rows as well."""

    name: str
    source: int
    """The oid of the referenced relation."""
    target: int
    """The oid of the referencing relation."""
    source_name: str
    target_name: str
    whole_name: Name
    """Of the referencing relation."""
    partitioned: bool
    on_delete: str
    on_update: str
    """pg_constraint's letters: a no action, r restrict, c cascade, n set null, d set default."""
    secured: bool
    """Row security hides rows of the referencing relation from the role, but not from the foreign key."""
    family: frozenset[int]
    """The referencing relation, its partitions and what it is a partition of."""
    acts: bool
    """No trigger of it is disabled."""
    triggers: tuple[Trigger, ...]
    """Of the referencing relation and its partitions."""
    keeps: bool
    """A BEFORE ROW trigger of the referencing relation may keep rows."""
    ruled: bool
    """The referencing relation has rules, which act on what a foreign key does as well."""
    codes: bool
    """The referencing relation may run code, as `RelationFacts.codes` says."""
    computed: bool
    """One of the referenced columns is generated: what sets another column may change it."""
    indexed: bool
    columns: tuple[tuple[str, str, str], ...]
    """Referencing column, referenced column, and the operator that compares the referenced with the referencing one."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server's catalog says."""

    relations: tuple[RelationFacts, ...] = ()
    unsteady: tuple[str, ...] = ()
    """Functions and operators in the count that may answer otherwise at another time."""
    sets: bool = False
    """A function or an operator that may stand in a list of VALUES may give any number of rows."""
    keys: tuple[ForeignKey, ...] = ()
    ancestors: frozenset[int] = frozenset()
    """What the targets are partitions of."""
    strange: bool = False
    """A WHERE seems to read what is no plain column: one that is generated, a system column, a function of the row."""
    texts: bool = False
    """A column that is made a time is a text, or of a type that nobody has looked into, or no relation has it."""

    @property
    def casts(self) -> bool:
        """Whether a cast that nobody spells out may run code."""
        return _CAST in self.unsteady

    @property
    def targets(self) -> tuple[RelationFacts, ...]:
        """The relations whose rows may change."""
        return tuple(each for each in self.relations if each.target)

    @property
    def only_tables(self) -> bool:
        """Whether all that may change is a table: its columns have their own names, and its rows an address each."""
        return all(each.kind in ("r", "p") for each in self.targets)

    @property
    def target_rows(self) -> int | None:
        """The planner's number of rows in the targets; None if it is not known of one of them."""
        found = {each.oid: each.rows for each in self.targets if each.kind in ("r", "m", "f")}
        known = [rows for rows in found.values() if rows is not None]
        return sum(known) if known and len(known) == len(found) else None


_CAST = "a cast"
_RULE_EVENTS = {"1": "select", "2": "update", "3": "insert", "4": "delete"}
_EVENTS = ((4, "insert"), (8, "delete"), (16, "update"), (32, "truncate"))


def read_facts(answer: str) -> Facts:
    """Return the facts that an answer tells; raises ValueError if it has not the shape that was asked for."""
    try:
        fields = json.loads(answer)
        return Facts(
            tuple(map(_relation, fields["relations"] or ())),
            (
                *map(str, fields["unsteady"] or ()),
                *map(str, fields["operators"] or ()),
                *((_CAST,) if fields["casts"] else ()),
            ),
            bool(fields["sets"]),
            tuple(map(_key, fields["keys"] or ())),
            frozenset(map(int, fields["ancestors"] or ())),
            bool(fields["strange"]),
            bool(fields["texts"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the facts have not the shape that was asked for: {error}") from error


def _relation(fields: Mapping[str, Any]) -> RelationFacts:
    name = (str(fields["schema"]), str(fields["name"]))
    rows = int(fields["rows"])
    return RelationFacts(
        oid=int(fields["oid"]),
        name=name,
        kind=str(fields["kind"]),
        target=bool(fields["target"]),
        how=str(fields["how"]),
        rows=rows if rows >= 0 else None,
        secured=bool(fields["secured"]),
        one_sight=all(command == "*" for command in fields["policies"] or ()),
        codes=bool(fields["codes"]),
        rules=tuple(Rule(_RULE_EVENTS[each[0]], " ".join(str(each[1]).split())) for each in fields["rules"] or ()),
        triggers=tuple(_trigger(qualified(name), *each) for each in fields["triggers"] or ()),
        # What PostgreSQL tells of itself is another thing at each time.
        unsteady=bool(fields["unsteady"]) or name[0] in ("pg_catalog", "information_schema"),
        parents=int(fields["parents"]),
        twice=bool(fields["twice"]),
        renames=bool(fields["renames"]),
    )


def _trigger(relation: str, name: Any, kind: Any, function: Any) -> Trigger:
    bits = int(kind)
    return Trigger(
        relation,
        str(name),
        "instead of" if bits & 64 else "before" if bits & 2 else "after",
        "row" if bits & 1 else "statement",
        tuple(event for bit, event in _EVENTS if bits & bit),
        str(function),
    )


def _key(fields: Mapping[str, Any]) -> ForeignKey:
    parts, ancestors = fields["family"]
    return ForeignKey(
        name=str(fields["name"]),
        source=int(fields["from"]),
        target=int(fields["to"]),
        source_name=qualified(_pair(fields["from_name"])),
        target_name=qualified(_pair(fields["to_name"])),
        whole_name=_pair(fields["to_name"]),
        partitioned=fields["to_kind"] == "p",
        on_delete=str(fields["delete"]),
        on_update=str(fields["update"]),
        secured=bool(fields["secured"]),
        family=frozenset({int(fields["to"]), *map(int, parts or ()), *map(int, ancestors or ())}),
        acts=bool(fields["acts"]),
        triggers=tuple(_trigger(qualified(_pair(fields["to_name"])), *each) for each in fields["triggers"] or ()),
        keeps=bool(fields["keeps"]),
        ruled=bool(fields["ruled"]),
        codes=bool(fields["codes"]),
        computed=bool(fields["computed"]),
        indexed=bool(fields["indexed"]),
        columns=tuple((str(own), str(referenced), str(operator)) for own, referenced, operator in fields["columns"]),
    )


def _pair(fields: Sequence[Any]) -> Name:
    schema, name = fields
    return str(schema), str(name)

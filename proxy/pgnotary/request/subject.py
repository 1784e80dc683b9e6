"""What a statement is about beside rows: the tables, schemas and types of TRUNCATE, DROP, ALTER and the like.

The text of one statement enters; a `Subject` leaves, or None if it names none of these. Nothing is looked up here:
names stand as they are spelled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgnotary.judge import grammar
from pgnotary.judge.grammar import RawStatement
from pgnotary.judge.naming import relation, strings
from pgnotary.judge.statement import Name
from pgnotary.request.counting import CHANGING
from pgnotary.request.locking import Locking, LockMode, locking_of

__all__ = ["Subject", "dropped_in", "subject_of"]

_RELATIONS = frozenset(f"OBJECT_{kind}" for kind in ("TABLE", "VIEW", "MATVIEW", "INDEX", "SEQUENCE", "FOREIGN_TABLE"))
_ROUTINES = frozenset(f"OBJECT_{kind}" for kind in ("FUNCTION", "PROCEDURE", "ROUTINE", "AGGREGATE"))
_ON_A_RELATION = frozenset({"OBJECT_TRIGGER", "OBJECT_RULE", "OBJECT_POLICY"})


@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about, by names as they are spelled in it."""

    locking: Locking | None
    relations: tuple[Name, ...] = ()
    alone: frozenset[Name] = frozenset()
    """Those of its relations whose children are left out: ONLY."""
    schemas: tuple[str, ...] = ()
    types: tuple[Name, ...] = ()
    routines: tuple[str, ...] = ()
    """Functions, procedures and aggregates that it drops, by their last names: all that are called so."""
    extensions: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    """Of its relation, those that it drops under CASCADE."""
    constraints: tuple[str, ...] = ()
    """Likewise."""
    referring: bool = False
    """So do the tables that refer to them: TRUNCATE CASCADE."""
    dropped: bool = False
    emptied: bool = False
    """Every row in it goes: TRUNCATE, and DROP of what has rows."""
    changes_rows: bool = False
    """It changes rows, which are counted in their own way."""


def subject_of(text: bytes) -> Subject | None:
    """Return what one statement is about; None if that is no relation, schema or type, or it cannot be read."""
    try:
        (raw,) = grammar.parse(text)
        return _subject(raw)
    except (grammar.Unreadable, ValueError, KeyError):
        return None


def dropped_in(text: bytes) -> Subject | None:
    """Return the routines, extensions or servers that one statement drops; None if it drops none, or cannot be read."""
    try:
        (raw,) = grammar.parse(text)
        if raw.node != "DropStmt":
            return None
        kind, objects = str(raw.fields["removeType"]), raw.fields["objects"]
        if kind in _ROUTINES:
            names = tuple(strings(item["ObjectWithArgs"]["objname"])[-1] for item in objects)
            return Subject(None, routines=names, dropped=True)
        if kind == "OBJECT_EXTENSION":
            return Subject(None, extensions=tuple(strings(objects)), dropped=True)
        return Subject(None, servers=tuple(strings(objects)), dropped=True) if kind == "OBJECT_FOREIGN_SERVER" else None
    except (grammar.Unreadable, ValueError, LookupError):
        return None


def _subject(raw: RawStatement) -> Subject | None:
    locking, fields = locking_of(raw), raw.fields
    match raw.node:
        case "DropStmt":
            return _dropping(raw, locking)
        case "TruncateStmt":
            named = [item["RangeVar"] for item in fields["relations"]]
            return Subject(
                locking,
                tuple(map(relation, named)),
                # Named both ways, its children go.
                alone=frozenset(map(relation, named)) - {relation(each) for each in named if "inh" in each},
                referring=fields.get("behavior") == "DROP_CASCADE",
                emptied=True,
            )
        case "LockStmt":
            return Subject(locking, tuple(relation(item["RangeVar"]) for item in fields["relations"]))
        case "VacuumStmt":
            named = [each["VacuumRelation"]["relation"] for each in fields.get("rels", ())]
            return Subject(locking, tuple(map(relation, named))) if named else None
        case "CreatePolicyStmt" | "AlterPolicyStmt":
            return Subject(locking, (relation(fields["table"]),), alone=frozenset({relation(fields["table"])}))
    if locking is None or "relation" not in fields:
        return None
    named = fields["relation"]
    alone = frozenset() if "inh" in named else frozenset({relation(named)})
    columns, constraints = (_under_cascade(fields, subtype) for subtype in ("AT_DropColumn", "AT_DropConstraint"))
    return Subject(
        locking,
        (relation(named),),
        alone=alone,
        columns=columns,
        constraints=constraints,
        changes_rows=raw.node in CHANGING,
    )


def _under_cascade(fields: Mapping[str, Any], subtype: str) -> tuple[str, ...]:
    """Return the names of what ALTER TABLE drops in commands of that type, with all that depends on it."""
    commands = (command.get("AlterTableCmd", {}) for command in fields.get("cmds", ()))
    return tuple(
        str(command["name"])
        for command in commands
        if command.get("subtype") == subtype and command.get("behavior") == "DROP_CASCADE"
    )


def _dropping(raw: RawStatement, locking: Locking | None) -> Subject | None:
    kind, objects = str(raw.fields["removeType"]), raw.fields["objects"]
    if kind in _RELATIONS:
        names = tuple(tuple(strings(item["List"]["items"])) for item in objects)
        # Its partitions go with it, what inherits from it only under CASCADE; both are among what depends on it.
        return Subject(
            locking, names, frozenset(names), dropped=True, emptied=kind in ("OBJECT_TABLE", "OBJECT_MATVIEW")
        )
    if kind in _ON_A_RELATION:
        names = tuple(tuple(strings(item["List"]["items"]))[:-1] for item in objects)
        return Subject(locking, names, frozenset(names))
    if kind == "OBJECT_SCHEMA":
        # Of all that is in it.
        locking = Locking(LockMode.AccessExclusiveLock)
        return Subject(locking, schemas=tuple(strings(objects)), dropped=True, emptied=True)
    if kind in ("OBJECT_TYPE", "OBJECT_DOMAIN"):
        types = tuple(tuple(strings(item["TypeName"]["names"])) for item in objects)
        return Subject(None, types=types, dropped=True)
    return None

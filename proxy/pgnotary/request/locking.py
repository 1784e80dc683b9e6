"""How hard a statement locks its tables, and whether it goes through all of their rows: as its text says.

A statement as the grammar reads it enters; a `Locking` leaves, or None where none is known. Where the mode depends on
what only the server knows, the strongest stands: nobody is told of less than there will be.

Source: PostgreSQL 18, "Explicit Locking" (table 13.2), "ALTER TABLE"; AlterTableGetLockLevel().
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from pgnotary.judge.grammar import RawStatement

__all__ = ["LockMode", "Locking", "Work", "locking_of"]


class LockMode(IntEnum):
    """A lock of a table, by PostgreSQL's number; its name is what pg_locks calls it."""

    AccessShareLock = 1
    RowShareLock = 2
    RowExclusiveLock = 3
    ShareUpdateExclusiveLock = 4
    ShareLock = 5
    ShareRowExclusiveLock = 6
    ExclusiveLock = 7
    AccessExclusiveLock = 8

    @property
    def conflicts(self) -> tuple["LockMode", ...]:
        """The modes that nobody else may hold meanwhile."""
        return tuple(LockMode(number) for number in _CONFLICTS[self])


_CONFLICTS = {
    1: (8,),
    2: (7, 8),
    3: (5, 6, 7, 8),
    4: (4, 5, 6, 7, 8),
    5: (3, 4, 6, 7, 8),
    6: (3, 4, 5, 6, 7, 8),
    7: (2, 3, 4, 5, 6, 7, 8),
    8: (1, 2, 3, 4, 5, 6, 7, 8),
}


class Work(StrEnum):
    """What it does with all rows of a table, whatever their number."""

    NONE = ""
    SCAN = "scan"
    """It reads them all."""
    REWRITE = "rewrite"
    """It writes them all anew, or may."""


@dataclass(frozen=True, slots=True)
class Locking:
    """The strongest lock that it takes of a table that it names, and the most work that it does there."""

    mode: LockMode
    work: Work = Work.NONE


_M = LockMode
_ALONE = Locking(_M.AccessExclusiveLock)
# The same for every statement of the kind.
_BY_NODE = {
    "InsertStmt": Locking(_M.RowExclusiveLock),
    "UpdateStmt": Locking(_M.RowExclusiveLock),
    "DeleteStmt": Locking(_M.RowExclusiveLock),
    "MergeStmt": Locking(_M.RowExclusiveLock),
    "CreateTrigStmt": Locking(_M.ShareRowExclusiveLock),
    "TruncateStmt": _ALONE,
    "RenameStmt": _ALONE,
    "AlterObjectSchemaStmt": _ALONE,
    "RuleStmt": _ALONE,
    "CreatePolicyStmt": _ALONE,
    "AlterPolicyStmt": _ALONE,
    "ClusterStmt": Locking(_M.AccessExclusiveLock, Work.REWRITE),
}
_GENTLE = frozenset(
    """
    AT_SetStatistics AT_ClusterOn AT_DropCluster AT_SetOptions AT_ResetOptions AT_AttachPartition
    AT_DetachPartitionFinalize AT_ValidateConstraint
    """.split()
)
_OF_TRIGGERS = frozenset(f"AT_{word}Trig{which}" for word in ("Enable", "Disable") for which in ("", "All", "User")) | {
    "AT_EnableAlwaysTrig",
    "AT_EnableReplicaTrig",
}
_REWRITES = frozenset(
    """
    AT_AlterColumnType AT_SetLogged AT_SetUnLogged AT_SetAccessMethod AT_SetTableSpace AT_SetExpression AT_AddIdentity
    """.split()
)
_SCANS = frozenset("AT_SetNotNull AT_ValidateConstraint AT_AttachPartition AT_AddIndex AT_AddConstraint".split())
_KEEPS_ROWS = frozenset({"CONSTR_NOTNULL", "CONSTR_NULL"})


def locking_of(raw: RawStatement) -> Locking | None:
    """Return how it locks what it names; None of what locks no table that it names, or of what is not known."""
    concurrent = bool(raw.fields.get("concurrent")) or _option(raw, "concurrently")
    match raw.node:
        case "DropStmt":
            return Locking(_M.ShareUpdateExclusiveLock) if concurrent else _ALONE
        case "IndexStmt":
            return Locking(_M.ShareUpdateExclusiveLock if concurrent else _M.ShareLock, Work.SCAN)
        case "ReindexStmt":
            # The indexes themselves are locked harder, and with them whoever would plan with one.
            alone = _M.AccessExclusiveLock if raw.fields["kind"] == "REINDEX_OBJECT_INDEX" else _M.ShareLock
            return Locking(_M.ShareUpdateExclusiveLock if concurrent else alone, Work.SCAN)
        case "RefreshMatViewStmt":
            return Locking(_M.ExclusiveLock if concurrent else _M.AccessExclusiveLock, Work.REWRITE)
        case "VacuumStmt":
            if _option(raw, "full"):
                return Locking(_M.AccessExclusiveLock, Work.REWRITE)
            # ANALYZE reads a sample.
            return Locking(_M.ShareUpdateExclusiveLock, Work.SCAN if raw.fields.get("is_vacuumcmd") else Work.NONE)
        case "LockStmt":
            return Locking(LockMode(int(raw.fields["mode"])))
        case "AlterTableStmt":
            return _altering([command["AlterTableCmd"] for command in raw.fields["cmds"]])
    return _BY_NODE.get(raw.node)


def _option(raw: RawStatement, name: str) -> bool:
    """Say whether an option is given, and not with a value that turns it off."""
    options = raw.fields.get("options" if raw.node == "VacuumStmt" else "params", ())
    return any(_is_on(each["DefElem"]) for each in options if each["DefElem"]["defname"] == name)


def _is_on(option: Mapping[str, Any]) -> bool:
    if "arg" not in option:
        return True
    (value,) = option["arg"].values()
    # What is false or 0 is left out of the tree.
    return bool(value) and str(next(iter(value.values()))).lower() not in ("off", "false", "0")


def _altering(commands: list[Mapping[str, Any]]) -> Locking:
    mode = max(map(_mode, commands))
    works = {work for command in commands for work in _works(command)}
    return Locking(mode, Work.REWRITE if Work.REWRITE in works else Work.SCAN if works else Work.NONE)


def _mode(command: Mapping[str, Any]) -> LockMode:
    subtype, definition = str(command["subtype"]), command.get("def", {})
    if subtype in _GENTLE:
        return _M.ShareUpdateExclusiveLock
    if subtype == "AT_DetachPartition" and definition["PartitionCmd"].get("concurrent"):
        return _M.ShareUpdateExclusiveLock
    if subtype in _OF_TRIGGERS:
        return _M.ShareRowExclusiveLock
    if subtype == "AT_AddConstraint" and definition["Constraint"]["contype"] == "CONSTR_FOREIGN":
        return _M.ShareRowExclusiveLock
    return _M.AccessExclusiveLock


def _works(command: Mapping[str, Any]) -> Iterator[Work]:
    subtype, definition = str(command["subtype"]), command.get("def", {})
    if subtype in _REWRITES:
        yield Work.REWRITE
    elif subtype == "AT_AddColumn":
        yield from filter(None, map(_adding, definition["ColumnDef"].get("constraints", ())))
    elif subtype in _SCANS and not definition.get("Constraint", {}).get("skip_validation"):
        yield Work.SCAN


def _adding(given: Mapping[str, Any]) -> Work:
    """Return what a constraint of a new column makes of the table; what is no constant may be another for each row."""
    constraint = given["Constraint"]
    kind = constraint["contype"]
    if kind == "CONSTR_GENERATED" and constraint.get("generated_kind") == "v":
        return Work.NONE
    if kind in ("CONSTR_GENERATED", "CONSTR_IDENTITY"):
        return Work.REWRITE
    if kind == "CONSTR_DEFAULT":
        return Work.NONE if "A_Const" in constraint["raw_expr"] else Work.REWRITE
    return Work.NONE if kind in _KEEPS_ROWS else Work.SCAN

"""Every kind of statement in PostgreSQL's grammar, by the class that policy knows it under.

The type of a tree's root and its messages enter, a `StatementClass` leaves. What is not named here is `unknown`, which
no profile forwards.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pgnotary.judge.grammar import Message
from pgnotary.judge.statement import Control, StatementClass

__all__ = ["CONTROLS", "explain_analyzes", "kind_of", "runs_only_outside_a_block"]

CONTROLS: Mapping[str, Control] = {
    "TRANS_STMT_BEGIN": Control.BEGIN,
    "TRANS_STMT_START": Control.BEGIN,
    "TRANS_STMT_COMMIT": Control.COMMIT,
    "TRANS_STMT_ROLLBACK": Control.ROLLBACK,
    "TRANS_STMT_SAVEPOINT": Control.SAVEPOINT,
    "TRANS_STMT_RELEASE": Control.RELEASE,
    "TRANS_STMT_ROLLBACK_TO": Control.ROLLBACK_TO,
}

_FALSE = frozenset({"false", "off", "0"})

_C = StatementClass
_DML = {"InsertStmt": _C.INSERT, "UpdateStmt": _C.UPDATE, "DeleteStmt": _C.DELETE, "MergeStmt": _C.MERGE}
_KINDS: Mapping[str, StatementClass] = _DML | {
    "SelectStmt": _C.SELECT,
    "VariableShowStmt": _C.SHOW,
    "ExplainStmt": _C.EXPLAIN,
    "TransactionStmt": _C.TRANSACTION,
    "VariableSetStmt": _C.SESSION,
    "DiscardStmt": _C.SESSION,
    "ConstraintsSetStmt": _C.SESSION,
    "TruncateStmt": _C.TRUNCATE,
    "CallStmt": _C.CALL,
    "DoStmt": _C.DO,
    "LockStmt": _C.LOCK,
    "PrepareStmt": _C.PREPARE,
    "DeallocateStmt": _C.PREPARE,
    "ExecuteStmt": _C.EXECUTE,
    "DeclareCursorStmt": _C.CURSOR,
    "FetchStmt": _C.CURSOR,
    "ClosePortalStmt": _C.CURSOR,
    "ListenStmt": _C.LISTEN,
    "UnlistenStmt": _C.LISTEN,
    "NotifyStmt": _C.LISTEN,
    "GrantStmt": _C.GRANT,
    "GrantRoleStmt": _C.GRANT,
    "AlterDefaultPrivilegesStmt": _C.GRANT,
    "ReassignOwnedStmt": _C.GRANT,
    "VacuumStmt": _C.MAINTENANCE,
    "ClusterStmt": _C.MAINTENANCE,
    "ReindexStmt": _C.MAINTENANCE,
    "CheckPointStmt": _C.MAINTENANCE,
    "RefreshMatViewStmt": _C.MAINTENANCE,
    "LoadStmt": _C.MAINTENANCE,
    "RenameStmt": _C.ALTER,
    "CommentStmt": _C.ALTER,
    "SecLabelStmt": _C.ALTER,
    "DefineStmt": _C.CREATE,
    "IndexStmt": _C.CREATE,
    "ViewStmt": _C.CREATE,
    "RuleStmt": _C.CREATE,
    "CompositeTypeStmt": _C.CREATE,
    "ImportForeignSchemaStmt": _C.CREATE,
}


def kind_of(node: str, fields: Mapping[str, Any], tree: Sequence[Message]) -> StatementClass:
    """Return the class of a statement; a write inside a query or behind EXPLAIN ANALYZE gives its own class."""
    if node == "CopyStmt":
        return _C.COPY_IN if fields.get("is_from") else _C.COPY_OUT
    if node == "InsertStmt" and fields.get("onConflictClause", {}).get("action") == "ONCONFLICT_UPDATE":
        return _C.UPDATE
    if node == "SelectStmt" or (node == "ExplainStmt" and explain_analyzes(fields)):
        return next((_DML[message.type] for message in tree if message.type in _DML), _KINDS[node])
    if node in _KINDS:
        return _KINDS[node]
    for prefix, kind in (("Drop", _C.DROP), ("Alter", _C.ALTER), ("Create", _C.CREATE)):
        if node.startswith(prefix):
            return kind
    return _C.UNKNOWN


def explain_analyzes(fields: Mapping[str, Any]) -> bool:
    """Say whether an ExplainStmt runs its statement."""
    # The last of repeated options wins; an option counts as off only if it says so in a form we know.
    analyze = False
    for option in fields.get("options", ()):
        element = option["DefElem"]
        if element["defname"] == "analyze":
            match element.get("arg"):
                case {"String": {"sval": str(value)}}:
                    analyze = value.lower() not in _FALSE
                case {"Integer": {**value}}:
                    analyze = value.get("ival", 0) != 0
                case _:
                    analyze = True
    return analyze


_NEVER_IN_A_BLOCK = frozenset(
    {
        "CreatedbStmt",
        "DropdbStmt",
        "CreateTableSpaceStmt",
        "DropTableSpaceStmt",
        "AlterSystemStmt",
        "CreateSubscriptionStmt",
        "DropSubscriptionStmt",
    }
)
_REINDEX_MANY = frozenset({"REINDEX_OBJECT_SCHEMA", "REINDEX_OBJECT_SYSTEM", "REINDEX_OBJECT_DATABASE"})


def runs_only_outside_a_block(node: str, fields: Mapping[str, Any]) -> bool:
    """Say whether PostgreSQL refuses the statement inside a transaction block (PreventInTransactionBlock)."""
    match node:
        case _ if node in _NEVER_IN_A_BLOCK:
            return True
        case "VacuumStmt":
            # ANALYZE is one, too.
            return bool(fields.get("is_vacuumcmd"))
        case "DiscardStmt":
            return bool(fields.get("target") == "DISCARD_ALL")
        case "ClusterStmt":
            return "relation" not in fields
        case "IndexStmt" | "DropStmt":
            return bool(fields.get("concurrent"))
        case "AlterTableStmt":
            # DETACH PARTITION ... CONCURRENTLY
            commands = (item["AlterTableCmd"].get("def", {}) for item in fields.get("cmds", ()))
            return any(command.get("PartitionCmd", {}).get("concurrent") for command in commands)
        case "ReindexStmt":
            concurrently = any(option["DefElem"]["defname"] == "concurrently" for option in fields.get("params", ()))
            return concurrently or fields.get("kind") in _REINDEX_MANY
        case _:
            return False

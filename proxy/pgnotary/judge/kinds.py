"""Every kind of statement in PostgreSQL's grammar, by the class that policy knows it under.

The type of a tree's root and its messages enter, a `StatementClass` leaves; of several changes in one statement the
heaviest counts. What is not named here is `unknown`, which no profile forwards.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pgnotary.judge.grammar import Message
from pgnotary.judge.statement import Control, StatementClass

__all__ = ["CONTROLS", "ENDS_PREPARED", "classes_within", "explain_analyzes", "kind_of", "runs_only_outside_a_block"]

CONTROLS: Mapping[str, Control] = {
    "TRANS_STMT_BEGIN": Control.BEGIN,
    "TRANS_STMT_START": Control.BEGIN,
    "TRANS_STMT_COMMIT": Control.COMMIT,
    "TRANS_STMT_ROLLBACK": Control.ROLLBACK,
    "TRANS_STMT_SAVEPOINT": Control.SAVEPOINT,
    "TRANS_STMT_RELEASE": Control.RELEASE,
    "TRANS_STMT_ROLLBACK_TO": Control.ROLLBACK_TO,
    "TRANS_STMT_PREPARE": Control.PREPARE,
}
ENDS_PREPARED: Mapping[str, Control] = {
    "TRANS_STMT_COMMIT_PREPARED": Control.COMMIT,
    "TRANS_STMT_ROLLBACK_PREPARED": Control.ROLLBACK,
}
"""What is done to a prepared transaction, which need not be of the session that says so."""

_FALSE = frozenset({"false", "off", "0"})

_C = StatementClass
_DML = {"InsertStmt": _C.INSERT, "UpdateStmt": _C.UPDATE, "DeleteStmt": _C.DELETE, "MergeStmt": _C.MERGE}
_OF_MERGE = {"CMD_UPDATE": _C.UPDATE, "CMD_DELETE": _C.DELETE, "CMD_INSERT": _C.INSERT}
_HEAVIEST = (_C.DELETE, _C.MERGE, _C.UPDATE, _C.INSERT)
_NODES: Mapping[StatementClass, str] = {
    _C.INSERT: "InsertStmt",
    _C.UPDATE: "UpdateStmt",
    _C.DELETE: "DeleteStmt",
    _C.MERGE: "MergeStmt",
    _C.SELECT: "SelectStmt",
    _C.SHOW: "VariableShowStmt",
    _C.EXPLAIN: "ExplainStmt",
    _C.TRANSACTION: "TransactionStmt",
    _C.SESSION: "VariableSetStmt DiscardStmt ConstraintsSetStmt",
    _C.TRUNCATE: "TruncateStmt",
    _C.CALL: "CallStmt",
    _C.DO: "DoStmt",
    _C.LOCK: "LockStmt",
    _C.PREPARE: "PrepareStmt DeallocateStmt",
    _C.EXECUTE: "ExecuteStmt",
    _C.CURSOR: "DeclareCursorStmt FetchStmt ClosePortalStmt",
    _C.LISTEN: "ListenStmt UnlistenStmt NotifyStmt",
    _C.SEQUENCE: "AlterSeqStmt",
    _C.GRANT: "GrantStmt GrantRoleStmt AlterDefaultPrivilegesStmt ReassignOwnedStmt",
    _C.MAINTENANCE: "VacuumStmt ClusterStmt ReindexStmt CheckPointStmt RefreshMatViewStmt LoadStmt",
    _C.DROP: """
        DropStmt DropOwnedStmt DropRoleStmt DropSubscriptionStmt DropTableSpaceStmt DropUserMappingStmt DropdbStmt
    """,
    _C.CREATE: """
        CompositeTypeStmt CreateAmStmt CreateCastStmt CreateConversionStmt CreateDomainStmt CreateEnumStmt
        CreateEventTrigStmt CreateExtensionStmt CreateFdwStmt CreateForeignServerStmt CreateForeignTableStmt
        CreateFunctionStmt CreateOpClassStmt CreateOpFamilyStmt CreatePLangStmt CreatePolicyStmt CreatePublicationStmt
        CreateRangeStmt CreateRoleStmt CreateSchemaStmt CreateSeqStmt CreateStatsStmt CreateStmt CreateSubscriptionStmt
        CreateTableAsStmt CreateTableSpaceStmt CreateTransformStmt CreateTrigStmt CreateUserMappingStmt CreatedbStmt
        DefineStmt ImportForeignSchemaStmt IndexStmt RuleStmt ViewStmt
    """,
    _C.ALTER: """
        AlterCollationStmt AlterDatabaseRefreshCollStmt AlterDatabaseSetStmt AlterDatabaseStmt AlterDomainStmt
        AlterEnumStmt AlterEventTrigStmt AlterExtensionContentsStmt AlterExtensionStmt AlterFdwStmt
        AlterForeignServerStmt AlterFunctionStmt AlterObjectDependsStmt AlterObjectSchemaStmt AlterOpFamilyStmt
        AlterOperatorStmt AlterOwnerStmt AlterPolicyStmt AlterPublicationStmt AlterRoleSetStmt AlterRoleStmt
        AlterStatsStmt AlterSubscriptionStmt AlterSystemStmt AlterTSConfigurationStmt AlterTSDictionaryStmt
        AlterTableMoveAllStmt AlterTableSpaceOptionsStmt AlterTableStmt AlterTypeStmt AlterUserMappingStmt CommentStmt
        RenameStmt ReplicaIdentityStmt SecLabelStmt
    """,
}
_KINDS: Mapping[str, StatementClass] = {node: kind for kind, nodes in _NODES.items() for node in nodes.split()}


def kind_of(node: str, fields: Mapping[str, Any], tree: Sequence[Message]) -> StatementClass:
    """Return the class of a statement; a write inside a query or behind EXPLAIN ANALYZE gives its own class."""
    if node == "CopyStmt":
        return _C.COPY_IN if fields.get("is_from") else _C.COPY_OUT
    if node in _DML or node == "SelectStmt" or (node == "ExplainStmt" and explain_analyzes(fields)):
        inside = {_of_change(each.type, each.fields) for each in tree if each.type in _DML}
        return next((kind for kind in _HEAVIEST if kind in inside), _KINDS[node])
    if node == "TransactionStmt" and fields.get("kind") in ENDS_PREPARED:
        return _C.TWO_PHASE
    return _KINDS.get(node, _C.UNKNOWN)


def classes_within(tree: Sequence[Message]) -> frozenset[StatementClass]:
    """Return the classes of all changes of rows in a statement, MERGE's own among them."""
    found = {_of_change(each.type, each.fields) for each in tree if each.type in _DML}
    for each in tree:
        if each.type == "MergeWhenClause":
            found.add(_OF_MERGE.get(each.fields.get("commandType", ""), _C.MERGE))
    return frozenset(found)


def _of_change(node: str, fields: Mapping[str, Any]) -> StatementClass:
    overwrites = fields.get("onConflictClause", {}).get("action") == "ONCONFLICT_UPDATE"
    return _C.UPDATE if overwrites else _DML[node]


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
        case "TransactionStmt":
            return fields.get("kind") in ENDS_PREPARED
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

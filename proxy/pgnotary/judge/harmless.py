"""The allow-list over PostgreSQL's parse tree: which trees change nothing by what they are.

A tree enters; what it may do beyond a plain read leaves, as findings. Every message of the tree must be of a listed
type, so a construct that a later grammar adds is held until somebody has read what it does. What the names in a tree
mean (functions, operators, casts, views) is no question of structure: `naming` collects them, `meaning` asks a catalog.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pgnotary.judge.grammar import Message
from pgnotary.judge.naming import strings
from pgnotary.judge.settings import Ruling, SettingChange, ruling_by_function
from pgnotary.judge.statement import Finding, Qualifier

__all__ = ["COPY_MESSAGES", "DML_MESSAGES", "QUERY_MESSAGES", "TABLE_MESSAGES", "structural"]

QUERY_MESSAGES = frozenset(
    """
    SelectStmt ResTarget ColumnRef A_Star A_Const Integer Float Boolean String BitString List A_Expr BoolExpr NullTest
    BooleanTest SubLink FuncCall NamedArgExpr RangeVar Alias JoinExpr RangeSubselect RangeFunction RangeTableSample
    RangeTableFunc RangeTableFuncCol CaseExpr CaseWhen CoalesceExpr MinMaxExpr RowExpr A_ArrayExpr A_Indirection
    A_Indices TypeCast TypeName CollateClause SortBy WindowDef WithClause CommonTableExpr CTESearchClause
    CTECycleClause GroupingSet GroupingFunc SQLValueFunction XmlExpr XmlSerialize ParamRef JsonFuncExpr JsonValueExpr
    JsonFormat JsonReturning JsonOutput JsonArgument JsonObjectConstructor JsonArrayConstructor
    JsonArrayQueryConstructor JsonAggConstructor JsonObjectAgg JsonArrayAgg JsonKeyValue JsonIsPredicate JsonTable
    JsonTableColumn JsonTablePathSpec JsonBehavior JsonParseExpr JsonScalarExpr JsonSerializeExpr ColumnDef
    """.split()
)
"""Every message that a plain query may consist of; IntoClause and LockingClause are not among them.

A ColumnDef is what follows AS in `json_to_record(...) AS (a int)`.
"""

DML_MESSAGES = QUERY_MESSAGES | frozenset(
    """
    InsertStmt UpdateStmt DeleteStmt MergeStmt MergeWhenClause OnConflictClause InferClause IndexElem MultiAssignRef
    SetToDefault ReturningClause ReturningOption CurrentOfExpr
    """.split()
)
"""What a data-changing statement may consist of for an EXPLAIN or a preview to plan it."""

COPY_MESSAGES = QUERY_MESSAGES | {"CopyStmt", "DefElem"}
"""What a COPY ... TO STDOUT may consist of."""

TABLE_MESSAGES = QUERY_MESSAGES | {"CreateStmt", "CreateTableAsStmt", "IntoClause", "Constraint", "DefElem"}
"""What the making of a temporary table may consist of; no LIKE and no INHERITS, which bring others' defaults."""

# asyncpg switches it off before it asks for types.
_OF_NO_CONSEQUENCE = frozenset({"jit"})
_SAMPLING = frozenset({"bernoulli", "system"})

_WRITES = {
    "IntoClause": "INTO, which makes a table",
    "InsertStmt": "an INSERT inside it",
    "UpdateStmt": "an UPDATE inside it",
    "DeleteStmt": "a DELETE inside it",
    "MergeStmt": "a MERGE inside it",
}


def structural(tree: Iterable[Message], allowed: frozenset[str]) -> Iterator[Finding]:
    """Yield what the tree may do beyond a plain read by its structure, whatever the names in it mean."""
    fixed: dict[int, str] = {}
    tree = list(tree)
    queries = {message.fields.get("ctename") for message in tree if message.type == "CommonTableExpr"}
    for message in tree:
        match message.type:
            case "LockingClause":
                yield Finding(Qualifier.LOCKING, "has row locks (FOR UPDATE or SHARE)")
            case "SelectStmt" if "pg_settings" not in queries and (name := _fixed_name(message.fields)) is not None:
                fixed.update(dict.fromkeys(_selected_calls(message.fields), name))
            case kind if kind not in allowed and kind in _WRITES:
                yield Finding(Qualifier.WRITE, f"has {_WRITES[kind]}")
            case kind if kind not in allowed and kind not in DML_MESSAGES:
                yield Finding(Qualifier.UNREAD, f"has {kind}")
            case "RangeTableSample" if not _is_built_in_sampling(message.fields):
                yield Finding(Qualifier.FUNCTION, "has a TABLESAMPLE method that is not built in")
            case "FuncCall" if strings(message.fields.get("funcname", ()))[-1:] == ["set_config"]:
                yield from _set_config(message.fields, fixed.get(id(message.fields)))


def _fixed_name(fields: Mapping[str, Any]) -> str | None:
    """Return x of `SELECT ... FROM pg_settings WHERE name = 'x'`, which is how pg_dump sets what may not be there."""
    match fields.get("fromClause"), fields.get("whereClause"):
        case [{"RangeVar": {"relname": "pg_settings", **_where}}], {
            "A_Expr": {
                "kind": "AEXPR_OP",
                "name": [{"String": {"sval": "="}}],
                "lexpr": {"ColumnRef": {"fields": [{"String": {"sval": "name"}}]}},
                "rexpr": {"A_Const": {"sval": {"sval": str(name)}}},
            }
        } if _where.get("schemaname", "pg_catalog") == "pg_catalog":
            return name
        case _:
            return None


def _selected_calls(fields: Mapping[str, Any]) -> Iterator[int]:
    """Yield which calls a query selects as they are: there `name` is its own column, and no other query's."""
    for target in fields.get("targetList", ()):
        match target:
            case {"ResTarget": {"val": {"FuncCall": {**_call}}}}:
                yield id(target["ResTarget"]["val"]["FuncCall"])


def _set_config(fields: Mapping[str, Any], name: str | None = None) -> Iterator[Finding]:
    """Judge set_config() like SET, if it names in so many words what it sets; `name` is what the column name holds."""
    match fields.get("args"):
        case [{"ColumnRef": {"fields": [{"String": {"sval": "name"}}]}}, *others] if name is not None:
            yield from _set_config({"args": [{"A_Const": {"sval": {"sval": name}}}, *others]})
        case [{"A_Const": {"sval": {"sval": str(name)}}}, _, _] if name.lower() in _OF_NO_CONSEQUENCE:
            return
        case [{"A_Const": {"sval": {"sval": str(name)}}}, value, _]:
            match value:
                case {"A_Const": {"sval": {**constant}}}:
                    change = SettingChange(name.lower(), (str(constant.get("sval", "")),))
                case _:
                    change = SettingChange(name.lower(), None)
            match ruling_by_function(change):
                case Ruling.FREE:
                    yield Finding(Qualifier.SESSION, f"changes {change.name} by set_config()")
                case Ruling.REFUSE:
                    yield Finding(Qualifier.PINNED, f"changes {change.name}, which pgnotary keeps")
                case _:
                    yield Finding(Qualifier.SETTING, f"changes {change.name} by set_config(), which is not free")
        case _:
            yield Finding(Qualifier.SETTING, "changes by set_config() what it does not name in so many words")


def _is_built_in_sampling(fields: Mapping[str, Any]) -> bool:
    match strings(fields.get("method", ())):
        case [name] | ["pg_catalog", name]:
            return name in _SAMPLING
        case _:
            return False

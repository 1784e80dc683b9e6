"""The allow-list over PostgreSQL's parse tree: which trees change nothing.

A tree enters; the first doubt leaves, or "". Every message of the tree must be of a listed type, so a construct that a
later grammar adds is held until somebody has read what it does. Functions must be built-in ones from the list of
harmless names, also where an attribute is selected, which may be a call. What a text cannot show (a view, an operator
or a cast that reaches a writing function) is left to the server's read-only wall.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pgnotary.judge.catalog import Catalog
from pgnotary.judge.grammar import Message
from pgnotary.judge.harmless_functions import HARMLESS
from pgnotary.judge.settings import FREE_BY_FUNCTION

__all__ = ["DML_MESSAGES", "QUERY_MESSAGES", "attributes", "doubt_of", "function_name", "identifier", "relation_name"]

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

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")
_SAMPLING = frozenset({"bernoulli", "system"})

_NAMED = {
    "IntoClause": "INTO, which makes a table",
    "LockingClause": "row locks (FOR UPDATE or SHARE)",
    "InsertStmt": "an INSERT inside it",
    "UpdateStmt": "an UPDATE inside it",
    "DeleteStmt": "a DELETE inside it",
    "MergeStmt": "a MERGE inside it",
}


def doubt_of(tree: Iterable[Message], allowed: frozenset[str], catalog: Catalog) -> str:
    """Return why the tree is not known to be harmless in a database with that catalog, or ""."""
    for message in tree:
        if message.type not in allowed:
            return f"has {_NAMED.get(message.type, message.type)}"
        if message.type == "FuncCall" and (doubt := _function_doubt(message.fields, catalog)):
            return doubt
        if called := next(filter(catalog.may_call, attributes(message)), ""):
            return f"selects the attribute {called}, which may be a call of a function of that name"
        if message.type == "RangeTableSample" and not _is_built_in_sampling(message.fields):
            return "has a TABLESAMPLE method that is not built in"
    return ""


def function_name(fields: Mapping[str, Any]) -> str:
    """Return the name of a FuncCall as spelled, e.g. pg_catalog.now."""
    return ".".join(_strings(fields.get("funcname", ())))


def relation_name(fields: Mapping[str, Any]) -> str:
    """Return the name of a RangeVar as one would write it, e.g. public.orders or public."Orders"."""
    parts = (fields.get(key, "") for key in ("catalogname", "schemaname", "relname"))
    return ".".join(identifier(part) for part in parts if part)


def identifier(name: str) -> str:
    """Return a name in quotes unless it is plain: it must not pass for several names, or for words of ours."""
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def attributes(message: Message) -> Iterator[str]:
    """Yield what follows a dot in `(x).f` and `t.f`: columns, or else functions of x and t."""
    if message.type == "A_Indirection":
        yield from filter(None, _strings(message.fields.get("indirection", ())))
    elif message.type == "ColumnRef" and len(fields := message.fields.get("fields", ())) > 1:
        yield from filter(None, _strings(fields[-1:]))


def _strings(nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    return [str(node.get("String", {}).get("sval", "")) for node in nodes]


def _function_doubt(fields: Mapping[str, Any], catalog: Catalog) -> str:
    match _strings(fields.get("funcname", ())):
        case [name] if name in HARMLESS | {"set_config"} and catalog.is_ambiguous(name):
            return f"calls {name}, and the database has a function of that name outside pg_catalog too"
        case [name] | ["pg_catalog", name] if name in HARMLESS:
            return ""
        case ["set_config"] | ["pg_catalog", "set_config"] if _sets_what_is_free(fields):
            return ""
        case names:
            return f"calls {'.'.join(names)}, which is not on the list of harmless built-in functions"


def _sets_what_is_free(fields: Mapping[str, Any]) -> bool:
    """Say whether set_config() names, in so many words, a setting that it may give any value."""
    match fields.get("args"):
        case [{"A_Const": {"sval": {"sval": str(name)}}}, _, _]:
            return name.lower() in FREE_BY_FUNCTION
        case _:
            return False


def _is_built_in_sampling(fields: Mapping[str, Any]) -> bool:
    match _strings(fields.get("method", ())):
        case [name] | ["pg_catalog", name]:
            return name in _SAMPLING
        case _:
            return False

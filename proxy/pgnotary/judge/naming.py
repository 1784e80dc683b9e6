"""The names in a parse tree: relations, functions, operators, types, collations that a statement says, or uses unsaid.

A tree enters, `Names` leave. Some operators stand in no text: JOIN USING, IN, BETWEEN and CASE compare with the `=`,
`<=` and `>=` that the session's search_path finds.

Source: PostgreSQL 18, parse_clause.c (`transformJoinUsingClause`), parse_expr.c (`transformCaseExpr`,
`transformAExprBetween`), gram.y.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pgnotary.judge.grammar import Message
from pgnotary.judge.harmless_functions import NAMING_TYPES, OF_ANY_TYPE
from pgnotary.judge.identifiers import qualified
from pgnotary.judge.statement import Name, Names, frozen

__all__ = [
    "attributes",
    "function_name",
    "names_of",
    "relation",
    "relation_name",
    "strings",
    "types_by_text",
]

_EQUALS: Name = ("=",)
_BETWEEN: frozenset[Name] = frozenset({("<",), (">",), ("<=",), (">=",)})
# They make a literal a value of the type that another argument has, or holds.
_UNIFYING = re.compile(
    r"(jsonb?_)?populate_record(set|_valid)?|array_(agg|append|cat|fill|position|positions|prepend|remove|replace)"
    r"|any_value_transfn|percentile_disc|lag|lead|width_bucket|(multi)?range_contains_elem|elem_contained_by_(multi)?range"
)
_MAKING_JSON = re.compile(r"(to|array_to|row_to)_jsonb?|jsonb?_(agg|build_array|build_object|object_agg)\w*")
# They run a query of their own, in which `=` is looked up by the session's search_path.
_QUERYING = re.compile(r"pg_get_(view|rule)def")
# Syntax of PostgreSQL 16 to 18 that is a call of a function of that name for an older server.
_CONSTRUCTS = {
    "JsonScalarExpr": "json_scalar",
    "JsonSerializeExpr": "json_serialize",
    "JsonParseExpr": "json",
    "JsonArrayConstructor": "json_array",
    "JsonArrayQueryConstructor": "json_array",
    "JsonArrayAgg": "json_arrayagg",
    "JsonObjectConstructor": "json_object",
    "JsonObjectAgg": "json_objectagg",
}
_QUERY_CONSTRUCTS = {"JSON_EXISTS_OP": "json_exists", "JSON_QUERY_OP": "json_query", "JSON_VALUE_OP": "json_value"}


def strings(nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the values of a list of String nodes; "" for other nodes."""
    return [str(node.get("String", {}).get("sval", "")) for node in nodes]


def names_of(tree: Sequence[Message]) -> Names:
    """Return what a tree names."""
    relations, functions, operators, types = set[Name](), set[Name](), set[Name](), set[Name]()
    queries, selected, constructs, collations = set[str](), set[str](), set[str](), set[Name]()
    for message in tree:
        fields = message.fields
        match message.type:
            case "RangeVar":
                relations.add(relation(fields))
            case "CommonTableExpr":
                queries.add(str(fields["ctename"]))
            case "FuncCall":
                functions.add(_of_this_database(fields.get("funcname", ())))
            case kind if kind in _CONSTRUCTS:
                constructs.add(_CONSTRUCTS[kind])
            case "JsonFuncExpr":
                constructs.add(_QUERY_CONSTRUCTS.get(fields.get("op", ""), "json_table"))
            case "TypeName":
                types.add(_of_this_database(fields.get("names", ())))
            case "CollateClause":
                collations.add(_of_this_database(fields.get("collname", ())))
            case "A_Expr":
                operators |= _of_expression(fields)
            case "SubLink" | "SortBy":
                operators.add(tuple(strings(fields.get("operName", fields.get("useOp", ())))) or _EQUALS)
            case "CaseExpr" | "JoinExpr":
                operators.add(_EQUALS)
        selected.update(attributes(message))
    if _calls(_QUERYING, functions):
        operators.add(_EQUALS)
    return Names(
        relations=frozen(relations),
        queries=frozen(queries),
        functions=frozen(functions),
        attributes=frozen(selected),
        operators=frozen(operators),
        types=frozen(types),
        collations=frozen(collations),
        constructs=frozen(constructs),
        typed_by_text=types_by_text(functions),
        unifies=("#=",) in operators or _calls(_UNIFYING, functions) or _makes_arrays(tree) or _takes_whole_rows(tree),
        makes_json=any(each.type.startswith("Json") for each in tree) or _calls(_MAKING_JSON, functions),
        of_any_type=any(name and name[-1] in OF_ANY_TYPE for name in relations)
        or (("pg_attribute",) in {name[-1:] for name in relations} and _takes_missing_values(tree)),
    )


def _of_this_database(nodes: Iterable[Mapping[str, Any]]) -> Name:
    """Return a name without its database, which can only be the one that one is in."""
    return tuple(strings(nodes)[-2:])


def _takes_missing_values(tree: Sequence[Message]) -> bool:
    """Say whether pg_attribute's only column of any type may be among what is taken: by name, or in whole rows."""
    names = (list(strings(each.fields.get("fields", ()))) for each in tree if each.type == "ColumnRef")
    return any(name[-1:] == ["attmissingval"] for name in names) or _takes_whole_rows(tree)


def types_by_text(functions: Collection[Name]) -> bool:
    """Say whether one of the functions makes a value of a type that its argument names."""
    return any(name and name[-1] in NAMING_TYPES for name in functions)


def _calls(pattern: re.Pattern[str], functions: Collection[Name]) -> bool:
    return any(name and pattern.fullmatch(name[-1]) for name in functions)


def _makes_arrays(tree: Sequence[Message]) -> bool:
    """Say whether arrays are made: a literal beside one becomes an array of the same type."""
    return any(
        message.type == "A_ArrayExpr" or message.fields.get("subLinkType") == "ARRAY_SUBLINK" for message in tree
    )


def _takes_whole_rows(tree: Sequence[Message]) -> bool:
    """Say whether a row of a table is a value: a literal beside it (in COALESCE, UNION) becomes such a row."""
    tables = {str(each.fields["aliasname"]) for each in tree if each.type == "Alias"}
    tables |= {str(each.fields.get("relname", "")) for each in tree if each.type == "RangeVar"}
    stars = expanded = 0
    for message in tree:
        match message.type, message.fields:
            case "ColumnRef", {"fields": [{"String": {"sval": str(name)}}]} if name in tables:
                return True
            case "ColumnRef", {"fields": [_, *_, {"A_Star": _}]}:
                stars += 1
            case "ResTarget", {"val": {"ColumnRef": {"fields": [_, *_, {"A_Star": _}]}}}:
                expanded += 1
    return stars > expanded


def _of_expression(fields: Mapping[str, Any]) -> frozenset[Name]:
    name = tuple(strings(fields.get("name", ())))
    return _BETWEEN if name and "BETWEEN" in name[-1] else frozenset({name})


def relation(fields: Mapping[str, Any]) -> Name:
    """Return the name of a RangeVar."""
    parts = (str(fields.get(key, "")) for key in ("catalogname", "schemaname", "relname"))
    return tuple(part for part in parts if part)


def relation_name(fields: Mapping[str, Any]) -> str:
    """Return the name of a RangeVar as one would write it, e.g. public.orders or public."Orders"."""
    return qualified(relation(fields))


def function_name(fields: Mapping[str, Any]) -> str:
    """Return the name of a FuncCall as spelled, e.g. pg_catalog.now."""
    return ".".join(strings(fields.get("funcname", ())))


def attributes(message: Message) -> Iterator[str]:
    """Yield what follows a dot in `(x).f` and `t.f`: columns, or else functions of x and t."""
    if message.type == "A_Indirection":
        yield from filter(None, strings(message.fields.get("indirection", ())))
    elif message.type == "ColumnRef" and len(fields := message.fields.get("fields", ())) > 1:
        yield from filter(None, strings(fields[-1:]))

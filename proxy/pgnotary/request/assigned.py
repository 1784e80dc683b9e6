"""A value as a column stores it: what is assigned and the column enter, an expression leaves that gives no other.

A cast says what is assigned in almost all cases. It differs where a length is exceeded: assignment drops blanks and
else fails, a cast cuts whatever is there. So the function that PostgreSQL itself uses for the length is called, with
the word that it is an assignment. And an ARRAY[] right under a cast has its elements cast one by one, which an
assignment does not do: something stands between them.

Source: PostgreSQL 18, "Value Storage"; varchar.c (`varchar`, `bpchar`), varbit.c; parse_expr.c (`transformTypeCast`).
"""

from collections.abc import Mapping
from typing import Any

import postgast
from postgast import pg_query_pb2

from pgnotary.request.columns import Column
from pgnotary.request.selects import Uncounted

__all__ = ["as_stored", "as_text", "is_certain", "value_in"]

_LENGTHS = {"bpchar": "bpchar", "character varying": "varchar", '"bit"': "bit", "bit varying": "varbit"}


def is_certain(column: Column) -> bool:
    """Say whether what a value becomes can be said: lengths inside arrays and rows are out of reach."""
    return not column.limited or (column.limit is not None and column.limit[0] in _LENGTHS)


def as_text(value: str, column: Column) -> str:
    """Return a value, spelled as SQL, as the column stores it."""
    if column.limit is None:
        return f"CAST({value} AS {column.type})"
    base, modifier = column.limit
    made = f"pg_catalog.{_LENGTHS[base]}(CAST({value} AS {base}), {modifier}, false)"
    return made if column.type == base else f"CAST({made} AS {column.type})"


def as_stored(value: pg_query_pb2.Node, column: Column) -> pg_query_pb2.Node:
    """Return a value, as the library has it, as the column stores it; raises Uncounted."""
    text = as_text("COALESCE(NULL)" if value.WhichOneof("node") == "a_array_expr" else "NULL", column)
    try:
        (statement,) = postgast.parse(f"SELECT {text}").stmts
        found = statement.stmt.select_stmt.target_list[0].res_target.val
    except Exception as error:
        raise Uncounted(f"its type cannot be written out: {column.type}") from error
    place = found
    while (kind := place.WhichOneof("node")) != "a_const":
        if kind == "type_cast":
            place = place.type_cast.arg
        else:
            place = (place.func_call if kind == "func_call" else place.coalesce_expr).args[0]
    place.CopyFrom(value)
    return found


def value_in(tree: Mapping[str, Any], meant: Mapping[str, Any], column: Column) -> Any:
    """Return the value in the tree of what `as_stored` made of `meant`; None if it is of another form."""
    wraps = ["TypeCast"] if column.limit is None or column.type == column.limit[0] else ["TypeCast", "FuncCall"]
    if column.limit is not None:
        wraps = ["FuncCall", "TypeCast"] if column.type == column.limit[0] else ["TypeCast", "FuncCall", "TypeCast"]
    if "A_ArrayExpr" in meant:
        wraps.append("CoalesceExpr")
    for wrap in wraps:
        if wrap not in tree:
            return None
        tree = tree[wrap]["arg"] if wrap == "TypeCast" else tree[wrap]["args"][0]
    return tree

"""Puts gate, grammar, allow-list and second reader together: a text becomes a `Statement`.

Bytes and what is known of the database's catalog enter, a `Statement` leaves, always: what cannot be read with
certainty is one part of class `unknown` with its doubt. Only text that is not UTF-8 raises, because the server would
refuse it too. Nothing here knows policy.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlglot import exp

from pgnotary.judge import gate, grammar
from pgnotary.judge.catalog import BUILT_IN, Catalog
from pgnotary.judge.grammar import Message, RawStatement, Token, Unreadable
from pgnotary.judge.harmless import (
    DML_MESSAGES,
    QUERY_MESSAGES,
    attributes,
    doubt_of,
    function_name,
    identifier,
    relation_name,
)
from pgnotary.judge.kinds import CONTROLS, explain_analyzes, kind_of, runs_only_outside_a_block
from pgnotary.judge.second import objection
from pgnotary.judge.settings import Ruling, read_change, ruling
from pgnotary.judge.statement import Control, Part, Statement, StatementClass

__all__ = ["read"]

_DML_ROOTS: Mapping[str, type[exp.Expression]] = {
    "InsertStmt": exp.Insert,
    "UpdateStmt": exp.Update,
    "DeleteStmt": exp.Delete,
    "MergeStmt": exp.Merge,
}


def read(text: bytes, catalog: Catalog = BUILT_IN) -> Statement:
    """Return what `text` says in a database with that catalog; raises InvalidText if it is not UTF-8."""
    gate.decode(text)
    try:
        tokens = gate.tokens_of(text)
        statements = grammar.parse(text)
        parts = tuple(_part(text, raw, _tokens_within(tokens, raw), catalog) for raw in statements)
    except Unreadable as doubt:
        return Statement(text, (Part(StatementClass.UNKNOWN, "", 0, len(text), f"the text {doubt}"),), catalog)
    return Statement(text, parts or (Part(StatementClass.EMPTY, "", 0, len(text)),), catalog)


def _tokens_within(tokens: Sequence[Token], raw: RawStatement) -> list[Token]:
    return [token for token in tokens if raw.start <= token.start < raw.end]


def _part(text: bytes, raw: RawStatement, tokens: Sequence[Token], catalog: Catalog) -> Part:
    tree = list(grammar.messages(raw.node, raw.fields))
    kind = kind_of(raw.node, raw.fields, tree)
    planning_doubt = doubt_of(tree, DML_MESSAGES, catalog) if raw.node in _DML_ROOTS else ""
    plain = Part(
        kind=kind,
        node=raw.node,
        start=raw.start,
        end=raw.end,
        written=_written(tree),
        functions=_functions(tree),
        countable=_is_countable(raw, tree) and not planning_doubt,
        planning_doubt=planning_doubt,
        prepared=tuple(_prepared(tree)),
        outside_block_only=runs_only_outside_a_block(raw.node, raw.fields),
        wants_copy_data=_wants_copy_data(raw),
        tree=raw.fields if raw.node in _DML_ROOTS else None,
    )
    match raw.node:
        case "TransactionStmt":
            return _control(plain, raw.fields)
        case "VariableSetStmt":
            return _setting(plain, raw.fields)
        case "VariableShowStmt":
            return plain
        case "SelectStmt":
            return _query(plain, text, tokens, tree, catalog)
        case "ExplainStmt":
            return _explain(plain, text, tokens, raw.fields, catalog)
        case "CopyStmt":
            return _copy(plain, text, tokens, tree, catalog)
        case _:
            return _doubtful(plain, f"is {kind.value.upper()}")


def _doubtful(part: Part, doubt: str, *, about_reader: bool = False) -> Part:
    return replace(part, doubt=doubt, doubt_about_reader=about_reader)


def _second(part: Part, text: bytes, tokens: Sequence[Token], expected: type[exp.Expression] | None = None) -> Part:
    try:
        objected = objection(text, tokens, expected=expected)
    except Unreadable as doubt:
        return _doubtful(part, f"the text {doubt}", about_reader=True)
    return _doubtful(part, objected) if objected else part


def _query(part: Part, text: bytes, tokens: Sequence[Token], tree: Sequence[Message], catalog: Catalog) -> Part:
    if doubt := doubt_of(tree, QUERY_MESSAGES, catalog):
        return _doubtful(part, doubt)
    return _second(part, text, tokens)


def _explain(part: Part, text: bytes, tokens: Sequence[Token], fields: Mapping[str, Any], catalog: Catalog) -> Part:
    ((root, inner),) = fields["query"].items()
    dml = _DML_ROOTS.get(root)
    analyze = explain_analyzes(fields)
    if root != "SelectStmt" and (dml is None or analyze):
        return _doubtful(part, f"is EXPLAIN{' ANALYZE' * analyze} of {kind_of(root, inner, ()).value.upper()}")
    if doubt := doubt_of(grammar.messages(root, inner), DML_MESSAGES if dml else QUERY_MESSAGES, catalog):
        return _doubtful(part, doubt)
    return _second(part, text, _after_explain(tokens), dml)


def _after_explain(tokens: Sequence[Token]) -> list[Token]:
    """Drop EXPLAIN and its options: the words ANALYZE and VERBOSE, or one list in brackets followed by a statement."""
    rest = [token for token in tokens if token.name not in ("C_COMMENT", "SQL_COMMENT")][1:]
    if (
        len(rest) > 1
        and rest[0].name == "ASCII_40"
        and rest[1].name not in ("SELECT", "WITH", "VALUES", "TABLE", "ASCII_40")
    ):
        closing = next((i for i, token in enumerate(rest) if token.name == "ASCII_41"), len(rest))
        return rest[closing + 1 :]
    while rest and rest[0].name in ("ANALYZE", "ANALYSE", "VERBOSE"):
        rest = rest[1:]
    return rest


def _copy(part: Part, text: bytes, tokens: Sequence[Token], tree: Sequence[Message], catalog: Catalog) -> Part:
    fields = tree[0].fields
    if fields.get("is_from") or fields.get("is_program") or fields.get("filename"):
        return _doubtful(part, "is COPY from or to a file or a program, or into a relation")
    if doubt := doubt_of(tree, QUERY_MESSAGES | {"CopyStmt", "DefElem"}, catalog):
        return _doubtful(part, doubt)
    if "query" not in fields:
        return part
    inner = [token for token in tokens if token.name not in ("C_COMMENT", "SQL_COMMENT")][1:]
    return _second(part, text, inner[: _closing(inner) + 1])


def _closing(tokens: Sequence[Token]) -> int:
    depth = 0
    for i, token in enumerate(tokens):
        depth += {"ASCII_40": 1, "ASCII_41": -1}.get(token.name, 0)
        if depth == 0:
            return i
    return len(tokens)


def _control(part: Part, fields: Mapping[str, Any]) -> Part:
    control = CONTROLS.get(fields.get("kind", ""), Control.TWO_PHASE)
    modes = [
        option["DefElem"]["arg"]["A_Const"]["ival"].get("ival", 0)
        for option in fields.get("options", ())
        if option["DefElem"]["defname"] == "transaction_read_only"
    ]
    part = replace(
        part,
        control=control,
        read_only_block=modes[-1:] == [1],  # the last of repeated modes wins
        savepoint=str(fields.get("savepoint_name", "")),
        chained=bool(fields.get("chain")),
    )
    return _doubtful(part, "is two-phase commit") if control is Control.TWO_PHASE else part


def _setting(part: Part, fields: Mapping[str, Any]) -> Part:
    if fields.get("kind") == "VAR_SET_MULTI" and fields.get("name") == "TRANSACTION":
        return replace(part, kind=StatementClass.TRANSACTION, control=Control.SET)
    change = read_change(fields)
    part = replace(part, setting=change)
    if change is None and fields.get("name") == "SESSION CHARACTERISTICS":
        return _doubtful(part, "changes what all later transactions start with: say it in BEGIN instead")
    if change is None:
        return _doubtful(part, f"changes {fields.get('name', 'settings')} in a way that is not a plain SET or RESET")
    match ruling(change):
        case Ruling.FREE:
            return part
        case Ruling.HOLD:
            return _doubtful(part, f"changes {change.name}, which is not on the list of free settings")
        case Ruling.REFUSE:
            return _doubtful(part, f"changes {change.name}, which pgnotary keeps")


def _functions(tree: Sequence[Message]) -> tuple[str, ...]:
    """Return the names of what is called, and of what may be."""
    calls = (function_name(message.fields) for message in tree if message.type == "FuncCall")
    return (*calls, *(name for message in tree for name in attributes(message)))


def _prepared(tree: Sequence[Message]) -> Iterator[tuple[str, bool]]:
    for message in tree:
        if message.type == "ExecuteStmt":
            yield str(message.fields["name"]), False
        elif message.type == "FetchStmt":
            yield str(message.fields["portalname"]), True


def _is_countable(raw: RawStatement, tree: Sequence[Message]) -> bool:
    """Say whether the command tag counts all the rows that the statement itself changes."""
    if raw.node == "CopyStmt":
        return bool(raw.fields.get("is_from"))
    # A tag counts the rows of the outermost statement; what its WITH queries change is in no tag.
    return raw.node in _DML_ROOTS and sum(message.type in _DML_ROOTS for message in tree) == 1


def _written(tree: Sequence[Message]) -> tuple[str, ...]:
    names: list[str] = []
    for message in tree:
        match message.type:
            case "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt":
                names.append(relation_name(message.fields["relation"]))
            case "TruncateStmt":
                names.extend(relation_name(item["RangeVar"]) for item in message.fields["relations"])
            case "DropStmt":
                names.extend(filter(None, map(_dropped, message.fields["objects"])))
            case "CopyStmt" | "AlterTableStmt" | "CreateStmt" | "IndexStmt" if "relation" in message.fields:
                names.append(relation_name(message.fields["relation"]))
            case "IntoClause":
                names.append(relation_name(message.fields["rel"]))
    return tuple(dict.fromkeys(names))


def _dropped(item: Mapping[str, Any]) -> str:
    match item:
        case {"List": {"items": names}} | {"ObjectWithArgs": {"objname": names}} | {"TypeName": {"names": names}}:
            # Of a cast or a transform only the types have names.
            return ".".join(filter(None, (_dropped(name) for name in names if {"TypeName", "String"} & name.keys())))
        case {"String": {"sval": str(name)}}:
            return identifier(name)
        case _:
            return ""


def _wants_copy_data(raw: RawStatement) -> bool:
    return (
        raw.node == "CopyStmt"
        and bool(raw.fields.get("is_from"))
        and "filename" not in raw.fields
        and not raw.fields.get("is_program")
    )

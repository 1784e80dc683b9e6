"""Puts gate, grammar, allow-lists and second reader together: a text becomes a `Statement`.

Bytes enter, a `Statement` leaves, always: what cannot be read with certainty is one part of class `unknown` that says
so. Only text that is not UTF-8 raises, because the server would refuse it too. Nothing here knows a database or a
policy: what names mean is asked by `meaning`, what happens to a statement is said by `policy`.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlglot import exp

from pgnotary.judge import gate, grammar
from pgnotary.judge.grammar import Message, RawStatement, Token, Unreadable
from pgnotary.judge.harmless import COPY_MESSAGES, DML_MESSAGES, QUERY_MESSAGES, TABLE_MESSAGES, structural
from pgnotary.judge.identifiers import identifier
from pgnotary.judge.kinds import (
    CONTROLS,
    ENDS_PREPARED,
    classes_within,
    explain_analyzes,
    kind_of,
    runs_only_outside_a_block,
)
from pgnotary.judge.naming import attributes, function_name, names_of, relation, relation_name, strings
from pgnotary.judge.second import objection
from pgnotary.judge.secrets import discreet
from pgnotary.judge.settings import RESCOPING, Ruling, read_change, read_set_config, ruling, tells_encoding
from pgnotary.judge.statement import (
    ONLY_A_NAME,
    Control,
    Finding,
    Name,
    Names,
    Part,
    Qualifier,
    Statement,
    StatementClass,
    frozen,
)

__all__ = ["read"]

_DML = frozenset({"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})
_QUERIES = _DML | {"SelectStmt"}
_CHANGE_ROWS = _QUERIES | {"CopyStmt", "ExplainStmt"}
_SEEN_BY_BOTH: Mapping[str, type[exp.Expression]] = {
    "InsertStmt": exp.Insert,
    "UpdateStmt": exp.Update,
    "DeleteStmt": exp.Delete,
    "MergeStmt": exp.Merge,
    "IntoClause": exp.Into,
    "LockingClause": exp.Lock,
    "CreateStmt": exp.Create,
    "CreateTableAsStmt": exp.Create,
}
_SEEN_IN_MERGE: Mapping[str, type[exp.Expression]] = {
    "CMD_INSERT": exp.Insert,
    "CMD_UPDATE": exp.Update,
    "CMD_DELETE": exp.Delete,
}
_NO_TABLES = frozenset(f"OBJECT_{kind}" for kind in ("VIEW", "MATVIEW", "INDEX", "SEQUENCE", "FOREIGN_TABLE"))
# Their last name is their own, and the others are those of a relation.
_ON_RELATIONS = frozenset(f"OBJECT_{kind}" for kind in ("TRIGGER", "POLICY", "RULE", "COLUMN", "TABCONSTRAINT"))
_ACCESS_SHARE = 1
_CURSOR_OPT_HOLD = 0x0020
_COMMENTS = frozenset({"C_COMMENT", "SQL_COMMENT"})


def read(text: bytes) -> Statement:
    """Return what `text` says; raises InvalidText if it is not UTF-8."""
    gate.decode(text)
    try:
        tokens = gate.tokens_of(text)
        statements = grammar.parse(text)
        parts = tuple(_part(text, raw, _tokens_within(tokens, raw), alone=len(statements) == 1) for raw in statements)
    except Unreadable as doubt:
        unread = Finding(Qualifier.UNREAD, f"the text {discreet(str(doubt), text)}", "gate")
        return Statement(text, (Part(StatementClass.UNKNOWN, "", 0, len(text), (unread,)),))
    return Statement(text, parts or (Part(StatementClass.EMPTY, "", 0, len(text)),))


def _tokens_within(tokens: Sequence[Token], raw: RawStatement) -> list[Token]:
    # Not each token for each statement: a text of 100 KB took 14 s.
    first, behind = (bisect_left(tokens, at, key=lambda token: token.start) for at in (raw.start, raw.end))
    return [token for token in tokens[first:behind] if token.name not in _COMMENTS]


def _part(text: bytes, raw: RawStatement, tokens: Sequence[Token], *, alone: bool) -> Part:
    tree = list(grammar.messages(raw.node, raw.fields))
    names = _names(tree)
    plain = Part(
        kind=kind_of(raw.node, raw.fields, tree),
        node=raw.node,
        start=raw.start,
        end=raw.end,
        names=names,
        written=_written(tree),
        targets=_targets(raw, tree),
        others=_others(raw),
        makes=_made(tree),
        on_conflict=any(message.type == "OnConflictClause" for message in tree),
        functions=_functions(tree),
        changes=classes_within(tree),
        parameters=max((int(each.fields.get("number", 0)) for each in tree if each.type == "ParamRef"), default=0),
        countable=_is_countable(raw, tree),
        prepared=tuple(_prepared(tree)),
        rescopes=any(each[-1:] == ("set_config",) for each in names.functions),
        outside_block_only=runs_only_outside_a_block(raw.node, raw.fields),
        wants_copy_data=_wants_copy_data(raw),
        tree=grammar.packed(raw.fields) if raw.node in _DML else b"",
    )
    match raw.node:
        case "TransactionStmt":
            return _control(plain, raw.fields)
        case "VariableSetStmt":
            return _setting(plain, raw.fields)
        case "VariableShowStmt":
            return replace(plain, shows=str(raw.fields.get("name", "")).lower())
        case "ClosePortalStmt" | "DeallocateStmt":
            return plain
        case "DiscardStmt" | "ConstraintsSetStmt":
            return replace(_found(plain, Qualifier.SESSION, "changes the session"), rescopes=raw.node == "DiscardStmt")
        case "ListenStmt" | "UnlistenStmt" | "NotifyStmt":
            return _found(plain, Qualifier.NOTIFY, f"is {raw.node.removesuffix('Stmt').upper()}")
        case "LockStmt" if raw.fields.get("mode") == _ACCESS_SHARE:
            return _found(plain, Qualifier.ACCESS_SHARE, "takes ACCESS SHARE locks")
        case "ExecuteStmt" | "FetchStmt":
            return _run_by_name(plain, tree)
        case "SelectStmt" if alone and (change := read_set_config(raw.fields)) is not None:
            return replace(plain, kind=StatementClass.SESSION, setting=change)
        case "SelectStmt":
            return replace(_query(plain, text, tokens, tree), tells_encoding=tells_encoding(raw.fields))
        case "ExplainStmt":
            return _explain(plain, text, tokens, raw.fields)
        case "CopyStmt":
            return _copy(plain, text, tokens, tree)
        case "PrepareStmt" | "DeclareCursorStmt":
            return _defined(plain, text, tokens, raw)
        case node if node in _DML:
            return _change(plain, text, tokens, tree)
        case "CreateStmt" | "CreateTableAsStmt" if _is_temporary(raw.fields):
            return _temporary(plain, text, tokens, tree)
        case _:
            return replace(plain, findings=tuple(_of_its_kind(plain, raw.fields)))


def _unconditional(tree: Sequence[Message]) -> Iterator[Finding]:
    """Yield a finding if a change of rows, wherever in the statement it stands, has no WHERE."""
    if any(each.type in ("UpdateStmt", "DeleteStmt") and "whereClause" not in each.fields for each in tree):
        yield Finding(Qualifier.UNCONDITIONAL, "has no WHERE")


def _found(part: Part, qualifier: Qualifier, reason: str) -> Part:
    return replace(part, findings=(*part.findings, Finding(qualifier, reason)))


def _of_its_kind(part: Part, fields: Mapping[str, Any]) -> Iterator[Finding]:
    yield Finding(Qualifier.WRITE, f"is {part.kind.value.upper()}")
    if fields.get("behavior") == "DROP_CASCADE":
        yield Finding(Qualifier.CASCADE, "is CASCADE")


# --- queries and changes ----------------------------------------------------------------------------------------------


def _second(text: bytes, tokens: Sequence[Token], tree: Sequence[Message]) -> Iterator[Finding]:
    """Yield what the second reader has against tokens that PostgreSQL's grammar reads as that tree."""
    seen = frozenset(_SEEN_BY_BOTH[each.type] for each in tree if each.type in _SEEN_BY_BOTH) | {
        _SEEN_IN_MERGE[each.fields["commandType"]]
        for each in tree
        if each.type == "MergeWhenClause" and each.fields.get("commandType") in _SEEN_IN_MERGE
    }
    try:
        objected = objection(text, tokens, seen)
    except Unreadable as doubt:
        yield Finding(Qualifier.SINGLE_READER, f"the text {doubt}", "second reader")
        return
    if objected:
        yield Finding(Qualifier.DISAGREEMENT, objected, "second reader")


def _query(part: Part, text: bytes, tokens: Sequence[Token], tree: Sequence[Message]) -> Part:
    temporary = any(each.type == "IntoClause" and _is_temporary({"into": each.fields}) for each in tree)
    found = list(structural(tree, TABLE_MESSAGES if temporary else QUERY_MESSAGES))
    if temporary:
        found.append(Finding(Qualifier.TEMP, "makes a temporary table"))
    return replace(part, findings=_ordered([*found, *_unconditional(tree)], _second(text, tokens, tree)))


def _change(part: Part, text: bytes, tokens: Sequence[Token], tree: Sequence[Message]) -> Part:
    planning = list(structural(tree, DML_MESSAGES))
    own = [*_of_its_kind(part, tree[0].fields), *_unconditional(tree), *planning]
    return replace(part, findings=_ordered(own, _second(text, tokens, tree)), planning=tuple(planning))


def _temporary(part: Part, text: bytes, tokens: Sequence[Token], tree: Sequence[Message]) -> Part:
    found = list(structural(tree, TABLE_MESSAGES))
    if "inhRelations" in tree[0].fields:
        found.append(Finding(Qualifier.UNREAD, "inherits from another table"))
    if any(finding.qualifier in (Qualifier.WRITE, Qualifier.UNREAD) for finding in found):
        found.insert(0, Finding(Qualifier.WRITE, f"is {part.kind.value.upper()}"))
    found.append(Finding(Qualifier.TEMP, "makes a temporary table"))
    return replace(part, findings=_ordered(found, _second(text, tokens, tree)))


def _ordered(own: Sequence[Finding], others: Iterator[Finding]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys([*own, *others]))


def _explain(part: Part, text: bytes, tokens: Sequence[Token], fields: Mapping[str, Any]) -> Part:
    ((root, inner),) = fields["query"].items()
    analyze = explain_analyzes(fields)
    if root == "ExecuteStmt":
        return _run_by_name(part, list(grammar.messages(root, inner)))
    if root in ("CreateTableAsStmt", "DeclareCursorStmt") and not analyze:
        ((root, inner),) = inner["query"].items()
        tokens = []
    elif root != "SelectStmt" and (root not in _DML or analyze):
        kind = kind_of(root, inner, ()).value.upper()
        part = _found(part, Qualifier.WRITE, f"is EXPLAIN{' ANALYZE' * analyze} of {kind}")
        if root not in _DML:
            return part
        tree = list(grammar.messages(root, inner))
        own = [*part.findings, *_unconditional(tree), *structural(tree, DML_MESSAGES)]
        return replace(part, findings=_ordered(own, _second(text, _after_explain(tokens), tree)))
    tree = list(grammar.messages(root, inner))
    found = structural(tree, DML_MESSAGES if root in _DML else QUERY_MESSAGES)
    second = _second(text, _after_explain(tokens), tree) if tokens else iter(())
    return replace(part, findings=_ordered(list(found), second))


def _after_explain(tokens: Sequence[Token]) -> Sequence[Token]:
    """Drop EXPLAIN and its options: the words ANALYZE and VERBOSE, or one list in brackets followed by a statement."""
    rest = tokens[1:]
    if (
        len(rest) > 1
        and rest[0].name == "ASCII_40"
        and rest[1].name not in ("SELECT", "WITH", "VALUES", "TABLE", "ASCII_40")
    ):
        return rest[_closing(rest) + 1 :]
    while rest and rest[0].name in ("ANALYZE", "ANALYSE", "VERBOSE"):
        rest = rest[1:]
    return rest


def _copy(part: Part, text: bytes, tokens: Sequence[Token], tree: Sequence[Message]) -> Part:
    fields = tree[0].fields
    if part.wants_copy_data:
        return _found(part, Qualifier.WRITE, "is COPY from the client into a relation")
    if fields.get("is_from") or fields.get("is_program") or fields.get("filename"):
        return _found(part, Qualifier.WRITE, "is COPY from or to a file or a program, or into a relation")
    inner = tokens[1:]
    second = _second(text, inner[: _closing(inner) + 1], tree) if "query" in fields else iter(())
    return replace(part, findings=_ordered([*structural(tree, COPY_MESSAGES), *_unconditional(tree)], second))


def _closing(tokens: Sequence[Token]) -> int:
    depth = 0
    for i, token in enumerate(tokens):
        depth += {"ASCII_40": 1, "ASCII_41": -1}.get(token.name, 0)
        if depth == 0:
            return i
    return len(tokens)


# --- what has a name --------------------------------------------------------------------------------------------------


def _defined(part: Part, text: bytes, tokens: Sequence[Token], raw: RawStatement) -> Part:
    """Read PREPARE and DECLARE as what they will run."""
    ((root, inner),) = raw.fields["query"].items()
    name = str(raw.fields.get("name", raw.fields.get("portalname", "")))
    part = replace(part, defines=name, with_hold=bool(raw.fields.get("options", 0) & _CURSOR_OPT_HOLD))
    if root not in _QUERIES:
        return _found(
            part, Qualifier.WRITE, f"is {part.kind.value.upper()} of {kind_of(root, inner, ()).value.upper()}"
        )
    tree = list(grammar.messages(root, inner))
    body = replace(part, kind=kind_of(root, inner, tree), node=root)
    tokens = _behind(tokens, "AS" if raw.node == "PrepareStmt" else "FOR")
    body = (_change if root in _DML else _query)(body, text, tokens, tree)
    return replace(body, kind=part.kind, node=part.node, runs=body.kind, planning=())


def _behind(tokens: Sequence[Token], word: str) -> Sequence[Token]:
    """Return what follows the first `word` outside brackets."""
    depth = 0
    for i, token in enumerate(tokens):
        depth += {"ASCII_40": 1, "ASCII_41": -1}.get(token.name, 0)
        if depth == 0 and token.name == word:
            return tokens[i + 1 :]
    return tokens


def _run_by_name(part: Part, tree: Sequence[Message]) -> Part:
    """Read EXECUTE and FETCH: what stands behind the name is for the session to find out."""
    found = list(structural(tree, QUERY_MESSAGES | {"ExecuteStmt", "FetchStmt"}))
    return replace(part, findings=(*found, ONLY_A_NAME))


def _prepared(tree: Sequence[Message]) -> Iterator[tuple[str, bool]]:
    for message in tree:
        if message.type == "ExecuteStmt":
            yield str(message.fields["name"]), False
        elif message.type == "FetchStmt":
            yield str(message.fields["portalname"]), True


# --- control and settings ---------------------------------------------------------------------------------------------


def _control(part: Part, fields: Mapping[str, Any]) -> Part:
    kind, gid = str(fields.get("kind", "")), str(fields.get("gid", ""))
    if (ends := ENDS_PREPARED.get(kind)) is not None:
        part = replace(part, gid=gid, ends=ends)
        return _found(part, Qualifier.WRITE, "ends a prepared transaction, and what is in it is not known here")
    if kind not in CONTROLS:
        raise Unreadable(f"is transaction control that is not known here: {kind}")
    return replace(
        part,
        control=CONTROLS[kind],
        read_only=_read_only_mode(fields.get("options", ())),
        savepoint=str(fields.get("savepoint_name", "")),
        chained=bool(fields.get("chain")),
        gid=gid,
    )


def _read_only_mode(options: Sequence[Mapping[str, Any]]) -> bool | None:
    """Return whether transaction modes ask for READ ONLY or READ WRITE, or None if they ask for neither."""
    modes = [
        option["DefElem"]["arg"]["A_Const"]["ival"].get("ival", 0)
        for option in options
        if option["DefElem"]["defname"] == "transaction_read_only"
    ]
    return bool(modes[-1]) if modes else None  # the last of repeated modes wins


def _setting(part: Part, fields: Mapping[str, Any]) -> Part:
    if fields.get("kind") == "VAR_SET_MULTI" and fields.get("name") == "TRANSACTION":
        read_only = _read_only_mode(fields.get("args", ()))
        return replace(part, kind=StatementClass.TRANSACTION, control=Control.SET, read_only=read_only)
    change = read_change(fields)
    part = replace(part, setting=change)
    if change is None and fields.get("name") == "SESSION CHARACTERISTICS":
        return _found(part, Qualifier.PINNED, "changes READ ONLY and more at once: say each in a statement of its own")
    if change is None:
        what = fields.get("name", "settings")
        return _found(part, Qualifier.SETTING, f"changes {what} in a way that is not a plain SET or RESET")
    part = replace(part, rescopes=change.name in RESCOPING)
    if change.name in ("role", "session_authorization"):
        return _found(part, Qualifier.ROLE, f"changes {change.name.replace('_', ' ')}")
    match ruling(change):
        case Ruling.FREE | Ruling.VIRTUAL:
            return part
        case Ruling.HOLD:
            return _found(part, Qualifier.SETTING, f"changes {change.name}, which is not on the list of free settings")
        case Ruling.REFUSE:
            return _found(part, Qualifier.PINNED, f"changes {change.name}, which pgnotary keeps")


# --- names ------------------------------------------------------------------------------------------------------------


def _names(tree: Sequence[Message]) -> Names:
    """Return what a tree names, without the relation that it makes."""
    named = names_of(tree)
    made = Counter(relation(each.fields["relation"]) for each in tree if each.type == "CreateStmt")
    made.update(relation(each.fields["rel"]) for each in tree if each.type == "IntoClause")
    # CREATE TEMP TABLE v AS SELECT * FROM v: what is read may have the same name.
    found = Counter(relation(each.fields) for each in tree if each.type == "RangeVar")
    return replace(named, relations=frozen(found - made))


def _functions(tree: Sequence[Message]) -> tuple[str, ...]:
    """Return the names of what is called, and of what may be."""
    calls = (function_name(message.fields) for message in tree if message.type == "FuncCall")
    return (*calls, *(name for message in tree for name in attributes(message)))


def _targets(raw: RawStatement, tree: Sequence[Message]) -> tuple[Name, ...]:
    """Return the relations whose rows or whose existence the statement changes, wherever in it that is said."""
    found = [relation(each.fields["relation"]) for each in tree if each.type in _DML]
    match raw.node:
        case "CopyStmt" if _wants_copy_data(raw):
            found.append(relation(raw.fields["relation"]))
        case "TruncateStmt":
            found += [relation(item["RangeVar"]) for item in raw.fields["relations"]]
        case "IndexStmt":
            found.append(relation(raw.fields["relation"]))
        case "DropStmt" if raw.fields.get("removeType") == "OBJECT_TABLE":
            found += [tuple(strings(item["List"]["items"])) for item in raw.fields["objects"]]
    return tuple(dict.fromkeys(found))


def _made(tree: Sequence[Message]) -> tuple[Name, ...]:
    places = {"CreateStmt": "relation", "IntoClause": "rel"}
    return tuple(relation(each.fields[places[each.type]]) for each in tree if each.type in places)


def _others(raw: RawStatement) -> tuple[Name, ...]:
    """Return the relations that are named otherwise than as tables: see `Part.others`."""
    match raw.node:
        case "DropStmt":
            kind, objects, named = raw.fields.get("removeType"), raw.fields["objects"], _NO_TABLES
        case "CommentStmt" | "SecLabelStmt" | "AlterExtensionContentsStmt":
            kind, objects, named = raw.fields.get("objtype"), [raw.fields["object"]], _NO_TABLES | {"OBJECT_TABLE"}
        case "AlterSeqStmt" | "CreateSeqStmt":
            # NONE has no relation before it.
            options = [each["DefElem"] for each in raw.fields.get("options", ())]
            owners = [each["arg"] for each in options if each["defname"] == "owned_by"]
            return tuple(name for each in owners if (name := tuple(strings(each["List"]["items"]))[:-1]))
        case _:
            return ()
    if kind not in named | _ON_RELATIONS:
        return ()
    end = -1 if kind in _ON_RELATIONS else None
    return tuple(tuple(strings(item["List"]["items"]))[:end] for item in objects)


def _is_temporary(fields: Mapping[str, Any]) -> bool:
    """Say whether what CREATE TABLE, CREATE TABLE AS or INTO makes is temporary by its own words."""
    made = fields.get("relation") or fields.get("into", {}).get("rel", {})
    plain_table = fields.get("objtype", "OBJECT_TABLE") == "OBJECT_TABLE"
    return bool(plain_table) and (made.get("relpersistence") == "t" or made.get("schemaname") == "pg_temp")


def _is_countable(raw: RawStatement, tree: Sequence[Message]) -> bool:
    """Say whether all that the statement is for is to change rows, which the server counts."""
    types = {message.type for message in tree}
    if raw.node == "CopyStmt" and raw.fields.get("is_from"):
        return True
    # What is in the WITH of a SELECT is in no tag, but the server counts it all the same.
    return raw.node in _CHANGE_ROWS and not types.isdisjoint(_DML) and "IntoClause" not in types


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

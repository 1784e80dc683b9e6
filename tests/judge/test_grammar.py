"""PostgreSQL's grammar and its trees: nothing is passed over unseen."""

import pytest

from pgnotary.judge.grammar import Message, Unreadable, messages, packed, parse, scan, unpacked
from pgnotary.judge.harmless import COPY_MESSAGES, DML_MESSAGES, QUERY_MESSAGES, TABLE_MESSAGES, structural
from pgnotary.judge.meaning import weigh
from pgnotary.judge.naming import names_of
from pgnotary.judge.reading import read
from pgnotary.judge.statement import Finding, Part, Qualifier, Statement, StatementClass


def test_every_message_of_a_tree_is_met_with_its_type() -> None:
    (statement,) = parse(b"SELECT a, f(b) FROM s.t AS x WHERE c = ANY (ARRAY[1]) ORDER BY 1")
    met = [message.type for message in messages(statement.node, statement.fields)]
    assert met[0] == "SelectStmt"
    assert {"ResTarget", "ColumnRef", "FuncCall", "RangeVar", "Alias", "A_Expr", "A_ArrayExpr", "SortBy"} <= set(met)


@pytest.mark.parametrize(
    "fields",
    [
        {"newClause": {}},
        {"targetList": [{"ResTarget": {"newField": 1}}]},
        {"whereClause": {"A_Expr": {"lexpr": {"FuncCall": {"quietly": True}}}}},
    ],
)
def test_a_field_that_the_schema_lacks_makes_the_tree_unreadable(fields: dict[str, object]) -> None:
    with pytest.raises(Unreadable, match="lacks"):
        list(messages("SelectStmt", fields))


def test_a_node_that_nobody_has_read_about_is_held() -> None:
    unread = [Finding(Qualifier.UNREAD, "has SomethingNewExpr")]
    tree = [Message("SelectStmt", {}), Message("SomethingNewExpr", {})]
    for allowed in (QUERY_MESSAGES, DML_MESSAGES, COPY_MESSAGES, TABLE_MESSAGES):
        assert list(structural(tree, allowed)) == unread


def test_what_a_plain_query_may_be_made_of_leaves_out_what_writes() -> None:
    changing = {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}
    making = {"IntoClause", "CreateStmt", "CreateTableAsStmt"}
    never = {"LockingClause", "CallStmt", "DoStmt", "InhRelation", "TableLikeClause"}
    assert not QUERY_MESSAGES & (changing | making | never)
    assert not COPY_MESSAGES & (changing | making | never)
    assert not DML_MESSAGES & (making | never)
    assert not TABLE_MESSAGES & (changing | never)


@pytest.mark.parametrize("node", ["IntoClause", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"])
def test_a_change_inside_a_query_is_a_write(node: str) -> None:
    (found,) = structural([Message("SelectStmt", {}), Message(node, {})], QUERY_MESSAGES)
    assert found.qualifier is Qualifier.WRITE


@pytest.mark.parametrize(
    "fields", [{}, {"funcname": []}, {"funcname": [{"String": {}}]}, {"funcname": [{"A_Star": {}}]}]
)
def test_a_call_without_a_name_is_held(fields: dict[str, object]) -> None:
    part = Part(StatementClass.SELECT, "SelectStmt", 0, 0, names=names_of([Message("FuncCall", fields)]))
    (weighed,) = weigh(Statement(b"", (part,))).parts
    assert weighed.qualifiers == {Qualifier.FUNCTION}


def test_offsets_are_bytes() -> None:
    text = "SELECT '\u00e9' ; SELECT \u00e9".encode()
    assert [text[raw.start : raw.end] for raw in parse(text)] == ["SELECT '\u00e9' ".encode(), "SELECT \u00e9".encode()]
    assert [(token.name, text[token.start : token.end]) for token in scan(text)] == [
        ("SELECT", b"SELECT"),
        ("SCONST", "'\u00e9'".encode()),
        ("ASCII_59", b";"),
        ("SELECT", b"SELECT"),
        ("IDENT", "\u00e9".encode()),
    ]


def test_a_character_without_a_name_is_a_token_all_the_same() -> None:
    assert [token.name for token in scan(b"{\x01")] == ["ASCII_123", "ASCII_1"]


@pytest.mark.parametrize(
    "text",
    [b"SELEC", b"SELECT '", b"SELECT $$", b"/*", b"SELECT " + b"(" * 9_000, b"SELECT " + b"NOT " * 4_000 + b"true"],
    ids=range(6),
)
def test_what_cannot_be_read_says_so(text: bytes) -> None:
    with pytest.raises(Unreadable):
        parse(text)


def test_a_tree_that_was_packed_is_the_same_again() -> None:
    (statement,) = parse("DELETE FROM t WHERE a = 'ä' AND b = 1.50 AND c IS NULL".encode())
    assert unpacked(packed(statement.fields)) == statement.fields


def test_a_tree_nested_too_deeply_is_neither_packed_nor_unpacked() -> None:
    tree: dict[str, object] = {}
    for _ in range(100_000):
        tree = {"a": tree}
    with pytest.raises(Unreadable, match="nested too deeply"):
        packed(tree)
    with pytest.raises(Unreadable, match="nested too deeply"):
        unpacked(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


def test_a_text_as_deep_as_can_be_read_or_a_little_deeper_raises_nothing() -> None:
    for depth in range(300, 340):
        assert read(b"DELETE FROM t WHERE " + b"NOT (" * depth + b"a" + b")" * depth).parts[0].findings

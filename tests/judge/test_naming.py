"""What a tree names: what its text shows, and what it uses unsaid."""

import pytest

from pgnotary.judge.identifiers import identifier
from pgnotary.judge.reading import read
from pgnotary.judge.statement import Names


def names(sql: str) -> Names:
    (part,) = read(sql.encode()).parts
    return part.names


@pytest.mark.parametrize(
    ("sql", "operators"),
    [
        ("SELECT 1 + 2", {"+"}),
        ("SELECT 1 OPERATOR(app.+) 2", {"app.+"}),
        ("SELECT @ 1", {"@"}),
        ("SELECT 1 != 2", {"<>"}),
        ("SELECT a IN (1, 2) FROM t", {"="}),
        ("SELECT a NOT IN (1, 2) FROM t", {"<>"}),
        ("SELECT a IN (SELECT b FROM u) FROM t", {"="}),
        ("SELECT a < ANY (SELECT b FROM u) FROM t", {"<"}),
        ("SELECT a = ANY (b) FROM t", {"="}),
        ("SELECT a BETWEEN 1 AND 2 FROM t", {"<", "<=", ">", ">="}),
        ("SELECT a NOT BETWEEN SYMMETRIC 1 AND 2 FROM t", {"<", "<=", ">", ">="}),
        ("SELECT a LIKE 'x' FROM t", {"~~"}),
        ("SELECT a NOT ILIKE 'x' FROM t", {"!~~*"}),
        ("SELECT a SIMILAR TO 'x' FROM t", {"~"}),
        ("SELECT nullif(a, 1) FROM t", {"="}),
        ("SELECT a IS DISTINCT FROM 1 FROM t", {"="}),
        ("SELECT CASE a WHEN 1 THEN 2 END FROM t", {"="}),
        ("SELECT 1 FROM t JOIN u USING (a)", {"="}),
        ("SELECT 1 FROM t NATURAL JOIN u", {"="}),
        ("SELECT a FROM t ORDER BY a USING >", {">"}),
        ("SELECT pg_get_viewdef(1)", {"="}),
        ("SELECT pg_get_ruledef(1)", {"="}),
    ],
)
def test_every_operator_that_is_used_is_named_said_or_unsaid(sql: str, operators: set[str]) -> None:
    assert operators <= {".".join(name) for name in names(sql).operators}


def test_no_operator_is_named_where_there_is_none() -> None:
    assert names("SELECT a, f(b) FROM t").operators == frozenset()


@pytest.mark.parametrize(
    ("sql", "attributes"),
    [
        ("SELECT t.a FROM t", {"a"}),
        ("SELECT (t).a.b FROM t", {"a", "b"}),
        ("SELECT s.t.a FROM s.t", {"a"}),
        ("SELECT (f(1)).a", {"a"}),
        ("SELECT ((t).a).b FROM t", {"a", "b"}),
        ("SELECT (t.a)[1].b FROM t", {"a", "b"}),
        ("SELECT t.*, (t).* FROM t", set()),
        ("SELECT a FROM t", set()),
        ("SELECT 1 FROM t WHERE (t.a).b ORDER BY (t.c).d", {"a", "b", "c", "d"}),
    ],
)
def test_what_follows_a_dot_is_named(sql: str, attributes: set[str]) -> None:
    assert names(sql).attributes == attributes


@pytest.mark.parametrize(
    ("sql", "types"),
    [
        ("SELECT 1::app.d", {("app", "d")}),
        ("SELECT CAST(1 AS d[])", {("d",)}),
        ("SELECT d '5'", {("d",)}),
        ("SELECT json_value('1', '$' RETURNING d)", {("d",)}),
        ("SELECT * FROM json_to_record('{}') AS x (a d)", {("d",)}),
        ("SELECT * FROM ROWS FROM (f() AS (a d)) x", {("d",)}),
        ("SELECT * FROM xmltable('/a' PASSING '<a/>' COLUMNS b d)", {("d",)}),
        ("SELECT * FROM json_table('1', '$' COLUMNS (a d PATH '$'))", {("d",)}),
        ("PREPARE p (d) AS SELECT $1", set()),
    ],
)
def test_a_type_is_named_wherever_a_value_of_it_is_made(sql: str, types: set[tuple[str, ...]]) -> None:
    assert types <= names(sql).types


@pytest.mark.parametrize(
    ("sql", "relations"),
    [
        ("SELECT 1 FROM a.t, u JOIN v ON true", {("a", "t"), ("u",), ("v",)}),
        ("SELECT (SELECT 1 FROM t) FROM (SELECT 1 FROM u) x", {("t",), ("u",)}),
        ("WITH w AS (TABLE t) TABLE w", {("t",), ("w",)}),
        ("INSERT INTO t SELECT 1 FROM u", {("t",), ("u",)}),
        ("COPY t TO STDOUT", {("t",)}),
        ("SELECT 1 INTO TEMP t FROM t", {("t",)}),
        ("SELECT 1 INTO TEMP t FROM u", {("u",)}),
        ("CREATE TEMP TABLE t AS SELECT 1 FROM (SELECT 1 FROM t) x", {("t",)}),
        ("CREATE TEMP TABLE t (a int)", set()),
        ('SELECT 1 FROM "a.b"', {("a.b",)}),
    ],
)
def test_what_is_read_is_named_and_what_is_made_is_not(sql: str, relations: set[tuple[str, ...]]) -> None:
    assert names(sql).relations == relations


def test_the_names_of_with_queries_are_known() -> None:
    assert names("WITH w AS (SELECT 1), x AS (TABLE w) TABLE x").queries == {"w", "x"}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT json_populate_record(t, '{}') FROM t",
        "SELECT * FROM pg_catalog.jsonb_populate_recordset(t, '[]'), t",
        "SELECT populate_record(t, h) FROM t",
        "SELECT t #= h FROM t",
        "SELECT array_append(a, '5') FROM t",
        "SELECT percentile_disc('{1}'::float8[]) WITHIN GROUP (ORDER BY a) = '{5}' FROM t",
        "SELECT lag(a, 1, '5') OVER () FROM t",
        "SELECT ARRAY[a] = '{5}' FROM t",
        "SELECT ARRAY(SELECT a FROM t)",
        "SELECT array_agg(a) FROM t",
        "SELECT pg_catalog.array_agg(a) FROM t",
        "SELECT coalesce(t, '(1)') FROM t",
        "SELECT coalesce(x, '(1)') FROM t AS x",
        "SELECT coalesce(t.*, '(1)') FROM t",
        "SELECT coalesce(x.*, '(1)'), x.* FROM s.t x",
        "SELECT t FROM t UNION SELECT '(1)'",
    ],
)
def test_literals_that_become_values_of_types_that_nobody_names_are_seen(sql: str) -> None:
    assert names(sql).unifies


@pytest.mark.parametrize(
    "sql", ["SELECT t.*, t.a, a FROM t", "SELECT * FROM t AS x", "SELECT a, json_build_object('a', a) FROM t"]
)
def test_columns_and_whole_lists_of_them_unify_nothing(sql: str) -> None:
    assert not names(sql).unifies


@pytest.mark.parametrize("sql", ["SELECT pg_input_is_valid('5', 'd')", "SELECT pg_catalog.array_in('{5}', 23, -1)"])
def test_values_whose_type_a_text_names_are_seen(sql: str) -> None:
    assert names(sql).typed_by_text


@pytest.mark.parametrize(
    ("name", "written"),
    [("orders", "orders"), ("_a$1", "_a$1"), ("Orders", '"Orders"'), ("a.b", '"a.b"'), ('a"b', '"a""b"'), ("", '""')],
)
def test_a_name_that_is_not_plain_is_written_in_quotes(name: str, written: str) -> None:
    assert identifier(name) == written

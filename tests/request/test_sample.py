"""Samples without a server: what is sealed and opened, what masks hide, and what words say of it."""

import json
from typing import Any

import pytest
from postgast import pg_query_pb2

from pgnotary.audit.sample_words import sample_lines
from pgnotary.errors import NotCanonical
from pgnotary.judge import grammar
from pgnotary.request.assigned import as_stored, as_text, is_certain, value_in
from pgnotary.request.columns import Column, Columns, columns_question, read_columns
from pgnotary.request.masks import Masks, row_names
from pgnotary.request.sample import Becomes, Sample, SampleColumn, Value, opened_rows, sealed_rows, without
from pgnotary.request.sample_text import Sampling
from pgnotary.request.sampling import addresses_of, differing, read_rows
from pgnotary.request.selects import Uncounted, bare, root_of, written_as

ROWS = (
    (Value("1"), Value(None), Value("it's")),
    (Value("2"), Value("x" * 200, is_cut=True), Value("")),
)
SAMPLE = Sample(
    relation="app.t",
    columns=(SampleColumn(name="id", key=True), SampleColumn(name="A b", becomes=Becomes.SHOWN)),
    rows=2,
)


def test_what_is_sealed_is_what_is_opened() -> None:
    assert opened_rows(SAMPLE, sealed_rows(ROWS)) == ROWS


OTHERS: dict[str, Any] = {
    "no rows": {},
    "rows that are no list": {"rows": {}},
    "a row that is no list": {"rows": ["abc", "def"]},
    "a value too many": {"rows": [["1", "2", "3", "4"], ["1", "2", "3"]]},
    "a row too few": {"rows": [["1", "2", "3"]]},
    "a number": {"rows": [["1", 2, "3"], ["1", "2", "3"]]},
    "half a NULL": {"rows": [["1", {"null": False}, "3"], ["1", "2", "3"]]},
    "a NULL with a text": {"rows": [["1", {"null": True, "begins": "x"}, "3"], ["1", "2", "3"]]},
    "a beginning with more": {"rows": [["1", {"begins": "x", "ends": "y"}, "3"], ["1", "2", "3"]]},
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_sample_of_that_shape_is_refused(name: str) -> None:
    raw = json.dumps(OTHERS[name], separators=(",", ":"), sort_keys=True).encode()
    with pytest.raises(NotCanonical, match="a sample"):
        opened_rows(SAMPLE, raw)


def _columns(*names: str, kin: tuple[tuple[str, str], ...] = (), **more: Any) -> Columns:
    return Columns(("app", "people"), tuple(Column(name, "text") for name in names), kin, **more)


HIDES = [
    ((), "password", True),
    ((), "api_token", True),
    ((), "pay", False),
    (("pay",), "pay", True),
    (("pay",), "payer", False),
    (("pay*",), "payer", True),
    (("p?y",), "pay", True),
    (("app.people.pay",), "pay", True),
    (("app.people.*",), "pay", True),
    (("app.*.pay",), "pay", True),
    (("*.people.pay",), "pay", True),
    (("app.others.pay",), "pay", False),
    (('"Pay"',), "Pay", True),
    (('"Pay"',), "pay", False),
    (('"Pay"',), "PAY", False),
    (("pay",), "Pay", True),
    (("Pay",), "pay", True),
    (("homea*",), "homeAddr", True),
    (("home a*",), "Home Address", True),
    (("app.people.homea*",), "homeAddr", True),
    (("app.others.homea*",), "homeAddr", False),
    (("app.*.home*",), "homeAddr", True),
    (('"app".people.pay',), "pay", False),
    (('app."People".pay',), "pay", False),
    (('app."people".pay',), "pay", False),
    (("ap*.pay",), "pay", False),
]


@pytest.mark.parametrize(("patterns", "column", "hides"), HIDES)
def test_a_pattern_hides_a_column(patterns: tuple[str, ...], column: str, hides: bool) -> None:
    assert Masks(patterns).hides(_columns(column), Column(column, "text")) is hides


def test_a_mask_of_a_table_holds_for_those_its_rows_stand_in() -> None:
    masks = Masks(("app.parent.pay",))
    pay = Column("pay", "text")
    assert not masks.hides(_columns("pay"), pay)
    assert masks.hides(_columns("pay", kin=(("app", "parent"),)), pay)


def test_a_column_hides_what_it_is_made_of() -> None:
    pay = ((("app", "people"), ("app", "parent")), ("id", "pay"))
    made = Column("twice", "int", made=(pay,))
    assert Masks(("pay",)).hides(_columns(), made)
    assert Masks(("app.parent.pay",)).hides(_columns(), made)
    assert not Masks(("app.people.twice", "app.others.pay")).hides(Columns(("app", "x"), ()), made)
    assert not Masks().hides(_columns(), made)
    assert Masks().hides(_columns(), Column("login", "login", made=(((("app", "login"),), ("password",)),)))


def test_what_names_a_column_that_is_made_of_masked_ones_is_hidden() -> None:
    made = Column("twice", "int", made=(((("app", "people"),), ("pay",)),))
    masks = Masks(("pay",)).of([Columns(("app", "people"), (made, Column("pay", "int")))])
    for sql, hides in (("SELECT twice + 1 FROM people", True), ("SELECT id FROM people", False)):
        statement = grammar.parse(sql.encode())[0]
        assert masks.hides_computed(statement.node, statement.fields, {"people"}) is hides


def test_what_calls_what_reads_tables_is_hidden() -> None:
    masks = Masks(reads=lambda name: name == "look_up")
    assert masks.hides(_columns(), Column("w", "text", calls=("upper", "look_up")))
    assert not masks.hides(_columns(), Column("w", "text", calls=("upper",)))
    assert masks.hides_behind(_columns("w", calls=("look_up",)))
    assert not masks.hides_behind(_columns("w", calls=("upper",)))


@pytest.mark.parametrize("name", ["pg_stats", "pg_statistic", "pg_stats_ext", "pg_attribute", "pg_stat_statements"])
def test_what_has_values_of_any_table_is_hidden_whatever_masks_there_are(name: str) -> None:
    assert Masks().hides_behind(Columns(("pg_catalog", name), ()))
    assert Masks().hides_behind(_columns("x", behind=(((("pg_catalog", name),), ("v",)),)))
    assert Masks().hides_behind(_columns("x", is_of_anything=True))
    assert not Masks().hides_behind(Columns(("pg_catalog", "pg_class"), ()))


def test_a_view_hides_what_it_reads() -> None:
    view = _columns("x", behind=(((("app", "salaries"), ("app", "payments")), ("id", "pay")),))
    assert Masks(("app.salaries.pay",)).hides_behind(view)
    assert Masks(("pay",)).hides_behind(view)
    assert Masks(("app.payments.pay",)).hides_behind(view)
    assert not Masks(("app.salaries.name", "app.others.pay")).hides_behind(view)
    assert Masks().hides_behind(_columns("x", behind=(((("app", "users"),), ("password",)),)))


COMPUTED = [
    ("SELECT pay + 1 FROM t", True),
    ("SELECT t.pay FROM t", True),
    ("SELECT (SELECT max(pay) FROM u)", True),
    ("SELECT id FROM t", False),
    ("SELECT t FROM t", True),
    ("SELECT f(t) FROM t", True),
    ("SELECT a FROM t AS a", True),
    ("SELECT a.t FROM s AS a", False),
    ("SELECT * FROM t", True),
    ("SELECT count(*) FROM t", False),
    ("SELECT x FROM t AS a (x)", True),
    ("SELECT 'pay' FROM t", True),
    ("SELECT g FROM generate_series(1, 3) g", False),
    ("SELECT g FROM generate_series(1, 3) AS g (g)", False),
    ("SELECT g FROM g, generate_series(1, 3) g", True),
    ("SELECT g FROM others(1, 3) g", True),
    ("SELECT g FROM generate_series(1, (SELECT pay FROM t)) g", True),
    ("SELECT x->>'pay' FROM t", True),
    ("WITH w AS (SELECT 1 AS id) SELECT w FROM w", True),
]


@pytest.mark.parametrize(("sql", "hides"), COMPUTED)
def test_what_is_computed_is_hidden_if_it_may_be_made_of_what_is_masked(sql: str, hides: bool) -> None:
    statement = grammar.parse(sql.encode())[0]
    rows = row_names(statement.node, statement.fields)
    assert Masks(("pay",)).hides_computed(statement.node, statement.fields, rows) is hides


def test_names_of_columns_cannot_leave_their_quotes() -> None:
    question = columns_question([('a"b', "c'd"), ("__NAMES__",)])
    assert len(grammar.parse(question)) == 1
    assert b"__NAMES__" in question


@pytest.mark.parametrize("answer", ["[]", "", "null"])
def test_a_relation_that_is_not_there_has_no_columns(answer: str) -> None:
    assert read_columns(answer, [("t",)]) == {}


@pytest.mark.parametrize("answer", ["{", "[1]", "[{}]", '[{"place": 2}]', '[{"place": 1, "schema": "s", "name": "n"}]'])
def test_an_answer_of_another_shape_is_an_error(answer: str) -> None:
    with pytest.raises(ValueError, match="the columns have not the shape"):
        read_columns(answer, [("t",)])


def test_rows_of_another_shape_are_an_error() -> None:
    with pytest.raises(ValueError, match="has 2 values, not 3"):
        read_rows(Sampling(b"", SAMPLE, 5), [("1", "2")])


def test_a_type_that_is_none_cannot_be_cast_to() -> None:
    value = root_of(b"UPDATE t SET a = 1", "UpdateStmt").target_list[0].res_target.val
    with pytest.raises(Uncounted, match="its type cannot be written out"):
        as_stored(value, Column("a", "int); DROP TABLE t; --"))


def test_words_say_how_many_columns_are_hidden_that_are_not_named() -> None:
    sample = Sample(
        relation="t",
        columns=(SampleColumn(name="id"),),
        masked=("a", "b"),
        masked_more=1,
        unreadable=("c",),
        unreadable_more=1_570,
    )
    assert list(sample_lines(sample, ())) == [
        ("sample", "0 rows as they stand now, of t"),
        ("masked", "a, b AND 1 MORE COLUMN: no approver is shown their values"),
        ("unreadable", "c AND 1,570 MORE COLUMNS: the role may not read them"),
    ]


def test_words_say_what_is_shown_and_what_is_not() -> None:
    sample = Sample(
        relation="app.t",
        columns=SAMPLE.columns,
        masked=("Pass word",),
        unreadable=("b",),
        more=3,
        rows=2,
    )
    assert list(sample_lines(sample, ROWS)) == [
        ("sample", "2 rows as they stand now, of app.t -> as they would become"),
        ("row 1", "id 1, \"A b\" NULL -> 'it''s'"),
        ("row 2", f"id 2, \"A b\" '{'x' * 200}' (its first 200 characters) -> ''"),
        ("masked", '"Pass word": no approver is shown their values'),
        ("unreadable", "b: the role may not read them"),
        ("sample", "AND 3 MORE COLUMNS"),
    ]
    assert list(sample_lines(Sample(why="because"), ())) == [("sample", "none: because")]
    assert list(sample_lines(None, ())) == []


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (Column("a", "int"), "CAST(x AS int)"),
        (Column("a", "bpchar", limit=("bpchar", 7)), "pg_catalog.bpchar(CAST(x AS bpchar), 7, false)"),
        (
            Column("a", "app.label", limit=("character varying", 8)),
            "CAST(pg_catalog.varchar(CAST(x AS character varying), 8, false) AS app.label)",
        ),
        (Column("a", '"bit"', limit=('"bit"', 3)), 'pg_catalog.bit(CAST(x AS "bit"), 3, false)'),
    ],
)
def test_a_length_is_checked_as_an_assignment_checks_it(column: Column, text: str) -> None:
    assert as_text("x", column) == text


@pytest.mark.parametrize("value", ["1", "ARRAY[1, 2]", "ROW(1, CAST(b AS int))", "coalesce(a, 1)", "CAST(a AS text)"])
@pytest.mark.parametrize(
    "column", [Column("a", "int"), Column("a", "bpchar", limit=("bpchar", 7)), Column("a", "l", limit=("bpchar", 7))]
)
def test_the_value_in_what_is_stored_is_found_again(value: str, column: Column) -> None:
    sql = f"UPDATE t SET a = {value}".encode()
    node = root_of(sql, "UpdateStmt")
    (raw,) = grammar.parse(sql)
    meant = raw.fields["targetList"][0]["ResTarget"]["val"]
    target = node.target_list[0].res_target.val
    target.CopyFrom(as_stored(target, column))
    whole = pg_query_pb2.Node()
    whole.update_stmt.CopyFrom(node)
    (again,) = grammar.parse(written_as(whole, sql))
    tree = again.fields["targetList"][0]["ResTarget"]["val"]
    assert bare(value_in(tree, meant, column)) == bare(meant)
    assert value_in({"ColumnRef": {}}, meant, column) is None


def test_a_length_inside_of_a_type_leaves_it_open_what_is_stored() -> None:
    assert is_certain(Column("a", "text"))
    assert is_certain(Column("a", "bpchar", limit=("bpchar", 7), limited=True))
    assert not is_certain(Column("a", "character varying[]", limited=True))


IDENTIFIED = Sampling(b"", SAMPLE, 5, is_identified=True)


def test_rows_that_are_met_often_agree_or_say_where_not() -> None:
    rows = [("7", "(0,1)", "1", "a", "x"), ("7", "(0,2)", "2", "b", "y"), ("7", "(0,1)", "1", "a", "x")]
    met = addresses_of(IDENTIFIED, rows)
    assert met == [("7", "(0,1)"), ("7", "(0,2)")]
    assert differing(IDENTIFIED, met, rows, once=False) == set()
    assert differing(IDENTIFIED, met, rows, once=True) == {"A b"}
    assert differing(IDENTIFIED, met, [*rows, ("7", "(0,2)", "2", "b", "z")], once=False) == {"A b"}
    assert differing(IDENTIFIED, met, rows[:1], once=False) == {"A b"}
    long = ("7", "(0,1)", "1", "a", "x" * 201)
    assert differing(IDENTIFIED, met[:1], [long], once=False) == set()
    assert differing(IDENTIFIED, met[:1], [long, long], once=False) == {"A b"}
    with pytest.raises(ValueError, match="has 0 new values, not 1"):
        differing(IDENTIFIED, met, [("7", "(0,1)", "1", "a")], once=False)


def test_what_is_not_certain_is_in_no_row() -> None:
    sample, rows = without(SAMPLE, ROWS, {"A b"})
    assert [column.becomes for column in sample.columns] == [None, Becomes.UNTOLD]
    assert rows == tuple(row[:2] for row in ROWS)
    assert opened_rows(sample, sealed_rows(rows)) == rows
    assert without(SAMPLE, ROWS, set()) == (SAMPLE, ROWS)


def test_where_nothing_is_certain_it_is_said_once() -> None:
    columns = tuple(SampleColumn(name=name, becomes=Becomes.UNTOLD) for name in ("id", "b"))
    sample = Sample(relation="app.t", columns=columns, rows=1)
    assert list(sample_lines(sample, [(Value("1"), Value("x"))])) == [
        ("sample", "1 row as they stand now, of app.t; what each of their columns becomes is not worked out"),
        ("row 1", "id 1, b 'x'"),
    ]

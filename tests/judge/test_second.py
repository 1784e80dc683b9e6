"""The second reader: it can only add a doubt, it never sees the raw text, and it is never given what would hang it."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlglot import exp
from tests.judge.texts import ATTACKS, POLICIES, judged

from pgnotary.judge import gate, grammar, reading
from pgnotary.judge.grammar import Unreadable
from pgnotary.judge.harmless import QUERY_MESSAGES, structural
from pgnotary.judge.meaning import weigh
from pgnotary.judge.policy import verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rules import Action
from pgnotary.judge.second import UNTIMED, objection, relex
from pgnotary.judge.statement import Qualifier


def _objection(sql: str, *seen: type[exp.Expression]) -> str:
    return objection(sql.encode(), gate.tokens_of(sql.encode()), seen)


def test_the_brackets_of_array_types_are_left_out_and_no_others() -> None:
    text = b"SELECT $1::oid[], a::int[][], ARRAY[]::text[], b[1], ARRAY [] , '[]', c::x[/**/]"
    expected = "SELECT $1 :: oid , a :: int , ARRAY [ ] :: text , b [ 1 ] , ARRAY [ ] , '[]' , c :: x ;"
    assert relex(text, gate.tokens_of(text)) == expected


def test_a_text_is_given_as_its_tokens_with_single_spaces() -> None:
    text = b"SELECT/* a */$1,$2 -- b\n FROM\tt\r\nWHERE a='x  y'"
    assert relex(text, gate.tokens_of(text)) == "SELECT $1 , $2 FROM t WHERE a = 'x  y' ;"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT $1,$2",
        "SELECT a FROM t",
        "VALUES (1)",
        "TABLE t",
        "WITH x AS (SELECT 1) TABLE x",
        "(SELECT 1) UNION SELECT 2",
    ],
)
def test_it_agrees_with_a_plain_read(sql: str) -> None:
    assert _objection(sql) == ""


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("DELETE FROM t", "the second reader sees DELETE"),
        ("SELECT 1 INTO x", "the second reader sees INTO"),
        ("SELECT 1 FOR UPDATE", "the second reader sees LOCK"),
        ("WITH d AS (DELETE FROM t RETURNING 1) SELECT 1", "the second reader sees DELETE"),
        ("CREATE TABLE x AS SELECT 1", "the second reader sees CREATE"),
        ("SELECT 1; SELECT 2", "the second reader sees 2 statements where PostgreSQL's grammar sees one"),
        ("LISTEN x", "the second reader sees ALIAS"),
    ],
)
def test_it_objects_to_what_is_more_than_a_read(sql: str, why: str) -> None:
    assert _objection(sql) == why


def test_a_change_that_the_grammar_sees_too_is_no_objection_and_any_other_is() -> None:
    assert _objection("DELETE FROM t", exp.Delete) == ""
    assert _objection("UPDATE t SET a = 1", exp.Delete)
    assert _objection("WITH d AS (DELETE FROM s RETURNING 1) DELETE FROM t", exp.Delete) == ""
    assert _objection("WITH d AS (DELETE FROM s RETURNING 1) UPDATE t SET a = 1", exp.Delete)
    assert _objection("WITH d AS (DELETE FROM s RETURNING 1) UPDATE t SET a = 1", exp.Delete, exp.Update) == ""
    assert _objection("SELECT 1 INTO x", exp.Lock)
    assert _objection("SELECT 1", exp.Delete) == ""


def test_a_change_that_only_the_second_reader_sees_is_a_disagreement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_SEEN_BY_BOTH", {})
    (found,) = (each for each in read(b"DELETE FROM t WHERE a = 1").parts[0].findings if each.judge == "second reader")
    assert (found.qualifier, found.reason) == (Qualifier.DISAGREEMENT, "the second reader sees DELETE")


def test_a_read_that_only_postgresql_can_read_is_held_as_such() -> None:
    sql = "SELECT 1 ORDER BY 1 USING >"
    assert read(sql.encode()).parts[0].qualifiers == {Qualifier.SINGLE_READER}
    found = judged(sql, "strict")
    assert (found.action, found.rule, found.judge) == (Action.HOLD, "strict/hold-select", "second reader")
    assert found.reason == "the text cannot be read by the second reader"
    found = judged(sql)
    assert (found.action, found.rule, found.judge) == (Action.FORWARD, "default/harmless", "second reader")


HANGS = [
    "a deep nest of ARRAY",
    "a deep nest of casts",
    "many nests side by side",
    "subscripts in a row",
    "slices in a row",
    "a deep nest of sub-selects",
    "a deep nest of NOT",
    "many comment openings",
]
"""What takes sqlglot from seconds to hours, or breaks the stack, if it is given to it."""


@pytest.mark.parametrize("name", HANGS)
def test_a_text_that_would_hang_it_is_read_promptly_and_without_it(name: str) -> None:
    pool = ThreadPoolExecutor(1)
    try:
        statement = pool.submit(read, ATTACKS[name].encode()).result(timeout=10)
    finally:
        pool.shutdown(wait=False)
    assert not statement.parts[0].qualifiers.isdisjoint({Qualifier.SINGLE_READER, Qualifier.UNREAD})
    assert verdict(weigh(statement), POLICIES["strict"]).action is not Action.FORWARD


@pytest.mark.parametrize("name", HANGS[:5])
def test_without_its_bounds_it_would_be_given_them(name: str) -> None:
    (statement,) = grammar.parse(ATTACKS[name].encode())
    assert list(structural(grammar.messages(statement.node, statement.fields), QUERY_MESSAGES)) == []


def test_the_bounds_let_ordinary_queries_through() -> None:
    lists = "SELECT 1 WHERE (a, b) IN (" + ", ".join(["(1, 2)"] * 1_000) + ")"
    calls = "SELECT " + ", ".join(["coalesce(upper(trim(a[1])), '')"] * 200)
    nested = "SELECT " + "(" * UNTIMED.depth + "1" + ")" * UNTIMED.depth
    assert [_objection(sql) for sql in (lists, calls, nested)] == ["", "", ""]
    with pytest.raises(Unreadable, match="nested 9 brackets deep"):
        _objection(nested.replace("1", "(1)"))


def test_a_comment_between_subscripts_hides_none() -> None:
    with pytest.raises(Unreadable, match="subscripts"):
        _objection("SELECT a" + "[1]/**/" * 30 + "[1]" * 150)


def test_nothing_of_the_reader_is_loaded_when_the_first_text_comes() -> None:
    """Where its files cannot be read any more by then, everything would be held."""
    script = (
        "import sys; from pgnotary.judge.meaning import weigh; from pgnotary.judge.reading import read; "
        "before = set(sys.modules); "
        "weigh(read(b'SELECT count(*) FROM t WHERE a IN (SELECT 1)')); print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"

"""Previews: what is counted is what then changes, and what cannot be counted says why."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.reading import read
from pgnotary.request.life import FINAL, MOVES, Move, State
from pgnotary.request.preview import questions, read_estimate

SCHEMA = """
CREATE TABLE a (id int PRIMARY KEY, n int, "Odd Name" text);
CREATE TABLE b (a_id int, m int);
CREATE TABLE parted (k int, v int) PARTITION BY LIST (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
CREATE TABLE parent (x int);
CREATE TABLE child () INHERITS (parent);
INSERT INTO a SELECT i, i % 10, 'r' || i FROM generate_series(1, 100) i;
INSERT INTO b SELECT i % 50 + 1, i FROM generate_series(1, 300) i;
INSERT INTO parted SELECT i % 2 + 1, i FROM generate_series(1, 40) i;
INSERT INTO parent SELECT generate_series(1, 5);
INSERT INTO child SELECT generate_series(1, 7);
"""
COUNTED = [
    "DELETE FROM a",
    "DELETE FROM a WHERE n = 3",
    "DELETE FROM a AS z WHERE z.n IN (SELECT m FROM b WHERE m < 4)",
    "DELETE FROM a USING b WHERE b.a_id = a.id",
    "DELETE FROM a z USING b JOIN a o ON o.id = b.a_id WHERE b.a_id = z.id AND o.n = 1",
    "UPDATE a SET n = 0 WHERE id > 90 RETURNING *",
    "UPDATE a SET n = b.m FROM b WHERE b.a_id = a.id AND b.m > 200",
    "UPDATE a SET \"Odd Name\" = 'x' WHERE \"Odd Name\" LIKE 'r1%'",
    "UPDATE a SET n = (a.n IS DISTINCT FROM 3)::int WHERE n IS DISTINCT FROM 3",
    "WITH few AS (SELECT id FROM a WHERE id < 6) DELETE FROM a WHERE id IN (SELECT id FROM few)",
    "WITH few AS (SELECT id FROM a WHERE id < 6) UPDATE a SET n = 1 FROM few WHERE few.id = a.id",
    "DELETE FROM parted WHERE v > 10",
    "UPDATE parted SET v = 0 WHERE k = 2",
    "DELETE FROM ONLY parent",
    "DELETE FROM parent",
    "DELETE FROM a WHERE n > (SELECT avg(n) FROM a)",
]


@pytest.fixture(scope="module")
def tables(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    """A schema of this module's own; nothing that a test does in it stays."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA previews")
        connection.execute("SET search_path = previews")
        connection.execute(SCHEMA.encode())
        yield connection
        connection.execute("DROP SCHEMA previews CASCADE")


@pytest.mark.parametrize("sql", COUNTED)
def test_the_count_is_what_then_changes(tables: psycopg.Connection[Any], sql: str) -> None:
    asked = questions(read(sql.encode()))
    assert asked.unavailable == ""
    (counted,) = tables.execute(asked.count).fetchone() or (None,)
    (plan,) = tables.execute(asked.explain).fetchone() or (None,)

    assert read_estimate(json.dumps(plan)) is not None
    with tables.transaction(force_rollback=True):
        assert tables.execute(sql.encode()).rowcount == counted


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("INSERT INTO a VALUES (1)", "estimated only"),
        ("TRUNCATE a", "TRUNCATE is not previewed"),
        ("DELETE FROM a; DELETE FROM b", "exactly one"),
        ("DELETE FROM a WHERE id = f()", "planning it could have effects"),
        ("DELETE FROM a WHERE CURRENT OF c", "CurrentOfExpr"),
        ("WITH x AS (DELETE FROM b RETURNING *) DELETE FROM a", "changes data too"),
        ("DELETE FROM a WHERE random() < 0.5", "may answer differently"),
    ],
)
def test_what_cannot_be_counted_says_why(sql: str, why: str) -> None:
    assert why in questions(read(sql.encode())).unavailable


@pytest.mark.parametrize("answer", ["", "[]", "nonsense", '[{"Plan": {"Node Type": "Result"}}]'])
def test_an_estimate_of_unknown_shape_is_none_and_never_zero(answer: str) -> None:
    assert read_estimate(answer) is None


def test_only_moves_of_the_table_can_be_made() -> None:
    for of in (None, *State):
        for to in State:
            if to in MOVES.get(of, frozenset()):
                assert Move("R-1", of, to).to is to
            else:
                with pytest.raises(ValueError, match="no move"):
                    Move("R-1", of, to)
    assert {State.DENIED, State.COMMITTED, State.RESOLVED} <= FINAL

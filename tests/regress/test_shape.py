"""What a text is by its tree alone."""

import pytest
from tests.regress.shape import shape_of


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1", "TABLE t", "VALUES (1)", "SHOW ALL", "EXPLAIN ANALYZE SELECT 1", "EXPLAIN DELETE FROM t",
        "COPY t TO STDOUT", "COPY (SELECT 1) TO STDOUT", "SELECT 1; SELECT 2", "WITH x AS (SELECT 1) TABLE x",
    ],
)  # fmt: skip
def test_a_read_has_the_form_of_one(text: str) -> None:
    assert shape_of(text.encode()).reads


@pytest.mark.parametrize(
    "text",
    [
        "", "SELECT 1 INTO t", "SELECT 1 FOR SHARE",
        "WITH x AS (DELETE FROM t RETURNING 1) TABLE x", "COPY t FROM STDIN",
        "EXPLAIN ANALYZE DELETE FROM t", "COPY t TO '/tmp/t'", "COPY (DELETE FROM t RETURNING a) TO STDOUT", "BEGIN",
        "SELECT 1; DELETE FROM t", "EXPLAIN ANALYZE SELECT 1 FOR UPDATE", "EXPLAIN ANALYZE EXECUTE p",
        "EXPLAIN ANALYZE WITH x AS (DELETE FROM t RETURNING 1) TABLE x", "COPY t TO PROGRAM 'x'",
    ],
)  # fmt: skip
def test_anything_else_has_not(text: str) -> None:
    assert not shape_of(text.encode()).reads


@pytest.mark.parametrize(
    ("text", "explained"),
    [
        ("EXPLAIN SELECT 1", "SELECT 1"),
        ("explain (costs off, format text) with x as (select 1) table x", "with x as (select 1) table x"),
        ("EXPLAIN VERBOSE /* ( */ TABLE t", "TABLE t"),
        ("EXPLAIN (VERBOSE) (SELECT 1)", ""),
        ("EXPLAIN ANALYZE SELECT 1", ""),
        ("EXPLAIN DELETE FROM t", ""),
        ("SELECT 1", ""),
    ],
)
def test_the_query_that_explain_only_shows_the_plan_of_is_found(text: str, explained: str) -> None:
    assert [part.explained for part in shape_of(text.encode()).slices] == [explained.encode()]


@pytest.mark.parametrize(
    ("text", "escape"),
    [
        ("SELECT 1", ""),
        ("SELECT pg_catalog.LO_UNLINK(1)", "lo_unlink"),
        ("SELECT U&\"lo!005funlink\" UESCAPE '!' (1)", "lo_unlink"),
        ("EXPLAIN SELECT dblink_exec('')", "dblink_exec"),
        ("COPY t TO '/tmp/t'", "COPY-to-a-file"),
        ("ROLLBACK PREPARED 'x'", "two-phase-commit"),
        ("COMMIT PREPARED 'x'", "two-phase-commit"),
        ("SELECT 1; LOCK t", "LockStmt"),
    ],
)
def test_an_escape_is_known_by_its_name(text: str, escape: str) -> None:
    assert shape_of(text.encode()).escape == escape


@pytest.mark.parametrize(
    "text",
    [
        "BEGIN",
        "FETCH c",
        "DEALLOCATE p",
        "DISCARD ALL",
        "SELECT pg_advisory_lock(1)",
        "SELECT loread(0, 1)",
        "SET transaction_read_only = on",
        "SET TRANSACTION READ ONLY",
        "LOCK t",
    ],
)
def test_what_a_rollback_does_not_take_back_is_not_tried(text: str) -> None:
    assert shape_of(text.encode()).obstacle


def test_prepared_statements_and_held_cursors_are_known_by_name() -> None:
    prepare, hold, plain = shape_of(
        b'PREPARE "P" AS SELECT 1; DECLARE c CURSOR WITH HOLD FOR SELECT 1; DECLARE d CURSOR FOR SELECT 1'
    ).slices
    assert (prepare.prepared, hold.held_over, plain.held_over) == ("P", "c", "")

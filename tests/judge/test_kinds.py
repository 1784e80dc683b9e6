"""Every kind of statement in PostgreSQL's grammar has a class that policy can speak of."""

import re

import pytest
from postgast import pg_query_pb2

from pgnotary.judge.kinds import kind_of
from pgnotary.judge.reading import read
from pgnotary.judge.statement import StatementClass

# What wraps a statement, is made of one by the analyser, or stands only in the body of a function.
NOT_IN_A_TEXT = frozenset({"RawStmt", "SetOperationStmt", "PLAssignStmt", "ReturnStmt"})
STATEMENTS = sorted(
    name
    for name in pg_query_pb2.DESCRIPTOR.message_types_by_name
    if name.endswith("Stmt") and name not in NOT_IN_A_TEXT
)
# Their names begin otherwise than one would think.
ODD = {"AlterSeqStmt": "sequence", "AlterDefaultPrivilegesStmt": "grant"}


def test_the_grammar_is_the_one_that_the_classes_were_made_for() -> None:
    assert len(STATEMENTS) == 113
    assert {"SelectStmt", "DeleteStmt", "CopyStmt", "VacuumStmt"} <= set(STATEMENTS)


@pytest.mark.parametrize("node", STATEMENTS)
def test_every_statement_of_the_grammar_has_a_class(node: str) -> None:
    assert kind_of(node, {}, ()) is not StatementClass.UNKNOWN


@pytest.mark.parametrize("node", [name for name in STATEMENTS if re.match("Alter|Create|Drop", name)])
def test_what_is_called_alter_create_or_drop_is_of_that_class(node: str) -> None:
    first = re.match("Alter|Create|Drop", node)
    assert first is not None
    assert kind_of(node, {}, ()) == ODD.get(node, first[0].lower())


@pytest.mark.parametrize("node", ["RawStmt", "SetOperationStmt", "NewStmt", ""])
def test_what_a_later_grammar_adds_is_unknown(node: str) -> None:
    assert kind_of(node, {}, ()) is StatementClass.UNKNOWN


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("COPY t FROM STDIN", StatementClass.COPY_IN),
        ("COPY t FROM '/x'", StatementClass.COPY_IN),
        ("COPY t FROM PROGRAM 'x'", StatementClass.COPY_IN),
        ("COPY t TO STDOUT", StatementClass.COPY_OUT),
        ("COPY (SELECT 1) TO STDOUT", StatementClass.COPY_OUT),
        ("COPY t TO PROGRAM 'x'", StatementClass.COPY_OUT),
        ("INSERT INTO t VALUES (1)", StatementClass.INSERT),
        ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", StatementClass.INSERT),
        ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 1", StatementClass.UPDATE),
        ("WITH i AS (INSERT INTO t VALUES (1)) SELECT 1", StatementClass.INSERT),
        ("WITH i AS (INSERT INTO t VALUES (1)), d AS (DELETE FROM t) UPDATE t SET a = 1", StatementClass.DELETE),
        ("WITH u AS (UPDATE t SET a = 1) INSERT INTO t VALUES (1)", StatementClass.UPDATE),
        ("EXPLAIN DELETE FROM t", StatementClass.EXPLAIN),
        ("EXPLAIN ANALYZE DELETE FROM t", StatementClass.DELETE),
        ("EXPLAIN (ANALYZE off) DELETE FROM t", StatementClass.EXPLAIN),
        ("EXPLAIN ANALYZE SELECT 1", StatementClass.EXPLAIN),
        ("SELECT 1 UNION SELECT 2", StatementClass.SELECT),
        ("", StatementClass.EMPTY),
    ],
)
def test_what_a_statement_does_decides_its_class(sql: str, kind: StatementClass) -> None:
    assert [part.kind for part in read(sql.encode()).parts] == [kind]

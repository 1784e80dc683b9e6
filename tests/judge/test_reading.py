"""Reading: whatever the text, the answer is a statement that says what is in it, and only a proof forwards it."""

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp
from tests.judge.texts import ATTACKS, CORPUS, FORWARDED, POLICIES, REFUSED

from pgnotary.errors import InvalidText
from pgnotary.judge import gate, second
from pgnotary.judge.harmless_functions import HARMLESS
from pgnotary.judge.meaning import weigh
from pgnotary.judge.policy import verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rules import Action
from pgnotary.judge.statement import Control, Part, Qualifier

PIECES = [
    "SELECT", "1", "'", '"', "$$", "$a$", "--", "\n", ";", "DELETE FROM t", "/*", "*/", "(", ")", "\u2028", "\x01",
    "\0", "E'\\", "$1", ",", "INTO x", "FOR UPDATE", "WITH d AS", "EXPLAIN", "ANALYZE", "COPY", "TO STDOUT", "[", "]",
    "{", "nextval('s')", "now()", "BEGIN", "COMMIT", "SET", "=", "work_mem", "FROM t", "U&", "\\", "#", "\u00e9",
    "UNION",
]  # fmt: skip
WRITES = (exp.DML, exp.DDL, exp.Into, exp.Lock, exp.Command)
HARMLESS_ROOTS = {
    "", "SelectStmt", "VariableShowStmt", "ExplainStmt", "CopyStmt", "TransactionStmt", "VariableSetStmt",
}  # fmt: skip


def part(sql: str) -> Part:
    (found,) = read(sql.encode()).parts
    return found


@given(st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join) | st.lists(st.sampled_from(PIECES)).map("".join))
def test_only_what_both_readers_read_as_harmless_is_forwarded(sql: str) -> None:
    text = sql.encode()
    statement = weigh(read(text))
    if verdict(statement, POLICIES["strict"]).action is not Action.FORWARD:
        return
    assert all(found.harmless for found in statement.parts)
    assert {found.node for found in statement.parts} <= HARMLESS_ROOTS
    tokens = gate.tokens_of(text)
    for found in statement.parts:
        if found.node == "SelectStmt":
            assert {name.removeprefix("pg_catalog.") for name in found.functions} <= HARMLESS
            own = [token for token in tokens if found.start <= token.start < found.end]
            (root,) = (root for root in sqlglot.parse(second.relex(text, own), read="postgres") if root)
            assert not any(isinstance(node, WRITES) for node in root.walk())


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_are_read_or_refused_as_not_utf_8(text: bytes) -> None:
    try:
        statement = read(text)
    except InvalidText:
        with pytest.raises(UnicodeDecodeError):
            text.decode()
        return
    assert statement.parts
    assert all(0 <= found.start <= found.end <= len(text) for found in statement.parts)


@given(st.data())
def test_no_splice_of_known_texts_is_too_much_for_the_readers(data: st.DataObject) -> None:
    texts = [*ATTACKS.values(), *FORWARDED, *REFUSED, *(row["sql"] for row in CORPUS)]
    short = st.sampled_from([text for text in texts if len(text) < 300])
    first, other = data.draw(short), data.draw(short)
    cut, at = data.draw(st.integers(0, len(first))), data.draw(st.integers(0, len(other)))
    statement = read((first[:cut] + other[at:]).encode())
    for policy in POLICIES.values():
        assert verdict(weigh(statement), policy).reason


def test_parts_are_cut_at_byte_offsets() -> None:
    statement = read(" /* \u00e9 */ SELECT '\u00e9'; ;DELETE FROM \u00e9 -- x".encode())
    assert [statement.slice(found) for found in statement.parts] == [
        "SELECT '\u00e9'".encode(),
        "DELETE FROM \u00e9 -- x".encode(),
    ]


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("WITH d AS (DELETE FROM t RETURNING 1) SELECT 1", "delete"),
        ("EXPLAIN ANALYZE UPDATE t SET a = 1", "update"),
        ("EXPLAIN UPDATE t SET a = 1", "explain"),
        ("EXPLAIN (ANALYZE, ANALYZE off) UPDATE t SET a = 1", "explain"),
        ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "insert"),
        ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 1", "update"),
        ("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", "merge"),
        ("COPY t FROM '/x'", "copy-in"),
        ("COPY t TO '/x'", "copy-out"),
        ("CREATE TABLE x AS SELECT 1", "create"),
        ("CREATE DATABASE x", "create"),
        ("ALTER TABLE t RENAME TO u", "alter"),
        ("DROP ROLE x", "drop"),
        ("ANALYZE t", "maintenance"),
        ("nonsense", "unknown"),
        ("ALTER SYSTEM SET a = 1", "alter"),
        ("", "empty"),
    ],
)
def test_a_statement_has_the_class_of_what_it_does(sql: str, kind: str) -> None:
    assert part(sql).kind == kind


@pytest.mark.parametrize(
    ("sql", "written"),
    [
        ('UPDATE "Odd".t SET a = 1', ('"Odd".t',)),
        ("WITH x AS (DELETE FROM a RETURNING 1), y AS (INSERT INTO b VALUES (1)) UPDATE c SET d = 1", ("c", "a", "b")),
        ("MERGE INTO a.t USING s ON true WHEN MATCHED THEN DELETE", ("a.t",)),
        ("TRUNCATE a, ONLY b.c", ("a", "b.c")),
        ('DROP TABLE a.b, "C d"', ("a.b", '"C d"')),
        ("DROP FUNCTION a.f(int), g", ("a.f", "g")),
        ("DROP TYPE a.b", ("a.b",)),
        ("DROP SCHEMA s", ("s",)),
        ("DROP TRIGGER x ON s.t", ("s.t.x",)),
        ("SELECT 1 INTO x", ("x",)),
        ("CREATE TABLE x AS SELECT 1", ("x",)),
        ("CREATE INDEX i ON t (a)", ("t",)),
        ("ALTER TABLE ONLY t ADD b int", ("t",)),
        ("COPY t FROM '/x'", ("t",)),
        ("COPY s.t (a) FROM STDIN", ("s.t",)),
        ("SELECT 1 FROM t", ()),
        ('DROP TABLE "a.b", "old, at most 0 rows", "a""b"', ('"a.b"', '"old, at most 0 rows"', '"a""b"')),
    ],
)
def test_what_a_statement_writes_is_named(sql: str, written: tuple[str, ...]) -> None:
    assert part(sql).written == written


@pytest.mark.parametrize(
    ("sql", "control", "read_only", "savepoint", "chained"),
    [
        ("BEGIN", Control.BEGIN, None, "", False),
        ("BEGIN READ ONLY", Control.BEGIN, True, "", False),
        ("BEGIN READ ONLY, READ WRITE", Control.BEGIN, False, "", False),
        ("START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE", Control.BEGIN, True, "", False),
        ("BEGIN READ WRITE", Control.BEGIN, False, "", False),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", Control.BEGIN, None, "", False),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", Control.SET, None, "", False),
        ("END AND CHAIN", Control.COMMIT, None, "", True),
        ("ABORT", Control.ROLLBACK, None, "", False),
        ('SAVEPOINT "A b"', Control.SAVEPOINT, None, "A b", False),
        ("RELEASE a", Control.RELEASE, None, "a", False),
        ("ROLLBACK TO SAVEPOINT a", Control.ROLLBACK_TO, None, "a", False),
        ("SET TRANSACTION READ WRITE", Control.SET, False, "", False),
        ("PREPARE TRANSACTION 'x'", Control.PREPARE, None, "", False),
    ],
)
def test_transaction_control_is_known_for_what_it_is(
    sql: str, control: Control, read_only: bool | None, savepoint: str, chained: bool
) -> None:
    found = part(sql)
    assert (found.control, found.read_only, found.savepoint, found.chained) == (
        control,
        read_only,
        savepoint,
        chained,
    )


@pytest.mark.parametrize(
    ("sql", "outside"),
    [
        ("VACUUM t", True),
        ("ANALYZE t", False),
        ("CREATE INDEX CONCURRENTLY i ON t (a)", True),
        ("CREATE INDEX i ON t (a)", False),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", False),
        ("REINDEX (CONCURRENTLY) TABLE t", True),
        ("REINDEX TABLE t", False),
        ("REINDEX SCHEMA s", True),
        ("CLUSTER", True),
        ("CLUSTER t", False),
        ("DISCARD ALL", True),
        ("DISCARD PLANS", False),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", True),
        ("ALTER TABLE t DETACH PARTITION p", False),
        ("ALTER TABLE t ADD b int", False),
    ],
)
def test_what_cannot_run_in_a_block_is_known(sql: str, outside: bool) -> None:
    assert part(sql).outside_block_only is outside


@pytest.mark.parametrize(
    ("sql", "qualifiers"),
    [
        ("SELECT now(), f(a) FROM t", set()),
        ("DELETE FROM t", {"write", "unconditional"}),
        ("DELETE FROM t WHERE a = 1", {"write"}),
        ("UPDATE t SET a = 1", {"write", "unconditional"}),
        ("INSERT INTO t VALUES (1)", {"write"}),
        ("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", {"write"}),
        ("TRUNCATE t", {"write"}),
        ("DROP TABLE t CASCADE", {"write", "cascade"}),
        ("TRUNCATE t CASCADE", {"write", "cascade"}),
        ("DROP TABLE t RESTRICT", {"write"}),
        ("WITH d AS (DELETE FROM t) SELECT 1", {"write", "unconditional"}),
        ("WITH d AS (DELETE FROM t WHERE a = 1 RETURNING 1) SELECT 1", {"write"}),
        ("SELECT 1 INTO x", {"write"}),
        ("SELECT 1 INTO TEMP x", {"temp"}),
        ("CREATE TEMP TABLE x AS SELECT 1", {"temp"}),
        ("CREATE TEMP TABLE x (a int)", {"temp"}),
        ("CREATE TABLE x (a int)", {"write"}),
        ("CREATE TEMP TABLE x (LIKE t)", {"write", "unread", "temp"}),
        ("CREATE TEMP TABLE x () INHERITS (t)", {"write", "unread", "temp"}),
        ("CREATE TEMP VIEW x AS SELECT 1", {"write"}),
        ("SELECT a FROM t FOR UPDATE", {"locking"}),
        ("SELECT a FROM (SELECT a FROM t FOR KEY SHARE) x", {"locking"}),
        ("LOCK TABLE t IN ACCESS SHARE MODE", {"access-share"}),
        ("LOCK TABLE t IN ROW SHARE MODE", {"write"}),
        ("LOCK TABLE t", {"write"}),
        ("LISTEN x", {"notify"}),
        ("UNLISTEN *", {"notify"}),
        ("NOTIFY x", {"notify"}),
        ("SET ROLE x", {"role"}),
        ("DISCARD TEMP", {"session"}),
        ("SET CONSTRAINTS ALL IMMEDIATE", {"session"}),
        ("SELECT set_config('work_mem', '1MB', false)", {"session"}),
        ("SELECT set_config('role', 'x', false)", {"setting"}),
        ("SELECT set_config(a, 'x', false) FROM t", {"setting"}),
        ("EXECUTE p", {"unread"}),
        ("FETCH c", {"unread"}),
        ("EXPLAIN EXECUTE p", {"unread"}),
        ("PREPARE p AS DELETE FROM t WHERE a = $1", {"write"}),
        ("PREPARE p AS SELECT 1", set()),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", set()),
        ("DECLARE c CURSOR FOR SELECT 1 FOR UPDATE", {"locking"}),
        ("EXPLAIN ANALYZE DELETE FROM t", {"write", "unconditional"}),
        ("EXPLAIN DELETE FROM t", set()),
        ("COPY t TO '/x'", {"write"}),
        ("COPY t FROM STDIN", {"write"}),
        ("COPY t (a, b) FROM STDIN WITH (FORMAT csv, HEADER) WHERE a > 1", {"write"}),
        ("COPY t TO PROGRAM 'x'", {"write"}),
        ("COPY (DELETE FROM t RETURNING 1) TO STDOUT", {"write", "unconditional", "single-reader"}),
        ("DO 'BEGIN END'", {"write"}),
        ("CALL f()", {"write"}),
        ("nonsense", {"unread"}),
        ("SELECT 1 ORDER BY 1 USING >", {"single-reader"}),
        ("SELECT * FROM t TABLESAMPLE other (1)", {"function"}),
    ],
)  # fmt: skip
def test_a_statement_says_what_it_may_do(sql: str, qualifiers: set[str]) -> None:
    assert part(sql).qualifiers == {Qualifier(name) for name in qualifiers}


@pytest.mark.parametrize(
    ("sql", "targets"),
    [
        ("DELETE FROM a.t USING u", [("a", "t")]),
        ("WITH x AS (DELETE FROM a RETURNING 1), y AS (INSERT INTO b VALUES (1)) UPDATE c SET d = 1", ["a", "b", "c"]),
        ("TRUNCATE a, b.c", ["a", ("b", "c")]),
        ("DROP TABLE a, b.c", ["a", ("b", "c")]),
        ("DROP VIEW a", []),
        ("DROP SCHEMA a", []),
        ("CREATE INDEX i ON t (a)", ["t"]),
        ("SELECT 1 FROM t", []),
    ],
)
def test_a_statement_names_the_relations_that_it_changes(sql: str, targets: list[str | tuple[str, ...]]) -> None:
    assert set(part(sql).targets) == {(name,) if isinstance(name, str) else name for name in targets}


def test_what_has_a_name_says_what_runs_behind_it() -> None:
    prepared, declared = part("PREPARE p AS DELETE FROM t"), part("DECLARE c CURSOR WITH HOLD FOR SELECT 1")
    assert (prepared.defines, prepared.runs, prepared.with_hold) == ("p", "delete", False)
    assert (declared.defines, declared.runs, declared.with_hold) == ("c", "select", True)
    assert part('EXECUTE "P q" (1)').prepared == (("P q", False),)
    assert part("FETCH ALL FROM c").prepared == (("c", True),)
    assert part("EXPLAIN ANALYZE EXECUTE p").prepared == (("p", False),)


def test_what_is_made_is_not_what_is_read() -> None:
    assert part("SELECT a INTO TEMP x FROM t").names.relations == {("t",)}
    assert part("CREATE TEMP TABLE x AS TABLE s.t").names.relations == {("s", "t")}

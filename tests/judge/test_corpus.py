"""The labelled corpora: what writes is never forwarded, what plainly reads is."""

import json
from pathlib import Path

import pytest

from pgnotary.judge.policy import PROFILES, Action, verdict
from pgnotary.judge.reading import read

CORPUS = [json.loads(line) for line in Path("tests/corpus/judge.jsonl").read_text().splitlines()]
READS = {"read", "explain", "explain_analyze:read", "show", "copy_out", "transaction", "empty", "session_setting"}
HELD_READS = {
    "v0119": "restrict_nonsystem_relation_kind is not on the list of free settings",
}

ATTACKS = {
    "U+2028 before a dollar quote": "SELECT 1 AS \u2028$$; DELETE FROM t; --$$",
    "no-break space": "SELECT 1 AS\u00a0x",
    "next line": "SELECT\u00851",
    "an operator cut by a comment": "SELECT 1 #-- '\n 2; DELETE FROM t; --'",
    "a parameter taken for a dollar quote": (
        "WITH x AS (SELECT $1,$2), d AS (DELETE FROM t RETURNING 1) SELECT $1,$a$ ) SELECT 1 --$a$"
    ),
    "a dollar at the end": "SELECT $1 INTO x --$",
    "row locks behind a dollar": "SELECT $1 FOR UPDATE --$",
    "a comment that nests": "/* /* */ SELECT 1 */ DELETE FROM t",
    "a comment that a carriage return ends": "SELECT 1 -- \r; DELETE FROM t",
    "an escape string": "SELECT E'\\''; DELETE FROM t; --'",
    "a string with a backslash": "SELECT '\\'; DELETE FROM t; --'",
    "a Unicode identifier": "SELECT U&\"lo!005funlink\" UESCAPE '!' (1)",
    "a write in a CTE of a subquery": "SELECT * FROM (WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d) s",
    "a write in an arm of UNION": "SELECT 1 UNION (WITH d AS (DELETE FROM t RETURNING 1) SELECT * FROM d)",
    "INTO in an arm of UNION": "SELECT 1 INTO x UNION SELECT 2",
    "CREATE TABLE AS": "CREATE TABLE x AS SELECT 1",
    "EXPLAIN ANALYZE, the last option wins": "EXPLAIN (ANALYZE false, ANALYZE) DELETE FROM t",
    "EXPLAIN ANALYZE by number": "EXPLAIN (ANALYZE 1) DELETE FROM t",
    "EXPLAIN ANALYSE": "EXPLAIN ANALYSE DELETE FROM t",
    "EXPLAIN EXECUTE": "EXPLAIN EXECUTE p",
    "EXPLAIN of CREATE TABLE AS": "EXPLAIN CREATE TABLE x AS SELECT 1",
    "COPY of a write": "COPY (DELETE FROM t RETURNING 1) TO STDOUT",
    "COPY to a program": "COPY (SELECT 1) TO PROGRAM 'sh'",
    "COPY to a file": "COPY t TO '/tmp/x'",
    "set_config": "SELECT set_config('transaction_read_only', 'off', false)",
    "a large object": "SELECT lo_unlink(1)",
    "dblink": "SELECT * FROM dblink('c', 'drop table t') AS x(a int)",
    "text that is run": "SELECT query_to_xml('select f()', true, true, '')",
    "ts_stat": "SELECT * FROM ts_stat('select f()')",
    "a file": "SELECT pg_read_file('/etc/passwd')",
    "killing": "SELECT pg_terminate_backend(1)",
    "a namesake of a built-in function": "SELECT public.now()",
    "a sampling method": "SELECT * FROM t TABLESAMPLE public.mine(1)",
    "a transaction id": "SELECT pg_current_xact_id()",
    "NOTIFY": "NOTIFY x",
    "LISTEN": "LISTEN x",
    "LOCK": "LOCK TABLE t",
    "an advisory lock": "SELECT pg_advisory_lock(1)",
    "a sequence": "SELECT nextval('s')",
    "SET ROLE": "SET ROLE admin",
    "search_path with built-ins last": "SET search_path = public, pg_catalog",
    "a deep nest": "SELECT " + "ARRAY[" * 60 + "1" + "]" * 60,
    "many deep nests": "SELECT " + ", ".join(["ARRAY[" * 8 + "1" + "]" * 8] * 300),
    "a long text": "SELECT '" + "x" * 20_000 + "'",
    "many comments": "/*" * 2_000,
    "DO": "DO 'BEGIN DELETE FROM t; END'",
}
REFUSED = [
    "SET default_transaction_read_only = off", "SET transaction_read_only = off", "SET LOCAL transaction_read_only = 0",
    "RESET transaction_read_only", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "SET NAMES 'SJIS'",
    "SET client_encoding TO gbk", "SET standard_conforming_strings TO off", "SET backslash_quote = on",
    "PREPARE TRANSACTION 'x'", "COMMIT PREPARED 'x'", "ROLLBACK PREPARED 'x'", "COMMIT; SELECT 1", "SELECT 1; BEGIN",
    "BEGIN; SAVEPOINT a; COMMIT", "BEGIN; SELECT 1; COMMIT AND CHAIN", "SET TRANSACTION READ WRITE; DELETE FROM t",
    "COPY t FROM STDIN", "VACUUM", "CREATE DATABASE x", "CREATE INDEX CONCURRENTLY i ON t (a)",
    "ALTER SYSTEM SET a = 1",
]  # fmt: skip
FORWARDED = [
    "SELECT now(), pg_catalog.count(*) FROM t", "TABLE t", "VALUES (1)", "SELECT 1;", ";;", "", "-- only a comment",
    "SELECT /* DELETE FROM t */ 1", "SELECT 1 -- \u00a0 in a comment", "SELECT '\u2028 in a literal'", "SHOW ALL",
    "EXPLAIN DELETE FROM t", "EXPLAIN ANALYZE SELECT 1", "EXPLAIN (SELECT 1)", "EXPLAIN (COSTS off) (SELECT 1)",
    "COPY (SELECT 1) TO STDOUT (FORMAT csv)", "COPY t TO STDOUT", "BEGIN", "START TRANSACTION READ ONLY", "END",
    "ABORT",
    "SAVEPOINT a", "RELEASE a", "ROLLBACK TO a", "COMMIT AND CHAIN", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "BEGIN; SELECT 1; COMMIT", "SET search_path = app, public", "SET LOCAL work_mem = '8MB'", "RESET ALL",
    "SET TIME ZONE 'UTC'",
    "SET client_encoding = 'utf-8'", "SET standard_conforming_strings = on", "SET pgnotary.reason = 'because'",
    "SET enable_seqscan = off", "SELECT 1; SELECT 2",
]  # fmt: skip


PSQL = [json.loads(line)["sql"] for line in Path("tests/corpus/psql.jsonl").read_text().splitlines()]


def _action(sql: str, profile: str) -> Action:
    return verdict(read(sql.encode()), PROFILES[profile]).action


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("row", [row for row in CORPUS if row["writes"]], ids=lambda row: row["id"])
def test_what_writes_is_never_forwarded(row: dict[str, str], profile: str) -> None:
    assert _action(row["sql"], profile) is not Action.FORWARD


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("row", [row for row in CORPUS if row["kind"] in READS], ids=lambda row: row["id"])
def test_what_plainly_reads_is_forwarded(row: dict[str, str], profile: str) -> None:
    assert (_action(row["sql"], profile) is Action.FORWARD) == (row["id"] not in HELD_READS)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("sql", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_not_forwarded(sql: str, profile: str) -> None:
    assert _action(sql, profile) is not Action.FORWARD


@pytest.mark.parametrize("sql", REFUSED)
def test_what_would_break_a_promise_or_is_not_carried_is_refused(sql: str) -> None:
    assert _action(sql, "default") is Action.REFUSE


@pytest.mark.parametrize("sql", FORWARDED)
def test_the_harmless_passes_under_both_profiles(sql: str) -> None:
    assert _action(sql, "default") is Action.FORWARD
    assert _action(sql, "strict") is Action.FORWARD


@pytest.mark.parametrize("profile", PROFILES)
def test_what_psql_asks_of_the_catalog_is_forwarded(profile: str) -> None:
    assert [sql for sql in PSQL if _action(sql, profile) is not Action.FORWARD] == []


def test_the_reason_names_the_part_and_what_it_does() -> None:
    judged = verdict(read(b"SELECT 1; DROP TABLE t"), PROFILES["default"])
    assert (judged.kind, judged.rule) == ("drop", "default/hold-drop")
    assert judged.reason == "statement 2 of 2 is DROP"

"""The texts that the judge's tests share, and the short way to ask what becomes of one."""

import json
from pathlib import Path

from pgnotary.judge.catalog import BUILT_IN, Catalog
from pgnotary.judge.meaning import weigh
from pgnotary.judge.policy import Verdict, verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rules import PROFILES, Action, policy_of
from pgnotary.judge.scope import UNSCOPED, Scope

__all__ = ["ATTACKS", "CORPUS", "FORWARDED", "HOLDING", "POLICIES", "PSQL", "REFUSED", "action", "judged"]

_FOLDER = Path(__file__).parents[1] / "corpus"


def _rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (_FOLDER / name).read_text(encoding="ascii").splitlines()]


CORPUS = _rows("judge.jsonl")
"""Labelled by hand or by PostgreSQL's grammar: `writes` must not pass without a decision."""

ATTACKS = {row["name"]: row["sql"] for row in _rows("attacks.jsonl")}
"""Evasions by name: none may pass."""

PSQL = _rows("psql.jsonl")
"""What psql 15 and 18 asked a server for their own commands and completions, as the server's log has it."""

REFUSED = [
    "SET transaction_read_only = off", "SET LOCAL transaction_read_only = 0", "RESET transaction_read_only",
    "SET default_transaction_read_only = off; DELETE FROM t",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE; TABLE t",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE, ISOLATION LEVEL SERIALIZABLE", "SET NAMES 'SJIS'",
    "SET pgnotary.default_transaction_read_only = on", "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT set_config('default_transaction_read_only', 'off', false)",
    "SELECT set_config('client_encoding', $1, false), 1",
    "SET client_encoding TO gbk", "SET standard_conforming_strings TO off", "SET backslash_quote = on",
    "SET TRANSACTION SNAPSHOT '1'", "SELECT 1; PREPARE TRANSACTION 'x'", "COMMIT PREPARED 'x'; SELECT 1",
    "COMMIT PREPARED 'x'; ROLLBACK PREPARED 'y'",
    "COMMIT; SELECT 1", "SELECT 1; BEGIN", "BEGIN; SAVEPOINT a; COMMIT", "BEGIN; SELECT 1; COMMIT AND CHAIN",
    "SAVEPOINT a; COMMIT", "SET TRANSACTION READ WRITE; DELETE FROM t", "COPY t FROM STDIN; SELECT 1",
    "SELECT 1; VACUUM", "VACUUM t; VACUUM u", "SELECT 1; CREATE INDEX CONCURRENTLY i ON t (a)",
    "SET search_path = a; DELETE FROM t",
]  # fmt: skip
"""What breaks a promise or is not carried yet."""

FORWARDED = [
    "SELECT now(), pg_catalog.count(*) FROM t", "TABLE t", "VALUES (1)", "SELECT 1;", ";;", "", "-- only a comment",
    "SELECT /* DELETE FROM t */ 1", "SELECT 1 -- \u00a0 in a comment", "SELECT '\u2028 in a literal'", "SHOW ALL",
    "SELECT '\x01 a control character in a literal'", "SELECT $$ ; DELETE FROM t $$",
    "SELECT \u00e9 FROM t \u00e9(\u00e9)",
    "EXPLAIN DELETE FROM t", "EXPLAIN ANALYZE SELECT 1", "EXPLAIN (SELECT 1)", "EXPLAIN (COSTS off) (SELECT 1)",
    "EXPLAIN (ANALYZE, ANALYZE off) DELETE FROM t", "EXPLAIN (ANALYZE 0) UPDATE t SET a = 1",
    "EXPLAIN INSERT INTO t SELECT 1", "EXPLAIN VERBOSE SELECT 1",
    "COPY (SELECT 1) TO STDOUT (FORMAT csv)", "COPY t TO STDOUT", "COPY t (a) TO STDOUT", "COPY (TABLE t) TO STDOUT",
    "BEGIN", "START TRANSACTION READ ONLY", "END", "ABORT",
    "SAVEPOINT a", "RELEASE a", "ROLLBACK TO a", "COMMIT AND CHAIN", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "BEGIN; SELECT 1; COMMIT", "BEGIN; COMMIT", "BEGIN; SELECT 1; ROLLBACK", "SET search_path = app, public",
    "SET search_path = pg_catalog, public", "SET LOCAL work_mem = '8MB'", "RESET ALL", "SET TIME ZONE 'UTC'",
    "SET TIME ZONE LOCAL", "SET TIME ZONE INTERVAL '1' HOUR", "SET NAMES 'UTF8'", "SET NAMES",
    "SET client_encoding = 'utf-8'", "SET standard_conforming_strings = on", "SET pgnotary.reason = 'because'",
    "SET default_transaction_read_only = off", "RESET default_transaction_read_only",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "ROLLBACK TO a; RELEASE a", "SAVEPOINT a; SAVEPOINT b",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "DEALLOCATE ALL", "DEALLOCATE p", "CLOSE ALL", "SET row_security = off",
    "SET transaction_isolation = 'serializable'", "DECLARE c CURSOR FOR SELECT 1", "PREPARE p (int) AS SELECT $1",
    "PREPARE p AS SELECT a AS b FROM t", "EXPLAIN CREATE TABLE x AS SELECT 1", "EXPLAIN DECLARE c CURSOR FOR SELECT 1",
    "SET enable_seqscan = off", "SELECT 1; SELECT 2", "SET statement_timeout = 0; SELECT 1",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r",
    "SELECT sum(a) OVER w, count(*) FILTER (WHERE a > 1) FROM t GROUP BY a WINDOW w AS (PARTITION BY a ORDER BY a)",
    "SELECT * FROM json_to_record('{}') AS x (a int, b text)", "SELECT * FROM t TABLESAMPLE system (1)",
    "SELECT * FROM t, LATERAL (SELECT t.a) x", "SELECT DISTINCT ON (a) a FROM t ORDER BY a DESC NULLS LAST LIMIT 1",
    "SELECT set_config('jit', 'off', false), pg_catalog.set_config('JIT', $1, true)",
    "SET application_name = 'psql'",
    "SELECT a[1], (ARRAY[1, 2])[1:2] FROM (SELECT ARRAY[1] AS a) x", "SELECT EXTRACT(year FROM now()), CURRENT_DATE",
]  # fmt: skip
"""What is harmless for both readers."""


POLICIES = {name: policy_of(profile) for name, profile in PROFILES.items()}
HOLDING = ("default", "strict")
"""The profiles that hold what they do not forward."""


def judged(sql: str, profile: str = "default", catalog: Catalog = BUILT_IN, scope: Scope = UNSCOPED) -> Verdict:
    """Return the verdict over a text under a profile, in a database and a session."""
    return verdict(weigh(read(sql.encode()), catalog, scope), POLICIES[profile])


def action(sql: str, profile: str = "default", catalog: Catalog = BUILT_IN, scope: Scope = UNSCOPED) -> Action:
    """Return what happens to a text under a profile."""
    return judged(sql, profile, catalog, scope).action

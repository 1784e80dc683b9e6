"""The labelled texts over the real wire under `strict`: what writes does not get through, what plainly reads does.

Many sessions send their text at once, each in a session of its own; who is held gives up after a second.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from tests.flow.served import PASSWORD, PATIENCE_S, Served
from tests.judge.test_corpus import READS, SCHEMA
from tests.judge.texts import CORPUS

from pgnotary.demo.postgres import EmbeddedPostgres

AT_ONCE = 30
H_AND_OTHER_ESCAPES = {
    "H1": ["SELECT 1 AS \u2028$$; DELETE FROM t; --$$"],
    "H2": ["SELECT 1 #-- '\n 2; DELETE FROM t; --'"],
    "H2, one statement": ["SELECT 1 #-- '\n 2 AS a INTO x --'"],
    "H3": ["WITH x AS (SELECT 1,2), d AS (DELETE FROM t RETURNING 1) SELECT 3,$a$ ) SELECT 1 --$a$"],
    "H4": ["SELECT 1 INTO x --$"],
    "H5": ["SET standard_conforming_strings = off", "SELECT '\\' || ' ; DELETE FROM t; --'"],
    "H5 in one text": ["SET standard_conforming_strings = off; SELECT '\\' || ' ; DELETE FROM t; --'"],
    "H6": ["SET client_encoding = 'SJIS'", "SELECT '\u00bf\\'; DELETE FROM t; --'"],
    "H7": ["SELECT U&\"next\\0076al\"('gone')", "SELECT U&\"lo!005funlink\" UESCAPE '!' (1)"],
    "H8": ["SELECT t.rowfn FROM t", "SELECT 1 === 'a'", "SELECT CAST(1 AS myt)", "SELECT 1::dom2", "SELECT * FROM vw"],
    "the wall down in one text": ["SET transaction_read_only = off; DELETE FROM t"],
    "the wall down locally": ["SET LOCAL transaction_read_only = off; DELETE FROM t"],
    "SET TRANSACTION in one text": ["SET TRANSACTION READ WRITE; DELETE FROM t"],
    "RESET in one text": ["RESET transaction_read_only; DELETE FROM t"],
    "behind a read": ["SELECT 1; SET transaction_read_only = off; DELETE FROM t"],
    "set_config": ["SELECT set_config('transaction_read_only', 'off', false); DELETE FROM t"],
    "the default off, two messages": ["SET default_transaction_read_only = off", "SELECT hit()", "DELETE FROM t"],
    "the default by set_config": ["SELECT set_config('default_transaction_read_only', 'off', false)", "SELECT hit()"],
    "the default by set_config, computed": ["SELECT set_config('default_'||'transaction_read_only', 'off', false)"],
    "the default of a role": ["ALTER ROLE CURRENT_USER SET default_transaction_read_only = off"],
    "COMMIT inside": ["COMMIT; BEGIN READ WRITE; DELETE FROM t; COMMIT"],
    "COMMIT in a block": ["BEGIN READ ONLY", "SELECT 1; COMMIT; DELETE FROM t"],
    "a DO that commits": ["DO $$ BEGIN COMMIT; SET TRANSACTION READ WRITE; DELETE FROM t; COMMIT; END $$"],
    "a CALL that commits": ["CALL commits()"],
    "RESET ALL": ["RESET ALL", "SELECT hit()", "DELETE FROM t"],
    "DISCARD ALL": ["DISCARD ALL", "SELECT hit()", "DELETE FROM t"],
    "SET ROLE": ["SET ROLE pg_monitor", "RESET ROLE", "SELECT hit()", "DELETE FROM t"],
    "SESSION CHARACTERISTICS": ["SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "SELECT hit()"],
    "a cursor fetched later": ["BEGIN", "DECLARE c CURSOR FOR SELECT hit()", "FETCH c", "COMMIT"],
    "a cursor WITH HOLD": ["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT hit()", "COMMIT", "FETCH c"],
    "prepared here, run there": ["PREPARE p AS SELECT hit()", "BEGIN", "EXECUTE p", "COMMIT"],
    "a savepoint of ours": ["BEGIN", "ROLLBACK TO pgnotary_read", "RELEASE pgnotary_read", "SELECT hit()", "COMMIT"],
    "a handler that swallows": ["SELECT swallow()", "BEGIN", "SELECT swallow()", "COMMIT"],
    "another schema in front": ["SET search_path = evil, public", "SELECT * FROM users", "SELECT lower(1)"],
    "another schema in front, in one text": ["SET search_path = evil, public; SELECT * FROM users"],
    "another schema in front, in a block": ["BEGIN; SET LOCAL search_path = evil; SELECT * FROM users; COMMIT"],
    "COPY to a program": ["COPY t TO PROGRAM 'cat > /dev/null'"],
    "large objects": ["SELECT lo_create(0)", "SELECT lo_unlink(1)"],
    "other sessions": ["SELECT pg_terminate_backend(pg_backend_pid())", "SELECT pg_reload_conf()"],
    "the server": ["ALTER SYSTEM SET work_mem = '5MB'", "VACUUM FULL t", "CLUSTER", "CHECKPOINT", "LOAD 'plpgsql'"],
    "a foreign table": ["SELECT * FROM abroad"],
    "a namesake in pg_temp": ["CREATE TEMP VIEW users AS SELECT hit() AS id", "SELECT * FROM users"],
}
EVIL = """
CREATE FUNCTION hit() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.t; RETURN 1; END $$;
CREATE FUNCTION swallow() RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN DELETE FROM public.t; RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN 0; END $$;
CREATE FUNCTION rowfn(t) RETURNS int LANGUAGE sql AS 'SELECT hit()';
CREATE FUNCTION op(int, text) RETURNS int LANGUAGE sql AS 'SELECT hit()';
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = text, FUNCTION = op);
CREATE TYPE myt AS (n int); CREATE FUNCTION to_myt(int) RETURNS myt LANGUAGE sql AS 'SELECT ROW(hit())::myt';
CREATE CAST (int AS myt) WITH FUNCTION to_myt(int);
CREATE DOMAIN dom2 AS int CHECK (swallow() = 1);
CREATE VIEW vw AS SELECT hit() AS n;
CREATE SCHEMA evil; CREATE VIEW evil.users AS SELECT hit() AS id;
CREATE FUNCTION evil.lower(int) RETURNS int LANGUAGE sql AS 'SELECT hit()';
CREATE PROCEDURE commits() LANGUAGE plpgsql AS
  $$ BEGIN COMMIT; SET TRANSACTION READ WRITE; DELETE FROM public.t; COMMIT; END $$;
CREATE SEQUENCE gone;
CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER far FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE abroad (id int) SERVER far;
"""


@pytest.fixture(scope="module")
def strict(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A proxy that asks nobody for longer than a second, and never for one person only."""
    folder: Path = tmp_path_factory.mktemp("strict") / "pgnotary"
    with Served(postgres, folder, profile="strict", hold_s=1, max_held_per_person=1_000) as proxy:
        yield proxy
        proxy.entries()


async def _all(served: Served, database: str, scripts: Sequence[Sequence[str]]) -> list[list[str]]:
    """Run each script in a session of its own, some at once; return what each of its texts met."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(script: Sequence[str]) -> list[str]:
        async with turn, asyncio.timeout(PATIENCE_S):
            found = []
            connection = await psycopg.AsyncConnection.connect(
                host="127.0.0.1", port=served.port, user="eva", password=PASSWORD, dbname=database, autocommit=True
            )
            try:
                for text in script:
                    try:
                        await connection.execute(text.encode(), prepare=False)
                        found.append("")
                    except psycopg.Error as error:
                        found.append(str(error) or type(error).__name__)
                    if connection.closed:
                        break
            finally:
                await connection.close()
            return found

    return list(await asyncio.gather(*map(one, scripts)))


def _stopped(said: str) -> bool:
    return "expired: no decision" in said or "refused by pgnotary" in said or "cannot read this text" in said


def _tables(served: Served, database: str) -> list[object]:
    with served.behind(database) as connection:
        counts = connection.execute("SELECT count(*), sum(a) FROM t").fetchall()
        relations = connection.execute("SELECT count(*), sum(reltuples) FROM pg_class WHERE oid >= 16384").fetchall()
        sequences = connection.execute("SELECT last_value, is_called FROM gone").fetchall()
        objects = connection.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchall()
        settings = connection.execute("SELECT count(*) FROM pg_db_role_setting").fetchall()
    return [counts, relations, sequences, objects, settings]


@pytest.fixture
def template() -> str:
    """No shop here."""
    return "template1"


@pytest.fixture
def made(postgres: EmbeddedPostgres, database: str) -> str:
    """A database with the tables that the corpus speaks of, and with things that look harmless and are not."""
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
        connection.execute(EVIL.encode())
        connection.execute("CREATE TABLE attest (a int)")
        # The statistics of a table are among what is compared: only the server itself may touch them, and it must not.
        for (table,) in connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid >= 16384"
        ):
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)".encode())
    return database


async def test_no_labelled_write_gets_through_and_every_plain_read_does(strict: Served, made: str) -> None:
    before = _tables(strict, made)
    rows = [row for row in CORPUS if "\0" not in row["sql"] and "STDIN" not in row["sql"].upper()]
    said = [found[-1] for found in await _all(strict, made, [[row["sql"]] for row in rows])]
    assert [row["id"] for row, met in zip(rows, said, strict=True) if row["writes"] and not met] == []
    assert [row["id"] for row, met in zip(rows, said, strict=True) if row["kind"] in READS and _stopped(met)] == []
    assert len([met for met in said if _stopped(met)]) > 60, "most of what writes finds its tables and is held"
    assert _tables(strict, made) == before


async def test_no_hole_and_no_escape_gets_through(strict: Served, made: str) -> None:
    before = _tables(strict, made)
    said = await _all(strict, made, list(H_AND_OTHER_ESCAPES.values()))
    assert [name for name, met in zip(H_AND_OTHER_ESCAPES, said, strict=True) if not any(met)] == []
    assert _tables(strict, made) == before


def test_explain_says_the_same_of_the_labelled_texts(strict: Served) -> None:
    lines = "".join(json.dumps({"sql": row["sql"]}) + "\n" for row in CORPUS)
    command = [sys.executable, "-m", "pgnotary.cli", "explain", "--profile", "strict", "--jsonl", "-"]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    verdicts = [json.loads(line)["verdict"] for line in done.stdout.splitlines()]
    assert [row["id"] for row, said in zip(CORPUS, verdicts, strict=True) if row["writes"] and said == "forward"] == []
    reads = [
        row["id"] for row, said in zip(CORPUS, verdicts, strict=True) if row["kind"] in READS and said != "forward"
    ]
    assert reads == []

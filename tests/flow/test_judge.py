"""The judge over the real wire: what hides a write is held, what tools live on works, and the rows are still there."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.flow.served import Served, until
from tests.tiers import one_in

from pgnotary.errors import ApiError

MADE = """
CREATE TABLE victims (id int); INSERT INTO victims SELECT generate_series(1, 10);
CREATE TABLE plain (id serial PRIMARY KEY, made timestamptz DEFAULT now(), note text CHECK (length(note) < 100));
CREATE FUNCTION hit() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM victims; RETURN 1; END $$;
CREATE FUNCTION swallow() RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN DELETE FROM victims; RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN 0; END $$;
CREATE FUNCTION rowfn(victims) RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM victims; RETURN 1; END $$;
CREATE FUNCTION opfn(int, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN DELETE FROM victims; RETURN true; END $$;
CREATE OPERATOR =#= (LEFTARG = int, RIGHTARG = text, FUNCTION = opfn);
CREATE TYPE wrapped AS (n int);
CREATE FUNCTION wrap(int) RETURNS wrapped LANGUAGE plpgsql AS
  $$ BEGIN DELETE FROM victims; RETURN ROW($1)::wrapped; END $$;
CREATE CAST (int AS wrapped) WITH FUNCTION wrap(int);
CREATE FUNCTION checked(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN DELETE FROM victims; RETURN true; END $$;
CREATE DOMAIN checking AS int CHECK (checked(VALUE));
CREATE VIEW hidden AS SELECT hit() AS n;
CREATE VIEW twice_hidden AS SELECT n FROM hidden;
CREATE TABLE ruled (id int); CREATE RULE also AS ON INSERT TO ruled DO ALSO DELETE FROM victims;
CREATE TABLE triggered (id int);
CREATE FUNCTION trig() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM victims; RETURN NEW; END $$;
CREATE TRIGGER t BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION trig();
CREATE TABLE defaulted (id int DEFAULT hit(), n int);
CREATE TABLE guarded (id int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON guarded USING (hit() = 1);
CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER far FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE abroad (id int) SERVER far;
CREATE SCHEMA evil; CREATE VIEW evil.plain AS SELECT hit() AS id;
CREATE SCHEMA calm; CREATE TABLE calm.hidden (n int);
"""

HIDDEN = {
    "a function": "SELECT hit()",
    "a handler that swallows 25006": "SELECT swallow()",
    "attribute notation": "SELECT victims.rowfn FROM victims",
    "an operator": "SELECT 1 =#= 'a'",
    "an operator by its full name": "SELECT 1 OPERATOR(public.=#=) 'a'",
    "a cast": "SELECT 1::wrapped",
    "a cast, spelled out": "SELECT CAST(1 AS public.wrapped)",
    "a domain check": "SELECT 1::checking",
    "a domain check in an array": "SELECT ARRAY[1]::checking[]",
    "a view": "SELECT * FROM hidden",
    "a view behind a view": "SELECT * FROM twice_hidden",
    "a policy": "SELECT * FROM guarded",
    "a foreign table": "SELECT * FROM abroad",
    "a rule": "INSERT INTO ruled VALUES (1)",
    "a trigger": "INSERT INTO triggered VALUES (1)",
    "a default": "INSERT INTO defaulted (n) VALUES (1)",
    "EXPLAIN ANALYZE": "EXPLAIN ANALYZE SELECT * FROM hidden",
    "COPY": "COPY (SELECT * FROM hidden) TO STDOUT",
    "a copy of a view": "COPY hidden TO STDOUT",
    "PREPARE": "PREPARE p AS SELECT * FROM hidden",
    "CREATE TEMP TABLE": "CREATE TEMP TABLE x AS SELECT * FROM hidden",
}
INSIDE = {
    "a cursor": "DECLARE c CURSOR FOR SELECT * FROM hidden",
    "a cursor WITH HOLD": "DECLARE c CURSOR WITH HOLD FOR SELECT hit()",
}


@pytest.fixture
def behind(served: Served, database: str) -> Iterator[psycopg.Connection[Any]]:
    """The server itself, with things that look harmless and are not."""
    with served.behind(database) as connection:
        connection.execute(MADE.encode())
        yield connection


def victims(behind: psycopg.Connection[Any]) -> int:
    row = behind.execute("SELECT count(*) FROM victims").fetchone()
    assert row is not None
    return int(row[0])


def asked(served: Served, database: str, *statements: str) -> str:
    """Run statements up to one that is held, deny that, and return what psql printed."""
    arguments = [word for statement in statements for word in ("-c", statement)]
    with served.open_psql(database, *arguments) as psql:
        served.deny()
        printed, _ = psql.communicate(timeout=30)
    return printed


@pytest.mark.parametrize("statement", HIDDEN.values(), ids=HIDDEN)
def test_what_hides_a_write_is_held(
    served: Served, database: str, behind: psycopg.Connection[Any], statement: str
) -> None:
    assert "held for approval" in asked(served, database, statement)
    assert victims(behind) == 10


@pytest.mark.parametrize("statement", one_in(2, {**HIDDEN, **INSIDE}))
def test_what_hides_a_write_is_held_inside_a_block(
    served: Served, database: str, behind: psycopg.Connection[Any], statement: str
) -> None:
    printed = asked(served, database, "BEGIN", "SELECT 1", statement, "COMMIT")
    assert "held for approval" in printed
    assert printed.rstrip().endswith("ROLLBACK")
    assert victims(behind) == 10


def test_a_name_is_looked_up_where_the_session_looks(
    served: Served, database: str, behind: psycopg.Connection[Any]
) -> None:
    with served.connect(database) as eva:
        assert eva.execute("SELECT count(*) FROM plain").fetchone() == (0,)
        eva.execute("SET search_path = calm, public")
        assert eva.execute("SELECT * FROM hidden").fetchall() == []
    assert "held for approval" in asked(served, database, "SET search_path = evil, public", "SELECT * FROM plain")
    refused = served.run_psql(database, "-c", "SET search_path = evil, public; SELECT * FROM plain")
    assert "a setting changes what is held in the same message" in refused.stderr
    assert victims(behind) == 10


@pytest.mark.parametrize("undoing", ["ROLLBACK", "COMMIT", "ROLLBACK TO s"])
def test_a_search_path_that_was_local_is_looked_at_again(
    served: Served, database: str, behind: psycopg.Connection[Any], undoing: str
) -> None:
    script = ["SET search_path = evil, public", "BEGIN", "SAVEPOINT s", "SET LOCAL search_path = calm, public"]
    assert "held for approval" in asked(served, database, *script, "SELECT * FROM hidden", undoing, "TABLE plain")
    assert victims(behind) == 10


def test_what_was_made_behind_our_back_is_seen_once_its_name_is_new(
    served: Served, database: str, behind: psycopg.Connection[Any]
) -> None:
    with served.connect(database) as eva:
        eva.execute("SELECT 1")
    behind.execute("CREATE VIEW brand_new AS SELECT hit() AS n")
    until(lambda: True, "nothing")
    assert "held for approval" in asked(served, database, "SELECT * FROM brand_new")
    assert victims(behind) == 10


TOOLS = {
    "nextval": (["SELECT nextval('plain_id_seq') > 0"], "t"),
    "FOR UPDATE": (["BEGIN", "SELECT id FROM victims WHERE id = 1 FOR UPDATE", "COMMIT"], "BEGIN\n1\nCOMMIT"),
    "FOR UPDATE by itself": (["SELECT id FROM victims WHERE id = 1 FOR UPDATE"], "1"),
    "an advisory lock": (["SELECT pg_try_advisory_lock(7)", "SELECT pg_advisory_unlock(7)"], "t\nt"),
    "an advisory lock in a block": (
        ["BEGIN", "SELECT pg_try_advisory_xact_lock(7)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"],
        "BEGIN\nt\n1",
    ),
    "LISTEN and NOTIFY": (["LISTEN c", "NOTIFY d", "UNLISTEN *"], "LISTEN\nNOTIFY\nUNLISTEN"),
    "an insert into a plain table": (
        ["INSERT INTO plain (note) VALUES ('x'), ('y')", "SELECT count(*) FROM plain"],
        "INSERT 0 2\n2",
    ),
    "an insert that returns": (["INSERT INTO plain (note) VALUES ('x') RETURNING id"], "1\nINSERT 0 1"),
    "an insert in a block": (
        ["BEGIN", "INSERT INTO plain (note) VALUES ('x')", "COMMIT", "SELECT count(*) FROM plain"],
        "BEGIN\nINSERT 0 1\nCOMMIT\n1",
    ),
    "an insert beside a read": (["INSERT INTO plain (note) VALUES ('x'); SELECT count(*) FROM plain"], "INSERT 0 1\n1"),
    "a temporary table": (
        [
            "CREATE TEMP TABLE mine AS SELECT id FROM victims",
            "DELETE FROM mine WHERE id > 5",
            "SELECT count(*) FROM mine",
            "DROP TABLE mine",
        ],
        "SELECT 10\nDELETE 5\n5\nDROP TABLE",
    ),
    "a cursor": (
        [
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT id FROM victims ORDER BY id",
            "FETCH 2 FROM c",
            "FETCH 1 FROM c",
            "COMMIT",
        ],
        "BEGIN\nDECLARE CURSOR\n1\n2\n3\nCOMMIT",
    ),
    "a cursor WITH HOLD over what is known": (
        ["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "COMMIT", "FETCH c", "CLOSE c"],
        "BEGIN\nDECLARE CURSOR\nCOMMIT\n1\nCLOSE CURSOR",
    ),
    "PREPARE and EXECUTE": (
        ["PREPARE p (int) AS SELECT $1 + count(*) FROM victims", "EXECUTE p (5)", "DEALLOCATE p"],
        "PREPARE\n15\nDEALLOCATE",
    ),
    "LOCK IN ACCESS SHARE MODE": (
        ["BEGIN", "LOCK TABLE victims IN ACCESS SHARE MODE", "COMMIT"],
        "BEGIN\nLOCK TABLE\nCOMMIT",
    ),
    "DISCARD": (["DISCARD ALL", "SELECT 1"], "DISCARD ALL\n1"),
    "set_config": (["SELECT set_config('work_mem', '5MB', false)", "SHOW work_mem"], "5MB\n5MB"),
    "SET ROLE": (["SET ROLE pg_monitor", "SELECT current_user", "RESET ROLE"], "SET\npg_monitor\nRESET"),
    "SET CONSTRAINTS": (["BEGIN", "SET CONSTRAINTS ALL DEFERRED", "COMMIT"], "BEGIN\nSET CONSTRAINTS\nCOMMIT"),
}  # fmt: skip


@pytest.mark.parametrize(("statements", "printed"), TOOLS.values(), ids=TOOLS)
def test_what_tools_live_on_works(
    served: Served, database: str, behind: psycopg.Connection[Any], statements: list[str], printed: str
) -> None:
    done = served.run_psql(database, "-At", *(word for statement in statements for word in ("-c", statement)))
    assert (done.stdout.strip(), done.stderr) == (printed, "")


def test_an_execute_of_a_write_is_held_by_what_it_runs(
    served: Served, database: str, behind: psycopg.Connection[Any]
) -> None:
    with served.open_psql(database, "-c", "PREPARE p AS DELETE FROM victims", "-c", "EXECUTE p") as psql:
        served.approve()
        until(lambda: _runs_delete(served), "the second hold")
        served.deny()
        printed, _ = psql.communicate(timeout=30)
    assert "runs p, which is DELETE" in printed
    assert victims(behind) == 10


def _runs_delete(served: Served) -> bool:
    try:
        return served.held().context.kind == "execute"
    except ApiError:
        return False


def test_a_commit_that_fails_is_what_the_client_hears_of_a_forwarded_insert(
    served: Served, database: str, behind: psycopg.Connection[Any]
) -> None:
    behind.execute("CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    with served.connect(database) as eva:
        eva.execute("INSERT INTO late VALUES (1)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            eva.execute("INSERT INTO late VALUES (1)")
        assert eva.execute("SELECT count(*) FROM late").fetchone() == (1,)


# --- the client's own default_transaction_read_only ------------------------------------------------------------------

READ_ONLY = {
    "outside a block": (["SHOW transaction_read_only", "SHOW default_transaction_read_only"], "off\noff"),
    "by current_setting": (
        [
            "SELECT current_setting('transaction_read_only'), current_setting('default_transaction_read_only')",
            "SELECT setting FROM pg_settings WHERE name = 'default_transaction_read_only'",
        ],
        "off|off\noff",
    ),
    "in a block": (
        [
            "BEGIN",
            "SHOW transaction_read_only",
            "SHOW default_transaction_read_only",
            "SELECT current_setting('transaction_read_only')",
            "COMMIT",
        ],
        "BEGIN\noff\noff\noff\nCOMMIT",
    ),
    "in a block of one's own wish": (
        ["BEGIN READ ONLY", "SHOW transaction_read_only", "COMMIT", "SHOW transaction_read_only"],
        "BEGIN\non\nCOMMIT\noff",
    ),
    "set": (
        [
            "SET default_transaction_read_only = on",
            "SHOW default_transaction_read_only",
            "SHOW transaction_read_only",
            "BEGIN",
            "SHOW transaction_read_only",
            "COMMIT",
            "RESET default_transaction_read_only",
            "SHOW transaction_read_only",
        ],
        "SET\non\non\nBEGIN\non\nCOMMIT\nRESET\noff",
    ),
    "set by SESSION CHARACTERISTICS": (
        [
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SHOW transaction_read_only",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
            "SHOW transaction_read_only",
        ],
        "SET\non\nSET\noff",
    ),
    "set in a block that is rolled back": (
        ["BEGIN", "SET default_transaction_read_only = on", "ROLLBACK", "SHOW default_transaction_read_only"],
        "BEGIN\nSET\nROLLBACK\noff",
    ),
    "RESET ALL": (
        ["SET default_transaction_read_only = on", "RESET ALL", "SHOW default_transaction_read_only"],
        "SET\nRESET\noff",
    ),
}


@pytest.mark.parametrize(("statements", "printed"), READ_ONLY.values(), ids=READ_ONLY)
def test_the_settings_are_what_they_would_be_without_us(
    served: Served, database: str, statements: list[str], printed: str
) -> None:
    done = served.run_psql(database, "-At", *(word for statement in statements for word in ("-c", statement)))
    assert (done.stdout.strip(), done.stderr) == (printed, "")


@pytest.mark.parametrize(
    "script",
    [
        ["SET default_transaction_read_only = on", "DELETE FROM orders"],
        ["SET default_transaction_read_only = on", "INSERT INTO items VALUES (1, 2)"],
        ["BEGIN READ ONLY", "DELETE FROM orders"],
        ["SET default_transaction_read_only = on", "BEGIN", "DELETE FROM orders"],
        ["BEGIN", "SET TRANSACTION READ ONLY", "DELETE FROM orders"],
    ],
)
def test_who_wants_to_be_read_only_hears_25006_and_nobody_is_asked(
    served: Served, database: str, script: list[str]
) -> None:
    with served.connect(database) as eva:
        for statement in script[:-1]:
            eva.execute(statement.encode())
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            eva.execute(script[-1].encode())
    assert not served.api.requests()


def test_begin_read_write_outweighs_the_default(served: Served, database: str) -> None:
    done = served.run_psql(
        database, "-At", "-c", "SET default_transaction_read_only = on", "-c", "BEGIN READ WRITE",
        "-c", "INSERT INTO items VALUES (1, 2)", "-c", "COMMIT",
    )  # fmt: skip
    assert (done.stdout.split("\n")[:-1], done.stderr) == (["SET", "BEGIN", "INSERT 0 1", "COMMIT"], "")


@pytest.mark.parametrize("wanted", ["read-write", "primary", "any"])
def test_a_client_that_looks_for_a_primary_finds_one(served: Served, database: str, wanted: str) -> None:
    with served.connect(database, target_session_attrs=wanted) as eva:
        assert eva.info.parameter_status("default_transaction_read_only") == "off"


def test_a_client_hears_of_its_own_change(served: Served, database: str) -> None:
    with served.connect(database) as eva:
        eva.execute("SET default_transaction_read_only = on")
        assert eva.info.parameter_status("default_transaction_read_only") == "on"
        eva.execute("RESET ALL")
        eva.execute("SELECT 1")
        assert eva.info.parameter_status("default_transaction_read_only") == "off"
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="requires a Boolean value"):
            eva.execute("SET default_transaction_read_only = perhaps")


# --- what runs in no block -------------------------------------------------------------------------------------------


def test_an_approved_vacuum_runs_and_leaves_the_session_read_only(
    served: Served, database: str, behind: psycopg.Connection[Any]
) -> None:
    with served.open_psql(database, "-c", "VACUUM victims", "-c", "SELECT swallow()") as psql:
        vacuum = served.approve()
        assert vacuum.context.outside
        until(lambda: len(served.life(vacuum.id)) > 5, "its outcome")
        served.deny()
        printed, _ = psql.communicate(timeout=30)
    assert "VACUUM" in printed.splitlines()
    assert served.outcome(vacuum.id)["result"] == "committed"
    assert "xid" not in served.outcome(vacuum.id)
    assert victims(behind) == 10


def test_what_runs_in_no_block_is_refused_in_one_before_anybody_is_asked(served: Served, database: str) -> None:
    with served.connect(database) as eva:
        eva.execute("BEGIN")
        with pytest.raises(psycopg.errors.ActiveSqlTransaction):
            eva.execute("VACUUM")
    assert not served.api.requests()

"""Policies over the real wire: profiles that hold nothing, rules of one's own, and what the ledger says of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.flow.raw import raw_client
from tests.flow.served import PASSWORD, Served, until
from tests.listed import listed

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.wire.messages import SYNC, parse, query

RULES = """
[[policy.rule]]
name = "cheap"
result = "forward"
class = ["delete", "update"]
qualifier = ["write"]
relation = "public.items"
user = "eva"

[[policy.rule]]
name = "trusted-functions"
result = "forward"
class = ["select"]
qualifier = ["function"]

[[policy.rule]]
name = "too-many"
result = "refuse"
class = ["delete"]
min_rows = 50

[[policy.rule]]
name = "closed"
result = "refuse"
class = ["drop"]
"""


def _served(postgres: EmbeddedPostgres, folder: Path, rules: str = "", profile: str = "default") -> Served:
    return Served(postgres, folder / "pgnotary", hold_s=60, profile=profile, tables=rules)


@pytest.fixture
def ruled(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Served]:
    with _served(postgres, tmp_path, RULES) as proxy:
        yield proxy
        proxy.entries()


def _count(served: Served, database: str, table: str) -> int:
    with served.behind(database) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def _executions(served: Served, kind: str) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]]:
        noted = [listed(entry["body"]) for entry in served.entries() if entry["type"] == "forwarded"]
        return [each for executions in noted for each in executions if each["kind"] == kind]

    return until(found, f"a note of {kind}")


def test_a_rule_of_ones_own_lets_a_change_pass(ruled: Served, database: str) -> None:
    done = ruled.run_psql(database, "-c", "DELETE FROM items WHERE order_id = 3")
    assert (done.stdout, done.stderr) == ("DELETE 1\n", "")
    assert _count(ruled, database, "items") == 99


ANYTHING = """
[[policy.rule]]
name = "anything-in-a-select"
result = "forward"
class = ["select"]
qualifier = ["function", "write", "code"]
"""


@pytest.mark.parametrize("rules", [RULES, ANYTHING], ids=["walled", "unwalled"])
def test_code_that_a_rule_lets_pass_takes_nothing_signed_back_unseen(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path, rules: str
) -> None:
    """It ran a Parsed ROLLBACK TO by its name: the DELETE before it was undone, and recorded as committed."""
    with _served(postgres, tmp_path, rules) as served:
        with served.behind(database) as connection:
            back = "AS $$ BEGIN EXECUTE 'EXECUTE s1'; RETURN 1; END $$"
            connection.execute(f"CREATE FUNCTION back() RETURNS int LANGUAGE plpgsql {back}".encode())
        with raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client:
            client.send(parse(b"s1", b"ROLLBACK TO a") + SYNC + query(b"BEGIN") + query(b"SAVEPOINT a"))
            client.until_ready(3)
            client.send(query(b"DELETE FROM orders WHERE id <= 5"))
            paper = served.approve()
            client.until_ready()
            client.send(query(b"SELECT back()") + query(b"COMMIT"))
            assert client.until_ready(2)[-1] == "closed"
        until(lambda: served.outcome(paper.id)["result"] == "resolved", "what PostgreSQL says of it")
        assert served.outcome(paper.id)["fate"] == "rolled-back"
        served.entries()
    assert _count(served, database, "orders") == 100


STATUS = """
[[policy.rule]]
name = "status"
result = "hold"
relation = "public.orders"
mask = "status"
"""


def test_a_harmless_looking_first_statement_takes_no_mask_off_the_second(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path
) -> None:
    with _served(postgres, tmp_path, STATUS) as served:
        texts = "DELETE FROM items WHERE order_id = 3; DELETE FROM orders WHERE id = 4"
        with served.open_psql(database, "-c", texts) as psql:
            shown = served.deny().measured.statements
            psql.communicate(timeout=30)
        first, second = (each.sample for each in shown)
        assert first is not None
        assert second is not None
        assert (first.masked, second.masked) == ((), ("status",))
        assert "stale" not in str(second)
        served.entries()


@pytest.mark.parametrize("statement", ["DELETE FROM orders WHERE id = 3", "TRUNCATE items"])
def test_and_nothing_that_it_does_not_name(ruled: Served, database: str, statement: str) -> None:
    with ruled.open_psql(database, "-c", statement) as psql:
        ruled.deny()
        psql.communicate(timeout=30)
    assert (_count(ruled, database, "items"), _count(ruled, database, "orders")) == (100, 100)


def test_a_small_count_lets_nothing_pass_that_no_ceiling_holds_to_it(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path
) -> None:
    """A TRUNCATE of an empty table, by the time that it runs, may be one of all that there is."""
    with _served(postgres, tmp_path, RULES.replace('["delete"]', '["delete", "truncate"]')) as served:
        with served.behind(database) as connection:
            connection.execute("CREATE TABLE empty (x int)")
        done = served.run_psql(database, "-c", "TRUNCATE empty")
        assert "refused by pgnotary: R-1 may change any number of rows" in done.stderr
        assert "Rule policy/too-many" in done.stderr
        served.entries()


def test_what_a_rule_refuses_by_its_rows_is_not_held_for_anybody(ruled: Served, database: str) -> None:
    done = ruled.run_psql(database, "-c", "DELETE FROM items")
    assert "refused by pgnotary: R-1 may change 100 rows (counted)" in done.stderr
    assert [entry["type"] for entry in ruled.life("R-1")] == ["request", "preview", "withdrawn"]
    assert _count(ruled, database, "items") == 100


def test_a_function_that_a_rule_lets_pass_runs_behind_the_wall_and_is_held_if_it_writes(
    ruled: Served, database: str
) -> None:
    with ruled.behind(database) as connection:
        connection.execute("CREATE FUNCTION calm() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 7; END $$")
    for around in ((), ("-c", "BEGIN")):
        done = ruled.run_psql(database, "-At", *around, "-c", "SELECT calm()")
        assert done.stdout.splitlines()[-1] == "7"
        with ruled.open_psql(database, *around, "-c", "SELECT wipe()") as psql:
            assert ruled.deny().context.rule == "wall/25006"
            psql.communicate(timeout=30)
    assert _count(ruled, database, "orders") == 100


def test_what_a_rule_refuses_is_refused(ruled: Served, database: str) -> None:
    done = ruled.run_psql(database, "-c", "DROP TABLE items")
    assert "refused by pgnotary: it is DROP" in done.stderr
    assert "Rule policy/closed" in done.stderr
    assert _count(ruled, database, "items") == 100


def test_who_only_observes_holds_nothing_and_the_ledger_says_what_would_have_been(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path
) -> None:
    with _served(postgres, tmp_path, profile="observe") as served:
        script = [
            "SELECT 1",
            "DELETE FROM items",
            "SELECT wipe()",
            "VACUUM items",
            "BEGIN",
            "DROP TABLE items",
            "ROLLBACK",
        ]
        done = served.run_psql(database, "-At", *(word for line in script for word in ("-c", line)))
        assert done.stderr == ""
        assert done.stdout.splitlines() == ["1", "DELETE 100", "1", "VACUUM", "BEGIN", "DROP TABLE", "ROLLBACK"]
        (deleted,) = _executions(served, "delete")
        assert (deleted["would"], deleted["rows"]) == ("observe/hold-delete", 100)
        assert [each.get("would") for each in _executions(served, "select")] == [None, "observe/hold-select"]
        (session,) = {entry["session"] for entry in served.entries() if entry["type"] == "forwarded"}
        assert "which observe/hold-delete would have held" in served.pgnotary("replay", session)
        assert _count(served, database, "items") == 0
        served.entries()


def test_who_forwards_everything_is_like_nobody(postgres: EmbeddedPostgres, database: str, tmp_path: Path) -> None:
    with _served(postgres, tmp_path, profile="forward-all") as served:
        script = [
            "CREATE TABLE made (id int)",
            "CREATE VIEW looks AS SELECT wipe() AS n",
            "SELECT n FROM looks",
            "INSERT INTO made VALUES (1); UPDATE made SET id = 2; SELECT id FROM made",
            "DO $$ BEGIN DELETE FROM made; COMMIT; END $$",
            "CREATE INDEX CONCURRENTLY ON made (id)",
            "SELECT count(*) FROM made",
            "SHOW transaction_read_only",
        ]
        done = served.run_psql(database, "-At", *(word for line in script for word in ("-c", line)))
        assert done.stderr == ""
        expected = ["CREATE TABLE", "CREATE VIEW", "1", "INSERT 0 1", "UPDATE 1", "2", "DO", "CREATE INDEX", "0", "off"]
        assert done.stdout.splitlines() == expected
        served.entries()


STAGING = """
[[policy.rule]]
name = "staging"
result = "forward"
class = ["insert", "update", "delete"]
qualifier = ["write", "unconditional", "code", "temp"]
relation = "staging.*"
"""
ELSEWHERE = "set_config('search_path', 'public', false)"


@pytest.fixture
def staging(postgres: EmbeddedPostgres, database: str, tmp_path: Path) -> Iterator[Served]:
    with _served(postgres, tmp_path, STAGING) as proxy:
        with proxy.behind(database) as connection:
            connection.execute("CREATE SCHEMA staging")
            connection.execute("CREATE TABLE staging.items AS SELECT * FROM items")
        yield proxy
        proxy.entries()


def test_a_rule_about_relations_lets_pass_what_names_those(staging: Served, database: str) -> None:
    done = staging.run_psql(database, "-c", "SET search_path = staging", "-c", "DELETE FROM items")
    assert (done.stdout, done.stderr) == ("SET\nDELETE 100\n", "")
    assert (_count(staging, database, "items"), _count(staging, database, "staging.items")) == (100, 0)


def test_a_temporary_view_that_was_signed_is_none_of_a_rules_relations(staging: Served, database: str) -> None:
    texts = ("-c", "CREATE TEMP VIEW v AS SELECT * FROM items", "-c", "DELETE FROM v")
    with staging.open_psql(database, *texts) as psql:
        staging.approve()
        staging.deny()
        psql.communicate(timeout=30)
    assert _count(staging, database, "items") == 100


def test_nor_is_a_temporary_view_in_the_place_of_one(staging: Served, database: str) -> None:
    texts = ("-c", "SET search_path = staging", "-c", "CREATE TEMP VIEW items AS SELECT * FROM public.items")
    with staging.open_psql(database, *texts, "-c", "DELETE FROM items") as psql:
        staging.approve()
        staging.deny()
        psql.communicate(timeout=30)
    assert (_count(staging, database, "items"), _count(staging, database, "staging.items")) == (100, 100)


def test_nor_a_name_that_the_same_text_looks_up_elsewhere(staging: Served, database: str) -> None:
    texts = ("-c", "SET search_path = staging", "-c", f"SELECT {ELSEWHERE}; DELETE FROM items")
    with staging.open_psql(database, *texts) as psql:
        staging.deny()
        psql.communicate(timeout=30)
    assert (_count(staging, database, "items"), _count(staging, database, "staging.items")) == (100, 100)

"""A rule that forwards COPY FROM STDIN: into its own plain tables, as the server counts it, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.flow.beside import deciding, left
from tests.flow.served import Served, until
from tests.listed import listed

from pgnotary.demo.postgres import EmbeddedPostgres

RULE = """
[[policy.rule]]
name = "loads"
result = "forward"
class = ["copy-in"]
qualifier = ["write"]
relation = "public.l_*"
"""
SCHEMA = """
CREATE FUNCTION deletes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM orders; RETURN NEW; END $$;
CREATE FUNCTION is_good(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN DELETE FROM orders; RETURN true; END $$;
CREATE FUNCTION one() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM orders; RETURN 1; END $$;
CREATE DOMAIN good AS int CHECK (is_good(VALUE));
CREATE TABLE l_plain (id int);
CREATE TABLE l_parts (id int) PARTITION BY RANGE (id);
CREATE TABLE l_part PARTITION OF l_parts FOR VALUES FROM (0) TO (10);
CREATE TABLE l_watched (id int);
CREATE TRIGGER t AFTER INSERT ON l_watched FOR EACH ROW EXECUTE FUNCTION deletes();
CREATE TABLE l_checked (id int CHECK (is_good(id)));
CREATE TABLE l_filled (id int, more int DEFAULT one());
CREATE TABLE l_typed (id good);
CREATE TABLE l_array (id good[]);
CREATE TABLE l_indexed (id int);
CREATE TABLE other (id int);
"""
LATE_TRIGGER = "CREATE TRIGGER t AFTER INSERT ON l_plain FOR EACH ROW EXECUTE FUNCTION deletes()"


@pytest.fixture
def loads(postgres: EmbeddedPostgres, database: str, tmp_path: Path) -> Iterator[Served]:
    proxy = Served(postgres, tmp_path / "pgnotary", hold_s=60, tables=RULE)
    with proxy:
        with proxy.behind(database) as connection:
            connection.execute(SCHEMA.encode())
        yield proxy
        proxy.entries()


def copy(loads: Served, database: str, what: str, rows: str = "1\n2\n") -> tuple[str, str]:
    """Copy rows by psql; return what it says, and complains about."""
    script = f"COPY {what} FROM STDIN;\n{rows}\\.\n"
    done = loads.run_psql(database, "-v", "VERBOSITY=verbose", "-f", "-", stdin=script)
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize("what", ["l_plain", "public.l_plain (id)", "l_parts"])
def test_what_the_rule_names_passes_at_once(loads: Served, database: str, what: str) -> None:
    assert copy(loads, database, what) == ("COPY 2", "")


@pytest.mark.parametrize(
    "what", ["other", "l_watched", "l_checked", "l_filled (id)", "l_typed", "l_array", "orders (id, status)"]
)
def test_another_table_and_one_that_runs_code_are_held(loads: Served, database: str, what: str) -> None:
    with deciding(loads.deny) as papers:
        said, complained = copy(loads, database, what)
    assert (said, "42501" in complained) == ("", True)
    assert papers[0].statement.startswith(f"COPY {what}")
    assert left(loads, database) == 100


def test_a_program_is_more_than_its_relation(loads: Served, database: str) -> None:
    with deciding(loads.deny):
        done = loads.run_psql(database, "-c", "COPY l_plain FROM PROGRAM 'echo 1'")
    assert "denied by bo" in done.stderr


def test_a_trigger_that_we_do_not_know_yet_is_undone(loads: Served, database: str) -> None:
    assert copy(loads, database, "l_plain") == ("COPY 2", "")
    with loads.behind(database) as connection:
        connection.execute(LATE_TRIGGER.encode())
    said, complained = copy(loads, database, "l_plain")
    assert said == ""
    assert "55000: undone: it changed public.orders (100 deleted)" in complained
    assert left(loads, database) == 100
    executions = until(
        lambda: [
            each
            for entry in loads.entries()
            if entry["type"] == "forwarded"
            for each in listed(entry["body"])
            if "why" in each
        ],
        "the record",
    )
    assert executions[0]["copied_bytes"] == 4


def test_in_a_block_that_fails_the_block(loads: Served, database: str) -> None:
    assert copy(loads, database, "l_plain") == ("COPY 2", "")
    with loads.behind(database) as connection:
        connection.execute(LATE_TRIGGER.encode())
    script = "BEGIN;\nCOPY l_plain FROM STDIN;\n1\n\\.\nCOMMIT;\n"
    done = loads.run_psql(database, "-f", "-", stdin=script)
    assert "undone: it changed public.orders" in done.stderr
    assert done.stdout.split() == ["BEGIN", "ROLLBACK"]
    assert left(loads, database) == 100


def test_a_temporary_table_is_filled_at_once(loads: Served, database: str) -> None:
    script = "CREATE TEMP TABLE mine (id int);\nCOPY mine FROM STDIN;\n1\n2\n\\.\nSELECT count(*) FROM mine;\n"
    done = loads.run_psql(database, "-At", "-f", "-", stdin=script)
    assert (done.stdout.splitlines(), done.stderr) == (["CREATE TABLE", "COPY 2", "2"], "")

"""What changes something waits for a signature, and nothing of it happens before."""

import itertools
import threading

import psycopg
import pytest
from tests.flow.served import Served, make_unseen, until
from tests.versions import need

from pgnotary.request.decision import Answer

WRITES = {
    "delete": "DELETE FROM orders WHERE id <= 10",
    "update": "UPDATE orders SET status = 'gone'",
    "insert that overwrites": "INSERT INTO orders VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET status = 'gone'",
    "truncate": "TRUNCATE orders CASCADE",
    "drop": "DROP TABLE items",
    "second statement": "SELECT 1; DROP TABLE items",
    "data-modifying CTE": "WITH gone AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM gone",
    "EXPLAIN ANALYZE": "EXPLAIN ANALYZE DELETE FROM orders",
    "DO": "DO $$ BEGIN DELETE FROM orders; END $$",
    "CALL": "CALL wipe_all()",
    "PREPARE": "PREPARE p AS DELETE FROM orders",
    "COPY FROM PROGRAM": "COPY items FROM PROGRAM 'echo 1,7' (FORMAT csv)",
    "SELECT INTO": "SELECT * INTO copied FROM orders",
    "a function of one's own": "SELECT wipe()",
    "a large object": "SELECT lo_create(0)",
    "H2: a comment that only one reader sees": "SELECT 1 #-- '\n 2; DELETE FROM orders; --'",
    "BEGIN; ...; COMMIT": "BEGIN; DELETE FROM orders; COMMIT",
    "merge": "MERGE INTO orders o USING items i ON o.id = i.order_id WHEN MATCHED THEN DELETE",
}


CHANGES_NOTHING = {"PREPARE"}


def _snapshot(served: Served, database: str) -> list[object]:
    with served.behind(database) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 2200 ORDER BY 1"
        ).fetchall()
        contents = [connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2".encode()).fetchall() for (name,) in tables]
        return [tables, contents, connection.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone()]


@pytest.mark.parametrize("statement", WRITES.values(), ids=WRITES)
def test_a_write_leaves_everything_untouched_until_it_is_denied(served: Served, database: str, statement: str) -> None:
    before = _snapshot(served, database)
    with served.open_psql(database, "-c", statement) as psql:
        paper = served.held()
        assert paper.statement == statement
        assert _snapshot(served, database) == before
        served.decide(paper, Answer.DENY, "not today")
        printed, _ = psql.communicate(timeout=30)
    assert f"{paper.id} denied by bo: not today" in printed
    assert _snapshot(served, database) == before
    assert [entry["type"] for entry in served.life(paper.id)] == ["request", "preview", "decision"]


@pytest.mark.parametrize("name", WRITES)
def test_a_write_happens_once_it_is_approved(served: Served, database: str, name: str) -> None:
    before = _snapshot(served, database)
    need(WRITES[name])
    with served.open_psql(database, "-c", WRITES[name]) as psql:
        paper = served.approve()
        printed, _ = psql.communicate(timeout=30)
    assert f"{paper.id} approved by bo" in printed
    assert psql.returncode == 0, printed
    assert (_snapshot(served, database) == before) == (name in CHANGES_NOTHING)
    assert served.outcome(paper.id)["result"] == "committed"


def test_h1_white_space_that_only_one_reader_sees_is_refused(served: Served, database: str) -> None:
    before = _snapshot(served, database)
    done = served.run_psql(database, "-c", "SELECT 1 AS \u2028$$; DELETE FROM orders; --$$")
    assert "ERROR:  pgnotary cannot read this text with certainty" in done.stderr
    assert "U+2028" in done.stderr
    assert _snapshot(served, database) == before


def test_a_view_that_began_to_write_after_we_looked_meets_the_wall_and_is_held(served: Served, database: str) -> None:
    before = _snapshot(served, database)
    make_unseen(served, database)
    with served.open_psql(database, "-c", "SELECT * FROM unseen") as psql:
        paper = served.deny()
        psql.communicate(timeout=30)
    assert paper.context.rule == "wall/25006"
    assert _snapshot(served, database) == before


@pytest.mark.parametrize(
    "statement",
    ["SELECT 1; BEGIN", "COMMIT; DELETE FROM orders", "BEGIN; DELETE FROM orders; COMMIT; DELETE FROM items",
     "SET transaction_read_only = off; DELETE FROM orders", "RESET transaction_read_only",
     "SET standard_conforming_strings = off", "SET client_encoding = 'SJIS'", "SELECT 1; PREPARE TRANSACTION 'x'",
     "COPY items FROM STDIN; SELECT 1", "SELECT 1; VACUUM orders"],
)  # fmt: skip
def test_what_cannot_be_carried_is_refused(served: Served, database: str, statement: str) -> None:
    before = _snapshot(served, database)
    done = served.run_psql(database, "-v", "VERBOSITY=verbose", "-c", statement, "-c", "SELECT 'still here'")
    assert "ERROR:  0A000: refused by pgnotary" in done.stderr
    assert "still here" in done.stdout
    assert _snapshot(served, database) == before


def test_an_approved_delete_runs_once_with_the_right_count(served: Served, database: str) -> None:
    with served.open_psql(database, "-c", "DELETE FROM orders WHERE status = 'stale'") as psql:
        paper = served.approve(max_rows=25, others=25)
        printed, _ = psql.communicate(timeout=30)
    assert psql.returncode == 0
    assert "25 rows (counted)" in printed
    assert printed.rstrip().endswith("DELETE 25")
    assert paper.measured.exact == 25
    with served.behind(database) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (75,)
    assert served.outcome(paper.id) == {
        "result": "committed",
        "ended": "autocommit",
        "rows": 25,
        "xid": served.life(paper.id)[3]["body"]["xid"],
    }


def test_an_approved_update_runs_once_with_the_right_count(served: Served, database: str) -> None:
    with served.open_psql(database, "-c", "UPDATE orders SET total = total + 1 WHERE id <= 7 RETURNING total") as psql:
        paper = served.approve()
        printed, _ = psql.communicate(timeout=30)
    assert printed.rstrip().endswith("UPDATE 7")
    with served.behind(database) as connection:
        assert connection.execute("SELECT sum(total) FROM orders WHERE id <= 7").fetchone() == (35,)
    assert served.outcome(paper.id)["rows"] == 7


def test_each_entry_of_an_approved_statement_links_to_the_one_before(served: Served, database: str) -> None:
    with served.open_psql(database, "-c", "DELETE FROM orders WHERE id = 3") as psql:
        paper = served.approve()
        psql.communicate(timeout=30)
    life = served.life(paper.id)
    assert [entry["type"] for entry in life] == ["request", "preview", "decision", "intent", "executed", "outcome"]
    assert "after" not in life[0]
    leaves = {before["seq"]: after["prev"] for before, after in itertools.pairwise(served.entries())}
    for before, after in itertools.pairwise(life):
        assert after["after"] == leaves[before["seq"]]


def test_an_approved_block_is_committed_by_the_client(served: Served, database: str) -> None:
    with served.connect(database, autocommit=False) as connection:
        connection.execute("SELECT count(*) FROM orders")
        robot = threading.Thread(target=served.approve)
        robot.start()
        assert connection.execute("DELETE FROM orders WHERE id <= 5").rowcount == 5
        robot.join()
        with served.behind(database) as behind:
            assert behind.execute("SELECT count(*) FROM orders").fetchone() == (100,)
        request = [entry for entry in served.entries() if entry["type"] == "executed"][-1]["request"]
        connection.commit()
    assert served.outcome(request)["result"] == "committed"
    with served.behind(database) as behind:
        assert behind.execute("SELECT count(*) FROM orders").fetchone() == (95,)


SCRIPT = """BEGIN;
DELETE FROM orders WHERE id = 1;
SAVEPOINT one;
DELETE FROM orders WHERE id = 2;
ROLLBACK TO one;
COMMIT;
"""


def test_an_approved_statement_undone_by_a_savepoint_is_recorded_as_rolled_back(served: Served, database: str) -> None:
    with served.open_psql(database, "-f", "-") as psql:
        assert psql.stdin is not None
        psql.stdin.write(SCRIPT)
        psql.stdin.close()
        psql.stdin = None
        first = served.approve()
        second = until(lambda: (paper := served.held()).id != first.id and paper, "the second request")
        served.decide(second, Answer.APPROVE)  # type: ignore[arg-type]  # until returns the paper
        psql.communicate(timeout=30)
    assert served.outcome(first.id)["result"] == "committed"
    assert served.outcome(second.id)["result"] == "rolled-back"  # type: ignore[union-attr]
    with served.behind(database) as connection:
        assert connection.execute("SELECT min(id) FROM orders").fetchone() == (2,)


def test_a_denial_in_a_block_fails_the_block_and_leaves_psql_usable(served: Served, database: str) -> None:
    script = "BEGIN;\nDELETE FROM orders;\nSELECT 'ignored';\nROLLBACK;\nSELECT 'usable ' || count(*) FROM orders;\n"
    with served.open_psql(database, "-At", "-f", "-") as psql:
        assert psql.stdin is not None
        psql.stdin.write(script)
        psql.stdin.close()
        psql.stdin = None
        served.deny()
        printed, _ = psql.communicate(timeout=30)
    assert "current transaction is aborted" in printed
    assert printed.rstrip().endswith("usable 100")


def test_a_denial_reaches_a_driver_with_sqlstate_and_request(served: Served, database: str) -> None:
    with served.connect(database) as connection:
        robot = threading.Thread(target=served.deny)
        robot.start()
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as denied:
            connection.execute("DELETE FROM orders")
        robot.join()
        assert denied.value.diag.schema_name == "pgnotary"
        assert (denied.value.diag.constraint_name or "").startswith("R-")
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (100,)


def test_more_rows_than_were_signed_are_rolled_back(served: Served, database: str) -> None:
    with served.open_psql(database, "-v", "VERBOSITY=verbose", "-c", "DELETE FROM orders WHERE id <= 10") as psql:
        paper = served.approve(max_rows=9)
        printed, _ = psql.communicate(timeout=30)
    assert f"ERROR:  55000: {paper.id} rolled back: 10 rows affected, approved for at most 9" in printed
    assert served.outcome(paper.id)["result"] == "rolled-back"
    with served.behind(database) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (100,)


def test_a_deferred_constraint_that_fails_at_commit_is_not_called_committed(served: Served, database: str) -> None:
    with served.behind(database) as connection:
        connection.execute("CREATE TABLE later (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        connection.execute("INSERT INTO later VALUES (1), (2)")
    with served.open_psql(database, "-c", "UPDATE later SET n = 1") as psql:
        paper = served.approve()
        printed, _ = psql.communicate(timeout=30)
    assert "duplicate key value" in printed
    assert "UPDATE 2" not in printed
    assert served.outcome(paper.id)["result"] == "rolled-back"
    assert served.outcome(paper.id)["sqlstate"] == "23505"


def test_a_string_of_statements_is_held_and_run_as_one(served: Served, database: str) -> None:
    text = "SELECT 1; DELETE FROM orders WHERE id = 9; SELECT 1/0"
    with served.open_psql(database, "-c", text) as psql:
        paper = served.approve()
        printed, _ = psql.communicate(timeout=30)
    assert "division by zero" in printed
    assert served.outcome(paper.id)["result"] == "failed"
    with served.behind(database) as connection:
        assert connection.execute("SELECT count(*) FROM orders WHERE id = 9").fetchone() == (1,)


def test_the_reason_that_the_engineer_gave_is_shown(served: Served, database: str) -> None:
    with served.open_psql(database, "-c", "SET pgnotary.reason = 'PAY-2210'", "-c", "DELETE FROM orders") as psql:
        paper = served.deny()
        psql.communicate(timeout=30)
    assert paper.reason == "PAY-2210"


def test_a_reminder_comes_while_the_statement_waits(served: Served, database: str) -> None:
    with served.open_psql(database, "-c", "DELETE FROM orders") as psql:
        assert psql.stdout is not None
        for line in psql.stdout:
            if "still waiting for approval" in line:
                break
        else:
            pytest.fail("no reminder")
        served.deny()
        psql.communicate(timeout=30)


def test_a_typing_mistake_is_answered_by_the_server_and_not_held(served: Served, database: str) -> None:
    held = len([entry for entry in served.entries() if entry["type"] == "request"])
    done = served.run_psql(database, "-c", "DELETE FORM orders", "-c", "DELETE FROM nosuch")
    assert 'syntax error at or near "FORM"' in done.stderr
    assert 'relation "nosuch" does not exist' in done.stderr
    assert len([entry for entry in served.entries() if entry["type"] == "request"]) == held

"""How the transaction of a signed statement ended is told as it was, where the server ends it otherwise than asked."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from tests.flow.beside import deciding, left
from tests.flow.served import Served, until

from pgnotary.demo.postgres import EmbeddedPostgres


@pytest.fixture(scope="module")
def proxy(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(postgres, tmp_path_factory.mktemp("ends") / "pgnotary", hold_s=60) as served:
        yield served
        served.entries()


@pytest.mark.parametrize(
    "gid", ["x" * 200, "x" * 201, "\u00e9" * 100, "x" * 5_000], ids=["200", "201", "2-byte", "5000"]
)
def test_a_name_that_is_too_long_prepares_nothing_and_the_ledger_says_so(
    proxy: Served, database: str, gid: str
) -> None:
    with proxy.connect(database) as her:
        her.execute("BEGIN")
        with deciding(proxy.approve) as papers:
            her.execute("DELETE FROM orders WHERE id = 1")
        with pytest.raises(psycopg.Error) as met:
            her.execute(f"PREPARE TRANSACTION '{gid}'".encode())
        # PostgreSQL says 22023, and rolls back; here nothing is sent, and the block is left failed.
        assert met.value.sqlstate == "0A000"
        assert her.info.transaction_status is psycopg.pq.TransactionStatus.INERROR
        her.execute("ROLLBACK")
    assert left(proxy, database) == 100
    assert proxy.outcome(papers[0].id)["result"] == "rolled-back"
    with proxy.behind(database) as behind:
        assert behind.execute("SELECT gid FROM pg_prepared_xacts").fetchall() == []


def test_the_longest_name_is_taken(proxy: Served, database: str) -> None:
    gid = "y" * 199
    with proxy.connect(database) as her:
        her.execute("BEGIN")
        with deciding(proxy.approve) as papers:
            her.execute("DELETE FROM orders WHERE id = 1")
        her.execute(f"PREPARE TRANSACTION '{gid}'".encode())
        her.execute(f"COMMIT PREPARED '{gid}'".encode())
    assert left(proxy, database) == 99
    assert proxy.outcome(papers[0].id)["result"] == "committed"


SLEEPS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
SLOW = """
CREATE TABLE slow (n int); INSERT INTO slow SELECT generate_series(1, 3);
CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER waits AFTER DELETE ON slow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (old.n = 1) EXECUTE FUNCTION waits();
"""


@pytest.mark.parametrize("ceiling", [None, 3], ids=["without a ceiling", "below a ceiling"])
@pytest.mark.parametrize("ends", ["COMMIT", "PREPARE TRANSACTION 'slow'", ""], ids=["commit", "prepare", "autocommit"])
def test_what_is_cancelled_while_it_commits_is_told_as_it_ended(
    proxy: Served, database: str, ends: str, ceiling: int | None
) -> None:
    with proxy.behind(database) as behind:
        behind.execute(SLOW.encode())
    with proxy.connect(database) as her:

        def cancel() -> None:
            with proxy.behind(database) as behind:
                until(lambda: behind.execute(SLEEPS).fetchone() == (1,), "the trigger that COMMIT runs")
            her.cancel_safe()

        if ends:
            her.execute("BEGIN")
        beside = threading.Thread(target=cancel)
        met: psycopg.Error | None = None
        with deciding(lambda: proxy.approve(ceiling)) as papers:
            if not ends:
                beside.start()
            try:
                her.execute("DELETE FROM slow")
            except psycopg.Error as error:
                met = error
        if ends:
            beside.start()
            try:
                her.execute(ends.encode())
            except psycopg.Error as error:
                met = error
        beside.join()
        assert her.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
        assert her.execute("SELECT 1").fetchone() == (1,)
    with proxy.behind(database) as behind:
        (rows,) = behind.execute("SELECT count(*) FROM slow").fetchone() or (None,)
        prepared = behind.execute("SELECT gid FROM pg_prepared_xacts").fetchall()
        for (gid,) in prepared:
            behind.execute(f"ROLLBACK PREPARED '{gid}'".encode())
    outcome = proxy.outcome(papers[0].id)
    assert outcome["result"] == ("prepared" if prepared else "committed" if rows == 0 else "rolled-back")
    assert (met is None) is (outcome["result"] != "rolled-back")
    assert met is None or met.sqlstate == "57014"

"""What waits for COMMIT is what was signed: a deferred trigger's function is looked at again before its block ends."""

from collections.abc import Iterator

import psycopg
import pytest
from tests.flow.beside import deciding
from tests.flow.raw import raw_client, without_notices
from tests.flow.served import PASSWORD, Served, until

from pgnotary.approval.papers import Paper
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.request.decision import Answer
from pgnotary.wire.messages import SYNC, bind, execute, parse

SCHEMA = """
CREATE TABLE later (n int); INSERT INTO later SELECT generate_series(1, 5);
CREATE TABLE noted (n int); CREATE TABLE other (n int); INSERT INTO other SELECT generate_series(1, 9);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO noted VALUES (1); RETURN NULL; END $$;
CREATE FUNCTION apart() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE CONSTRAINT TRIGGER note AFTER DELETE ON later DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
"""
LOUD = """
CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM other; RETURN NULL; END $$
"""


@pytest.fixture(scope="module")
def proxy(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(postgres, tmp_path_factory.mktemp("deferred") / "pgnotary", hold_s=60) as served:
        yield served
        served.entries()


@pytest.fixture
def made(proxy: Served, database: str) -> str:
    with proxy.behind(database) as behind:
        behind.execute(SCHEMA.encode())
    return database


def _change(proxy: Served, database: str, sql: str) -> None:
    with proxy.behind(database) as behind:
        behind.execute(sql.encode())


def _state(proxy: Served, database: str) -> tuple[int, ...]:
    with proxy.behind(database) as behind:
        found = behind.execute("SELECT (SELECT count(*) FROM later), (SELECT count(*) FROM other)").fetchone()
    assert found is not None
    return tuple(found)


@pytest.mark.parametrize("ends", ["COMMIT", "PREPARE TRANSACTION 'replaced'"])
@pytest.mark.parametrize("others", [None, 100], ids=["without a ceiling", "below a ceiling"])
def test_a_function_that_is_replaced_while_its_trigger_waits_undoes_the_block(
    proxy: Served, made: str, ends: str, others: int | None
) -> None:
    with proxy.connect(made) as her:
        her.execute("BEGIN")
        with deciding(lambda: proxy.approve(None if others is None else 5, others or 0)) as papers:
            her.execute("DELETE FROM later")
        _change(proxy, made, LOUD)
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=r"public\.note") as met:
            her.execute(ends.encode())
        assert "another" in str(met.value)
        assert her.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
        assert her.execute("SELECT 1").fetchone() == (1,)
    assert _state(proxy, made) == (5, 9)
    outcome = until(lambda: proxy.outcome(papers[0].id), "the outcome")
    assert outcome["result"] == "rolled-back"
    assert "public.note" in outcome["why"]


def test_a_function_that_is_replaced_while_a_batch_is_held_undoes_the_batch(proxy: Served, made: str) -> None:
    """What PostgreSQL says at the Sync is more than psycopg's pipeline can hear."""

    def decide_both() -> Paper:
        paper = proxy.approve()
        second = proxy.held()
        _change(proxy, made, LOUD)
        proxy.decide(second, Answer.APPROVE)
        return paper

    with (
        raw_client("127.0.0.1", proxy.port, "eva", PASSWORD, made) as client,
        deciding(decide_both) as papers,
    ):
        texts = (b"DELETE FROM later", b"DELETE FROM noted")
        client.send(b"".join(parse(b"", text) + bind(b"", b"") + execute(b"") for text in texts) + SYNC)
        assert without_notices(client.until_ready())[-2:] == ["E 55000", "Z I"]
    assert _state(proxy, made) == (5, 9)
    assert proxy.outcome(papers[0].id)["result"] == "rolled-back"


@pytest.mark.parametrize(
    "change",
    [
        "CREATE OR REPLACE FUNCTION apart() RETURNS int LANGUAGE sql AS 'SELECT 2'",
        "GRANT EXECUTE ON FUNCTION note() TO PUBLIC",
    ],
    ids=["another function", "a privilege"],
)
def test_what_does_not_wait_is_no_reason(proxy: Served, made: str, change: str) -> None:
    with proxy.connect(made) as her:
        her.execute("BEGIN")
        with deciding(proxy.approve) as papers:
            her.execute("DELETE FROM later")
        _change(proxy, made, change)
        her.execute("COMMIT")
    assert _state(proxy, made) == (0, 9)
    assert proxy.outcome(papers[0].id)["result"] == "committed"


def test_what_the_block_itself_replaces_was_signed_too(proxy: Served, made: str) -> None:
    with proxy.connect(made) as her:
        her.execute("BEGIN")
        with deciding(proxy.approve):
            her.execute("DELETE FROM later")
        with deciding(proxy.approve):
            her.execute(LOUD.encode())
        her.execute("COMMIT")
    assert _state(proxy, made) == (0, 0)


def test_no_trigger_can_be_put_on_what_has_been_changed_before_its_transaction_ends(proxy: Served, made: str) -> None:
    with proxy.connect(made) as her, proxy.behind(made) as behind:
        her.execute("BEGIN")
        with deciding(proxy.approve):
            her.execute("DELETE FROM other WHERE n < 3")
        behind.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            behind.execute(
                "CREATE CONSTRAINT TRIGGER q AFTER DELETE ON other DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION note()"
            )
        with pytest.raises(psycopg.errors.LockNotAvailable):
            behind.execute("CREATE OR REPLACE TRIGGER q AFTER DELETE ON other FOR EACH ROW EXECUTE FUNCTION note()")
        her.execute("COMMIT")
    assert _state(proxy, made) == (5, 7)

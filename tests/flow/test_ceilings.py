"""Ten rows were signed and there are eleven: nothing stays, in whatever form they come; ten are committed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from tests.flow.beside import deciding
from tests.flow.served import Served
from tests.tiers import one_in
from tests.versions import need

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL); INSERT INTO t SELECT i, 0 FROM generate_series(1, 10) AS i;
CREATE TABLE child (id int REFERENCES t ON DELETE CASCADE, n int);
CREATE TABLE whole (k int, a int) PARTITION BY LIST (k);
CREATE TABLE one PARTITION OF whole FOR VALUES IN (1); CREATE TABLE two PARTITION OF whole FOR VALUES IN (2);
INSERT INTO whole SELECT 1, i FROM generate_series(1, 10) AS i;
CREATE TABLE audit (id int);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO audit VALUES (OLD.id); RETURN NULL; END';
CREATE TABLE watched (id int); INSERT INTO watched SELECT generate_series(1, 10);
CREATE TRIGGER noted AFTER DELETE ON watched FOR EACH ROW EXECUTE FUNCTION noted();
CREATE TABLE later (id int); INSERT INTO later SELECT generate_series(1, 10);
CREATE CONSTRAINT TRIGGER noted AFTER DELETE ON later DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION noted();
"""
ALL = "SELECT (SELECT array_agg(t ORDER BY id) FROM t), (SELECT array_agg(whole ORDER BY k, a) FROM whole), "
ALL += "(SELECT count(*) FROM child), (SELECT count(*) FROM audit), (SELECT count(*) FROM watched), "
ALL += "(SELECT count(*) FROM later)"


def _simple(connection: psycopg.Connection[Any], text: str) -> None:
    connection.execute(text.encode())


def _extended(connection: psycopg.Connection[Any], text: str) -> None:
    psycopg.Cursor(connection).execute(text.replace("0", "%s", 1).encode(), [0])


def _in_a_block(connection: psycopg.Connection[Any], text: str) -> None:
    with connection.transaction():
        connection.execute(text.encode())


def _in_an_extended_block(connection: psycopg.Connection[Any], text: str) -> None:
    with connection.transaction():
        psycopg.Cursor(connection).execute(text.encode())


def _prepared(connection: psycopg.Connection[Any], text: str) -> None:
    psycopg.Cursor(connection).execute(text.encode(), prepare=True)


def _many(connection: psycopg.Connection[Any], text: str) -> None:
    psycopg.Cursor(connection).executemany(text.encode(), [[1], [2], [3]])


@dataclass(frozen=True)
class Form:
    """A way to change ten rows."""

    text: str
    one_more: str = "INSERT INTO t VALUES (0, 0)"
    """Makes it eleven."""
    run: Callable[[psycopg.Connection[Any], str], None] = _simple
    signed: tuple[int, int] = (10, 0)
    elsewhere: bool = False
    """The eleventh row is in another table."""


UPDATE = "UPDATE t SET a = 1 WHERE a = 0"
FORMS = {
    "simple": Form(UPDATE),
    "extended": Form(UPDATE, run=_extended),
    "prepared": Form(UPDATE, run=_prepared),
    "in a transaction": Form(UPDATE, run=_in_a_block),
    "extended in a transaction": Form(UPDATE, run=_in_an_extended_block),
    "returning": Form(f"{UPDATE} RETURNING id"),
    "returning, extended": Form(f"{UPDATE} RETURNING id", run=_extended),
    "several statements": Form("UPDATE t SET a = 1 WHERE id <= 5; UPDATE t SET a = 1 WHERE id > 5"),
    "bracket": Form(f"BEGIN; {UPDATE}; COMMIT"),
    "executemany": Form(f"{UPDATE} AND id %% 3 + 1 = %s", run=_many),
    "with under select": Form(f"WITH w AS ({UPDATE} RETURNING id) SELECT count(*) FROM w"),
    "with under select, extended": Form(f"WITH w AS ({UPDATE} RETURNING id) SELECT count(*) FROM w", run=_extended),
    "merge": Form("MERGE INTO t USING (SELECT 0 AS a) s ON t.a = s.a WHEN MATCHED THEN UPDATE SET a = 1"),
    "explain analyze": Form(f"EXPLAIN ANALYZE {UPDATE}"),
    "cascade": Form(
        "DELETE FROM t WHERE id = 1",
        one_more="INSERT INTO child VALUES (1, 11)",
        signed=(1, 10),
        elsewhere=True,
    ),
    "cascade in a transaction": Form(
        "DELETE FROM t WHERE id = 1",
        one_more="INSERT INTO child VALUES (1, 11)",
        run=_in_a_block,
        signed=(1, 10),
        elsewhere=True,
    ),
    "partition move": Form("UPDATE whole SET k = 2 WHERE k = 1", one_more="INSERT INTO whole VALUES (1, 11)"),
    "audit trigger": Form("DELETE FROM watched", "INSERT INTO watched VALUES (0)", signed=(11, 10), elsewhere=True),
    "deferred trigger": Form("DELETE FROM later", "INSERT INTO later VALUES (0)", signed=(11, 10), elsewhere=True),
    "deferred trigger, extended": Form(
        "DELETE FROM later", "INSERT INTO later VALUES (0)", run=_prepared, signed=(11, 10), elsewhere=True
    ),
    "deferred trigger in a transaction": Form(
        "DELETE FROM later", "INSERT INTO later VALUES (0)", run=_in_a_block, signed=(11, 10), elsewhere=True
    ),
}


@pytest.fixture
def held_to(database: str, served: Served) -> str:
    with served.behind(database) as connection:
        connection.execute(SCHEMA.encode())
        connection.execute("INSERT INTO child SELECT 1, i FROM generate_series(1, 10) AS i")
    return database


@pytest.mark.parametrize("name", FORMS)
def test_ten_rows_that_were_signed_stay(served: Served, held_to: str, name: str) -> None:
    form = FORMS[name]
    need(form.text)
    with served.connect(held_to) as connection, deciding(lambda: served.approve(*form.signed)) as papers:
        form.run(connection, form.text)
    outcome = served.outcome(papers[0].id)
    assert (outcome["result"], "ceiling_exceeded" in outcome) == ("committed", False)


@pytest.mark.parametrize("name", FORMS)
def test_of_eleven_rows_none_stays_and_both_numbers_are_told(served: Served, held_to: str, name: str) -> None:
    form = FORMS[name]
    need(form.text)
    with served.behind(held_to) as behind:
        behind.execute(form.one_more.encode())
        before = behind.execute(ALL.encode()).fetchone()
        refusal = pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="R-")
        approving = deciding(lambda: served.approve(*form.signed))
        with served.connect(held_to) as connection, approving as papers, refusal as refused:
            form.run(connection, form.text)
        assert behind.execute(ALL.encode()).fetchone() == before
    paper = papers[0]
    where = " in other tables, approved for at most 10 there" if form.elsewhere else ", approved for at most 10"
    assert f"{paper.id} rolled back: 11 rows affected{where}" in str(refused.value)
    outcome = served.outcome(paper.id)
    assert outcome["result"] == "rolled-back"
    exceeded = outcome["ceiling_exceeded"]
    assert exceeded["other_rows" if form.elsewhere else "rows"] == 11
    assert exceeded["max_other_rows" if form.elsewhere else "max_rows"] == 10
    kinds = [entry["type"] for entry in served.life(paper.id)]
    assert kinds.index("executed") < kinds.index("outcome")


def test_both_numbers_stand_in_psql_and_in_the_ledger(served: Served, held_to: str) -> None:
    with served.open_psql(held_to, "-v", "VERBOSITY=verbose", "-c", "DELETE FROM t WHERE id = 1") as psql:
        paper = served.approve(1)
        printed, _ = psql.communicate(timeout=30)
    said = f"ERROR:  55000: {paper.id} rolled back: 10 rows affected in other tables, approved for at most 0 there"
    assert said in printed
    assert "public.t: 1 deleted; public.child: 10 deleted" in printed
    assert served.outcome(paper.id)["ceiling_exceeded"] == {"max_rows": 1, "rows": 1, "other_rows": 10}


SLY = """
CREATE TABLE much AS SELECT generate_series(1, 1000) AS id; CREATE TABLE steps (n int);
CREATE FUNCTION slip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  SET CONSTRAINTS ALL DEFERRED;
  IF NEW.n = 0 THEN DELETE FROM much; ELSE INSERT INTO steps VALUES (NEW.n - 1); END IF;
  RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slip AFTER INSERT ON steps DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slip();
"""


@pytest.mark.parametrize("run", [_simple, _in_a_block, _prepared])
@pytest.mark.parametrize("steps", [0, 3, 100])
def test_a_trigger_that_defers_itself_again_is_counted_to_its_end(
    served: Served, held_to: str, steps: int, run: Callable[[psycopg.Connection[Any], str], None]
) -> None:
    with served.behind(held_to) as behind:
        behind.execute(SLY.encode())
        refusal = pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="R-")
        approving = deciding(lambda: served.approve(500, 500))
        with served.connect(held_to) as connection, approving as papers, refusal:
            run(connection, f"INSERT INTO steps VALUES ({steps})")
        assert behind.execute("SELECT count(*) FROM much").fetchone() == (1000,)
    assert served.outcome(papers[0].id)["result"] == "rolled-back"


HIDDEN = {
    "TRUNCATE": "TRUNCATE much",
    "DROP": "DROP TABLE much CASCADE",
    "a rewrite": "ALTER TABLE child ALTER n TYPE bigint USING 0",
    "a cursor that COMMIT runs": "DECLARE hidden CURSOR WITH HOLD FOR SELECT wiped()",
    "another function": "SELECT wiped()",
    "another savepoint": "DO $d$ BEGIN PERFORM wiped(); EXCEPTION WHEN others THEN NULL; END $d$",
    "a copy of rows": "CREATE TABLE made AS SELECT * FROM much",
    "its own table": "INSERT INTO front SELECT id FROM much",
    "a move": "UPDATE whole SET k = 3 - k",
    "a large object": "SELECT lo_unlink(90002), wiped()",
    "a view": "DELETE FROM over",
    "a MERGE": "MERGE INTO much m USING much n ON m.id = n.id WHEN MATCHED THEN DELETE",
}
MADE_FOR_HIDING = """
CREATE TABLE much AS SELECT generate_series(1, 1000) AS id; CREATE VIEW over AS SELECT * FROM much;
CREATE TABLE front (id int); INSERT INTO front SELECT generate_series(1, 5); SELECT lo_create(90002);
CREATE FUNCTION wiped() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM much; RETURN 1; END';
CREATE FUNCTION hides() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE __DO__; RETURN NULL; END $$;
CREATE TRIGGER hides AFTER DELETE ON front FOR EACH STATEMENT EXECUTE FUNCTION hides();
"""
LEFT = "SELECT (SELECT array_agg(m ORDER BY id) FROM much m), (SELECT count(*) FROM front), "
LEFT += "(SELECT array_agg(w ORDER BY k, a) FROM whole w), to_regclass('made')"


@pytest.mark.parametrize("run", one_in(3, [_simple, _in_a_block, _prepared]))
@pytest.mark.parametrize("hidden", HIDDEN.values(), ids=HIDDEN)
def test_nothing_that_is_hidden_in_a_trigger_stays(
    served: Served, held_to: str, hidden: str, run: Callable[[psycopg.Connection[Any], str], None]
) -> None:
    with served.behind(held_to) as behind:
        behind.execute(MADE_FOR_HIDING.replace("__DO__", f"$x${hidden} $x$").encode())
        before = behind.execute(LEFT.encode()).fetchone()
        refusal = pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=r"R-.* rolled back")
        approving = deciding(lambda: served.approve(5, 9))
        with served.connect(held_to) as connection, approving as papers, refusal:
            run(connection, "DELETE FROM front")
        assert behind.execute(LEFT.encode()).fetchone() == before
    assert served.outcome(papers[0].id)["result"] == "rolled-back"


def test_a_rule_hides_no_rows_from_its_ceiling(served: Served, held_to: str) -> None:
    with served.behind(held_to) as behind:
        behind.execute(MADE_FOR_HIDING.replace("__DO__", "'SELECT 1'").encode())
        behind.execute("CREATE RULE instead AS ON DELETE TO front DO INSTEAD DELETE FROM much")
        refusal = pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="1000 rows affected")
        with served.connect(held_to) as connection, deciding(lambda: served.approve(5)), refusal:
            connection.execute("DELETE FROM front")
        assert behind.execute("SELECT count(*) FROM much").fetchone() == (1000,)


def test_a_change_that_policy_forwards_does_not_count_against_what_is_signed_beside_it(
    served: Served, held_to: str
) -> None:
    approving = deciding(lambda: served.approve(10))
    with served.connect(held_to) as connection, approving as papers, connection.transaction():
        connection.execute("INSERT INTO audit SELECT generate_series(1, 100)")
        connection.execute(UPDATE.encode())
        connection.execute("INSERT INTO audit SELECT generate_series(1, 100)")
    assert served.outcome(papers[0].id)["result"] == "committed"

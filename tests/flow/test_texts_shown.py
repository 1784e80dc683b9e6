"""What an approver, an engineer and an auditor are told of a text in which several statements change something."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.flow.served import Served
from tests.flow.untouched import untouched

from pgnotary.cli.paper_view import describe
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.request.decision import Answer

SCHEMA = """
CREATE ROLE nobody_shown;
CREATE TABLE orders (id int PRIMARY KEY, status text, total int);
CREATE TABLE items (order_id int REFERENCES orders ON DELETE CASCADE, line int);
CREATE TABLE people (id int PRIMARY KEY, name text, secret text);
CREATE TABLE old_orders (id int, words text);
CREATE VIEW old_view AS SELECT id FROM old_orders;
INSERT INTO orders SELECT i, CASE WHEN i % 3 = 0 THEN 'stale' ELSE 'open' END, i * 10 FROM generate_series(1, 30) i;
INSERT INTO items SELECT i, 1 FROM generate_series(1, 30) i;
INSERT INTO people SELECT i, 'person ' || i, 'hidden ' || i FROM generate_series(1, 20) i;
INSERT INTO old_orders SELECT i, 'w' FROM generate_series(1, 40) i;
ANALYZE;
"""
TEXT = """DELETE FROM orders WHERE status = 'stale';
UPDATE people SET name = upper(name) WHERE id < 6;
DROP TABLE old_orders CASCADE"""
COUNTED = "DELETE FROM orders WHERE status = 'stale'; UPDATE people SET name = upper(name) WHERE id < 6"


@pytest.fixture
def shop(postgres: EmbeddedPostgres) -> Iterator[str]:
    with untouched(postgres, "texts_shop", SCHEMA, "nobody_shown") as name:
        yield name


@pytest.fixture
def proxy(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Served]:
    served = Served(postgres, tmp_path / "pgnotary", hold_s=60, sample_rows=3, mask=["secret"])
    with served:
        yield served
        served.entries()


class _Engineer:
    """Eva sends one text on a thread of its own."""

    def __init__(self, proxy: Served, database: str, text: str) -> None:
        self.error: psycopg.Error | None = None
        self.notices: list[str] = []

        def run() -> None:
            with proxy.connect(database) as connection:
                connection.add_notice_handler(lambda notice: self.notices.append(notice.message_primary or ""))
                try:
                    connection.execute(text.encode())
                except psycopg.Error as error:
                    self.error = error

        self.thread = threading.Thread(target=run)
        self.thread.start()


def test_the_page_tells_of_each_statement_by_itself(proxy: Served, shop: str) -> None:
    engineer = _Engineer(proxy, shop, TEXT)
    paper = proxy.held()
    page = list(describe(paper, 66))
    proxy.decide(paper, Answer.DENY)
    engineer.thread.join(60)
    assert max(map(len, page)) <= 80
    at = [page.index(next(line for line in page if line.startswith(f"statement {n}   "))) for n in (1, 2, 3)]
    assert at == sorted(at)
    for place, next_place in zip(at, [*at[1:], len(page)], strict=True):
        assert page[place - 1] == ""
        assert "row 1" in "\n".join(page[place:next_place])
    assert page[at[0]].startswith("statement 1   DELETE on orders: 10 rows counted")
    assert page[at[1]].startswith("statement 2   UPDATE on people: 5 rows counted")
    assert page[at[2]].startswith("statement 3   DROP on old_orders: about 40 rows counted, but may be others")
    assert "masked        secret: no approver is shown their values" in page[at[1] : at[2]]
    assert any(line.startswith("cascade       public.orders -> public.items") for line in page[at[0] : at[1]])
    assert any("view old_view: goes along" in line for line in page[at[2] :])
    assert "hidden" not in "\n".join(page)
    # What it says of itself to the engineer is of all of them.
    assert "about 55 rows (in all, but may be others when it runs)" in engineer.notices[0]


def test_the_number_of_all_together_is_approved_unless_another_is_said(proxy: Served, shop: str) -> None:
    engineer = _Engineer(proxy, shop, COUNTED)
    paper = proxy.held()
    page = "\n".join(describe(paper, 100))
    assert "ceiling       unless you name another: 15 rows by all of them together, and 10 rows in other tables" in page
    printed = proxy.pgnotary("approve", f"{paper.id}@{paper.digest}", "-m", "right", "--yes", "--key", str(proxy.key))
    engineer.thread.join(60)
    assert "executed: DELETE 10; UPDATE 5, committed" in printed
    life = {entry["type"]: entry["body"] for entry in proxy.life(paper.id)}
    assert (life["decision"]["max_rows"], life["decision"]["max_other_rows"]) == (15, 10)
    assert (life["executed"]["rows"], life["executed"]["other_rows"]) == (15, 10)
    assert life["outcome"]["result"] == "committed"


@pytest.mark.parametrize("grown", ["INSERT INTO people VALUES (0, 'x', 'y')", "INSERT INTO items VALUES (3, 2)"])
def test_one_row_more_of_any_of_them_rolls_all_of_them_back(proxy: Served, shop: str, grown: str) -> None:
    engineer = _Engineer(proxy, shop, COUNTED)
    paper = proxy.held()
    with proxy.behind(shop) as beside:
        beside.execute(grown.encode())
    assert paper.measured.bound is not None
    proxy.decide(paper, Answer.APPROVE, max_rows=paper.measured.bound, others=paper.measured.elsewhere)
    engineer.thread.join(60)
    assert engineer.error is not None
    assert "approved for at most" in str(engineer.error)
    with proxy.behind(shop) as beside:
        assert beside.execute("SELECT count(*) FROM orders").fetchall() == [(30,)]


def test_auditors_find_what_was_shown(proxy: Served, shop: str, tmp_path: Path) -> None:
    engineer = _Engineer(proxy, shop, TEXT)
    paper = proxy.held()
    shown = proxy.pgnotary("show", paper.id)
    told = json.loads(proxy.pgnotary("show", paper.id, "--json"))
    assert [each["place"] for each in told["preview"]["statements"]] == [1, 2, 3]
    assert len(told["sample"]) == 9
    assert f"{paper.id} " in proxy.pgnotary("requests")
    proxy.decide(paper, Answer.APPROVE)
    engineer.thread.join(60)
    assert engineer.error is None
    assert proxy.outcome(paper.id)["result"] == "committed"
    assert proxy.pgnotary("show", paper.id, "--page") == shown
    replayed = proxy.pgnotary("replay", paper.id)
    assert "statement 1: measured: 10 rows counted" in replayed
    assert "statement 2, row 1: id 1, name 'person 1'" in replayed
    assert "statement 3: partly: about 40 rows counted, but may be others when it runs, earlier-parts" in replayed
    (found,) = [json.loads(line) for line in proxy.pgnotary("search", "--text", "old_orders", "--json").splitlines()]
    assert found["estimate"] == 55
    assert found["caveats"] == ["earlier-parts"]
    assert [each.get("exact") for each in found["statements"]] == [10, 5, None]
    proxy.pgnotary("export", str(tmp_path / "out"), "--withhold", "sample", "--secrets")
    again = proxy.pgnotary("replay", paper.id, "--ledger", str(tmp_path / "out"))
    assert "statement 2, sample: 3 rows of public.people, (withheld)" in again
    assert "person 1" not in again
    assert "person 1" not in "".join(each.read_text() for each in (tmp_path / "out").rglob("*") if each.is_file())


def test_the_first_five_have_a_preview_and_how_many_have_none_is_said(proxy: Served, shop: str) -> None:
    engineer = _Engineer(proxy, shop, "; ".join(f"DELETE FROM orders WHERE id = {n}" for n in range(12)))
    paper = proxy.held()
    page = "\n".join(describe(paper, 66))
    proxy.decide(paper, Answer.DENY)
    engineer.thread.join(60)
    body: dict[str, Any] = dict(paper.preview.body)
    assert [each["place"] for each in body["statements"]] == [1, 2, 3, 4, 5]
    assert body["statements_more"] == 7
    assert not body.keys() & {"exact", "at_most", "estimate"}
    assert "AND 7 MORE STATEMENTS WITHOUT A PREVIEW" in page
    assert "preview       12 statements that change something: rows unknown; partly" in page
    assert "which you are asked for" in page


def test_what_no_time_is_left_for_is_said_of_each(postgres: EmbeddedPostgres, shop: str, tmp_path: Path) -> None:
    slow = "DELETE FROM orders USING generate_series(1, 1000000000) g WHERE g = orders.id AND orders.id = {}"
    served = Served(postgres, tmp_path / "slow", hold_s=60, preview_timeout_ms=100)
    with served:
        engineer = _Engineer(served, shop, "; ".join([slow.format(n) for n in range(1, 5)] + ["DELETE FROM people"]))
        paper = served.held()
        served.decide(paper, Answer.DENY)
        engineer.thread.join(60)
        served.entries()
    body: dict[str, Any] = dict(paper.preview.body)
    assert body["took_us"] < 3_000_000
    assert "the count failed with SQLSTATE 57014" in body["statements"][0]["why"]
    assert body["statements"][-1]["why"] == "no time was left"
    assert "exact" not in body


def test_all_that_is_told_fits_in_an_entry(proxy: Served, shop: str) -> None:
    long = "ö" * 24
    wide = ", ".join(f'"{first}{n}_{"ö" * 29}" int' for first, most in (("m", 30), ("v", 25)) for n in range(most))
    with proxy.behind(shop) as beside:
        for place in range(5):
            beside.execute(f"CREATE TABLE wide_{place} (id int PRIMARY KEY, secret int, {wide})".encode())
            beside.execute(f"INSERT INTO wide_{place} (id) VALUES (1), (2)".encode())
            for child in range(40):
                beside.execute(
                    f'CREATE TABLE "c{place}_{child}_{long}" (t int REFERENCES wide_{place} ON DELETE CASCADE)'.encode()
                )
    text = "; ".join(f"DELETE FROM wide_{place} WHERE id = 1" for place in range(5))
    with Served(proxy.postgres, proxy.folder.parent / "masked", hold_s=60, mask=["public.wide_?.m*"]) as masking:
        engineer = _Engineer(masking, shop, text)
        paper = masking.held()
        masking.decide(paper, Answer.DENY)
        engineer.thread.join(60)
        engineer = _Engineer(masking, shop, "DELETE FROM wide_0 WHERE id = 1")
        alone = masking.held()
        masking.decide(alone, Answer.DENY)
        engineer.thread.join(60)
        masking.entries()
    assert len(alone.preview.raw) <= 65_535
    assert alone.measured.sample is not None
    assert (alone.measured.exact, alone.measured.sample.rows) == (1, 1)
    body: dict[str, Any] = dict(paper.preview.body)
    assert len(paper.preview.raw) <= 65_535
    assert [each["place"] for each in body["statements"]] == [1, 2, 3, 4, 5]
    assert body["exact"] == 5
    assert "room" in json.dumps(body["statements"])


def test_a_preview_of_several_changes_nothing(proxy: Served, shop: str) -> None:
    rows = """SELECT (SELECT json_agg(o) FROM orders o)::text, (SELECT json_agg(p) FROM people p)::text,
      (SELECT json_agg(i) FROM items i)::text, (SELECT count(*) FROM old_orders),
      pg_snapshot_xmax(pg_current_snapshot())"""
    text = TEXT + "; TRUNCATE items; INSERT INTO people VALUES (99, 'a', 'b'), (100, 'a', 'b')"
    with proxy.connect(shop) as idle, proxy.behind(shop) as beside:
        idle.execute("SELECT count(*) FROM orders")
        before = beside.execute(rows.encode()).fetchall()
        engineer = _Engineer(proxy, shop, text)
        paper = proxy.held()
        locks = "SELECT count(*) FROM pg_locks WHERE pid <> pg_backend_pid() AND locktype <> 'virtualxid'"
        assert beside.execute(locks.encode()).fetchall() == [(0,)]
        assert beside.execute(rows.encode()).fetchall() == before
        proxy.decide(paper, Answer.DENY)
        engineer.thread.join(60)
        assert beside.execute(rows.encode()).fetchall() == before
    assert [each.place for each in paper.measured.statements] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("least", "refused"), [(15, True), (16, False)])
def test_a_rule_about_many_rows_is_asked_about_all_of_them(
    postgres: EmbeddedPostgres,
    shop: str,
    tmp_path: Path,
    least: int,
    refused: bool,
) -> None:
    rule = f'\n[[policy.rule]]\nname = "many"\nresult = "refuse"\nclass = ["delete"]\nmin_rows = {least}\n'
    with Served(postgres, tmp_path / "ruled", hold_s=60, tables=rule) as served:
        engineer = _Engineer(served, shop, COUNTED)
        if not refused:
            served.deny()
        engineer.thread.join(60)
        served.entries()
    assert engineer.error is not None
    assert ("may change 15 rows (counted)" in str(engineer.error)) is refused, engineer.error


FIRST = "UPDATE people SET name = 'one' WHERE id = 1; "
LATER = {
    "another table": ("UPDATE orders SET total = 1 WHERE id = 1", True),
    "the same rows": ("UPDATE people SET name = 'two' WHERE id = 1", False),
    "the same rows, gone": ("DELETE FROM people WHERE id = 1", False),
    "what is not known": ("DO $$ BEGIN UPDATE people SET name = 'three'; END $$", False),
    "more than is looked at": ("; ".join(f"DELETE FROM items WHERE line = {line}" for line in range(2, 7)), False),
}


@pytest.mark.parametrize("later", LATER)
def test_a_new_value_that_a_later_statement_may_overwrite_is_not_shown(proxy: Served, shop: str, later: str) -> None:
    text, stands = LATER[later]
    engineer = _Engineer(proxy, shop, FIRST + text)
    paper = proxy.held()
    page = "\n".join(describe(paper, 120))
    proxy.decide(paper, Answer.DENY)
    engineer.thread.join(60)
    assert ("name 'person 1' -> 'one'" in page) is stands
    assert ("name 'person 1'" in page, "not worked out" in page) == (True, not stands)

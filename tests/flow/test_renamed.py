"""Names that change before a sample is taken: nothing that a mask hides is shown under another one."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.flow.served import PATIENCE_S, Served, holding_inserts

from pgnotary.approval.papers import Paper
from pgnotary.cli.paper_view import describe
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.request.decision import Answer

SECRET = "correct horse battery staple"
WHY = "what runs before it may rename what is masked"
SCHEMA = f"""
CREATE TABLE users (id int PRIMARY KEY, password text, note text);
INSERT INTO users SELECT i, '{SECRET}', 'open' FROM generate_series(1, 3) i;
CREATE TABLE other (id int);
INSERT INTO other VALUES (1);
"""


@pytest.fixture(scope="module")
def proxy(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as server:
        server.execute("CREATE DATABASE renamed TEMPLATE template0 ENCODING 'UTF8'")
        with psycopg.connect(postgres.dsn("renamed"), autocommit=True) as connection:
            connection.execute(SCHEMA.encode())
        with holding_inserts(postgres, Path(tmp_path_factory.mktemp("renamed")) / "pgnotary", hold_s=60) as served:
            yield served
            served.entries()
        server.execute("DROP DATABASE renamed WITH (FORCE)")


@pytest.fixture(scope="module")
def her(proxy: Served) -> Iterator[psycopg.Connection[Any]]:
    with proxy.connect("renamed") as connection:
        yield connection


def _held(proxy: Served, her: psycopg.Connection[Any], sql: str, answer: Answer) -> Paper:
    def run() -> None:
        denied = psycopg.errors.InsufficientPrivilege
        with pytest.raises(denied) if answer is Answer.DENY else her.transaction():
            her.execute(sql.encode())

    worker = threading.Thread(target=run)
    worker.start()
    paper = proxy.held()
    proxy.decide(paper, answer, others=None)
    worker.join(PATIENCE_S)
    return paper


def _samples(paper: Paper) -> list[str]:
    """Return of each sample why there is none; "" if there is one."""
    return [sample.why for sample in paper.measured.samples]


RENAMES = {
    "a column": "ALTER TABLE users RENAME COLUMN password TO hint",
    "a column that takes its values": "ALTER TABLE users ALTER note TYPE text USING password",
    "a copy": "CREATE TABLE copied AS SELECT id, password AS hint FROM users",
    "a copy by SELECT": "SELECT id, password AS hint INTO copied FROM users",
    "a view": "CREATE OR REPLACE VIEW seen AS SELECT id, password AS hint FROM users",
    "code": "DO $$ BEGIN ALTER TABLE users RENAME password TO hint; END $$",
}


@pytest.mark.parametrize("name", RENAMES)
def test_behind_what_may_rename_in_one_text_no_rows_are_shown(
    proxy: Served, her: psycopg.Connection[Any], name: str
) -> None:
    paper = _held(proxy, her, f"{RENAMES[name]}; DELETE FROM users", Answer.DENY)
    assert _samples(paper) == [WHY]
    assert f"none: {WHY}" in "\n".join(describe(paper, 200))


@pytest.mark.parametrize(
    ("name", "sql"),
    [
        ("a column", "DELETE FROM users"),
        ("a column", "TRUNCATE users"),
        ("a column that takes its values", "UPDATE users SET id = id"),
        ("a copy", "DELETE FROM copied"),
        ("a copy by SELECT", "DELETE FROM copied"),
        ("code", "DELETE FROM users"),
    ],
)
def test_behind_what_may_rename_in_one_transaction_no_value_is_shown(
    proxy: Served, her: psycopg.Connection[Any], name: str, sql: str
) -> None:
    her.execute("BEGIN")
    _run(proxy, her, RENAMES[name])
    paper = _held(proxy, her, sql, Answer.DENY)
    her.execute("ROLLBACK")
    assert _samples(paper) == [WHY]
    assert SECRET not in json.dumps([[value.text for value in row] for row in paper.rows])
    # The next transaction knows nothing of it.
    again = _held(proxy, her, "DELETE FROM users", Answer.DENY)
    assert _samples(again) == [""]
    assert again.rows


def _run(proxy: Served, her: psycopg.Connection[Any], sql: str) -> None:
    worker = threading.Thread(target=her.execute, args=(sql.encode(),))
    worker.start()
    proxy.decide(proxy.held(), Answer.APPROVE, others=None)
    worker.join(PATIENCE_S)


@pytest.mark.parametrize("before", ["DROP TABLE other", "CREATE TABLE another (id int)", "TRUNCATE other"])
def test_what_renames_nothing_costs_no_rows(proxy: Served, her: psycopg.Connection[Any], before: str) -> None:
    paper = _held(proxy, her, f"{before}; DELETE FROM users", Answer.DENY)
    assert _samples(paper)[-1] == ""
    assert paper.rows


def test_in_a_pipeline_what_ran_before_counts(proxy: Served) -> None:
    with proxy.connect("renamed", cursor_factory=psycopg.Cursor) as eva:

        def both() -> None:
            with eva.pipeline():
                eva.execute("ALTER TABLE users RENAME COLUMN password TO hint")
                eva.execute("DELETE FROM users")

        def run() -> None:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                both()

        worker = threading.Thread(target=run)
        worker.start()
        proxy.decide(proxy.held(), Answer.APPROVE, others=None)
        paper = proxy.deny()
        worker.join(PATIENCE_S)
    assert _samples(paper) == [WHY]

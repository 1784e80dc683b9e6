"""docs/own-database.md is true: its steps, one after the other, from a role of one's own to a backup."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from tests.flow.forked import Forked
from tests.flow.ports import free_port
from tests.flow.served import PATIENCE_S, until
from tests.pages import PAGES, Page, run, spans

from pgnotary.demo.postgres import EmbeddedPostgres

PAGE = "own-database.md"
TEXT = PAGES[PAGE].read_text(encoding="utf-8")
INSERT = "INSERT INTO orders VALUES (1000, 'open')"


@pytest.fixture
def role(postgres: EmbeddedPostgres, database: str) -> Iterator[psycopg.Connection]:
    """The role that the page makes, and its rights; a connection of who may make roles."""
    (create,) = [span for span in spans(TEXT) if span.startswith("CREATE ROLE")]
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute(create.replace("'...'", "'PASSWORD'").encode())
        connection.execute("GRANT SELECT, INSERT, DELETE ON orders TO app_rw")
        try:
            yield connection
        finally:
            connection.execute("DROP OWNED BY app_rw")
            connection.execute("DROP ROLE app_rw")


@contextmanager
def serving(words: list[str], log: Path, engineer: str) -> Iterator[Forked]:
    """Serve until the block ends; it begins when an engineer can connect with what `init` has printed."""
    proxy = Forked(words, log)
    try:
        until(lambda: is_let_in(engineer) or proxy.poll() is not None, "the proxy to let somebody in")
        assert proxy.poll() is None, log.read_text()
        yield proxy
    finally:
        proxy.send_signal(signal.SIGTERM)
        proxy.wait(PATIENCE_S)


def test_its_steps_lead_to_a_proxy_with_people_and_a_backup(
    postgres: EmbeddedPostgres, database: str, role: psycopg.Connection, page: Page, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGNOTARY_CONFIG", raising=False)
    place = {"127.0.0.1:5432/shop": f"{postgres.host}:{postgres.port}/{database}"}
    made = run(*page.take("pgnotary init").words(place), "--listen", f"127.0.0.1:{free_port()}")
    assert made.exit_code == 0, made.output
    (engineer,) = re.findall(r"^engineer +psql (\S+)$", made.output, re.M)
    assert "1 user, 1 approver" in run(*page.take("pgnotary check").words()).output

    with serving(page.take("pgnotary serve").words(), tmp_path / "serve.log", engineer) as proxy:
        with psycopg.connect(engineer) as eva:
            assert eva.execute("SELECT count(*) FROM orders").fetchone() == (100,)
            eva.execute(INSERT)
        # Others come while it runs.
        added = run(*page.take("pgnotary user add").words({"NAME": "dana"}), stdin="of-dana\n")
        assert added.exit_code == 0, added.output
        key = run(*page.take("pgnotary key new").words({"NAME": "cy"}))
        (line,) = re.findall(r"^cy namespaces=.*$", key.stdout, re.M)
        with Path("pgnotary/allowed_signers").open("a") as roster:
            roster.write(f"{line}\n")
        proxy.send_signal(signal.SIGHUP)
        until(lambda: is_let_in(re.sub(r"//.*@", "//dana:of-dana@", engineer)), "dana to be let in")
        assert not is_let_in(re.sub(r"//.*@", "//eva:of-dana@", engineer))
        copy = page.take("pgnotary backup").words()
        monkeypatch.chdir("pgnotary")
        assert run(*copy).exit_code == 0
        assert run("verify", "--ledger", "COPY.db", "--key", "proxy.vkey").exit_code == 0
    assert role.execute("SELECT count(*) FROM orders").fetchone() == (101,)


def is_let_in(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True


def test_the_catalog_of_the_database_adds_what_names_mean(
    postgres: EmbeddedPostgres, database: str, page: Page
) -> None:
    asking = page.take("pgnotary explain").words({"URL": postgres.dsn(database)})
    assert run("explain", INSERT).stdout.startswith("hold ")
    assert run(*asking, INSERT).stdout.startswith("forward ")

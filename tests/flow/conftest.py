"""A proxy for each module of flow tests, and a shop in each test's database."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from tests.flow.fragile import Nursery, open_nursery
from tests.flow.served import Served

from pgnotary.demo.postgres import EmbeddedPostgres

SCHEMA = """
CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL, total numeric NOT NULL DEFAULT 0);
CREATE TABLE items (order_id int REFERENCES orders ON DELETE CASCADE, line int);
INSERT INTO orders SELECT i, CASE WHEN i % 4 = 0 THEN 'stale' ELSE 'open' END, i FROM generate_series(1, 100) i;
INSERT INTO items SELECT i, 1 FROM generate_series(1, 100) i;
CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM orders; RETURN 1; END $$;
CREATE PROCEDURE wipe_all() LANGUAGE plpgsql AS $$ BEGIN DELETE FROM orders; END $$;
CREATE VIEW innocent AS SELECT wipe() AS n;
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
ANALYZE;
"""


@pytest.fixture(scope="session")
def shop(postgres: EmbeddedPostgres) -> str:
    """A database to copy, with a small shop and things that look harmless and are not."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop_template")
    with psycopg.connect(postgres.dsn("shop_template"), autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
    return "shop_template"


@pytest.fixture
def template(shop: str) -> str:
    """Each test's database is a copy of the shop."""
    return shop


@pytest.fixture(scope="module")
def served(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A proxy that lives as long as the module's tests; its ledger is verified when they are done."""
    with Served(postgres, tmp_path_factory.mktemp("proxy") / "pgnotary", hold_s=60, reminder_s=1) as proxy:
        yield proxy
        proxy.entries()


@pytest.fixture(scope="module")
def undecided(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Served]]:
    """Proxies with the profiles `default` and `strict`, where nobody decides: what is held expires at once."""
    with ExitStack() as opened:
        yield [
            opened.enter_context(
                Served(
                    postgres,
                    tmp_path_factory.mktemp(profile) / "pgnotary",
                    profile=profile,
                    hold_s=1,
                    max_held_per_person=1_000,
                )
            )
            for profile in ("default", "strict")
        ]


@pytest.fixture
def own_proxy(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Served]:
    """A proxy of a test's own, for tests that hurt it."""
    with Served(postgres, tmp_path / "pgnotary", hold_s=60) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where proxies are born that tests kill again and again."""
    with open_nursery() as found:
        yield found

"""Every driver holds, is approved, denied, cancelled, timed out: what it raises, what database and ledger say then."""

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import pg8000.exceptions
import psycopg
import pytest
from sqlalchemy import exc as alchemy
from tests.flow.beside import deciding, left
from tests.flow.drivers import DRIVERS, JDBC, Refused
from tests.flow.served import Served, until

from pgnotary.approval.papers import Paper
from pgnotary.demo.postgres import EmbeddedPostgres

NAMES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(name == "JDBC" and not JDBC, reason="not run: Java or its JDBC driver is not at hand"),
    )
    for name in DRIVERS
]

DENIED = {
    "psycopg": psycopg.errors.InsufficientPrivilege,
    "asyncpg": asyncpg.InsufficientPrivilegeError,
    "pg8000": pg8000.exceptions.DatabaseError,
    "SQLAlchemy": alchemy.ProgrammingError,
}
EXPIRED = {
    "psycopg": psycopg.errors.QueryCanceled,
    "asyncpg": asyncpg.QueryCanceledError,
    "pg8000": pg8000.exceptions.DatabaseError,
    "SQLAlchemy": alchemy.OperationalError,
}
CANCELLED = EXPIRED | {"asyncpg": asyncio.CancelledError, "pg8000": pg8000.exceptions.InterfaceError}


def types(served: Served, request: str) -> list[str]:
    return [entry["type"] for entry in served.life(request)]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_approved_runs_once_and_its_rows_are_told(served: Served, database: str, name: str) -> None:
    with DRIVERS[name](served, database) as driver:
        with deciding(served.approve) as papers:
            assert driver.delete(7) == 7
        assert driver.count() == 93
    assert left(served, database) == 93
    outcome = served.outcome(papers[0].id)
    assert (outcome["result"], outcome["rows"]) == ("committed", 7)
    # A batch runs in a block of ours, whose COMMIT is recorded before it is sent, as that of any block.
    ending = [] if name == "psql" else ["ending"]
    assert types(served, papers[0].id) == ["request", "preview", "decision", "intent", "executed", *ending, "outcome"]


@pytest.mark.parametrize("name", NAMES)
def test_a_denial_is_told_with_its_reason_and_the_connection_goes_on(served: Served, database: str, name: str) -> None:
    with DRIVERS[name](served, database) as driver:
        with deciding(served.deny) as papers, pytest.raises(Refused, match="denied by bo: add a WHERE") as told:
            driver.delete(7)
        assert driver.count() == 100
    assert told.value.sqlstate == "42501"
    assert type(told.value.__cause__) is DENIED.get(name, type(None))
    assert types(served, papers[0].id) == ["request", "preview", "decision"]
    assert left(served, database) == 100


@pytest.mark.parametrize("name", NAMES)
def test_a_cancel_withdraws_what_is_held(served: Served, database: str, name: str) -> None:
    with DRIVERS[name](served, database) as driver:

        def cancel() -> Paper:
            paper = served.held()
            driver.cancel()
            return paper

        with deciding(cancel) as papers, pytest.raises(Refused) as told:
            driver.delete(7)
        # Ctrl-C ends a psql that came with its statements, and a closed socket asks nothing more.
        if name not in {"psql", "pg8000"}:
            assert driver.count() == 100
    # Of asyncpg's task and pg8000's socket nothing is left that could hear the answer.
    assert told.value.sqlstate == (None if name in {"asyncpg", "pg8000"} else "57014")
    assert type(told.value.__cause__) is CANCELLED.get(name, type(None))
    until(lambda: types(served, papers[0].id) == ["request", "preview", "withdrawn"], "the withdrawal")
    by = "client-gone" if name == "pg8000" else "cancel"
    assert served.life(papers[0].id)[-1]["body"] == {"by": by}
    assert left(served, database) == 100


@pytest.fixture(scope="module")
def impatient(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A proxy where what nobody decides expires as soon as it can."""
    folder = tmp_path_factory.mktemp("impatient") / "pgnotary"
    with Served(postgres, folder, hold_s=1, max_held_per_person=len(DRIVERS)) as proxy:
        yield proxy
        proxy.entries()


def expire(served: Served, database: str, name: str) -> None:
    with DRIVERS[name](served, database) as driver:
        with pytest.raises(Refused, match="expired: no decision") as told:
            driver.delete(7)
        assert driver.count() == 100, name
    assert told.value.sqlstate == "57014", name
    assert type(told.value.__cause__) is EXPIRED.get(name, type(None)), name
    found = re.search(r"R-\d+", str(told.value))
    assert found, name
    assert types(served, found[0]) == ["request", "preview", "expired"], name


def test_what_nobody_decides_expires_and_the_connections_go_on(impatient: Served, database: str) -> None:
    """All at once: they only wait."""
    names = [name for name in DRIVERS if name != "JDBC" or JDBC]
    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(lambda name: expire(impatient, database, name), names)) == [None] * len(names)
    assert left(impatient, database) == 100

"""Evasions that only an older server runs: there each has an effect, and with that server's catalog none is forwarded.

The judge reads by the newest grammar, in which some of an older server's calls are syntax.
"""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.judge.asking import catalog_of, scope_of
from tests.judge.evasions import EVASIONS, Evasion, action
from tests.judge.texts import HOLDING

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.rules import Action

_DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
_TABLES = "CREATE TABLE t (a int, b text); INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 5) AS n"
_ROWS = "SELECT count(*) FROM t"

OF_OLDER_SERVERS = [evasion for evasion in EVASIONS if evasion.server]


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    if not (_DEBIAN_15 / "initdb").exists():
        pytest.skip("no older server is at hand: Debian's PostgreSQL 15")
    with EmbeddedPostgres(settings={"jit": "off"}, bin_dir=_DEBIAN_15) as server:
        yield server.dsn("postgres")


@pytest.mark.parametrize("evasion", OF_OLDER_SERVERS, ids=str)
def test_an_older_server_runs_what_the_newest_grammar_takes_for_syntax(dsn: str, evasion: Evasion) -> None:
    with psycopg.connect(dsn) as client:
        assert client.info.server_version // 10000 <= evasion.server
        client.execute(_TABLES.encode())
        client.execute(evasion.setup.encode())
        catalog, scope = catalog_of(client), scope_of(client)
        assert client.execute(_ROWS).fetchone() == (5,)
        client.execute(evasion.text)
        assert client.execute(_ROWS).fetchone() == (0,)
        client.rollback()
    assert Action.FORWARD not in {action(evasion.text, profile, catalog, scope) for profile in HOLDING}

"""Evasions are no exercises: sent to a server as they are, each has an effect, and what only reads has none.

What only an older server runs is sent to one in `test_evasions_of_older_servers.py`.
"""

import pytest
from tests.judge.effects import Bench
from tests.judge.evasions import EVASIONS, Evasion
from tests.tiers import one_in

HARMLESS = [
    "SELECT * FROM t",
    "SELECT count(*), max(b) FROM t GROUP BY a ORDER BY 1 LIMIT 2",
    "WITH q AS (SELECT a FROM t) SELECT * FROM q JOIN k ON a = id",
    "SELECT last_value FROM s",
    "SELECT lo_get(4711)",
    "SELECT pg_stat_get_backend_pid(1), now(), random(), pg_sleep(0.01)",
    "SELECT relname, relpages FROM pg_class ORDER BY 1",
    "SHOW search_path",
    "EXPLAIN ANALYZE SELECT * FROM t",
    "EXPLAIN DELETE FROM t",
    "COPY t TO STDOUT",
    "BEGIN; SELECT * FROM k; COMMIT",
    "SELECT 1; SELECT no_such_function()",
]

OF_EVERY_SERVER = [evasion for evasion in EVASIONS if not evasion.server]


@pytest.mark.parametrize("evasion", one_in(3, OF_EVERY_SERVER), ids=str)
def test_an_evasion_has_an_effect(workbench: Bench, evasion: Evasion) -> None:
    assert workbench.effects(evasion)


@pytest.mark.parametrize("sql", HARMLESS)
def test_what_only_reads_has_none(workbench: Bench, sql: str) -> None:
    assert workbench.effects(Evasion("", "", "", sql.encode(), 1), patience_s=0.1) == set()

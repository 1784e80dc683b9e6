"""The fuzz of the judge: what it found before stays found, its oracle sees what it must, a run finds no more.

`./run test --long tests/fuzz` runs it for PGNOTARY_FUZZ_S seconds (60 unless told), from PGNOTARY_FUZZ_SEED if set.
"""

import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator

import pytest
from tests.fuzz.adapter import DOCUMENTED, Judged, Known, judge
from tests.fuzz.databases import SETTINGS, fresh_database, known_at, started_servers
from tests.fuzz.found import FOUND, why_open
from tests.fuzz.judge_fuzz import fuzz
from tests.fuzz.readers import contradictions
from tests.fuzz.server import Effects, Server
from tests.fuzz.texts import texts

from pgnotary.demo.postgres import EmbeddedPostgres

_OPEN = pytest.mark.xfail(reason="known and open, see the row", strict=True, raises=AssertionError)


@pytest.fixture(scope="module")
def scratch() -> Iterator[str]:
    """The address of a scratch database on a server where nobody else takes transaction ids."""
    with EmbeddedPostgres(settings=SETTINGS) as postgres:
        yield fresh_database(postgres)


@pytest.fixture(scope="module")
def known(scratch: str) -> Known:
    return known_at(scratch)


@pytest.fixture(scope="module")
def server(scratch: str) -> Iterator[Server]:
    session = Server("PostgreSQL 18", scratch, timeout_ms=20_000)
    yield session
    session.close()


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row["name"], marks=[_OPEN] if row.get("open") else []) for row in FOUND]
)
def test_what_a_fuzz_found_is_not_forwarded_any_more(row: dict[str, str], known: Known) -> None:
    assert not judge(row["sql"].encode(), known).forwarded


def test_readers_do_not_contradict_what_is_forwarded_among_seeded_texts() -> None:
    forwarded = 0
    for text in itertools.islice(texts(20_261), 300):
        try:
            judged = judge(text)
        except DOCUMENTED:
            continue
        if judged.forwarded:
            forwarded += 1
            assert contradictions(text, judged) == []
    assert forwarded > 30


_BLIND = Judged(
    forwarded=True, parts=((0, 1, "SelectStmt"),), controls_transactions=False, plans_a_write=False, reason=""
)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1; DELETE FROM t", "DELETE FROM t", "SELECT 1 INTO x", "EXPLAIN (ANALYZE) DELETE FROM t",
        "COPY t FROM STDIN", "WITH d AS (DELETE FROM t RETURNING 1) SELECT 1", "SELECT * FROM t FOR UPDATE", "NOTIFY a",
        "SET work_mem = 1",
    ],
)  # fmt: skip
def test_a_judge_that_forwards_a_write_would_be_contradicted(text: str) -> None:
    told = judge(text.encode())
    forged = Judged(True, told.parts if text.startswith("SET") else told.parts[:1], False, False, "")
    assert contradictions(text.encode(), forged) or text.startswith(("SET", "COPY"))


@pytest.mark.parametrize(
    ("text", "did"),
    [
        ("DELETE FROM t", "ran DELETE"),
        ("WITH d AS (DELETE FROM t RETURNING 1) SELECT count(*) FROM d", "took a transaction id"),
        ("SELECT 1; SELECT 2", "ran 2 commands where the judge saw 1"),
        ("SELECT * FROM t FOR UPDATE", "took RowShareLock on t"),
        ("SELECT 1/(a - 1) FROM (SELECT a, w_plain() FROM t ORDER BY a DESC) x", "took a transaction id"),
        ("SELECT w_plain() UNION ALL SELECT 1/a - 1/(a - 1) FROM t WHERE a = 1", "took a transaction id"),
        ("EXPLAIN ANALYZE INSERT INTO t VALUES (9)", "took a transaction id"),
        ("LOCK t IN SHARE MODE", "took ShareLock on t"),
        ("SELECT nextval('s')", "moved a sequence"),
        ("SELECT setval('s', 77), 1/(a - 1) FROM t", "moved a sequence"),
        ("SELECT pg_notify('a', 'b')", "cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY"),
        ("SELECT 1 AS a INTO TEMP x", "cannot PREPARE a transaction that has operated on temporary objects"),
        ("SELECT pg_advisory_lock(1)", "left an advisory lock"),
        ("SELECT pg_advisory_xact_lock(1)", "took ExclusiveLock on advisory"),
        ("SELECT pg_advisory_lock(1), 1/(a - 1) FROM generate_series(2, 1, -1) a", "left an advisory lock"),
        ("SELECT set_config('zero_damaged_pages', 'on', true)", "changed the setting zero_damaged_pages"),
        ("SET zero_damaged_pages = on", "changed the setting zero_damaged_pages"),
        ("SET ROLE pg_monitor", "acts as pg_monitor as postgres"),
        ("SELECT lo_creat(-1)", "took a transaction id"),
        ("DECLARE c CURSOR FOR SELECT 1", "left a cursor or a prepared statement"),
        ("PREPARE p AS SELECT 1", "left a cursor or a prepared statement"),
        ("COPY t FROM STDIN", "asked the client for COPY data"),
        ("VACUUM t", "would run outside a block only: VACUUM cannot run inside a transaction block"),
        ("SELECT 1; COMMIT", "ended the transaction"),
        ("WITH x AS (INSERT INTO t VALUES (9, $1) RETURNING 1) SELECT 1", "took a transaction id"),
        ("INSERT INTO t VALUES (NULL)", "would be refused in a read-only block"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "ended the session"),
    ],
)
def test_the_server_tells_what_a_text_did(text: str, did: str, server: Server) -> None:
    assert did in server.effects(text.encode(), _BLIND).did
    assert server.effects(b"SELECT a FROM t", _BLIND) == Effects(), "and the next one starts clean"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1/(a - 1) FROM t",
        "SELECT a FROM t",
        "SELECT $1, $2",
        "SET work_mem = '1MB'",
        "COPY t TO STDOUT",
        "SHOW work_mem",
        "nonsense",
        "",
    ],
)
def test_the_server_finds_nothing_in_a_read(text: str, server: Server) -> None:
    assert server.effects(text.encode(), _BLIND).did == frozenset()


@pytest.mark.parametrize(
    ("text", "via"),
    [
        ("TABLE vw", "view"), ("SELECT 1 === 'x'::text", "operator"), ("SELECT a::wt FROM t", "cast"),
        ("SELECT 1::wd", "domain"), ("SELECT w FROM tw ORDER BY 1", "operator class"), ("EXPLAIN TABLE vp", "planning"),
        ("SELECT max(u) FROM users u", "aggregate"), ("SELECT t.w_attr FROM t", "attribute"),
        ("SELECT \"json_scalar\"(1)", "keyword"), ("SELECT w_plain()", "function"), ("CALL w_procedure()", "procedure"),
    ],
)  # fmt: skip
def test_every_disguise_of_the_scratch_database_tells_its_name(text: str, via: str, server: Server) -> None:
    found = server.effects(text.encode(), _BLIND)
    assert via in found.via
    assert "took a transaction id" in found.did


def test_a_known_hole_beside_a_new_one_is_news() -> None:
    assert why_open("took RowExclusiveLock on trace; took a transaction id", ["no such disguise"]) == ""
    assert why_open("ran DELETE; took a transaction id", [row["via"] for row in FOUND if row["via"]][:1]) == ""


@pytest.mark.long
def test_what_the_corpus_says_of_a_text_is_what_servers_do() -> None:
    with started_servers() as servers:
        for name, dsn in servers.items():
            session = Server(name, dsn, timeout_ms=20_000)
            for row in FOUND:
                if row["server"] in ("", name):
                    done = session.effects(row["sql"].encode(), _BLIND)
                    assert done.did >= set(row["did"].split("; ")), (name, row["sql"])
                    assert done.via == {row["via"]} - {""}, (name, row["sql"])
            session.close()


@pytest.mark.long
def test_a_text_that_ends_the_process_is_a_finding_and_the_run_goes_on() -> None:
    def end_the_first_worker() -> None:
        while not (workers := multiprocessing.active_children()):
            time.sleep(0.01)
        workers[0].kill()

    killer = threading.Thread(target=end_the_first_worker)
    killer.start()
    report = fuzz(8, 5)
    killer.join()
    assert [finding.kind for finding in report.findings] == ["crash"]
    assert report.figures["texts"] > 100


@pytest.mark.long
def test_a_fuzz_finds_nothing_that_forwards_a_write(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = float(os.environ.get("PGNOTARY_FUZZ_S", "60"))
    seed = int(os.environ["PGNOTARY_FUZZ_SEED"]) if "PGNOTARY_FUZZ_SEED" in os.environ else None
    with started_servers() as servers:
        report = fuzz(seconds, seed, servers=servers)
    pure = fuzz(min(seconds / 4, 60), report.seed)
    with capsys.disabled():
        print()
        for line in (*report.lines(), "without a server:", *pure.lines()):
            print(line)
    assert report.findings + pure.findings == []
    assert report.figures["asked"] > 5 * seconds

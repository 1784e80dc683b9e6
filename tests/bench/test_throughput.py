"""The benchmark of throughput still runs, and makes up no figure."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.processor import Meter, processor_s, tree
from bench.readings import Reading, added_us, percentile, reading, spread, window
from bench.tap import first_sqlstate
from bench.throughput import main, table
from bench.ways import DIRECT, NOTARY, POOLER, SUMMARY, Way
from bench.workloads import Programs, Transaction, Workload, programs, read_log, rehearse, run
from tests.flow.served import PASSWORD, Served

from pgnotary.demo.postgres import EmbeddedPostgres


@pytest.fixture
def tools(postgres: EmbeddedPostgres) -> Programs:
    found = programs(postgres.bin_dir)
    if found is None:
        pytest.skip("not run: pgbench is not at hand")
    return found


@pytest.fixture(scope="module")
def way(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    with Served(postgres, tmp_path_factory.mktemp("proxy") / "pgnotary", hold_s=1) as served:
        assert served.process is not None
        yield Way(NOTARY, "127.0.0.1", served.port, "eva", PASSWORD, served.process.pid)


def test_each_way_that_is_there_has_figures(tools: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    main("--seconds 1 --repeat 1 --clients 1 --scale 1 --only select-prepared".split())
    said = capsys.readouterr().out
    assert "select-prepared: pgbench -S, prepared, default, 1 client\n" in said
    lines = [line.strip() for line in said.splitlines() if line.startswith("  ") and line.strip()]
    rows = {line.split("  ")[0]: line for line in lines}
    for name, figures in ((DIRECT, 1), (NOTARY, 4), (SUMMARY, 4)):
        assert rows[name].count("..") >= figures, said
    for name in (POOLER, "haproxy"):
        there = shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin") is not None
        assert (".." in rows[name]) is there, said


def test_what_the_proxy_refuses_is_named_by_its_sqlstate(tools: Programs, way: Way, tmp_path: Path) -> None:
    for protocol in ("simple", "extended"):
        pinned = Workload("pinned", "", protocol, script="SET client_encoding = 'LATIN1';\n")
        assert rehearse(tools, pinned, way, tmp_path).failed == "refused: 0A000"
    held = Workload("held", "", script="CREATE TABLE t (a int);\n")
    assert rehearse(tools, held, way, tmp_path).failed == "refused: 57014"


def test_copies_are_measured_one_by_one(tools: Programs, way: Way, tmp_path: Path) -> None:
    copying = Workload("copying", "", copy="\\copy (SELECT 1) TO '/dev/null'")
    with Meter(way.pid) as meter:
        transactions = run(tools, copying, way, 1, 1, tmp_path)
    assert len(transactions) > 1
    assert all(each.took_us > 0 for each in transactions)
    assert reading(transactions, meter, 1).processor_us > 0
    with pytest.raises(RuntimeError, match="nowhere"):
        run(tools, Workload("x", "", copy="\\copy nowhere TO '/dev/null'"), way, 1, 1, tmp_path)


def test_a_programs_time_is_that_of_all_its_processes(way: Way) -> None:
    assert way.pid is not None
    assert len(tree(way.pid)) > 1
    assert processor_s(way.pid) > 0


def test_a_line_of_the_log_is_a_transaction() -> None:
    (found,) = read_log(["3 17 1250 0 1700000000 250000"])
    assert found == Transaction(3, 1_700_000_000.25, 1250)


def test_only_what_all_clients_do_at_once_is_measured() -> None:
    ended = {0: (10.0, 11.0, 14.0), 1: (10.5, 11.0, 13.0)}
    start, end = window([Transaction(client, at, 1) for client, times in ended.items() for at in times])
    assert 10.5 < start < 11.0
    assert end == 13.0


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(1, 201)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [100, 198, 200]
    assert percentile([7.0], 0.5) == 7.0


def test_ways_are_compared_within_a_round() -> None:
    direct, found = ([Reading(1, 0, p50, 9) for p50 in row] for row in ((10, 100), (15, 107)))
    assert added_us(found, direct, lambda each: each.p50_us) == [5, 7]
    assert spread([5, 7, 1_000]) == "7 (5..1,000)"


def test_a_way_without_figures_says_why_and_what_needs_them_is_left_out() -> None:
    one = [Reading(100, 20, 10, 20)]
    rows = table({DIRECT: one, NOTARY: one, POOLER: "not run: x"})
    assert rows[-1].split() == [POOLER, "not", "run:", "x"]
    assert rows[2].count("..") == 4
    rows = table({DIRECT: "failed: y", NOTARY: "refused: 0A000", POOLER: one})
    assert rows[2].split() == [NOTARY, "refused:", "0A000"]
    assert rows[3].count("..") == 2


def test_the_first_error_of_a_server_is_found_among_its_messages() -> None:
    fields = b"SERROR\0VERROR\0C0A000\0Mnot carried: C12345\0\0"
    error = b"E" + (len(fields) + 4).to_bytes(4, "big") + fields
    other = error.replace(b"0A000", b"42501")
    row = b"D\0\0\0\x0bE\0\0\0\x04C\0"
    assert first_sqlstate(row + error + other) == "0A000"
    assert first_sqlstate(row) == ""
    assert first_sqlstate(row + b"E\0") == ""

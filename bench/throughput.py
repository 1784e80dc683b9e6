"""What the proxy costs for each transaction, beside no proxy and beside other proxies in the same run.

    python -m bench.throughput [--seconds N] [--clients N,N] [--repeat N] [--scale N] [--only WORKLOAD]...

Run it from the root of the repository, on an idle machine. Each round runs direct, pgnotary, pgnotary with the same
rules and record = "summary", pgbouncer, haproxy one after the other, and then the next round; a figure is the median of
the rounds (least..most), and what is compared was measured in the same round. Processor time is user and system time of
all processes of the proxy, in microseconds for each transaction; latency is pgbench's own, of each transaction. What a
way does not carry has no figures but the SQLSTATE that the client got. Nothing is encrypted.
"""

import argparse
import math
import os
import platform
import subprocess
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import psycopg
from bench.processor import Meter
from bench.readings import Reading, added_us, reading, spread
from bench.ways import DIRECT, ORDER, POOLER, Way, open_ways
from bench.workloads import WORKLOADS, Programs, Rehearsal, Workload, prepare, programs, rehearse, run
from tests.flow.bouncer import PGBOUNCER

from pgnotary.demo.postgres import EmbeddedPostgres

_WIDTH = 30
_NAMES = max(map(len, ORDER)) + 2
_HEAD = " " * (_NAMES + 2) + "".join(
    f"{title:>{_WIDTH}}"
    for title in ("transactions/s", "processor us", "added p50 us", "added p99 us", "processor x pgbouncer")
)

Ways = dict[str, Way | str]


def measure(
    tools: Programs,
    postgres: EmbeddedPostgres,
    workload: Workload,
    ways: Ways,
    clients: int,
    file: Path,
    *,
    seconds: int,
    repeat: int,
) -> dict[str, list[Reading] | str]:
    """Return each way's readings, or why it has none."""
    reasons = {name: way for name, way in ways.items() if isinstance(way, str)}
    able = {name: way for name, way in ways.items() if isinstance(way, Way)}
    rehearsals = {name: rehearse(tools, workload, way, file) for name, way in able.items()}
    reasons |= {name: rehearsal.failed for name, rehearsal in rehearsals.items() if rehearsal.failed}
    readings: defaultdict[str, list[Reading]] = defaultdict(list)
    for _ in range(repeat):
        for name in [name for name in ORDER if name in able and name not in reasons]:
            _empty(postgres)
            try:
                with Meter(able[name].pid) as meter:
                    transactions = run(
                        tools, workload, able[name], clients, seconds + _logins_s(rehearsals[name], clients), file
                    )
                readings[name].append(reading(transactions, meter, seconds))
            except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
                reasons[name] = f"failed: {error}"
    return {name: reasons.get(name) or readings[name] for name in ORDER}


def table(found: dict[str, list[Reading] | str]) -> list[str]:
    """Return a line for each way; what has no reading in every round is not compared."""
    lines = [_HEAD]
    direct, pooler = found[DIRECT], found[POOLER]
    for name, readings in found.items():
        if isinstance(readings, str):
            lines.append(f"  {name:{_NAMES}}{readings}")
            continue
        line = f"  {name:{_NAMES}}{spread([each.per_s for each in readings]):>{_WIDTH}}"
        if name != DIRECT:
            line += f"{spread([each.processor_us for each in readings], 1):>{_WIDTH}}"
            if not isinstance(direct, str):
                line += f"{spread(added_us(readings, direct, lambda each: each.p50_us)):>{_WIDTH}}"
                line += f"{spread(added_us(readings, direct, lambda each: each.p99_us)):>{_WIDTH}}"
        if name not in (DIRECT, POOLER) and not isinstance(pooler, str):
            line += f"{_ratio(readings, pooler):>{_WIDTH}}"
        lines.append(line)
    return lines


def _ratio(readings: list[Reading], pooler: list[Reading]) -> str:
    # Its clock has ticks of 10 ms: a short run of few transactions may cost it none.
    if not all(each.processor_us for each in pooler):
        return "not measurable"
    return spread([one.processor_us / other.processor_us for one, other in zip(readings, pooler, strict=True)], 2)


def _logins_s(rehearsal: Rehearsal, clients: int) -> int:
    """Return how much longer a run must be, since pgbench's clock runs while its clients log in."""
    return math.ceil(rehearsal.took_s * clients)


def _empty(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("TRUNCATE copied")


def _about(tools: Programs, postgres: EmbeddedPostgres) -> str:
    versions = [
        subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
        for program in (postgres.bin_dir / "postgres", tools.pgbench, PGBOUNCER)
        if program is not None
    ]
    return f"{'; '.join(versions)}; Python {platform.python_version()}; {os.cpu_count()} processors"


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.throughput", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("--seconds", type=int, default=5, help="of each run")
    parser.add_argument("--clients", type=_numbers, default=[1, 8], metavar="N,N", help="COPY always has one")
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    parser.add_argument("--scale", type=int, default=8, help="pgbench's: so many branches, 100,000 accounts each")
    parser.add_argument("--only", action="append", choices=names, metavar="WORKLOAD", help=", ".join(names))
    asked = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgnotary-bench-")))
        postgres = stack.enter_context(EmbeddedPostgres())
        tools = programs(postgres.bin_dir)
        if tools is None:
            raise SystemExit(f"not run: no pgbench in {postgres.bin_dir} or on the PATH")
        print(_about(tools, postgres))
        file = prepare(tools, postgres, asked.scale, folder)
        opened: dict[str, Ways] = {}
        for workload in WORKLOADS:
            if asked.only and workload.name not in asked.only:
                continue
            if workload.profile not in opened:
                opened[workload.profile] = open_ways(stack, postgres, workload.profile, folder)
            for clients in [1] if workload.copy else asked.clients:
                people = f"{clients} client{'s' if clients > 1 else ''}"
                print(f"\n{workload.name}: {workload.what}, {workload.protocol}, {workload.profile}, {people}")
                found = measure(
                    tools,
                    postgres,
                    workload,
                    opened[workload.profile],
                    clients,
                    file,
                    seconds=asked.seconds,
                    repeat=asked.repeat,
                )
                print("\n".join(table(found)), flush=True)


if __name__ == "__main__":
    main()

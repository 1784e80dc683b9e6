"""What the ways are compared with: pgbench's own scripts and a few of ours, and COPY, which pgbench cannot do.

`rehearse` runs one transaction, and says with which SQLSTATE it failed if the way does not carry it. `run` makes a way
carry a workload for some seconds, and returns when each of its transactions ended and how long it took. Connecting is
no part of what is measured: pgbench logs transactions only.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from bench.tap import Tap
from bench.ways import Way

from pgnotary.demo.postgres import EmbeddedPostgres

__all__ = [
    "WORKLOADS",
    "Programs",
    "Rehearsal",
    "Transaction",
    "Workload",
    "prepare",
    "programs",
    "read_log",
    "rehearse",
    "run",
]

_PATIENCE_S = 60.0
_BLOCK = """\
\\set aid random(1, 100000 * :scale)
BEGIN;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
END;
"""
_MEGABYTE = "SELECT * FROM large LIMIT 10000;\n"
# Its rows are those of pgbench_accounts, 97 bytes each as text.
SCHEMA = """
CREATE UNLOGGED TABLE large AS SELECT * FROM pgbench_accounts WHERE aid <= {rows};
CREATE UNLOGGED TABLE copied (LIKE large);
"""


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of transaction: a `builtin` of pgbench's, or a `script` for it, or a `copy` for psql."""

    name: str
    what: str
    protocol: str = "simple"
    profile: str = "default"
    builtin: str = ""
    script: str = ""
    copy: str = ""
    """Where the data are, FILE stands."""


WORKLOADS = (
    Workload("select-simple", "pgbench -S", builtin="select-only"),
    Workload("select-extended", "pgbench -S", "extended", builtin="select-only"),
    Workload("select-prepared", "pgbench -S", "prepared", builtin="select-only"),
    Workload("block-simple", "BEGIN; SELECT; END", script=_BLOCK),
    Workload("block-prepared", "BEGIN; SELECT; END", "prepared", script=_BLOCK),
    Workload("tpcb-simple", "pgbench's TPC-B", profile="forward-all", builtin="tpcb-like"),
    Workload("tpcb-prepared", "pgbench's TPC-B", "prepared", profile="forward-all", builtin="tpcb-like"),
    Workload("result-1mb", "10,000 rows of 97 bytes", script=_MEGABYTE),
    Workload("copy-out", "COPY TO STDOUT", copy="\\copy large TO '/dev/null'"),
    Workload("copy-in", "COPY FROM STDIN", profile="forward-all", copy="\\copy copied FROM 'FILE'"),
)


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the two clients are."""

    pgbench: Path
    psql: Path


@dataclass(frozen=True, slots=True)
class Transaction:
    """When one ended, in seconds since the epoch, and what it took; `client` numbers who ran it."""

    client: int
    ended: float
    took_us: int


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How one transaction of one client went, logging in included."""

    failed: str
    """Why, for people; empty if it did not."""
    took_s: float


def programs(bin_dir: Path) -> Programs | None:
    """Return pgbench and psql: the server's own, or else those on the PATH; None if there is no pgbench."""
    found = []
    for name in ("pgbench", "psql"):
        own = bin_dir / name
        path = str(own) if os.access(own, os.X_OK) else shutil.which(name)
        if path is None:
            return None
        found.append(Path(path))
    return Programs(*found)


def prepare(tools: Programs, postgres: EmbeddedPostgres, scale: int, folder: Path) -> Path:
    """Fill the database `postgres`, and return a file of what COPY takes; a scale of 1 is 100,000 rows."""
    way = Way("", postgres.host, postgres.port, postgres.superuser, postgres.password)
    _checked([tools.pgbench, "-i", "-q", "-s", str(scale), *_where(way)], way)
    file = folder / "large"
    schema = SCHEMA.format(rows=100_000)
    commands = ["-c", schema, "-c", f"\\copy large TO '{file}'", "-c", "VACUUM ANALYZE"]
    _checked([tools.psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", *commands, *_where(way)], way)
    return file


def rehearse(tools: Programs, workload: Workload, way: Way, file: Path) -> Rehearsal:
    """Run one transaction by one client."""
    started = time.monotonic()
    with Tap(way.host, way.port) as tap:
        tapped = Way(way.name, "127.0.0.1", tap.port, way.user, way.password)
        with _command(tools, workload, tapped, ["-c", "1", "-t", "1"]) as command:
            done = subprocess.run(
                command,
                env=_environment(way),
                input=workload.copy.replace("FILE", str(file)),
                capture_output=True,
                text=True,
                timeout=_PATIENCE_S,
                check=False,
            )
    failed = ""
    if done.returncode:
        failed = f"refused: {tap.sqlstate}" if tap.sqlstate else f"failed: {_last_line(done.stderr)}"
    return Rehearsal(failed, time.monotonic() - started)


def run(tools: Programs, workload: Workload, way: Way, clients: int, seconds: int, file: Path) -> list[Transaction]:
    """Return all transactions of that many seconds; raises RuntimeError with what the client said if it failed."""
    if workload.copy:
        return list(_copies(tools, workload, way, seconds, file))
    with tempfile.TemporaryDirectory(prefix="pgnotary-bench-") as logs:
        options = ["-c", str(clients), "-j", "1", "-T", str(seconds), "--log", f"--log-prefix={logs}/log"]
        with _command(tools, workload, way, options) as command:
            done = subprocess.run(
                command,
                env=_environment(way),
                capture_output=True,
                text=True,
                timeout=seconds + _PATIENCE_S,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(_last_line(done.stderr))
        return [each for log in Path(logs).iterdir() for each in read_log(log.read_text().splitlines())]


def read_log(lines: Iterable[str]) -> Iterator[Transaction]:
    """Yield what pgbench --log wrote: client_id transaction_no time script_no time_epoch time_us, times in us."""
    for line in lines:
        client, _, took, _, epoch, microseconds, *_ = line.split()
        yield Transaction(int(client), int(epoch) + int(microseconds) / 1e6, int(took))


def _copies(tools: Programs, workload: Workload, way: Way, seconds: int, file: Path) -> Iterator[Transaction]:
    """Let one psql copy again and again; it says how long each took."""
    words = f"{workload.copy.replace('FILE', str(file))}\n\\echo copied\n"
    pipe = subprocess.PIPE
    with (
        _command(tools, workload, way, []) as command,
        subprocess.Popen(
            command, env=_environment(way), stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True
        ) as psql,
    ):
        assert psql.stdin is not None
        assert psql.stdout is not None
        psql.stdin.write("\\timing on\n")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            psql.stdin.write(words)
            psql.stdin.flush()
            # To its end if psql is gone, as it is after an error.
            said = list(takewhile("copied\n".__ne__, psql.stdout))
            took_us = [float(line.split()[1]) * 1_000 for line in said if line.startswith("Time: ")]
            if psql.poll() is not None or len(said) != 1 or not took_us:
                raise RuntimeError(said[0].strip() if said else "psql is gone")
            yield Transaction(0, time.time(), int(took_us[0]))
        psql.stdin.close()


@contextmanager
def _command(tools: Programs, workload: Workload, way: Way, options: list[str]) -> Iterator[list[str | Path]]:
    if workload.copy:
        yield [tools.psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", *_where(way)]
        return
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(workload.script)
        script.flush()
        kind = ["-b", workload.builtin] if workload.builtin else ["-f", script.name]
        yield [tools.pgbench, "-n", "-M", workload.protocol, *kind, *options, *_where(way)]


def _where(way: Way) -> list[str]:
    return ["-h", way.host, "-p", str(way.port), "-U", way.user, "postgres"]


def _environment(way: Way) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    # Of the same bytes on each way: nobody is asked for encryption that one of them might have.
    plain = {"PGSSLMODE": "disable", "PGGSSENCMODE": "disable", "PGCLIENTENCODING": "UTF8"}
    return environment | plain | {"PGPASSWORD": way.password}


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or ["it said nothing"])[-1]


def _checked(command: list[str | Path], way: Way) -> None:
    subprocess.run(command, env=_environment(way), check=True, capture_output=True, text=True)

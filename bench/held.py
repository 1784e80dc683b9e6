"""What many held statements cost: memory of the proxy for each, and what an unrelated statement waits meanwhile.

    python -m bench.held [--connections N] [--seconds N]

Run it from the root of the repository, on an idle machine. First in plain text, then over TLS, each of N connections
sends one DELETE under the profile `default` and waits for an approval that does not come. Memory is the resident memory
of `pgnotary serve` itself, not of its workers: after minus before, divided. It is given for a connection that is logged
in and idle, and for what the hold adds to it. Python's own client waits in this process, not in the proxy.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import psycopg
import uvloop
from bench.logins import Connection, Logins
from bench.processor import resident_bytes
from bench.readings import percentile
from tests.flow.served import Served
from tests.pki import Pki

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import ApiError

_SCHEMA = """
CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL);
INSERT INTO orders SELECT i, 'open' FROM generate_series(1, 1000) i;
ANALYZE orders;
"""
_HELD = "DELETE FROM orders WHERE id = {}"
# All requests are listed each time, which is work for the proxy, too.
_POLL_S = 0.2
_PATIENCE_S = 600.0
# Beside our connections: the probe, the server's own, and one to look at the ledger of requests.
_SPARE = 20


async def _opened(stack: AsyncExitStack, served: Served, count: int) -> list[Connection]:
    """Return as many connections as the proxy allows; says so if they are fewer."""
    logins, refusals = Logins(stack, served), list[str]()

    async def one() -> Connection | None:
        try:
            return await logins.one()
        except psycopg.Error as error:
            refusals.append(str(error).strip().splitlines()[0])
            return None

    found = await asyncio.gather(*(one() for _ in range(count)))
    if refusals:
        print(f"refused at the login: {len(refusals)} of {count}, the first with: {refusals[0]}")
    return [connection for connection in found if connection is not None]


async def _held(connection: Connection, text: str) -> None:
    """Send it and wait until the connection is cut."""
    with contextlib.suppress(psycopg.OperationalError):
        await connection.execute(text.encode())
        raise RuntimeError(f"it has run: {text}")


def _cut(connection: Connection) -> None:
    """Leave as who loses the network does: without a word, and without a CancelRequest."""
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as plug:
        plug.shutdown(socket.SHUT_RDWR)


async def _until(served: Served, found: Callable[[int], bool], waiting: Sequence[asyncio.Task[None]] = ()) -> None:
    """Return when so many requests are open; raises RuntimeError if one of those who wait has its answer before."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        # A burst may keep the proxy from answering in time: that is seen in the latencies.
        with contextlib.suppress(ApiError):
            if found(len(await asyncio.to_thread(served.api.requests))):
                return
        if any(task.done() for task in waiting) or time.monotonic() > deadline:
            raise RuntimeError(f"not held as long as expected; the proxy said: {served.log[-500:]}")
        await asyncio.sleep(_POLL_S)


async def _meanwhile(probe: Connection, work: Awaitable[None]) -> list[float]:
    """Return what SELECT 1 takes again and again until that is done, in milliseconds, sorted."""
    found = []
    done = asyncio.ensure_future(work)  # noqa: TID251 (awaited below)
    while not done.done():
        started = time.perf_counter()
        await probe.execute("SELECT 1")
        found.append((time.perf_counter() - started) * 1e3)
    await done
    return sorted(found)


def _row(name: str, found: Sequence[float]) -> None:
    print(f"  {name:34}{percentile(found, 0.5):10.2f}{percentile(found, 0.99):10.2f}{found[-1]:10.2f}{len(found):10,}")


def _with_tls(served: Served, folder: Path) -> Served:
    files = Pki(folder).issue("localhost")
    table = f'\n[listen.tls]\ncertificate_file = "{files.certificate}"\nkey_file = "{files.key}"\nrequired = true\n'
    served.config.write_text(served.config.read_text() + table)
    return served


async def _measure(served: Served, count: int, seconds: float, way: str) -> None:
    assert served.process is not None
    pid = served.process.pid
    async with AsyncExitStack() as stack:
        (probe,) = await _opened(stack, served, 1)
        await _meanwhile(probe, asyncio.sleep(min(seconds, 1.0)))
        rows = {"nobody else is connected": await _meanwhile(probe, asyncio.sleep(seconds))}
        empty = resident_bytes(pid)
        started = time.monotonic()
        connections = await _opened(stack, served, count)
        logged_in = time.monotonic() - started
        idle = resident_bytes(pid)
        rows["as many connections are idle"] = await _meanwhile(probe, asyncio.sleep(seconds))
        async with asyncio.TaskGroup() as tasks:
            started = time.monotonic()
            waiting = [
                tasks.create_task(_held(connection, _HELD.format(n % 1_000)))
                for n, connection in enumerate(connections)
            ]
            all_held = _until(served, lambda open_: open_ == len(waiting), waiting)
            rows["all send what is held, at once"] = await _meanwhile(probe, all_held)
            held = time.monotonic() - started
            full = resident_bytes(pid)
            rows["one statement is held in each"] = await _meanwhile(probe, asyncio.sleep(seconds))
            started = time.monotonic()
            for connection in connections:
                _cut(connection)
        rows["all are cut off at once"] = await _meanwhile(probe, _until(served, lambda open_: open_ == 0))
        gone = time.monotonic() - started
    number = len(connections)
    print(f"\n{number} connections {way}: logged in within {logged_in:.1f} s, ", end="")
    print(f"all held within {held:.1f} s, all withdrawn within {gone:.1f} s")
    print(f"  {'resident memory before':34}{empty / 1024:10,.0f} KiB")
    print(f"  {'for each idle connection':34}{(idle - empty) / number / 1024:10,.1f} KiB")
    print(f"  {'for what is held in it':34}{(full - idle) / number / 1024:10,.1f} KiB")
    print(f"  {'together':34}{(full - empty) / number / 1024:10,.1f} KiB")
    print(f"\n  {'an unrelated SELECT 1, ms, while':34}{'p50':>10}{'p99':>10}{'most':>10}{'times':>10}")
    for name, found in rows.items():
        _row(name, found)


def _most_connections() -> int:
    """Return how many this process and the proxy, which holds two sockets for each, may have."""
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100) // 2


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.held", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=999, help="the proxy takes 1000, and one is the probe's")
    parser.add_argument("--seconds", type=float, default=5, help="of each row of SELECT 1")
    asked = parser.parse_args(arguments)
    count = min(asked.connections, _most_connections())
    if count < asked.connections:
        print(f"{count} instead of {asked.connections} connections: ulimit -n allows no more")
    settings = {"max_connections": str(count + _SPARE), "jit": "off"}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgnotary-bench-")))
        postgres = stack.enter_context(EmbeddedPostgres(settings=settings))
        with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
            connection.execute(_SCHEMA.encode())
        limits = {"hold_s": 3_600, "max_held": count, "max_held_per_person": count}
        with Served(postgres, folder / "plain", upstream="", **limits) as served:
            uvloop.run(_measure(served, count, asked.seconds, "without TLS"))
        with _with_tls(Served(postgres, folder / "tls", upstream="", **limits), folder / "pki") as served:
            uvloop.run(_measure(served, count, asked.seconds, "over TLS"))


if __name__ == "__main__":
    main()

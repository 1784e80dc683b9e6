"""What many held statements cost: memory of the proxy for each, and what an unrelated statement waits meanwhile.

    python -m bench.held [--connections N] [--seconds N]

Run it from the root of the repository, on an idle machine. Each of N connections sends one DELETE under the profile
`default` and waits for an approval that does not come. Memory is the resident memory of `pgnotary serve` itself, not
of its workers: after minus before, divided. It is given for a connection that is logged in and idle, and for what the
hold adds to it. Python's own client waits in this process, not in the proxy.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import psycopg
import uvloop
from bench.processor import resident_bytes
from bench.readings import percentile
from tests.flow.served import PASSWORD, Served

from pgnotary.demo.postgres import EmbeddedPostgres

_SCHEMA = """
CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL);
INSERT INTO orders SELECT i, 'open' FROM generate_series(1, 1000) i;
ANALYZE orders;
"""
_HELD = "DELETE FROM orders WHERE id = {}"
_SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
# Logins wait for each other's cryptography: more at once only run into the deadline.
_LOGINS_AT_ONCE = 8
_POLL_S = 0.1
_PATIENCE_S = 600.0
# Beside our connections: the probe, the server's own, and one to look at the ledger of requests.
_SPARE = 20

Connection = psycopg.AsyncConnection[tuple[object, ...]]


async def _opened(stack: AsyncExitStack, served: Served, count: int) -> list[Connection]:
    """Return as many connections as the proxy allows; says so if they are fewer."""
    gate = asyncio.Semaphore(_LOGINS_AT_ONCE)
    refusals: list[str] = []

    async def one() -> Connection | None:
        async with gate:
            try:
                connection = await psycopg.AsyncConnection.connect(
                    host="127.0.0.1",
                    port=served.port,
                    user="eva",
                    password=PASSWORD,
                    dbname="postgres",
                    autocommit=True,
                    cursor_factory=psycopg.AsyncClientCursor,
                    connect_timeout=60,
                )
            except psycopg.Error as error:
                refusals.append(str(error).strip().splitlines()[0])
                return None
        stack.push_async_callback(connection.close)
        return connection

    found = await asyncio.gather(*(one() for _ in range(count)))
    if refusals:
        print(f"refused at the login: {len(refusals)} of {count}, the first with: {refusals[0]}")
    return [connection for connection in found if connection is not None]


async def _latencies(probe: Connection, seconds: float) -> list[float]:
    """Return what SELECT 1 takes again and again, in milliseconds, sorted."""
    found = []
    deadline = time.perf_counter() + seconds
    while (started := time.perf_counter()) < deadline:
        await probe.execute("SELECT 1")
        found.append((time.perf_counter() - started) * 1e3)
    return sorted(found)


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
    while not found(len(await asyncio.to_thread(served.api.requests))):
        if any(task.done() for task in waiting) or time.monotonic() > deadline:
            raise RuntimeError(f"not held as long as expected; the proxy said: {served.log[-500:]}")
        await asyncio.sleep(_POLL_S)


def _row(name: str, found: Sequence[float]) -> None:
    print(f"  {name:34}{percentile(found, 0.5):10.2f}{percentile(found, 0.99):10.2f}{found[-1]:10.2f}{len(found):10,}")


def _answers_tls(served: Served) -> bool:
    with socket.create_connection(("127.0.0.1", served.port)) as plug:
        plug.sendall(_SSL_REQUEST)
        return plug.recv(1) == b"S"


async def _measure(served: Served, count: int, seconds: float) -> None:
    assert served.process is not None
    pid = served.process.pid
    async with AsyncExitStack() as stack:
        (probe,) = await _opened(stack, served, 1)
        await _latencies(probe, min(seconds, 1.0))
        rows = {"nobody else is connected": await _latencies(probe, seconds)}
        empty = resident_bytes(pid)
        started = time.monotonic()
        connections = await _opened(stack, served, count)
        logged_in = time.monotonic() - started
        idle = resident_bytes(pid)
        rows["as many connections are idle"] = await _latencies(probe, seconds)
        started = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            waiting = [
                tasks.create_task(_held(connection, _HELD.format(n % 1_000)))
                for n, connection in enumerate(connections)
            ]
            await _until(served, lambda open_: open_ == len(waiting), waiting)
            held = time.monotonic() - started
            full = resident_bytes(pid)
            rows["one statement is held in each"] = await _latencies(probe, seconds)
            started = time.monotonic()
            for connection in connections:
                _cut(connection)
        await _until(served, lambda open_: open_ == 0)
        gone = time.monotonic() - started
    number = len(connections)
    print(f"\n{number} connections, logged in within {logged_in:.1f} s, all held within {held:.1f} s; without TLS")
    print(f"  cut all at once, and all withdrawn within {gone:.1f} s")
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
        served = stack.enter_context(Served(postgres, folder / "pgnotary", upstream="", **limits))
        uvloop.run(_measure(served, count, asked.seconds))
        print(f"\nwith TLS: {'not measured here yet' if _answers_tls(served) else 'not run: the proxy carries none'}")


if __name__ == "__main__":
    main()

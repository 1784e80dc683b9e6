"""How fast an approval is: from the statement to the approver's screen, and from the signature to PostgreSQL.

    python -m bench.approval [--pending N ...] [--rounds N] [--seconds S]

Run it from the root of the repository, on an idle machine. The proxy, an approver who watches and an approver who
decides are processes of their own; the approvers speak to it over TLS, each call signed, on loopback. While N - 1
requests wait that nobody decides, one DELETE after another is sent, seen, approved and run. Printed are p50 and p99 of

- sent to watched: from the engineer's statement on its way to the proxy until `watch` has its id. In between it is
  read, judged, asked about and previewed, and its request is durable.
- held to watched: the same from the moment in which psql is told that it is held.
- signed to upstream: from the arrival of the last bytes of a signed decision at the proxy until the statement's own
  bytes leave for PostgreSQL. In between the call and the decision are checked, the decision is durable, what was signed
  is compared with what the database has now, and so is the intent.
- decided: the approver's call as a whole, with its TLS handshake.

Then what an unrelated SELECT 1 through the proxy takes alone, and beside a flood: a process that makes calls over TLS
as fast as it can, signed by nobody, or by a key that is not on the roster.
"""

import argparse
import asyncio
import contextlib
import functools
import multiprocessing
import os
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import psycopg
import uvloop
from bench.clocked import Clocked
from bench.logins import Connection, Logins
from bench.readings import percentile
from tests.flow.ports import free_port
from tests.flow.served import Served
from tests.pki import Pki

from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.papers import Paper, read_paper
from pgnotary.approval.place import server_at
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import ApiError
from pgnotary.request.decision import Answer
from pgnotary.request.openssh import private_key_file, read_private_key

_SCHEMA = """
CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL);
INSERT INTO orders SELECT i, 'open' FROM generate_series(1, 10000) i;
ANALYZE orders;
"""
_MARK = b"/* the one that is timed */"
_TIMED = "DELETE FROM orders WHERE id = {} " + _MARK.decode()
_FLOODING = 16
_PATIENCE_S = 120.0
_WANTED_MS = {"held to watched": 100, "signed to upstream": 20}


class _Networked(Served):
    """A proxy whose approval API also listens on a port, with TLS."""

    def __init__(self, postgres: EmbeddedPostgres, folder: Path, upstream: str, most_held: int) -> None:
        super().__init__(
            postgres, folder, upstream=upstream, hold_s=3_600, max_held=most_held, max_held_per_person=most_held
        )
        self.api_port = free_port()
        pki = Pki(folder / "pki")
        self.ca = pki.ca
        shown = pki.issue("localhost")
        with self.config.open("a") as file:
            file.write(
                f'\n[approval]\nroster = "allowed_signers"\naddress = "127.0.0.1:{self.api_port}"\ncalls_per_s = 200\n'
                f'[approval.tls]\ncertificate_file = "{shown.certificate}"\nkey_file = "{shown.key}"\n'
            )


def _client(port: int, vkey: str, ca: Path, key: Path) -> ApprovalClient:
    server = server_at(f"https://localhost:{port}", vkey, ca)
    return ApprovalClient(server, read_private_key(key.read_text()), timeout_s=_PATIENCE_S)


def _watch(told: Pipe, *where: object) -> None:
    """Tell when each id is first seen."""
    seen: set[str] = set()
    for event in _client(*where).events():  # type: ignore[arg-type]
        at = time.monotonic()
        if isinstance(event, list):
            new = [name for name in event if name not in seen]
            seen |= set(new)
            told.send((at, new))


def _decide(asked: Pipe, *where: object) -> None:
    """Hand in each decision that is asked for, and tell how long the call took."""
    client = _client(*where)  # type: ignore[arg-type]
    while True:
        name, document, signature = asked.recv()
        started = time.monotonic()
        client.decide(name, document, signature)
        asked.send(time.monotonic() - started)


def _approver(work: Callable[..., None], served: _Networked, port: int) -> tuple[Pipe, multiprocessing.Process]:
    here, there = multiprocessing.Pipe()
    where = (port, (served.folder / "proxy.vkey").read_text().strip(), served.ca, served.key)
    process = multiprocessing.get_context("spawn").Process(target=work, args=(there, *where), daemon=True)
    process.start()
    return here, process  # type: ignore[return-value]


def _flood(told: Pipe, port: int, vkey: str, ca: Path, _: Path, key: Path | None) -> None:
    """Make calls until the end, and tell every tenth of a second how many were refused."""
    client = ApprovalClient(
        server_at(f"https://localhost:{port}", vkey, ca), read_private_key(key.read_text()) if key else None
    )
    refused = 0

    def call() -> None:
        nonlocal refused
        while True:
            with contextlib.suppress(ApiError):
                client.requests()
                raise RuntimeError("it was let in")
            refused += 1

    for _number in range(_FLOODING):
        threading.Thread(target=call, daemon=True).start()
    while True:
        time.sleep(0.1)
        told.send(refused)


async def _probed(connection: Connection, seconds: float) -> list[float]:
    """Return what SELECT 1 takes, again and again, in milliseconds, sorted."""
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.perf_counter()
        await connection.execute("SELECT 1")
        found.append((time.perf_counter() - started) * 1e3)
    return sorted(found)


async def _beside_floods(served: _Networked, connection: Connection, folder: Path, seconds: float) -> None:
    foreign = folder / "foreign"
    foreign.write_text(private_key_file(bytes(range(32)), "", 1))
    ways: dict[str, Callable[..., None] | None] = {
        "alone": None,
        "calls that nobody signs": functools.partial(_flood, key=None),
        "calls by a foreign key": functools.partial(_flood, key=foreign),
    }
    print(f"\n  {'SELECT 1 beside, ms':34}{'p50':>10}{'p99':>10}{'most':>10}{'refused/s':>10}")
    for name, work in ways.items():
        refused = 0.0
        with ExitStack() as stack:
            if work is not None:
                told, flooding = _approver(work, served, served.api_port)
                stack.callback(flooding.terminate)
                before, since = await _received(told), time.monotonic()
            found = await _probed(connection, seconds)
            if work is not None:
                last = before
                while told.poll():
                    last = told.recv()
                refused = (last - before) / (time.monotonic() - since)
        figures = "".join(f"{each:10.2f}" for each in (percentile(found, 0.5), percentile(found, 0.99), found[-1]))
        print(f"  {name:34}{figures}{refused:10,.0f}")


async def _received(pipe: Pipe) -> Any:
    if not await asyncio.to_thread(pipe.poll, _PATIENCE_S):
        raise RuntimeError("an approver has not answered")
    return pipe.recv()


async def _waits(connection: Connection, text: str) -> None:
    with contextlib.suppress(psycopg.OperationalError):
        await connection.execute(text.encode())


async def _in_time(told: Awaitable[float]) -> float:
    return await asyncio.wait_for(told, _PATIENCE_S)


class _Rounds:
    """One statement after another, from the engineer to PostgreSQL."""

    def __init__(self, served: _Networked, watcher: Pipe, decider: Pipe, api: Clocked, upstream: Clocked) -> None:
        self._served, self._watcher, self._decider = served, watcher, decider
        self._api, self._upstream = api, upstream
        self.took_ms: dict[str, list[float]] = {
            name: [] for name in ("sent to watched", "held to watched", "signed to upstream", "decided")
        }

    async def seen(self, count: int) -> None:
        """Return once the watcher has seen so many ids."""
        while count > 0:
            _, new = await _received(self._watcher)
            count -= len(new)

    async def one(self, connection: Connection, row: int) -> None:
        """Have one statement held, watched, approved and run."""
        told: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        def noticed(_: object) -> None:
            if not told.done():
                told.set_result(time.monotonic())

        connection.add_notice_handler(noticed)
        sent = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(connection.execute(_TIMED.format(row).encode()))
            held = await _in_time(told)
            watched, new = 0.0, list[str]()
            while not new:
                watched, new = await _received(self._watcher)
            connection.remove_notice_handler(noticed)
            paper = await asyncio.to_thread(self._paper, new[0])
            document, signature = await asyncio.to_thread(self._served.signed, paper, Answer.APPROVE, max_rows=1)
            self._decider.send((paper.id, document, signature))
            # Nobody else calls over this wire meanwhile: the newest bytes on it are the last of the decision.
            took_s: float = await _received(self._decider)
            arrived = self._api.last
            await running
        self._keep("sent to watched", watched - sent)
        self._keep("held to watched", watched - held)
        self._keep("signed to upstream", self._upstream.last - arrived)
        self._keep("decided", took_s)

    def _paper(self, name: str) -> Paper:
        body = self._served.api.request(name).paper
        assert body is not None
        return read_paper(body, name)

    def _keep(self, name: str, seconds: float) -> None:
        self.took_ms[name].append(seconds * 1e3)


async def _measure(postgres: EmbeddedPostgres, folder: Path, pending: int, rounds: int, seconds: float) -> None:
    async with AsyncExitStack() as opened:
        upstream = opened.enter_context(Clocked(postgres.host, postgres.port, _MARK))
        where = f"127.0.0.1:{upstream.port}"
        served = _Networked(postgres, folder / "pgnotary", where, pending + 1)
        opened.enter_context(served)
        api = opened.enter_context(Clocked("127.0.0.1", served.api_port))
        watcher, watching = _approver(_watch, served, served.api_port)
        decider, deciding = _approver(_decide, served, api.port)
        opened.callback(watching.terminate)
        opened.callback(deciding.terminate)
        run = _Rounds(served, watcher, decider, api, upstream)
        await _received(watcher)  # Nothing is open yet.
        logins = Logins(opened, served)
        engineer, *others = await asyncio.gather(*(logins.one() for _ in range(pending)))
        async with asyncio.TaskGroup() as tasks:
            for n, connection in enumerate(others):
                tasks.create_task(_waits(connection, f"DELETE FROM orders WHERE id = {5_000 + n}"))
            await run.seen(len(others))
            for row in range(rounds):
                await run.one(engineer, row)
            for connection in others:
                with socket.socket(fileno=os.dup(connection.pgconn.socket)) as plug:
                    plug.shutdown(socket.SHUT_RDWR)
        await _beside_floods(served, engineer, folder, seconds)
    print(f"\n  {f'{pending} pending, {rounds} rounds, ms':34}{'p50':>10}{'p99':>10}{'most':>10}{'wanted':>10}")
    for name, found in run.took_ms.items():
        values, wanted = sorted(found), _WANTED_MS.get(name)
        figures = "".join(f"{each:10.1f}" for each in (percentile(values, 0.5), percentile(values, 0.99), values[-1]))
        print(f"  {name:34}{figures}{wanted or '':>10}")


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.approval", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pending", type=int, nargs="+", default=[1, 500])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5, help="of each row of SELECT 1")
    asked = parser.parse_args(words)
    settings = {"max_connections": str(max(asked.pending) + 20), "jit": "off"}
    for pending in asked.pending:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgnotary-bench-")))
            postgres = stack.enter_context(EmbeddedPostgres(settings=settings))
            with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
                connection.execute(_SCHEMA.encode())
            uvloop.run(_measure(postgres, folder, pending, asked.rounds, asked.seconds))


if __name__ == "__main__":
    main()

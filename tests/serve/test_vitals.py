"""What is counted of a proxy, how it is told, and when it says that it is not ready."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from tests.approval.office import MemoryLedger

from pgnotary.door import Listening
from pgnotary.errors import ConfigError, LedgerUnavailable
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.life import State
from pgnotary.serve.health import Health, reachable
from pgnotary.serve.upstream import UpstreamAddress
from pgnotary.serve.vitals import Vitals
from pgnotary.session.forwarded import ForwardLog
from pgnotary.store.appender import Appender

_HERE = Listening("metrics.address", "127.0.0.1", 0, lambda: None)
_SAMPLE = re.compile(r'pgnotary_[a-z_]+(?:\{[a-z]+="[^"\\\n]*"\})? [0-9.e+-]+')


def _samples(page: str) -> dict[str, float]:
    """Read the text format: every sample belongs to the # TYPE before it."""
    found: dict[str, float] = {}
    name = ""
    for line in page.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
        elif line.startswith("# TYPE "):
            assert line.split()[2] == name
            assert line.split()[3] == ("counter" if name.endswith("_total") else "gauge")
        else:
            assert _SAMPLE.fullmatch(line), line
            series, value = line.rsplit(" ", 1)
            assert series.partition("{")[0] == name
            assert series not in found
            found[series] = float(value)
    assert page.endswith("\n")
    return found


def _by_label(found: dict[str, float], name: str) -> dict[str, float]:
    return {series.split('"')[1]: value for series, value in found.items() if series.startswith(f"{name}{{")}


async def test_everything_is_counted_from_what_is_durable() -> None:
    ledger, vitals = MemoryLedger(), Vitals([("pgnotary_held", "Held.", lambda: 7)])
    log, at = ForwardLog("S-00000001"), datetime.now(UTC)
    for n in range(5):
        log.add(b"SELECT 'a secret'", "select", at, n, ["SELECT 1"])
    log.add(b"DROP TABLE x", "drop", at, 1, [], "42501", refused=True)
    for n in range(3):
        log.sum_up(b"SELECT 1", "select", at, n, ["SELECT 1"])
    vitals.witness([ledger.put(draft) for draft in log.take()])
    vitals.witness([*ledger.hold("R-1"), *ledger.hold("R-2"), *ledger.hold("R-3")])
    vitals.witness([ledger.move("R-1", State.APPROVED), ledger.move("R-2", State.DENIED)])
    vitals.witness([ledger.put(Draft(EntryType.REJECTED, {"why": "x"})), ledger.move("R-3", State.EXPIRED)])
    vitals.witness([ledger.move("R-1", State.COMMITTED)])
    vitals.ledger_turned(LedgerUnavailable("the disk is full"))
    vitals.ledger_turned(None)
    page = vitals.page()
    found = _samples(page)
    assert _by_label(found, "pgnotary_statements_total") == {"forward": 8, "hold": 3, "refuse": 1}
    assert _by_label(found, "pgnotary_decisions_total") == {"approve": 1, "deny": 1, "rejected": 1}
    assert found['pgnotary_requests_ended_total{end="expired"}'] == 1
    assert found['pgnotary_outcomes_total{result="committed"}'] == 1
    assert found["pgnotary_ledger_append_failures_total"] == 1
    assert found["pgnotary_held"] == 7
    assert found["pgnotary_ledger_appends_total"] == len(ledger.raws)
    for secret in ("secret", "orders", "eva", "app_rw", "R-1"):
        assert secret not in page


async def _asked(health: Health, path: str) -> tuple[int, str, str]:
    async with health.listening(_HERE) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(5):
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    return int(head.split()[1]), head, body


def _health(
    down: LedgerUnavailable | None = None,
    well_s: float = 0.0,
    dial: Callable[[], Awaitable[str]] | None = None,
    monotonic: Callable[[], float] = lambda: 0.0,
    *,
    stopping: bool = False,
) -> Health:
    async def fine() -> str:
        return ""

    return Health(
        lambda: "pgnotary_held 0\n", lambda: down, lambda: well_s, dial or fine, lambda: stopping, monotonic=monotonic
    )


async def test_the_pages_answer() -> None:
    assert (await _asked(_health(), "/healthz"))[::2] == (200, "ok\n")
    assert (await _asked(_health(), "/readyz"))[::2] == (200, "ready\n")
    status, head, body = await _asked(_health(), "/metrics")
    assert (status, body) == (200, "pgnotary_held 0\n")
    assert "text/plain; version=0.0.4" in head
    assert (await _asked(_health(), "/v1/requests"))[0] == 404


async def test_it_is_not_ready_while_the_ledger_is_down_or_silent_but_alive() -> None:
    down = _health(LedgerUnavailable("the disk is full"))
    assert (await _asked(down, "/readyz"))[::2] == (503, "the ledger cannot be written: the disk is full\n")
    assert (await _asked(down, "/healthz"))[0] == 200
    assert (await _asked(_health(stopping=True), "/readyz"))[::2] == (503, "pgnotary is stopping\n")
    assert (await _asked(_health(well_s=9), "/readyz"))[::2] == (503, "the ledger has taken nothing for 9 s\n")


async def test_the_server_is_dialled_at_most_every_few_seconds() -> None:
    dialled = 0
    clock = [0.0]

    async def dial() -> str:
        nonlocal dialled
        dialled += 1
        return f"attempt {dialled}"

    health = _health(dial=dial, monotonic=lambda: clock[0])
    assert {await health.why_not_ready() for _ in range(10)} == {"attempt 1"}
    clock[0] += 6
    assert await health.why_not_ready() == "attempt 2"


async def test_a_server_is_reached_where_something_listens() -> None:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await reachable(UpstreamAddress("127.0.0.1", port)) == ""
    assert "not reached" in await reachable(UpstreamAddress("127.0.0.1", port))
    assert "not reached" in await reachable(UpstreamAddress("/nowhere", 5432))


async def test_a_port_that_is_taken_is_said_so() -> None:
    async with _health().listening(_HERE) as (host, port):
        with pytest.raises(ConfigError, match=r"metrics\.address: cannot listen"):
            async with _health().listening(Listening("metrics.address", host, port, lambda: None)):
                pass


async def test_the_appender_says_when_the_ledger_last_took_something() -> None:
    ledger = MemoryLedger()
    async with Appender(ledger, probe_every_s=0.01) as appender:
        async with asyncio.timeout(5):
            before = 0.0
            while (now := appender.well_s) >= before:
                before = now
                await asyncio.sleep(0.001)
        ledger.fails = True
        async with asyncio.timeout(5):
            while appender.well_s < 0.1:
                await asyncio.sleep(0.01)

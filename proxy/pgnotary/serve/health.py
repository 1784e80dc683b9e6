"""How a proxy is, for those who watch it from outside: three pages on a listener of their own, in plain HTTP.

    GET /healthz   200 as long as the process answers
    GET /readyz    200 if a statement would be served now, else 503 and why: the ledger takes entries, and something
                   listens where PostgreSQL is
    GET /metrics   Prometheus' text format

Nothing of any statement, person or key is on them, so there is no login; who may reach the listener is the network's
question. What they cost is bounded: the server is dialled at most every few seconds, whoever asks how often.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from aiohttp import web

from pgnotary.door import Door, Listening, http_log
from pgnotary.errors import LedgerUnavailable
from pgnotary.serve.upstream import UpstreamAddress

__all__ = ["Health", "reachable"]

# The appender probes the ledger each second when there is nothing to write.
_LEDGER_S = 5.0
_DIAL_S = 2.0
_KNOWN_S = 5.0
_FAREWELL_S = 1.0
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


async def reachable(address: UpstreamAddress) -> str:
    """Return why nothing listens at an address; empty if something does. Nothing is sent to it."""
    try:
        async with asyncio.timeout(_DIAL_S):
            if address.host.startswith("/"):
                _, writer = await asyncio.open_unix_connection(Path(address.host, f".s.PGSQL.{address.port}"))
            else:
                _, writer = await asyncio.open_connection(address.host, address.port)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    except TimeoutError:
        return f"PostgreSQL is not reached within {_DIAL_S:g} s"
    except OSError as error:
        return f"PostgreSQL is not reached: {error.strerror or type(error).__name__}"
    return ""


class Health:
    """The pages of one proxy.

    `well_s` says how long ago the ledger last took an entry or a probe, `ledger_down` why it takes none; `dial` why
    PostgreSQL is not reached, empty if it is, and `stopping` whether nobody is let in any more.
    """

    def __init__(
        self,
        page: Callable[[], str],
        ledger_down: Callable[[], LedgerUnavailable | None],
        well_s: Callable[[], float],
        dial: Callable[[], Awaitable[str]],
        stopping: Callable[[], bool],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._page = page
        self._ledger_down = ledger_down
        self._well_s = well_s
        self._dial = dial
        self._stopping = stopping
        self._monotonic = monotonic
        self._looking = asyncio.Lock()
        self._looked_at: float | None = None
        self._unreachable = ""

    @contextlib.asynccontextmanager
    async def listening(self, listening: Listening) -> AsyncIterator[tuple[str, int]]:
        """Answer until left; yields the address that was bound. Raises ConfigError if it cannot be."""
        door = Door(listening, self._monotonic)
        app = web.Application()

        async def called(request: web.Request, response: web.StreamResponse) -> None:
            """Close the connection behind its answer, which may take as long as the door says."""
            door.called(request.protocol)
            response.force_close()
            response.headers["Connection"] = "close"

        app.on_response_prepare.append(called)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=http_log,
            handle_signals=False,
            shutdown_timeout=_FAREWELL_S,
            auto_decompress=False,
        )
        await runner.setup()
        try:
            if (server := runner.server) is None:
                raise RuntimeError("the runner is not set up")
            async with door.open(server) as address:
                yield address
        finally:
            await runner.cleanup()

    async def why_not_ready(self) -> str:
        """Return why no statement would be served now; empty if it would."""
        if self._stopping():
            return "pgnotary is stopping"
        if (down := self._ledger_down()) is not None:
            return f"the ledger cannot be written: {down.message}"
        if (silent_s := self._well_s()) > _LEDGER_S:
            return f"the ledger has taken nothing for {silent_s:.0f} s"
        async with self._looking:
            now = self._monotonic()
            if self._looked_at is None or now - self._looked_at > _KNOWN_S:
                self._unreachable, self._looked_at = await self._dial(), now
        return self._unreachable

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        why = await self.why_not_ready()
        return web.Response(status=503, text=f"{why}\n") if why else web.Response(text="ready\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._page().encode(), headers={"Content-Type": _PROMETHEUS})

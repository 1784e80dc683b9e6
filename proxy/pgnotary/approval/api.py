"""The approval API: what lies on the desk goes out, signed decisions come in.

HTTP/1.1 with JSON bodies (`pgnotary.approval.bodies`), from one application at two places: a Unix socket, where the
file system says who may come, and, if it is configured, a port, where every call is signed
(`pgnotary.approval.callers`) and whoever comes is kept within limits (`pgnotary.door`).
`pgnotary.approval.access` is the table of who may call what; docs/approval-api.md tells of all this to those who write
clients. The API believes nothing and decides nothing: it hands documents to the desk and tells the caller what the desk
said.

The calls are those of the modules whose names end in `_routes`. To who may not see a request it does not exist.

What has begun to be recorded is brought to its end, whether or not its caller stays to hear of it.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self

from aiohttp import web

from pgnotary.approval import unix_socket
from pgnotary.approval.access import MAY_CALL
from pgnotary.approval.answers import answer
from pgnotary.approval.bodies import Problem
from pgnotary.approval.callers import CALLER, Callers, NotAdmitted
from pgnotary.approval.decision_routes import DecisionRoutes
from pgnotary.approval.desk import Desk, Ledger, Redactions, Reviews
from pgnotary.approval.event_routes import EventRoutes
from pgnotary.approval.events import Events
from pgnotary.approval.ledger_routes import LedgerRoutes
from pgnotary.approval.redaction_routes import RedactionRoutes
from pgnotary.approval.refusals import Refusals
from pgnotary.approval.request_routes import RequestRoutes
from pgnotary.approval.review_routes import ReviewRoutes
from pgnotary.approval.roster_routes import RosterRoutes
from pgnotary.door import Door, Listening, http_log
from pgnotary.errors import LedgerUnavailable, PgnotaryError
from pgnotary.request.roster import Roster

__all__ = ["FAREWELL_S", "KEEPALIVE_S", "MAX_BODY_BYTES", "ApprovalApi"]

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 65_536
KEEPALIVE_S = 15.0

# For answers that are on their way when the proxy stops; what the desk is recording is waited for beyond that.
FAREWELL_S = 2.0

_DEFAULT_CALLS_PER_S = 20.0


class _Routes(Protocol):
    """Calls, and what answers them."""

    def add_to(self, app: web.Application) -> None: ...


class ApprovalApi:
    """The API, at work inside `async with`. The desk and the ledger belong to others and outlive it.

    `proxy` is the verifier key of the ledger: calls are signed for it. `events.witness` is to be told of entries.
    """

    def __init__(
        self,
        desk: Desk,
        ledger: Ledger,
        roster: Callable[[], Roster],
        path: Path,
        proxy: str,
        *,
        listening: Listening | None = None,
        redactions: Redactions | None = None,
        reviews: Reviews | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        keepalive_s: float = KEEPALIVE_S,
        farewell_s: float = FAREWELL_S,
    ) -> None:
        self._path = path
        self.events = Events(desk, ledger, keepalive_s)
        """To be told of entries."""
        per_s = listening.calls_per_s if listening else _DEFAULT_CALLS_PER_S
        self.callers = Callers(proxy, roster, now, monotonic, per_s)
        self.door = Door(listening, monotonic) if listening else None
        self.address: tuple[str, int] | None = None
        """Where it listens besides the socket, once it does."""
        self._opened = contextlib.AsyncExitStack()
        self._streams = EventRoutes(self.events, self.callers, self.door)
        self._recording = asyncio.TaskGroup()
        """What is being recorded, which nobody breaks off."""
        self._routes: list[_Routes] = [
            RequestRoutes(desk, ledger),
            DecisionRoutes(desk, ledger, Refusals(desk, roster, now, monotonic), self._recording),
            LedgerRoutes(desk, ledger),
            RosterRoutes(roster, now),
            self._streams,
        ]
        if redactions is not None:
            self._routes.append(RedactionRoutes(redactions, self._recording))
        if reviews is not None:
            self._routes.append(ReviewRoutes(reviews, self._recording))
        # No body is unpacked: a few KB may be 60 MB, for whoever sends them, before anybody has asked who that is.
        self._runner = web.AppRunner(
            self._application(),
            access_log=None,
            logger=http_log,
            handle_signals=False,
            shutdown_timeout=farewell_s,
            auto_decompress=False,
        )
        self._made = (0, 0)
        self._site: unix_socket.Site | None = None
        self._heeding: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Listen; raises ConfigError if the path is taken or cannot be used."""
        bound = unix_socket.bind(self._path)
        self._made = unix_socket.identity(self._path)
        await self._recording.__aenter__()
        try:
            await self._runner.setup()
            self._site = unix_socket.Site(self._runner, bound)
            await self._site.start()
        except BaseException:
            bound.close()
            await self.__aexit__()
            raise
        try:
            self._heeding = self._recording.create_task(self.events.heed_desk(), name="events")
            if self.door is not None:
                self.address = await self._opened.enter_async_context(self.door.open(self._new_call))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        unix_socket.remove(self._path, self._made)
        try:
            await self._opened.aclose()
            await self._runner.cleanup()
        finally:
            if self._heeding is not None:
                self._heeding.cancel()
            # Not told of an exception in the block, or it would cancel what is being recorded.
            await self._recording.__aexit__(None, None, None)

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_tell_errors, self._admit])
        for routes in self._routes:
            routes.add_to(app)
        app.on_response_prepare.append(_one_call_each)
        return app

    @property
    def watchers(self) -> int:
        """How many streams of events are open."""
        return len(self._streams)

    def _new_call(self) -> web.RequestHandler:
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner is not set up")
        return server()

    @web.middleware
    async def _admit(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Find out who calls, and whether they may."""
        if self._site is not None:
            self._site.called(request.protocol)
        if self.door is not None:
            self.door.called(request.protocol)
        try:
            caller = await self.callers.admit(request)
        except NotAdmitted as error:
            return answer(error.status, Problem(error=str(error)))
        resource = request.match_info.route.resource
        if resource is None:
            return await handler(request)  # Which says that there is no such call.
        path = resource.canonical
        if not caller.may_call(request.method, path):
            self.callers.refused += 1
            who = f"{caller.person}'s key" if caller.person else "a call that is not signed"
            needs = ", ".join(sorted(MAY_CALL.get((request.method, path), ())))
            return answer(403, Problem(error=f"{request.method} {path} is for {needs}, not for {who}"))
        request[CALLER] = caller
        return await handler(request)


@web.middleware
async def _tell_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Give every failure a JSON body."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return answer(error.status, Problem(error=f"{request.method} {request.path}: {error.reason}"))
    except LedgerUnavailable as error:
        return answer(503, Problem(error=str(error)))
    except PgnotaryError as error:
        log.warning("a call failed", extra={"path": request.path}, exc_info=True)
        return answer(500, Problem(error=str(error)))


async def _one_call_each(_: web.Request, response: web.StreamResponse) -> None:
    """Close a connection behind its answer: what it may take was counted for one call."""
    response.force_close()
    response.headers["Connection"] = "close"

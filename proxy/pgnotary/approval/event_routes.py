"""The approval API's stream of events: watchers come in, and are told for as long as they stay and may hear it.

    GET  /v1/events                    server-sent events (`pgnotary.approval.events`)

Each is a task that never ends by itself: there are only so many, of one person only a few, and the network always
leaves some to the socket.
"""

import asyncio

from aiohttp import web

from pgnotary.approval.access import Caller, Role
from pgnotary.approval.answers import answer
from pgnotary.approval.bodies import Problem
from pgnotary.approval.callers import CALLER, Callers
from pgnotary.approval.events import Events
from pgnotary.door import Door

__all__ = ["MAX_WATCHERS", "MAX_WATCHERS_EACH", "EventRoutes"]

MAX_WATCHERS = 64
# Of these one person has at most so many, and the network leaves some to the socket.
MAX_WATCHERS_EACH = 8
_MAX_REMOTE_WATCHERS = 48


class EventRoutes:
    """Handlers; `door` is what calls from the network came in by, if there is one."""

    def __init__(self, events: Events, callers: Callers, door: Door | None) -> None:
        self._events = events
        self._callers = callers
        self._door = door
        self._watchers: dict[asyncio.Task[object], Caller] = {}

    def __len__(self) -> int:
        """Return how many streams are open."""
        return len(self._watchers)

    def add_to(self, app: web.Application) -> None:
        """Add the route, and end its streams when the application stops."""
        app.router.add_get("/v1/events", self._watch, allow_head=False)
        app.on_shutdown.append(self._dismiss)

    async def _dismiss(self, _: web.Application) -> None:
        """End the streams, which would never end by themselves."""
        for task in self._watchers:
            task.cancel()

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        if task is None or len(self._watchers) >= MAX_WATCHERS:
            return answer(503, Problem(error=f"{len(self._watchers)} watchers already, at most {MAX_WATCHERS}"))
        caller = request[CALLER]
        remote = [each for each in self._watchers.values() if Role.LOCAL not in each.roles]
        if Role.LOCAL not in caller.roles:
            if len(remote) >= _MAX_REMOTE_WATCHERS:
                return answer(503, Problem(error=f"{len(remote)} watchers already, at most {_MAX_REMOTE_WATCHERS}"))
            if sum(each.is_of(caller.person) for each in remote) >= MAX_WATCHERS_EACH:
                return answer(429, Problem(error=f"{caller.person} has {MAX_WATCHERS_EACH} streams of events already"))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        self._watchers[task] = caller
        if self._door is not None:
            self._door.called(request.protocol, None)
        try:
            await response.prepare(request)
            last_id = request.headers.get("Last-Event-ID")
            await self._events.stream(response.write, caller, last_id, lambda: self._callers.in_force(caller))
        except ConnectionResetError:
            pass  # The watcher has gone.
        finally:
            self._watchers.pop(task, None)
        return response

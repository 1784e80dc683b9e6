"""How the approval API answers: a status and a body enter, a JSON response leaves.

What takes effect and has begun is brought to its end, whether or not its caller stays to hear of it, and a fault of our
own in it fails that call and never the proxy.
"""

import asyncio
import logging
from collections.abc import Coroutine

import msgspec
from aiohttp import web

from pgnotary.approval.bodies import Problem

__all__ = ["answer", "to_its_end", "unknown"]

log = logging.getLogger(__name__)


def answer(status: int, body: object) -> web.Response:
    """Return a response with this body as JSON."""
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def unknown(request: web.Request) -> web.Response:
    """Return what a call about a request is answered that there is not, or not for who calls."""
    return answer(404, Problem(error=f"there is no request {request.match_info['id']}"))


async def to_its_end(tasks: asyncio.TaskGroup, work: Coroutine[None, None, web.Response], name: str) -> web.Response:
    """Return what `work` answers; it goes on in `tasks` if nobody waits for it any more."""

    async def guarded() -> web.Response:
        # An exception would end the whole group, and who runs it: nobody could decide any more.
        try:
            return await work
        except Exception:
            log.exception("a call failed", extra={"call": name})
            return answer(500, Problem(error="the call failed; the proxy's log says why"))

    return await asyncio.shield(tasks.create_task(guarded(), name=name))

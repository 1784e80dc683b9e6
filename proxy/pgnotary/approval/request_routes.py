"""The approval API's calls about requests: what lies on the desk goes out, and engineers take back what is theirs.

    GET  /v1/requests                  open requests, oldest first
    GET  /v1/requests/{id}             where one stands; an open one with its paper
    POST /v1/requests/{id}/withdraw    takes a request of one's own back: a signed call, by the socket too; 200 with
                                       where it stands then, 409 if it was decided before

To who may not see a request it does not exist.
"""

import asyncio
import contextlib

from aiohttp import web

from pgnotary.approval.access import Caller
from pgnotary.approval.answers import answer, unknown
from pgnotary.approval.bodies import Problem, Standing
from pgnotary.approval.callers import CALLER
from pgnotary.approval.desk import Desk, Ledger
from pgnotary.approval.request_papers import listed, paper_of
from pgnotary.approval.standing import standing_of
from pgnotary.ledger.entries import EntryType
from pgnotary.request.life import State
from pgnotary.request.withdrawal import target_of

__all__ = ["ONE", "RequestRoutes"]

ONE = "/v1/requests/{id:R-[1-9][0-9]{0,17}}"
"""The path of one request."""

# A withdrawal is recorded by the session that holds the statement, as soon as it gets to it.
_WITHDRAWAL_S = 10.0


class RequestRoutes:
    """Handlers."""

    def __init__(self, desk: Desk, ledger: Ledger) -> None:
        self._desk = desk
        self._ledger = ledger

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/v1/requests", self._list, allow_head=False)
        app.router.add_get(ONE, self._show, allow_head=False)
        app.router.add_post(f"{ONE}/withdraw", self._withdraw)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        """Send them piece by piece: a thousand in one would stop the proxy meanwhile, and be in memory at once."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        with contextlib.suppress(ConnectionResetError):
            await response.prepare(request)
            caller = request[CALLER]
            for piece in listed([each for each in self._desk.requests() if caller.may_see(each.person)]):
                await response.write(piece)
                await asyncio.sleep(0)
        return response

    async def _show(self, request: web.Request) -> web.Response:
        standing = await self._standing(request.match_info["id"], request[CALLER])
        return unknown(request) if standing is None else answer(200, standing)

    async def _standing(self, name: str, caller: Caller) -> Standing | None:
        """Return where a request stands, None if there is none that the caller may see."""
        if (opened := self._desk.find(name)) is not None:
            paper = Standing(id=name, state=State.HELD.value, paper=paper_of(opened))
            return paper if caller.may_see(opened.person) else None
        entries = await self._ledger.entries_of(name)
        asked = next((entry for entry in entries if entry.type is EntryType.REQUEST), None)
        person = str(asked.body.get("person", "")) if asked is not None else ""
        return standing_of(name, entries) if caller.may_see(person) else None

    async def _withdraw(self, request: web.Request) -> web.Response:
        name, caller = request.match_info["id"], request[CALLER]
        opened = self._desk.find(name)
        # Only its own person takes it back: others have no say in what the engineer's session is told.
        if opened is not None and not caller.is_of(opened.person):
            if caller.may_see(opened.person):
                why = f"{name} is {opened.person}'s: only they withdraw it; an approver denies it"
                return answer(403, Problem(error=why))
            return unknown(request)
        if opened is not None and caller.call is not None:
            # By other spellings, or with a query, this path is reached, too; the ledger keeps what was signed.
            if caller.call.target != (target := target_of(name)):
                return answer(400, Problem(error=f"signed for {caller.call.target!r:.200}: sign {target!r}"))
            opened.withdraw(caller.person, caller.key, caller.call)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WITHDRAWAL_S):
                    while self._desk.find(name) is opened:
                        await self._desk.changed()
        standing = await self._standing(name, caller)
        if standing is None:
            return unknown(request)
        if opened is not None and standing.state in (State.WITHDRAWN, State.VOID):
            return answer(200, standing)
        if opened is not None and standing.state in (State.HELD, State.APPROVED):
            return answer(202, standing)
        return answer(409, Problem(error=f"{name} is not open: it is {standing.state}"))

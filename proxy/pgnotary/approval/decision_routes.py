"""The approval API's call for decisions: signed documents come in, what the desk said goes out.

    POST /v1/requests/{id}/decisions   201, or 409 somebody was faster, 403 refused, 429 too many of those,
                                       503 cannot be recorded

A decision that has begun is brought to its end, whether or not its caller stays to hear of it.
"""

import asyncio

import msgspec
from aiohttp import web

from pgnotary.approval.answers import answer, to_its_end, unknown
from pgnotary.approval.bodies import Problem, Recorded, SignedDecision
from pgnotary.approval.desk import Desk, Ledger
from pgnotary.approval.refusals import Refusals
from pgnotary.approval.request_routes import ONE
from pgnotary.errors import AlreadyDecided, DecisionRefused, LedgerUnavailable, RequestMoved
from pgnotary.request import decision as decisions

__all__ = ["DecisionRoutes"]


class DecisionRoutes:
    """Handlers; `tasks` is where what has begun is brought to its end."""

    def __init__(self, desk: Desk, ledger: Ledger, refusals: Refusals, tasks: asyncio.TaskGroup) -> None:
        self._desk = desk
        self._ledger = ledger
        self._refusals = refusals
        self._tasks = tasks

    def add_to(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_post(f"{ONE}/decisions", self._take)

    async def _take(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        try:
            signed = msgspec.json.decode(await request.read(), type=SignedDecision)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return answer(400, Problem(error=f"not a decision: {error}"))
        entries = await self._ledger.entries_of(name)
        if not entries:
            return unknown(request)
        if not self._refusals.let_in(entries, signed):
            return answer(429, Problem(error="too many decisions that do not count: wait a few seconds"))
        return await to_its_end(self._tasks, self._decide(name, signed), f"decide {name}")

    async def _decide(self, name: str, signed: SignedDecision) -> web.Response:
        """Hand a decision to the desk."""
        opened = self._desk.find(name)
        was_open = opened is not None and not opened.deciding
        try:
            if (named := _named_in(signed.document)) not in (None, name):
                why = f"the document is about {named}, not {name}"
                await self._desk.reject(signed.document, signed.signature, name, why)
                return answer(403, Problem(error=why))
            decided = await self._desk.decide(signed.document, signed.signature)
        except DecisionRefused as refused:
            faster = isinstance(refused, AlreadyDecided) or isinstance(refused.__cause__, RequestMoved)
            late = not was_open or faster
            return answer(409 if late else 403, Problem(error=str(refused)))
        except LedgerUnavailable as error:
            return answer(503, Problem(error=f"the decision cannot be recorded: {error}"))
        place = decided.receipt.entry.position.seq
        return answer(201, Recorded(seq=place, answer=decided.answer.value, missing=decided.missing))


def _named_in(document: bytes) -> str | None:
    """Return the request that a document is about; None if it cannot be read, which is for the desk to record."""
    try:
        return decisions.read(document).request
    except DecisionRefused:
        return None

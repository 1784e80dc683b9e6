"""The approval API's calls for reviews: what one person alone has let run goes out, signed reviews come in.

    GET  /v1/reviews     what waits for a review, oldest first: the entries of its request and of the decision
    POST /v1/reviews     201, 403 refused, 503 cannot be recorded

A review that has begun is brought to its end, whether or not its caller stays to hear of it.
"""

import asyncio

import msgspec
from aiohttp import web

from pgnotary.approval.answers import answer, to_its_end
from pgnotary.approval.bodies import GlassPaper, Problem, RecordedReview, SignedReview
from pgnotary.approval.desk import Reviews
from pgnotary.errors import LedgerUnavailable, ReviewRefused

__all__ = ["ReviewRoutes"]


class ReviewRoutes:
    """Handlers; `tasks` is where what has begun is brought to its end."""

    def __init__(self, reviews: Reviews, tasks: asyncio.TaskGroup) -> None:
        self._reviews = reviews
        self._tasks = tasks

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/v1/reviews", self._list, allow_head=False)
        app.router.add_post("/v1/reviews", self._review)

    async def _list(self, _: web.Request) -> web.Response:
        waiting = self._reviews.waiting
        return answer(200, [GlassPaper(request=each.request.raw, decision=each.decision.raw) for each in waiting])

    async def _review(self, request: web.Request) -> web.Response:
        try:
            signed = msgspec.json.decode(await request.read(), type=SignedReview)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return answer(400, Problem(error=f"not a review: {error}"))
        return await to_its_end(self._tasks, self._record(signed), "review")

    async def _record(self, signed: SignedReview) -> web.Response:
        """Record a review."""
        try:
            seq = await self._reviews.review(signed.document, signed.signature)
        except ReviewRefused as refused:
            return answer(403, Problem(error=str(refused)))
        except LedgerUnavailable as error:
            return answer(503, Problem(error=f"the review cannot be recorded: {error}"))
        return answer(201, RecordedReview(seq=seq))

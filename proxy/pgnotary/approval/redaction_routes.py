"""The approval API's calls for redaction: what is kept of sealed values goes out, signed redactions come in.

    GET  /v1/sealed?request=R-1    the entries of a request that have seals, and how long what is kept of each is;
    GET  /v1/sealed?entry=4        the same of one entry. Never the values: whoever may open the socket can ask
    POST /v1/redactions            201, 403 refused, 503 cannot be recorded
    GET  /v1/erasure               whether bytes of redacted values are still in the ledger's files, and why

A redaction that has begun is brought to its end, whether or not its caller stays to hear of it.
"""

import asyncio
import re

import msgspec
from aiohttp import web

from pgnotary.approval.answers import answer, to_its_end
from pgnotary.approval.bodies import Erasure, Problem, RecordedRedaction, SealedPaper, SignedRedaction
from pgnotary.approval.desk import Redactions
from pgnotary.errors import LedgerUnavailable, RedactionRefused

__all__ = ["RedactionRoutes"]

_REQUEST = re.compile(r"R-[1-9][0-9]{0,14}", re.ASCII)
_ENTRY = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)


class RedactionRoutes:
    """Handlers; `tasks` is where what has begun is brought to its end."""

    def __init__(self, redactions: Redactions, tasks: asyncio.TaskGroup) -> None:
        self._redactions = redactions
        self._tasks = tasks

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/v1/sealed", self._sealed, allow_head=False)
        app.router.add_post("/v1/redactions", self._redact)
        app.router.add_get("/v1/erasure", self._erasure, allow_head=False)

    async def _sealed(self, request: web.Request) -> web.Response:
        names, places = request.query.getall("request", []), request.query.getall("entry", [])
        of: str | int
        if len(names) == 1 and not places and _REQUEST.fullmatch(names[0]):
            of = names[0]
        elif len(places) == 1 and not names and _ENTRY.fullmatch(places[0]):
            of = int(places[0])
        else:
            return answer(400, Problem(error="expected ?request=R-NUMBER or ?entry=NUMBER"))
        found = await self._redactions.kept(of)
        if not found:
            what = of if isinstance(of, str) else f"#{of}"
            first = self._redactions.first
            archived = f"; the entries before #{first} are archived, with their values" if first else ""
            return answer(404, Problem(error=f"there is no {what} in this ledger with anything sealed{archived}"))
        return answer(200, [SealedPaper(entry=each.entry.raw, kept=each.sizes) for each in found])

    async def _redact(self, request: web.Request) -> web.Response:
        try:
            signed = msgspec.json.decode(await request.read(), type=SignedRedaction)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return answer(400, Problem(error=f"not a redaction: {error}"))
        return await to_its_end(self._tasks, self._record(signed), "redact")

    async def _record(self, signed: SignedRedaction) -> web.Response:
        """Record a redaction."""
        try:
            done = await self._redactions.redact(signed.document, signed.signature)
        except RedactionRefused as refused:
            return answer(403, Problem(error=str(refused)))
        except LedgerUnavailable as error:
            return answer(503, Problem(error=f"the redaction cannot be recorded: {error}"))
        return answer(201, RecordedRedaction(seq=done.seq, copies=done.copies))

    async def _erasure(self, _: web.Request) -> web.Response:
        return answer(200, Erasure(hindrance=self._redactions.hindrance))

"""The approval API's calls about the ledger: its newest head goes out, and what that is proven to extend and to cover.

GET  /v1/head                      the newest checkpoint, which a decision may name from then on
GET  /v1/proof?from=N&entry=I&entry=J   the same, with proofs that it extends the first N leaves and covers the
                                   entries I and J: what an approver's command remembers and checks; N may be 0
"""

import re

from aiohttp import web

from pgnotary.approval.answers import answer
from pgnotary.approval.bodies import MAX_PROVEN, HeadNote, HeadProof, Problem
from pgnotary.approval.desk import Desk, Ledger
from pgnotary.errors import InArchive

__all__ = ["LedgerRoutes"]

_SIZE = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)


class LedgerRoutes:
    """Handlers; every head that goes out is shown to the desk first."""

    def __init__(self, desk: Desk, ledger: Ledger) -> None:
        self._desk = desk
        self._ledger = ledger

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/v1/head", self._show_head, allow_head=False)
        app.router.add_get("/v1/proof", self._prove, allow_head=False)

    async def _show_head(self, _: web.Request) -> web.Response:
        head, note = self._ledger.head(), self._ledger.checkpoint()
        self._desk.show_head(head)
        return answer(200, HeadNote(note=note))

    async def _prove(self, request: web.Request) -> web.Response:
        sizes, entries = request.query.getall("from", ["0"]), request.query.getall("entry", [])
        if len(sizes) != 1 or len(entries) > MAX_PROVEN or not all(map(_SIZE.fullmatch, (*sizes, *entries))):
            return answer(400, Problem(error=f"expected ?from=SIZE and at most {MAX_PROVEN} &entry=NUMBER"))
        try:
            proof = await self._ledger.prove(int(sizes[0]), [int(each) for each in entries])
        except InArchive as error:
            how = "`pgnotary verify --archive FOLDER --heads FILE` compares it (docs/archive.md)"
            return answer(410, Problem(error=f"{error}; {how}"))
        except ValueError as error:
            return answer(404, Problem(error=f"the ledger has not so many entries: {error}"))
        self._desk.show_head(proof.head)
        body = HeadProof(
            note=proof.note,
            older_root=proof.older_root or b"",
            consistency=list(proof.consistency),
            inclusion=[list(each) for each in proof.inclusion],
        )
        return answer(200, body)

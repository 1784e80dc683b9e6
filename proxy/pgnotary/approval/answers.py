"""How the approval API answers: a status and a body enter, a JSON response leaves."""

import msgspec
from aiohttp import web

from pgnotary.approval.bodies import Problem

__all__ = ["answer", "unknown"]


def answer(status: int, body: object) -> web.Response:
    """Return a response with this body as JSON."""
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def unknown(request: web.Request) -> web.Response:
    """Return what a call about a request is answered that there is not, or not for who calls."""
    return answer(404, Problem(error=f"there is no request {request.match_info['id']}"))

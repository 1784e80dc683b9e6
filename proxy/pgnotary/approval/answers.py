"""How the approval API answers: a status and a body enter, a JSON response leaves."""

import msgspec
from aiohttp import web

__all__ = ["answer"]


def answer(status: int, body: object) -> web.Response:
    """Return a response with this body as JSON."""
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")

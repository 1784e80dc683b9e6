"""The approval API's call about the roster: the fingerprint of a key comes in, whose it is goes out.

    GET  /v1/whois?key=SHA256:...      the person whose key that is, for decisions; or &namespace=redaction@pgnotary

Only who may sign now is told: a key out of force is nobody's.
"""

import re
from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from pgnotary.approval.answers import answer
from pgnotary.approval.bodies import KeyOwner, Problem
from pgnotary.errors import BadSignature
from pgnotary.request.openssh import fingerprint
from pgnotary.request.roster import Roster
from pgnotary.request.sshsig import DECISION_NAMESPACE

__all__ = ["RosterRoutes"]

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


class RosterRoutes:
    """Handlers."""

    def __init__(self, roster: Callable[[], Roster], now: Callable[[], datetime]) -> None:
        self._roster = roster
        self._now = now

    def add_to(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_get("/v1/whois", self._whois, allow_head=False)

    async def _whois(self, request: web.Request) -> web.Response:
        name, namespace = request.query.get("key", ""), request.query.get("namespace", DECISION_NAMESPACE)
        if not _FINGERPRINT.fullmatch(name):
            return answer(400, Problem(error="expected ?key=SHA256: and 43 characters of base64"))
        roster = self._roster()
        if not roster.signers:
            return answer(404, Problem(error="the roster of approvers is empty: nobody can decide"))
        signer = next((each for each in roster.signers if fingerprint(each.public) == name), None)
        if signer is None:
            return answer(404, Problem(error=f"nobody on the roster has the key {name}"))
        try:
            roster.find(signer.public, self._now(), namespace)
        except BadSignature as error:
            return answer(404, Problem(error=str(error)))
        return answer(200, KeyOwner(person=signer.person))

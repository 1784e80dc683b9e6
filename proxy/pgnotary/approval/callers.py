"""Who makes a call: its signature, its time, its nonce and the roster enter, a `Caller` leaves, or NotAdmitted.

What is cheap is looked at first: how often this address calls, whether there is a signature, whether it is of now and
of this very call, whether the roster knows the key; only then is the body read and the signature checked. A nonce is
remembered for as long as its call could be repeated; when there is no room to remember one more, the call is refused.
Calls that were signed before the proxy started are refused, since their nonces would have been forgotten; and so are
those that were signed when one was that is forgotten by now, whatever a clock that was set back says.
"""

import asyncio
import contextlib
import socket
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Never

from aiohttp import web

from pgnotary.approval.access import LOCAL, Caller, Role, roles_of
from pgnotary.bucket import Bucket
from pgnotary.errors import CallRefused, PgnotaryError
from pgnotary.ledger.canonical import timestamp
from pgnotary.rates import Rates, network_of
from pgnotary.request import call as calls
from pgnotary.request.call import Call
from pgnotary.request.openssh import fingerprint
from pgnotary.request.roster import Roster, Signer
from pgnotary.request.ssh_encoding import Public

__all__ = ["CALLER", "CALL_WINDOW", "MAX_NONCES", "Callers", "NotAdmitted", "is_local"]

CALLER = web.RequestKey("caller", Caller)
"""Under which a call that was admitted has who makes it."""

CALL_WINDOW = timedelta(seconds=60)
"""How far a call's time may be from ours."""

# More than all together may call while one is remembered.
MAX_NONCES = 1 << 15
# Seconds' worth of calls that may come at once, of one address, of one key, and of all together.
_AT_ONCE = 3
_ALL_PER_S = 200.0
_BODY_S = 10.0


class NotAdmitted(PgnotaryError):
    """A call that is answered with this status instead."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Callers:
    """Admits calls to one proxy."""

    def __init__(
        self,
        proxy: str,
        roster: Callable[[], Roster],
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        per_s: float,
        *,
        max_nonces: int = MAX_NONCES,
    ) -> None:
        self._proxy = proxy
        self._roster = roster
        self._now = now
        self._monotonic = monotonic
        self._forgotten = now()
        """Nonces of calls up to then may be forgotten, none of later ones."""
        size = max(int(per_s * _AT_ONCE), 1)
        self._addresses = Rates(size, per_s, monotonic)
        self._keys = Rates(size, per_s, monotonic)
        self._all = Bucket(int(_ALL_PER_S * _AT_ONCE), _ALL_PER_S, monotonic)
        self._max_nonces = max_nonces
        self._nonces: OrderedDict[tuple[Public, bytes], tuple[float, datetime]] = OrderedDict()
        """Until when each is remembered, by both clocks, the oldest first."""
        self.refused = 0
        """How many calls were not admitted, ever."""

    async def admit(self, request: web.Request) -> Caller:
        """Return who calls; raises NotAdmitted."""
        try:
            return await self._admit(request)
        except NotAdmitted:
            self.refused += 1
            raise

    async def _admit(self, request: web.Request) -> Caller:
        local = is_local(request)
        if not local and not self._addresses.take(network_of(request.remote or "")):
            raise NotAdmitted(429, "too many calls from your address: wait a few seconds")
        document, signature = (request.headers.getall(name, []) for name in (calls.CALL_HEADER, calls.SIGNATURE_HEADER))
        if local and not document and not signature:
            return LOCAL
        if len(document) != 1 or len(signature) != 1:
            _refuse(f"not signed: expected the headers {calls.CALL_HEADER} and {calls.SIGNATURE_HEADER}, once each")
        if not self._all.take():
            raise NotAdmitted(429, "too many calls altogether: wait a few seconds")
        try:
            call = calls.read(document[0], signature[0])
            calls.check(call, self._proxy, request.method, request.raw_path)
            self._check_time(call)
            signer = self._known(calls.claimed_key(call))
            calls.verify(call, await _body(request))
        except CallRefused as refused:
            _refuse(str(refused))
        if not self._keys.take(signer.public):
            raise NotAdmitted(429, "too many calls with your key: wait a few seconds")
        self._remember(signer.public, call)
        roles = roles_of(signer) | ({Role.LOCAL} if local else set())
        return Caller(roles, signer.person, fingerprint(signer.public), call)

    def in_force(self, caller: Caller) -> bool:
        """Say whether a caller who was admitted would be, as the same person with what they may do, now.

        Keys leave the roster, and may come back to it as somebody else's.
        """
        if not caller.key:
            return True
        roster, at = self._roster(), self._now()
        for signer in roster.signers:
            if fingerprint(signer.public) == caller.key:
                with contextlib.suppress(NotAdmitted):
                    now = _in_force(roster, signer.public, at)
                    return now.person == caller.person and caller.roles - {Role.LOCAL} <= roles_of(now)
        return False

    def _check_time(self, call: Call) -> None:
        now = self._now()
        if abs(now - call.called_at) > CALL_WINDOW:
            said = f"signed at {timestamp(call.called_at)}, now it is {timestamp(now)}"
            raise CallRefused(f"{said}: at most {CALL_WINDOW.seconds} s may lie between; set the clock")
        if call.called_at <= self._forgotten:
            raise CallRefused(
                f"signed at {timestamp(call.called_at)}, before this proxy has started, or its clock was set back: "
                "call again; if that goes on, set the clock"
            )

    def _known(self, public: Public) -> Signer:
        """Return whose key it is, if the roster lets it make calls; raises NotAdmitted."""
        return _in_force(self._roster(), public, self._now())

    def _remember(self, public: Public, call: Call) -> None:
        """Take the nonce of a call whose signature is good; raises NotAdmitted if it was taken, or cannot be."""
        now, wall = self._monotonic(), self._now()
        while self._nonces:
            until, until_wall = next(iter(self._nonces.values()))
            if until > now or until_wall > wall:
                break
            self._nonces.popitem(last=False)
            self._forgotten = max(self._forgotten, until_wall - CALL_WINDOW)
        name = (public, call.nonce)
        if name in self._nonces:
            _refuse("this very call was made before: sign it anew each time")
        if len(self._nonces) >= self._max_nonces:
            raise NotAdmitted(429, "too many calls to remember: wait two minutes")
        # A call may be signed a window ahead of our clock, and is good for one more.
        self._nonces[name] = (now + 2 * CALL_WINDOW.total_seconds(), call.called_at + CALL_WINDOW)


def is_local(request: web.Request) -> bool:
    """Say whether a call came by a Unix socket, as the kernel tells; of what nobody can tell, it did not."""
    plug = request.get_extra_info("socket")
    return plug is not None and plug.family == socket.AF_UNIX


def _in_force(roster: Roster, public: Public, at: datetime) -> Signer:
    try:
        return calls.caller(roster, public, at)
    except CallRefused as refused:
        raise NotAdmitted(403, str(refused)) from refused


def _refuse(why: str) -> Never:
    raise NotAdmitted(401, why)


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(_BODY_S):
            return await request.read()
    except TimeoutError:
        raise NotAdmitted(408, f"the body did not come within {_BODY_S:g} s") from None

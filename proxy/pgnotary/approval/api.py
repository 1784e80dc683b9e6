"""The approval API: what lies on the desk goes out, signed decisions come in.

HTTP/1.1 with JSON bodies (`pgnotary.approval.bodies`), from one application at two places: a Unix socket, where the
file system says who may come, and, if it is configured, a port, where every call is signed
(`pgnotary.approval.callers`) and whoever comes is kept within limits (`pgnotary.door`).
`pgnotary.approval.access` is the table of who may call what; docs/approval-api.md tells of all this to those who write
clients. The API believes nothing and decides nothing: it hands documents to the desk and tells the caller what the desk
said.

    GET  /v1/requests                  open requests, oldest first
    GET  /v1/requests/{id}             where one stands; an open one with its paper
    POST /v1/requests/{id}/decisions   201, or 409 somebody was faster, 403 refused, 429 too many of those,
                                       503 cannot be recorded
    POST /v1/requests/{id}/withdraw    takes a request of one's own back: a signed call, by the socket too; 200 with
                                       where it stands then, 409 if it was decided before
    GET  /v1/head                      the newest checkpoint, which a decision may name from then on
    GET  /v1/proof?from=N&entry=I&entry=J   the same, with proofs that it extends the first N leaves and covers the
                                       entries I and J: what an approver's command remembers and checks; N may be 0
    GET  /v1/whois?key=SHA256:...      the person whose key that is, for decisions; or &namespace=redaction@pgnotary
    GET  /v1/events                    server-sent events (`pgnotary.approval.events`)

and those of `pgnotary.approval.redaction_routes` and `pgnotary.approval.review_routes`. To who may not see a request it
does not exist.

A decision that has begun is brought to its end, whether or not its caller stays to hear of it. One that is refused is
kept in the ledger as evidence, up to 40 KB of whatever somebody sent: of those only a few a minute are taken.
"""

import asyncio
import contextlib
import logging
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Self

import msgspec
from aiohttp import web

from pgnotary.approval import unix_socket
from pgnotary.approval.access import MAY_CALL, Caller, Role
from pgnotary.approval.answers import answer
from pgnotary.approval.bodies import (
    MAX_PROVEN,
    EntryPaper,
    HeadNote,
    HeadProof,
    KeyOwner,
    Problem,
    Recorded,
    RequestPaper,
    SignedDecision,
    Standing,
)
from pgnotary.approval.callers import Callers, NotAdmitted, is_local
from pgnotary.approval.desk import Desk, Ledger, OpenRequest, Redactions, Reviews
from pgnotary.approval.events import Events
from pgnotary.approval.redaction_routes import RedactionRoutes
from pgnotary.approval.review_routes import ReviewRoutes
from pgnotary.approval.standing import standing_of
from pgnotary.bucket import Bucket
from pgnotary.door import Door, Listening
from pgnotary.errors import (
    AlreadyDecided,
    BadSignature,
    DecisionRefused,
    InArchive,
    LedgerUnavailable,
    PgnotaryError,
    RequestMoved,
)
from pgnotary.ledger.entries import Entry, EntryType, Filed
from pgnotary.request import decision as decisions
from pgnotary.request.life import State
from pgnotary.request.openssh import fingerprint
from pgnotary.request.roster import Roster
from pgnotary.request.sshsig import DECISION_NAMESPACE

__all__ = [
    "FAREWELL_S",
    "KEEPALIVE_S",
    "MAX_BODY_BYTES",
    "MAX_LISTED_BYTES",
    "MAX_WATCHERS",
    "MAX_WATCHERS_EACH",
    "REFUSED_AT_ONCE",
    "REFUSED_PER_S",
    "ApprovalApi",
]

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 65_536
MAX_WATCHERS = 64
# Of these one person has at most so many, and the network leaves some to the socket.
MAX_WATCHERS_EACH = 8
_MAX_REMOTE_WATCHERS = 48
KEEPALIVE_S = 15.0

# Decisions that cannot count: an approver's slips of an afternoon at once, then one each five seconds, which is at most
# 700 MB of ledger a day.
REFUSED_AT_ONCE = 20
REFUSED_PER_S = 0.2

# Longer values are left out of the list and come with their request alone: a thousand long statements at once would
# stop the proxy for a second.
MAX_LISTED_BYTES = 16_384

_PIECE_BYTES = 16_384

# For answers that are on their way when the proxy stops; what the desk is recording is waited for beyond that.
FAREWELL_S = 2.0

# A withdrawal is recorded by the session that holds the statement, as soon as it gets to it.
_WITHDRAWAL_S = 10.0
_DEFAULT_CALLS_PER_S = 20.0

_TRIED_REMEMBERED = 10_000
# Decisions of one person over one request that are good by themselves, before they count as refused ones.
_GOOD_EACH = 3
_JUST_ENDED = timedelta(seconds=60)

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_ONE = "/v1/requests/{id:R-[1-9][0-9]{0,17}}"
_CALLER = web.RequestKey("caller", Caller)


class ApprovalApi:
    """The API, at work inside `async with`. The desk and the ledger belong to others and outlive it.

    `proxy` is the verifier key of the ledger: calls are signed for it. `events.witness` is to be told of entries.
    """

    def __init__(
        self,
        desk: Desk,
        ledger: Ledger,
        roster: Callable[[], Roster],
        path: Path,
        proxy: str,
        *,
        listening: Listening | None = None,
        redactions: Redactions | None = None,
        reviews: Reviews | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        keepalive_s: float = KEEPALIVE_S,
        farewell_s: float = FAREWELL_S,
    ) -> None:
        self._desk = desk
        self._ledger = ledger
        self._redactions = redactions
        self._reviews = reviews
        self._roster = roster
        self._path = path
        self._now = now
        self.events = Events(desk, ledger, keepalive_s)
        """To be told of entries."""
        per_s = listening.calls_per_s if listening else _DEFAULT_CALLS_PER_S
        self.callers = Callers(proxy, roster, now, monotonic, per_s)
        self.door = Door(listening, monotonic) if listening else None
        self.address: tuple[str, int] | None = None
        """Where it listens besides the socket, once it does."""
        self._opened = contextlib.AsyncExitStack()
        self._refusals = Bucket(REFUSED_AT_ONCE, REFUSED_PER_S, monotonic)
        self._tried: dict[bytes, None] = {}
        """SHA-256 of good decisions that were handed in, oldest first: each is good once."""
        self._good: dict[tuple[str, str], int] = {}
        """By request and person: how many good decisions were handed in, oldest first. A nonce makes a new one."""
        self._watchers: dict[asyncio.Task[object], Caller] = {}
        self._decisions = asyncio.TaskGroup()
        # No body is unpacked: a few KB may be 60 MB, for whoever sends them, before anybody has asked who that is.
        self._runner = web.AppRunner(
            self._application(),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=farewell_s,
            auto_decompress=False,
        )
        self._made = (0, 0)
        self._heeding: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Listen; raises ConfigError if the path is taken or cannot be used."""
        bound = unix_socket.bind(self._path)
        self._made = unix_socket.identity(self._path)
        await self._decisions.__aenter__()
        try:
            await self._runner.setup()
            await _Site(self._runner, bound).start()
        except BaseException:
            bound.close()
            await self.__aexit__()
            raise
        try:
            self._heeding = self._decisions.create_task(self.events.heed_desk(), name="events")
            if self.door is not None:
                self.address = await self._opened.enter_async_context(self.door.open(self._new_call))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        unix_socket.remove(self._path, self._made)
        try:
            await self._opened.aclose()
            await self._runner.cleanup()
        finally:
            if self._heeding is not None:
                self._heeding.cancel()
            # Not told of an exception in the block, or it would cancel decisions that are being recorded.
            await self._decisions.__aexit__(None, None, None)

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_tell_errors, self._admit])
        app.router.add_get("/v1/requests", self._list, allow_head=False)
        app.router.add_get(_ONE, self._show, allow_head=False)
        app.router.add_post(f"{_ONE}/decisions", self._take)
        app.router.add_post(f"{_ONE}/withdraw", self._withdraw)
        app.router.add_get("/v1/head", self._show_head, allow_head=False)
        app.router.add_get("/v1/proof", self._prove, allow_head=False)
        app.router.add_get("/v1/whois", self._whois, allow_head=False)
        app.router.add_get("/v1/events", self._watch, allow_head=False)
        if self._redactions is not None:
            RedactionRoutes(self._redactions, self._decisions).add_to(app)
        if self._reviews is not None:
            ReviewRoutes(self._reviews, self._decisions).add_to(app)
        app.on_shutdown.append(self._dismiss)
        app.on_response_prepare.append(_one_call_each)
        return app

    @property
    def watchers(self) -> int:
        """How many streams of events are open."""
        return len(self._watchers)

    def _new_call(self) -> web.RequestHandler:
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner is not set up")
        return server()

    @web.middleware
    async def _admit(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Find out who calls, and whether they may."""
        if self.door is not None:
            self.door.called(request.protocol)
        try:
            caller = await self.callers.admit(request)
        except NotAdmitted as error:
            return answer(error.status, Problem(error=str(error)))
        resource = request.match_info.route.resource
        if resource is None:
            return await handler(request)  # Which says that there is no such call.
        path = resource.canonical
        if not caller.may_call(request.method, path):
            self.callers.refused += 1
            who = f"{caller.person}'s key" if caller.person else "a call that is not signed"
            needs = ", ".join(sorted(MAY_CALL.get((request.method, path), ())))
            return answer(403, Problem(error=f"{request.method} {path} is for {needs}, not for {who}"))
        request[_CALLER] = caller
        return await handler(request)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        """Send them piece by piece: a thousand in one would stop the proxy meanwhile, and be in memory at once."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        with contextlib.suppress(ConnectionResetError):
            await response.prepare(request)
            caller = request[_CALLER]
            for piece in _listed([each for each in self._desk.requests() if caller.may_see(each.person)]):
                await response.write(piece)
                await asyncio.sleep(0)
        return response

    async def _show(self, request: web.Request) -> web.Response:
        standing = await self._standing(request.match_info["id"], request[_CALLER])
        return _unknown(request) if standing is None else answer(200, standing)

    async def _standing(self, name: str, caller: Caller) -> Standing | None:
        """Return where a request stands, None if there is none that the caller may see."""
        if (opened := self._desk.find(name)) is not None:
            paper = Standing(id=name, state=State.HELD.value, paper=_paper(opened))
            return paper if caller.may_see(opened.person) else None
        entries = await self._ledger.entries_of(name)
        asked = next((entry for entry in entries if entry.type is EntryType.REQUEST), None)
        person = str(asked.body.get("person", "")) if asked is not None else ""
        return standing_of(name, entries) if caller.may_see(person) else None

    async def _withdraw(self, request: web.Request) -> web.Response:
        name, caller = request.match_info["id"], request[_CALLER]
        opened = self._desk.find(name)
        # Only its own person takes it back: others have no say in what the engineer's session is told.
        if opened is not None and not caller.is_of(opened.person):
            if caller.may_see(opened.person):
                why = f"{name} is {opened.person}'s: only they withdraw it; an approver denies it"
                return answer(403, Problem(error=why))
            return _unknown(request)
        if opened is not None:
            opened.withdraw(caller.person, caller.key)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WITHDRAWAL_S):
                    while self._desk.find(name) is opened:
                        await self._desk.changed()
        standing = await self._standing(name, caller)
        if standing is None:
            return _unknown(request)
        if opened is not None and standing.state in (State.WITHDRAWN, State.VOID):
            return answer(200, standing)
        if opened is not None and standing.state in (State.HELD, State.APPROVED):
            return answer(202, standing)
        return answer(409, Problem(error=f"{name} is not open: it is {standing.state}"))

    async def _take(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        try:
            signed = msgspec.json.decode(await request.read(), type=SignedDecision)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return answer(400, Problem(error=f"not a decision: {error}"))
        entries = await self._ledger.entries_of(name)
        if not entries:
            return _unknown(request)
        if not self._fits(entries, signed) and not self._refusals.take():
            return answer(429, Problem(error="too many decisions that do not count: wait a few seconds"))
        return await asyncio.shield(self._decisions.create_task(self._decide(name, signed), name=f"decide {name}"))

    def _fits(self, entries: Sequence[Entry], signed: SignedDecision) -> bool:
        """Say whether a decision is good by itself and new: no flood of others may keep it out.

        Over a request that has only just ended, too: it is the evidence of who was slower.
        """
        now, digest = self._now(), sha256(signed.document).digest()
        if digest in self._tried:
            return False
        asked = next((entry for entry in entries if entry.type is EntryType.REQUEST), None)
        shown = next((entry for entry in entries if entry.type is EntryType.PREVIEW), None)
        if asked is None or shown is None:
            return False
        opened = self._desk.find(str(asked.request))
        if opened is None and now - entries[-1].position.time > _JUST_ENDED:
            return False
        try:
            decision = decisions.read(signed.document)
            signer = decisions.check(decision, signed.signature, asked, shown, self._roster(), now)
        except DecisionRefused:
            return False
        if opened is not None and opened.objection(decision) is not None:
            return False
        whose = decision.request, signer.person
        if (good := self._good.get(whose, 0)) >= _GOOD_EACH:
            return False
        self._good[whose] = good + 1
        if len(self._good) > _TRIED_REMEMBERED:
            del self._good[next(iter(self._good))]
        self._tried[digest] = None
        if len(self._tried) > _TRIED_REMEMBERED:
            del self._tried[next(iter(self._tried))]
        return True

    async def _decide(self, name: str, signed: SignedDecision) -> web.Response:
        """Hand a decision to the desk; raises nothing, as the task's exception would end its whole group."""
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
        except Exception:
            log.exception("a decision failed", extra={"request": name})
            return answer(500, Problem(error="the decision failed; the proxy's log says why"))
        place = decided.receipt.entry.position.seq
        return answer(201, Recorded(seq=place, answer=decided.answer.value, missing=decided.missing))

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

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        if task is None or len(self._watchers) >= MAX_WATCHERS:
            return answer(503, Problem(error=f"{len(self._watchers)} watchers already, at most {MAX_WATCHERS}"))
        caller = request[_CALLER]
        remote = [each for each in self._watchers.values() if Role.LOCAL not in each.roles]
        if Role.LOCAL not in caller.roles:
            if len(remote) >= _MAX_REMOTE_WATCHERS:
                return answer(503, Problem(error=f"{len(remote)} watchers already, at most {_MAX_REMOTE_WATCHERS}"))
            if sum(each.is_of(caller.person) for each in remote) >= MAX_WATCHERS_EACH:
                return answer(429, Problem(error=f"{caller.person} has {MAX_WATCHERS_EACH} streams of events already"))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        self._watchers[task] = caller
        if self.door is not None:
            self.door.called(request.protocol, None)
        try:
            await response.prepare(request)
            last_id = request.headers.get("Last-Event-ID")
            await self.events.stream(response.write, caller, last_id, lambda: self.callers.in_force(caller))
        except ConnectionResetError:
            pass  # The watcher has gone.
        finally:
            self._watchers.pop(task, None)
        return response

    async def _dismiss(self, _: web.Application) -> None:
        """End the streams, which would never end by themselves."""
        for task in self._watchers:
            task.cancel()


class _Site(web.BaseSite):
    """Serves at a socket that is bound already."""

    def __init__(self, runner: web.AppRunner, bound: socket.socket) -> None:
        super().__init__(runner)
        self._bound = bound

    @property
    def name(self) -> str:
        """Its address, for people."""
        return f"unix:{self._bound.getsockname()}"

    async def start(self) -> None:
        """Listen."""
        await super().start()
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner is not set up")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(server, sock=self._bound, backlog=self._backlog)


@web.middleware
async def _tell_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Give every failure a JSON body."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return answer(error.status, Problem(error=f"{request.method} {request.path}: {error.reason}"))
    except LedgerUnavailable as error:
        return answer(503, Problem(error=str(error)))
    except PgnotaryError as error:
        log.warning("a call failed", extra={"path": request.path}, exc_info=True)
        return answer(500, Problem(error=str(error)))


async def _one_call_each(request: web.Request, response: web.StreamResponse) -> None:
    """Close a connection from the network behind its answer: what it may take was counted for one call."""
    if not is_local(request):
        response.force_close()
        response.headers["Connection"] = "close"


def _unknown(request: web.Request) -> web.Response:
    return answer(404, Problem(error=f"there is no request {request.match_info['id']}"))


def _paper(opened: OpenRequest, max_bytes: int | None = None) -> RequestPaper:
    return RequestPaper(
        id=opened.id,
        request=_entry_paper(opened.request, max_bytes),
        preview=_entry_paper(opened.preview, max_bytes),
        decisions=[filed.raw for filed in opened.decisions],
    )


def _listed(opened: Iterable[OpenRequest]) -> Iterator[bytes]:
    """Yield the pieces of one JSON array of papers."""
    piece = bytearray(b"[")
    for number, each in enumerate(opened):
        piece += b"," if number else b""
        piece += msgspec.json.encode(_paper(each, MAX_LISTED_BYTES))
        if len(piece) > _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece + b"]")


def _entry_paper(filed: Filed, max_bytes: int | None) -> EntryPaper:
    shown = {
        name: (salt, value)
        for name, (salt, value) in filed.opened.items()
        if max_bytes is None or len(value) <= max_bytes
    }
    return EntryPaper(entry=filed.raw, opened=shown)


def _named_in(document: bytes) -> str | None:
    """Return the request that a document is about; None if it cannot be read, which is for the desk to record."""
    try:
        return decisions.read(document).request
    except DecisionRefused:
        return None

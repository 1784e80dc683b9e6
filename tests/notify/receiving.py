"""A receiver of webhooks that does what a test wants, and a ledger whose webhooks tell it.

`Receiving` answers each attempt by the next word of its script, then with 200; what reached it stands in `attempts`,
and what it has answered with 200 in `taken`.
"""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from aiohttp import web
from nacl.signing import VerifyKey
from tests.store.ledgers import LEDGER, SEED, opened

from pgnotary.config import load
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType, Receipt
from pgnotary.ledger.signing_key import skey
from pgnotary.notify.notifier import Patience
from pgnotary.notify.running import notifying
from pgnotary.request.life import Move, State
from pgnotary.store import Append
from pgnotary.store.appender import Appender

Word: TypeAlias = int | Literal["drop", "hang", "redirect"]
HASTE = Patience(first=0.01, most=0.05, asked=0.3)
SECRET = "DELETE FROM orders WHERE token = 's3cr3t'"


@dataclass(frozen=True)
class Attempt:
    """One message as it came in."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def said(self) -> dict[str, Any]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    def verify(self, public: str) -> None:
        """As a receiver does who knows nothing of pgnotary but the public key."""
        key = VerifyKey(base64.b64decode(public.removeprefix("whpk_")))
        version, _, signature = self.headers["webhook-signature"].partition(",")
        assert version == "v1a"
        signed = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        key.verify(signed, base64.b64decode(signature))


@dataclass
class Receiving:
    """A receiver; `url` is where it is."""

    script: list[Word] = field(default_factory=list)
    retry_after: str = ""
    url: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    taken: list[Attempt] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """What hangs goes on at the end."""
    elsewhere: int = 0
    """How many came where a redirect points."""

    async def _hear(self, request: web.Request) -> web.Response:
        attempt = Attempt({name.lower(): value for name, value in request.headers.items()}, await request.read())
        self.attempts.append(attempt)
        word: Word = self.script.pop(0) if self.script else 200
        match word:
            case "drop":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case "hang":
                await self.released.wait()
                return web.Response()
            case "redirect":
                return web.Response(status=307, headers={"Location": "/elsewhere"})
            case status:
                if 200 <= status < 300:
                    self.taken.append(attempt)
                more = {"Retry-After": self.retry_after} if self.retry_after else {}
                return web.Response(status=status, headers=more, text="words of the receiver\r\nforged log line")

    async def _elsewhere(self, _: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.Response()

    @property
    def events(self) -> list[str]:
        return [each.said["type"] for each in self.taken]

    @asynccontextmanager
    async def listening(self, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator["Receiving"]:
        app = web.Application()
        app.router.add_post("/hook", self._hear)
        app.router.add_route("*", "/elsewhere", self._elsewhere)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
            await site.start()
            host, bound = runner.addresses[0][:2]
            self.url = f"http{'s' if tls else ''}://{'localhost' if tls else host}:{bound}/hook"
            yield self
        finally:
            self.released.set()
            await runner.cleanup()


async def until(found: Callable[[], object], what: str, patience_s: float = 10.0) -> None:
    try:
        async with asyncio.timeout(patience_s):
            while not found():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


def hook(name: str, receiving: Receiving | str, **more: object) -> str:
    """A `[[webhook]]` table."""
    url = receiving if isinstance(receiving, str) else receiving.url
    keys = {"name": name, "url": url, **more}
    return "[[webhook]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


@dataclass
class Telling:
    """A ledger that is being told of."""

    appender: Appender

    async def hold(self, request: str, **body: JSON) -> Receipt:
        """Let a request be held and shown; return its preview."""
        asked: dict[str, JSON] = {
            "person": "eva", "user": "eva", "database": "shop", "kind": "delete", "relations": ["public.orders"],
            "rule": "default", "needs": 1, "expires_at": "2026-05-01T12:15:00.000000Z", "why": f"because of {SECRET}",
        }  # fmt: skip
        sealed = {"statement": SECRET.encode(), "reason": SECRET.encode()}
        draft = Draft(EntryType.REQUEST, asked | body, "S-1", request, None, sealed)
        (first,) = await self.appender.append(Append(draft, Move(request, None, State.HELD)))
        shown: dict[str, JSON] = {"status": "measured", "exact": 1204, "estimate": 1190}
        draft = Draft(EntryType.PREVIEW, shown, "S-1", request, first.leaf, {"sample": SECRET.encode()})
        (second,) = await self.appender.append(Append(draft))
        return second

    async def end(self, request: str, after: Receipt) -> None:
        draft = Draft(EntryType.EXPIRED, {}, "S-1", request, after.leaf)
        await self.appender.append(Append(draft, Move(request, State.HELD, State.EXPIRED)))

    async def forward(self) -> None:
        await self.appender.append(Append(Draft(EntryType.FORWARDED, {}, session="S-1")))


@asynccontextmanager
async def telling(
    folder: Path, *hooks: str, patience: Patience = HASTE, within_s: float = 5.0
) -> AsyncIterator[Telling]:
    """Run the webhooks over the ledger in `folder`, as a proxy does, and stop them as a kill would."""
    (folder / "pgnotary.toml").write_text(f'[ledger]\nname = "{LEDGER}"\n' + "".join(hooks))
    (folder / "proxy.key").write_text(skey(LEDGER, SEED))
    config = load(folder / "pgnotary.toml")
    async with opened(folder / "ledger.db") as store, Appender(store) as appender:
        end = store.head().size
        async with notifying(config, appender, end, patience=patience, answer_within_s=within_s):
            yield Telling(appender)

"""One session's asyncio half: carries bytes and time to the session core and performs what it asks for.

Two links and a `Session` enter; bytes flow until the session closes. Nothing is decided here. Reading from one side
stops while the other side's write buffer is full, so what is in memory is bounded both ways.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, assert_never

from pgnotary.errors import LedgerUnavailable, PgnotaryError
from pgnotary.judge.statement import Statement
from pgnotary.ledger.entries import Draft
from pgnotary.serve.brake import Brake
from pgnotary.serve.desk import Desk
from pgnotary.serve.link import Link
from pgnotary.serve.looks import Looks
from pgnotary.serve.upstream import Upstream, cancel
from pgnotary.session import actions, events
from pgnotary.session.core import Session
from pgnotary.session.events import Event, Now
from pgnotary.store import Append
from pgnotary.store.appender import Appender

__all__ = ["Conversation", "now"]

log = logging.getLogger(__name__)

# How long a note of forwarded statements waits before it is tried again while the ledger is down.
_RETRY_S = 1.0


def now() -> Now:
    """Return the two clocks."""
    return Now(time.monotonic(), datetime.now(UTC))


Reader = Callable[[bytes], Awaitable[Statement]]
"""What reads large texts beside the event loop."""


class Conversation:
    """One client's session from its first ReadyForQuery to its end."""

    def __init__(
        self,
        session: Session,
        client: Link,
        upstream: Upstream,
        desk: Desk,
        appender: Appender,
        reader: Reader,
        looks: Looks,
    ) -> None:
        self._session = session
        self._reader = reader
        self._client = client
        self._brake = Brake(client)
        self._upstream = upstream
        self._desk = desk
        self._appender = appender
        self._looks = looks
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Carry the conversation to its end; both links are closed when this returns."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                # Its own requests fill the client's buffer too, with what we answer without asking the server.
                filling = (Brake(self._upstream.link), self._brake)
                self._client.attach(_Side(self.feed, events.ClientBytes, events.ClientGone(), *filling))
                self._upstream.link.attach(_Side(self.feed, events.UpstreamBytes, events.UpstreamGone(), self._brake))
                self.feed(events.LedgerState(self._appender.down))
                await self._ended
        finally:
            self._looks.end(self)
            self._client.close()
            self._upstream.link.close()

    def feed(self, event: Event) -> None:
        """Give the session an event and do what follows."""
        try:
            for action in self._session.receive(event, now()):
                self._perform(action)
        except Exception:
            # Our own fault, whatever it is: nothing more may pass in a session that we do not understand any more.
            log.exception("session failed at %s", type(event).__name__)
            self.abort()

    def abort(self) -> None:
        """End both connections at once; what was under way is resolved from the ledger at the next start."""
        self._client.abort()
        self._upstream.link.abort()
        self._end()

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _perform(self, action: actions.Action) -> None:
        match action:
            case actions.ToClient(data):
                self._client.write(data)
            case actions.ToUpstream(data):
                self._upstream.link.write(data)
            case actions.Record(drafts, move):
                last = len(drafts) - 1
                appends = [Append(draft, move if i == last else None) for i, draft in enumerate(drafts)]
                self._start(self._record(appends), "record")
            case actions.Read(text):
                self._start(self._read(text), "read")
            case actions.Note(drafts):
                self._start(self._note(drafts), "note")
            case actions.Look():
                self._looks.ask(self, self._may_look)
            case actions.Looked():
                self._looks.end(self)
            case actions.Announce(request, preview):
                self._desk.announce(request, preview, self.feed)
            case actions.Retire(request):
                self._desk.retire(request)
            case actions.PauseClient():
                self._brake.put(self)
            case actions.ResumeClient():
                self._brake.take(self)
            case actions.CancelUpstream():
                self._start(self._cancel(), "cancel")
            case actions.Close():
                self._end()
            case _:
                assert_never(action)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self._tasks is None:
            raise RuntimeError("a conversation that does not run")
        self._tasks.create_task(work, name=name)

    def _may_look(self) -> None:
        self.feed(events.MayLook())

    async def _record(self, appends: Sequence[Append]) -> None:
        try:
            receipts = await self._appender.append(*appends)
        except PgnotaryError as error:
            self.feed(events.RecordFailed(error))
        else:
            self.feed(events.Recorded(tuple(receipts)))

    async def _read(self, text: bytes) -> None:
        self.feed(events.WasRead(await self._reader(text)))

    async def _note(self, drafts: Sequence[Draft]) -> None:
        """Append until it is durable; the session forwards nothing meanwhile if the ledger is down."""
        while not self._session.closed:
            with contextlib.suppress(LedgerUnavailable):
                await self._appender.append(*map(Append, drafts))
                break
            await asyncio.sleep(_RETRY_S)
        self.feed(events.Noted())

    async def _cancel(self) -> None:
        with contextlib.suppress(OSError, PgnotaryError, TimeoutError):
            await cancel(self._upstream.address, self._upstream.pid, self._upstream.secret)
        self.feed(events.CancelDelivered())


class _Side:
    """What a link calls: turns its calls into events, and a full write buffer into a pause of what fills it."""

    def __init__(
        self, feed: Callable[[Event], None], made: Callable[[bytes], Event], gone: Event, *feeding: Brake
    ) -> None:
        self._feed = feed
        self._made = made
        self._gone = gone
        self._feeding = feeding

    def data(self, chunk: bytes) -> None:
        self._feed(self._made(chunk))

    def eof(self) -> None:
        self._feed(self._gone)

    def lost(self, error: Exception | None) -> None:
        del error
        for brake in self._feeding:
            brake.take(self)
        self._feed(self._gone)

    def writable(self, *, ready: bool) -> None:
        for brake in self._feeding:
            if ready:
                brake.take(self)
            else:
                brake.put(self)

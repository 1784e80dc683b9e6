"""Each webhook's own task: the ledger's entries in order, one at a time, again and again until its receiver has it.

Receipts of durable entries only wake it; what is told is read from the ledger, from where the outbox says. So whatever
was killed, nothing is lost, and nothing told twice but what may not have arrived, under the same id. A receiver that is
down, slow or refuses holds up itself alone: no other webhook, no session, no entry.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgnotary.errors import PgnotaryError
from pgnotary.ledger.entries import Entry, Receipt, parse_entry
from pgnotary.notify.notice import notice, types_of
from pgnotary.notify.outbox import Cursor, Outbox
from pgnotary.notify.sender import Answer, Sender
from pgnotary.notify.shapes import body
from pgnotary.notify.signature import signed_headers
from pgnotary.store.reader import SqliteReader
from pgnotary.webhook import Webhook

__all__ = ["PATIENCE", "Notifier", "Patience", "Receiver"]

log = logging.getLogger(__name__)

# Entries that are read at once: at most a MiB.
_PAGE = 16

_JITTER = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited, in seconds."""

    first: float = 1.0
    """Before the second attempt, at most; each further one waits up to twice as long."""
    most: float = 300.0
    """Before any attempt, and before each to a receiver that refuses."""
    asked: float = 3_600.0
    """At most as long as this a receiver may ask to be left alone (Retry-After)."""

    def after(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row, at most."""
        return min(self.most, self.first * 2.0 ** min(failures - 1, 32))

    def before(self, attempts: int, answer: Answer) -> float:
        """Return how long to wait after so many failed attempts, the last with this answer."""
        longest = self.most if answer.refused else self.after(attempts)
        # Half of it by chance, so that many who failed at once do not come back at once.
        return max(longest * _JITTER.uniform(0.5, 1.0), min(answer.retry_after_s, self.asked))


PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Receiver:
    """A webhook, its address, whom to trust there, the seed that signs for it, and what sends to it."""

    webhook: Webhook
    url: str
    trust: ssl.SSLContext | None
    seed: bytes
    sender: Sender


class Notifier:
    """Tells all receivers of one ledger, while `run` runs."""

    def __init__(
        self,
        receivers: Sequence[Receiver],
        ledger: Path,
        outbox: Outbox,
        cursors: Mapping[str, Cursor],
        patience: Patience = PATIENCE,
    ) -> None:
        self._desks = [_Desk(each, ledger, outbox, cursors[each.webhook.name], patience) for each in receivers]

    def hear(self, receipts: Sequence[Receipt]) -> None:
        """Be told of entries that are durable."""
        for desk in self._desks:
            desk.hear(receipts)

    async def run(self) -> None:
        """Tell until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for desk in self._desks:
                tasks.create_task(desk.run(), name=f"webhook {desk.name}")


@dataclass(frozen=True, slots=True)
class _Page:
    """What there is to tell from some entry on."""

    first: int
    """The number of the first entry that is not archived."""
    end: int
    """How many entries there were when it was read, the archived ones included."""
    told: list[tuple[Entry, list[Entry]]]
    """Entries to be told of, and the request that each is about."""


class _Desk:
    """The task of one receiver."""

    def __init__(self, receiver: Receiver, ledger: Path, outbox: Outbox, cursor: Cursor, patience: Patience) -> None:
        self._receiver = receiver
        self._ledger = ledger
        self._outbox = outbox
        self._patience = patience
        self._types = types_of(receiver.webhook.events)
        self._news = asyncio.Event()
        self._cursor = cursor
        self._failures = 0
        """How often reading or telling has failed by our own fault, one time after another."""
        self._said = ""
        """Why it was last said that telling fails."""

    @property
    def name(self) -> str:
        return self._receiver.webhook.name

    def hear(self, receipts: Sequence[Receipt]) -> None:
        if any(receipt.entry.type in self._types for receipt in receipts):
            self._news.set()

    async def run(self) -> None:
        while True:
            try:
                await self._tell_all()
            except (PgnotaryError, OSError) as error:
                self._warn(f"the ledger or the outbox fails: {error}")
            except Exception:
                # A fault of ours must stop neither the proxy nor all that is to be told.
                log.exception("webhook %s: a fault of pgnotary's own", self.name)
            self._failures += 1
            # The file may only be locked for a moment, by what erases redacted values.
            await asyncio.sleep(self._patience.after(self._failures))

    async def _tell_all(self) -> None:
        while True:
            self._news.clear()
            page = await asyncio.to_thread(self._read, self._cursor.at)
            if self._cursor.at < page.first:
                self._warn(f"entries #{self._cursor.at} to #{page.first - 1} were archived before it was told of them")
                self._cursor = Cursor(page.first)
            for entry, about in page.told:
                await self._tell(entry, about)
            self._failures = 0
            if len(page.told) < _PAGE:
                # What is not told of is passed over, and that need not be durable.
                self._cursor = Cursor(max(self._cursor.at, page.end))
                await self._news.wait()

    def _read(self, at: int) -> _Page:
        """Read the next page; in a thread, with a connection of its own that does not outlive it."""
        with SqliteReader(self._ledger) as reader:
            first, end, found = reader.of_types(at, self._types, _PAGE)
            told = [
                (entry, [parse_entry(raw) for raw in reader.asked(entry.request)] if entry.request else [])
                for entry in map(parse_entry, found)
            ]
        return _Page(first, end, told)

    async def _tell(self, entry: Entry, about: Sequence[Entry]) -> None:
        """Return once the receiver has it, and that is durable."""
        seq, attempts = entry.position.seq, 0
        if self._cursor.at == seq and self._cursor.attempts:
            # Of an earlier run; no longer than we would have said, if the clock was set since.
            attempts = self._cursor.attempts
            await asyncio.sleep(
                min(self._cursor.next_try - time.time(), max(self._patience.most, self._patience.asked))
            )
        said = notice(entry, about)
        content = body(said, self._receiver.webhook.format)
        while not (answer := await self._post(said.id, content)).taken:
            attempts += 1
            if answer.gone:
                await self._stay_away(seq)
            wait_s = self._patience.before(attempts, answer)
            self._warn(answer.why, entry=seq, attempts=attempts, again_in_s=round(wait_s, 1))
            await self._keep(Cursor(seq, attempts, time.time() + wait_s))
            await asyncio.sleep(wait_s)
        await self._keep(Cursor(seq + 1))
        if attempts:
            log.info("webhook %s: told at last", self.name, extra={"entry": seq, "attempts": attempts + 1})
        self._said = ""

    async def _post(self, id_: str, content: bytes) -> Answer:
        receiver = self._receiver
        headers = signed_headers(id_, int(time.time()), content, receiver.seed)
        return await receiver.sender.post(receiver.url, receiver.trust, headers, content)

    async def _keep(self, cursor: Cursor) -> None:
        """Make a cursor durable, however long it takes: nothing else is told before."""
        self._cursor = cursor
        while True:
            try:
                await self._outbox.keep(self.name, cursor)
            except OSError as error:
                self._warn(f"the outbox cannot be written: {error}")
                await asyncio.sleep(self._patience.first)
            else:
                return

    async def _stay_away(self, seq: int) -> None:
        log.error(
            "webhook %s: its receiver is gone for good (410): nothing more is sent until the proxy is started again",
            self.name,
            extra={"entry": seq},
        )
        await asyncio.Event().wait()

    def _warn(self, why: str, **extra: object) -> None:
        """Say why telling fails, once as long as it is the same."""
        if why != self._said:
            self._said = why
            log.warning("webhook %s: %s", self.name, why, extra=extra)

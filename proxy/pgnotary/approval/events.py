"""The stream of events: what is open, and how requests go on, to each watcher as soon as it is durable.

Entries of the ledger and changes of the desk enter; server-sent events leave, each with an id. What has happened is
kept in a ring, as places in the ledger, so that a watcher who comes back with the id of what it heard last misses
nothing:

    requests   the ids of all open requests that the watcher may see, at first and at each change
    standing   where a request stands that went on
    snapshot   as `requests`, to a watcher who comes back with an id that the ring does not reach (or another proxy
               gave): it has to ask where those stand that it follows

Only what a watcher may see is told, and nothing is looked up that nobody watches.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec

from pgnotary.approval.access import Caller
from pgnotary.approval.bodies import Standing
from pgnotary.approval.desk import Desk, Ledger
from pgnotary.approval.standing import standing_of
from pgnotary.errors import LedgerUnavailable
from pgnotary.ledger.entries import EntryType, Receipt

__all__ = ["MAX_KEPT", "Events"]

MAX_KEPT = 10_000
# A watcher who does not read for so long is gone.
_WRITE_S = 30.0
# The ledger is asked again.
_RETRY_S = 1.0

_MOVES = frozenset(
    {
        EntryType.DECISION,
        EntryType.WITHDRAWN,
        EntryType.EXPIRED,
        EntryType.ORPHANED,
        EntryType.VOID,
        EntryType.INTENT,
        EntryType.EXECUTED,
        EntryType.OUTCOME,
    }
)


@dataclass(slots=True)
class _Moved:
    """An entry that brought a request somewhere; what that means is worked out when somebody wants to know."""

    number: int
    request: str
    seq: int
    told: tuple[str, Standing] | None = None
    """The requester, and where it stands then."""


class Events:
    """All that watchers are told."""

    def __init__(self, desk: Desk, ledger: Ledger, keepalive_s: float, *, max_kept: int = MAX_KEPT) -> None:
        self._desk = desk
        self._ledger = ledger
        self._keepalive_s = keepalive_s
        self._name = secrets.token_hex(4)
        """Numbers begin anew with each proxy."""
        self._ring: deque[_Moved] = deque(maxlen=max_kept)
        self._number = 0
        self._news = asyncio.Event()

    def witness(self, receipts: Sequence[Receipt]) -> None:
        """Learn of entries that are durable; of those that move no request, which are most, nobody is woken."""
        before = self._number
        for receipt in receipts:
            entry = receipt.entry
            if entry.request is not None and entry.type in _MOVES:
                self._number += 1
                self._ring.append(_Moved(self._number, entry.request, entry.position.seq))
        if self._number != before:
            self._wake()

    async def heed_desk(self) -> None:
        """Wake watchers whenever the desk changes, until cancelled."""
        while True:
            await self._desk.changed()
            self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def stream(
        self,
        send: Callable[[bytes], Awaitable[None]],
        caller: Caller,
        last_id: str | None = None,
        in_force: Callable[[], bool] = lambda: True,
    ) -> None:
        """Write events until cancelled; raises ConnectionResetError when the watcher has gone.

        Nothing more is written once the caller's key is not `in_force` any more.
        """

        async def write(data: bytes) -> None:
            if not in_force():
                raise ConnectionResetError("a watcher's key has left the roster")
            await _bounded(send(data))

        at, missed = self._place_of(last_id)
        told: list[str] | None = None
        while True:
            # Before anything is looked at: what changes from now on wakes us.
            news = self._news
            ids = self._open(caller)
            if ids != told:
                name = "snapshot" if missed and told is None else "requests"
                told = ids
                await write(self._event(name, ids, at))
                continue
            patience_s = self._keepalive_s
            try:
                if (found := await self._next(at, caller)) is not None:
                    at, standing = found
                    if standing is not None:
                        await write(self._event("standing", standing, at))
                    continue
            except _Behind:
                at, missed, told = self._number, True, None
                continue
            except LedgerUnavailable:
                patience_s = min(patience_s, _RETRY_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await news.wait()
                continue
            await write(b": still here\n\n")

    def _open(self, caller: Caller) -> list[str]:
        return [opened.id for opened in self._desk.requests() if caller.may_see(opened.person)]

    def _place_of(self, last_id: str | None) -> tuple[int, bool]:
        """Return from where on events are told, and whether any may have been missed."""
        if last_id is None:
            return self._number, False
        name, _, number = last_id.partition("-")
        known = name == self._name and number.isascii() and number.isdigit() and len(number) < 16
        if not known or int(number) > self._number or int(number) < self._number - len(self._ring):
            return self._number, True
        return int(number), False

    async def _next(self, at: int, caller: Caller) -> tuple[int, Standing | None] | None:
        """Return the next event's number, and what it tells this caller, if anything; None if there is none yet."""
        if at >= self._number:
            return None
        first = self._number - len(self._ring)
        if at < first:
            raise _Behind
        moved = self._ring[at - first]
        if moved.told is None:
            entries = await self._ledger.entries_of(moved.request)
            standing = standing_of(moved.request, [each for each in entries if each.position.seq <= moved.seq])
            asked = next((each for each in entries if each.type is EntryType.REQUEST), None)
            person = str(asked.body.get("person", "")) if asked is not None else ""
            moved.told = person, standing or Standing(id=moved.request, state="unknown")
        person, standing = moved.told
        return moved.number, standing if caller.may_see(person) else None

    def _event(self, name: str, data: object, number: int) -> bytes:
        head = f"id: {self._name}-{number}\nevent: {name}\ndata: "
        return head.encode() + msgspec.json.encode(data) + b"\n\n"


class _Behind(Exception):
    """The ring has gone past where a watcher is."""


async def _bounded(writing: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(_WRITE_S):
            await writing
    except TimeoutError:
        raise ConnectionResetError("a watcher does not read") from None

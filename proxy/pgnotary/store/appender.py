"""Group commit: many callers, one writer, one COMMIT for all that came while the last one was on its way to the disk.

Groups of drafts enter from any task, receipts leave once the store has made them durable. One task owns all writing.
A caller that is cancelled only stops waiting: its entries are appended all the same. When the store fails, everything
that waits and everything that comes fails at once, until a probe has been written and read back: what cannot be
recorded must not be forwarded, and a client is told so rather than left waiting. That a disk is full is recorded in
the room that the store keeps for it. When nothing has come for a moment, the store may tidy up. The queue is bounded.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Self, TypeAlias

from pgnotary.errors import LedgerFull, LedgerUnavailable
from pgnotary.ledger.entries import Draft, EntryType, Receipt
from pgnotary.store import Append, Store

__all__ = ["MAX_WAITING", "Appender"]

# Groups; at 1,000 and more in each second this is about as long as a client would wait for a lost disk.
MAX_WAITING = 1024

# Groups in one COMMIT: enough that the disk costs each of them little, and who reads here meanwhile is not kept long.
_MOST_AT_ONCE = 128

_PROBE_EVERY_S = 1.0

# Without anything to write, before the store may tidy up: longer than what belongs together takes to come.
_REST_AFTER_S = 0.1

_Waiting: TypeAlias = tuple[tuple[Append, ...], "asyncio.Future[list[Receipt]]"]


class Appender:
    """The one writer to a store, at work inside `async with`; the store is opened and closed by its owner.

    At the end of the block everything that was accepted is written first.
    """

    def __init__(self, store: Store, *, max_waiting: int = MAX_WAITING, probe_every_s: float = _PROBE_EVERY_S) -> None:
        self._store = store
        self._max_waiting = max_waiting
        self._probe_every_s = probe_every_s
        self._rested = True
        """Whether nothing was written since the store last tidied up."""
        self._waiting: deque[_Waiting] = deque()
        self._news = asyncio.Event()
        """Something waits, or this is the end."""
        self._open = False
        self._down: LedgerUnavailable | None = None
        self._well_at = 0.0
        """When the store last took something, by the loop's clock."""
        self._watchers: list[Callable[[LedgerUnavailable | None], None]] = []
        self._followers: list[Callable[[Sequence[Receipt]], None]] = []
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._open = True
        self._well_at = asyncio.get_running_loop().time()
        self._tasks.create_task(self._run(), name="appender")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = False
        self._news.set()
        # Not told of an exception in the block, or it would cancel the writer before what was accepted is written.
        await self._tasks.__aexit__(None, None, None)

    @property
    def down(self) -> LedgerUnavailable | None:
        """Why nothing can be recorded now, or None."""
        return self._down

    @property
    def well_s(self) -> float:
        """How long ago the store last took entries or a probe, in seconds; it is tried about once a second."""
        return asyncio.get_running_loop().time() - self._well_at

    def watch(self, callback: Callable[[LedgerUnavailable | None], None]) -> None:
        """Call `callback` whenever `down` changes, with its new value; it must not raise."""
        self._watchers.append(callback)

    def follow(self, callback: Callable[[Sequence[Receipt]], None]) -> None:
        """Call `callback` with each group of entries once it is durable, before its caller hears; it must not raise."""
        self._followers.append(callback)

    async def append(self, *appends: Append) -> list[Receipt]:
        """Append one group and return its receipts in order once its entries are durable.

        Raises RequestMoved or NotCanonical if the group was not appended, LedgerUnavailable if it was not, or if nobody
        can tell. Cancelling the caller does not undo it.
        """
        if self._down:
            raise _copy(self._down)
        if not self._open:
            raise LedgerUnavailable("recording has stopped", hint="start the proxy again")
        if len(self._waiting) >= self._max_waiting:
            raise LedgerUnavailable(
                f"recording is behind: {len(self._waiting)} groups of entries wait for the ledger", hint="try again"
            )
        future: asyncio.Future[list[Receipt]] = asyncio.get_running_loop().create_future()
        self._waiting.append((appends, future))
        self._news.set()
        return await future

    async def _run(self) -> None:
        try:
            while self._open or self._waiting:
                if self._waiting:
                    await self._write()
                elif not self._rested and not self._down:
                    if await self._is_quiet(min(_REST_AFTER_S, self._probe_every_s)):
                        await self._rest()
                elif await self._is_quiet(self._probe_every_s):
                    await self._probe()
        finally:
            self._open = False
            self._refuse(LedgerUnavailable("recording has stopped", hint="start the proxy again"))

    async def _is_quiet(self, for_s: float) -> bool:
        """Wait for news, and return True if there was none for so long."""
        try:
            async with asyncio.timeout(for_s):
                await self._news.wait()
        except TimeoutError:
            return True
        self._news.clear()
        return False

    async def _write(self) -> None:
        """Append what waits longest, in one call."""
        batch = list(islice(self._waiting, _MOST_AT_ONCE))
        try:
            results = await self._store.append([group for group, _ in batch])
        except LedgerUnavailable as error:
            await self._fail(error)
            await self._probe()
            return
        self._rested = False
        self._well_at = asyncio.get_running_loop().time()
        for result in results:
            _, future = self._waiting.popleft()
            if not isinstance(result, Exception):
                self._tell(result)
            if future.cancelled():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    async def _probe(self) -> None:
        try:
            await self._store.probe()
        except LedgerUnavailable as error:
            await self._fail(error)
        else:
            self._well_at = asyncio.get_running_loop().time()
            self._turn(None)

    async def _rest(self) -> None:
        self._rested = True
        try:
            await self._store.rest()
        except LedgerUnavailable as error:
            await self._fail(error)

    async def _fail(self, error: LedgerUnavailable) -> None:
        # In this order: who learns of the failure and tries again at once is told at once.
        self._turn(error)
        self._refuse(error)
        if isinstance(error, LedgerFull):
            # The store does it once; what comes of it changes nothing here.
            with suppress(LedgerUnavailable):
                self._tell(await self._store.last_words([Append(Draft(EntryType.FULL, {"why": error.message}))]))

    def _tell(self, receipts: Sequence[Receipt]) -> None:
        for callback in self._followers:
            callback(receipts)

    def _turn(self, down: LedgerUnavailable | None) -> None:
        before, self._down = self._down, down
        if str(before) != str(down):
            for callback in self._watchers:
                callback(down)

    def _refuse(self, error: LedgerUnavailable) -> None:
        """Fail all that waits."""
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.cancelled():
                future.set_exception(_copy(error))


def _copy(error: LedgerUnavailable) -> LedgerUnavailable:
    # Each task that raises an exception writes its traceback into it.
    return type(error)(error.message, detail=error.detail, hint=error.hint)

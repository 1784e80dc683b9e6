"""The heartbeat of a proxy: so long as it lives, its ledger gains an entry at least once in the promised interval.

Receipts of whatever is recorded enter; a `heartbeat` leaves when nothing else was for that long, or when the wall clock
was set, so that an auditor can tell a clock that was set from a proxy that stood still. It says how long the run has
lasted by a clock that nobody sets and that goes on while the machine sleeps, how many sessions are open and how many
statements wait. While nothing can be recorded it waits and tries again: the silence is then what the ledger shows.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from pgnotary.errors import LedgerUnavailable
from pgnotary.ledger.canonical import JSON, timestamp
from pgnotary.ledger.entries import Draft, EntryType, Receipt
from pgnotary.store import Append
from pgnotary.store.appender import Appender

__all__ = ["Heart", "Load", "boot_time"]

# Clocks that are kept in step by NTP are moved by less.
_STEP = timedelta(seconds=5)
_RETRY_S = 1.0

Load = Callable[[], tuple[int, int]]
"""Returns how many sessions are open, and how many statements wait for a decision."""


def boot_time() -> float:
    """Return seconds of a clock that nobody sets and that goes on while the machine sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _wall() -> datetime:
    return datetime.now(UTC)


class Heart:
    """Beats for one run of a proxy, which begins when this is made."""

    def __init__(
        self,
        appender: Appender,
        every_s: float,
        *,
        clock: Callable[[], float] = boot_time,
        wall: Callable[[], datetime] = _wall,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._appender = appender
        self._every_s = every_s
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._began = self._heard = clock()
        """When the last entry was recorded."""
        self._between = self._apart()
        """How far the two clocks were apart when that was last told."""
        appender.follow(self._hear)

    def clocks(self) -> dict[str, JSON]:
        """Return what both clocks say: how long the run has lasted, and what time it is."""
        return {"up_ms": int((self._clock() - self._began) * 1000), "clock": timestamp(self._wall())}

    async def run(self, load: Load) -> None:
        """Beat until cancelled."""
        while True:
            await self._sleep(max(0.0, self._heard + self._every_s - self._clock()))
            if self._is_due():
                try:
                    await self._beat(load)
                except LedgerUnavailable:
                    # The appender says so, and goes on trying.
                    await self._sleep(min(_RETRY_S, self._every_s))

    def _is_due(self) -> bool:
        quiet = self._clock() - self._heard >= self._every_s
        return quiet or abs(self._apart() - self._between) > _STEP

    async def _beat(self, load: Load) -> None:
        sessions, held = load()
        between = self._apart()
        body = {**self.clocks(), "sessions": sessions, "held": held}
        await self._appender.append(Append(Draft(EntryType.HEARTBEAT, body)))
        self._between = between

    def _hear(self, receipts: Sequence[Receipt]) -> None:
        if receipts:
            self._heard = self._clock()

    def _apart(self) -> timedelta:
        return self._wall() - datetime.fromtimestamp(0, UTC) - timedelta(seconds=self._clock())

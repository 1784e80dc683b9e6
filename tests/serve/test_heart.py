"""The heartbeat over a real ledger, with clocks that a test sets; what it leaves is put before the checklist."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.ledgers import LEDGER, NOON, SEED, VKEY, note

from pgnotary.audit.check import check
from pgnotary.errors import LedgerUnavailable
from pgnotary.ledger.canonical import timestamp
from pgnotary.ledger.entries import Draft, EntryType, parse_entry
from pgnotary.serve.heart import Heart
from pgnotary.store import Append
from pgnotary.store.appender import Appender
from pgnotary.store.reader import SqliteReader
from pgnotary.store.sqlite import SqliteStore
from pgnotary.verify.checklist import Summary
from pgnotary.verify.findings import Findings
from pgnotary.verify.heads import Heads
from pgnotary.verify.pulse import Pulse

EVERY_S = 60


class World:
    """Two clocks that only move while somebody sleeps, and what befalls in which sleep."""

    def __init__(self) -> None:
        self.wall = NOON
        self.up_s = 1_000.0
        self.sleeps = 0
        self.befalls: dict[int, Callable[[], Awaitable[None]]] = {}
        self.lasts = 10

    async def sleep(self, seconds: float) -> None:
        self.pass_(seconds)
        self.sleeps += 1
        if self.sleeps in self.befalls:
            await self.befalls[self.sleeps]()
        if self.sleeps >= self.lasts:
            raise asyncio.CancelledError

    def pass_(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.up_s += seconds

    def now(self) -> datetime:
        return self.wall

    def clock(self) -> float:
        return self.up_s


class Run:
    """A proxy of which only the heart is there."""

    def __init__(self, path: Path, world: World, store: SqliteStore, appender: Appender) -> None:
        self.path, self.world, self.store, self.appender = path, world, store, appender
        self.heart = Heart(appender, EVERY_S, clock=world.clock, wall=world.now, sleep=world.sleep)

    async def live(self) -> Summary:
        """Beat until the world ends, and verify what there is."""
        with suppress(asyncio.CancelledError):
            await self.heart.run(lambda: (3, 2))
        await self.appender.append(Append(Draft(EntryType.STOPPED, {"why": "end", **self.heart.clocks()})))
        with SqliteReader(self.path) as reader:
            return check(reader, VKEY)

    def bodies(self) -> list[dict[str, object]]:
        with SqliteReader(self.path) as reader:
            entries = [each.raw for each in reader.entries()]
        return [dict(entry.body) for entry in map(parse_entry, entries) if entry.type is EntryType.HEARTBEAT]


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[Run]:
    world = World()
    store = await SqliteStore.open(path, LEDGER, SEED, now=world.now)
    try:
        async with Appender(store) as appender:
            run = Run(path, world, store, appender)
            await appender.append(Append(Draft(EntryType.STARTED, {"heartbeat_s": EVERY_S})))
            yield run
    finally:
        await store.close()


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    async with running(tmp_path / "ledger.db") as run:
        yield run


async def test_an_idle_proxy_signs_its_silence(run: Run) -> None:
    summary = await run.live()
    assert (summary.lacks, summary.notes) == ((), ())
    assert run.bodies() == [
        {"up_ms": 60_000 * n, "clock": timestamp(NOON + n * timedelta(seconds=60)), "sessions": 3, "held": 2}
        for n in range(1, 10)
    ]


async def test_a_busy_proxy_needs_no_heartbeat(run: Run) -> None:
    async def work() -> None:
        run.world.pass_(-30)
        await run.appender.append(Append(Draft(EntryType.OPENED, {}, f"S-{run.world.sleeps}")))
        run.world.pass_(30)

    run.world.befalls = dict.fromkeys(range(1, 10), work)
    summary = await run.live()
    assert (summary.lacks, run.bodies()) == ((), [])


async def test_a_frozen_proxy_is_found_out(run: Run) -> None:
    async def freeze() -> None:
        run.world.pass_(3_600)

    run.world.befalls = {3: freeze}
    [lack] = (await run.live()).lacks
    assert lack.startswith("#2 is followed by nothing for 3,660 s")


@pytest.mark.parametrize("busy", [False, True])
async def test_a_clock_set_forward_is_told_and_accuses_nobody(run: Run, *, busy: bool) -> None:
    async def work() -> None:
        if run.world.sleeps == 4:
            run.world.wall += timedelta(hours=5)
        if busy:
            await run.appender.append(Append(Draft(EntryType.OPENED, {}, f"S-{run.world.sleeps}")))

    run.world.befalls = dict.fromkeys(range(1, 10), work)
    summary = await run.live()
    assert summary.lacks == ()
    assert ["the clock was set forward" in note for note in summary.notes] == [True]
    # A busy proxy beats once more, to tell both clocks.
    assert len(run.bodies()) == (1 if busy else 9)


async def test_a_clock_set_back_accuses_nobody(run: Run) -> None:
    async def step() -> None:
        run.world.wall -= timedelta(minutes=4)

    run.world.befalls = {3: step}
    summary = await run.live()
    assert (summary.lacks, summary.notes) == ((), ())


async def test_while_nothing_can_be_recorded_it_goes_on_trying(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    append = Appender.append
    told = 0

    async def failing(self: Appender, *appends: Append) -> object:
        nonlocal told
        if 3 <= run.world.sleeps < 8:
            told += 1
            raise LedgerUnavailable("down")
        return await append(self, *appends)

    monkeypatch.setattr(Appender, "append", failing)
    summary = await run.live()
    # At the third, and each second behind it.
    assert told == 3
    assert summary.lacks == ()
    assert len(run.bodies()) == 3


Step = st.sampled_from(["nothing", "work", "forward", "back", "freeze"])


@settings(max_examples=12, deadline=None)
@given(st.lists(Step, min_size=9, max_size=9))
async def test_whatever_befalls_only_what_was_frozen_lacks(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    async with running(tmp_path_factory.mktemp("t") / "ledger.db") as run:

        async def befall() -> None:
            match steps[run.world.sleeps - 1]:
                case "work":
                    await run.appender.append(note())
                case "forward":
                    run.world.wall += timedelta(hours=2)
                case "back":
                    run.world.wall -= timedelta(hours=1)
                case "freeze":
                    run.world.pass_(600)
                case _:
                    pass

        run.world.befalls = dict.fromkeys(range(1, 10), befall)
        with suppress(asyncio.CancelledError):
            await run.heart.run(lambda: (0, 0))
        with SqliteReader(run.path) as reader:
            lacks = silences(reader)
        assert len(lacks) <= steps.count("freeze")


def silences(reader: SqliteReader) -> tuple[str, ...]:
    """What check 23 finds by itself: the entries of `work` are of no session."""
    findings, heads = Findings(), Heads(())
    pulse = Pulse(heads, findings)
    for each in reader.entries():
        entry = parse_entry(each.raw)
        pulse.follow(entry)
        heads.append(entry.leaf)
    pulse.finish()
    return findings.lacks

"""The stream of events: at once, in order, and nothing missed when a watcher comes back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.approval.office import FakeDesk, MemoryLedger, Office, running_office
from tests.approval.test_api import _next

from pgnotary.approval.access import LOCAL, Caller, Role
from pgnotary.approval.bodies import Standing
from pgnotary.approval.events import Events
from pgnotary.errors import ApiError
from pgnotary.ledger.entries import Filed
from pgnotary.request.life import State

EVA = Caller(frozenset({Role.ENGINEER}), "eva", "SHA256:eva")


class Watcher:
    """What one watcher has been told: name, id and data of each event."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, object]] = []
        self.more = asyncio.Event()

    async def write(self, data: bytes) -> None:
        if data.startswith(b":"):
            return
        lines = data.decode().split("\n")
        number, name, told = (line.split(": ", 1)[1] for line in lines[:3])
        self.told.append((name, number, msgspec.json.decode(told)))
        self.more.set()

    async def until(self, count: int) -> list[object]:
        async with asyncio.timeout(5):
            while len(self.told) < count:
                self.more.clear()
                await self.more.wait()
        return [told["state"] if isinstance(told, dict) else told for _, _, told in self.told]


@asynccontextmanager
async def watching(events: Events, caller: Caller = LOCAL, last_id: str | None = None) -> AsyncIterator[Watcher]:
    watcher = Watcher()
    async with asyncio.TaskGroup() as tasks:
        streaming = tasks.create_task(events.stream(watcher.write, caller, last_id))
        try:
            yield watcher
        finally:
            streaming.cancel()


@asynccontextmanager
async def hub(max_kept: int = 100) -> AsyncIterator[tuple[FakeDesk, Events]]:
    ledger = MemoryLedger()
    desk = FakeDesk(ledger)
    events = Events(desk, ledger, 3_600, max_kept=max_kept)
    ledger.followers.append(events.witness)
    async with asyncio.TaskGroup() as tasks:
        heeding = tasks.create_task(events.heed_desk())
        await asyncio.sleep(0)
        yield desk, events
        heeding.cancel()


async def test_nothing_that_is_open_is_read_again_for_each_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 500 requests open each decision kept the proxy for 20 ms, once for each who watched."""
    async with hub() as (desk, events), watching(events) as local, watching(events, EVA) as engineer:
        for watcher in (local, engineer):
            await watcher.until(1)
        desk.announce(*desk.ledger.hold("R-1", person="eva"))
        with monkeypatch.context() as patched:
            patched.setattr(Filed, "entry", property(lambda _: pytest.fail("it was read again")))
            for watcher in (local, engineer):
                assert (await watcher.until(2))[-1] == ["R-1"]


async def test_each_step_of_a_request_is_told_though_they_come_all_at_once() -> None:
    async with hub() as (desk, events), watching(events) as watcher:
        await watcher.until(1)
        desk.announce(*desk.ledger.hold())
        await watcher.until(2)
        desk.retire("R-1", State.APPROVED)
        for state in (State.EXECUTED, State.COMMITTED):
            desk.ledger.move("R-1", state)
        assert await watcher.until(6) == [[], ["R-1"], [], "approved", "executed", "committed"]


async def test_a_watcher_who_comes_back_is_told_what_they_missed_and_nothing_twice() -> None:
    async with hub() as (desk, events):
        desk.announce(*desk.ledger.hold("R-1"))
        desk.announce(*desk.ledger.hold("R-2"))
        async with watching(events) as first:
            await first.until(1)
            desk.retire("R-1", State.APPROVED)
            await first.until(3)
        last = first.told[-1][1]
        desk.ledger.move("R-1", State.COMMITTED)
        desk.retire("R-2", State.DENIED)
        async with watching(events, last_id=last) as again:
            assert await again.until(3) == [[], "committed", "denied"]
            assert [name for name, _, _ in again.told] == ["requests", "standing", "standing"]


@pytest.mark.parametrize("last_id", ["00000000-1", "nonsense", "-", "{name}-9999", "{name}-0", "{name}-²", "{name}-x"])
async def test_a_watcher_whose_place_is_not_known_gets_a_snapshot(last_id: str) -> None:
    async with hub(max_kept=2) as (desk, events):
        desk.announce(*desk.ledger.hold())
        for state in (State.APPROVED, State.EXECUTED, State.COMMITTED):
            desk.ledger.move("R-1", state)
        async with watching(events, last_id=last_id.format(name=events._name)) as watcher:
            assert await watcher.until(1) == [["R-1"]]
            assert watcher.told[0][0] == "snapshot"


async def test_a_watcher_that_the_ring_has_passed_gets_a_snapshot_and_goes_on() -> None:
    async with hub(max_kept=2) as (desk, events):
        gate = asyncio.Event()
        watcher = Watcher()

        async def slowly(data: bytes) -> None:
            await watcher.write(data)
            if len(watcher.told) == 1:
                await gate.wait()

        async with asyncio.TaskGroup() as tasks:
            streaming = tasks.create_task(events.stream(slowly, LOCAL))
            await watcher.until(1)
            desk.announce(*desk.ledger.hold())
            for state in (State.APPROVED, State.EXECUTED, State.COMMITTED):
                desk.ledger.move("R-1", state)
            gate.set()
            await watcher.until(3)
            desk.ledger.move("R-1", State.COMMITTED)
            await watcher.until(4)
            streaming.cancel()
        assert [name for name, _, _ in watcher.told] == ["requests", "requests", "snapshot", "standing"]


async def test_the_events_of_others_are_not_told_to_an_engineer_and_hold_up_nobody() -> None:
    async with hub() as (desk, events), watching(events, EVA) as watcher:
        await watcher.until(1)
        desk.announce(*desk.ledger.hold("R-1", person="dan"))
        desk.retire("R-1", State.DENIED)
        desk.announce(*desk.ledger.hold("R-2", person="Eva"))
        desk.retire("R-2", State.EXPIRED)
        assert await watcher.until(2) == [[], "expired"]


async def test_a_hundred_steps_wake_a_watcher_and_are_told_in_their_order() -> None:
    async with hub(max_kept=2_000) as (desk, events), watching(events) as watcher:
        await watcher.until(1)
        for n in range(1, 51):
            desk.ledger.hold(f"R-{n}")
            desk.ledger.move(f"R-{n}", State.DENIED)
        await watcher.until(51)
        assert [told["id"] for _, _, told in watcher.told[1:]] == [f"R-{n}" for n in range(1, 51)]  # type: ignore[index]


# --- the client ----------------------------------------------------------------------------------------------------


def _break_off(office: Office) -> None:
    """End all streams, as a network does that fails."""
    for task in list(office.api._streams._watchers):
        task.cancel()


async def _states(events: Iterator[list[str] | Standing], until: str) -> list[object]:
    found: list[object] = []
    async with asyncio.timeout(10):
        while until not in found:
            event = await _next(events)
            found.append(event.state if isinstance(event, Standing) else event)
    return found


async def test_a_client_whose_connection_broke_misses_nothing() -> None:
    async with running_office() as office:
        office.hold("R-1")
        events = office.client.events()
        assert await _next(events) == ["R-1"]
        _break_off(office)
        office.desk.retire("R-1", State.APPROVED)
        office.ledger.move("R-1", State.EXECUTED)
        office.ledger.move("R-1", State.COMMITTED)
        assert await _states(events, "committed") == [[], "approved", "executed", "committed"]
        await asyncio.to_thread(events.close)  # type: ignore[attr-defined]


async def test_a_client_of_a_proxy_that_was_started_again_asks_for_what_it_follows() -> None:
    async with running_office() as office:
        for name in ("R-1", "R-2", "R-3"):
            office.hold(name)
        events = office.client.events()
        assert await _next(events) == ["R-1", "R-2", "R-3"]
        office.desk.retire("R-3", State.DENIED)
        assert await _states(events, "denied") == [["R-1", "R-2"], "denied"]
        office.api.events._name = "another"
        office.desk.retire("R-1", State.ORPHANED)
        _break_off(office)
        heard = await _states(events, "orphaned")
        # What came before the break may have been told; what was told is not asked for again.
        assert heard.count("orphaned") == 1
        assert "denied" not in heard
        assert ["R-2"] in heard
        await asyncio.to_thread(events.close)  # type: ignore[attr-defined]


async def test_a_proxy_that_stays_away_ends_the_stream_and_one_that_never_was_there_at_once() -> None:
    async with running_office() as office:
        events = office.client.events(patience_s=0.2)
        assert await _next(events) == []
        client = office.client
    for stream in (events, client.events(patience_s=3_600)):
        with pytest.raises(ApiError, match="cannot reach") as gone:
            await _next(stream)
        assert gone.value.status == 0


async def test_a_client_that_is_refused_after_a_break_does_not_try_for_ever() -> None:
    async with running_office() as office:
        events = office.client.events(patience_s=3_600)
        assert await _next(events) == []
        with contextlib.ExitStack() as changed:
            mp = changed.enter_context(pytest.MonkeyPatch.context())
            mp.setattr(Caller, "may_call", lambda *_: False)
            _break_off(office)
            with pytest.raises(ApiError) as refused:
                await _next(events)
        assert refused.value.status == 403

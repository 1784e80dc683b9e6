"""The roster in force: what a reload does, and what counts while nobody can tell whether it is written."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from tests.approval.office import MemoryLedger, roster, signed

from pgnotary.errors import BadRoster, ConfigError, DecisionRefused
from pgnotary.ledger.entries import EntryType
from pgnotary.request.roster import Roster, parse_roster
from pgnotary.serve.desk import Desk
from pgnotary.serve.rosters import RosterInForce
from pgnotary.store.appender import Appender

ANA, BO, BOTH = roster("ana"), roster("bo"), roster("ana", "bo")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


class File:
    """A roster's file: what it says now."""

    def __init__(self, says: Roster | Exception) -> None:
        self.says = says

    def __call__(self) -> Roster:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


class Running:
    """A roster in force, over a ledger in memory."""

    def __init__(self, ledger: MemoryLedger, appender: Appender, file: File, in_force: RosterInForce) -> None:
        self.ledger, self.appender, self.file, self.in_force = ledger, appender, file, in_force

    def reload(self, says: Roster | Exception) -> None:
        """Change the file and ask for a reload."""
        self.file.says = says
        self.in_force.reload()

    @property
    def recorded(self) -> list[str]:
        """The rosters in the ledger."""
        return [str(each.entry.body["allowed_signers"]) for each in self.ledger.of_type(EntryType.ROSTER)]


@asynccontextmanager
async def running(start: Roster = BOTH) -> AsyncIterator[Running]:
    """`start` is recorded and in force; a failed record is tried again at once."""
    ledger, file = MemoryLedger(), File(start)
    async with Appender(ledger, probe_every_s=0.01) as appender, asyncio.TaskGroup() as tasks:
        in_force = RosterInForce(start, file, appender, retry_s=0.01)
        task = tasks.create_task(in_force.run())
        yield Running(ledger, appender, file, in_force)
        task.cancel()


async def test_a_changed_roster_counts_once_it_is_recorded() -> None:
    async with running() as found:
        found.reload(BO)
        await until(lambda: found.in_force() == BO)
        assert found.recorded == [BO.text]


async def test_an_unchanged_roster_is_not_recorded_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running() as found:
        found.reload(BOTH)
        await until(lambda: "has not changed" in caplog.text)
        assert found.recorded == []


@pytest.mark.parametrize(
    "wrong",
    [
        ConfigError("allowed_signers: line 3: a control character"),
        BadRoster("line 3"),
        Roster(tuple(parse_roster(BO.text).signers * 800)),
    ],
    ids=["not readable", "not a roster", "too long for an entry"],
)
async def test_a_wrong_roster_is_refused_with_a_line_in_the_log_and_the_old_one_stays(
    wrong: Roster | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as found:
        found.reload(wrong)
        await until(lambda: "the roster was not reloaded" in caplog.text)
        assert found.in_force() == BOTH
        assert found.recorded == []
        found.reload(ANA)
        await until(lambda: found.in_force() == ANA)


async def test_while_it_is_being_written_only_those_count_whom_both_allow() -> None:
    async with running(ANA) as found:
        found.ledger.full = asyncio.Event()
        found.reload(BO)
        await until(lambda: found.in_force() == Roster(()))
        found.ledger.full.set()
        await until(lambda: found.in_force() == BO)


async def test_an_added_key_does_not_count_before_it_is_recorded() -> None:
    async with running(ANA) as found:
        desk = Desk(found.appender, found.in_force, lambda: found.ledger.appended[0].entry.position.time)
        asked, shown = found.ledger.hold()
        desk.announce(asked.filed(), shown.filed(), lambda _: None)
        desk.show_head(found.ledger.head())
        by_bo = signed(found.ledger, asked, shown)
        found.ledger.full = asyncio.Event()
        found.reload(BOTH)
        deciding = asyncio.ensure_future(desk.decide(*by_bo))
        await asyncio.sleep(0)
        found.ledger.full.set()
        with pytest.raises(DecisionRefused, match="nobody on the roster has the key"):
            await deciding
        await until(lambda: found.in_force() == BOTH)
        await desk.decide(*by_bo)


async def test_a_roster_that_could_not_be_recorded_is_tried_again_and_counts_only_then() -> None:
    async with running(ANA) as found:
        found.ledger.fails = True
        found.reload(BO)
        await until(lambda: found.appender.down)
        assert found.in_force() == Roster(())
        found.ledger.fails = False
        await until(lambda: found.in_force() == BO)
        assert found.recorded == [BO.text]


async def test_a_file_put_back_while_the_ledger_was_down_is_recorded_again_since_nobody_knows_what_was_written() -> (
    None
):
    async with running(ANA) as found:
        found.ledger.fails = True
        found.reload(BOTH)
        await until(lambda: found.appender.down)
        assert found.in_force() == ANA
        found.reload(ANA)
        found.ledger.fails = False
        await until(lambda: found.recorded)
        assert found.recorded == [ANA.text]
        assert found.in_force() == ANA


async def test_a_removed_key_does_not_come_back_while_the_ledger_is_down() -> None:
    async with running(BOTH) as found:
        found.ledger.fails = True
        found.reload(ANA)
        await until(lambda: found.in_force() == ANA)
        found.reload(BOTH)
        await until(lambda: found.appender.down)
        assert found.in_force() == ANA
        found.ledger.fails = False
        await until(lambda: found.in_force() == BOTH)

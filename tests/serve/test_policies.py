"""A configuration that is read again: recorded before it counts, tried again while the ledger is down, or refused."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.store.ledgers import opened

from pgnotary.config import Config, load
from pgnotary.errors import LedgerUnavailable
from pgnotary.ledger.entries import Entry, EntryType
from pgnotary.serve.policies import ConfigInForce
from pgnotary.store import Append
from pgnotary.store.appender import Appender
from pgnotary.store.sqlite import SqliteStore

GROUP = "[[group]]\nname = 'dba'\npeople = ['ana']\n[policy]\napprovals = '1 of dba'\n"


class Office:
    """A configuration's file, a ledger, and who follows."""

    def __init__(self, folder: Path, store: SqliteStore, appender: Appender) -> None:
        self.path, self.store, self.appender = folder / "pgnotary.toml", store, appender
        self.path.write_text("")
        self.adopted: list[Config] = []
        self.in_force = ConfigInForce(load(self.path), lambda: load(self.path), appender, retry_s=0.01)
        self.in_force.follow(self.adopted.append)

    async def policies(self) -> list[Entry]:
        return await self.store.of_types(EntryType.POLICY)

    async def reload(self, text: str) -> None:
        self.path.write_text(text)
        self.in_force.reload()
        await asyncio.sleep(0)


@asynccontextmanager
async def office(folder: Path) -> AsyncIterator[Office]:
    async with opened(folder / "ledger.sqlite") as store, Appender(store) as appender:
        it = Office(folder, store, appender)
        running = asyncio.create_task(it.in_force.run())
        yield it
        running.cancel()


async def _until(found: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not found():
            await asyncio.sleep(0.01)


async def test_it_counts_once_it_is_recorded(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        await it.reload(GROUP)
        await _until(lambda: it.adopted)
        [entry] = await it.policies()
        [config] = it.adopted
        assert it.in_force() is config
        assert (entry.body["policy"], entry.body["config"]) == (config.policy.digest, config.digest)


async def test_while_the_ledger_is_down_the_one_before_stays_and_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with office(tmp_path) as it:
        append, failures = it.appender.append, [LedgerUnavailable("full"), LedgerUnavailable("full")]

        async def failing(*appends: object) -> object:
            if failures:
                assert not it.adopted
                raise failures.pop()
            return await append(*appends)  # type: ignore[arg-type]

        monkeypatch.setattr(it.appender, "append", failing)
        await it.reload(GROUP)
        await _until(lambda: it.adopted)
        assert not failures


async def test_the_same_again_is_no_entry_and_what_cannot_be_used_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with office(tmp_path) as it:
        await it.reload("")
        await _until(lambda: "the configuration has not changed" in caplog.text)
        await it.reload(GROUP.replace("1 of dba", "2 of dba"))
        await _until(lambda: "was not reloaded" in caplog.text)
        assert "so that nobody could ever meet it" in caplog.text
        assert not it.adopted
        assert await it.policies() == []


async def test_what_takes_a_restart_is_named_and_stays(tmp_path: Path) -> None:
    async with office(tmp_path) as it:
        await it.reload("[listen]\naddress = '127.0.0.1:1'\n[ledger]\nheartbeat_s = 5\n" + GROUP)
        await _until(lambda: it.adopted)
        [entry], [config] = await it.policies(), it.adopted
        assert entry.body["left"] == ["listen.address", "ledger.heartbeat_s"]
        assert (config.listen.port, config.file.ledger.heartbeat_s) == (6432, 60)
        assert config.approvals[0].group == "dba"


async def test_a_file_that_is_put_back_after_a_disk_failed_leaves_no_ledger_that_names_other_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with office(tmp_path) as it:
        append, failures = it.appender.append, [LedgerUnavailable("nobody can tell whether it was written")]

        async def unsure(*appends: Append) -> object:
            receipts = await append(*appends)
            if failures:
                it.path.write_text("")
                raise failures.pop()
            return receipts

        monkeypatch.setattr(it.appender, "append", unsure)
        await it.reload(GROUP)
        await _until(lambda: it.adopted)
        assert [entry.body["config"] for entry in await it.policies()][-1] == it.in_force().digest
        assert it.in_force().groups == ()

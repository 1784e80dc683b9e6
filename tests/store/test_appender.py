"""Group commit over a store in memory that can fail, and over a real file."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.check import check_ledger
from tests.store.ledgers import NOON, VKEY, note, opened

from pgnotary.errors import LedgerFull, LedgerUnavailable, NotCanonical, RequestMoved
from pgnotary.ledger.entries import Draft, Entry, EntryType, Position, Receipt, encode_entry, parse_entry
from pgnotary.request.life import Move, State
from pgnotary.store import Append, Head, HeadProof
from pgnotary.store.appender import Appender


class Memory:
    """A `Store` that keeps what it is given in memory, waits when told, and fails when told."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        """How many groups came with each call."""
        self.drafts: list[Draft] = []
        self.error: Exception | None = None
        self.probes = 0
        self.rests = 0
        self.words: list[Sequence[Append]] = []
        self.words_fail: Exception | None = None
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.writing = asyncio.Event()
        self.probed = asyncio.Event()

    async def append(self, groups: Sequence[Sequence[Append]]) -> list[list[Receipt] | Exception]:
        self.calls.append(len(groups))
        self.writing.set()
        await self.may_write.wait()
        if self.error:
            raise self.error
        return [self._one(group) for group in groups]

    def _one(self, group: Sequence[Append]) -> list[Receipt] | Exception:
        if any(each.draft.request == "R-lost" for each in group):
            return RequestMoved("R-lost", State.WITHDRAWN)
        receipts = []
        for each in group:
            raw = encode_entry(each.draft, Position("memory", len(self.drafts), bytes(32), NOON), {})
            receipts.append(Receipt(parse_entry(raw), {}))
            self.drafts.append(each.draft)
        return receipts

    async def prove(self, older: int, entries: Sequence[int]) -> HeadProof:
        raise NotImplementedError

    async def probe(self) -> None:
        self.probes += 1
        self.probed.set()
        if self.error:
            raise self.error

    async def rest(self) -> None:
        self.rests += 1
        if self.error:
            raise self.error

    async def last_words(self, group: Sequence[Append]) -> list[Receipt]:
        self.words.append(group)
        if self.words_fail:
            raise self.words_fail
        receipts = self._one(group)
        assert not isinstance(receipts, Exception)
        return receipts

    async def state(self, request: str) -> State | None:
        return None

    async def entries_of(self, request: str) -> list[Entry]:
        return []

    async def open_requests(self) -> list[tuple[str, State, bytes]]:
        return []

    async def last_request_number(self) -> int:
        return 0

    def head(self) -> Head:
        return Head(len(self.drafts), bytes(32))

    def checkpoint(self) -> str:
        return ""

    async def close(self) -> None:
        pass


@pytest.fixture
async def memory() -> Memory:
    return Memory()


def lost() -> Append:
    return Append(Draft(EntryType.EXPIRED, request="R-lost"), Move("R-lost", State.HELD, State.EXPIRED))


def spawned(appender: Appender, *appends: Append) -> "asyncio.Task[list[Receipt]]":
    return asyncio.get_running_loop().create_task(appender.append(*appends))


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition` returns something true."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def full() -> LedgerUnavailable:
    return LedgerUnavailable("the ledger cannot be written: disk is full", detail="d", hint="free space")


async def test_a_group_gets_its_receipts_in_order(memory: Memory) -> None:
    async with Appender(memory) as appender:
        receipts = await appender.append(note(1), note(2))
    assert [receipt.entry.body for receipt in receipts] == [{"n": 1}, {"n": 2}]


async def test_what_comes_during_a_commit_shares_the_next_one(memory: Memory) -> None:
    async with Appender(memory) as appender:
        memory.may_write.clear()
        first = spawned(appender, note())
        await memory.writing.wait()
        rest = [spawned(appender, note(n), note(n)) for n in range(64)]
        await asyncio.sleep(0)
        memory.may_write.set()
        await first
        receipts = await asyncio.gather(*rest)
    assert memory.calls == [1, 64]
    assert [[each.entry.body["n"] for each in pair] for pair in receipts] == [[n, n] for n in range(64)]


async def test_a_thousand_at_once_are_written_in_order_and_not_all_in_one_commit(memory: Memory) -> None:
    async with Appender(memory) as appender:
        receipts = await asyncio.gather(*(appender.append(note(n)) for n in range(1_000)))
    assert [receipt.entry.position.seq for (receipt,) in receipts] == [*range(1_000)]
    assert max(memory.calls) == 128


async def test_an_error_of_one_group_meets_its_caller_alone(memory: Memory) -> None:
    async with Appender(memory) as appender:
        results = await asyncio.gather(
            appender.append(note(1)), appender.append(lost()), appender.append(note(2)), return_exceptions=True
        )
        assert appender.down is None
    assert [type(result) for result in results] == [list, RequestMoved, list]
    assert memory.calls == [3]


async def test_a_cancelled_caller_does_not_undo_its_append(memory: Memory) -> None:
    async with Appender(memory) as appender:
        memory.may_write.clear()
        writing = spawned(appender, note(1))
        await memory.writing.wait()
        waiting = spawned(appender, note(2))
        await asyncio.sleep(0)
        writing.cancel()
        waiting.cancel()
        await asyncio.gather(writing, waiting, return_exceptions=True)
        memory.may_write.set()
        await appender.append(note(3))
    assert [draft.body["n"] for draft in memory.drafts] == [1, 2, 3]


async def test_beyond_its_bound_recording_is_behind_and_says_so(memory: Memory) -> None:
    async with Appender(memory, max_waiting=3) as appender:
        memory.may_write.clear()
        tasks = [spawned(appender, note(n)) for n in range(3)]
        await memory.writing.wait()
        with pytest.raises(LedgerUnavailable, match="recording is behind: 3 groups"):
            await appender.append(note())
        assert appender.down is None
        memory.may_write.set()
        await asyncio.gather(*tasks)
        await appender.append(note())
    assert memory.head().size == 4


async def test_a_failure_meets_all_that_wait_and_all_that_come_until_a_probe_succeeds(memory: Memory) -> None:
    seen: list[LedgerUnavailable | None] = []
    async with Appender(memory, probe_every_s=0.01) as appender:
        appender.watch(seen.append)
        memory.may_write.clear()
        tasks = [spawned(appender, note())]
        await memory.writing.wait()
        tasks += [spawned(appender, note()) for _ in range(5)]
        await asyncio.sleep(0)
        memory.error = full()
        memory.may_write.set()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, LedgerUnavailable)
            assert (result.message, result.detail, result.hint) == (full().message, "d", "free space")
        probes, calls = memory.probes, len(memory.calls)
        await until(lambda: memory.probes > probes + 2)
        with pytest.raises(LedgerUnavailable, match="disk is full"):
            await appender.append(note())
        assert len(memory.calls) == calls == 1
        assert [str(each) for each in seen] == [str(full())]
        memory.error = None
        await until(lambda: appender.down is None)
        await appender.append(note())
    assert seen[1:] == [None]
    assert memory.head().size == 1


async def test_a_failure_that_passes_at_once_is_over_at_once(memory: Memory) -> None:
    class Hiccup(Memory):
        async def probe(self) -> None:
            self.error = None

    store = Hiccup()
    store.error = full()
    async with Appender(store, probe_every_s=60) as appender:
        with pytest.raises(LedgerUnavailable, match="disk is full"):
            await appender.append(note())
        await until(lambda: appender.down is None)
        await appender.append(note())


async def test_a_new_reason_of_being_down_is_told(memory: Memory) -> None:
    seen: list[str] = []
    async with Appender(memory, probe_every_s=0.001) as appender:
        appender.watch(lambda down: seen.append(str(down)))
        memory.error = LedgerUnavailable("one")
        await until(lambda: seen == ["one"])
        memory.error = LedgerUnavailable("two")
        await until(lambda: seen == ["one", "two"])


async def test_who_learns_of_a_failure_and_tries_again_at_once_is_told_at_once(memory: Memory) -> None:
    async def stubborn() -> int:
        for n in itertools.count():
            try:
                await appender.append(note())
            except LedgerUnavailable:
                if n == 3:
                    return len(memory.calls)
        return 0

    async with Appender(memory, probe_every_s=60) as appender:
        memory.error = full()
        assert await stubborn() == 1


async def test_a_broken_store_is_noticed_although_nobody_appends(memory: Memory) -> None:
    async with Appender(memory, probe_every_s=0.001) as appender:
        await memory.probed.wait()
        assert appender.down is None
        memory.error = full()
        await until(lambda: appender.down)
        with pytest.raises(LedgerUnavailable):
            await appender.append(note())
    assert memory.calls == []


async def test_what_waits_during_a_probe_that_fails_is_not_tried(memory: Memory) -> None:
    slow = asyncio.Event()
    probing = asyncio.Event()

    class Slow(Memory):
        async def probe(self) -> None:
            probing.set()
            await slow.wait()
            raise full()

    store = Slow()
    async with Appender(store, probe_every_s=0.001) as appender:
        await probing.wait()
        task = spawned(appender, note())
        await asyncio.sleep(0)
        slow.set()
        with pytest.raises(LedgerUnavailable, match="disk is full"):
            await task
    assert store.calls == []


async def test_one_failure_raised_to_many_does_not_gather_their_tracebacks(memory: Memory) -> None:
    async with Appender(memory) as appender:
        memory.error = full()
        errors = await asyncio.gather(*(appender.append(note()) for _ in range(3)), return_exceptions=True)
        assert appender.down
        errors += await asyncio.gather(*(appender.append(note()) for _ in range(3)), return_exceptions=True)
    assert len({id(error) for error in errors}) == 6


async def test_at_the_end_all_that_was_accepted_is_written(memory: Memory) -> None:
    memory.may_write.clear()
    async with Appender(memory) as appender:
        tasks = [spawned(appender, note(n)) for n in range(3)]
        await memory.writing.wait()
        tasks += [spawned(appender, note(n)) for n in range(3, 6)]
        await asyncio.sleep(0)
        # Runs while the block is being left.
        asyncio.get_running_loop().call_soon(memory.may_write.set)
    assert [len(await task) for task in tasks] == [1] * 6
    assert memory.head().size == 6


async def test_an_error_in_the_block_passes_through_and_what_was_accepted_is_written(memory: Memory) -> None:
    tasks = []

    async def block() -> None:
        async with Appender(memory) as appender:
            tasks.append(spawned(appender, note()))
            await asyncio.sleep(0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await block()
    assert len(await tasks[0]) == 1


async def test_before_and_after_its_block_nothing_is_recorded(memory: Memory) -> None:
    appender = Appender(memory)
    with pytest.raises(LedgerUnavailable, match="recording has stopped"):
        await appender.append(note())
    async with appender:
        pass
    with pytest.raises(LedgerUnavailable, match="recording has stopped"):
        await appender.append(note())
    assert memory.calls == []


async def test_an_unexpected_error_ends_the_block_and_everyone_who_waits_is_told(memory: Memory) -> None:
    appender = Appender(memory)
    tasks = []

    async def block() -> None:
        async with appender:
            memory.error = ZeroDivisionError()
            tasks.extend([spawned(appender, note()) for _ in range(2)])
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as found:
        await block()
    assert found.group_contains(ZeroDivisionError)
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, LedgerUnavailable)
    with pytest.raises(LedgerUnavailable, match="recording has stopped"):
        await appender.append(note())


async def test_64_appenders_share_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    async with opened(path) as store, Appender(store) as appender:

        async def work(n: int) -> list[int]:
            seqs = []
            for turn in range(10):
                if turn == 5:
                    with pytest.raises(NotCanonical):
                        await appender.append(note(n), Append(Draft(EntryType.FORWARDED, {"Bad": 1})))
                pair = await appender.append(note(n), note(turn))
                assert pair[1].entry.position.prev == pair[0].leaf
                seqs += [receipt.entry.position.seq for receipt in pair]
            return seqs

        workers = await asyncio.gather(*(work(n) for n in range(64)))
    assert sorted(itertools.chain(*workers)) == list(range(64 * 20))
    assert all(seqs == sorted(seqs) for seqs in workers)
    entries = check_ledger(path, VKEY)
    for n, seqs in enumerate(workers):
        assert {entries[seq]["body"]["n"] for seq in seqs[::2]} == {n}


async def test_the_store_tidies_up_once_nobody_writes_and_only_behind_a_write(memory: Memory) -> None:
    async with Appender(memory, probe_every_s=0.005) as appender:
        await memory.probed.wait()
        assert memory.rests == 0
        await asyncio.gather(*(appender.append(note(n)) for n in range(300)))
        assert memory.rests == 0
        await until(lambda: memory.rests)
        probes = memory.probes
        await until(lambda: memory.probes > probes + 2)
        assert memory.rests == 1


async def test_what_fails_while_it_tidies_up_is_noticed(memory: Memory) -> None:
    async with Appender(memory, probe_every_s=0.005) as appender:
        await appender.append(note())
        memory.error = full()
        await until(lambda: appender.down)
        memory.error = None
        await until(lambda: not appender.down)
        await appender.append(note())


@pytest.mark.parametrize("fails", [None, LedgerUnavailable("not even that")])
async def test_a_full_disk_is_told_to_the_store_and_to_who_follows(memory: Memory, fails: Exception | None) -> None:
    told: list[str] = []
    memory.words_fail = fails
    async with Appender(memory, probe_every_s=0.005) as appender:
        appender.follow(lambda receipts: told.extend(receipt.entry.type.value for receipt in receipts))
        memory.error = LedgerFull("the disk is full")
        with pytest.raises(LedgerFull):
            await appender.append(note())
        await until(lambda: memory.words)
        memory.error = None
        await until(lambda: not appender.down)
    [first] = memory.words[0]
    assert (first.draft.type, first.draft.body) == (EntryType.FULL, {"why": "the disk is full"})
    assert set(told) == (set() if fails else {"ledger-full"})

"""A process that appends is killed at any moment: what it acknowledged is there, and the ledger goes on."""

import asyncio
import random
from pathlib import Path

import pytest
from tests.check import check_ledger
from tests.flow.forked import fork
from tests.flow.served import until
from tests.store.ledgers import VKEY, append_for_ever, note, one, opened

# Kills of one ledger; it is verified whole after each.
ROUNDS = 50


def killed(path: Path, after: int) -> dict[int, str]:
    """Let a process append until it has said so many lines, kill it, and return all it said: seq -> leaf."""
    said = path.with_name("said")
    said.unlink(missing_ok=True)
    process = fork(append_for_ever, path, said)
    until(lambda: said.exists() and said.read_bytes().count(b"\n") >= after, "a process to append")
    process.kill()
    process.join()
    # The kill may cut the last line.
    lines = said.read_text().splitlines(keepends=True)
    return {int(seq): leaf for seq, leaf in (line.split() for line in lines if line.endswith("\n"))}


@pytest.mark.parametrize("ledgers", [1, pytest.param(20, marks=pytest.mark.long)])
def test_no_acknowledged_entry_is_lost_when_the_process_is_killed(tmp_path: Path, ledgers: int) -> None:
    lines = appended = 0
    for number in range(ledgers):
        folder = tmp_path / str(number)
        folder.mkdir()
        acknowledged, entries = rounds_of(folder / "ledger.sqlite", number)
        lines += acknowledged
        appended += entries
    print(f"{ledgers * ROUNDS} kills: of {lines} acknowledged entries 0 are lost; {appended} are there, 0 groups torn")


def rounds_of(path: Path, number: int) -> tuple[int, int]:
    """Kill whoever appends to a ledger again and again; return how many entries were acknowledged, and are there."""
    acknowledged: dict[int, str] = {}
    entries = []
    for n in range(ROUNDS):
        said = killed(path, random.Random(f"{number} {n}").randrange(1, 60))
        assert said.keys().isdisjoint(acknowledged), "a place was given twice"
        acknowledged |= said
        entries = check_ledger(path, VKEY)
        prevs = {entry["seq"]: entry["prev"] for entry in entries}
        for seq, leaf in acknowledged.items():
            assert seq in prevs, f"round {n}: entry {seq} was acknowledged and is lost"
            # The last entry's leaf stands in no other entry; check_ledger has compared its column with its bytes.
            assert prevs.get(seq + 1, leaf) == leaf
        # A group is whole or absent.
        assert [entry["type"] for entry in entries] == ["forwarded", "request", "forwarded"] * (len(entries) // 3)
    return len(acknowledged), len(entries)


async def test_after_a_kill_the_next_process_goes_on_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    await asyncio.to_thread(killed, path, 10)
    async with opened(path) as store:
        size = store.head().size
        [receipt] = await one(store, note())
        assert receipt.entry.position.seq == size >= 10
        assert len(await store.open_requests()) == size // 3
    check_ledger(path, VKEY)

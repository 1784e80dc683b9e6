"""A process that appends is killed at any moment: what it acknowledged is there, and the ledger goes on."""

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.check import check_ledger
from tests.store.ledgers import VKEY, note, one, opened


def killed(path: Path, after: int) -> dict[int, str]:
    """Let a process append until it has said so many lines, kill it, and return all it said: seq -> leaf."""
    command = [sys.executable, "-m", "tests.store.ledgers", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(after)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    # The kill may cut the last line.
    return {int(seq): leaf for seq, leaf in (line.split() for line in lines if line.endswith("\n"))}


@pytest.mark.parametrize("rounds", [20, pytest.param(200, marks=pytest.mark.long)])
def test_no_acknowledged_entry_is_lost_when_the_process_is_killed(tmp_path: Path, rounds: int) -> None:
    path = tmp_path / "ledger.sqlite"
    acknowledged: dict[int, str] = {}
    for n in range(rounds):
        said = killed(path, random.Random(n).randrange(1, 60))
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


async def test_after_a_kill_the_next_process_goes_on_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    await asyncio.to_thread(killed, path, 10)
    async with opened(path) as store:
        size = store.head().size
        [receipt] = await one(store, note())
        assert receipt.entry.position.seq == size >= 10
        assert len(await store.open_requests()) == size // 3
    check_ledger(path, VKEY)

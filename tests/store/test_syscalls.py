"""Each system call of an append fails, finds the disk full, or is the last: strace does it to a process that appends.

Whatever it was: what was acknowledged is there, what is there is a ledger without a fault, a group is whole or absent,
nothing was acknowledged that failed, and the next process goes on.
"""

import asyncio
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.check import check_ledger
from tests.store.ledgers import LEDGER, SEED, VKEY, held, noon, note, one, opened

from pgnotary.errors import ConfigError, LedgerBroken, LedgerUnavailable
from pgnotary.store.sqlite import SqliteStore

GROUPS = 4
WAYS = {"an I/O error": "error=EIO", "a full disk": "error=ENOSPC", "a kill": "signal=KILL"}
# What SQLite does to the files themselves when it opens, appends and closes; asking for their state changes nothing.
CALLS = "openat pread64 pwrite64 fdatasync fsync ftruncate unlink close fcntl mmap munmap".split()
SOME = 6


async def append(path: Path) -> None:
    """Say what becomes of each group."""
    try:
        store = await SqliteStore.open(path, LEDGER, SEED, now=noon)
        first = await store.last_request_number() + 1
    except (ConfigError, LedgerBroken, LedgerUnavailable) as error:
        # A page that cannot be read may look damaged: the start is refused either way.
        print("unavailable", error)
        return
    for n in range(first, first + GROUPS):
        try:
            receipts = await one(store, note(n), held(f"R-{n}"), note(n))
        except LedgerUnavailable as error:
            print("unavailable", error)
        else:
            print("acknowledged", *(receipt.entry.position.seq for receipt in receipts))
    await store.close()


def under_strace(path: Path, log: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Let a process append to a ledger, and strace see what it does to its files."""
    watched = [option for end in ("", "-wal", "-shm", "-journal") for option in ("-P", f"{path}{end}")]
    command = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", str(log), *watched, *options]
    program = [sys.executable, "-m", "tests.store.test_syscalls", str(path)]
    return subprocess.run([*command, *program], check=False, capture_output=True, text=True)


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A ledger with a group in it, to be copied."""
    if shutil.which("strace") is None:
        pytest.skip("not run: strace is not at hand")
    path = tmp_path / "prepared" / "ledger.sqlite"
    path.parent.mkdir()

    async def prepare() -> None:
        async with opened(path) as store:
            await one(store, note(0), held("R-1"), note(0))

    asyncio.run(prepare())
    log = tmp_path / "log"
    told = under_strace(path, log, "-e", f"trace={','.join(CALLS)}")
    if told.returncode:
        pytest.skip(f"not run: strace may not watch a process here: {told.stderr.strip():.200}")
    return path


def calls_in(log: Path) -> Counter[str]:
    """Return how often each system call was made."""
    return Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE))


@pytest.mark.parametrize("most", [SOME, pytest.param(sys.maxsize, marks=pytest.mark.long)])
def test_whatever_system_call_fails_nothing_acknowledged_is_lost_and_no_chain_is_wrong(
    prepared: Path, tmp_path: Path, most: int
) -> None:
    cases = [(call, n, way) for call, often in calls_in(tmp_path / "log").items() for n in range(often) for way in WAYS]
    random.Random(20_261_127).shuffle(cases)
    hits: Counter[str] = Counter()
    for number, (call, n, way) in enumerate(cases[:most]):
        path = tmp_path / str(number) / "ledger.sqlite"
        shutil.copytree(prepared.parent, path.parent)
        before = len(check_ledger(path, VKEY))
        log = path.with_name("log")
        told = under_strace(path, log, "-e", f"trace={call}", "-e", f"inject={call}:{WAYS[way]}:when={n + 1}")
        case = f"{way} at {call} {n + 1}: {told.returncode} {told.stdout} {told.stderr}"
        hit = "(INJECTED)" in log.read_text() or told.returncode == -signal.SIGKILL
        hits[way] += hit
        acknowledged = [int(seq) for line in told.stdout.splitlines() if line[0] == "a" for seq in line.split()[1:]]
        entries = check_ledger(path, VKEY)
        assert set(acknowledged) <= set(range(before, len(entries))), case
        assert [entry["type"] for entry in entries] == ["forwarded", "request", "forwarded"] * (len(entries) // 3), case
        # Whoever was not killed goes on, or has said why not.
        answered = told.stdout.count("acknowledged") + told.stdout.count("unavailable")
        assert told.returncode == -signal.SIGKILL or (told.returncode == 0 and answered in {1, GROUPS}), case
        asyncio.run(go_on(path, len(entries)))
        shutil.rmtree(path.parent)
    tried = min(most, len(cases))
    print(
        f"{tried} of {len(cases)} cases, {hits.total()} met ({dict(hits)}): 0 acknowledged entries lost, 0 wrong chains"
    )
    assert hits.total() >= tried // 2


async def go_on(path: Path, size: int) -> None:
    async with opened(path) as store:
        assert store.head().size == size
        await one(store, note())
    check_ledger(path, VKEY)


if __name__ == "__main__":
    asyncio.run(append(Path(sys.argv[1])))

"""What recording and verifying cost, beside what the disk and the hash alone can do in the same run.

    python -m bench.ledger [--folder DIRECTORY] [--entries N ...] [--seconds S]

Makes a ledger in DIRECTORY (where yours would lie; a temporary folder otherwise) and prints, one under the other:

- the disk: 1 KiB written and synced with fdatasync, again and again; and SHA-256 over 1 KiB, as hashlib computes it
- appends: one writer that waits for each of its entries, and 64 of them at once, through the same group commit as in
  the proxy; their share of the disk's rate, and of the processor's time (this process, all threads)
- the same with one writer where the ledger already has N entries, for each N: what an append costs must not grow
- verify: the whole checklist over a ledger of N entries as `pgnotary verify` reads it, by processor time, in a process
  of its own; and its memory, which must not grow

The entries are those of `bench.traffic`.
"""

import argparse
import asyncio
import hashlib
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count, islice
from pathlib import Path

import uvloop
from bench.traffic import ENTRIES_IN_A_SESSION, session
from nacl.signing import SigningKey

from pgnotary.audit.check import check
from pgnotary.ledger.checkpoint import vkey
from pgnotary.store import Append
from pgnotary.store.appender import Appender
from pgnotary.store.reader import SqliteReader
from pgnotary.store.sqlite import SqliteStore

_NAME, _SEED = "bench.localhost/ledger", bytes(32)
_VKEY = vkey(_NAME, bytes(SigningKey(_SEED).verify_key))
_WRITERS = 64
_BATCH = 128
_BLOCK = bytes(1024)

# What it is meant to reach: of the disk's rate, entries a second, entries a second.
_WANTED = {"alone": 0.25, "writers": 30_000, "verify": 100_000}


@dataclass(frozen=True)
class Rate:
    """How often something was done in a second, and what one of them cost the processor."""

    each_second: float
    work_us: float


def _disk(folder: Path, seconds: float) -> float:
    """Return how many blocks a second are written and synced."""
    path = folder / "synced"
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        start = time.perf_counter()
        for done in count(1):
            os.write(file, _BLOCK)
            os.fdatasync(file)
            if (took := time.perf_counter() - start) >= seconds:
                return done / took
    finally:
        os.close(file)
        path.unlink()
    raise AssertionError("counting does not end")


def _hashes(seconds: float) -> float:
    start = time.process_time()
    for done in count(1):
        hashlib.sha256(_BLOCK).digest()
        if (took := time.process_time() - start) >= seconds:
            return done / took
    raise AssertionError("counting does not end")


@asynccontextmanager
async def _store(path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path, _NAME, _SEED, now=lambda: datetime.now(UTC))
    try:
        yield store
    finally:
        await store.close()


async def _fill(path: Path, entries: int, first: int) -> None:
    """Append so many entries, as a busy proxy does: 128 in each COMMIT."""
    async with _store(path) as store:
        made = chain.from_iterable(session(number) for number in count(first))
        waiting = entries
        while waiting > 0:
            some = list(islice(made, min(_BATCH, waiting)))
            await store.append([[each] for each in some])
            waiting -= len(some)


async def _append(path: Path, writers: int, seconds: float, first: int) -> Rate:
    """Let writers append one entry after the other, each waiting for its own; they finish the session they are in."""
    done = 0

    async def write(made: Iterator[Append]) -> None:
        nonlocal done
        while time.perf_counter() < end:
            for each in islice(made, ENTRIES_IN_A_SESSION):
                await appender.append(each)
                done += 1

    async with _store(path) as store, Appender(store) as appender:
        start, worked = time.perf_counter(), time.process_time()
        end = start + seconds
        async with asyncio.TaskGroup() as tasks:
            for number in range(writers):
                sessions = (session(each) for each in count(first + number, writers))
                tasks.create_task(write(chain.from_iterable(sessions)), name=f"writer {number}")
        took, worked = time.perf_counter() - start, time.process_time() - worked
    return Rate(done / took, worked / done * 1e6)


def _verify(path: Path) -> tuple[int, float, int]:
    """Return how many entries were verified, in how many seconds of the processor, and the most memory there was."""
    with SqliteReader(path) as reader:
        start = time.process_time()
        entries = check(reader, _VKEY).entries
        return entries, time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _told(name: str, figure: str, beside: str) -> None:
    print(f"  {name:44}{figure:>14}   {beside}")


def _measure(folder: Path, sizes: Sequence[int], seconds: float) -> None:
    path = folder / "ledger.db"
    disk, hashed = _disk(folder, seconds), _hashes(seconds)
    _told("1 KiB written and synced", f"{disk:,.0f}/s", "fdatasync")
    _told("1 KiB hashed", f"{hashed:,.0f}/s", "SHA-256, hashlib")
    alone = uvloop.run(_append(path, 1, seconds, 0))
    disk = (disk + _disk(folder, seconds)) / 2
    share = alone.each_second / disk
    _told(
        "appended alone",
        f"{alone.each_second:,.0f}/s",
        f"{share:.0%} of the disk's (wanted {_WANTED['alone']:.0%}), {alone.work_us:.0f} us of work each",
    )
    many = uvloop.run(_append(path, _WRITERS, seconds, 1_000_000))
    _told(
        f"appended by {_WRITERS} writers",
        f"{many.each_second:,.0f}/s",
        f"wanted {_WANTED['writers']:,}, {many.work_us:.0f} us of work each",
    )
    path.unlink()
    has = 0
    for number, size in enumerate(sorted(sizes), 1):
        uvloop.run(_fill(path, size - has, number * 10_000_000))
        before = _disk(folder, seconds)
        appended = uvloop.run(_append(path, 1, seconds, number * 10_000_000 + 5_000_000))
        share = appended.each_second * 2 / (before + _disk(folder, seconds))
        _told(
            f"appended alone behind {size:,} entries",
            f"{appended.each_second:,.0f}/s",
            f"{share:.0%} of the disk's, {appended.work_us:.0f} us of work each",
        )
        with multiprocessing.get_context("spawn").Pool(1) as process:
            has, worked, memory = process.apply(_verify, (path,))
        _told(
            f"verified, {has:,} entries",
            f"{has / worked:,.0f}/s",
            f"wanted {_WANTED['verify']:,} by the processor's time; {memory / 2**20:.0f} MiB at most",
        )


def main(words: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--entries", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--seconds", type=float, default=3.0)
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="pgnotary-bench-", dir=asked.folder) as folder:
        _measure(Path(folder), asked.entries, asked.seconds)


if __name__ == "__main__":
    main()

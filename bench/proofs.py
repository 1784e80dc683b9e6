"""What it costs the proxy to prove a head to an approver's command, and what that cost would be without kept subtrees.

    python -m bench.proofs [--entries N] [--repeats N]

Makes a ledger of N entries of about 750 bytes in a temporary folder (1,000,000 take 1 GB and some minutes), and asks
the store as the approval API does. Times are milliseconds, by the clock; the processor's are those of this process.
"""

import argparse
import asyncio
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pgnotary.approval.bodies import MAX_PROVEN
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.ledger.tree import root_of
from pgnotary.store import Append
from pgnotary.store.sqlite import SqliteStore

_NAME, _SEED = "bench.localhost/proofs", bytes(32)
_BATCH = 10_000


async def _opened(path: Path) -> SqliteStore:
    return await SqliteStore.open(path, _NAME, _SEED, now=lambda: datetime.now(UTC))


def _entry(n: int) -> Append:
    return Append(Draft(EntryType.FORWARDED, {"n": n, "filler": "x" * 500}, session="S-00000001"))


async def _fill(path: Path, entries: int) -> None:
    store = await _opened(path)
    for start in range(0, entries, _BATCH):
        await store.append([[_entry(n) for n in range(start, min(start + _BATCH, entries))]])
    await store.close()


async def _ask(store: SqliteStore, what: str, repeats: int, question: Callable[[], tuple[int, Sequence[int]]]) -> None:
    took, began = [], time.process_time()
    for _ in range(repeats):
        older, entries = question()
        start = time.perf_counter()
        await store.prove(older, entries)
        took.append((time.perf_counter() - start) * 1e3)
    worked = (time.process_time() - began) * 1e3 / repeats
    print(f"  {what:50}{statistics.median(took):8.1f}{max(took):8.1f}{worked:8.1f}")


async def _measure(path: Path, entries: int, repeats: int) -> None:
    await _fill(path, entries)
    start = time.perf_counter()
    store = await _opened(path)
    print(f"{entries:,} entries, opened and read within {time.perf_counter() - start:.1f} s")
    print(f"{'a head proven':52}{'median':>8}{'most':>8}{'work':>8}")
    chance = random.Random(1)
    last = entries - 1
    await _ask(store, "for a decision: one just held, from the last head", repeats, lambda: (last, (last - 1, last)))
    await _ask(
        store,
        "for a decision: from any head, any entries",
        repeats,
        lambda: (chance.randrange(entries) + 1, (chance.randrange(entries), chance.randrange(entries))),
    )
    await _ask(
        store,
        f"the most that may be asked: {MAX_PROVEN} entries",
        repeats,
        lambda: (chance.randrange(entries) + 1, [chance.randrange(entries) for _ in range(MAX_PROVEN)]),
    )
    await store.close()
    start = time.perf_counter()
    db = sqlite3.connect(path)
    root_of(leaf for (leaf,) in db.execute("SELECT leaf FROM entry ORDER BY seq"))
    db.close()
    print(f"  {'every leaf read and hashed again, as without them':50}{(time.perf_counter() - start) * 1e3:8.1f}")


def main(words: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=100)
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="pgnotary-bench-") as folder:
        asyncio.run(_measure(Path(folder, "ledger.db"), asked.entries, asked.repeats))


if __name__ == "__main__":
    main()

"""What judging a statement costs, and how long an event loop stands still while readers work beside it.

    python -m bench.judge [--repeats N] [--hostile N]

Run it from the root of the repository, on an idle machine. Times are microseconds, except the last table's. The least
is what the work takes, the most is what else the machine did.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count

import uvloop
from tests.judge.resources import RESOURCES

from pgnotary.judge.catalog import BUILT_IN
from pgnotary.judge.gate import needs_worker, tokens_of
from pgnotary.judge.grammar import parse
from pgnotary.judge.meaning import weigh
from pgnotary.judge.policy import Verdict, verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rules import PROFILES, Subject, policy_of
from pgnotary.judge.scope import UNSCOPED
from pgnotary.judge.second import TIMED, bounds
from pgnotary.serve.nursery import Limits
from pgnotary.serve.verdicts import Verdicts
from pgnotary.serve.workers import Workers, is_unread

_CTE = (
    "c{0} AS (SELECT o.id, o.total, count(*) AS n FROM orders o WHERE o.status = 'open' AND o.total > {0} GROUP BY 1)"
)
TEXTS = {
    "short SELECT, 69 B": "SELECT id, total FROM orders WHERE customer = $1 AND status = 'open'",
    "short UPDATE, 78 B": "UPDATE orders SET status = 'paid', total = total + 1 WHERE id = 4711 AND a = 1",
    "16 WITH queries, 2 KB": "WITH "
    + ", ".join(_CTE.format(n) for n in range(16))
    + " SELECT * FROM "
    + ", ".join(f"c{n}" for n in range(16)),
    "literal, 100 KB": "SELECT '" + "x" * 100_000 + "'",
    "IN list, 100 KB": "SELECT 1 FROM t WHERE a IN (" + ", ".join(["1234567"] * 11_000) + ")",
}
_POLICY = policy_of(PROFILES["default"])
_TICK_S = 0.001

Step = Callable[[bytes], object]


def _judge(text: bytes) -> Verdict:
    return verdict(weigh(read(text), BUILT_IN), _POLICY)


def _remembered() -> Step:
    """Return what the proxy's own memory of verdicts does with a text that it knows by its exact bytes."""
    verdicts = Verdicts(_POLICY)
    for sql in TEXTS.values():
        verdicts.judge(sql.encode(), BUILT_IN, UNSCOPED, Subject(), read(sql.encode()))
    return lambda text: verdicts.judge(text, BUILT_IN, UNSCOPED, Subject())


def _alike() -> Step:
    """Return what it does with a text whose constants alone are new; only texts that are forwarded are known so."""
    verdicts, numbers = Verdicts(_POLICY), count(10**6)

    def look(text: bytes) -> object:
        return verdicts.judge(text + b" LIMIT %d" % next(numbers), BUILT_IN, UNSCOPED, Subject())

    for sql in TEXTS.values():
        if sql.startswith(("SELECT", "WITH")) and len(sql) < 4_000:
            look(sql.encode())
    return look


def _timed(step: Step, text: bytes, repeats: int) -> list[float]:
    """Return microseconds; each time with bytes of their own, whose hash nobody has computed yet."""
    found = []
    for _ in range(repeats):
        fresh = bytes(bytearray(text))
        started = time.perf_counter()
        step(fresh)
        found.append((time.perf_counter() - started) * 1e6)
    return found


def _row(name: str, times: Iterable[float]) -> None:
    times = list(times)
    print(f"  {name:34}{min(times):12,.1f}{statistics.median(times):12,.1f}{max(times):12,.1f}")


def _steps(repeats: int) -> None:
    steps: dict[str, Step] = {
        "known, by its exact bytes": _remembered(),
        "known, but for its constants": _alike(),
        "may the loop read it?": needs_worker,
        "gate and libpg_query": lambda text: (tokens_of(text), parse(text)),
        "+ allow-lists and sqlglot": read,
        "+ catalog and policy": _judge,
    }
    for name, sql in TEXTS.items():
        text = sql.encode()
        where = "in a worker" if needs_worker(text) else "on the loop"
        print(f"\n{name}, read {where:12}{'min':>17}{'median':>12}{'max us':>12}")
        for step, function in steps.items():
            if function is steps["known, but for its constants"] and (len(sql) > 4_000 or sql.startswith("UPDATE")):
                continue
            _row(step, _timed(function, text, max(repeats // (1 + len(text) // 1_000), min(repeats, 5))))


async def _in_workers(workers: Workers, repeats: int) -> None:
    print(f"\nread by a worker, there and back{'min':>17}{'median':>12}{'max us':>12}")
    for name, sql in TEXTS.items():
        times = []
        for _ in range(max(repeats // 20, min(repeats, 5))):
            started = time.perf_counter()
            await workers.read(sql.encode())
            times.append((time.perf_counter() - started) * 1e6)
        _row(name, times)


async def _stall(work: Callable[[], object], readings: int) -> float:
    """Return the longest time in which a loop did not tick while that was done, in milliseconds."""
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(_TICK_S)
            gaps.append(time.perf_counter() - started - _TICK_S)

    async with asyncio.TaskGroup() as tasks:
        ticking = tasks.create_task(tick())
        await asyncio.sleep(0.05)
        for _ in range(readings):
            found = work()
            if asyncio.iscoroutine(found):
                await found
            await asyncio.sleep(5 * _TICK_S)
        ticking.cancel()
    return max(gaps) * 1e3


async def _stalls(workers: Workers, readings: int) -> None:
    print(f"\n{'the longest stall of a loop, ms':52}{'ms':>8}")
    print(f"  {'nothing else to do':50}{await _stall(lambda: asyncio.sleep(0.5), 1):8.1f}")
    for name, sql in RESOURCES.items():
        text = sql.encode()
        statement = await workers.read(text)
        outcome = "unread" if is_unread(statement) else "read"
        print(f"  {f'{name} in a worker ({outcome})':50}{await _stall(partial(workers.read, text), readings):8.1f}")
    text = TEXTS["IN list, 100 KB"].encode()
    print(f"  {'IN list, 100 KB, if the loop itself read it':50}{await _stall(lambda: read(text), 1):8.1f}")


async def _beside(workers: Workers, timed: Workers, repeats: int, hostile: int) -> None:
    await _in_workers(workers, repeats)
    if hostile:
        await _stalls(timed, hostile)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1_000)
    parser.add_argument("--hostile", type=int, default=3, metavar="N", help="read each hostile text N times; 0: none")
    asked = parser.parse_args(arguments)
    with Workers(Limits(processor_s=30, wall_s=60)) as workers, Workers() as timed:
        bounds.set(TIMED)
        _steps(asked.repeats)
        uvloop.run(_beside(workers, timed, asked.repeats, asked.hostile))


if __name__ == "__main__":
    main()

"""What a preview costs on a large table: the time of each of its parts, and what other sessions notice of it.

    python -m bench.preview [--rows N] [--repeats N] [--seconds N]

Run it from the root of the repository, on an idle machine. A real `pgnotary serve` holds each statement under the
profile `strict`, and it is denied: with the usual limit of time of a question, and with one that lets all counts end.
The times of `count`, of the rows themselves, of `explain` and of the rows that are shown (`sample`, with the question
about their columns left to the rest) are those in the ledger's `preview` entry; `rest` is the questions about the
catalog, the counts of what foreign keys take along, and what was stopped at the limit. `held` is
what the client waits from sending the statement to the NOTICE. Beside them stands what the same counts take when
PostgreSQL is asked by hand, and how many times that the preview takes. All of them are medians.

Then SELECT 1 and an UPDATE of one row of the same table are sent to the server itself, which does not wait for its
disk, while statements are held and withdrawn again and again: beside the same while nothing else happens, while a
person counts by hand, and while what is held has no preview. All of it shares one machine, the clients as well.
"""

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import uvloop
from bench.others import Beside, Connection, Others, Work, opened, strongest
from bench.readings import percentile
from psycopg import errors
from tests.flow.served import PASSWORD, Served

from pgnotary.approval.papers import Measured
from pgnotary.demo.postgres import EmbeddedPostgres

_CUSTOMERS = 1_000
_SCHEMA = """
CREATE TABLE customers (id int PRIMARY KEY, region int NOT NULL);
INSERT INTO customers SELECT i, i % 10 FROM generate_series(0, {customers} - 1) i;
CREATE TABLE orders (id int NOT NULL, customer int NOT NULL, status text NOT NULL, note text NOT NULL);
INSERT INTO orders SELECT i, i % {customers}, 'open', repeat('x', 40) FROM generate_series(1, {rows}) i;
ALTER TABLE orders ADD PRIMARY KEY (id);
CREATE TABLE items (order_id int NOT NULL, quantity int NOT NULL);
INSERT INTO items SELECT i, 1 FROM generate_series(1, {rows}) i;
ALTER TABLE items ADD CONSTRAINT items_order FOREIGN KEY (order_id) REFERENCES orders ON DELETE CASCADE;
CREATE TABLE archive (LIKE orders);
"""
_INDEXED = "CREATE INDEX IF NOT EXISTS items_by_order ON items (order_id)"
_UNINDEXED = "DROP INDEX IF EXISTS items_by_order"
_JOINED = "customers c WHERE c.id = orders.customer AND c.region = 3"
_HEADS = ("count", "explain", "sample", "rest", "preview", "held", "by hand")
_USUAL_LIMIT_MS = 1_000
_LONG_LIMIT_MS = 20_000
# As many as one person may have held, each with a session of its own.
_SEVERAL = 5
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Statement:
    """What is held."""

    name: str
    text: str
    by_hand: tuple[str, ...]
    """The counts that a careful person would ask for before."""
    before: str = ""
    """What the server itself is told before."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What one preview found, and its times in milliseconds."""

    found: str
    stopped: int
    """How many of its questions met the limit of time."""
    count: float | None
    explain: float | None
    sample: float | None
    whole: float
    held: float
    """From sending the statement to the NOTICE."""

    @property
    def rest(self) -> float:
        """What neither the count of its rows, nor EXPLAIN, nor the sample took."""
        return self.whole - (self.count or 0) - (self.explain or 0) - (self.sample or 0)


_UPDATE = "UPDATE orders SET status = 'closed'"
_COUNT = "SELECT count(*) FROM orders"
_REFERRING = "SELECT count(*) FROM items"
_BY_KEY = Statement("one row, by the primary key", f"{_UPDATE} WHERE id = 7", (f"{_COUNT} WHERE id = 7",))
_WHOLE = Statement("the whole table", _UPDATE, (_COUNT,))
_UNPREVIEWED = "REVOKE INSERT ON archive FROM PUBLIC"
_STATEMENTS = (
    _BY_KEY,
    Statement("by a column without index", f"{_UPDATE} WHERE customer = 7", (f"{_COUNT} WHERE customer = 7",)),
    _WHOLE,
    Statement("a tenth, by a join", f"{_UPDATE} FROM {_JOINED}", (f"{_COUNT}, {_JOINED}",)),
    Statement("INSERT of the whole table", "INSERT INTO archive SELECT * FROM orders", (_COUNT,)),
    Statement(
        "one row, cascading by an index",
        "DELETE FROM orders WHERE id = 7",
        (f"{_COUNT} WHERE id = 7", f"{_REFERRING} WHERE order_id = 7"),
        _INDEXED,
    ),
    Statement(
        "the whole table, cascading",
        "DELETE FROM orders",
        (_COUNT, f"{_REFERRING} WHERE EXISTS (SELECT FROM orders WHERE id = order_id)"),
        _INDEXED,
    ),
    Statement(
        "one row, cascading without index",
        "DELETE FROM orders WHERE id = 7",
        (f"{_COUNT} WHERE id = 7", f"{_REFERRING} WHERE order_id = 7"),
        _UNINDEXED,
    ),
)


# --- one preview ---------------------------------------------------------------------------------------------------


async def _engineer(stack: AsyncExitStack, served: Served) -> Connection:
    return await opened(stack, f"host=127.0.0.1 port={served.port} user=eva password={PASSWORD} dbname=postgres")


async def _refused(connection: Connection, text: str) -> None:
    """Send it and wait until it is denied or withdrawn."""
    with contextlib.suppress(errors.InsufficientPrivilege, errors.QueryCanceled):
        await connection.execute(text.encode())
        raise RuntimeError(f"it has run: {text}")


@contextlib.asynccontextmanager
async def _held(connection: Connection, text: str) -> AsyncIterator[float]:
    """Have it held and give the milliseconds until the NOTICE; the block must end the hold."""
    told = asyncio.Event()

    def note(_: psycopg.errors.Diagnostic) -> None:
        told.set()

    connection.add_notice_handler(note)
    try:
        async with asyncio.TaskGroup() as tasks:
            started = time.perf_counter()
            tasks.create_task(_refused(connection, text))
            await asyncio.wait_for(told.wait(), _PATIENCE_S)
            yield (time.perf_counter() - started) * 1e3
    finally:
        connection.remove_notice_handler(note)


def _parts(measured: Measured, held: float) -> Parts:
    numbers = {"exact": measured.exact, "at_most": measured.at_most, "estimate": measured.estimate}
    name, rows = next(((name, rows) for name, rows in numbers.items() if rows is not None), ("nothing", 0))
    along = f" + {measured.elsewhere:,}" if measured.elsewhere else ""
    times = {each.how: each.took_us / 1e3 for each in measured.obtained.values()}
    return Parts(
        found=f"{name} {rows:,}{along}",
        stopped=measured.why.count(errors.QueryCanceled.sqlstate or ""),
        count=times.get("count"),
        explain=times.get("explain"),
        sample=times.get("select"),
        whole=measured.took_us / 1e3,
        held=held,
    )


async def _preview(served: Served, connection: Connection, text: str) -> Parts:
    async with _held(connection, text) as held:
        paper = await asyncio.to_thread(served.deny)
    return _parts(paper.measured, held)


async def _by_hand(server: Connection, texts: Sequence[str]) -> float:
    """Return how many milliseconds these take when they are asked of the server itself."""
    started = time.perf_counter()
    for text in texts:
        await (await server.execute(text.encode())).fetchall()
    return (time.perf_counter() - started) * 1e3


def _median(found: Sequence[Parts], part: Callable[[Parts], float | None]) -> float | None:
    values = [value for each in found if (value := part(each)) is not None]
    return statistics.median(values) if values else None


def _ms(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:9,.1f}"


def _row(name: str, found: Sequence[Parts], by_hand: float) -> None:
    shown = max(found, key=lambda each: each.stopped)
    whole = statistics.median(each.whole for each in found)
    parts: tuple[Callable[[Parts], float | None], ...] = (
        lambda each: each.count,
        lambda each: each.explain,
        lambda each: each.sample,
        lambda each: each.rest,
        lambda each: each.whole,
        lambda each: each.held,
    )
    times = "".join(_ms(_median(found, part)) for part in parts)
    print(f"  {name:33}{shown.found:>28}{times}{_ms(by_hand)}{whole / by_hand:7.1f}{shown.stopped or '-':>9}")


async def _previews(served: Served, repeats: int) -> None:
    """Print a row for each statement."""
    async with AsyncExitStack() as stack:
        engineer = await _engineer(stack, served)
        server = await opened(stack, served.postgres.dsn("postgres"))
        # The first one of a session has more to find out.
        await _preview(served, engineer, _BY_KEY.text)
        for each in _STATEMENTS:
            if each.before:
                await server.execute(each.before.encode())
            found = [await _preview(served, engineer, each.text) for _ in range(repeats)]
            asked = [await _by_hand(server, each.by_hand) for _ in range(repeats)]
            _row(each.name, found, statistics.median(asked))


# --- others meanwhile ----------------------------------------------------------------------------------------------


def _held_and_withdrawn(connection: Connection, text: str) -> Work:
    async def work() -> None:
        async with _held(connection, text):
            await connection.cancel_safe()

    return work


def _beside_row(name: str, found: Sequence[float], alone: Sequence[float], done: int) -> None:
    p50, p99 = percentile(found, 0.5), percentile(found, 0.99)
    ratios = f"{p50 / percentile(alone, 0.5):8.2f}{p99 / percentile(alone, 0.99):8.2f}"
    print(f"  {name:42}{p50:9.2f}{p99:9.2f}{found[-1]:9.2f}{ratios}{len(found):9,}{done or '-':>9}")


async def _costs(served: Served, rows: int, seconds: float) -> None:
    """Print what others wait, and what is locked."""
    async with AsyncExitStack() as stack:
        engineers = [await _engineer(stack, served) for _ in range(_SEVERAL)]
        where = served.postgres.dsn("postgres")
        selecting, updating, looking, counting = [await opened(stack, where) for _ in range(4)]
        others = Others(selecting, updating, looking, "orders", rows)
        whole = [_held_and_withdrawn(each, _WHOLE.text) for each in engineers]
        await others.beside(min(seconds, 1.0))
        work: dict[str, Sequence[Work]] = {
            "nobody does anything else": (),
            "one counts the whole table by hand": (lambda: _by_hand(counting, _WHOLE.by_hand),),
            "one has held what is not previewed": (_held_and_withdrawn(engineers[0], _UNPREVIEWED),),
            "one previews one row by the primary key": (_held_and_withdrawn(engineers[0], _BY_KEY.text),),
            "one previews the whole table": whole[:1],
            f"{_SEVERAL} preview the whole table at once": whole,
        }
        found = {name: await others.beside(seconds, each) for name, each in work.items()}
        async with _held(engineers[0], _WHOLE.text):
            held = await others.beside(min(seconds, 1.0))
            await engineers[0].cancel_safe()
    alone, *_ = found.values()
    kinds: dict[str, Callable[[Beside], Sequence[float]]] = {
        "SELECT 1": lambda each: each.selects,
        "UPDATE of one row": lambda each: each.updates,
    }
    for name, figures in kinds.items():
        print(f"\n  {f'{name}, ms, while':42}{'p50':>9}{'p99':>9}{'most':>9}{'x p50':>8}{'x p99':>8}", end="")
        print(f"{'times':>9}{'done':>9}")
        for row, each in found.items():
            _beside_row(row, figures(each), figures(alone), each.done)
    *_, by_key, one, several = found.values()
    print(f"\n  locked while a preview runs: {strongest(by_key.locks | one.locks | several.locks)}")
    print(f"  locked while its statement is held: {strongest(held.locks)}")


# --- all of it -----------------------------------------------------------------------------------------------------


def _fill(postgres: EmbeddedPostgres, rows: int) -> None:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(_SCHEMA.format(rows=rows, customers=_CUSTOMERS).encode())
        connection.execute(_INDEXED.encode())
        connection.execute("VACUUM ANALYZE")


def _served(postgres: EmbeddedPostgres, folder: Path, limit_ms: int) -> Served:
    return Served(postgres, folder, profile="strict", hold_s=3_600, preview_timeout_ms=limit_ms)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.preview", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5_000_000, help="of the table, and of the one that refers to it")
    parser.add_argument("--repeats", type=int, default=3, help="of each preview")
    parser.add_argument("--seconds", type=float, default=5, help="of each row of what others wait")
    asked = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgnotary-bench-")))
        # What autovacuum does would be taken for what previews do.
        postgres = stack.enter_context(EmbeddedPostgres(settings={"autovacuum": "off"}))
        _fill(postgres, asked.rows)
        for limit_ms in (_USUAL_LIMIT_MS, _LONG_LIMIT_MS):
            print(f"\n{'ms':35}{'found':>28}{''.join(f'{head:>9}' for head in _HEADS)}{'x':>7}{'stopped':>9}")
            print(f"{asked.rows:,} rows, a limit of {limit_ms / 1e3:g} s:")
            with _served(postgres, folder / str(limit_ms), limit_ms) as served:
                uvloop.run(_previews(served, asked.repeats))
        with _served(postgres, folder / "others", _USUAL_LIMIT_MS) as served:
            uvloop.run(_costs(served, asked.rows, asked.seconds))


if __name__ == "__main__":
    main()

"""kill -9 of the proxy at each step of the durable order, for every kind of statement that can be held.

The proxy stands still before or after it has written an entry, and is killed there. Whatever it was: nothing has run
without a decision, and once the proxy is back, what the ledger says became of the statement is what the database holds.
Only what no transaction can hold may stay unknown, and `pgnotary verify` lists that.
"""

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from tests.flow.fragile import Fragile, Nursery
from tests.flow.served import PATIENCE_S, until

from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.papers import Paper
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import ApiError
from pgnotary.request.decision import Answer

SEED = 20_261_126
Engineer = Callable[[psycopg.Connection[Any]], None]

SCHEMA = """
CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL DEFAULT 'open');
CREATE TABLE items (orders int REFERENCES orders ON DELETE CASCADE);
INSERT INTO orders SELECT generate_series(1, 100);
INSERT INTO items SELECT generate_series(1, 100);
CREATE TABLE made (id int);
"""


@dataclass(frozen=True)
class Kind:
    """A way to send something that is held."""

    run: Engineer
    done: str
    """A question that is true if, and only if, all of it has been committed."""
    undone: str
    """The same, if nothing of it has been."""
    steps: tuple[str, ...] = ("intent", "executed", "outcome")
    """The entries that are written once it is approved, in order."""
    ceiling: tuple[int, int | None] | None = None
    is_wrappable: bool = True


def _simple(text: str) -> Engineer:
    def run(connection: psycopg.Connection[Any]) -> None:
        psycopg.ClientCursor(connection).execute(text.encode())

    return run


def _extended(connection: psycopg.Connection[Any]) -> None:
    connection.execute("UPDATE orders SET status = %s WHERE id <= %s", ["void", 3])


def _in_a_block(connection: psycopg.Connection[Any]) -> None:
    connection.autocommit = False
    connection.execute("SELECT 1")
    connection.execute("DELETE FROM orders WHERE id <= 3")
    connection.commit()


def _many(connection: psycopg.Connection[Any]) -> None:
    connection.cursor().executemany("DELETE FROM orders WHERE id = %s", [(1,), (2,), (3,)])


def _copy(connection: psycopg.Connection[Any]) -> None:
    with connection.cursor().copy("COPY made FROM STDIN WHERE id > 0") as copy:
        copy.write(b"1\n2\n3\n")


_DELETED = ("SELECT count(*) = 97 FROM orders", "SELECT count(*) = 100 FROM orders")
KINDS = {
    "a simple DELETE": Kind(_simple("DELETE FROM orders WHERE id <= 3"), *_DELETED),
    "an extended UPDATE": Kind(
        _extended,
        "SELECT count(*) = 3 FROM orders WHERE status = 'void'",
        "SELECT count(*) = 0 FROM orders WHERE status = 'void'",
    ),
    "in a block of the client's": Kind(_in_a_block, *_DELETED, steps=("intent", "executed", "ending", "outcome")),
    "several in one message": Kind(
        _simple("DELETE FROM orders WHERE id <= 3; UPDATE orders SET status = 'void' WHERE id = 9"),
        "SELECT count(*) = 97 AND bool_or(status = 'void') FROM orders",
        "SELECT count(*) = 100 AND NOT bool_or(status = 'void') FROM orders",
    ),
    "a change inside WITH": Kind(
        _simple("WITH gone AS (DELETE FROM orders WHERE id <= 3 RETURNING id) SELECT count(*) FROM gone"), *_DELETED
    ),
    "a cascade with a ceiling": Kind(_simple("DELETE FROM orders WHERE id <= 3"), *_DELETED, ceiling=(3, 3)),
    "more than its ceiling": Kind(
        _simple("DELETE FROM orders WHERE id <= 3"),
        "SELECT false",
        "SELECT count(*) = 100 FROM orders",
        ceiling=(3, 0),
    ),
    "executemany": Kind(_many, *_DELETED, steps=("intent", "executed", "ending", "outcome")),
    "COPY FROM STDIN": Kind(_copy, "SELECT count(*) = 3 FROM made", "SELECT count(*) = 0 FROM made"),
    "DDL": Kind(
        _simple("DROP TABLE made"), "SELECT to_regclass('made') IS NULL", "SELECT to_regclass('made') IS NOT NULL"
    ),
    "outside any transaction": Kind(
        _simple("CREATE INDEX CONCURRENTLY made_id ON made (id)"),
        "SELECT to_regclass('made_id') IS NOT NULL",
        "SELECT to_regclass('made_id') IS NULL",
        steps=("intent", "outcome"),
        is_wrappable=False,
    ),
}
# Variations of the others, which are six kinds: they are tried with --long. Each of the six is killed before a step or
# behind it in turn, the next one at the moments between; all of them with --long.
VARIATIONS = {"several in one message", "a change inside WITH", "a cascade with a ceiling", "executemany", "DDL"}
CASES = [
    pytest.param(
        kind,
        f"{side} {step}",
        id=f"{name}, {side} {step}",
        marks=[pytest.mark.long] if name in VARIATIONS or (number + place + (side == "after")) % 2 else [],
    )
    for number, (name, kind) in enumerate(KINDS.items())
    for place, step in enumerate(("request", "preview", "decision", *kind.steps))
    for side in ("before", "after")
]
HAS_RUN = {"committed", "resolved:committed"}


@pytest.fixture(scope="module")
def proxy(nursery: Nursery, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fragile]:
    """One proxy, which dies in each test and is started again."""
    with Fragile(nursery, postgres, tmp_path_factory.mktemp("crashes") / "pgnotary", hold_s=600) as found:
        yield found
        found.entries()


@pytest.fixture
def template() -> str:
    """No shop here: orders of our own."""
    return "template1"


@pytest.fixture
def shop(proxy: Fragile, database: str) -> str:
    with proxy.behind(database) as behind:
        behind.execute(SCHEMA.encode())
    return database


def _begin(
    proxy: Fragile, database: str, kind: Kind, beside: ThreadPoolExecutor
) -> tuple[psycopg.Connection[Any], Future[None]]:
    connection = proxy.connect(database, cursor_factory=psycopg.Cursor)
    return connection, beside.submit(kind.run, connection)


def _approve(proxy: Fragile, kind: Kind) -> None:
    """Approve it, if it comes so far that there is something to approve."""
    paper: Paper = proxy.held()
    most, others = kind.ceiling or (None, 0)
    raw, signature = proxy.signed(paper, Answer.APPROVE, max_rows=most, others=others)
    # Killed in between, the proxy answers nothing.
    with contextlib.suppress(ApiError):
        ApprovalClient(proxy.folder / "pgnotary.sock", timeout_s=PATIENCE_S).decide(paper.id, raw, signature)


def _kill(proxy: Fragile) -> None:
    proxy.send(signal.SIGKILL)
    assert proxy.gone() == -signal.SIGKILL, proxy.log


def _has(proxy: Fragile, database: str, question: str) -> bool:
    with proxy.behind(database) as behind:
        row = behind.execute(question.encode()).fetchone()
    assert row is not None
    return bool(row[0])


def _settled(proxy: Fragile, database: str, kind: Kind, known: set[str]) -> str:
    """Compare what the ledger says with what the database holds; return how it ended, "" if nobody was asked."""
    new = set(proxy.states()) - known
    if kind.is_wrappable:
        until(lambda: not proxy.unsettled() & new, f"{new} to be settled: {proxy.states()}")
    idle = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
    until(lambda: _has(proxy, database, f"{idle} AND pid <> pg_backend_pid())"), "the server to notice")
    done, undone = _has(proxy, database, kind.done), _has(proxy, database, kind.undone)
    assert done is not undone, "part of it was committed"
    if not new:
        assert undone
        return ""
    (request,) = new
    life = proxy.life(request)
    types = [entry["type"] for entry in life]
    if "decision" not in types or "intent" not in types:
        assert undone, types
        return str(types[-1])
    assert types[-1] == "outcome", types
    body = life[-1]["body"]
    ended = f"resolved:{body['fate']}" if body["result"] == "resolved" else str(body["result"])
    if ended == "unknown":
        assert not kind.is_wrappable, types
        assert request in proxy.pgnotary("verify", "--key", str(proxy.folder / "proxy.vkey"), expected=2)
    else:
        assert done is (ended in HAS_RUN), types
    return ended


@pytest.mark.parametrize(("kind", "moment"), CASES)
def test_after_a_crash_the_ledger_says_what_the_database_holds(
    proxy: Fragile, shop: str, kind: Kind, moment: str
) -> None:
    if not proxy.is_alive:
        proxy.start()
    known = set(proxy.states())
    proxy.stand.halt(moment)
    with ThreadPoolExecutor(2) as beside:
        connection, sent = _begin(proxy, shop, kind, beside)
        approving = None if moment.split()[1] in ("request", "preview") else beside.submit(_approve, proxy, kind)
        until(proxy.stand.is_halted, f"the proxy to stand still {moment}")
        _kill(proxy)
        assert isinstance(sent.exception(PATIENCE_S), psycopg.OperationalError)
        if approving:
            approving.result(PATIENCE_S)
        connection.close()
    proxy.start()
    ended = _settled(proxy, shop, kind, known)
    assert ended or moment == "before request"


@pytest.mark.long
def test_after_a_crash_at_any_moment_the_ledger_says_what_the_database_holds(
    proxy: Fragile, postgres: EmbeddedPostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    chance, ended, started = random.Random(SEED), Counter[str](), time.monotonic()
    for number in range(500):
        kind = chance.choice(list(KINDS.values()))
        database = f"crash_{number}"
        with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as server:
            server.execute(f"CREATE DATABASE {database}".encode())
        with proxy.behind(database) as behind:
            behind.execute(SCHEMA.encode())
        if not proxy.is_alive:
            proxy.start()
        known = set(proxy.states())
        with ThreadPoolExecutor(2) as beside:
            connection, sent = _begin(proxy, database, kind, beside)
            killed = threading.Event()
            beside.submit(_approve_until, killed, proxy, kind)
            _wait(proxy, proxy.size() + chance.randint(0, 7), sent)
            time.sleep(chance.uniform(0.0, 0.005))
            _kill(proxy)
            killed.set()
            sent.exception(PATIENCE_S)
            connection.close()
        proxy.start()
        ended[_settled(proxy, database, kind, known)] += 1
        with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as server:
            server.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())
    with capsys.disabled():
        print(f"\n500 crashes, seed {SEED}, in {time.monotonic() - started:.0f} s: {dict(sorted(ended.items()))}")


def _wait(proxy: Fragile, size: int, sent: Future[None]) -> None:
    until(lambda: proxy.size() >= size or sent.done(), "some work to be done")


def _approve_until(killed: threading.Event, proxy: Fragile, kind: Kind) -> None:
    """Approve it as soon as it is held; who is killed holds nothing any more."""
    while not killed.is_set():
        with contextlib.suppress(ApiError):
            if proxy.api.requests():
                with contextlib.suppress(AssertionError):
                    _approve(proxy, kind)
                return
        time.sleep(0.005)

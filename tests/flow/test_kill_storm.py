"""kill -9 of the proxy, at random and again and again, while eight clients and two approvers work.

Each statement adds one to a row of its own, its marker: 1 is an execution, 0 is none, and 2 would be the end of all
trust. After each start what was open is settled, and in the end the ledger, the database, what clients were told and
what approvers were told must agree on every single marker.
"""

import contextlib
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.flow.fragile import Fragile, Nursery
from tests.flow.served import PASSWORD, PATIENCE_S, until

from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.papers import read_paper
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import PgnotaryError
from pgnotary.ledger.checkpoint import verify as read_checkpoint
from pgnotary.request.decision import Answer
from pgnotary.request.life import FINAL
from pgnotary.setup import add_user

SEED = 20_261_124
CLIENTS = 8
APPROVERS = 2
MARKERS = 100_000
MARKER = re.compile(r"marker = ([0-9]+)")

# How many entries a proxy may write before it is killed, and how much longer it may live: the kill shall fall between
# any two steps, and into any of them.
ENTRIES = (1, 60)
LONGER_S = 0.02
# How often it is killed again while it starts.
STILLBORN = 0.2
_LOOK_S = 0.01


@dataclass
class Told:
    """What people were told, and by that promised."""

    clients: dict[int, str] = field(default_factory=dict)
    """By marker: the command tag or the SQLSTATE; a broken connection promises nothing."""
    approvals: dict[int, str] = field(default_factory=dict)
    """By place in the ledger: the request whose decision is there."""
    heads: dict[int, bytes] = field(default_factory=dict)
    """By size of the ledger: its root."""
    surprises: list[BaseException] = field(default_factory=list)


@pytest.fixture
def proxy(nursery: Nursery, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Fragile]:
    """A proxy that knows an engineer for each client."""
    proxy = Fragile(nursery, postgres, tmp_path / "pgnotary", hold_s=600)
    for n in range(CLIENTS):
        add_user(proxy.config, f"eva{n}", postgres.superuser, PASSWORD)
    with proxy:
        yield proxy


@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.long)])
def test_whatever_kill_9_leaves_the_ledger_and_the_database_agree(
    proxy: Fragile, database: str, kills: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with proxy.behind(database) as behind:
        behind.execute("CREATE TABLE marks (marker int PRIMARY KEY, ran int NOT NULL DEFAULT 0)")
        behind.execute("INSERT INTO marks SELECT n FROM generate_series(0, %s) n", [MARKERS - 1])
        behind.execute("ANALYZE marks")
    started = time.monotonic()
    told = Told()
    left: Counter[str] = Counter()
    with _people(proxy, database, told):
        _storm(proxy, random.Random(SEED), kills, left, told)
    proxy.stop()
    figures = _judge(proxy, database, told)
    with capsys.disabled():
        print(f"\nkill storm: seed {SEED}, {kills} kills in {time.monotonic() - started:.1f} s; {figures}")
        print(f"found open after a kill: {dict(sorted(left.items()))}")


def _storm(proxy: Fragile, chance: random.Random, kills: int, left: Counter[str], told: Told) -> None:
    """Kill the proxy so often; each time it is back, what was open before is settled."""
    done = 0
    while done < kills:
        size = proxy.size() + chance.randint(*ENTRIES)
        until(lambda size=size: proxy.size() >= size or told.surprises, "work to be done")  # type: ignore[misc]
        assert told.surprises == []
        time.sleep(chance.uniform(0.0, LONGER_S))
        _kill(proxy)
        done += 1
        open_ = proxy.unsettled()
        left.update(state.value for state in proxy.states().values() if state not in FINAL)
        while done < kills and chance.random() < STILLBORN:
            proxy.spawn()
            time.sleep(chance.uniform(0.0, 20 * LONGER_S))
            _kill(proxy)
            done += 1
        proxy.entries()
        proxy.start()
        until(lambda open_=open_: not proxy.unsettled() & open_, f"{open_} to be settled")  # type: ignore[misc]


def _kill(proxy: Fragile) -> None:
    proxy.send(signal.SIGKILL)
    assert proxy.gone() == -signal.SIGKILL, proxy.log


@contextlib.contextmanager
def _people(proxy: Fragile, database: str, told: Told) -> Iterator[None]:
    """Let clients and approvers work beside the block; clients finish first, so that nobody waits in vain."""
    home, closed = threading.Event(), threading.Event()
    markers = iter(range(MARKERS))
    turn = threading.Lock()

    def client(n: int) -> None:
        while not home.is_set():
            with contextlib.suppress(psycopg.OperationalError), proxy.connect(database, user=f"eva{n}") as connection:
                while not home.is_set():
                    with turn:
                        marker = next(markers)
                    told.clients[marker] = _run(connection, marker)
            home.wait(_LOOK_S)

    def approver(n: int) -> None:
        chance = random.Random(SEED + 1 + n)
        while not closed.is_set():
            with contextlib.suppress(PgnotaryError):
                _decide(proxy, chance, told)
            closed.wait(_LOOK_S)

    def guarded(work: Any, n: int) -> None:
        try:
            work(n)
        except BaseException as surprise:
            told.surprises.append(surprise)

    clients = [threading.Thread(target=guarded, args=(client, n), daemon=True) for n in range(CLIENTS)]
    approvers = [threading.Thread(target=guarded, args=(approver, n), daemon=True) for n in range(APPROVERS)]
    for thread in (*clients, *approvers):
        thread.start()
    try:
        yield
    finally:
        home.set()
        for thread in clients:
            thread.join(PATIENCE_S)
        closed.set()
        for thread in approvers:
            thread.join(PATIENCE_S)
    assert told.surprises == []
    assert not any(thread.is_alive() for thread in (*clients, *approvers))


def _run(connection: psycopg.Connection[Any], marker: int) -> str:
    """Run one statement and return what the client is told; a broken connection raises."""
    try:
        done = connection.execute(f"UPDATE marks SET ran = ran + 1 WHERE marker = {marker}".encode())
    except psycopg.Error as error:
        if error.sqlstate is None:
            raise
        return error.sqlstate
    return done.statusmessage or ""


def _decide(proxy: Fragile, chance: random.Random, told: Told) -> None:
    """Decide over what lies on the desk, one after the other; now and then no."""
    api = ApprovalClient(proxy.folder / "pgnotary.sock")
    note = read_checkpoint(api.head(), (proxy.folder / "proxy.vkey").read_text().strip())
    told.heads[note.size] = note.root
    for body in api.requests():
        paper = read_paper(body, body.id)
        raw, signature = proxy.signed(paper, Answer.DENY if chance.random() < 0.1 else Answer.APPROVE)
        # The other one may have been faster.
        with contextlib.suppress(PgnotaryError):
            told.approvals[api.decide(paper.id, raw, signature).seq] = paper.id


def _judge(proxy: Fragile, database: str, told: Told) -> str:
    """Compare the ledger with the database and with all that was told; return the figures."""
    entries = proxy.entries()
    lives: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        if entry["type"] != "decision-rejected" and "request" in entry:
            lives.setdefault(entry["request"], []).append(entry)
    markers = _markers(proxy, entries)
    assert markers.keys() == lives.keys()
    with proxy.behind(database) as behind:
        ran = dict(behind.execute("SELECT marker, ran FROM marks WHERE ran > 0").fetchall())
    assert set(ran.values()) <= {1}

    ends: Counter[str] = Counter()
    executed: set[int] = set()
    for request, life in lives.items():
        end = _end(life)
        ends[end] += 1
        types = [entry["type"] for entry in life]
        if "intent" in types:
            # Every execution had a decision, and that decision said yes.
            decision = life[types.index("intent") - 1]
            assert (decision["type"], decision["body"]["answer"]) == ("decision", "approve"), request
        if end in ("committed", "resolved: committed"):
            assert life[-1]["body"]["rows"] == 1, request
            executed.add(markers[request])
        assert end in ENDS, request
    # Nothing is without a request, nothing ran that the ledger does not know, nothing in the ledger did not run.
    assert executed == ran.keys()

    ended = {markers[request]: _end(life) for request, life in lives.items()}
    for marker, answer in told.clients.items():
        assert ended[marker] in PROMISES.get(answer, set()), (marker, answer, ended[marker])
    for seq, request in told.approvals.items():
        assert (entries[seq]["type"], entries[seq]["request"]) == ("decision", request)
    roots = _roots(proxy)
    for size, root in told.heads.items():
        assert roots[size] == root, f"a head of size {size} that was shown is not one of this ledger"
    assert executed
    return (
        f"{len(entries)} entries, {len(lives)} requests: {dict(sorted(ends.items()))}; "
        f"told: {dict(sorted(Counter(told.clients.values()).items()))} to clients, {len(told.approvals)} decisions and "
        f"{len(told.heads)} heads to approvers"
    )


ENDS = {"denied", "orphaned", "void", "withdrawn", "committed", "rolled-back", "resolved: committed"}
ENDS |= {"resolved: rolled-back"}
# What a client was told -> what may be in the ledger.
PROMISES = {
    "UPDATE 1": {"committed"},
    "42501": {"denied"},
}


def _end(life: list[dict[str, Any]]) -> str:
    last = life[-1]
    match last["type"]:
        case "decision":
            return "denied" if last["body"]["answer"] == "deny" else "approved"
        case "outcome":
            result = str(last["body"]["result"])
            return f"resolved: {last['body']['fate']}" if result == "resolved" else result
        case other:
            return str(other)


def _markers(proxy: Fragile, entries: list[dict[str, Any]]) -> dict[str, int]:
    """Return the marker of each request, read from the statement that its entry commits to."""
    found = {}
    for seq, value in proxy.sealed("statement"):
        if entries[seq]["type"] == "request":
            match = MARKER.search(value.decode())
            assert match, value
            found[entries[seq]["request"]] = int(match[1])
    assert len(set(found.values())) == len(found), "a marker was asked for twice"
    return found


def _roots(proxy: Fragile) -> dict[int, bytes]:
    """Return the root of each checkpoint that is kept; `entries` has verified them."""
    vkey = (proxy.folder / "proxy.vkey").read_text().strip()
    notes = [read_checkpoint(note, vkey) for note in proxy.checkpoints()]
    return {note.size: note.root for note in notes}

"""Approval, withdrawal and expiry race for the same request: one wins, and everybody tells the same story.

In each round several sessions hold a statement, then an approver signs, the engineer presses Ctrl-C and the clock jumps
past every deadline, all at about the same moment, in an order that chance decides. What the store accepted first, what
the client was told, what the approver was told and what the database holds must agree for each of them.
"""

import contextlib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.flow.fragile import Fragile, Nursery
from tests.flow.served import PASSWORD, PATIENCE_S, until

from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.papers import Paper, read_paper
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import ApiError
from pgnotary.request.decision import Answer
from pgnotary.setup import add_user

SIDE_BY_SIDE = 10
HOLD_S = 60
SEED = 20_261_124
# In turn one of the three starts at once, the others up to so much later: the favourite often wins, and often not.
HANDICAP_S = 0.4
CONTESTANTS = ("approval", "withdrawal", "expiry")

# The life behind request and preview -> who won, and what the client may have been told.
ENDINGS = {
    "approve intent executed committed": ("approved", "UPDATE 1"),
    "approve void": ("approved, then taken back", "withdrawn"),
    "approve intent rolled-back": ("approved, then taken back", "withdrawn"),
    "approve intent failed": ("approved, then cancelled", "withdrawn"),
    "withdrawn": ("withdrawn", "withdrawn"),
    "expired": ("expired", "expired"),
}


@dataclass
class Racer:
    """One session and what everybody was told of its statement."""

    marker: int
    connection: psycopg.Connection[Any]
    request: str = ""
    paper: Paper | None = None
    told: str = ""
    approval: int | ApiError | None = None
    """The place of the decision, or why it did not count."""


@pytest.fixture
def proxy(nursery: Nursery, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Fragile]:
    """A proxy whose deadlines are looked at all the time, and that knows an engineer for each session."""
    proxy = Fragile(nursery, postgres, tmp_path / "pgnotary", tick_s=0.01, hold_s=HOLD_S)
    for n in range(SIDE_BY_SIDE):
        add_user(proxy.config, f"eva{n}", postgres.superuser, PASSWORD)
    with proxy:
        yield proxy


@pytest.mark.parametrize("rounds", [50, pytest.param(2_000, marks=pytest.mark.long)])
def test_of_approval_withdrawal_and_expiry_one_wins_and_all_agree(
    proxy: Fragile, database: str, rounds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)
    with proxy.behind(database) as behind:
        behind.execute("CREATE TABLE race (marker int PRIMARY KEY, ran int NOT NULL DEFAULT 0)")
        behind.execute("INSERT INTO race SELECT n FROM generate_series(0, %s) n", [rounds - 1])
    racers: list[Racer] = []
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(3 * SIDE_BY_SIDE + 1))
        connections = [
            stack.enter_context(proxy.connect(database, user=f"eva{n}")) for n in range(min(SIDE_BY_SIDE, rounds))
        ]
        for first in range(0, rounds, SIDE_BY_SIDE):
            racing = [
                Racer(marker, connection) for marker, connection in zip(range(first, rounds), connections, strict=False)
            ]
            _race(proxy, racing, pool, chance, CONTESTANTS[first // SIDE_BY_SIDE % 3])
            racers += racing
        took_s = time.monotonic() - started
    winners = _judge(proxy, database, racers)
    with capsys.disabled():
        figures = ", ".join(f"{count} {winner}" for winner, count in sorted(winners.items()))
        print(f"\nraces: seed {SEED}, {len(racers)} rounds in {took_s:.1f} s: {figures}")
    assert len(racers) == rounds
    # A race that one of them always wins is none.
    for winner in ("approved", "withdrawn", "expired"):
        assert winners[winner], winners


def _race(proxy: Fragile, racing: list[Racer], pool: ThreadPoolExecutor, chance: random.Random, favourite: str) -> None:
    """Hold one statement in each session, let the three run, and wait until all are told."""
    running = [pool.submit(_run, racer) for racer in racing]
    for racer in racing:
        until(lambda racer=racer: racer.request, "the statement to be held")  # type: ignore[misc]
        racer.paper = until(lambda racer=racer: _paper(proxy, racer.request), "its paper")  # type: ignore[misc]
    signed = [proxy.signed(racer.paper, Answer.APPROVE) for racer in racing if racer.paper]

    def pause_s(contestant: str) -> float:
        return 0.0 if contestant == favourite else chance.uniform(0.0, HANDICAP_S)

    start = threading.Barrier(2 * len(racing) + 1)
    others = []
    for racer, (raw, signature) in zip(racing, signed, strict=True):
        others.append(pool.submit(_approve, proxy, racer, raw, signature, start, pause_s("approval")))
        others.append(pool.submit(_withdraw, racer, start, pause_s("withdrawal")))
    expiry_s = pause_s("expiry")
    start.wait(PATIENCE_S)
    time.sleep(expiry_s)
    proxy.stand.advance_clock(2 * HOLD_S)
    for each in (*others, *running):
        each.result(PATIENCE_S)
    for racer in racing:
        # Whoever won, the session lives, and no late cancel hits the next statement.
        assert racer.connection.execute("SELECT 'usable'").fetchone() == ("usable",)


def _paper(proxy: Fragile, request: str) -> Paper | None:
    paper = proxy.api.request(request).paper
    return read_paper(paper, request) if paper else None


def _run(racer: Racer) -> None:
    def on_notice(diagnostic: psycopg.errors.Diagnostic) -> None:
        # Held only once the approver can see it; the notice comes a moment earlier.
        racer.request = racer.request or diagnostic.constraint_name or ""

    racer.connection.add_notice_handler(on_notice)
    try:
        done = racer.connection.execute(f"UPDATE race SET ran = ran + 1 WHERE marker = {racer.marker}".encode())
        racer.told = done.statusmessage or ""
    except psycopg.errors.QueryCanceled as error:  # 57014
        words = re.search("expired: no decision|canceling statement due to user request", str(error))
        racer.told = {"e": "expired", "c": "withdrawn"}[words[0][0]] if words else str(error)
    finally:
        racer.connection.remove_notice_handler(on_notice)


def _approve(
    proxy: Fragile, racer: Racer, raw: bytes, signature: str, start: threading.Barrier, pause_s: float
) -> None:
    start.wait(PATIENCE_S)
    time.sleep(pause_s)
    try:
        racer.approval = (
            ApprovalClient(proxy.folder / "pgnotary.sock", timeout_s=PATIENCE_S)
            .decide(racer.request, raw, signature)
            .seq
        )
    except ApiError as refused:
        racer.approval = refused


def _withdraw(racer: Racer, start: threading.Barrier, pause_s: float) -> None:
    start.wait(PATIENCE_S)
    time.sleep(pause_s)
    racer.connection.cancel()


def _judge(proxy: Fragile, database: str, racers: list[Racer]) -> Counter[str]:
    """Compare ledger, client, approver and database for each of them; return who won how often."""
    entries = proxy.entries()
    lives: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        lives.setdefault(entry.get("request", ""), []).append(entry)
    evidence = [entry["body"]["why"] for entry in entries if entry["type"] == "decision-rejected"]
    with proxy.behind(database) as behind:
        ran = dict(behind.execute("SELECT marker, ran FROM race").fetchall())
    winners: Counter[str] = Counter()
    for racer in racers:
        life = [entry for entry in lives[racer.request] if entry["type"] != "decision-rejected"]
        told = f"{racer.request}: {racer.told}, {racer.approval}: {[entry['type'] for entry in life]}"
        words = " ".join(_word(entry) for entry in life[2:])
        assert words in ENDINGS, told
        winner, answer = ENDINGS[words]
        winners[winner] += 1
        assert racer.told == answer, told
        assert ran[racer.marker] == (winner == "approved"), told
        # One of the three was accepted, and only one.
        assert sum(entry["type"] in ("decision", "withdrawn", "expired") for entry in life) == 1, told
        refusals = [why for why in evidence if f"{racer.request} " in why]
        if words.startswith("approve"):
            assert racer.approval == life[2]["seq"], told
            assert not refusals, told
        else:
            assert isinstance(racer.approval, ApiError), told
            assert racer.approval.status == 409, told
            assert len(refusals) == 1, told
    return winners


def _word(entry: dict[str, Any]) -> str:
    if entry["type"] == "decision":
        return str(entry["body"]["answer"])
    return str(entry["body"]["result"] if entry["type"] == "outcome" else entry["type"])

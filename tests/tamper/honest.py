"""Honest ledgers, of which nobody may find a fault: a folder enters, a file with what people know of it leaves.

A new way in which a ledger can come about (archived, redacted, with heartbeats, ...) gets its maker here, under its own
name in MAKERS: every test of this folder that must find nothing then runs over it.
"""

import asyncio
import dataclasses
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.archive.kept import big_ledger, site
from tests.archive.running import run
from tests.second.test_difference import whole
from tests.tamper.adversary import deposit
from tests.verify.builder import LEDGER, PROXY_SEED, VKEY, Ledger, one_approval, roster_text

from pgnotary.ledger.entries import Draft, EntryType, parse_entry
from pgnotary.ledger.remembered import Remembered, remembered
from pgnotary.store import Append
from pgnotary.store.backup import back_up
from pgnotary.store.reader import SqliteReader
from pgnotary.store.sqlite import SqliteStore

__all__ = ["MAKERS", "Honest"]


@dataclass(frozen=True)
class Honest:
    """A ledger without a fault."""

    path: Path
    heads: list[Remembered]
    """What somebody's machine remembers of it."""
    roster: str | None = None
    """The roster that all its decisions may be held against; None: only those that it records itself."""
    status: int = 0
    """What `verify` says: 2 where an outcome is unknown, or values are withheld."""
    vkey: str = VKEY
    archives: tuple[Path, ...] = ()
    """Where the first entries are, if they are not in it."""


def _kept(folder: Path, ledger: Ledger, roster: str | None = None, status: int = 0) -> Honest:
    """Put a ledger that was built in memory into a file; heads are remembered from its first half and its end."""
    size = len(ledger.stored)
    path = deposit(folder / "ledger.db", ledger.stored, [ledger.sign(each) for each in (0, size // 3, size)])
    heads = [remembered(ledger.sign(each), VKEY, ledger.clock) for each in (size // 2, size)]
    return Honest(path, heads, roster, status)


def _one_approval(folder: Path) -> Honest:
    return _kept(folder, one_approval(), roster_text("ana", "bo"))


def _everything(folder: Path) -> Honest:
    return _kept(folder, whole(200), roster_text("ana", "bo"), status=2)


def _revoked(folder: Path) -> Honest:
    """Bo decides, leaves and is taken from the roster; then ana decides, and bo's decisions stay good."""
    ledger = one_approval()
    ledger.roster("ana")
    ledger.open_session("S-00000002")
    ledger.ask("R-2", session="S-00000002")
    ledger.preview("R-2")
    ledger.decide("R-2", approver="bo", type_=EntryType.REJECTED, why="nobody on the roster")
    ledger.decide("R-2", approver="ana")
    ledger.run("R-2")
    ledger.close_session("S-00000002", forwarded=0)
    return _kept(folder, ledger)


def _taken_back(folder: Path) -> Honest:
    """Who asked took it back, by their own signature: what waited, and what was approved at that moment."""
    ledger = Ledger().start("ana", "bo", "eva")
    ledger.open_session()
    for request in ("R-1", "R-2"):
        ledger.ask(request)
        ledger.preview(request)
    ledger.take_back("R-1")
    ledger.decide("R-2")
    ledger.take_back("R-2", EntryType.VOID, why="withdrawn by requester while it was being approved")
    ledger.close_session(forwarded=0, held=2)
    ledger.stop()
    return _kept(folder, ledger, roster_text("ana", "bo", "eva"))


def _killed() -> Ledger:
    """Killed with one request held and one sent; the next start finds both."""
    ledger = Ledger().start("ana", "bo")
    ledger.open_session()
    ledger.ask("R-1")
    ledger.preview("R-1")
    ledger.ask("R-2")
    ledger.preview("R-2")
    ledger.decide("R-2")
    ledger.step(EntryType.INTENT, "R-2", xid="771", upstream_pid=4711)
    ledger.start("ana", "bo")
    ledger.step(EntryType.ORPHANED, "R-1", why="the proxy was gone")
    ledger.step(EntryType.OUTCOME, "R-2", result="unknown", xid="771")
    return ledger


def _crashed(folder: Path) -> Honest:
    return _kept(folder, _killed(), roster_text("ana", "bo"), status=2)


def _recovered(folder: Path) -> Honest:
    """Later it is known what became of the second one."""
    ledger = _killed()
    ledger.step(EntryType.OUTCOME, "R-2", result="resolved", fate="committed", xid="771")
    return _kept(folder, ledger, roster_text("ana", "bo"))


def _redacted(folder: Path) -> Honest:
    """Every sealed value is gone, as the law may demand, and a person who may has signed that; the chain goes on."""
    ledger = one_approval()
    ledger.roster("ana", "bo", "rita")
    sealed = [(place, parse_entry(each.raw).seals) for place, each in enumerate(ledger.stored)]
    ledger.redact(*(ledger.values(place, *names) for place, names in sealed if names))
    ledger.roster("ana", "bo")
    return _kept(folder, ledger, status=2)


def _beating(folder: Path) -> Honest:
    """Nothing happened for ten minutes, and each of them was signed."""
    ledger = Ledger().start(heartbeat_s=60)
    for minute in range(1, 11):
        ledger.wait(59).beat(minute * 60_000)
    ledger.stop(up_ms=601_000)
    return _kept(folder, ledger, roster_text("ana", "bo"))


def _empty(folder: Path) -> Honest:
    ledger = Ledger()
    path = deposit(folder / "ledger.db", [], [ledger.sign()])
    return Honest(path, [remembered(ledger.sign(), VKEY, ledger.clock)])


def _stored(folder: Path) -> Honest:
    """Written by the store itself in batches, opened twice."""
    path, told = folder / "ledger.db", Ledger().start()
    told.open_session()
    told.forward("select 1")
    told.close_session(held=0)
    told.append(Draft(EntryType.STOPPED, {"why": "asked to"}))
    notes = asyncio.run(_append(path, [_draft(raw) for raw in told.raws]))
    return Honest(path, [remembered(note, VKEY, datetime.now(UTC)) for note in notes])


def _draft(raw: bytes) -> Append:
    entry = parse_entry(raw)
    return Append(Draft(entry.type, entry.body, entry.session, sealed=dict.fromkeys(entry.seals, b"select 1")))


async def _append(path: Path, drafts: list[Append]) -> list[str]:
    clock = datetime(2026, 11, 20, 9, tzinfo=UTC)
    notes = []
    for some in (drafts[:3], drafts[3:]):
        store = await SqliteStore.open(path, LEDGER, PROXY_SEED, now=lambda: clock + timedelta(seconds=1))
        try:
            await store.append([[each] for each in some])
            notes.append(store.checkpoint())
        finally:
            await store.close()
    return notes


def _restored(folder: Path) -> Honest:
    """A backup that was put back with nothing lost."""
    made, copy = _stored(folder), folder / "restored.db"
    with SqliteReader(made.path) as reader:
        back_up(reader, copy, lambda _: None)
    return Honest(copy, made.heads)


def _vacuumed(folder: Path) -> Honest:
    """A copy as VACUUM INTO writes it."""
    made, copy = _one_approval(folder), folder / "copy.db"
    db = sqlite3.connect(made.path)
    db.execute("VACUUM INTO ?", (str(copy),))
    db.close()
    return Honest(copy, made.heads, made.roster, made.status)


def _archived_alone(folder: Path) -> Honest:
    """Everything that a run may leave open goes over the cut, and redactions name what is before it."""
    ledger = big_ledger()
    ledger.step(EntryType.WITHDRAWN, "R-5", by="cancel")
    sealed = [(place, each.opened) for place, each in enumerate(ledger.stored) if each.opened]
    ledger.roster("ana", "bo", "rita")
    ledger.redact(*(ledger.values(place, *names) for place, names in sealed if not place % 2))
    ledger.roster("ana", "bo")
    ledger.notes.append(ledger.sign())
    made = asyncio.run(site(folder, ledger))
    heads = [remembered(ledger.sign(each), VKEY, ledger.clock) for each in (400, len(ledger.stored))]
    done = run("archive", "-c", made.config, "--before", "#400", folder / "archive")
    assert done.exit_code == 0, done.output
    with SqliteReader(made.ledger) as reader:
        newest = [*reader.checkpoints()][-1]
    heads.append(remembered(newest, VKEY, ledger.clock))
    return Honest(made.ledger, heads, status=2)


def _archived(folder: Path) -> Honest:
    """Together with what was archived nothing is missing but what was redacted."""
    return dataclasses.replace(_archived_alone(folder), archives=(folder / "archive",))


MAKERS: dict[str, Callable[[Path], Honest]] = {
    "one approval": _one_approval,
    "every type and every end": _everything,
    "an approver who has left": _revoked,
    "taken back by who asked": _taken_back,
    "crashed, and nobody knows": _crashed,
    "crashed and recovered": _recovered,
    "redacted": _redacted,
    "quiet, with heartbeats": _beating,
    "nothing yet": _empty,
    "written by the store": _stored,
    "restored from a backup": _restored,
    "a vacuumed copy": _vacuumed,
    "archived, with its archive": _archived,
    "archived, without": _archived_alone,
}

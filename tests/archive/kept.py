"""A ledger of some hundred entries that can be archived in three places, in a SQLite file with its configuration.

#0-#255     R-1 (approved, run); two sessions open at #256
#256-#511   R-2, which ends before #512; the second session goes on using texts of the first part
#512-       R-3, R-4 which waits
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.verify.builder import LEDGER, PROXY_SEED, VKEY, Ledger, roster_text

from pgnotary.ledger.archived import Archived
from pgnotary.ledger.base import Base
from pgnotary.ledger.canonical import timestamp
from pgnotary.ledger.entries import Draft, EntryType, parse_entry
from pgnotary.ledger.signing_key import skey
from pgnotary.request.life import State
from pgnotary.store import StoredEntry
from pgnotary.store.sqlite import SqliteStore
from pgnotary.verify.checklist import base_behind
from pgnotary.verify.steps import leads_to

__all__ = ["SEGMENT", "Pruned", "Site", "big_ledger", "site", "small_ledger", "stocked", "tell_archive"]

SEGMENT = 256


@dataclass(frozen=True)
class Site:
    """A folder with everything that a proxy has."""

    folder: Path

    @property
    def ledger(self) -> Path:
        return self.folder / "live.db"

    @property
    def config(self) -> Path:
        return self.folder / "pgnotary.toml"


def life(ledger: Ledger, request: str, **asked: str) -> None:
    ledger.ask(request, **asked)
    ledger.preview(request)
    ledger.wait(30).decide(request, max_rows=2000)
    ledger.run(request)


def fill(ledger: Ledger, size: int, session: str) -> None:
    while len(ledger.stored) < size:
        ledger.sum_up(ledger.summary(), session=session)


def big_ledger() -> Ledger:
    ledger = Ledger(keeps=False).start()
    ledger.open_session()
    life(ledger, "R-1")
    ledger.open_session("S-00000002", person="ivo")
    ledger.forward("select 1", "select 2", session="S-00000002")
    fill(ledger, 300, "S-00000001")
    # Of texts that were sealed before #256, one is used again.
    ledger.forward("select 3", session="S-00000002", first=3)
    life(ledger, "R-2", session="S-00000002", person="ivo")
    ledger.close_session(forwarded=1_000)
    fill(ledger, 600, "S-00000002")
    life(ledger, "R-3", session="S-00000002", person="ivo")
    ledger.ask("R-5", session="S-00000002", person="ivo")
    ledger.notes.append(ledger.sign(300))
    ledger.notes.append(ledger.sign())
    return ledger


def small_ledger() -> Ledger:
    """A ledger of 21 entries: R-1 is #5 to #10, R-3 #11 and #12, R-2 #14 to #19.

    Two sessions last beyond R-1.
    """
    ledger = Ledger().start()
    ledger.open_session()
    ledger.open_session("S-00000002", person="ivo")
    ledger.forward("select 1", "select 2", session="S-00000002")
    life(ledger, "R-1")
    ledger.ask("R-3", session="S-00000002", person="ivo")
    ledger.step(EntryType.WITHDRAWN, "R-3", by="cancel")
    ledger.forward("select 1", session="S-00000002", first=2)
    life(ledger, "R-2")
    ledger.close_session("S-00000002", forwarded=3, held=0)
    return ledger


class Pruned:
    """A `LedgerReader` over the entries of a ledger from `base` on."""

    def __init__(self, ledger: Ledger, base: Base) -> None:
        self.ledger = ledger
        self.stands_on = base
        self.stored = ledger.stored[base.size :]

    def base(self) -> Base:
        return self.stands_on

    def entries(self) -> Iterator[StoredEntry]:
        return iter(self.stored)

    def checkpoints(self) -> Iterator[str]:
        yield self.ledger.sign()


def tell_archive(ledger: Ledger, cut: int, /, **changes: int | str) -> Base:
    """Append what tells of an archive of all before a cut, with whatever is said otherwise; the base there."""
    base = base_behind(ledger.stored[:cut], VKEY, None)
    told = Archived(0, cut, base.tree().root(), base.digest, bytes(32), bytes(32))
    ledger.append(Draft(EntryType.ARCHIVED, told.body | changes))
    return base


async def stocked(path: Path, ledger: Ledger) -> None:
    """Put the entries of a ledger in memory into a SQLite file, as a proxy would have."""
    store = await SqliteStore.open(path, LEDGER, PROXY_SEED, now=lambda: ledger.clock)
    await store.close()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN")
    standing: dict[str, tuple[State, bytes]] = {}
    for stored in ledger.stored:
        entry = parse_entry(stored.raw)
        at = entry.position
        columns = (at.seq, entry.leaf, stored.raw, timestamp(at.time), entry.type.value, entry.request, entry.session)
        db.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)", columns)
        for name, (salt, value) in stored.opened.items():
            db.execute("INSERT INTO sealed VALUES (?, ?, ?, ?)", (entry.leaf, name, salt, value))
        if entry.request and entry.type is not EntryType.REJECTED:
            before = standing.get(entry.request)
            state = leads_to(entry) or (before[0] if before else State.HELD)
            standing[entry.request] = (state, entry.leaf)
    for request, (state, leaf) in standing.items():
        db.execute("INSERT INTO request_state VALUES (?, ?, ?)", (request, state.value, leaf))
    for note in ledger.notes:
        db.execute("INSERT INTO checkpoint VALUES (?, ?)", (int(note.split("\n")[1]), note))
    db.execute("COMMIT")
    db.close()


async def site(folder: Path, ledger: Ledger) -> Site:
    (folder / "proxy.key").write_text(skey(LEDGER, PROXY_SEED) + "\n")
    (folder / "allowed_signers").write_text(roster_text("ana", "bo"))
    (folder / "pgnotary.toml").write_text(f'[ledger]\nname = "{LEDGER}"\nfile = "live.db"\nsegment = {SEGMENT}\n')
    await stocked(folder / "live.db", ledger)
    return Site(folder)

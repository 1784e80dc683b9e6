"""The honest ledger that is attacked, and what people know of it: a file enters, a `Ground` leaves.

Bo's machine remembers a head from the middle of the ledger, ana's one near its end; behind that one whole request is
still to come, which no remembered head covers: there only the approvers' signatures stop who holds the proxy's key.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.second.test_difference import whole
from tests.tamper.adversary import Adversary, deposit
from tests.verify.builder import PROXY_SEED, Ledger, roster_text

from pgnotary.ledger.checkpoint import claimed_size
from pgnotary.ledger.entries import Draft, Entry, EntryType
from pgnotary.ledger.remembered import Remembered, heads_text, remembered

__all__ = ["Ground", "built", "grown"]

_WHOLE_LIFE = ["request", "preview", "decision", "intent", "executed", "outcome"]


@dataclass(frozen=True)
class Ground:
    """An honest ledger in a file, the proxy's key, and what others than the proxy's owner keep."""

    path: Path
    seed: bytes
    bo: Remembered
    ana: Remembered
    roster: str

    def adversary(self, at: Path) -> Adversary:
        """Let somebody work on a copy."""
        shutil.copy(self.path, at)
        return Adversary(at, self.seed)

    @cached_property
    def entries(self) -> list[Entry]:
        return Adversary(self.path, self.seed).entries()

    @cached_property
    def vkey(self) -> str:
        return Adversary(self.path, self.seed).vkey

    def heads(self, folder: Path) -> list[Path]:
        """Write what both machines remember."""
        files = [folder / "bo.heads", folder / "ana.heads"]
        for file, head in zip(files, (self.bo, self.ana), strict=True):
            file.write_text(heads_text([head]))
        return files

    def find(self, type_: EntryType, after: int = 0) -> int:
        """Return the first place of a type from `after` on."""
        return next(each.position.seq for each in self.entries[after:] if each.type is type_)

    def covered_until(self, place: int) -> int:
        """Return the place of the last entry under the first checkpoint over an entry."""
        sizes = sorted(map(claimed_size, Adversary(self.path, self.seed).checkpoints))
        return next(size for size in sizes if size > place) - 1

    def lives(self) -> Iterator[list[int]]:
        """Yield the places of each request that was approved and committed: request to outcome."""
        for asked in self.entries:
            if asked.type is EntryType.REQUEST:
                life = [each for each in self.entries if each.request == asked.request]
                if [each.type.value for each in life] == _WHOLE_LIFE and life[-1].body["result"] == "committed":
                    yield [each.position.seq for each in life]

    @cached_property
    def witnessed_life(self) -> list[int]:
        """The last of them that ana's head covers, and bo's does not."""
        return [life for life in self.lives() if self.bo.checkpoint.size <= life[0] and life[-1] < self.size][-1]

    @cached_property
    def newest_life(self) -> list[int]:
        """One that nobody's head covers."""
        return [life for life in self.lives() if life[0] >= self.size][-1]

    @property
    def size(self) -> int:
        """How many entries somebody remembers."""
        return self.ana.checkpoint.size


def grown(entries: int) -> Ledger:
    """A ledger with every type and every end that there is, and two more requests behind all that."""
    ledger = whole(entries)
    for number in (999_998, 999_999):
        session, request = f"S-{number:08}", f"R-{number}"
        ledger.open_session(session)
        ledger.ask(request, session=session)
        ledger.preview(request)
        ledger.decide(request, max_rows=2000)
        ledger.run(request)
        ledger.close_session(session, forwarded=0, held=1)
    ledger.append(Draft(EntryType.STOPPED, {"why": "asked to"}))
    return ledger


def built(folder: Path, entries: int) -> Ground:
    """A ledger of at least so many entries, built in memory; the same one at each time."""
    ledger = grown(entries)
    sizes = range(len(ledger.stored) + 1)
    path = deposit(folder / "ledger.db", ledger.stored, [ledger.sign(size) for size in sizes])
    vkey = Adversary(path, PROXY_SEED).vkey
    seen = len(ledger.stored) - 10
    bo, ana = (remembered(ledger.sign(size), vkey, ledger.clock) for size in (seen // 2, seen))
    return Ground(path, PROXY_SEED, bo, ana, roster_text("ana", "bo"))

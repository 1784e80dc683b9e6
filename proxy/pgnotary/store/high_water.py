"""The newest head of a ledger, kept elsewhere: so that a start notices a ledger that was cut, or restored from a copy.

A path, a key and signed checkpoints enter. `read` gives back the head that was kept, `contradiction` says how a store's
ledger fails to extend it; `Keeper` writes what became durable, never what is not yet. The file is the note of that
checkpoint, byte for byte, so that `verify --checkpoint` takes it, too; it is as it was or as it shall be.

Who can write the file can put an older one in its place: it guards against mistakes and against who can write the
ledger alone. Against who can write both, approvers remember heads.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pgnotary.errors import BadCheckpoint, ConfigError, InArchive
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.checkpoint import MAX_NOTE_BYTES, Checkpoint, parse_vkey, verify
from pgnotary.store import Store
from pgnotary.store.durable import replace

__all__ = ["Contradiction", "HighWater", "Keeper", "contradiction", "shorter"]

log = logging.getLogger(__name__)

_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Why a ledger is not known to extend its mark."""

    why: str
    """`missing`, `shorter`, `other-history`, or `archived`: only the archive can tell."""
    message: str
    checkpoint: Checkpoint | None = None
    """The head that was kept, if it could be read."""

    @property
    def fields(self) -> Mapping[str, JSON]:
        """What `proxy-started` says of it if it is given up."""
        found: dict[str, JSON] = {"why": self.why}
        if self.checkpoint is not None:
            found |= {"size": self.checkpoint.size, "root": self.checkpoint.root.hex()}
        return found


class HighWater:
    """The mark at `path` of the ledger whose checkpoints `vkey` verifies."""

    def __init__(self, path: Path, vkey: str) -> None:
        # A link to somewhere else stays a link.
        self.path = Path(os.path.realpath(path))
        self._vkey = vkey

    def read(self) -> Checkpoint | Contradiction:
        """Return the head that is kept, or why there is none.

        Raises ConfigError for whatever is not this ledger's mark: nothing else may be written over.
        """
        try:
            with self.path.open("rb") as file:
                raw = file.read(MAX_NOTE_BYTES + 1)
        except FileNotFoundError as error:
            if not self.path.parent.is_dir():
                raise ConfigError(f"the high-water mark {self.path} has no folder: make it, or mount it") from error
            return Contradiction("missing", f"the high-water mark {self.path} is missing: put it back")
        except OSError as error:
            raise ConfigError(
                f"the high-water mark {self.path} cannot be read: {error.strerror}: expected a file of the proxy's own"
            ) from error
        ledger = parse_vkey(self._vkey).name
        try:
            note = raw.decode()
            if (origin := note.partition("\n")[0]) != ledger and "\n\n" in note:
                raise ConfigError(
                    f"the high-water mark {self.path} is of the ledger {origin!r:.60}, not of {ledger!r}: "
                    "give each ledger a file of its own"
                )
            return verify(note, self._vkey)
        except (BadCheckpoint, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the high-water mark {self.path} is not a checkpoint under this ledger's key ({error}): correct the "
                "path, or put a copy of it back; a mark that is lost for good is moved away first"
            ) from error

    def write(self, note: str) -> None:
        """Let this be the mark, durably; raises OSError."""
        replace(self.path, note.encode())


async def contradiction(mark: Checkpoint | Contradiction, store: Store) -> Contradiction | None:
    """Return how the ledger in a store fails to extend what was read of its mark, or None.

    A ledger without an entry needs none. Raises LedgerUnavailable.
    """
    size = store.head().size
    if isinstance(mark, Contradiction):
        return mark if size else None
    if mark.size > size:
        return shorter(mark, size)
    try:
        root = (await store.prove(mark.size, [])).older_root
    except InArchive as error:
        return Contradiction(
            "archived",
            f"the high-water mark is over {mark.size:,} entries, and those before #{error.kept} are archived: "
            "`archive` brought a newer mark, and `verify --archive FOLDER --checkpoint MARK` compares this one",
            mark,
        )
    if root is not None and root != mark.root:
        return Contradiction(
            "other-history",
            f"the first {mark.size:,} entries of the ledger have root {root.hex()[:16]}, its high-water mark says "
            f"{mark.root.hex()[:16]}: they were rewritten, or it is another ledger under the same key",
            mark,
        )
    return None


def shorter(mark: Checkpoint, size: int) -> Contradiction:
    """Return how a ledger of `size` entries contradicts a mark beyond them."""
    return Contradiction(
        "shorter",
        f"the ledger has {size:,} entries, its high-water mark says that {mark.size:,} were signed: it was restored "
        "from an older copy, cut, or begun anew",
        mark,
    )


class Keeper:
    """Keeps the mark of a ledger that grows, at most once in `every_s`."""

    def __init__(self, mark: HighWater, store: Store, every_s: float = _EVERY_S) -> None:
        self._mark = mark
        self._store = store
        self._every_s = every_s
        self._kept = ""
        self._fails = False
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Keep it until stopped; what fails is told by the log, and tried again."""
        while not self._stop.is_set():
            await self.keep_or_say()
            try:
                async with asyncio.timeout(self._every_s):
                    await self._stop.wait()
            except TimeoutError:
                continue

    def stop(self) -> None:
        """End `run`, once what it writes is written."""
        self._stop.set()

    async def keep_or_say(self) -> None:
        """As `keep`; that it fails, or does so no more, is told by the log, once."""
        try:
            await self.keep()
        except OSError as error:
            if not self._fails:
                log.warning("the high-water mark cannot be written", extra={"why": error.strerror or str(error)})
            self._fails = True
        else:
            if self._fails:
                log.warning("the high-water mark is written again")
            self._fails = False

    async def keep(self) -> None:
        """Write the newest checkpoint, which the store gives only once its entries are durable; raises OSError."""
        note = self._store.checkpoint()
        if note != self._kept:
            # Another volume may hang, and must not keep anybody waiting.
            await asyncio.to_thread(self._mark.write, note)
            self._kept = note

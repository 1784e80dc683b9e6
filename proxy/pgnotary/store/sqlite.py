"""A ledger in one SQLite file, written by one process over one connection.

Groups of drafts enter, entries with their place, salts and commitments leave once a COMMIT has reached the disk; each
COMMIT carries the signed checkpoint over its entries. No entry is ever changed, and none is built on a tail that was
not read from the file: after any error of the storage the connection is thrown away, the file opened and its tail read
again, by the same code that runs at the start. What it finds must extend all that was ever acknowledged.

WAL with `synchronous=FULL` (https://www.sqlite.org/wal.html): a COMMIT that returned survives a power cut, if the disk
keeps its promises. One connection, because SQLite before 3.51.3 can corrupt a WAL that two connections write or
checkpoint at once; a lock on `<path>.lock` keeps a second proxy away.

What the WAL gains is copied into the file while nothing else is to be done: within a COMMIT somebody would wait for it.
Only where there is no such moment, a COMMIT does it, at `_WAL_FRAMES`. Room for that, and for one last entry, is kept
on the disk (`Reserve`): a full disk is recorded, and nothing more until that room is there again.

The tables are in `pgnotary.store.schema`. Where each request stands is compared with its entries at each opening.
"""

import asyncio
import errno
import logging
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from nacl.signing import SigningKey

from pgnotary.errors import BadCheckpoint, ConfigError, LedgerBroken, LedgerUnavailable, NotCanonical
from pgnotary.ledger.archived import Archived
from pgnotary.ledger.base import Base
from pgnotary.ledger.checkpoint import Checkpoint, sign, verify, vkey
from pgnotary.ledger.entries import FIRST_PREV, Entry, EntryType, Receipt, parse_entry
from pgnotary.ledger.seals import SALT_BYTES
from pgnotary.ledger.subtrees import BLOCK, Subtrees
from pgnotary.ledger.tree import HASH_BYTES, Tree, leaf_hash
from pgnotary.request.life import FINAL, State
from pgnotary.store import Append, Head, HeadProof, StillKept
from pgnotary.store.bases import BASE, VOUCHERS, based, vouched_for
from pgnotary.store.batch import Batch, Tail
from pgnotary.store.connection import Connection, connected
from pgnotary.store.erasure import Mark, beside, emptied, rewritten, truncated
from pgnotary.store.failures import translated
from pgnotary.store.place import create, inode, locked
from pgnotary.store.proofs import asked, proven
from pgnotary.store.pruning import prune
from pgnotary.store.reader import SqliteReader
from pgnotary.store.reserve import Reserve
from pgnotary.store.schema import APPLICATION_ID, OBJECTS, PRUNED_VERSION, SCHEMA, examined
from pgnotary.store.states import NAMES_REQUEST, States
from pgnotary.store.writing import write

__all__ = ["SqliteStore"]

log = logging.getLogger(__name__)

# How long a COMMIT waits for a foreign lock before the ledger counts as unavailable.
_BUSY_S = 2.0
# Leaves read at once while the tree is rebuilt: some milliseconds of hashing between two turns of the event loop.
_PAGE = 4096
# Entries of one request of which it is told what is kept: rejected decisions may be many.
_KEPT = 64
# An entry is canonical, so one that has seals has these bytes.
_HAS_SEALS = b'"seals":'
# Entries read at once while the states are compared: at most 16 MiB.
_ENTRIES = 256

# Of 4 KiB; a COMMIT that finds so many copies them itself, some ten milliseconds of work.
_WAL_FRAMES = 4096

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    f"wal_autocheckpoint={_WAL_FRAMES}",
    # macOS: a plain fsync may stop at the drive's cache.
    "fullfsync=ON",
    "checkpoint_fullfsync=ON",
    "trusted_schema=OFF",
    "secure_delete=ON",
    "cell_size_check=ON",
    # What a group that deletes may have to undo stands in memory: a file for it, on another volume, would keep it.
    "temp_store=MEMORY",
)


def _fresh_salt() -> bytes:
    return secrets.token_bytes(SALT_BYTES)


class SqliteStore:
    """A `Store` in one SQLite file; made by `open`."""

    def __init__(
        self,
        path: str | Path,
        ledger: str,
        seed: bytes,
        *,
        now: Callable[[], datetime],
        salt: Callable[[], bytes],
        reserve: Reserve | None,
    ) -> None:
        self._path = Path(path).absolute()
        self._ledger = ledger
        self._seed = seed
        self._now = now
        self._salt = salt
        self._reserve = reserve
        self._spent = False
        """Whether the reserve was released and is not there again."""
        try:
            self._vkey = vkey(ledger, bytes(SigningKey(seed).verify_key))
        except BadCheckpoint as error:
            raise ConfigError(f"a ledger cannot have this name: {error}") from error
        self._turn = asyncio.Lock()
        """Held by whoever uses the connection: reads must not see half a transaction."""
        self._db: Connection | None = None
        """None before it is opened, after an error, and once closed."""
        self._lock_file: int | None = None
        self._inode: tuple[int, int] | None = None
        self._tail: Tail | None = None
        self._subtrees = Subtrees()
        """Over the leaves of the tail; what proofs are made of."""
        self._mark = Mark(self._path)
        self._rewritten = False
        """Whether the file was written anew since the last deletion; the WAL may still have what it had."""
        self._base: Base | None = None
        """What stands for the entries that are archived, as it was read from the file."""

    @classmethod
    async def open(
        cls,
        path: str | Path,
        ledger: str,
        seed: bytes,
        *,
        now: Callable[[], datetime],
        salt: Callable[[], bytes] = _fresh_salt,
        reserve: Reserve | None = None,
    ) -> Self:
        """Open the ledger at `path`, made at the first time with mode 0600, and write a first probe.

        `seed` is the proxy's Ed25519 key (32 bytes), `now` gives aware datetimes, `salt` 32 bytes never given before;
        `reserve` is the room that is kept for a full disk, taken here.
        Raises ConfigError for another process's, another name's or another key's ledger, LedgerBroken if its end does
        not hold together, LedgerUnavailable if it cannot be written.
        """
        # aiosqlite logs every call with its values at DEBUG: sealed ones would leave the ledger.
        logging.getLogger("aiosqlite").setLevel(logging.INFO)
        store = cls(path, ledger, seed, now=now, salt=salt, reserve=reserve)
        try:
            with translated():
                store._lock_file = locked(store._path)
                create(store._path)
                if reserve is not None:
                    reserve.make()
                await store._connect()
            await store.probe()
            await store._finish_erasing()
        except BaseException:
            await store.close()
            raise
        return store

    async def append(self, groups: Sequence[Sequence[Append]]) -> list[list[Receipt] | Exception]:
        """See `Store.append`."""
        async with self._connection() as (db, tail):
            if any(each.erases for group in groups for each in group):
                # Before anything is deleted: who dies after the COMMIT has said so already.
                self._rewritten = False
                self._mark.set()
            batch = Batch(self._ledger, tail, self._now(), self._salt)
            results, end = await db.run(lambda plain: write(plain, batch, groups, self._seed, self._check_in_place))
            if end is not None:
                # Only now: a COMMIT that fails may or may not have happened, and only the file knows.
                self._tail = end
                for receipt in batch.receipts:
                    self._subtrees.append(receipt.leaf)
        return results

    async def state(self, request: str) -> State | None:
        """See `Store.state`."""
        async with self._connection() as (db, _):
            return await _state(db, request)

    async def open_requests(self) -> list[tuple[str, State, bytes]]:
        """See `Store.open_requests`; the oldest request comes first."""
        async with self._connection() as (db, _):
            rows = await db.execute_fetchall("SELECT request, state, leaf FROM request_state ORDER BY rowid")
        return [(request, State(state), leaf) for request, state, leaf in rows if state not in FINAL]

    async def entries_of(self, request: str) -> list[Entry]:
        """See `Store.entries_of`."""
        async with self._connection() as (db, _):
            rows = await db.execute_fetchall("SELECT raw FROM entry WHERE request = ? ORDER BY seq", (request,))
        return [parse_entry(raw) for (raw,) in rows]

    async def of_types(self, *types: EntryType) -> list[Entry]:
        """See `GlassStore.of_types`."""
        places = ", ".join("?" * len(types))
        async with self._connection() as (db, _):
            rows = await db.execute_fetchall(
                f"SELECT raw FROM entry WHERE type IN ({places}) ORDER BY seq",  # noqa: S608 - only question marks
                [each.value for each in types],
            )
        return [parse_entry(raw) for (raw,) in rows]

    async def last_request_number(self) -> int:
        """See `Store.last_request_number`."""
        async with self._connection() as (db, _):
            newest = await _value(db, "SELECT coalesce(max(CAST(substr(request, 3) AS INTEGER)), 0) FROM request_state")
            return max(int(newest), self._base.highest if self._base else 0)

    def head(self) -> Head:
        """See `Store.head`."""
        tail = self._known_tail()
        return Head(tail.tree.size, tail.tree.root())

    def checkpoint(self) -> str:
        """See `Store.checkpoint`."""
        return self._known_tail().note

    async def prove(self, older: int, entries: Sequence[int]) -> HeadProof:
        """See `Store.prove`."""
        # A wrong question is answered out here: inside it would cost the connection. The ledger only grows meanwhile.
        kept = self._base.size if self._base else 0
        asked(older, entries, self._known_tail().tree.size, kept)
        async with self._connection() as (db, tail):
            question = asked(older, entries, tail.tree.size, kept)
            leaves = {number: await _block(db, number) for number in question.blocks}
            try:
                return proven(question, self._subtrees, leaves, tail.note)
            except ValueError as error:
                raise LedgerBroken([f"entries have gone since they were appended: {error}"]) from error

    async def kept(self, of: str | int) -> list[StillKept]:
        """See `Store.kept`."""
        column = "request" if isinstance(of, str) else "seq"
        some = f"SELECT leaf, raw FROM entry WHERE {column} = ? AND instr(raw, ?) ORDER BY seq LIMIT ?"  # noqa: S608
        found: list[StillKept] = []
        async with self._connection() as (db, _):
            for leaf, raw in await db.execute_fetchall(some, (of, _HAS_SEALS, _KEPT)):
                sizes = await db.execute_fetchall("SELECT name, length(value) FROM sealed WHERE leaf = ?", (leaf,))
                found.append(StillKept(parse_entry(raw), {str(name): int(size) for name, size in sizes}))
        return [each for each in found if each.entry.seals]

    @property
    def first(self) -> int:
        """See `ErasingStore.first`."""
        return self._base.size if self._base else 0

    async def person(self, session: str) -> str:
        """See `ErasingStore.person`."""
        of_type = "SELECT raw FROM entry WHERE session = ? AND type = ? ORDER BY seq LIMIT 1"
        async with self._connection() as (db, _):
            rows = list(await db.execute_fetchall(of_type, (session, EntryType.OPENED.value)))
        told = [parse_entry(rows[0][0]).body] if rows else []
        # One that was opened before the cut, and goes on behind it.
        told += [each.opened for each in (self._base.sessions if self._base else ()) if each.name == session]
        return str(told[0].get("person", "")) if told else ""

    async def copies(self, values: Sequence[tuple[bytes, str]], limit: int) -> list[tuple[int, str]]:
        """See `Store.copies`; a connection of its own, which only reads, does not keep the writer waiting."""

        def look() -> list[tuple[int, str]]:
            with SqliteReader(self._path) as reader:
                return reader.copies(values, limit)

        with translated(running=True):
            return await asyncio.to_thread(look)

    def is_erasing(self) -> bool:
        """See `Store.is_erasing`."""
        return bool(self._mark)

    async def erase(self) -> bool:
        """See `Store.erase`."""
        if not self.is_erasing():
            return True
        async with self._connection() as (db, _):
            if not self._rewritten:
                await rewritten(db)
                self._rewritten = True
            if not await emptied(db, int(_BUSY_S * 1000)) or not truncated(self._path):
                return False
            self._check_in_place()
            self._mark.clear()
        return True

    async def _finish_erasing(self) -> None:
        """Do what an earlier run did not come to; it is no reason not to start that a reader or the disk forbids it."""
        try:
            if await self.erase():
                return
            why = "a program is reading the ledger"
        except LedgerUnavailable as error:
            why = str(error)
        log.warning("bytes of deleted values are still in the ledger's files: %s", why)

    async def last_words(self, group: Sequence[Append]) -> list[Receipt]:
        """See `Store.last_words`."""
        if self._reserve is None:
            return []
        self._spent = True
        with translated(running=True):
            if not self._reserve.release():
                return []
        [result] = await self.append([group])
        if isinstance(result, Exception):
            raise result
        return result

    async def rest(self) -> None:
        """See `Store.rest`: copies into the file what the WAL holds, as far as readers let it."""
        async with self._connection() as (db, _):
            await db.execute_fetchall("PRAGMA wal_checkpoint(PASSIVE)")

    async def prune(self, told: Archived, base: Base) -> None:
        """Tell of an archive, and let its `base` stand for the entries that are in it: they are deleted.

        The archive must have been read back from its disk before. Raises NotCanonical if it is not of this ledger's
        first entries, LedgerUnavailable if nothing could be deleted, or nobody knows: then the file tells when it is
        opened again. The room, and the bytes, are still in the file until `erase` has taken them out.
        """
        _check_base(base, told, self._subtrees)
        # Something must be in the WAL for a reader to show.
        await self.probe()
        async with self._connection() as (db, tail):
            if not await emptied(db, int(_BUSY_S * 1000)):
                raise LedgerUnavailable(
                    "a program is reading the ledger, so nothing of it was deleted",
                    hint="end that program, and try again",
                )
            # Before anything is deleted, as for a redaction: who dies after the COMMIT has said so already.
            self._rewritten = False
            self._mark.set()
            batch = Batch(self._ledger, tail, self._now(), self._salt)
            await db.run(lambda plain: prune(plain, batch, told, base, self._seed, self._check_in_place))
            # What stays is read from the file, by the code that runs at every start.
            await self._disconnect()
        await self.probe()

    async def probe(self) -> None:
        """See `Store.probe`."""
        if self._reserve is not None and self._spent:
            with translated(running=True):
                self._reserve.make()
            self._spent = False
        async with self._connection() as (db, _):
            count = await _value(
                db,
                "INSERT INTO probe VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET count = count + 1 RETURNING count",
            )
            found = await _value(db, "SELECT count FROM probe")
            if found != count:
                raise OSError(errno.EIO, f"wrote {count} and read back {found}")
            self._check_in_place()

    async def close(self) -> None:
        """See `Store.close`; another process may open the ledger afterwards."""
        async with self._turn:
            await self._disconnect()
            if self._lock_file is not None:
                os.close(self._lock_file)
                self._lock_file = None

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[Connection, Tail]]:
        """Lend the connection and the tail; opens the file again if the last use failed.

        Whatever goes wrong inside, cancellation too, costs the connection: it may stand in the middle of a transaction.
        """
        async with self._turn:
            try:
                with translated(running=True):
                    if self._lock_file is None:
                        raise LedgerUnavailable("the ledger is closed", hint="start the proxy again")
                    if self._db is None:
                        await self._connect()
                    if self._db is None or self._tail is None:
                        raise RuntimeError("connecting gives a connection and a tail")
                    yield self._db, self._tail
            except BaseException:
                await self._disconnect()
                raise

    async def _connect(self) -> None:
        """Open the file, make its tables if it is empty, and read its tail: at the start and after every error."""
        # A missing file fails here: aiosqlite does not wait for the thread of a connection that cannot be opened.
        there = inode(self._path)
        db = await connected(self._path.as_uri() + "?mode=rw", _BUSY_S)
        try:
            await self._recognise(db)
            await _settle(db)
            tail = await self._read_tail(db)
            await _check_states(db)
            self._tail = tail
        except BaseException:
            await _discard(db)
            raise
        self._db = db
        self._inode = there

    async def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            await _discard(db)

    async def _recognise(self, db: Connection) -> None:
        """Set the connection up; raises ConfigError if this is not our kind of file, or not our ledger."""
        # First of all, since setting the journal mode would write into a foreign file.
        application = await _value(db, "PRAGMA application_id")
        tables = await _value(db, "SELECT count(*) FROM sqlite_master")
        version = await _value(db, "PRAGMA user_version")
        if tables and application != APPLICATION_ID:
            raise ConfigError(f"{self._path} is another program's database: give the ledger a file of its own")
        if not tables and self._tail is not None:
            # Only a first opening may make a ledger; this one was emptied while it was in use.
            raise LedgerBroken(["the file is empty"])
        if version > PRUNED_VERSION:
            raise ConfigError(
                f"{self._path} has schema version {version}, this pgnotary knows {PRUNED_VERSION}: use a newer one"
            )
        if tables and (faults := examined(await db.execute_fetchall(OBJECTS), version)[0]):
            raise LedgerBroken(faults)
        for pragma in _PRAGMAS:
            await db.execute_fetchall(f"PRAGMA {pragma}")
        await beside(db, self._path.parent)
        if not tables:
            await db.execute_fetchall("BEGIN IMMEDIATE")
            for statement in SCHEMA:
                await db.execute_fetchall(statement)
            note = sign(Checkpoint(self._ledger, 0, Tree().root()), self._ledger, self._seed)
            await db.execute_fetchall("INSERT INTO checkpoint VALUES (0, ?)", (note,))
            await db.execute_fetchall("COMMIT")
        first = str(await _value(db, "SELECT note FROM checkpoint ORDER BY size LIMIT 1"))
        origin = first.partition("\n")[0]
        if origin != self._ledger:
            raise ConfigError(
                f"{self._path} is the ledger {origin!r}, not {self._ledger!r}: correct the name or the path"
            )
        try:
            verify(first, self._vkey)
        except BadCheckpoint as error:
            raise ConfigError(
                f"{self._path} was made under another key ({error}): give the key it was made with"
            ) from error

    async def _read_tail(self, db: Connection) -> Tail:
        """Rebuild the tree over all leaves and check the end against it; raises LedgerBroken."""
        acknowledged = None if self._tail is None else self._tail.tree
        base = await _base(db, self._ledger)
        growing = Subtrees.of(base.size, base.roots) if base else Subtrees()
        before = leaf = base.prev if base else FIRST_PREV
        async for seq, each in _leaves(db):
            if seq != (size := growing.size):
                raise LedgerBroken([f"entry {size} is missing, the next one is {seq}"])
            if type(each) is not bytes or len(each) != HASH_BYTES:
                raise LedgerBroken([f"entry {seq} has no leaf hash"])
            before, leaf = leaf, each
            growing.append(leaf)
            if acknowledged and size + 1 == acknowledged.size and growing.tree().root() != acknowledged.root():
                raise LedgerBroken([f"the first {size + 1} entries are not those that were acknowledged"])
        tree = growing.tree()
        if acknowledged and tree.size < acknowledged.size:
            raise LedgerBroken([f"it has {tree.size} entries, {acknowledged.size} were acknowledged"])
        tail = Tail(
            tree,
            leaf,
            await self._last_time(db, tree.size - 1, before, leaf) if tree.size else datetime.min.replace(tzinfo=UTC),
            await self._newest_note(db, tree),
        )
        self._subtrees, self._base = growing, base
        return tail

    async def _last_time(self, db: Connection, seq: int, prev: bytes, leaf: bytes) -> datetime:
        """Check the last entry's bytes against its place; return its time."""
        raw = await _value(db, "SELECT raw FROM entry WHERE seq = ?", (seq,))
        try:
            position = parse_entry(raw).position
        except NotCanonical as error:
            raise LedgerBroken([f"entry {seq} cannot be read: {error}"]) from error
        if leaf_hash(raw) != leaf:
            raise LedgerBroken([f"entry {seq} is not what its leaf hash says"])
        if (position.ledger, position.seq, position.prev) != (self._ledger, seq, prev):
            raise LedgerBroken([f"entry {seq} belongs to another place"])
        return position.time

    async def _newest_note(self, db: Connection, tree: Tree) -> str:
        """Check the newest checkpoint against the tree; return it."""
        newest = list(await db.execute_fetchall("SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1"))
        kept_as, note = newest[0] if newest else (0, "")
        try:
            found = verify(note, self._vkey)
        except BadCheckpoint as error:
            raise LedgerBroken([f"the newest checkpoint does not verify: {error}"]) from error
        if found != Checkpoint(self._ledger, tree.size, tree.root()):
            raise LedgerBroken([f"the newest checkpoint is over {found.size} entries, but not over these {tree.size}"])
        if kept_as != found.size:
            # None could be put behind it.
            raise LedgerBroken([f"the newest checkpoint is over {found.size} entries, but kept as one over {kept_as}"])
        return note

    def _check_in_place(self) -> None:
        """Raise OSError if the path does not lead to the open file: writes to a deleted file succeed."""
        if inode(self._path) != self._inode:
            raise OSError(errno.ESTALE, "the file was replaced while it was open")

    def _known_tail(self) -> Tail:
        if self._tail is None:
            raise RuntimeError("a store has a tail once it is open")
        return self._tail


async def _state(db: Connection, request: str) -> State | None:
    rows = list(await db.execute_fetchall("SELECT state FROM request_state WHERE request = ?", (request,)))
    return State(rows[0][0]) if rows else None


def _check_base(base: Base, told: Archived, subtrees: Subtrees) -> None:
    """Raise NotCanonical if a base cannot take the place of the first entries under these subtrees."""
    if base.size % BLOCK or not base.size <= subtrees.size or told.kept != base.size:
        raise NotCanonical(f"a ledger of {subtrees.size} entries cannot stand on a base of {base.size}")
    if subtrees.root_at(base.size, {}) != base.tree().root() or told.root != base.tree().root():
        raise NotCanonical(f"a base over {base.size} entries that are not the ledger's")


async def _base(db: Connection, ledger: str) -> Base | None:
    """Return what stands for archived entries, None if none are; raises LedgerBroken."""
    if await _value(db, "PRAGMA user_version") != PRUNED_VERSION:
        return None
    base = based(await db.execute_fetchall(BASE))
    if base.ledger != ledger or base.size % BLOCK:
        raise LedgerBroken([f"the file stands on a base of {base.ledger!r:.80} over {base.size} entries"])
    vouched_for(base, await db.execute_fetchall(VOUCHERS))
    return base


async def _leaves(db: Connection) -> AsyncIterator[tuple[int, object]]:
    """Yield seq and leaf of every entry, whatever their numbers."""
    # The first page has no lower end: nothing is below the lowest number that SQLite has, so a row may hide there.
    rows = list(await db.execute_fetchall("SELECT seq, leaf FROM entry ORDER BY seq LIMIT ?", (_PAGE,)))
    while rows:
        for seq, leaf in rows:
            yield seq, leaf
        page = "SELECT seq, leaf FROM entry WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = list(await db.execute_fetchall(page, (rows[-1][0], _PAGE)))


async def _block(db: Connection, number: int) -> list[bytes]:
    """Return the leaves of one block of the tree, as they are stored."""
    start = number * BLOCK
    rows = await db.execute_fetchall(
        "SELECT leaf FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq", (start, start + BLOCK)
    )
    leaves = [leaf for (leaf,) in rows]
    if any(type(leaf) is not bytes or len(leaf) != HASH_BYTES for leaf in leaves):
        raise LedgerBroken([f"one of the entries {start} to {start + BLOCK - 1} has no leaf hash"])
    return leaves


async def _check_states(db: Connection) -> None:
    """Compare where the requests stand with what their entries say; raises LedgerBroken.

    The table is ours alone, so whatever contradicts the entries was written by somebody else: a move that is built on
    it would break the ledger for ever.
    """
    states = States()
    last = -1
    # By the bytes: the column beside them is not hashed, and could hide an entry.
    page = "SELECT seq, leaf, raw FROM entry WHERE seq > ? AND instr(raw, ?) ORDER BY seq LIMIT ?"
    while rows := list(await db.execute_fetchall(page, (last, NAMES_REQUEST, _ENTRIES))):
        for seq, leaf, raw in rows:
            if leaf_hash(raw) != leaf:
                raise LedgerBroken([f"entry {seq} is not what its leaf hash says"])
            try:
                states.take(parse_entry(raw))
            except NotCanonical as error:
                raise LedgerBroken([f"entry {seq} cannot be read: {error}"]) from error
        last = rows[-1][0]
    if faults := list(states.faults(await db.execute_fetchall("SELECT request, state, leaf FROM request_state"))):
        raise LedgerBroken(faults)


async def _settle(db: Connection) -> None:
    """Copy what the WAL holds into the main file and sync that, before anything is built on it.

    After a failed fsync, entries may be in the page cache alone, where we can read them and a power cut cannot: Linux
    takes pages that it failed to write for clean, and the next fsync succeeds (https://lwn.net/Articles/752063/).
    """
    [(_, frames, done)] = await db.execute_fetchall("PRAGMA wal_checkpoint(PASSIVE)")
    if done != frames:
        raise LedgerUnavailable(
            f"the ledger cannot be written: {frames - done} of {frames} frames are kept back by a reader",
            hint="end the program that has been reading the ledger",
        )


async def _discard(db: Connection) -> None:
    # It is broken already, or everything is committed: either way nothing can be lost by a close that fails.
    with suppress(sqlite3.Error):
        await db.close()


async def _value(db: Connection, sql: str, parameters: Sequence[Any] = ()) -> Any:
    """The only value of the only row; LedgerBroken if there is no row."""
    rows = list(await db.execute_fetchall(sql, parameters))
    if not rows:
        raise LedgerBroken([f"nothing found by {sql}"])
    return rows[0][0]

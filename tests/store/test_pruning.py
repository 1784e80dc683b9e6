"""What a store proves, answers and refuses once its first entries are archived."""

import sqlite3
from pathlib import Path

import pytest
from tests.store.ledgers import LEDGER, held, noon, one, opened, step
from tests.store.test_proofs import check, grow

from pgnotary.errors import InArchive, NotCanonical
from pgnotary.ledger.archived import Archived
from pgnotary.ledger.base import Base
from pgnotary.ledger.entries import EntryType
from pgnotary.ledger.tree import Tree, verify_inclusion
from pgnotary.request.life import State
from pgnotary.store.sqlite import SqliteStore


def at(leaves: list[bytes], size: int) -> tuple[Archived, Base]:
    """What takes the place of the first entries; this ledger has no session, and R-1 only."""
    tree = Tree(leaves[:size])
    base = Base(LEDGER, size, tree.roots, leaves[size - 1], noon(), None, 7, ((1, 6),), (), 0, None)
    return Archived(0, size, tree.root(), base.digest, bytes(32), bytes(32)), base


@pytest.mark.parametrize("kept", [256, 512, 768])
async def test_proofs_of_what_stays_are_what_they_were_and_of_the_rest_the_archive_is_named(
    tmp_path: Path, kept: int
) -> None:
    roots: dict[int, bytes] = {}
    leaves: list[bytes] = []
    async with opened(tmp_path / "ledger") as store:
        for size in (100, kept, kept + 1, 900):
            leaves += await grow(store, size)
            roots[size] = store.head().root
        before = store.head()
        await store.prune(*at(leaves, kept))
        assert store.head().size == before.size + 1
        check(await store.prove(900, []), 900, before.root)
    # The same after a restart, and as the ledger grows.
    async with opened(tmp_path / "ledger") as store:
        for size in (901, 1_100):
            await grow(store, size)
            for older, root in roots.items():
                if older >= kept:
                    check(await store.prove(older, []), older, root)
            proof = await store.prove(size, [kept, kept + 1, 899])
            for seq, path in zip((kept, kept + 1, 899), proof.inclusion, strict=True):
                verify_inclusion(leaves[seq], seq, size, path, proof.head.root)
        connection = store._db
        for older, entries in ((100, []), (kept - 1, []), (0, [kept - 1]), (900, [0])):
            with pytest.raises(InArchive, match=f"lies in the archive: here are those from #{kept} on") as archived:
                await store.prove(older, entries)
            assert archived.value.kept == kept
        # A wrong question costs no connection.
        assert store._db is connection
        check(await store.prove(0, []), 0, None)
        with pytest.raises(ValueError, match="no leaf"):
            await store.prove(900, [1_100])


async def test_numbers_are_not_used_twice_and_what_is_archived_is_not_known(tmp_path: Path) -> None:
    async with opened(tmp_path / "ledger") as store:
        [receipt] = await one(store, held("R-7"))
        await one(store, step(EntryType.WITHDRAWN, "R-7", receipt.leaf, State.HELD, State.WITHDRAWN))
        await grow(store, 256)
        await store.prune(*at(await every_leaf(store), 256))
        assert await store.state("R-7") is None
        assert await store.entries_of("R-7") == []
        assert await store.last_request_number() == 7
        await one(store, held("R-8"))
        assert await store.last_request_number() == 8
        assert [request for request, _, _ in await store.open_requests()] == ["R-8"]


async def every_leaf(store: SqliteStore) -> list[bytes]:
    async with store._connection() as (db, _):
        return [leaf for (leaf,) in await db.execute_fetchall("SELECT leaf FROM entry ORDER BY seq")]


async def test_a_base_of_other_entries_is_refused_and_nothing_is_deleted(tmp_path: Path) -> None:
    async with opened(tmp_path / "ledger") as store:
        leaves = await grow(store, 600)
        told, base = at(leaves, 256)
        for wrong in (at([bytes(32), *leaves[1:]], 256), at(leaves, 255), at(leaves, 300), (told, at(leaves, 512)[1])):
            with pytest.raises(NotCanonical):
                await store.prune(*wrong)
        with pytest.raises(NotCanonical):
            await store.prune(at([*leaves, *leaves], 768)[0], at([*leaves, *leaves], 768)[1])
        assert len(await every_leaf(store)) == 600
        await store.prune(told, base)
        assert len(await every_leaf(store)) == 345


async def test_room_is_given_back_and_nothing_is_done_where_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger"

    def room() -> int:
        return sum(each.stat().st_size for each in (path, tmp_path / "ledger-wal"))

    async with opened(path) as store:
        leaves = await grow(store, 2_000)
        await store.rest()
        before = room()
        await store.prune(*at(leaves, 1_792))
        # As behind a redaction: until it is done, the next opening knows.
        assert store.is_erasing()
        assert await store.erase()
        assert not store.is_erasing()
        assert room() < before / 3
        await grow(store, 2_100)
    async with opened(path) as store:
        assert store.head().size == 2_100


async def test_guard_rails_stand_again(tmp_path: Path) -> None:
    async with opened(tmp_path / "ledger") as store:
        await store.prune(*at(await grow(store, 300), 256))
    db = sqlite3.connect(tmp_path / "ledger")
    for table in ("entry", "checkpoint"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(f"DELETE FROM {table}")
    db.close()

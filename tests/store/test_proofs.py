"""What the SQLite store proves of its head: true proofs over several blocks, after a restart too, and nothing else."""

from pathlib import Path

import pytest
from tests.store.ledgers import VKEY, edited, note, opened

from pgnotary.errors import BadProof, LedgerUnavailable
from pgnotary.ledger.checkpoint import verify
from pgnotary.ledger.tree import verify_consistency, verify_inclusion
from pgnotary.store import HeadProof
from pgnotary.store.sqlite import SqliteStore

SIZES = (1, 255, 256, 257, 511, 700)


async def grow(store: SqliteStore, size: int) -> list[bytes]:
    """Append up to a size; the leaves of what was appended."""
    [receipts] = await store.append([[note(n) for n in range(store.head().size, size)]])
    assert not isinstance(receipts, Exception)
    return [receipt.leaf for receipt in receipts]


def check(proof: HeadProof, older: int, root: bytes | None) -> None:
    head = verify(proof.note, VKEY)
    assert (head.size, head.root) == (proof.head.size, proof.head.root)
    assert proof.older_root == root
    if root is not None:
        verify_consistency(older, root, head.size, head.root, proof.consistency)


async def test_each_head_is_proven_to_extend_the_ones_before_it_and_to_cover_any_entry(tmp_path: Path) -> None:
    roots: dict[int, bytes] = {}
    leaves: list[bytes] = []
    for restart in (False, True):
        async with opened(tmp_path / "ledger") as store:
            for size in () if restart else SIZES:
                leaves += await grow(store, size)
                roots[size] = store.head().root
                for older, root in roots.items():
                    check(await store.prove(older, []), older, root)
            entries = [0, 255, 256, 511, 512, 699]
            proof = await store.prove(700, entries)
            for seq, path in zip(entries, proof.inclusion, strict=True):
                verify_inclusion(leaves[seq], seq, 700, path, proof.head.root)
            for older, root in roots.items():
                check(await store.prove(older, []), older, root)


async def test_of_a_head_beyond_the_end_or_of_nothing_there_is_no_proof(tmp_path: Path) -> None:
    async with opened(tmp_path / "ledger") as store:
        for older in (0, 1):
            check(await store.prove(older, []), older, None)
        await grow(store, 3)
        for older in (0, 4, 10**15):
            check(await store.prove(older, []), older, None)


async def test_a_wrong_question_costs_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path / "ledger") as store:
        await grow(store, 3)
        before = store._db
        for seq in (3, -1, 10**15):
            with pytest.raises(ValueError, match="no leaf"):
                await store.prove(1, [seq])
        assert store._db is before


async def test_leaves_that_somebody_edits_meanwhile_give_no_proof_that_leads_to_the_head(tmp_path: Path) -> None:
    async with opened(tmp_path / "ledger") as store:
        leaves = await grow(store, 300)
        edited(tmp_path / "ledger", "UPDATE entry SET leaf = randomblob(32) WHERE seq = 299")
        proof = await store.prove(0, [298])
        with pytest.raises(BadProof, match="not under this root"):
            verify_inclusion(leaves[298], 298, 300, proof.inclusion[0], proof.head.root)
        edited(tmp_path / "ledger", "DELETE FROM entry WHERE seq = 299")
        with pytest.raises(LedgerUnavailable):
            await store.prove(0, [298])

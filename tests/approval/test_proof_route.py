"""GET /v1/proof over a real Unix socket: what it proves, what it refuses to be asked, and what that costs nobody."""

import asyncio
from pathlib import Path

import pytest
from tests.approval.office import VKEY, running_office
from tests.approval.test_api import _call
from tests.store.ledgers import note, opened

from pgnotary.approval.api import ApprovalApi
from pgnotary.approval.bodies import MAX_PROVEN
from pgnotary.errors import ApiError, LedgerUnavailable
from pgnotary.ledger.checkpoint import verify
from pgnotary.ledger.tree import verify_consistency, verify_inclusion
from pgnotary.store import HeadProof


async def test_the_newest_head_is_proven_and_may_be_named_from_then_on() -> None:
    async with running_office() as office:
        office.hold("R-1")
        older = office.ledger.head()
        asked = office.hold("R-2")
        proof = await asyncio.to_thread(office.client.prove, 2, [2, 3])
        head = verify(proof.note, VKEY)
        assert office.desk.heads == [office.ledger.head()]
        assert (head.size, proof.older_root) == (4, older.root)
        verify_consistency(2, older.root, 4, head.root, proof.consistency)
        verify_inclusion(asked.leaf, 2, 4, proof.inclusion[0], head.root)
        assert len(proof.inclusion) == 2


@pytest.mark.parametrize(
    "query",
    [
        "from=x",
        "from=-1",
        "from=01",
        "from=%D9%A2",
        "from=1&from=2",
        "from=12345678901234567",
        "from=1&entry=",
        "from=1&entry=1.0",
        "from=1" + "&entry=0" * (MAX_PROVEN + 1),
    ],
)
async def test_what_no_command_asks_is_refused(query: str) -> None:
    async with running_office() as office:
        office.hold("R-1")
        status, body = await _call(office.socket, "GET", f"/v1/proof?{query}")
        assert (status, office.desk.heads) == (400, [])
        assert "expected ?from=SIZE" in body["error"]


async def test_a_head_beyond_the_end_gets_the_newest_one_and_no_proof() -> None:
    async with running_office() as office:
        office.hold("R-1")
        for older in (0, 3, 10**15):
            proof = await asyncio.to_thread(office.client.prove, older, [])
            assert (verify(proof.note, VKEY).size, proof.older_root, proof.consistency) == (2, b"", [])


async def test_a_ledger_that_is_down_proves_nothing() -> None:
    async with running_office() as office:

        async def down(older: int, entries: object) -> HeadProof:
            raise LedgerUnavailable("the disk is full")

        office.ledger.prove = down  # type: ignore[method-assign]
        with pytest.raises(ApiError, match="the disk is full") as caught:
            await asyncio.to_thread(office.client.prove, 0, [])
        assert (caught.value.status, office.desk.heads) == (503, [])


async def test_over_the_real_store_the_most_that_can_be_asked_is_answered_and_what_is_not_there_is_not(
    tmp_path: Path,
) -> None:
    async with running_office() as office, opened(tmp_path / "ledger") as store:
        await store.append([[note(n) for n in range(700)]])
        path = office.folder / "real.sock"
        async with ApprovalApi(office.desk, store, office.api.callers._roster, path, VKEY):
            entries = "".join(f"&entry={seq}" for seq in range(0, 700, 90))
            status, body = await _call(path, "GET", f"/v1/proof?from=300{entries}")
            assert (status, len(body["inclusion"])) == (200, MAX_PROVEN)
            connection = store._db
            status, body = await _call(path, "GET", "/v1/proof?from=1&entry=700")
            assert (status, store._db is connection) == (404, True)
            assert "no leaf 700 in the first 700" in body["error"]

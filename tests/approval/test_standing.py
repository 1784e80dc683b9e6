"""Where a request stands, as its entries say."""

import pytest
from tests.approval.office import MemoryLedger

from pgnotary.approval.standing import standing_of
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.life import State


async def test_nothing_is_known_of_a_request_without_entries() -> None:
    assert standing_of("R-1", await MemoryLedger().entries_of("R-1")) is None


@pytest.mark.parametrize(
    "state", [each for each in State if each not in (State.HELD, State.INTENT)], ids=lambda state: state.value
)
async def test_every_state_is_read_from_the_entry_that_brings_it(state: State) -> None:
    ledger = MemoryLedger()
    ledger.hold()
    before = standing_of("R-1", await ledger.entries_of("R-1"))
    assert before is not None
    assert (before.state, before.seq) == ("held", 1)
    ledger.move("R-1", state)
    after = standing_of("R-1", await ledger.entries_of("R-1"))
    assert after is not None
    assert (after.state, after.seq) == (state.value, 2)


async def test_a_resolved_outcome_keeps_the_rows_and_tags_of_what_ran() -> None:
    ledger = MemoryLedger()
    ledger.hold()
    ledger.move("R-1", State.APPROVED)
    ledger.move("R-1", State.EXECUTED, rows=3, tags=["DELETE 3"])
    ledger.move("R-1", State.UNKNOWN, why="the connection broke")
    ledger.move("R-1", State.RESOLVED, fate="committed", why="pg_xact_status('7') is committed")
    standing = standing_of("R-1", await ledger.entries_of("R-1"))
    assert standing is not None
    assert (standing.fate, standing.rows, standing.tags) == ("committed", 3, ["DELETE 3"])
    assert standing.why == "pg_xact_status('7') is committed"


async def test_a_decision_that_does_not_count_moves_nothing() -> None:
    ledger = MemoryLedger()
    ledger.hold()
    ledger.put(Draft(EntryType.REJECTED, {"why": "nobody has the key"}, request="R-1"))
    standing = standing_of("R-1", await ledger.entries_of("R-1"))
    assert standing is not None
    assert (standing.state, standing.seq) == ("held", 1)

"""The laws of `Store`, kept by the SQLite ledger; `check_ledger` looks again after each step."""

import asyncio
import itertools
import logging
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.check import check_ledger
from tests.store.ledgers import LEDGER, NOON, SEED, VKEY, edited, held, noon, note, one, opened, step

from pgnotary.errors import ConfigError, LedgerBroken, LedgerUnavailable, NotCanonical, RequestMoved
from pgnotary.ledger.checkpoint import Checkpoint, sign
from pgnotary.ledger.entries import FIRST_PREV, Draft, EntryType, Position, encode_entry
from pgnotary.ledger.tree import leaf_hash, root_of
from pgnotary.request.life import Move, State
from pgnotary.store import Append
from pgnotary.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(path) as store:
        yield store


def copied(path: Path, to: Path) -> None:
    """Copy a ledger that is in use, by another process: to close the file here would take SQLite's locks away."""
    for end in ("", "-wal"):
        subprocess.run(["cp", f"{path}{end}", f"{to}{end}"], check=True)


def moved(path: Path, to: Path, *ends: str) -> None:
    for end in ends:
        Path(f"{path}{end}").rename(f"{to}{end}")


def overwritten(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b" if path.exists() else "wb") as file:
        file.seek(offset)
        file.write(data)


def files(path: Path) -> dict[str, bytes]:
    """What lies in a closed ledger's folder."""
    return {each.name: each.read_bytes() for each in path.parent.iterdir()}


# What a ledger is.


async def test_a_new_ledger_is_empty_and_its_checkpoint_says_so(store: SqliteStore, path: Path) -> None:
    assert (store.head().size, store.head().root) == (0, root_of([]))
    assert store.checkpoint().startswith(f"{LEDGER}\n0\n")
    assert check_ledger(path, VKEY) == []


async def test_only_its_owner_can_read_a_ledger(store: SqliteStore, path: Path) -> None:
    await one(store, note())
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {f"{path.name}{end}": 0o600 for end in ("", ".lock", "-wal", "-shm")}


async def test_receipts_say_what_was_written_and_the_head_covers_it(store: SqliteStore, path: Path) -> None:
    receipts = await one(store, held("R-1"), note(1))
    entries = check_ledger(path, VKEY)
    assert [entry["type"] for entry in entries] == ["request", "forwarded"]
    assert [receipt.entry.position.seq for receipt in receipts] == [0, 1]
    assert receipts[0].opened["statement"][1] == b"delete from t"
    assert b"delete" not in receipts[0].entry.raw.replace(b'"kind":"delete"', b"")
    assert (store.head().size, store.head().root) == (2, root_of([receipt.leaf for receipt in receipts]))
    assert store.checkpoint().startswith(f"{LEDGER}\n2\n")


async def test_a_clock_that_goes_back_never_puts_an_entry_before_its_predecessor(path: Path) -> None:
    zone = timezone(timedelta(hours=2))
    clock = iter([NOON, NOON - timedelta(hours=1), (NOON + timedelta(seconds=1)).astimezone(zone)])
    async with opened(path, now=lambda: next(clock)) as store:
        times = [(await one(store, note()))[0].entry.position.time for _ in range(3)]
    assert times == [NOON, NOON, NOON + timedelta(seconds=1)]
    check_ledger(path, VKEY)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entry SET type = 'void'",
        "DELETE FROM entry WHERE seq = 1",
        "INSERT OR REPLACE INTO entry SELECT * FROM entry WHERE seq = 0",
        "INSERT INTO entry SELECT 7, leaf, raw, time, type, request, session FROM entry WHERE seq = 0",
        "UPDATE checkpoint SET note = ''",
        "DELETE FROM checkpoint",
        "INSERT OR REPLACE INTO checkpoint SELECT * FROM checkpoint WHERE size = 1",
    ],
)
async def test_guard_rails_stop_a_careless_statement(path: Path, change: str) -> None:
    async with opened(path) as store:
        await one(store, note())
        await one(store, note())
    db = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute(change)
    db.close()


async def test_every_commit_waits_for_the_disk_and_what_is_deleted_is_overwritten(store: SqliteStore) -> None:
    # The pragmas belong to the connection, and no test can pull the plug.
    assert store._db is not None
    found = [list(await store._db.execute_fetchall(f"PRAGMA {name}")) for name in ("synchronous", "secure_delete")]
    assert found == [[(2,)], [(1,)]]


async def test_sealed_values_do_not_reach_the_log(store: SqliteStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await one(store, held("R-1"))
    assert "delete from t" not in caplog.text


async def test_every_sealed_value_of_a_large_batch_is_kept(path: Path) -> None:
    drafts = [
        Draft(EntryType.FORWARDED, {"n": n}, "S-1", sealed={f"t{n}_{m}": b"%d %d" % (n, m) for m in range(400)})
        for n in range(6)
    ]
    async with opened(path) as store:
        await one(store, *map(Append, drafts))
    check_ledger(path, VKEY)
    with closing(sqlite3.connect(path)) as db:
        kept = dict(db.execute("SELECT name, value FROM sealed"))
    assert kept == {name: value for draft in drafts for name, value in draft.sealed.items()}


# Groups.


@settings(max_examples=12, deadline=None)
@given(cuts=st.sets(st.integers(1, 11)), batches=st.sets(st.integers(1, 11), max_size=4))
async def test_however_drafts_are_cut_into_groups_and_calls_the_chain_is_the_same(
    cuts: set[int], batches: set[int]
) -> None:
    async def written(cuts: set[int], batches: set[int]) -> list[bytes]:
        salts = itertools.count()
        with tempfile.TemporaryDirectory() as folder:
            store = await SqliteStore.open(
                Path(folder) / "l", LEDGER, SEED, now=noon, salt=lambda: next(salts).to_bytes(32, "big")
            )
            try:
                raws = []
                for call in itertools.pairwise([0, *sorted(batches), 12]):
                    edges = [call[0], *sorted(each for each in cuts if call[0] < each < call[1]), call[1]]
                    groups = [drafts[low:high] for low, high in itertools.pairwise(edges)]
                    for result in await store.append(groups):
                        assert not isinstance(result, Exception)
                        raws += [receipt.entry.raw for receipt in result]
                check_ledger(Path(folder) / "l", VKEY)
                return raws
            finally:
                await store.close()

    drafts = [held(f"R-{n}") if n % 3 else note(n) for n in range(12)]
    assert await written(cuts, batches) == await written(set(), set())


async def test_a_group_that_cannot_be_appended_leaves_no_trace_and_its_neighbours_are_not_touched(
    store: SqliteStore, path: Path
) -> None:
    [first] = await one(store, held("R-1"))
    results = await store.append(
        [
            [note(1)],
            [held("R-2"), note(2), step(EntryType.INTENT, "R-1", first.leaf, State.APPROVED, State.INTENT)],
            [held("R-3"), Append(Draft(EntryType.FORWARDED, {"Not a key": 1}))],
            [Append(Draft(EntryType.FORWARDED, {"text": "x" * 65_536}))],
            [Append(Draft(EntryType.FORWARDED, sealed={"no name": b""}))],
            [Append(Draft(EntryType.VOID, request="R-4"), Move("R-5", None, State.HELD))],
            [],
            [held("R-6"), note(6)],
        ]
    )
    assert [type(result) for result in results] == [
        *(list, RequestMoved, NotCanonical, NotCanonical, NotCanonical, NotCanonical, list, list)
    ]
    assert [entry["type"] for entry in check_ledger(path, VKEY)] == ["request", "forwarded", "request", "forwarded"]
    assert [await store.state(f"R-{n}") for n in range(1, 7)] == [State.HELD, *[None] * 4, State.HELD]
    assert store.head().size == 4


async def test_a_call_whose_every_group_fails_writes_nothing(store: SqliteStore, path: Path) -> None:
    await one(store, held("R-1"))
    before = store.checkpoint()
    [result] = await store.append([[held("R-1")]])
    assert isinstance(result, RequestMoved)
    assert result.state is State.HELD
    assert store.checkpoint() == before
    await one(store, note())
    check_ledger(path, VKEY)


# Moves.


async def test_of_two_moves_from_one_state_in_one_call_the_first_wins(store: SqliteStore, path: Path) -> None:
    [request] = await one(store, held("R-1"))
    won, lost = await store.append(
        [
            [step(EntryType.WITHDRAWN, "R-1", request.leaf, State.HELD, State.WITHDRAWN)],
            [step(EntryType.DECISION, "R-1", request.leaf, State.HELD, State.APPROVED)],
        ]
    )
    assert isinstance(won, list)
    assert isinstance(lost, RequestMoved)
    assert (lost.request, lost.state) == ("R-1", State.WITHDRAWN)
    assert len(check_ledger(path, VKEY)) == 2


async def test_of_many_concurrent_moves_from_one_state_exactly_one_wins(store: SqliteStore, path: Path) -> None:
    rivals = [
        (EntryType.DECISION, State.APPROVED),
        (EntryType.DECISION, State.DENIED),
        (EntryType.EXPIRED, State.EXPIRED),
        (EntryType.WITHDRAWN, State.WITHDRAWN),
        (EntryType.ORPHANED, State.ORPHANED),
    ]
    for n in range(10):
        request = f"R-{n}"
        [first] = await one(store, held(request))
        results = await asyncio.gather(
            *(one(store, step(kind, request, first.leaf, State.HELD, to)) for kind, to in rivals),
            return_exceptions=True,
        )
        states = [to for (_, to), result in zip(rivals, results, strict=True) if isinstance(result, list)]
        losers = [result for result in results if not isinstance(result, list)]
        assert [await store.state(request)] == states
        assert [type(each) for each in losers] == [RequestMoved] * 4
        check_ledger(path, VKEY)


_BEHIND: list[Append] = [
    step(EntryType.WITHDRAWN, "R-1", bytes(32), State.HELD, State.WITHDRAWN),
    Append(Draft(EntryType.PREVIEW, request="R-1")),
    Append(Draft(EntryType.ENDING, request="R-1", after=bytes(32))),
    Append(Draft(EntryType.ENDING, request="R-2", after=bytes(32))),
    Append(Draft(EntryType.ENDING, request="R-2")),
    Append(Draft(EntryType.REQUEST, request="R-2", after=bytes(32)), Move("R-2", None, State.HELD)),
]


@pytest.mark.parametrize("behind", _BEHIND)
async def test_nothing_is_written_behind_an_entry_that_is_not_the_newest_of_its_request(
    store: SqliteStore, path: Path, behind: Append
) -> None:
    await one(store, held("R-1"))
    for group in ([behind], [note(), behind], [held("R-3"), behind]):
        [result] = await store.append([group])
        assert isinstance(result, RequestMoved)
        assert (result.request, result.state) == (behind.draft.request, await store.state(result.request))
    assert len(check_ledger(path, VKEY)) == 1


async def test_who_reads_a_request_before_an_ending_writes_nothing_behind_it(store: SqliteStore) -> None:
    """The resolver against the session that ends the same prepared transaction: the state alone is no guard."""
    [request] = await one(store, held("R-1"))
    leaf = request.leaf
    for type_, of, to in (
        (EntryType.DECISION, State.HELD, State.APPROVED),
        (EntryType.INTENT, State.APPROVED, State.INTENT),
        (EntryType.EXECUTED, State.INTENT, State.EXECUTED),
        (EntryType.OUTCOME, State.EXECUTED, State.PREPARED),
    ):
        [receipt] = await one(store, step(type_, "R-1", leaf, of, to))
        leaf = receipt.leaf
    ending = Append(Draft(EntryType.ENDING, {"action": "commit-prepared"}, request="R-1", after=leaf))
    resolved = step(EntryType.OUTCOME, "R-1", leaf, State.PREPARED, State.RESOLVED)
    won, lost, again = await store.append([[ending], [resolved], [ending]])
    assert isinstance(won, list)
    assert [type(each) for each in (lost, again)] == [RequestMoved] * 2
    await one(store, step(EntryType.OUTCOME, "R-1", won[0].leaf, State.PREPARED, State.COMMITTED))
    assert await store.state("R-1") is State.COMMITTED
    assert (await store.entries_of("R-1"))[-2].leaf == won[0].leaf


async def test_evidence_moves_nothing_and_stands_beside_whatever_it_names(store: SqliteStore, path: Path) -> None:
    [request] = await one(store, held("R-1"))
    [shown] = await one(store, Append(Draft(EntryType.PREVIEW, request="R-1", after=request.leaf)))
    await one(store, Append(Draft(EntryType.REJECTED, request="R-1", after=request.leaf)))
    await one(store, step(EntryType.WITHDRAWN, "R-1", shown.leaf, State.HELD, State.WITHDRAWN))
    check_ledger(path, VKEY)


async def test_one_group_may_take_a_request_through_several_states(store: SqliteStore, path: Path) -> None:
    [first] = await one(store, held("R-1"))
    # Within a group `after` cannot be known: only the bytes of the first step give its leaf.
    [decided] = await one(store, step(EntryType.DECISION, "R-1", first.leaf, State.HELD, State.APPROVED))
    await one(store, note(), step(EntryType.INTENT, "R-1", decided.leaf, State.APPROVED, State.INTENT), note())
    assert await store.state("R-1") is State.INTENT
    check_ledger(path, VKEY)


async def test_open_requests_come_with_the_leaf_of_their_last_entry_even_if_it_made_no_move(
    store: SqliteStore, path: Path
) -> None:
    [one_, two, three] = [(await one(store, held(f"R-{n}")))[0] for n in (1, 2, 10)]
    [preview] = await one(store, Append(Draft(EntryType.PREVIEW, request="R-2", after=two.leaf)))
    await one(store, step(EntryType.EXPIRED, "R-1", one_.leaf, State.HELD, State.EXPIRED))
    assert await store.open_requests() == [("R-2", State.HELD, preview.leaf), ("R-10", State.HELD, three.leaf)]
    assert await store.last_request_number() == 10
    check_ledger(path, VKEY)


async def test_nothing_continues_from_a_decision_that_did_not_count(store: SqliteStore, path: Path) -> None:
    [first] = await one(store, held("R-1"))
    for _ in range(2):
        await one(store, Append(Draft(EntryType.REJECTED, request="R-1", after=first.leaf)))
    assert await store.open_requests() == [("R-1", State.HELD, first.leaf)]
    await one(store, step(EntryType.DECISION, "R-1", first.leaf, State.HELD, State.APPROVED))
    assert len(check_ledger(path, VKEY)) == 4


async def test_an_empty_ledger_has_no_requests(store: SqliteStore) -> None:
    assert await store.last_request_number() == 0
    assert await store.open_requests() == []
    assert await store.state("R-1") is None


# Opening again.


async def test_a_ledger_goes_on_where_it_ended(path: Path) -> None:
    clock = (NOON + timedelta(days=n % 4) for n in itertools.count())
    for n in range(9):
        async with opened(path, now=lambda: next(clock)) as store:
            assert store.head().size == n
            await one(store, note(n) if n % 2 else held(f"R-{n}"))
        assert len(check_ledger(path, VKEY)) == n + 1


async def test_more_leaves_than_one_page_are_read_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgnotary.store.sqlite._PAGE", 4)
    for size in range(4, 14):
        async with opened(path) as store:
            await one(store, *(note(n) for n in range(store.head().size, size)))
            head = store.head()
        async with opened(path) as store:
            assert store.head() == head
    check_ledger(path, VKEY)


async def test_a_ledger_left_without_a_close_is_opened_as_it_was(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    async with opened(path) as store:
        await one(store, note())
        copied(path, copy)
    async with opened(copy) as store:
        assert store.head().size == 1
    check_ledger(copy, VKEY)


async def test_a_folder_where_the_file_should_be_is_refused_in_our_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no file: give the ledger a file of its own"):
        await SqliteStore.open(tmp_path, LEDGER, SEED, now=noon)


async def test_another_key_is_refused(path: Path) -> None:
    async with opened(path) as store:
        await one(store, note())
    with pytest.raises(ConfigError, match="another key"):
        await SqliteStore.open(path, LEDGER, bytes(32), now=noon)
    check_ledger(path, VKEY)


async def test_another_name_is_refused(path: Path) -> None:
    async with opened(path):
        pass
    with pytest.raises(ConfigError, match=r"is the ledger 'ledger.example.com/prod', not 'elsewhere'"):
        await SqliteStore.open(path, "elsewhere", SEED, now=noon)


async def test_a_name_that_no_checkpoint_can_have_is_refused_before_there_is_a_file(path: Path) -> None:
    with pytest.raises(ConfigError, match="name"):
        await SqliteStore.open(path, "two words", SEED, now=noon)
    assert files(path) == {}


async def test_a_second_opening_is_refused_until_the_first_is_closed(path: Path) -> None:
    async with opened(path) as store:
        with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}: stop that proxy first"):
            await SqliteStore.open(path, LEDGER, SEED, now=noon)
        await one(store, note())
    async with opened(path) as store:
        assert store.head().size == 1


SECOND = """
import asyncio, sys
from datetime import UTC, datetime
from pgnotary.errors import ConfigError
from pgnotary.store.sqlite import SqliteStore
try:
    asyncio.run(SqliteStore.open(sys.argv[1], sys.argv[2], bytes(range(32)), now=lambda: datetime.now(UTC)))
except ConfigError as error:
    print(error)
"""


async def test_a_second_process_is_told_which_one_to_stop(store: SqliteStore, path: Path) -> None:
    second = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SECOND, path, LEDGER), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await second.communicate()
    assert f"in use by process {os.getpid()}" in told.decode()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no folder {tmp_path / 'nowhere'}"):
        await SqliteStore.open(tmp_path / "nowhere" / "l", LEDGER, SEED, now=noon)


async def test_another_programs_database_is_left_as_it_is(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE t(a)")
    db.close()
    before = files(path)
    with pytest.raises(ConfigError, match="another program's database"):
        await SqliteStore.open(path, LEDGER, SEED, now=noon)
    assert files(path) == {**before, f"{path.name}.lock": f"{os.getpid()}\n".encode()}


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    overwritten(path, 0, b"seq,leaf,raw\n" * 1000)
    with pytest.raises(ConfigError, match="no SQLite database"):
        await SqliteStore.open(path, LEDGER, SEED, now=noon)


async def test_a_newer_schema_is_refused(path: Path) -> None:
    async with opened(path):
        pass
    edited(path, "PRAGMA user_version=3")
    with pytest.raises(ConfigError, match="schema version 3, this pgnotary knows 2"):
        await SqliteStore.open(path, LEDGER, SEED, now=noon)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entry SET raw = CAST(replace(CAST(raw AS TEXT), 'forwarded', 'withdrawn') AS BLOB) WHERE seq = 4",
        "UPDATE entry SET raw = x'00' WHERE seq = 4",
        "UPDATE entry SET raw = CAST(replace(CAST(raw AS TEXT), '\"n\":4', '\"n\":5') AS BLOB) WHERE seq = 4",
        "UPDATE entry SET raw = (SELECT raw FROM entry WHERE seq = 3) WHERE seq = 4",
        "UPDATE entry SET raw = a.raw, leaf = a.leaf FROM entry a WHERE entry.seq = 4 AND a.seq = 3",
        "UPDATE entry SET leaf = zeroblob(32) WHERE seq = 4",
        "UPDATE entry SET leaf = zeroblob(32) WHERE seq = 0",
        "UPDATE entry SET seq = -1 WHERE seq = 0",
        "INSERT INTO entry SELECT -9223372036854775808, leaf, raw, time, type, request, session FROM entry LIMIT 1",
        "DELETE FROM entry WHERE seq = 0",
        "DELETE FROM entry WHERE seq = 2",
        "DELETE FROM entry WHERE seq = 4",
        "DELETE FROM entry",
        "INSERT INTO entry SELECT 5, leaf, raw, time, type, request, session FROM entry WHERE seq = 4",
        "DELETE FROM checkpoint WHERE size = 5",
        "DELETE FROM checkpoint WHERE size > 0",
        "UPDATE checkpoint SET note = replace(note, char(10) || '5', char(10) || '4') WHERE size = 5",
        "UPDATE checkpoint SET note = '' WHERE size = 5",
        "UPDATE checkpoint SET size = 1099511627776 WHERE size = 5",
        "DROP TABLE entry",
    ],
)
async def test_a_tampered_tail_refuses_to_open(path: Path, change: str) -> None:
    async with opened(path) as store:
        for n in range(5):
            await one(store, note(n))
    edited(path, change)
    with pytest.raises((LedgerBroken, LedgerUnavailable)) as found:
        await SqliteStore.open(path, LEDGER, SEED, now=noon)
    assert isinstance(found.value, LedgerBroken) or change.startswith("DROP")
    with pytest.raises((AssertionError, ValueError, sqlite3.OperationalError)):
        check_ledger(path, VKEY)


@pytest.mark.parametrize(
    "position",
    [
        Position("elsewhere", 0, FIRST_PREV, NOON),
        Position(LEDGER, 1, FIRST_PREV, NOON),
        Position(LEDGER, 0, b"1" * 32, NOON),
    ],
)
async def test_an_entry_of_another_place_refuses_to_open_even_under_a_good_checkpoint(
    path: Path, position: Position
) -> None:
    async with opened(path) as store:
        await one(store, note())
    raw = encode_entry(note().draft, position, {})
    forged = sign(Checkpoint(LEDGER, 1, root_of([leaf_hash(raw)])), LEDGER, SEED)
    edited(
        path,
        f"UPDATE entry SET raw = x'{raw.hex()}', leaf = x'{leaf_hash(raw).hex()}'",
        f"UPDATE checkpoint SET note = '{forged}' WHERE size = 1",
    )
    with pytest.raises(LedgerBroken, match="entry 0 belongs to another place"):
        await SqliteStore.open(path, LEDGER, SEED, now=noon)


async def test_a_damaged_file_refuses_to_open(path: Path) -> None:
    async with opened(path) as store:
        await one(store, *(note(n) for n in range(500)))
    overwritten(path, 4096 * 2, b"\xa5" * 4096 * 38)
    with pytest.raises(LedgerBroken):
        await SqliteStore.open(path, LEDGER, SEED, now=noon)


# Running.


async def test_a_closed_ledger_takes_nothing(path: Path) -> None:
    async with opened(path) as store:
        pass
    await store.close()
    for use in (store.append([[note()]]), store.probe(), store.state("R-1")):
        with pytest.raises(LedgerUnavailable, match="closed"):
            await use


async def test_probes_are_no_entries(store: SqliteStore, path: Path) -> None:
    for _ in range(3):
        await store.probe()
    assert check_ledger(path, VKEY) == []


async def test_a_ledger_held_by_another_writer_is_unavailable_until_it_is_let_go(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgnotary.store.sqlite._BUSY_S", 0.05)
    async with opened(path) as store:
        await one(store, note())
        thief = sqlite3.connect(path, isolation_level=None)
        thief.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(LedgerUnavailable, match="locked") as found:
                await one(store, note())
            assert "end the program" in found.value.hint
        thief.execute("ROLLBACK")
        await one(store, note())
        thief.close()
    assert len(check_ledger(path, VKEY)) == 2


async def test_a_foreign_entry_makes_the_ledger_unavailable_not_wrong(store: SqliteStore, path: Path) -> None:
    await one(store, note())
    forger = sqlite3.connect(path, isolation_level=None)
    forger.execute("INSERT INTO entry SELECT 1, leaf, raw, time, type, request, session FROM entry")
    for _ in range(2):
        with pytest.raises(LedgerUnavailable):
            await one(store, note())
    forger.execute("DROP TRIGGER entry_DELETE")
    forger.execute("DELETE FROM entry WHERE seq = 1")
    forger.close()
    await one(store, note())
    check_ledger(path, VKEY)


async def test_a_deleted_file_takes_no_entries(store: SqliteStore, path: Path) -> None:
    await one(store, note())
    moved(path, path.with_name("elsewhere"), "", "-wal", "-shm")
    for use in (store.append([[note()]]), store.probe(), store.append([[note()]])):
        with pytest.raises(LedgerUnavailable):
            await use
    assert path.name not in files(path)


async def test_an_older_copy_put_in_place_while_running_takes_no_entries(store: SqliteStore, path: Path) -> None:
    old = path.with_name("old")
    await one(store, note(1))
    copied(path, old)
    await one(store, note(2))
    moved(path, path.with_name("new"), "-shm", "-wal", "")
    moved(old, path, "-wal", "")
    for _ in range(2):
        with pytest.raises(LedgerUnavailable):
            await one(store, note(3))
    with pytest.raises(LedgerUnavailable, match="it has 1 entries, 2 were acknowledged"):
        await store.probe()


async def test_an_empty_file_put_in_place_while_running_stays_empty(store: SqliteStore, path: Path) -> None:
    moved(path, path.with_name("kept"), "-shm", "-wal", "")
    overwritten(path, 0, b"")
    with pytest.raises(LedgerUnavailable, match="replaced while it was open"):
        await one(store, note())
    with pytest.raises(LedgerUnavailable, match="the file is empty"):
        await one(store, note())
    assert files(path)[path.name] == b""


async def test_a_longer_ledger_with_another_past_put_in_place_takes_no_entries(store: SqliteStore, path: Path) -> None:
    other = path.with_name("other")
    async with opened(other) as forged:
        await one(forged, note(666))
        await one(forged, note(2))
    await one(store, note(1))
    moved(path, path.with_name("kept"), "-shm", "-wal", "")
    moved(other, path, "")
    with pytest.raises(LedgerUnavailable, match="replaced while it was open"):
        await one(store, note(2))
    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match="the first 1 entries are not those that were acknowledged"):
            await one(store, note(2))


async def test_a_reader_that_takes_its_time_does_not_stop_the_writer(store: SqliteStore, path: Path) -> None:
    await one(store, note())
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM entry").fetchall()
    for n in range(3):
        await one(store, note(n))
    reader.close()
    assert len(check_ledger(path, VKEY)) == 4


async def test_a_ledger_of_the_format_before_is_refused_and_it_is_said_what_to_do(path: Path) -> None:
    async with opened(path) as store:
        await one(store, note())
    edited(path, "UPDATE entry SET raw = CAST(replace(CAST(raw AS TEXT), 'entry/1', 'entry/0') AS BLOB)")
    with pytest.raises(LedgerBroken, match=r"format 'pgnotary/entry/0'.*begin a new ledger with this one"):
        async with opened(path):
            pass

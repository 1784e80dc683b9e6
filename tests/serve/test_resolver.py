"""Unknown outcomes are settled by what PostgreSQL says of the transaction, and by nothing else."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from tests.check import check_ledger
from tests.store.ledgers import VKEY, opened

from pgnotary.config import Config, load
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.life import Move, State
from pgnotary.serve.certificates import upstream_of
from pgnotary.serve.recovery import recall
from pgnotary.serve.resolver import Resolver, Sent, Verdict, asking, sent_of
from pgnotary.session.prepared_transactions import PreparedTransactions
from pgnotary.setup import add_user, make_folder
from pgnotary.store import Append, Store
from pgnotary.store.appender import Appender

COMMITTED = Verdict(State.COMMITTED, "pg_xact_status('771') is committed")
ABORTED = Verdict(State.ROLLED_BACK, "pg_xact_status('771') is aborted")
RUNNING = Verdict(None, "pg_xact_status('771') is in progress")


class Oracle:
    """Answers in the order given; the last answer for ever."""

    def __init__(self, *answers: Verdict) -> None:
        self.answers = list(answers)
        self.asked: list[Sent] = []

    async def __call__(self, sent: Sent) -> Verdict:
        self.asked.append(sent)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def sent(store: Store, appender: Appender, request: str = "R-1", *, executed: bool = True) -> None:
    """Let a request come as far as a statement that was sent and whose server was lost."""
    asked: dict[str, JSON] = {"user": "eva", "database": "shop"}
    sent_: dict[str, JSON] = {"xid": "771", "timeline": "00000001", "system_identifier": "74"}
    steps: list[tuple[EntryType, dict[str, JSON], State]] = [
        (EntryType.REQUEST, asked, State.HELD),
        (EntryType.DECISION, {}, State.APPROVED),
        (EntryType.INTENT, sent_, State.INTENT),
        (EntryType.EXECUTED, {"rows": 5}, State.EXECUTED),
        (EntryType.OUTCOME, {"result": "unknown"}, State.UNKNOWN),
    ]
    if not executed:
        del steps[3]
    of, leaf = None, None
    for type_, body, to in steps:
        (receipt,) = await appender.append(Append(Draft(type_, body, "S-1", request, leaf), Move(request, of, to)))
        of, leaf = to, receipt.leaf


@asynccontextmanager
async def resolving(
    path: Path, oracle: Oracle, prepared: PreparedTransactions | None = None
) -> AsyncIterator[tuple[Store, Appender]]:
    async with opened(path) as store, Appender(store) as appender, asyncio.TaskGroup() as tasks:
        resolver = Resolver(store, appender, oracle, PreparedTransactions() if prepared is None else prepared, "policy")
        appender.follow(resolver.witness)
        tasks.create_task(resolver.run())
        yield store, appender
        resolver.stop()


async def resolved(store: Store, request: str = "R-1") -> dict[str, JSON]:
    async with asyncio.timeout(10):
        while await store.state(request) is not State.RESOLVED:
            await asyncio.sleep(0.01)
    return dict((await store.entries_of(request))[-1].body)


@pytest.mark.parametrize("executed", [True, False])
async def test_an_outcome_that_becomes_unknown_is_resolved_as_the_server_says(tmp_path: Path, executed: bool) -> None:
    oracle = Oracle(COMMITTED)
    async with resolving(tmp_path / "ledger.db", oracle) as (store, appender):
        await sent(store, appender, executed=executed)
        body = await resolved(store)
    rows = {"rows": 5} if executed else {}
    assert body == {"result": "resolved", "fate": "committed", "xid": "771", "why": COMMITTED.why} | rows
    assert [(each.user, each.database, each.system_identifier, each.timeline) for each in oracle.asked] == [
        ("eva", "shop", "74", "00000001")
    ]
    check_ledger(tmp_path / "ledger.db", VKEY)


async def test_what_did_not_commit_has_no_rows(tmp_path: Path) -> None:
    async with resolving(tmp_path / "ledger.db", Oracle(ABORTED)) as (store, appender):
        await sent(store, appender)
        body = await resolved(store)
    assert body == {"result": "resolved", "fate": "rolled-back", "xid": "771", "why": ABORTED.why}


async def test_what_a_former_run_left_unknown_is_resolved_by_the_next_one(tmp_path: Path) -> None:
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender:
        await sent(store, appender)
        await sent(store, appender, "R-2")
    async with resolving(tmp_path / "ledger.db", Oracle(ABORTED)) as (again, _):
        assert {(await resolved(again, each))["fate"] for each in ("R-1", "R-2")} == {"rolled-back"}


async def test_it_asks_again_while_the_server_does_not_know(tmp_path: Path) -> None:
    oracle = Oracle(Verdict(None, "the server cannot be asked"), RUNNING, COMMITTED)
    async with resolving(tmp_path / "ledger.db", oracle) as (store, appender):
        await sent(store, appender)
        assert (await resolved(store))["fate"] == "committed"
    assert len(oracle.asked) == 3


async def test_what_somebody_else_has_resolved_stays_as_it_is(tmp_path: Path) -> None:
    async with resolving(tmp_path / "ledger.db", Oracle(RUNNING, COMMITTED)) as (store, appender):
        await sent(store, appender)
        leaf = (await store.entries_of("R-1"))[-1].leaf
        body: dict[str, JSON] = {"result": "resolved", "fate": "rolled-back", "why": "an operator looked"}
        draft = Draft(EntryType.OUTCOME, body, "S-1", "R-1", leaf)
        await appender.append(Append(draft, Move("R-1", State.UNKNOWN, State.RESOLVED)))
        await sent(store, appender, "R-2")
        await resolved(store, "R-2")
        assert (await store.entries_of("R-1"))[-1].body == body


async def test_a_rejected_decision_behind_it_is_not_its_last_entry(tmp_path: Path) -> None:
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender:
        await sent(store, appender)
        entries = await store.entries_of("R-1")
        await appender.append(Append(Draft(EntryType.REJECTED, {"why": "late"}, "S-1", "R-1", entries[0].leaf)))
        assert sent_of(await store.entries_of("R-1")).leaf == entries[-1].leaf


# --- prepared transactions ------------------------------------------------------------------------------------------

WAITS = Verdict(State.PREPARED, "transaction 771 waits as 'x'")


async def left_prepared(store: Store, appender: Appender, request: str = "R-1", policy: str = "policy") -> None:
    """Let a request come as far as a transaction that waits as x."""
    asked: dict[str, JSON] = {"user": "eva", "database": "shop", "policy": policy}
    sent_: dict[str, JSON] = {"xid": "771", "timeline": "00000001", "system_identifier": "74"}
    named: dict[str, JSON] = {"xid": "771", "gid": "x"}
    steps: list[tuple[EntryType, dict[str, JSON], State]] = [
        (EntryType.REQUEST, asked, State.HELD),
        (EntryType.DECISION, {}, State.APPROVED),
        (EntryType.INTENT, sent_, State.INTENT),
        (EntryType.EXECUTED, {"rows": 5}, State.EXECUTED),
        (EntryType.ENDING, {"action": "prepare-transaction", **named}, State.EXECUTED),
        (EntryType.OUTCOME, {"result": "prepared", **named}, State.PREPARED),
    ]
    of, leaf = None, None
    for type_, body, to in steps:
        move = None if type_ is EntryType.ENDING else Move(request, of, to)
        (receipt,) = await appender.append(Append(Draft(type_, body, "S-1", request, leaf), move))
        of, leaf = to, receipt.leaf


async def until(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not found():
            await asyncio.sleep(0.01)


async def test_what_is_unknown_and_waits_on_the_server_is_prepared(tmp_path: Path) -> None:
    prepared = PreparedTransactions()
    async with resolving(tmp_path / "ledger.db", Oracle(WAITS), prepared) as (store, appender):
        await sent(store, appender)
        await until(lambda: len(prepared) == 1)
        assert await store.state("R-1") is State.PREPARED
        assert dict((await store.entries_of("R-1"))[-1].body)["why"] == WAITS.why
        found = prepared.find("", "00000001/771", "74")
        assert found is not None
        assert [each.leaf for each in found.signed] == [(await store.entries_of("R-1"))[-1].leaf]
    check_ledger(tmp_path / "ledger.db", VKEY)


async def test_what_is_prepared_is_asked_about_once_and_stays_so_while_it_waits(tmp_path: Path) -> None:
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender:
        await left_prepared(store, appender)
    oracle = Oracle(WAITS, COMMITTED)
    async with resolving(tmp_path / "ledger.db", oracle) as (again, appender):
        await until(lambda: len(oracle.asked) == 1)
        await sent(again, appender, "R-2")
        await resolved(again, "R-2")
        assert await again.state("R-1") is State.PREPARED
    assert [each.gid for each in oracle.asked] == ["x", None]


async def test_what_was_ended_elsewhere_is_resolved(tmp_path: Path) -> None:
    prepared = PreparedTransactions()
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender:
        await left_prepared(store, appender)
        await recall(store, prepared, "policy")
    assert len(prepared) == 1
    async with resolving(tmp_path / "ledger.db", Oracle(COMMITTED), prepared) as (again, _):
        assert await resolved(again) == {
            "result": "resolved", "fate": "committed", "xid": "771", "rows": 5, "why": COMMITTED.why,
        }  # fmt: skip
        await until(lambda: len(prepared) == 0)
    check_ledger(tmp_path / "ledger.db", VKEY)


async def test_while_a_session_ends_it_nothing_else_is_recorded(tmp_path: Path) -> None:
    prepared = PreparedTransactions()
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender:
        await left_prepared(store, appender)
        await recall(store, prepared, "policy")
    found = prepared.find("x", "00000001/771", "74")
    assert found is not None
    found.taken = True
    oracle = Oracle(COMMITTED)
    async with resolving(tmp_path / "ledger.db", oracle, prepared) as (again, _):
        await until(lambda: len(oracle.asked) >= 2)
        assert await again.state("R-1") is State.PREPARED
        found.taken = False
        await resolved(again)


async def test_while_it_is_recorded_no_session_can_end_it(tmp_path: Path) -> None:
    prepared = PreparedTransactions()
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender:
        await left_prepared(store, appender)
        await recall(store, prepared, "policy")
    found = prepared.find("x", "00000001/771", "74")
    assert found is not None
    taken: list[bool] = []
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender, asyncio.TaskGroup() as tasks:
        appender.follow(lambda _: taken.append(found.taken))
        resolver = Resolver(store, appender, Oracle(COMMITTED), prepared, "policy")
        tasks.create_task(resolver.run())
        await until(lambda: len(prepared) == 0)
        resolver.stop()
    assert taken == [True]
    assert not found.taken


async def follow(store: Store, appender: Appender, type_: EntryType, body: dict[str, JSON], *to: State) -> None:
    """Record what a session does with R-1, which is prepared."""
    draft = Draft(type_, body, "S-1", "R-1", (await store.entries_of("R-1"))[-1].leaf)
    await appender.append(Append(draft, Move("R-1", State.PREPARED, *to) if to else None))


ENDS: dict[str, JSON] = {"action": "commit-prepared", "xid": "771", "gid": "x", "through": "S-1"}
ENDED: dict[str, JSON] = {"result": "committed", "rows": 5, "xid": "771", "gid": "x"}


class Meanwhile(Oracle):
    """While the first question is under way something happens."""

    happens: Callable[[], Awaitable[None]] | None = None

    async def __call__(self, sent: Sent) -> Verdict:
        happens, self.happens = self.happens, None
        if happens:
            await happens()
        return await super().__call__(sent)


async def test_an_answer_about_an_older_entry_is_asked_for_again(tmp_path: Path) -> None:
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender:
        await left_prepared(store, appender)
    oracle = Meanwhile(COMMITTED)
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender, asyncio.TaskGroup() as tasks:
        oracle.happens = lambda: follow(store, appender, EntryType.ENDING, ENDS)
        resolver = Resolver(store, appender, oracle, PreparedTransactions(), "policy")
        tasks.create_task(resolver.run())
        await resolved(store)
        resolver.stop()
    first, second = oracle.asked
    assert (first.ends, second.ends) == (False, True)
    check_ledger(tmp_path / "ledger.db", VKEY)


async def test_a_session_that_ends_it_while_it_is_asked_about_keeps_its_record(tmp_path: Path) -> None:
    """Nothing is known of it here: the store alone stands between the two."""
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender:
        await left_prepared(store, appender)
    oracle = Meanwhile(COMMITTED)
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender, asyncio.TaskGroup() as tasks:

        async def end() -> None:
            await follow(store, appender, EntryType.ENDING, ENDS)
            await follow(store, appender, EntryType.OUTCOME, ENDED, State.COMMITTED)

        oracle.happens = end
        resolver = Resolver(store, appender, oracle, PreparedTransactions(), "policy")
        tasks.create_task(resolver.run())
        await until(lambda: len(oracle.asked) == 1)
        await sent(store, appender, "R-2")
        appender.follow(resolver.witness)
        resolver.stop()
    check_ledger(tmp_path / "ledger.db", VKEY)
    async with opened(tmp_path / "ledger.db") as store:
        assert await store.state("R-1") is State.COMMITTED


async def test_a_server_that_ends_it_after_its_session_was_lost_is_asked_until_it_has(tmp_path: Path) -> None:
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender:
        await left_prepared(store, appender)
    oracle = Oracle(WAITS, WAITS, WAITS, COMMITTED)
    async with resolving(tmp_path / "ledger.db", oracle) as (again, appender):
        await follow(again, appender, EntryType.ENDING, ENDS)
        await follow(again, appender, EntryType.OUTCOME, {"result": "unknown", "xid": "771"}, State.UNKNOWN)
        await resolved(again)
        told = [entry.body.get("result") for entry in await again.entries_of("R-1") if entry.type is EntryType.OUTCOME]
    assert told == ["prepared", "unknown", "prepared", "resolved"]
    check_ledger(tmp_path / "ledger.db", VKEY)


async def test_what_becomes_unknown_while_it_is_asked_about_is_asked_about_again(tmp_path: Path) -> None:
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender:
        await left_prepared(store, appender)
    oracle = Meanwhile(WAITS, COMMITTED)
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender, asyncio.TaskGroup() as tasks:

        async def lose_it() -> None:
            await follow(store, appender, EntryType.OUTCOME, {"result": "unknown", "xid": "771"}, State.UNKNOWN)

        oracle.happens = lose_it
        resolver = Resolver(store, appender, oracle, PreparedTransactions(), "policy")
        appender.follow(resolver.witness)
        tasks.create_task(resolver.run())
        await resolved(store)
        resolver.stop()
    check_ledger(tmp_path / "ledger.db", VKEY)


async def test_what_was_known_of_it_too_late_for_its_end_is_asked_about_again(tmp_path: Path) -> None:
    """A crash at PREPARE leaves two unknown; the end of what was known of by then settles the first alone."""
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender:
        await sent(store, appender)
    prepared = PreparedTransactions()
    async with resolving(tmp_path / "ledger.db", Oracle(WAITS, COMMITTED), prepared) as (again, _):
        await resolved(again)
        await until(lambda: len(prepared) == 0)
    check_ledger(tmp_path / "ledger.db", VKEY)


async def test_while_a_session_records_that_it_lost_the_server_nothing_is_learned(tmp_path: Path) -> None:
    """What the session forgets in the end must not take what was found of it meanwhile with it."""
    prepared = PreparedTransactions()
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender:
        await left_prepared(store, appender)
        await recall(store, prepared, "policy")
    ending = prepared.find("x", "00000001/771", "74")
    assert ending is not None
    ending.taken = True
    oracle = Oracle(WAITS)
    async with resolving(tmp_path / "ledger.db", oracle, prepared) as (again, appender):
        await follow(again, appender, EntryType.ENDING, ENDS)
        await follow(again, appender, EntryType.OUTCOME, {"result": "unknown", "xid": "771"}, State.UNKNOWN)
        asked = len(oracle.asked)
        await until(lambda: len(oracle.asked) >= asked + 2)
        assert await again.state("R-1") is State.UNKNOWN
        prepared.remove(ending)
        await until(lambda: len(prepared) == 1)
        assert await again.state("R-1") is State.PREPARED


async def test_several_statements_of_one_transaction_are_recalled_together(tmp_path: Path) -> None:
    prepared = PreparedTransactions()
    async with opened(tmp_path / "ledger.db") as store, Appender(store) as appender:
        await left_prepared(store, appender)
        await left_prepared(store, appender, "R-2", policy="another")
        await recall(store, prepared, "policy")
    found = prepared.find("x", "00000001/771", "74")
    assert found is not None
    assert [each.request for each in found.signed] == ["R-1", "R-2"]
    assert not found.vouched


# --- against a real server ------------------------------------------------------------------------------------------


@pytest.fixture
def config(postgres: EmbeddedPostgres, tmp_path: Path) -> Config:
    path = make_folder(
        tmp_path / "pgnotary",
        listen="127.0.0.1:0",
        upstream=f"{postgres.host}:{postgres.port}",
        role=postgres.superuser,
        password=postgres.password,
        name="tests.localhost/resolver",
    )
    add_user(path, "eva", postgres.superuser, "secret")
    return load(path)


def _statement(database: str, connection: psycopg.Connection[object]) -> Sent:
    row = connection.execute(
        "SELECT pg_current_xact_id()::text, (SELECT system_identifier::text FROM pg_control_system()), "
        "left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"
    ).fetchone()
    assert isinstance(row, tuple)
    xid, system_identifier, timeline = row
    return Sent("R-1", "S-1", bytes(32), "eva", database, xid, system_identifier, timeline, None, undone=False)


async def test_the_server_tells_the_fate_of_a_transaction(
    config: Config, postgres: EmbeddedPostgres, database: str
) -> None:
    ask = asking(lambda: config, upstream_of(config))
    with psycopg.connect(postgres.dsn(database)) as connection:
        statement = _statement(database, connection)
        found = await ask(statement)
        assert (found.fate, found.why) == (None, f"pg_xact_status('{statement.xid}') is in progress")
        connection.commit()
        assert (await ask(statement)).fate is State.COMMITTED
        statement = _statement(database, connection)
        connection.rollback()
        assert (await ask(statement)).fate is State.ROLLED_BACK


async def test_the_server_tells_what_waits_prepared(config: Config, postgres: EmbeddedPostgres, database: str) -> None:
    ask = asking(lambda: config, upstream_of(config))
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute("BEGIN")
        statement = replace(_statement(database, connection), gid="it's")
        assert (await ask(statement)).fate is None
        connection.execute("PREPARE TRANSACTION 'it''s'")
        assert (await ask(statement)).fate is State.PREPARED
        assert (await ask(replace(statement, gid="another"))).fate is None
        connection.execute("ROLLBACK PREPARED 'it''s'")
        assert (await ask(statement)).fate is State.ROLLED_BACK


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"system_identifier": "1"}, "the server has system identifier"),
        ({"timeline": "00000007"}, "the server has timeline 00000001, the statement was sent to 00000007"),
        ({"user": "nobody"}, "user 'nobody' is not in the configuration any more"),
        ({"database": "gone"}, 'the server cannot be asked: .* database "gone" does not exist'),
        ({"xid": "18446744073709551615"}, "the server cannot be asked: .* transaction ID .* is in the future"),
        ({"undone": True}, "the statement may have been rolled back to a savepoint"),
    ],
)
async def test_what_cannot_be_told_stays_unknown(
    config: Config, postgres: EmbeddedPostgres, database: str, change: dict[str, str], why: str
) -> None:
    with psycopg.connect(postgres.dsn(database)) as connection:
        statement = _statement(database, connection)
    fields = {name: getattr(statement, name) for name in Sent.__slots__} | change
    found = await asking(lambda: config, upstream_of(config))(Sent(**fields))
    assert found.fate is None
    assert re.search(why, found.why), found.why

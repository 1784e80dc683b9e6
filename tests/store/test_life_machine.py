"""The life of requests on the real store, by chance, against a model: who moves first wins, and nothing else happens.

Each rule tries one move of one request, possible or not. The model says where each request stands; the store must
agree, make a move only from there, and tell a loser the true state. In between the ledger is closed and opened again.
"""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.check import check_ledger
from tests.store.ledgers import LEDGER, NOON, SEED, VKEY, held, one

from pgnotary.errors import RequestMoved
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.life import FINAL, Move, State
from pgnotary.store import Append
from pgnotary.store.sqlite import SqliteStore

_T = TypeVar("_T")
S, E = State, EntryType

# --- the model: written down a second time, so that a slip in the product's own table shows ---------------------------

MAY: dict[State, set[State]] = {
    S.HELD: {S.APPROVED, S.DENIED, S.EXPIRED, S.WITHDRAWN, S.ORPHANED},
    S.APPROVED: {S.INTENT, S.VOID},
    S.INTENT: {S.EXECUTED, S.FAILED, S.ROLLED_BACK, S.UNKNOWN},
    S.EXECUTED: {S.COMMITTED, S.ROLLED_BACK, S.UNKNOWN, S.PREPARED},
    S.PREPARED: {S.COMMITTED, S.ROLLED_BACK, S.UNKNOWN, S.RESOLVED},
    S.UNKNOWN: {S.RESOLVED, S.PREPARED},
}
"""From where to where; what is not here is the end."""

ENTRY: dict[State, tuple[EntryType, dict[str, JSON]]] = {
    S.APPROVED: (E.DECISION, {"answer": "approve"}),
    S.DENIED: (E.DECISION, {"answer": "deny"}),
    S.EXPIRED: (E.EXPIRED, {}),
    S.WITHDRAWN: (E.WITHDRAWN, {"by": "cancel"}),
    S.ORPHANED: (E.ORPHANED, {}),
    S.VOID: (E.VOID, {}),
    S.INTENT: (E.INTENT, {}),
    S.EXECUTED: (E.EXECUTED, {}),
    S.COMMITTED: (E.OUTCOME, {"result": "committed"}),
    S.ROLLED_BACK: (E.OUTCOME, {"result": "rolled-back"}),
    S.FAILED: (E.OUTCOME, {"result": "failed"}),
    S.UNKNOWN: (E.OUTCOME, {"result": "unknown"}),
    S.PREPARED: (E.OUTCOME, {"result": "prepared", "gid": "x"}),
    S.RESOLVED: (E.OUTCOME, {"result": "resolved", "fate": "committed"}),
}


class Model:
    """Where each request stands, and how many entries there are."""

    def __init__(self) -> None:
        self.stands: dict[str, State] = {}
        self.entries = 0

    def hold(self, request: str) -> bool:
        """Say whether a request can begin, and let it."""
        if request in self.stands:
            return False
        self.stands[request] = S.HELD
        self.entries += 1
        return True

    def move(self, request: str, of: State, to: State) -> bool:
        """Say whether a move happens, and let it."""
        if self.stands.get(request) is not of:
            return False
        self.stands[request] = to
        self.entries += 1
        return True


# --- the machine ------------------------------------------------------------------------------------------------------

REQUESTS = st.sampled_from(["R-1", "R-2", "R-3"])
MOVES = st.sampled_from([(of, to) for of, all_to in MAY.items() for to in sorted(all_to)])


class Lives(RuleBasedStateMachine):
    """Three requests on one ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.leaves: dict[str, bytes] = {}
        self.runner = asyncio.Runner()
        self.folder = TemporaryDirectory(prefix="pgnotary-")
        self.path = Path(self.folder.name) / "ledger.db"
        self.store = self.do(self.open())

    def do(self, work: Awaitable[_T]) -> _T:
        """Wait for the store."""

        async def awaited() -> _T:
            return await work

        return self.runner.run(awaited())

    async def open(self) -> SqliteStore:
        """Open the ledger."""
        return await SqliteStore.open(self.path, LEDGER, SEED, now=lambda: NOON)

    def step(self, request: str, of: State, to: State) -> Append:
        """Return a move with its entry, as a session or the desk would make it."""
        type_, body = ENTRY[to]
        draft = Draft(type_, body, None, request, self.leaves.get(request, bytes(32)))
        return Append(draft, Move(request, of, to))

    def take(self, request: str, append: Append, *, happens: bool) -> None:
        """Append; it happens, or its maker learns where the request stands."""
        if happens:
            [receipt] = self.do(one(self.store, append))
            self.leaves[request] = receipt.leaf
        else:
            with pytest.raises(RequestMoved) as lost:
                self.do(one(self.store, append))
            assert (lost.value.request, lost.value.state) == (request, self.model.stands.get(request))

    @rule(request=REQUESTS)
    def hold(self, request: str) -> None:
        """A statement is held, once."""
        self.take(request, held(request), happens=self.model.hold(request))

    @rule(request=REQUESTS, move=MOVES)
    def any_move(self, request: str, move: tuple[State, State]) -> None:
        """Somebody tries a move, wherever the request stands."""
        self.take(request, self.step(request, *move), happens=self.model.move(request, *move))

    @precondition(lambda self: any(state in MAY for state in self.model.stands.values()))
    @rule(data=st.data())
    def next_move(self, data: st.DataObject) -> None:
        """One that is possible: lives by chance would be short otherwise."""
        request = data.draw(st.sampled_from([name for name, state in self.model.stands.items() if state in MAY]))
        of = self.model.stands[request]
        to = data.draw(st.sampled_from(sorted(MAY[of])))
        self.take(request, self.step(request, of, to), happens=self.model.move(request, of, to))

    @rule(request=REQUESTS, moves=st.lists(MOVES, min_size=2, max_size=5), together=st.booleans())
    def race(self, request: str, moves: list[tuple[State, State]], together: bool) -> None:
        """Several try at once, in one batch of the store or in several: each is judged after the one before it."""
        of = self.model.stands.get(request)
        tried = [move for move in moves if move[0] is of] or moves[:1]
        appends = [[self.step(request, *move)] for move in tried]
        if together:
            results = self.do(self.store.append(appends))
        else:
            results = [result for append in appends for result in self.do(self.store.append([append]))]
        won = [result for result in results if not isinstance(result, Exception)]
        assert len(won) == (tried[0][0] is of)
        for move, result in zip(tried, results, strict=True):
            if self.model.move(request, *move):
                assert not isinstance(result, Exception)
                self.leaves[request] = result[0].leaf
            else:
                assert isinstance(result, RequestMoved)
                assert result.state == self.model.stands.get(request)

    @precondition(lambda self: self.leaves)
    @rule(data=st.data(), after=st.binary(min_size=32, max_size=32) | st.none(), moves=st.booleans())
    def behind(self, data: st.DataObject, after: bytes | None, moves: bool) -> None:
        """Who has not read the newest entry of a request writes nothing, with a move that is possible or without."""
        request = data.draw(st.sampled_from(sorted(self.leaves)))
        of = self.model.stands[request]
        move = Move(request, of, sorted(MAY[of])[0]) if moves and of in MAY else None
        stale = Draft(ENTRY[move.to][0] if move else E.ENDING, {}, None, request, after)
        self.take(request, Append(stale, move), happens=False)

    @rule(request=REQUESTS, of=st.sampled_from(State), to=st.sampled_from(State))
    def illegal_move(self, request: str, of: State, to: State) -> None:
        """What the table does not know cannot even be said."""
        if to not in MAY.get(of, set()):
            with pytest.raises(ValueError, match="no move from"):
                Move(request, of, to)

    @precondition(lambda self: self.leaves)
    @rule(data=st.data())
    def evidence(self, data: st.DataObject) -> None:
        """A decision that does not count stands beside a life, whatever its state."""
        request = data.draw(st.sampled_from(sorted(self.leaves)))
        self.do(one(self.store, Append(Draft(E.REJECTED, {"why": "late"}, None, request, self.leaves[request]))))
        self.model.entries += 1

    @rule()
    def restart(self) -> None:
        """The proxy is started again."""
        self.do(self.store.close())
        self.store = self.do(self.open())

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        """Nothing was written by a loser, and nobody else was touched."""
        assert self.store.head().size == self.model.entries
        for request in ("R-1", "R-2", "R-3"):
            assert self.do(self.store.state(request)) is self.model.stands.get(request)
        found = {request: (state, leaf) for request, state, leaf in self.do(self.store.open_requests())}
        expected = {name: (state, self.leaves[name]) for name, state in self.model.stands.items() if state in MAY}
        assert found == expected

    def teardown(self) -> None:
        """The whole ledger verifies."""
        self.do(self.store.close())
        entries = check_ledger(self.path, VKEY)
        assert len(entries) == self.model.entries
        self.runner.close()
        self.folder.cleanup()


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_what_the_model_has_no_move_from_is_what_the_product_calls_final() -> None:
    assert set(State) - set(MAY) == FINAL

"""Nine happenings, each at every stage of a request's life: what the database, the session and the ledger make of it.

The proxy stands still at a place, the happening happens and has reached the proxy, the proxy goes on; of each stage
there are the places where a fault finds that the step before has, and has not, happened. `TABLE` says how each pair
ends. A happening that can change nothing any more, as a denial of what was approved, is tried all the same.
"""

import contextlib
import itertools
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pexpect
import psycopg
import pytest
from tests.faults import Keep
from tests.flow.fragile import Fragile, Nursery
from tests.flow.served import PATIENCE_S, until

from pgnotary.approval.bodies import Recorded
from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.papers import Paper
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import ApiError
from pgnotary.request.decision import Answer

STATEMENT = "DELETE FROM orders WHERE id <= 3"
HOLD_S = 60


class Happening(Enum):
    """What happens to a request, its session, its server or its proxy."""

    APPROVE = "approve"
    DENY = "deny"
    EXPIRE = "expire"
    CTRL_C = "Ctrl-C"
    CLOSE = "closing psql"
    KILL_PSQL = "killing psql"
    TERMINATE = "terminating the backend"
    SIGTERM = "SIGTERM of the proxy"
    KILL = "kill -9 of the proxy"


class Stage(Enum):
    """How far the request has come."""

    HELD = "while held"
    DECIDED = "after the decision"
    INTENDED = "after the intent"
    RUNNING = "while executing"
    COMMITTED = "after COMMIT"


class Place(Enum):
    """Where exactly the proxy stands."""

    HELD = "nobody has decided"
    DECISION_COMING = "an approval is checked, not durable"
    DECIDED = "the approval is durable, its session has not heard of it"
    INTENT_COMING = "the transaction is open, the intent not durable"
    INTENDED = "the intent is durable, nothing of the statement is sent"
    RUNNING = "PostgreSQL runs the statement"
    COMMIT_COMING = "COMMIT is sent and has not arrived"
    COMMITTED = "PostgreSQL has committed, its answer has not arrived"
    OUTCOME_COMING = "the answer to COMMIT has arrived, the outcome is not durable"


@dataclass(frozen=True)
class Ending:
    """How a pair ends."""

    told: str
    """What psql prints, as a regular expression; empty if nobody is there to print it."""
    session: str
    """What psql says to the next statement."""
    life: str
    """What the ledger holds behind request and preview; outcomes by their result, resolved ones with their fate."""


USABLE = "usable\r\n"
LOST = "connection to the server was lost"
STOPPED = "FATAL:  57P01: .*pgnotary is stopping"
TERMINATED = "FATAL:  57P01: .*administrator command"

RUN = "approve intent executed committed"
UNSENT = "approve intent rolled-back:unsent"
STOPPED_RUNNING = "approve intent failed"
UNDONE = "approve intent unknown resolved:rolled-back"
UNDONE_LATE = "approve intent executed unknown resolved:rolled-back"
DONE = "approve intent executed unknown resolved:committed"

RUNS = Ending("DELETE 3\r\n", USABLE, RUN)
DENIED = Ending("ERROR:  42501: R-[0-9]+ denied by bo", USABLE, "deny")
EXPIRED = Ending("ERROR:  57014: R-[0-9]+ expired", USABLE, "expired")


def cancelled(life: str) -> Ending:
    """Ctrl-C came in time."""
    return Ending("ERROR:  57014: canceling statement due to user request", USABLE, life)


def gone(life: str) -> Ending:
    """The client has left."""
    return Ending("", "", life)


def ended(told: str, life: str) -> Ending:
    """Psql was told why its session ended."""
    return Ending(told, LOST, life)


def runs_until(then: str) -> Ending:
    """The answer came first, the end of the session after it."""
    return Ending("DELETE 3\r\n", then, RUN)


def broken(life: str) -> Ending:
    """Psql's connection broke without a word."""
    return Ending("server closed the connection unexpectedly", LOST, life)


LEAVES = (
    gone("withdrawn:client-gone"),
    gone("withdrawn:client-gone"),
    gone("approve void"),
    gone(UNSENT),
    gone(UNSENT),
    gone(STOPPED_RUNNING),
    gone(RUN),
    gone(RUN),
    gone(RUN),
)
UNKNOWN = "FATAL:  08007: .*outcome is not known"

ENDINGS: Mapping[Happening, Sequence[Ending]] = {
    Happening.APPROVE: (RUNS,) * 9,
    Happening.DENY: (DENIED, *(RUNS,) * 8),
    Happening.EXPIRE: (EXPIRED, EXPIRED, *(RUNS,) * 7),
    Happening.CTRL_C: (
        cancelled("withdrawn:cancel"),
        cancelled("withdrawn:cancel"),
        cancelled("approve void"),
        cancelled(UNSENT),
        cancelled(UNSENT),
        cancelled(STOPPED_RUNNING),
        RUNS,
        RUNS,
        RUNS,
    ),
    Happening.CLOSE: LEAVES,
    Happening.KILL_PSQL: LEAVES,
    Happening.TERMINATE: (
        ended(TERMINATED, "withdrawn:upstream-lost"),
        ended(TERMINATED, "withdrawn:upstream-lost"),
        ended(TERMINATED, "approve void"),
        ended(UNKNOWN, UNDONE),
        ended(UNKNOWN, UNDONE),
        ended(UNKNOWN, UNDONE),
        ended(UNKNOWN, UNDONE_LATE),
        ended(UNKNOWN, DONE),
        runs_until(TERMINATED),
    ),
    Happening.SIGTERM: (
        ended(STOPPED, "withdrawn:parting"),
        ended(STOPPED, "withdrawn:parting"),
        ended(STOPPED, "approve void"),
        *(runs_until(STOPPED),) * 6,
    ),
    Happening.KILL: (
        broken("orphaned"),
        broken("orphaned"),
        broken("approve void"),
        broken("approve void"),
        broken(UNDONE),
        broken(UNDONE),
        broken(UNDONE_LATE),
        broken(DONE),
        broken(DONE),
    ),
}
TABLE: Mapping[tuple[Happening, Place], Ending] = {
    (happening, place): ending for happening, row in ENDINGS.items() for place, ending in zip(Place, row, strict=True)
}

STAGE: Mapping[Place, Stage] = {
    Place.HELD: Stage.HELD,
    Place.DECISION_COMING: Stage.HELD,
    Place.DECIDED: Stage.DECIDED,
    Place.INTENT_COMING: Stage.DECIDED,
    Place.INTENDED: Stage.INTENDED,
    Place.RUNNING: Stage.RUNNING,
    Place.COMMIT_COMING: Stage.RUNNING,
    Place.COMMITTED: Stage.COMMITTED,
    Place.OUTCOME_COMING: Stage.COMMITTED,
}
LIFE_AT: Mapping[Place, str] = {
    Place.HELD: "",
    Place.DECISION_COMING: "",
    Place.DECIDED: "approve",
    Place.INTENT_COMING: "approve",
    Place.INTENDED: "approve intent",
    Place.RUNNING: "approve intent",
    Place.COMMIT_COMING: "approve intent executed",
    Place.COMMITTED: "approve intent executed",
    Place.OUTCOME_COMING: "approve intent executed",
}
MOMENT: Mapping[Place, str] = {
    Place.DECISION_COMING: "before decision",
    Place.DECIDED: "after decision",
    Place.INTENT_COMING: "before intent",
    Place.INTENDED: "after intent",
    Place.OUTCOME_COMING: "before outcome",
}
HAS_COMMITTED = {Place.COMMITTED, Place.OUTCOME_COMING}
KEPT: Mapping[Place, Keep] = {Place.COMMIT_COMING: Keep.COMMIT, Place.COMMITTED: Keep.ANSWER}

# What stops a statement in the middle, so that it would be a race to let it go on first.
INTERRUPTS = {Happening.CTRL_C, Happening.CLOSE, Happening.KILL_PSQL, Happening.TERMINATE}
SECOND_DECISIONS = {Happening.APPROVE: Answer.APPROVE, Happening.DENY: Answer.DENY}


Proxies = Callable[[Place], contextlib.AbstractContextManager[Fragile]]


@pytest.fixture(scope="module")
def proxies(
    nursery: Nursery, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxies]:
    """One proxy after the other: the same for all that happens at one place, with a ledger of its own."""
    with contextlib.ExitStack() as stack:
        found: dict[Place, Fragile] = {}

        @contextlib.contextmanager
        def proxy_at(place: Place) -> Iterator[Fragile]:
            if place not in found:
                stack.close()
                found.clear()
                folder = tmp_path_factory.mktemp(place.name.lower()) / "pgnotary"
                found[place] = stack.enter_context(Fragile(nursery, postgres, folder, hold_s=HOLD_S))
            try:
                if not found[place].is_alive:
                    found[place].start()
                yield found[place]
            except BaseException:
                # Where it stands nobody knows: the next test gets another one.
                found.pop(place).stop(signal.SIGKILL)
                raise

        yield proxy_at


def test_the_table_names_all_forty_five_pairs() -> None:
    cells = {(happening, STAGE[place]) for happening, place in TABLE}
    assert cells == set(itertools.product(Happening, Stage))
    assert len(cells) == 45
    # Each of them is run below, at one of its places at least without a mark that would skip it.
    (marks,) = [mark for mark in test_a_pair.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    assert [case.values for case in marks.args[1]] == list(_ORDER)
    run = [case.values for case in marks.args[1] if not case.marks]
    assert {(happening, STAGE[place]) for happening, place in run} == cells


# Place by place, so that few proxies are made.
_ORDER = sorted(TABLE, key=lambda cell: list(Place).index(cell[1]))
_FIRST = {STAGE[place]: place for place in reversed(Place)}


@pytest.mark.parametrize(
    ("happening", "place"),
    [
        # A stage has a place before and one behind what is written there; the one behind is tried with --long.
        pytest.param(
            *cell,
            id=f"{cell[0].value}, {cell[1].value}",
            marks=[] if cell[1] is _FIRST[STAGE[cell[1]]] else [pytest.mark.long],
        )
        for cell in _ORDER
    ],
)
def test_a_pair(happening: Happening, place: Place, proxies: Proxies, database: str) -> None:
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(proxies(place))
        client: Client = stack.enter_context(
            closed(LibpqClient(proxy, database) if happening is Happening.CLOSE else PsqlClient(proxy, database))
        )
        scene = stack.enter_context(Scene(proxy, database, client, place).running())
        scene.begin()
        happen(scene, happening)
        conclude(scene, happening, TABLE[happening, place])


class Scene:
    """One statement on its way through a proxy that stands still where it is told to."""

    def __init__(self, proxy: Fragile, database: str, client: "Client", place: Place) -> None:
        self.proxy = proxy
        self.database = database
        self.client = client
        self.place = place
        self.paper: Paper
        self.approval: Future[Recorded] | None = None
        """The first one, if there was one before the happening."""
        self._approver = ThreadPoolExecutor(1)
        self._lock: psycopg.Connection[Any] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator["Scene"]:
        """Clean up, whatever happened."""
        try:
            yield self
        finally:
            self.go_on()
            if not self.client.is_gone:
                self.client.close()
            self._approver.shutdown()

    def begin(self) -> None:
        """Hold the statement and come to the place."""
        self.proxy.stand.forget()
        self.client.send(STATEMENT)
        self.paper = self.proxy.held()
        assert (self.life(), self.orders()) == ("", 100)
        if self.place is Place.HELD:
            return
        if self.place is Place.RUNNING:
            self._lock = psycopg.connect(self.proxy.postgres.dsn(self.database))
            self._lock.execute("SELECT FROM orders WHERE id = 3 FOR UPDATE")
        elif self.place in KEPT:
            self.proxy.wire.hold_back(KEPT[self.place])
        else:
            self.proxy.stand.halt(MOMENT[self.place])
        self.approval = self._approver.submit(self.decide, Answer.APPROVE)
        until(self._is_there, f"the place where {self.place.value}")
        assert (self.life(), self.orders()) == (LIFE_AT[self.place], 97 if self.place in HAS_COMMITTED else 100)

    def _is_there(self) -> bool:
        if self.place is Place.RUNNING:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
            return bool(self.behind(waiting, self.paper.context.upstream_pid))
        return self.proxy.wire.has_kept() if self.place in KEPT else self.proxy.stand.is_halted()

    def go_on(self) -> None:
        """Let what stands still go on."""
        self.proxy.stand.go_on()
        self.proxy.wire.pass_on()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def decide(self, answer: Answer) -> Recorded:
        """Decide as bo does, with the patience that a proxy needs which stands still."""
        raw, signature = self.proxy.signed(self.paper, answer)
        return ApprovalClient(self.proxy.folder / "pgnotary.sock", timeout_s=PATIENCE_S).decide(
            self.paper.id, raw, signature
        )

    def heard(self, what: str, times: int = 1) -> None:
        """Wait until the proxy has heard of something."""
        until(lambda: self.proxy.stand.heard(what) >= times, f"the proxy to hear {what}")

    def behind(self, question: str, *parameters: object) -> Any:
        """Ask the server itself for one value."""
        with self.proxy.behind(self.database) as connection:
            row = connection.execute(question.encode(), parameters or None).fetchone()
        return row[0] if row else None

    def life(self) -> str:
        """Return the request's life behind request and preview, in words."""
        return " ".join(_word(entry) for entry in self.proxy.life(self.paper.id)[2:] if entry["type"] != REJECTED)

    def evidence(self) -> list[str]:
        """Return why decisions over the request did not count."""
        entries = [entry for entry in self.proxy.entries() if entry["type"] == REJECTED]
        return [why for entry in entries if f"{self.paper.id} " in (why := entry["body"]["why"])]

    def orders(self) -> int:
        """Return how many rows there really are; what was deleted with them is gone too."""
        orders, items = (self.behind(f"SELECT count(*) FROM {table}") for table in ("orders", "items"))
        assert orders == items
        return int(orders)


REJECTED = "decision-rejected"


def _word(entry: Mapping[str, Any]) -> str:
    body = entry["body"]
    match entry["type"]:
        case "decision":
            return str(body["answer"])
        case "withdrawn":
            return f"withdrawn:{body['by']}"
        case "outcome":
            if body["result"] == "resolved":
                return f"resolved:{body['fate']}"
            never_sent = str(body.get("why", "")).endswith("before it was sent")
            return f"{body['result']}:unsent" if never_sent else str(body["result"])
        case other:
            return str(other)


def happen(scene: Scene, happening: Happening) -> None:
    """Let it happen and wait until the proxy has heard of it, then let the proxy go on."""
    proxy = scene.proxy
    proxy.stand.forget()
    match happening:
        case Happening.APPROVE | Happening.DENY:
            answer = SECOND_DECISIONS[happening]
            if scene.approval is None:
                scene.decide(answer)
            else:
                # Refused while the first one still stands where it stands.
                with pytest.raises(ApiError) as refused:
                    scene.decide(answer)
                assert refused.value.status == 409
                assert len(scene.evidence()) == 1
        case Happening.EXPIRE:
            proxy.stand.advance_clock(HOLD_S + 1)
            # The second one began after the clock was set.
            scene.heard("Tick", times=2)
        case Happening.CTRL_C:
            scene.client.interrupt()
            scene.heard("CancelRequested")
        case Happening.CLOSE:
            scene.client.close()
            scene.heard("ClientGone")
        case Happening.KILL_PSQL:
            scene.client.kill()
            scene.heard("ClientGone")
        case Happening.TERMINATE:
            assert scene.behind("SELECT pg_terminate_backend(%s)", scene.paper.context.upstream_pid)
            gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
            until(lambda: scene.behind(gone, scene.paper.context.upstream_pid) == 0, "the backend to end")
            if scene.place in KEPT:
                proxy.wire.lose()
            scene.heard("UpstreamGone")
        case Happening.SIGTERM:
            proxy.send(signal.SIGTERM)
            scene.heard("Shutdown")
        case Happening.KILL:
            proxy.send(signal.SIGKILL)
            assert proxy.gone() == -signal.SIGKILL
            proxy.wire.lose()
    if scene.place is not Place.RUNNING or happening not in INTERRUPTS | {Happening.KILL}:
        scene.go_on()


def conclude(scene: Scene, happening: Happening, ending: Ending) -> None:
    """Compare what everybody was told with what the ledger and the database hold."""
    proxy, request = scene.proxy, scene.paper.id
    if ending.told:
        scene.client.hears(ending.told)
        scene.client.goes_on(ending.session)
    if happening is Happening.SIGTERM:
        assert proxy.gone() == 0
        assert proxy.entries()[-1]["type"] == "proxy-stopped"
    if happening is Happening.KILL:
        proxy.start()
        if scene.place is Place.RUNNING:
            # The server does not see that we are gone before it has something to say: until then nobody knows.
            assert scene.life() == "approve intent unknown"
            scene.go_on()
    until(lambda: request not in proxy.unsettled(), f"{request} to be settled: {proxy.states()}")
    assert scene.life() == ending.life
    assert scene.orders() == (97 if ending.life.endswith("committed") else 100)
    for entry in proxy.life(request):
        if entry["type"] == "outcome" and _word(entry).endswith("committed"):
            assert entry["body"]["rows"] == 3
    _check_approval(scene, happening, ending)
    late = happening in SECOND_DECISIONS and scene.place is not Place.HELD
    overtaken = scene.place is Place.DECISION_COMING and ending.life.startswith(("expired", "withdrawn"))
    assert len(scene.evidence()) == late + overtaken
    if not proxy.is_alive:
        proxy.start()
        assert scene.life() == ending.life


def _check_approval(scene: Scene, happening: Happening, ending: Ending) -> None:
    """The approver was told yes only if the approval is in the ledger; with a kill nobody can be told."""
    if scene.approval is None:
        return
    refused = scene.approval.exception(PATIENCE_S)
    if happening is Happening.KILL and scene.place in (Place.DECISION_COMING, Place.DECIDED):
        assert isinstance(refused, ApiError)
        assert refused.status == 0
    elif ending.life.startswith("approve"):
        assert refused is None
        assert scene.proxy.entries()[scene.approval.result().seq]["type"] == "decision"
    else:
        assert isinstance(refused, ApiError)
        assert "already" in str(refused)


# --- clients ---------------------------------------------------------------------------------------------------------


class Client:
    """An engineer's program."""

    is_gone = False

    def send(self, statement: str) -> None:
        """Send a statement and wait until it is held."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        raise NotImplementedError

    def kill(self) -> None:
        """Kill it."""
        raise NotImplementedError

    def close(self) -> None:
        """Close it."""
        raise NotImplementedError

    def hears(self, words: str) -> None:
        """Wait for words in what it prints."""
        raise NotImplementedError

    def goes_on(self, words: str) -> None:
        """See how the session is now."""
        raise NotImplementedError


@contextlib.contextmanager
def closed(client: Client) -> Iterator[Client]:
    """Close a client in the end."""
    try:
        yield client
    finally:
        if not client.is_gone:
            client.close()


class PsqlClient(Client):
    """Psql at a terminal."""

    def __init__(self, proxy: Fragile, database: str) -> None:
        command, environment = proxy.psql(database, "-v", "VERBOSITY=verbose")
        self._psql = pexpect.spawn(
            command[0],
            command[1:],
            env={**environment, "PATH": "/usr/bin:/bin"},
            encoding="utf-8",
            timeout=PATIENCE_S,
            dimensions=(24, 500),
        )
        # Psql switches no echo off: nothing is lost that is typed at once.
        self._psql.delaybeforesend = None
        self._psql.expect("=# ")
        self._printed = ""
        """Since the statement was held."""

    def send(self, statement: str) -> None:
        self._psql.sendline(statement + ";")
        self._psql.expect("held for approval")

    def interrupt(self) -> None:
        self._psql.sendintr()

    def kill(self) -> None:
        self._psql.kill(signal.SIGKILL)
        self._psql.wait()

    def close(self) -> None:
        self._psql.close(force=True)
        self.is_gone = True

    def hears(self, words: str) -> None:
        # What comes right behind an answer psql may print before it: the order of words on a terminal proves nothing.
        wanted = re.compile(words, re.DOTALL)
        while not wanted.search(self._printed):
            self._psql.expect(".+")
            self._printed += str(self._psql.after)

    def goes_on(self, words: str) -> None:
        if words != LOST:
            self._psql.sendline("SELECT 'usable' AS answer;")
            self.hears(words)
        if words != USABLE:
            self.hears(LOST)


class LibpqClient(Client):
    """A program that says Terminate in the middle of a statement: psql itself would wait for its end first."""

    def __init__(self, proxy: Fragile, database: str) -> None:
        self._connection = proxy.connect(database)

    def send(self, statement: str) -> None:
        self._connection.pgconn.send_query(statement.encode())

    def close(self) -> None:
        # With something unread the kernel would send a reset instead, and Terminate might be lost.
        self._connection.pgconn.consume_input()
        self._connection.pgconn.finish()
        self.is_gone = True

"""Readers in processes of their own: whatever a text does to its reader, it is held, and the next one is read."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlglot
from tests.judge.resources import RESOURCES
from tests.judge.texts import CORPUS

from pgnotary.errors import InvalidText
from pgnotary.judge import grammar, reading
from pgnotary.judge.catalog import BUILT_IN
from pgnotary.judge.gate import MAX_JUDGED_BYTES, needs_worker
from pgnotary.judge.meaning import weigh
from pgnotary.judge.policy import verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rules import PROFILES, Action, policy_of
from pgnotary.judge.second import TIMED, UNTIMED, bounds
from pgnotary.judge.statement import Part, Statement, StatementClass
from pgnotary.serve import nursery
from pgnotary.serve.nursery import MAX_ANSWER_BYTES, Limits
from pgnotary.serve.workers import Readings, Workers, is_unread

PATIENCE_S = 30.0

# For what has to be read however busy the machine is.
AMPLE = Limits(processor_s=60, wall_s=60)
# For what never ends by itself.
SCANT = Limits(processor_s=0.05, wall_s=0.3)

LONG = b"SELECT '" + b"x" * 20_000 + b"'"


def _saying(what: object) -> Statement:
    return Statement(b"", (Part(StatementClass.EMPTY, str(what), 0, 0),))


def _where(text: bytes) -> Statement:
    return _saying(os.getpid())


def _echo(text: bytes) -> Statement:
    return _saying(text.decode())


def _busy(text: bytes) -> Statement:
    while text != b"spare me":
        pass
    return _saying("spared")


def _told(path: Path) -> Callable[[bytes], Statement]:
    """Return a reader that says in a file whose process it is, and sleeps for ever over any text but one."""

    def sleep(text: bytes) -> Statement:
        with path.open("a") as file:
            file.write(f"{os.getpid()}\n")
        while text != b"spare me":
            signal.pause()
        return _saying("spared")

    return sleep


def _unread(statement: Statement) -> str:
    (part,) = statement.parts
    assert (part.kind, part.start, part.end) == (StatementClass.UNKNOWN, 0, len(statement.text))
    assert is_unread(statement)
    return part.doubt


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        # Whoever adopts an orphan may let it lie.
        return not stat.exists() or stat.read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False  # It went while we looked.


def _lines(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


async def _until(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not found():
            await asyncio.sleep(0.005)


async def _pids(path: Path, count: int) -> list[int]:
    """Wait until so many readers have said who they are."""
    await _until(lambda: len(_lines(path)) == count)
    return _lines(path)


async def _gone(pid: int) -> None:
    await _until(lambda: not _is_alive(pid))


# --- what is read, and where ------------------------------------------------------------------------------------------


async def test_a_reader_says_of_every_text_what_it_says_here() -> None:
    token = bounds.set(TIMED)
    try:
        with Workers(AMPLE) as workers:
            for row in CORPUS[::4]:
                text = row["sql"].encode()
                assert await workers.read(text) == read(text)
    finally:
        bounds.reset(token)


@pytest.mark.parametrize("name", RESOURCES)
async def test_what_stalls_a_parser_is_never_parsed_on_the_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = RESOURCES[name].encode()
    readings = Readings()
    with Workers(AMPLE, read=_where) as workers:
        here: list[object] = []
        for module, function in ((grammar, "scan"), (grammar, "parse"), (sqlglot, "parse"), (reading, "read")):
            monkeypatch.setattr(module, function, here.append)
        assert not readings.ready(text)
        with pytest.raises(LookupError, match=f"{len(text)} bytes"):
            readings.read(text)
        statement = await workers.read(text)
        assert int(statement.parts[0].node) not in (0, os.getpid(), workers.pid)
        readings.remember(text, statement)
        assert readings.ready(text)
        assert readings.read(text) is statement
        assert here == []


@pytest.mark.parametrize("name", RESOURCES)
async def test_what_stalls_a_parser_comes_back(name: str) -> None:
    text = RESOURCES[name].encode()
    with Workers() as workers:
        assert (await workers.read(text)).text == text
        assert not is_unread(await workers.read(b"SELECT 1"))


async def test_nobody_reads_two_texts() -> None:
    with Workers(AMPLE, readers=1, read=_where) as workers:
        assert (await workers.read(b"a")).parts != (await workers.read(b"a")).parts


async def test_a_deep_nest_is_read_by_both_readers_where_something_ends_it() -> None:
    text = b"SELECT " + b"(" * 40 + b"1" + b")" * 40
    with Workers(AMPLE) as workers:
        assert (await workers.read(text)).parts[0].harmless
    assert not read(text).parts[0].harmless


async def test_the_longest_text_is_read() -> None:
    text = b"SELECT '" + b"x" * (MAX_JUDGED_BYTES - 9) + b"'"
    with Workers(AMPLE) as workers:
        assert (await workers.read(text)).parts[0].harmless
        assert "bytes long; at most 1048576 are read" in _unread(await workers.read(text + b" "))


async def test_the_tree_of_a_large_change_stays_behind() -> None:
    large = b"DELETE FROM t WHERE a IN (" + b",".join([b"1"] * 8_000) + b")"
    with Workers(AMPLE) as workers:
        (part,) = (await workers.read(large)).parts
        assert (part.kind, part.tree, part.targets) == (StatementClass.DELETE, b"", (("t",),))
        assert (await workers.read(b"DELETE FROM t WHERE a IN (1)")).parts[0].tree


async def test_an_answer_that_would_stall_the_loop_is_not_taken() -> None:
    def talk(text: bytes) -> Statement:
        return _saying("x" * (MAX_ANSWER_BYTES - 1_000 if text == b"little" else MAX_ANSWER_BYTES))

    with Workers(AMPLE, read=talk) as workers:
        assert not is_unread(await workers.read(b"little"))
        assert _unread(await workers.read(b"much"))


@pytest.mark.parametrize("text", [b"SELECT '\xff'", b"SELECT 1\0", b"", b"\0", "SELECT 1\u2028".encode()])
async def test_no_text_is_an_error(text: bytes) -> None:
    with Workers(AMPLE) as workers:
        assert (await workers.read(text)).text == text


# --- what a text may do to its reader ---------------------------------------------------------------------------------


async def test_a_reader_that_hangs_is_ended_and_the_next_text_is_read() -> None:
    with Workers(SCANT, readers=1, read=_busy) as workers:
        assert _unread(await workers.read(b"a")) == "the text took longer to read than 50 ms"
        assert not is_unread(await workers.read(b"spare me"))


async def test_a_reader_that_sleeps_is_ended_too(tmp_path: Path) -> None:
    with Workers(SCANT, readers=1, read=_told(tmp_path / "pids")) as workers:
        assert "took longer to read" in _unread(await workers.read(b"a"))
        assert not is_unread(await workers.read(b"spare me"))


def _exit(text: bytes) -> Statement:
    os._exit(0)


def _segfault(text: bytes) -> Statement:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def _hog(text: bytes) -> Statement:
    return _saying(len(bytearray(2 << 30)))


def _fail(text: bytes) -> Statement:
    raise RuntimeError


@dataclass(frozen=True)
class _Deep(Part):
    more: dict[str, object] = field(default_factory=dict)


def _nest(text: bytes) -> Statement:
    tree: dict[str, object] = {}
    for _ in range(500):
        tree = {"a": tree}
    return Statement(text, (_Deep(StatementClass.DELETE, "DeleteStmt", 0, 0, more=tree),))


@pytest.mark.parametrize(
    "harm",
    [
        _exit,
        _segfault,
        _fail,
        pytest.param(_hog, marks=pytest.mark.skipif(sys.platform != "linux", reason="macOS does not limit memory")),
    ],
)
async def test_a_reader_that_dies_of_its_text_leaves_it_unread(harm: Callable[[bytes], Statement]) -> None:
    def read(text: bytes) -> Statement:
        return _saying("alive") if text == b"harmless" else harm(text)

    with Workers(AMPLE, readers=1, read=read) as workers:
        assert _unread(await workers.read(b"a")) == "the text was not read: its reader died of it"
        assert not is_unread(await workers.read(b"harmless"))


async def test_an_answer_too_deep_to_be_taken_apart_is_none() -> None:
    limit = sys.getrecursionlimit()
    with Workers(AMPLE, read=_nest) as workers:
        sys.setrecursionlimit(300)
        try:
            statement = await workers.read(b"a")
        finally:
            sys.setrecursionlimit(limit)
    assert _unread(statement)


async def test_a_reader_has_nothing_of_the_proxys_open() -> None:
    def look(text: bytes) -> Statement:
        return _saying(len(list(Path("/dev/fd").iterdir())))

    async def seen() -> str:
        with Workers(AMPLE, read=look) as workers:
            return (await workers.read(b"")).parts[0].node

    alone = await seen()
    pipes = [os.pipe() for _ in range(20)]
    try:
        assert await seen() == alone
    finally:
        for fd in (fd for pipe in pipes for fd in pipe):
            os.close(fd)


# --- many, and none ---------------------------------------------------------------------------------------------------


async def test_many_at_once_are_each_given_their_own_answer() -> None:
    with Workers(AMPLE, read=_echo, max_wait_s=PATIENCE_S) as workers:
        texts = [f"text {n}" for n in range(30)]
        found = await asyncio.gather(*(workers.read(text.encode()) for text in texts))
    assert [statement.parts[0].node for statement in found] == texts


async def test_texts_are_read_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    def note(text: bytes) -> Statement:
        with (tmp_path / "order").open("ab") as file:
            file.write(text + b"\n")
        return _saying("")

    with Workers(AMPLE, readers=1, read=note, max_wait_s=PATIENCE_S) as workers:
        await asyncio.gather(*(workers.read(b"%d" % n) for n in range(20)))
    assert (tmp_path / "order").read_text().split() == [str(n) for n in range(20)]


async def test_no_more_texts_wait_than_may_nor_longer(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with Workers(AMPLE, readers=1, max_waiting=1, max_wait_s=0.05, read=_told(pids)) as workers:
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(workers.read(b"for ever"))
            await _pids(pids, 1)
            second = tasks.create_task(workers.read(b"spare me"))
            await asyncio.sleep(0)
            assert (
                _unread(await workers.read(b"spare me"))
                == "the text was not read: as many as may wait for a reader already do: 1"
            )
            assert _unread(await second) == "the text was not read: no reader was free within 50 ms"
            first.cancel()
        assert not is_unread(await workers.read(b"spare me"))


async def test_a_read_that_is_cancelled_ends_its_reader(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with Workers(AMPLE, readers=1, read=_told(pids)) as workers:
        reading = asyncio.create_task(workers.read(b"for ever"))
        (pid,) = await _pids(pids, 1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert not is_unread(await workers.read(b"spare me"))
        await _gone(pid)


async def test_a_cancelled_wait_takes_no_reader_with_it(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with Workers(AMPLE, readers=1, read=_told(pids), max_wait_s=PATIENCE_S) as workers:
        first = asyncio.create_task(workers.read(b"for ever"))
        await _pids(pids, 1)
        second = asyncio.create_task(workers.read(b"spare me"))
        await asyncio.sleep(0)
        second.cancel()
        first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert not is_unread(await workers.read(b"spare me"))


async def test_a_reader_killed_from_outside_is_replaced(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with Workers(AMPLE, readers=1, read=_told(pids)) as workers:
        reading = asyncio.create_task(workers.read(b"for ever"))
        (pid,) = await _pids(pids, 1)
        os.kill(pid, signal.SIGKILL)
        assert _unread(await reading) == "the text was not read: its reader died of it"
        assert not is_unread(await workers.read(b"spare me"))


async def test_without_a_nursery_every_text_comes_out_unread(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with Workers(SCANT, readers=1, read=_told(pids)) as workers:
        reading = asyncio.create_task(workers.read(b"for ever"))
        (pid,) = await _pids(pids, 1)
        os.kill(workers.pid, signal.SIGKILL)
        assert _unread(await reading)
        await _gone(workers.pid)
        assert "pgnotary has to be started again" in _unread(await workers.read(b"spare me"))
        await _gone(pid)


async def test_a_nursery_that_does_not_move_stops_nobody() -> None:
    with Workers(SCANT, readers=1, read=_echo) as workers:
        os.kill(workers.pid, signal.SIGSTOP)
        assert "took longer to read" in _unread(await workers.read(b"a"))
        os.kill(workers.pid, signal.SIGCONT)
        assert not is_unread(await workers.read(b"b"))


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_nothing_is_left_when_the_workers_are_closed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with Workers(AMPLE, read=_told(pids)) as workers:
        reading = [asyncio.create_task(workers.read(b"for ever")) for _ in range(2)]
        born = await _pids(pids, 2)
    assert not any(map(_is_alive, [workers.pid, *born]))
    for each in reading:
        assert _unread(await each)
    assert "started again" in _unread(await workers.read(b"spare me"))


def test_a_nursery_that_does_not_move_is_not_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nursery, "_LOOKS", 2)
    with Workers(SCANT, read=_echo) as workers:
        os.kill(workers.pid, signal.SIGSTOP)
    assert not _is_alive(workers.pid)


def test_a_nursery_that_does_not_start_is_an_error_and_not_left_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(control: object) -> None:
        (tmp_path / "pid").write_text(f"{os.getpid()}\n")
        raise OSError

    monkeypatch.setattr(nursery, "_leave_the_proxy", fail)
    with pytest.raises(ChildProcessError, match="did not start"):
        Workers(AMPLE, read=_echo)
    (pid,) = _lines(tmp_path / "pid")
    assert not _is_alive(pid)


PROXY = """
import asyncio, os, sys, time
from pathlib import Path
from pgnotary.serve.nursery import Limits
from pgnotary.serve.workers import Workers
def sleep(text):
    Path(sys.argv[1]).write_text(f"{os.getpid()}\\n")
    time.sleep(60)
with Workers(Limits(60, 60), read=sleep) as workers:
    print(workers.pid, flush=True)
    asyncio.run(workers.read(b""))
"""


def test_a_proxy_that_is_killed_leaves_neither_nursery_nor_reader(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PROXY, str(tmp_path / "pid")], stdout=subprocess.PIPE) as proxy:
        assert proxy.stdout is not None
        nursery = int(proxy.stdout.readline())
        (reader,) = asyncio.run(_pids(tmp_path / "pid", 1))
        assert _is_alive(nursery)
        assert _is_alive(reader)
        proxy.kill()
    asyncio.run(_gone(reader))
    asyncio.run(_gone(nursery))


def test_a_signal_to_the_proxys_terminal_takes_no_reader_from_it() -> None:
    with Workers(AMPLE, read=_echo) as workers:
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(workers.pid, name)
        assert not is_unread(asyncio.run(workers.read(b"a")))


UNPRIVILEGED = """
import asyncio, sys
from pgnotary.serve.nursery import Limits
from pgnotary.serve.workers import Workers
found, sys.meta_path[:] = sys.meta_path[:], []
workers = Workers(Limits(60, 60))
sys.meta_path[:] = found
with workers:
    sql = "SELECT count(*) FROM t WHERE a IN (SELECT 1) AND b = '" + "x" * 20_000 + "'; DELETE FROM t WHERE a IN (1)"
    parts = asyncio.run(workers.read(sql.encode())).parts
    print([(str(part.kind), part.doubt) for part in parts])
"""


def test_a_reader_loads_nothing_any_more() -> None:
    """The proxy's user may not be able to read its files any more."""
    done = subprocess.run([sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "[('select', ''), ('delete', 'is DELETE')]\n"


# --- what is remembered -----------------------------------------------------------------------------------------------


def test_a_short_text_is_read_here_within_bounds() -> None:
    readings = Readings()
    assert readings.ready(b"SELECT 1")
    assert readings.read(b"SELECT 1") == read(b"SELECT 1")
    # The literal hides how deep the nest is.
    hidden = b"SELECT " + b"ARRAY[" * 6 + b"']]]]]'," + b"ARRAY[" * 6 + b"1" + b"]" * 12
    assert readings.ready(hidden)
    assert "second reader stops at 8" in readings.read(hidden).parts[0].doubt
    assert bounds.get() is UNTIMED


def test_what_is_not_utf_8_is_refused_like_the_server_would() -> None:
    with pytest.raises(InvalidText):
        Readings().read(b"SELECT '\xff'")


def test_what_nobody_could_read_is_told_once() -> None:
    readings = Readings()
    unread = read(b"SELECT (")
    assert is_unread(unread)
    readings.remember(LONG, unread)
    assert readings.ready(LONG)
    assert readings.read(LONG) is unread
    assert not readings.ready(LONG)


def test_the_text_that_was_not_asked_for_longest_is_forgotten_first() -> None:
    texts = [LONG + b" " * n for n in range(3)]
    readings = Readings(max_bytes=2 * len(LONG) + 2)
    readings.remember(texts[0], read(b"SELECT 0"))
    readings.remember(texts[1], read(b"SELECT 1"))
    readings.read(texts[0])
    readings.remember(texts[2], read(b"SELECT 2"))
    assert [readings.ready(text) for text in texts] == [True, False, True]
    readings.remember(texts[2], read(b"SELECT 2"))
    assert [readings.ready(text) for text in texts] == [True, False, True]


async def test_a_large_read_is_judged_like_a_small_one() -> None:
    policy, readings = policy_of(PROFILES["default"]), Readings()
    with Workers(AMPLE) as workers:
        for text, action in ((LONG, Action.FORWARD), (LONG + b"; DROP TABLE t", Action.HOLD)):
            readings.remember(text, await workers.read(text))
            assert verdict(weigh(readings.read(text), BUILT_IN), policy).action is action
    assert needs_worker(LONG)

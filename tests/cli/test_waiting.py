"""`wait` and `withdraw`, against the real API; what is not there yet is played by a proxy of a few lines."""

import asyncio
import json
import time
from collections.abc import Callable

import pexpect
import pytest
from click.testing import Result
from tests.approval.office import key_file
from tests.cli.office import Desk, office, spawn

from pgnotary.ledger.canonical import JSON
from pgnotary.request.life import FINAL, State
from pgnotary.session.events import Decided, TakenBack

ENDS: list[tuple[State, dict[str, JSON], int]] = [
    (State.COMMITTED, {"rows": 3}, 0),
    (State.RESOLVED, {"fate": "committed"}, 0),
    (State.RESOLVED, {"fate": "rolled-back"}, 1),
    (State.ROLLED_BACK, {}, 1),
    (State.FAILED, {"sqlstate": "23505"}, 1),
    (State.DENIED, {}, 3),
    (State.EXPIRED, {}, 4),
    (State.WITHDRAWN, {}, 4),
    (State.ORPHANED, {}, 4),
    (State.VOID, {"why": "a table was changed"}, 6),
]
GOES_ON: list[State] = [State.APPROVED, State.EXECUTED, State.UNKNOWN, State.PREPARED]


def test_every_end_of_a_request_has_its_row_here() -> None:
    assert {state for state, _, _ in ENDS} == FINAL


@pytest.mark.parametrize(("state", "body", "status"), ENDS)
async def test_an_ended_request_is_told_at_once(state: State, body: dict[str, JSON], status: int) -> None:
    async with office() as desk:
        desk.ledger.hold("R-1")
        desk.ledger.move("R-1", state, **body)
        result = await desk.run("wait", "R-1")
        assert result.exit_code == status
        assert result.stdout.startswith("R-1  ")
        told = json.loads((await desk.run("wait", "R-1", "--json")).stdout)
        assert (told["request"], told["state"]) == ("R-1", state.value)


@pytest.mark.parametrize("state", [State.HELD, *GOES_ON])
async def test_what_has_not_ended_is_pending_when_the_time_is_up(state: State) -> None:
    async with office() as desk:
        desk.hold() if state is State.HELD else desk.ledger.hold("R-1")
        if state is not State.HELD:
            desk.ledger.move("R-1", state)
        result = await desk.run("wait", "R-1", "--timeout", "0.3")
        assert (result.exit_code, result.stdout.split()[:2]) == (8, ["R-1", state.value])


async def _waited(desk: Desk, act: Callable[[], object], *more: str) -> tuple[Result, float]:
    """Begin to wait, let something happen once that is so, and return how it ended and how long after."""
    waiting = asyncio.ensure_future(desk.run("wait", "R-1", "--timeout", "20", *more))
    await asyncio.sleep(0.7)
    assert not waiting.done()
    began = time.monotonic()
    act()
    return await waiting, time.monotonic() - began


async def test_it_ends_in_the_moment_in_which_the_request_does() -> None:
    async with office() as desk:
        desk.hold("R-1")
        desk.hold("R-2")
        result, took_s = await _waited(desk, lambda: desk.desk.retire("R-1", State.DENIED))
        assert (result.exit_code, result.stdout.split()[:2]) == (3, ["R-1", "denied"])
        assert took_s < 0.5


async def test_a_connection_that_breaks_while_it_waits_hides_no_end() -> None:
    async with office() as desk:
        desk.hold("R-1")

        def act() -> None:
            for stream in list(desk.api._streams._watchers):
                stream.cancel()
            desk.desk.retire("R-1", State.DENIED)

        result, took_s = await _waited(desk, act)
        assert (result.exit_code, result.stdout.split()[:2]) == (3, ["R-1", "denied"])
        assert took_s < 5, "it was only seen when it was looked at again"


async def test_another_request_that_ends_is_not_taken_for_it() -> None:
    async with office() as desk:
        desk.hold("R-1")
        desk.hold("R-2")

        def act() -> None:
            desk.desk.retire("R-2", State.DENIED)
            desk.desk.retire("R-1", State.EXPIRED)

        result, _ = await _waited(desk, act)
        assert result.exit_code == 4


async def test_what_was_approved_before_it_began_to_wait_is_followed_to_its_end() -> None:
    async with office() as desk:
        desk.ledger.hold("R-1")
        desk.ledger.move("R-1", State.APPROVED)
        result, took_s = await _waited(desk, lambda: desk.ledger.move("R-1", State.COMMITTED, rows=2))
        assert (result.exit_code, took_s < 2) == (0, True)


async def test_in_a_terminal_it_says_what_it_waits_for_and_ctrl_c_ends_it() -> None:
    async with office() as desk:
        desk.hold()

        def scene() -> int:
            child = spawn(desk, "wait", "R-1")
            child.expect_exact("R-1  held")
            child.expect_exact("Ctrl-C leaves it as it is")
            child.sendintr()
            child.expect(pexpect.EOF)
            child.close()
            assert "Traceback" not in str(child.before)
            return int(child.exitstatus or 0)

        assert await asyncio.to_thread(scene) == 130


async def test_an_id_that_nobody_has_and_a_proxy_that_is_not_there() -> None:
    async with office() as desk:
        assert (await desk.run("wait", "R-9")).exit_code == 1
        assert (await desk.run("wait", "R-1@9b1f22aa")).exit_code == 2
        assert (await desk.run("wait", "R-1", "--socket", desk.folder / "none")).exit_code == 7


async def test_a_hostile_word_about_its_end_is_shown_harmless() -> None:
    async with office() as desk:
        desk.ledger.hold("R-1")
        desk.ledger.move("R-1", State.VOID, why="\x1b[2J\u202egone\nR-1  committed")
        shown = (await desk.run("wait", "R-1")).stdout
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert shown.count("\n") == 1


async def test_to_withdraw_needs_a_key() -> None:
    async with office() as desk:
        desk.hold()
        result = await desk.run("withdraw", "R-1")
        assert (result.exit_code, "pgnotary key new" in result.stderr) == (5, True)


def _hold(desk: Desk, becomes: State | None) -> list[TakenBack]:
    """Hold a request whose session takes it back, or does not get to it."""
    told: list[TakenBack] = []

    def deliver(what: Decided | TakenBack) -> None:
        assert isinstance(what, TakenBack)
        told.append(what)
        if becomes is not None:
            desk.desk.retire("R-1", becomes)

    asked, shown = desk.ledger.hold("R-1")
    desk.desk.announce(asked, shown, deliver)
    return told


@pytest.mark.parametrize("state", [State.WITHDRAWN, State.VOID])
async def test_the_engineer_takes_their_own_request_back(state: State) -> None:
    async with office() as desk:
        told = _hold(desk, state)
        result = await desk.run("withdraw", "R-1", "--key", key_file(desk.folder, "eva"))
        assert (result.exit_code, result.stdout) == (0, "withdrawn  R-1  ledger #2\n"), result.stderr
        assert [each.person for each in told] == ["eva"]


async def test_somebody_else_takes_nothing_back_and_a_late_withdrawal_says_so() -> None:
    async with office() as desk:
        told = _hold(desk, State.WITHDRAWN)
        other = await desk.run("withdraw", "R-1", "--key", key_file(desk.folder, "bo"))
        assert (other.exit_code, "only they withdraw it" in other.stderr) == (5, True)
        assert told == []
        desk.desk.retire("R-1", State.DENIED)
        late = await desk.run("withdraw", "R-1", "--key", key_file(desk.folder, "eva"))
        assert (late.exit_code, "it is denied" in late.stderr) == (6, True)


async def test_a_timeout_that_is_no_number_does_not_wait_for_ever() -> None:
    async with office() as desk:
        desk.hold()
        assert (await desk.run("wait", "R-1", "--timeout", "nan")).exit_code == 2

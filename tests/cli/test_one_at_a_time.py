"""`review`, in a terminal, against the real API."""

import asyncio
from collections.abc import Callable

import pexpect
import pytest
from tests.approval.office import SEEDS, STATEMENT, key_file, public_of
from tests.cli.office import Desk, office, ran, spawn

from pgnotary.request import decision as decisions
from pgnotary.request import sshsig
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Answer, Decision
from pgnotary.request.life import State

QUESTION = r"\? \[y,n,d,s,q,\?\] "
Child = "pexpect.spawn[str]"


async def _scene(desk: Desk, play: Callable[["pexpect.spawn[str]"], None], *more: str) -> int:
    """Let bo review, play a scene in the terminal, and return the status of the command."""

    def scene() -> int:
        child = spawn(desk, "review", "--key", str(key_file(desk.folder, "bo")), *more)
        play(child)
        child.expect(pexpect.EOF)
        child.close()
        return int(child.exitstatus or 0)

    return await asyncio.to_thread(scene)


def _taken(desk: Desk) -> list[Decision]:
    for document, signature in desk.desk.taken:
        assert sshsig.verify(signature, document, sshsig.DECISION_NAMESPACE) == public_of(SEEDS["bo"])
    return [decisions.read(document) for document, _ in desk.desk.taken]


async def test_each_is_shown_whole_and_answered_by_a_letter() -> None:
    async with office() as desk:
        desk.desk.outcome = ran(State.COMMITTED)
        desk.hold("R-1")
        digest = desk.context()[:16]
        desk.hold("R-2", "DROP TABLE old", exact=None, kind="drop", countable=False)
        desk.hold("R-3", "DELETE FROM three")

        def play(child: "pexpect.spawn[str]") -> None:
            child.expect_exact("(1/3)")
            child.expect_exact("   1 | DELETE FROM orders")
            child.expect_exact("rows          at most 1,204 (as counted)")
            child.expect_exact("signer        bo (SHA256:")
            child.expect(rf"Approve R-1@{digest}{QUESTION}")
            child.sendline("?")
            child.expect_exact("y  approve it")
            child.expect(QUESTION)
            child.sendline("y")
            child.expect_exact("Why")
            child.sendline("backup b-771")
            child.expect_exact("approved  R-1  ledger #")
            child.expect_exact("executed: DELETE 1204, committed")
            child.expect_exact("(2/3)")
            child.expect(f"Approve R-2@[0-9a-f]+ for ANY NUMBER OF ROWS{QUESTION}")
            child.sendline("d")
            child.expect_exact("Why")
            child.sendline("rename it first")
            child.expect_exact("denied  R-2  ledger #")
            child.expect(f"Approve R-3@[0-9a-f]+{QUESTION}")
            child.sendline("n")
            child.expect_exact("nothing else is held")

        assert await _scene(desk, play) == 0
        first, second = _taken(desk)
        assert (first.request, first.answer, first.ceiling, first.reason) == (
            "R-1", Answer.APPROVE, Ceiling(1204), "backup b-771",
        )  # fmt: skip
        assert (second.request, second.answer, second.reason) == ("R-2", Answer.DENY, "rename it first")


async def test_without_a_reason_nothing_is_signed_and_the_question_stands_again() -> None:
    async with office() as desk:
        desk.hold()

        def play(child: "pexpect.spawn[str]") -> None:
            child.expect(QUESTION)
            child.sendline("y")
            child.expect_exact("Why")
            child.sendline("  ")
            child.expect(QUESTION)
            child.sendline("q")

        assert await _scene(desk, play) == 0
        assert desk.desk.taken == []


async def test_quit_leaves_all_others_unseen_and_ctrl_c_signs_nothing_more() -> None:
    async with office() as desk:
        desk.hold("R-1")
        desk.hold("R-2")

        def play(child: "pexpect.spawn[str]") -> None:
            child.expect(QUESTION)
            child.sendline("q")
            child.expect(pexpect.EOF)
            assert "R-2" not in str(child.before)

        assert await _scene(desk, play) == 0

        def interrupt(child: "pexpect.spawn[str]") -> None:
            child.expect(QUESTION)
            # One that comes while the line is being set up is only noticed with the next key.
            for _ in range(10):
                child.sendintr()
                if child.expect_exact(["nothing more was signed", pexpect.TIMEOUT], timeout=3) == 0:
                    return
            pytest.fail(f"Ctrl-C changes nothing: {child.before}")

        assert await _scene(desk, interrupt) == 130
        assert desk.desk.taken == []


async def test_what_comes_meanwhile_is_shown_too_and_what_was_decided_is_said() -> None:
    async with office() as desk:
        desk.hold("R-1")
        desk.hold("R-2", "DELETE FROM two")
        loop = asyncio.get_running_loop()

        def at_the_desk(act: Callable[[], object]) -> None:
            async def acted() -> None:
                act()

            asyncio.run_coroutine_threadsafe(acted(), loop).result(10)

        def play(child: "pexpect.spawn[str]") -> None:
            child.expect(f"R-1@[0-9a-f]+{QUESTION}")
            at_the_desk(lambda: desk.desk.retire("R-1", State.DENIED))
            at_the_desk(lambda: desk.desk.retire("R-2", State.WITHDRAWN))
            at_the_desk(lambda: desk.hold("R-3", "DELETE FROM three"))
            child.sendline("y")
            child.expect_exact("R-1 was decided or has ended meanwhile: R-1  denied")
            child.expect_exact("R-2 was decided or has ended meanwhile: R-2  withdrawn")
            child.expect(f"R-3@[0-9a-f]+{QUESTION}")
            child.sendline("s")
            child.expect_exact("nothing else is held")

        assert await _scene(desk, play) == 0
        assert desk.desk.taken == []


async def test_an_answer_that_was_typed_ahead_signs_nothing_unseen() -> None:
    async with office() as desk:
        desk.hold("R-1")
        desk.hold("R-2", "DROP TABLE everything", exact=None, kind="drop", countable=False)

        def play(child: "pexpect.spawn[str]") -> None:
            child.expect(f"R-1@[0-9a-f]+{QUESTION}")
            child.send("n\ny\nbecause\n")
            child.expect(f"R-2@[0-9a-f]+ for ANY NUMBER OF ROWS{QUESTION}")
            with pytest.raises(pexpect.TIMEOUT):
                child.expect_exact("Why", timeout=1)
            child.sendline("q")

        assert await _scene(desk, play) == 0
        assert desk.desk.taken == []


async def test_a_reason_and_a_number_that_were_pasted_behind_the_letter_sign_nothing() -> None:
    async with office() as desk:
        desk.hold(exact=None)

        def play(child: "pexpect.spawn[str]") -> None:
            child.expect(QUESTION)
            child.send("y\npasted\nany\n")
            child.expect_exact("Why")
            child.sendline("I have read it")
            child.expect_exact("How many rows")
            child.sendline("12")
            child.expect_exact("approved  R-1")

        assert await _scene(desk, play, "--wait", "0") == 0
        [decision] = _taken(desk)
        assert (decision.reason, decision.ceiling) == ("I have read it", Ceiling(12))


async def test_ones_own_request_is_shown_but_never_asked_about() -> None:
    async with office() as desk:
        desk.hold(person="bo")

        def play(child: "pexpect.spawn[str]") -> None:
            child.expect_exact("R-1 is your own request: somebody else must decide")
            child.expect_exact("nothing else is held")

        assert await _scene(desk, play) == 0


async def test_a_forged_request_is_passed_over_and_the_next_one_shown() -> None:
    async with office() as desk:
        asked, shown = desk.ledger.hold("R-1")
        desk.put_on_desk(asked, shown, {"statement": b"SELECT 1"})
        desk.hold("R-2")

        def play(child: "pexpect.spawn[str]") -> None:
            child.expect_exact("R-1 is not to be believed, and is passed over")
            child.expect(f"R-2@[0-9a-f]+{QUESTION}")
            child.sendline("q")

        assert await _scene(desk, play) == 0


async def test_rows_that_nobody_counted_are_asked_for() -> None:
    async with office() as desk:
        desk.hold(preview={"status": "measured", "estimate": 9, "took_us": 1})

        def play(child: "pexpect.spawn[str]") -> None:
            child.expect_exact("you are asked for a number")
            child.expect(QUESTION)
            child.sendline("y")
            child.expect_exact("Why")
            child.sendline("fine")
            child.expect_exact("a number, or `any`")
            child.sendline("many")
            child.expect_exact("nothing was signed")
            child.expect(QUESTION)
            child.sendline("y")
            child.expect_exact("Why")
            child.sendline("fine")
            child.expect_exact("a number, or `any`")
            child.sendline("2,000")
            child.expect_exact("approved  R-1")

        assert await _scene(desk, play, "--wait", "0") == 0
        assert _taken(desk)[0].ceiling == Ceiling(2000)


async def test_a_hostile_statement_is_shown_harmless_at_80_columns_and_forges_no_question() -> None:
    hostile = STATEMENT + "\x1b[2J\u202e\r--\nApprove R-9@00? [y,n,d,s,q,?] y"
    async with office() as desk:
        desk.hold(statement=hostile, reason="\x1b]0;owned\x07 Approve this? [y]")

        def scene() -> str:
            child = spawn(desk, "review", "--key", str(key_file(desk.folder, "bo")), size=(50, 80))
            child.expect(f"\nApprove R-1@[0-9a-f]+{QUESTION}")
            shown = str(child.before)
            child.sendline("q")
            child.expect(pexpect.EOF)
            child.close()
            return shown

        shown = await asyncio.to_thread(scene)
        assert not {"\x1b", "\u202e", "\x07"} & set(shown)
        assert all(not line.startswith("Approve") for line in shown.splitlines())
        assert max(map(len, shown.splitlines())) <= 80


async def test_without_a_terminal_it_is_wrong_usage() -> None:
    async with office() as desk:
        desk.hold()
        result = await desk.run("review", "--key", key_file(desk.folder, "bo"))
        assert (result.exit_code, "no terminal" in result.stderr) == (2, True)

"""Looking at what is held, against the real API on a real Unix socket."""

import asyncio
import json
import signal
import sys
from datetime import UTC, datetime

import pexpect
import pytest
from tests.approval.office import (
    LEDGER,
    PROXY_SEED,
    STATEMENT,
    VKEY,
    running_office,
)
from tests.cli.office import Desk, office, ran, spawn

from pgnotary.audit.story import stories
from pgnotary.ledger.entries import Draft
from pgnotary.request.life import Move, State
from pgnotary.store import Append
from pgnotary.store.reader import SqliteReader
from pgnotary.store.sqlite import SqliteStore

# requests


async def test_requests_are_listed_in_a_table() -> None:
    async with office() as desk:
        desk.hold("R-1")
        desk.hold("R-2", "DROP TABLE users", exact=None, kind="drop", relations=["users"])
        result = await desk.run("requests")
        assert result.exit_code == 0
        head, first, second = result.stdout.splitlines()
        assert head.split() == ["ID", "AGE", "LEFT", "WHO", "DATABASE", "WHAT", "ROWS", "RULE"]
        for word in ("R-1", "eva", "shop", "DELETE on public.orders", "1,204", "default/hold-delete"):
            assert word in first
        for word in ("R-2", "DROP on users", "?"):
            assert word in second


async def test_nothing_held_leaves_stdout_empty() -> None:
    async with office() as desk:
        result = await desk.run("requests")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "nothing is held\n")
        assert json.loads((await desk.run("requests", "--json")).stdout) == []


async def test_markup_and_escapes_in_a_table_are_only_text() -> None:
    async with office() as desk:
        desk.hold(relations=["[red]x[/red]", "\x1b[2J", ":smile:", "y" * 300], person="[b]eva")
        shown = (await desk.run("requests")).stdout
        assert f"DELETE on [red]x[/red], \\u{{1b}}[2J, :smile:, {'y' * 300}" in shown
        assert "[b]eva" in shown
        assert "\x1b" not in shown


async def test_one_hostile_paper_does_not_hide_the_others() -> None:
    async with office() as desk:
        desk.hold("R-1")
        desk.put_on_desk(*desk.ledger.hold("R-2"), {"statement": b"SELECT 1"})
        desk.hold("R-3")
        result = await desk.run("requests", "--json")
        assert [each["request"] for each in json.loads(result.stdout)] == ["R-1", "R-3"]
        assert result.exit_code == 5
        assert "left out" in result.stderr


async def test_a_statement_too_long_for_the_list_is_listed_whole() -> None:
    async with office() as desk:
        long = f"DELETE FROM orders WHERE id IN ({', '.join(map(str, range(9_000)))})"
        desk.hold("R-1", long)
        assert json.loads((await desk.run("requests", "--json")).stdout)[0]["statement"] == long


# show


async def test_show_prints_the_exact_statement_and_both_digests() -> None:
    async with office() as desk:
        asked = desk.hold()
        result = await desk.run("show", "R-1")
        assert result.exit_code == 0
        assert "   1 | DELETE FROM orders\n   2 | WHERE created_at < '2024-01-01'\n" in result.stdout
        for word in ("eva", "psql", "shop", "app_rw", "PAY-2210 purge", "1,204 rows counted", asked.leaf.hex()):
            assert word in result.stdout


async def test_show_json_has_statement_and_leaf() -> None:
    async with office() as desk:
        asked = desk.hold()
        found = json.loads((await desk.run("show", "R-1", "--json")).stdout)
        assert (found["statement"], found["request_leaf"]) == (STATEMENT, asked.leaf.hex())


async def test_show_escapes_what_would_move_the_cursor() -> None:
    async with office() as desk:
        desk.hold(statement="DELETE FROM orders -- \x1b[1A\u202e\n" + "\n" * 10_000 + "WHERE true", reason="\x1b[8m")
        result = await desk.run("show", "R-1")
        assert "\\u{1b}[1A\\u{202e}" in result.stdout
        assert "\x1b" not in result.output
        assert len(result.stdout.splitlines()) < 40
        assert "\x1b" not in (await desk.run("show", "R-1", "--json")).output


async def test_on_a_terminal_show_goes_through_the_persons_pager_from_its_top() -> None:
    async with office() as desk:
        desk.hold()

        def scene() -> str:
            child = spawn(desk, "show", "R-1", size=(24, 80), pager="head -n 2")
            child.expect(pexpect.EOF)
            child.close()
            return str(child.before).replace("\r", "")

        first, second, left, end = (await asyncio.to_thread(scene)).split("\n")
        assert first.startswith("R-1   held ")
        assert second == "person        eva"
        assert left.endswith(" left to decide")
        assert end == ""


async def test_show_of_an_ended_request_says_where_it_stands() -> None:
    async with office() as desk:
        desk.hold()
        for state, body in (State.APPROVED, {}), *ran(State.COMMITTED):
            desk.ledger.move("R-1", state, **body)
        desk.desk.leave("R-1")
        assert (await desk.run("show", "R-1")).stdout == "R-1  committed, 1,204 rows (#4)\n"
        shown = json.loads((await desk.run("show", "R-1", "--json")).stdout)
        assert shown == {"request": "R-1", "state": "committed", "tags": ["DELETE 1204"], "rows": 1204, "entry": 4}


async def test_a_digest_of_an_ended_request_is_not_ignored_without_a_ledger() -> None:
    async with office() as desk:
        desk.hold()
        desk.desk.retire("R-1", State.EXPIRED)
        result = await desk.run("show", "R-1@00000000")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "its digest is in the ledger, name it with --ledger FILE" in result.stderr


async def test_show_of_a_request_that_is_not_ready_is_pending() -> None:
    async with office() as desk:
        desk.ledger.hold("R-1")
        assert (await desk.run("show", "R-1", "--json")).exit_code == 8


async def test_show_of_an_unknown_request_fails() -> None:
    async with office() as desk:
        result = await desk.run("show", "R-9")
        assert (result.exit_code, result.stderr) == (1, "pgnotary: there is no request R-9\n")


async def test_show_of_an_ended_request_tells_its_story_from_the_ledger() -> None:
    async with office() as desk:
        asked = desk.hold(statement="DELETE FROM orders -- \x1b[2J").entry
        path = desk.folder / "ledger.db"
        store = await SqliteStore.open(path, LEDGER, PROXY_SEED, now=lambda: datetime.now(UTC))
        sealed = {"statement": b"DELETE FROM orders -- \x1b[2J"}
        draft = Draft(asked.type, asked.body, asked.session, asked.request, asked.after, sealed)
        await store.append([[Append(draft, Move("R-1", None, State.HELD))]])
        await store.close()
        desk.desk.retire("R-1", State.EXPIRED)
        ended = await desk.run("show", "R-1", "--ledger", path)
        unreachable = await desk.run("show", "R-1", "--ledger", path, "--socket", desk.folder / "none")
        for result in (ended, unreachable):
            assert result.exit_code == 0, result.stderr
            assert "DELETE FROM orders -- \\u{1b}[2J" in result.stdout
        assert "cannot reach the proxy" in unreachable.stderr
        told = json.loads((await desk.run("show", "R-1", "--ledger", path, "--json")).stdout)
        assert told["request"] == "R-1"
        assert told["statement"] == "DELETE FROM orders -- \x1b[2J"
        assert told["person"] == "eva"
        right = (await desk.ledger.entries_of("R-1"))[0].leaf  # The same body, but not the same entry.
        wrong = await desk.run("show", f"R-1@{right.hex()[:8]}", "--ledger", path)
        assert (wrong.exit_code, wrong.stdout) == (6, "")
        assert "look again at what it asks" in wrong.stderr
        with SqliteReader(path) as reader:
            leaf = next(stories(reader.entries())).steps[0].leaf.hex()
        assert (await desk.run("show", f"R-1@{leaf[:12]}", "--ledger", path)).exit_code == 0
        assert (await desk.run("show", "R-1", "--ledger", desk.folder / "none.db")).exit_code == 2
        # An export of it tells the same.
        export = await desk.run("export", desk.folder / "e", "--ledger", path, "--key", VKEY)
        assert export.exit_code == 0, export.output
        again = await desk.run("show", "R-1", "--ledger", desk.folder / "e", "--json")
        assert json.loads(again.stdout) == told


async def test_watch_tells_what_is_held_and_what_ends_until_interrupted() -> None:
    async with office() as desk:
        desk.hold("R-1")
        child = await asyncio.to_thread(spawn, desk, "watch")
        await asyncio.to_thread(child.expect_exact, "1,204 rows  eva  shop  DELETE on public.orders  default/")
        desk.hold("R-2", relations=["\x1b[2J"])
        await asyncio.to_thread(child.expect_exact, "1,204 rows  eva  shop  DELETE on \\u{1b}[2J  default/")
        desk.desk.retire("R-1", State.APPROVED)
        await asyncio.to_thread(child.expect, r"R-1  approved \(#\d+\)")
        for state, body in ran(State.ROLLED_BACK, 3, "DELETE 3", why="approved for at most 2"):
            desk.ledger.move("R-1", state, **body)
        await asyncio.to_thread(child.expect, r"R-1  rolled-back, 3 rows, approved for at most 2 \(#\d+\)")
        child.sendintr()
        await asyncio.to_thread(child.expect, pexpect.EOF)
        child.close()
        assert child.exitstatus == 130


async def test_watch_writes_a_json_object_a_line_when_piped() -> None:
    async with office() as desk:
        asked = desk.hold("R-1")
        pipe = asyncio.subprocess.PIPE
        watching = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "pgnotary.cli",
            "watch",
            env={"PGNOTARY_SOCKET": str(desk.socket)},
            stdout=pipe,
            stderr=pipe,
        )
        assert watching.stdout is not None
        assert watching.stderr is not None
        try:
            held = json.loads(await watching.stdout.readline())
            assert (held["event"], held["request"], held["request_leaf"]) == ("held", "R-1", asked.leaf.hex())
            desk.put_on_desk(*desk.ledger.hold("R-2"), {"statement": b"SELECT 1"})
            assert b"R-2: the opened statement" in await watching.stderr.readline()
            desk.desk.retire("R-1", State.EXPIRED)
            ended = json.loads(await watching.stdout.readline())
            assert ended == {"event": "moved", "request": "R-1", "state": "expired", "entry": 4}
        finally:
            watching.send_signal(signal.SIGINT)
        assert await watching.wait() == 130


async def test_a_roster_with_nobody_else_is_told_when_somebody_wants_to_decide() -> None:
    async with running_office(people=()) as running:
        desk = Desk(running.folder, running.ledger, running.desk, running.api, running.socket)
        desk.hold()
        assert "R-1" in (await desk.run("requests")).stdout
        assert "by anybody on the roster but eva" in (await desk.run("show", "R-1")).stdout
        result = await desk.decide("approve")
        assert (result.exit_code, desk.desk.taken) == (5, [])
        assert "the roster of approvers is empty: nobody can decide" in result.stderr


@pytest.mark.parametrize("command", [("requests",), ("show", "R-1"), ("watch",)])
async def test_no_line_is_wider_than_the_terminal_so_none_is_wrapped_to_its_left_edge(command: tuple[str, ...]) -> None:
    async with office() as desk:
        padded = "monthly purge".ljust(80, ".") + "what          DELETE on nothing"
        desk.hold(reason=padded * 5, relations=[padded * 5], rule=padded, why=padded, application=padded)

        def scene() -> str:
            # Nothing says how wide it is but the terminal itself.
            child = spawn(desk, *command, size=(50, 80))
            child.expect_exact("R-1")
            if command == ("watch",):
                child.expect_exact("\n")
                child.sendintr()
            before = (child.before or "") + (child.after if isinstance(child.after, str) else "")
            child.expect(pexpect.EOF)
            child.close()
            return before + (child.before or "")

        for line in (await asyncio.to_thread(scene)).replace("\r", "").split("\n"):
            assert len(line) <= 80
            assert not line.startswith("what          DELETE on nothing")


@pytest.mark.parametrize("verb", ["requests", "watch"])
async def test_an_id_that_would_clear_the_screen_is_left_out(verb: str) -> None:
    async with office() as desk:
        desk.hold("R-1\x1b[2J\u202e")
        desk.hold("R-2")
        result = await desk.run("requests", "--json") if verb == "requests" else None
        if result is None:

            def scene() -> str:
                child = spawn(desk, "watch")
                child.expect_exact("R-2  held")
                child.close(force=True)
                return str(child.before)

            shown = await asyncio.to_thread(scene)
        else:
            assert result.exit_code == 5
            assert "is no request's id" in result.stderr
            shown = result.stdout + result.stderr + (await desk.run("requests")).stdout
            assert "R-2" in shown
        assert not {"\x1b", "\u202e"} & set(shown)

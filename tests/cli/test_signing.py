"""Signing, against the real API on a real Unix socket."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from tests.approval.office import (
    LEDGER,
    SEEDS,
    key_file,
    public_of,
)
from tests.cli.office import office, ran, spawn

from pgnotary.errors import DecisionRefused, LedgerUnavailable, RequestMoved
from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Receipt
from pgnotary.ledger.seals import commitment
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Answer
from pgnotary.request.life import State
from pgnotary.request.openssh import fingerprint

# approve and deny


async def test_an_approval_is_signed_over_exactly_the_document_and_its_outcome_is_told() -> None:
    async with office() as desk:
        asked = desk.hold()
        desk.desk.outcome = ran(State.COMMITTED)
        result = await desk.decide("approve")
        assert result.exit_code == 0, result.stderr
        assert result.stdout == "approved  R-1  ledger #2\nexecuted: DELETE 1204, committed (#4)\n"
        decision = desk.taken
        assert (decision.request, decision.request_leaf, decision.answer) == ("R-1", asked.leaf, Answer.APPROVE)
        assert (decision.approver, decision.reason, decision.ceiling) == ("bo", "backup b-771", Ceiling(1204))
        assert [decision.seen.size] == [head.size for head in desk.desk.heads]
        assert decision.seen.root == desk.desk.heads[0].root


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
async def test_ssh_keygen_verifies_what_was_signed() -> None:
    async with office() as desk:
        desk.hold()
        assert (await desk.decide("approve", "--wait", "0")).exit_code == 0
        [(document, signature)] = desk.desk.taken
        signers, armored = desk.folder / "allowed_signers", desk.folder / "decision.sig"
        signers.write_text(f'bo namespaces="decision@pgnotary" {_public_line("bo")}\n')
        armored.write_text(signature)
        verify = f"ssh-keygen -Y verify -f {signers} -I bo -n decision@pgnotary -s {armored}".split()
        done = await asyncio.to_thread(lambda: subprocess.run(verify, input=document, check=False, capture_output=True))
        assert done.returncode == 0, done.stderr


def _public_line(person: str) -> str:
    from pgnotary.request.openssh import public_line

    return public_line(public_of(SEEDS[person]))


async def test_what_is_signed_is_shown_on_stderr_first() -> None:
    async with office() as desk:
        desk.hold()
        digest = desk.context()[:16]
        result = await desk.decide("approve", "--wait", "0")
        assert "   1 | DELETE FROM orders" in result.stderr
        assert result.stderr.splitlines()[-6:] == [
            "answer        approve",
            "rows          at most 1,204 (as counted)",
            "elsewhere     no row, not by a cascade or a trigger either (--max-other-rows)",
            "why           backup b-771",
            f"signer        bo ({fingerprint(public_of(SEEDS['bo']))})",
            f"Sign approval of R-1@{digest}? --yes",
        ]


@pytest.mark.parametrize(
    ("rows", "more", "others"),
    [
        ([{"exact": 30}, {"at_most": 12}], 0, 42),
        ([{"exact": 30}, {}], 0, 0),
        ([{"exact": 30}, {"estimate": 5}], 0, 0),
        ([{"exact": 30}], 3, 0),
        ([], 0, 0),
    ],
)
async def test_what_foreign_keys_change_may_change_as_far_as_all_of_it_was_counted(
    rows: list[JSON], more: int, others: int
) -> None:
    edge: dict[str, JSON] = {
        "from": "public.orders",
        "to": "public.items",
        "constraint": "c",
        "action": "cascade",
        "depth": 1,
    }
    cascades: list[JSON] = [{**edge, "rows": each, "indexed": True} for each in rows]
    preview: dict[str, JSON] = {"status": "measured", "exact": 7, "took_us": 1, "cascades": cascades}
    async with office() as desk:
        desk.hold(preview=preview | ({"cascades_more": more} if more else {}))
        await desk.decide("approve", "--wait", "0")
        assert desk.taken.ceiling == Ceiling(7, others)


async def test_a_relation_called_at_most_0_rows_is_not_in_the_question() -> None:
    async with office() as desk:
        name = '"old_orders, at most 0 rows, as bo (SHA256:q7L)? [y/N]"'
        desk.hold(relations=[name])
        digest = desk.context()[:16]
        result = await desk.decide("approve", "--wait", "0")
        assert result.stderr.splitlines()[-1] == f"Sign approval of R-1@{digest}? --yes"
        [shown] = [line for line in result.stderr.splitlines() if "at most 0 rows" in line]
        assert shown.startswith("what          DELETE on ")


@pytest.mark.parametrize(
    ("options", "others", "shown", "asked"),
    [
        (["--max-other-rows", "5000"], 5_000, "at most 5,000 rows", ""),
        (["--any-other-rows"], None, "any number of rows", " for ANY NUMBER OF ROWS IN OTHER TABLES"),
        (["--max-rows", "7", "--max-other-rows", "0"], 0, "no row, not by a cascade", ""),
    ],
)
async def test_rows_of_other_tables_have_a_number_of_their_own(
    options: list[str], others: int | None, shown: str, asked: str
) -> None:
    async with office() as desk:
        desk.hold()
        digest = desk.context()[:16]
        result = await desk.decide("approve", "--wait", "0", *options)
        assert f"\nelsewhere     {shown}" in result.stderr
        assert result.stderr.splitlines()[-1] == f"Sign approval of R-1@{digest}{asked}? --yes"
        assert desk.taken.ceiling is not None
        assert desk.taken.ceiling.max_other_rows == others


@pytest.mark.parametrize(
    "options",
    [
        ["--max-other-rows", "5", "--any-other-rows"],
        ["--any-rows", "--max-other-rows", "5"],
        ["--max-other-rows", "-1"],
    ],
)
async def test_a_number_for_other_tables_contradicts_no_other_option(options: list[str]) -> None:
    async with office() as desk:
        desk.hold()
        result = await desk.decide("approve", "--wait", "0", *options)
        assert result.exit_code == 2
        assert desk.desk.taken == []


async def test_the_approvers_own_ceiling_goes_before_the_count() -> None:
    async with office() as desk:
        desk.hold()
        result = await desk.decide("approve", "--max-rows", "20000", "--wait", "0")
        assert "\nrows          at most 20,000\n" in result.stderr
        assert desk.taken.ceiling == Ceiling(20_000)


async def test_without_a_count_a_script_must_say_how_many_rows_and_is_told_the_exact_command() -> None:
    async with office() as desk:
        desk.hold(exact=None)
        digest = desk.context()
        refused = await desk.decide("approve", "--wait", "0")
        assert refused.exit_code == 2
        key = desk.folder / "bo.key"
        typed = f"pgnotary approve R-1@{digest} -m 'backup b-771' --yes --key {key} --wait 0"
        assert f"no count to go by (rows unknown): say {typed} --max-rows N" in refused.stderr
        assert f"or {typed} --any-rows" in refused.stderr
        assert "preview why   what DROP changes is not counted in rows" in refused.stderr
        assert desk.desk.taken == []
        result = await desk.decide("approve", "--any-rows", "--wait", "0")
        assert "\nrows          any number\n" in result.stderr
        assert "for ANY NUMBER OF ROWS? --yes" in result.stderr
        assert desk.taken.ceiling is None


async def test_a_ceiling_over_what_is_not_counted_is_refused_before_it_is_signed() -> None:
    async with office() as desk:
        desk.hold(kind="truncate", countable=False)
        refused = await desk.decide("approve", "--max-rows", "7")
        assert (refused.exit_code, desk.desk.taken) == (2, [])
        assert "R-1: its rows cannot be counted: say --any-rows" in refused.stderr
        unsaid = await desk.decide("approve")
        assert (unsaid.exit_code, desk.desk.taken) == (2, [])
        assert "--any-rows" in unsaid.stderr


async def test_a_count_is_no_ceiling_over_what_is_not_counted() -> None:
    async with office() as desk:
        desk.hold(exact=3, countable=False)
        assert (await desk.decide("approve")).exit_code == 2
        result = await desk.decide("approve", "--any-rows", "--wait", "0")
        assert "note          ANY NUMBER OF ROWS MAY CHANGE" in result.stderr
        assert desk.taken.ceiling is None


async def test_an_estimate_is_no_ceiling() -> None:
    async with office() as desk:
        desk.hold(preview={"status": "partly", "estimate": 7, "took_us": 1})
        assert (await desk.decide("approve")).exit_code == 2
        assert desk.desk.taken == []


async def test_an_upper_bound_that_was_counted_is_the_ceiling() -> None:
    async with office() as desk:
        desk.hold(preview={"status": "measured", "at_most": 7, "took_us": 1})
        await desk.decide("approve", "--wait", "0")
        assert desk.taken.ceiling == Ceiling(7)


async def test_a_ceiling_and_any_rows_contradict_each_other() -> None:
    async with office() as desk:
        desk.hold()
        assert (await desk.decide("approve", "--any-rows", "--max-rows", "3")).exit_code == 2


async def test_a_denial_is_signed() -> None:
    async with office() as desk:
        desk.hold(exact=None)
        result = await desk.decide("deny")
        assert (result.exit_code, result.stdout) == (0, "denied  R-1  ledger #2\n")
        assert "Sign denial of R-1@" in result.stderr
        assert (desk.taken.answer, desk.taken.ceiling) == (Answer.DENY, None)


@pytest.mark.parametrize(
    ("outcome", "words", "status"),
    [
        (
            ran(State.ROLLED_BACK, 1205, why="R-1 rolled back: 1205 rows affected, approved for at most 1204"),
            "rolled back: 1205 rows affected, approved for at most 1204 (#4)",
            1,
        ),
        (
            ran(State.ROLLED_BACK, why="R-1 rolled back: the client has gone\x1b[2J"),
            "rolled back: the client has gone\\u{1b}[2J (#4)",
            1,
        ),
        (ran(State.ROLLED_BACK), "rolled back: DELETE 1204 (#4)", 1),
        ([(State.FAILED, {"sqlstate": "23503"})], "failed with SQLSTATE 23503: nothing was changed (#3)", 1),
        (
            ran(State.PREPARED, gid="x"),
            "executed: DELETE 1204, prepared; COMMIT PREPARED or ROLLBACK PREPARED ends it (#4)",
            8,
        ),
        (
            ran(State.UNKNOWN, why="the connection broke"),
            "outcome unknown (the connection broke); PostgreSQL is asked: pgnotary show R-1 (#4)",
            1,
        ),
        (
            [(State.RESOLVED, {"fate": "committed", "rows": 1204})],
            "executed: DELETE, 1,204 rows, committed, as PostgreSQL says (#3)",
            0,
        ),
        (
            [(State.RESOLVED, {"fate": "rolled-back", "why": "pg_xact_status('7') is aborted"})],
            "rolled-back, as PostgreSQL says (pg_xact_status('7') is aborted) (#3)",
            1,
        ),
        ([(State.VOID, {"why": "the client has gone"})], "not executed after all (the client has gone) (#3)", 6),
    ],
)
async def test_what_came_of_an_approval_is_told_with_its_reason(
    outcome: list[tuple[State, dict[str, JSON]]], words: str, status: int
) -> None:
    async with office() as desk:
        desk.hold()
        desk.desk.outcome = outcome
        result = await desk.decide("approve")
        assert (result.stdout.splitlines()[1], result.exit_code) == (words, status)


async def test_an_outcome_is_told_by_the_tag_that_the_engineer_saw() -> None:
    async with office() as desk:
        desk.hold(kind="execute", prepared="DELETE FROM orders")
        desk.desk.outcome = ran(State.COMMITTED, 1, "DELETE 1")
        result = await desk.decide("approve", "--any-rows")
        assert result.stdout.splitlines()[1] == "executed: DELETE 1, committed (#4)"


async def test_an_outcome_that_takes_longer_than_the_wait_is_pending() -> None:
    async with office() as desk:
        desk.hold()
        result = await desk.decide("approve", "--wait", "0.01")
        assert (result.stdout.splitlines()[1], result.exit_code) == ("no outcome yet: it is approved", 8)


async def test_in_an_open_block_it_is_enough_that_it_ran() -> None:
    async with office() as desk:
        desk.hold(block="open")
        desk.desk.outcome = ran(State.EXECUTED)
        result = await desk.decide("approve", "--wait", "3600")
        assert result.stdout.splitlines()[1] == "executed: DELETE 1204, not committed yet (#3)"
        assert result.exit_code == 8


async def test_without_a_wait_the_decision_alone_counts() -> None:
    async with office() as desk:
        desk.hold()
        desk.desk.outcome = ran(State.FAILED)
        result = await desk.decide("approve", "--wait", "0")
        assert (result.stdout, result.exit_code) == ("approved  R-1  ledger #2\n", 0)


# What must not be signed.


@pytest.mark.parametrize("verb", ["approve", "deny"])
async def test_nobody_signs_over_their_own_request(verb: str) -> None:
    async with office() as desk:
        desk.hold()
        result = await desk.decide(verb, person="eva")
        assert (result.exit_code, desk.desk.taken) == (5, [])
        assert "eva asked for R-1: somebody else must decide" in result.stderr


async def test_a_key_that_is_not_on_the_roster_signs_nothing() -> None:
    async with office() as desk:
        desk.hold()
        result = await desk.decide("approve", person="mallory")
        assert (result.exit_code, desk.desk.taken) == (5, [])
        assert "nobody on the roster" in result.stderr


async def test_a_digest_of_something_else_is_a_conflict() -> None:
    async with office() as desk:
        desk.hold()
        right = desk.context()
        wrong = right[:63] + ("0" if right[63] != "0" else "1")
        result = await desk.decide("approve", prefix=wrong)
        assert (result.exit_code, desk.desk.taken) == (6, [])
        assert "look again" in result.stderr
        assert (await desk.decide("approve", "--wait", "0", prefix=right.upper())).exit_code == 0


@pytest.mark.parametrize("target", ["R-1@9b1f22a", "R-1@", "R-1@xxxxxxxx", "R-0", "1", "R-1@" + "a" * 65])
async def test_a_target_that_is_not_of_its_form_is_wrong_usage(target: str) -> None:
    async with office() as desk:
        desk.hold()
        result = await desk.run("approve", target, "-m", "why", "--yes")
        assert result.exit_code == 2
        assert "8 hex digits" in result.stderr


@pytest.mark.parametrize("verb", ["approve", "deny"])
@pytest.mark.parametrize("digits", [8, 16, 63])
async def test_another_request_with_the_same_first_digits_is_not_signed_by_a_script(verb: str, digits: int) -> None:
    async with office() as desk:
        desk.hold()
        result = await desk.decide(verb, prefix=desk.context()[:digits])
        assert (result.exit_code, desk.desk.taken) == (2, [])
        assert f"all 64 hex digits of the digest behind R-1@, found {digits}: " in result.stderr
        assert "`pgnotary show R-1 --json` prints them as context" in result.stderr
        printed = json.loads((await desk.run("show", "R-1", "--json")).stdout)["context"]
        assert (await desk.decide("deny", prefix=printed)).exit_code == 0


@pytest.mark.parametrize("verb", ["approve", "deny"])
@pytest.mark.parametrize(
    ("said", "status", "told"),
    [
        ("context", 6, "look again at what it asks"),
        ("request_leaf", 2, "request_leaf, which is of the request alone: `pgnotary show R-1 --json` prints the other"),
    ],
)
async def test_another_preview_of_the_same_request_is_not_signed_by_a_script(
    verb: str, said: str, status: int, told: str
) -> None:
    async with office() as desk:
        desk.hold(exact=3)
        judged = json.loads((await desk.run("show", "R-1", "--json")).stdout)
        desk.preview_anew(exact=50_000)
        result = await desk.decide(verb, prefix=judged[said])
        assert (result.exit_code, desk.desk.taken) == (status, [])
        assert told in result.stderr
        shown = json.loads((await desk.run("show", "R-1", "--json")).stdout)
        assert (shown["request_leaf"], shown["preview"]["exact"]) == (judged["request_leaf"], 50_000)


@pytest.mark.parametrize("said", ["context", "request"])
async def test_a_person_who_is_asked_says_a_few_digits_and_the_page_above_has_all(said: str) -> None:
    async with office() as desk:
        leaf = desk.hold().leaf.hex()
        context = desk.context()
        few = (leaf if said == "request" else context)[:8]

        def scene() -> None:
            child = spawn(desk, *f"deny R-1@{few} -m no --key {key_file(desk.folder, 'bo')}".split())
            child.expect(f"request       sha256:{leaf}")
            child.expect(f"all of this   sha256:{context}")
            child.expect_exact(f"Sign denial of R-1@{context[:16]}? [y/N]")
            child.sendline("y")
            child.expect_exact("denied  R-1")
            child.expect(pexpect.EOF)

        await asyncio.to_thread(scene)


async def test_yes_needs_a_digest_and_no_yes_needs_a_terminal() -> None:
    async with office() as desk:
        desk.hold()
        key = key_file(desk.folder, "bo")
        without_digest = await desk.run("approve", "R-1", "-m", "why", "--yes", "--key", key)
        without_terminal = await desk.run("approve", "R-1", "-m", "why", "--key", key)
        assert (without_digest.exit_code, without_terminal.exit_code) == (2, 2)
        assert "--yes needs all 64 hex digits of the digest behind R-1@, found none" in without_digest.stderr
        assert "no terminal" in without_terminal.stderr
        assert desk.desk.taken == []


@pytest.mark.parametrize("why", ["", "  ", "two\nlines", "\x1b[2J", "\u202e", "x" * 1_001])
async def test_a_reason_must_be_one_line_that_can_be_read(why: str) -> None:
    async with office() as desk:
        desk.hold()
        result = await desk.run("approve", "R-1@9b1f22aa", "-m", why, "--yes")
        assert result.exit_code == 2
        assert "one line" in result.stderr
        assert (await desk.run("deny", "R-1@9b1f22aa", "--yes")).exit_code == 2


async def test_a_broken_seal_is_not_shown_and_not_signed() -> None:
    async with office() as desk:
        desk.put_on_desk(*desk.ledger.hold(), {"statement": b"DELETE FROM orders\nWHERE id = 1"})
        result = await desk.decide("approve")
        assert (result.exit_code, desk.desk.taken) == (5, [])
        assert "WHERE id = 1" not in result.output
        assert "what its entry commits to" in result.stderr
        assert (await desk.run("show", "R-1")).exit_code == 5


async def test_a_preview_of_another_request_is_not_signed() -> None:
    async with office() as desk:
        (asked, _), (_, other) = desk.ledger.hold("R-1"), desk.ledger.hold("R-2", exact=1)
        desk.put_on_desk(asked, other)
        result = await desk.decide("approve")
        assert (result.exit_code, desk.desk.taken) == (5, [])
        assert "got the preview of R-2" in result.stderr


async def test_a_forged_salt_that_opens_to_another_statement_cannot_be_made() -> None:
    async with office() as desk:
        asked, shown = desk.ledger.hold()
        value = b"DELETE FROM orders\nWHERE id = 1"
        forged = dict(asked.opened) | {"statement": (commitment("statement", bytes(32), value), value)}
        desk.desk.announce(Receipt(asked.entry, forged), shown)
        assert (await desk.decide("approve")).exit_code == 5


async def test_a_head_that_the_proxy_did_not_sign_stops_the_signature() -> None:
    async with office() as desk:
        desk.hold()
        other = desk.folder / "other.vkey"
        other.write_text(notes.vkey(LEDGER, public_of(SEEDS["mallory"])))
        result = await desk.decide("approve", "--proxy-key", other)
        assert (result.exit_code, desk.desk.taken) == (5, [])
        assert "no signature by" in result.stderr


async def test_the_proxys_key_is_found_beside_the_socket_or_its_absence_is_said() -> None:
    async with office() as desk:
        desk.hold()
        beside = desk.folder / "proxy.vkey"
        beside.write_text(notes.vkey(LEDGER, public_of(SEEDS["mallory"])))
        assert (await desk.decide("approve")).exit_code == 5
        beside.write_text("nonsense")
        assert (await desk.decide("approve")).exit_code == 5
        beside.unlink()
        result = await desk.decide("approve", "--wait", "0")
        assert result.exit_code == 0
        assert "its head goes unchecked" in result.stderr


async def test_a_proxy_key_from_the_environment_is_used() -> None:
    async with office() as desk:
        desk.hold()
        key, other = key_file(desk.folder, "bo"), desk.folder / "other.vkey"
        other.write_text(notes.vkey(LEDGER, public_of(SEEDS["mallory"])))
        words = ("deny", f"R-1@{desk.context()}", "-m", "why", "--yes")
        environment = {"PGNOTARY_KEY": str(key)}
        assert (await desk.run(*words, env=environment | {"PGNOTARY_PROXY_KEY": str(other)})).exit_code == 5
        assert (await desk.run(*words, env=environment)).exit_code == 0


# What the proxy says no to.


async def test_a_refusal_of_the_proxy_is_told_safely() -> None:
    async with office() as desk:
        desk.hold()
        desk.desk.refusal = DecisionRefused("the head is not one of this ledger\x1b[2J")
        result = await desk.decide("approve")
        assert result.exit_code == 5
        assert "not one of this ledger\\u{1b}[2J" in result.stderr


@pytest.mark.parametrize(("state", "status"), [(State.EXPIRED, 4), (State.WITHDRAWN, 4), (State.DENIED, 3)])
async def test_somebody_faster_is_told(state: State, status: int) -> None:
    async with office() as desk:
        desk.hold()
        context, key = desk.context(), key_file(desk.folder, "bo")
        refusal = DecisionRefused("R-1 is not open")
        refusal.__cause__ = RequestMoved("R-1", state)
        desk.desk.refusal, desk.desk.waits_for = refusal, asyncio.Event()
        deciding = asyncio.create_task(desk.run("deny", f"R-1@{context}", "-m", "why", "--yes", "--key", key))
        while not desk.desk.heads:
            assert not deciding.done(), deciding.result().stderr
            await asyncio.sleep(0)
        desk.desk.retire("R-1", state)
        desk.desk.waits_for.set()
        result = await deciding
        assert result.exit_code == status
        assert f"R-1 is not open: it is {state}" in result.stderr


async def test_a_request_that_is_being_decided_is_a_conflict() -> None:
    async with office() as desk:
        desk.hold()
        desk.desk.open["R-1"].deciding = True
        desk.desk.refusal = DecisionRefused("R-1 is not open: it was decided")
        assert (await desk.decide("deny")).exit_code == 6


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.EXPIRED, 4),
        (State.WITHDRAWN, 4),
        (State.ORPHANED, 4),
        (State.DENIED, 3),
        (State.COMMITTED, 6),
        (State.APPROVED, 6),
    ],
)
async def test_what_has_ended_cannot_be_approved(state: State, status: int) -> None:
    async with office() as desk:
        desk.ledger.hold()
        desk.ledger.move("R-1", state)
        assert (await desk.decide("approve", prefix="9b1f22aa" * 8)).exit_code == status


async def test_a_ledger_that_is_down_fails() -> None:
    async with office() as desk:
        desk.hold()
        desk.desk.refusal = LedgerUnavailable("the disk is full")
        result = await desk.decide("approve")
        assert result.exit_code == 1
        assert "the disk is full" in result.stderr


@pytest.mark.parametrize("words", [("requests",), ("show", "R-1"), ("watch",)])
async def test_a_proxy_that_cannot_be_reached_has_its_own_status(words: tuple[str, ...], tmp_path: Path) -> None:
    async with office() as desk:
        result = await desk.run(*words, "--socket", tmp_path / "none")
        assert result.exit_code == 7
        assert "cannot reach the proxy" in result.stderr
        assert result.stdout == ""


async def test_a_stale_socket_has_its_own_status() -> None:
    async with office() as desk:
        gone = desk
    assert (await gone.run("requests")).exit_code == 7


# At a terminal.


async def test_a_person_is_asked_and_yes_signs() -> None:
    async with office() as desk:
        desk.hold()
        desk.desk.outcome = ran(State.COMMITTED)

        def scene() -> int:
            child = spawn(desk, "approve", "R-1", "-m", "fine", "--key", str(key_file(desk.folder, "bo")))
            child.expect_exact("   2 | WHERE created_at < '2024-01-01'")
            child.expect_exact("rows          at most 1,204 (as counted)")
            child.expect(r"Sign approval of R-1@[0-9a-f]{16}\? \[y/N\]: ")
            assert desk.desk.taken == []
            child.sendline("y")
            child.expect_exact("approved  R-1  ledger #2")
            child.expect_exact("executed: DELETE 1204, committed (#4)")
            child.expect(pexpect.EOF)
            child.close()
            return int(child.exitstatus or 0)

        assert await asyncio.to_thread(scene) == 0
        assert desk.taken.answer is Answer.APPROVE


async def test_a_ddl_hold_is_asked_about_as_the_hint_in_psql_says_it_is_approved() -> None:
    async with office() as desk:
        desk.hold(statement="DROP TABLE orders", kind="drop", exact=None)

        def scene() -> int:
            child = spawn(
                desk, "approve", "R-1", "-m", "fine", "--wait", "0", "--key", str(key_file(desk.folder, "bo"))
            )
            child.expect_exact("ANY NUMBER OF ROWS MAY CHANGE")
            child.expect_exact("rows          any number")
            child.expect(r"Sign approval of R-1@[0-9a-f]{16} for ANY NUMBER OF ROWS\? \[y/N\]: ")
            child.sendline("y")
            child.expect(pexpect.EOF)
            child.close()
            return int(child.exitstatus or 0)

        assert await asyncio.to_thread(scene) == 0
        assert desk.taken.ceiling is None


@pytest.mark.parametrize(("said", "max_rows"), [("1,500", 1_500), ("any", None)])
async def test_a_person_is_asked_for_the_ceiling_that_no_count_gave(said: str, max_rows: int | None) -> None:
    async with office() as desk:
        desk.hold(preview={"status": "partly", "estimate": 7, "took_us": 1})

        def scene() -> int:
            child = spawn(
                desk, "approve", "R-1", "-m", "fine", "--wait", "0", "--key", str(key_file(desk.folder, "bo"))
            )
            child.expect_exact("How many rows may change at most: a number, or `any` number of rows?")
            child.sendline(said)
            child.expect_exact("[y/N]: ")
            child.sendline("y")
            child.expect(pexpect.EOF)
            child.close()
            return int(child.exitstatus or 0)

        assert await asyncio.to_thread(scene) == 0
        assert desk.taken.ceiling == (None if max_rows is None else Ceiling(max_rows))


async def test_neither_a_number_nor_any_signs_nothing() -> None:
    async with office() as desk:
        desk.hold(preview={"status": "partly", "estimate": 7, "took_us": 1})

        def scene() -> int:
            child = spawn(desk, "approve", "R-1", "-m", "fine", "--key", str(key_file(desk.folder, "bo")))
            child.expect_exact("number of rows?")
            child.sendline("all")
            child.expect_exact("'all' is neither a number nor `any`: nothing was signed")
            child.expect(pexpect.EOF)
            child.close()
            return int(child.exitstatus or 0)

        assert await asyncio.to_thread(scene) == 2
        assert desk.desk.taken == []


async def test_ctrl_c_at_the_question_signs_nothing_and_says_so() -> None:
    async with office() as desk:
        desk.hold()

        def scene() -> int:
            child = spawn(desk, "approve", "R-1", "-m", "fine", "--key", str(key_file(desk.folder, "bo")))
            child.expect_exact("[y/N]: ")
            child.sendintr()
            child.expect_exact("nothing was signed")
            child.expect(pexpect.EOF)
            child.close()
            return int(child.exitstatus or 0)

        assert await asyncio.to_thread(scene) == 130
        assert desk.desk.taken == []


@pytest.mark.parametrize("answer", ["", "n", "no"])
async def test_anything_but_yes_signs_nothing(answer: str) -> None:
    async with office() as desk:
        desk.hold()

        def scene() -> int:
            child = spawn(desk, "deny", "R-1", "-m", "no", "--key", str(key_file(desk.folder, "bo")))
            child.expect_exact("[y/N]: ")
            child.sendline(answer)
            child.expect_exact("nothing was signed")
            child.expect(pexpect.EOF)
            child.close()
            return int(child.exitstatus or 0)

        assert await asyncio.to_thread(scene) == 1
        assert desk.desk.taken == []


async def test_a_question_that_nobody_could_see_is_not_asked() -> None:
    async with office() as desk:
        desk.hold()
        key = key_file(desk.folder, "bo")

        def scene() -> str:
            words = ["-c", 'exec "$@" 2>"$ERR"', "sh", sys.executable, "-m", "pgnotary.cli", "deny", "R-1", "-m", "no"]
            environment = {"PGNOTARY_SOCKET": str(desk.socket), "ERR": str(desk.folder / "err"), "PATH": "/bin"}
            child = pexpect.spawn("/bin/sh", [*words, "--key", str(key)], env=environment, timeout=30)
            child.expect(pexpect.EOF)
            child.close()
            assert child.exitstatus == 2
            return (desk.folder / "err").read_text()

        assert "no terminal" in await asyncio.to_thread(scene)
        assert desk.desk.taken == []

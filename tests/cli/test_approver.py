"""The approver's commands, against the real API on a real Unix socket."""

import asyncio
import json
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import pexpect
import pytest
from click.testing import CliRunner, Result
from tests.approval.office import (
    LEDGER,
    PROXY_SEED,
    SEEDS,
    STATEMENT,
    Office,
    key_file,
    public_of,
    running_office,
)

from pgnotary.cli.approver import COMMANDS
from pgnotary.errors import DecisionRefused, LedgerUnavailable, RequestMoved
from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.entries import Draft, Receipt
from pgnotary.ledger.seals import commitment
from pgnotary.request import decision as decisions
from pgnotary.request import sshsig
from pgnotary.request.decision import Answer, Decision
from pgnotary.request.life import Move, State
from pgnotary.request.openssh import fingerprint, read_private_key, read_public_line
from pgnotary.request.roster import parse_roster
from pgnotary.serve.desk import Ended
from pgnotary.store import Append
from pgnotary.store.sqlite import SqliteStore

_GROUP = click.Group("pgnotary", commands={command.name or "": command for command in COMMANDS})
_PROGRAM = """
import click
from pgnotary.cli.approver import COMMANDS
click.Group(commands={command.name: command for command in COMMANDS})()
"""


@dataclass
class Desk(Office):
    """An office, and an approver called bo who runs commands in it."""

    async def run(self, *arguments: str | Path, env: dict[str, str] | None = None) -> Result:
        """Run one command, which finds the socket in the environment unless `env` says otherwise."""
        environment = {"PGNOTARY_SOCKET": str(self.socket), "HOME": str(self.folder)} | (env or {})
        words = [str(each) for each in arguments]
        result = await asyncio.to_thread(CliRunner().invoke, _GROUP, words, env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    async def decide(self, verb: str, *arguments: str | Path, person: str = "bo", prefix: str | None = None) -> Result:
        """Decide over R-1 as a script does: with its digest and --yes."""
        digest = prefix or self.desk.open["R-1"].request.leaf.hex()[:8]
        key = key_file(self.folder, person)
        return await self.run(verb, f"R-1@{digest}", "-m", "backup b-771", "--yes", "--key", key, *arguments)

    @property
    def taken(self) -> Decision:
        """The one decision that came to the desk, its signature checked."""
        [(document, signature)] = self.desk.taken
        assert sshsig.verify(signature, document, sshsig.DECISION_NAMESPACE) == public_of(SEEDS["bo"])
        return decisions.read(document)


@asynccontextmanager
async def office() -> AsyncIterator[Desk]:
    async with running_office() as running:
        yield Desk(running.folder, running.ledger, running.desk, running.api, running.socket)


def _ended(state: State, rows: int | None = 1204) -> Ended:
    return Ended(state.value, rows, 14)


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
        assert [each["id"] for each in json.loads(result.stdout)] == ["R-1", "R-3"]
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


async def test_show_of_an_ended_request_says_where_it_stands() -> None:
    async with office() as desk:
        desk.desk.gone["R-1"] = _ended(State.COMMITTED)
        assert (await desk.run("show", "R-1")).stdout == "R-1  committed, 1,204 rows (#14)\n"
        shown = json.loads((await desk.run("show", "R-1", "--json")).stdout)
        assert shown == {"id": "R-1", "state": "committed", "rows": 1204, "seq": 14}


async def test_show_of_a_request_that_is_not_ready_is_pending() -> None:
    async with office() as desk:
        desk.ledger.states["R-1"] = (State.HELD, bytes(32))
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
        assert (await desk.run("show", "R-1", "--ledger", desk.folder / "none.db")).exit_code == 1


# approve and deny


async def test_an_approval_is_signed_over_exactly_the_document_and_its_outcome_is_told() -> None:
    async with office() as desk:
        asked = desk.hold()
        desk.desk.outcome = _ended(State.COMMITTED)
        result = await desk.decide("approve")
        assert result.exit_code == 0, result.stderr
        assert result.stdout == "approved  R-1  ledger #2\nexecuted: DELETE 1204, committed (#14)\n"
        decision = desk.taken
        assert (decision.request, decision.request_leaf, decision.answer) == ("R-1", asked.leaf, Answer.APPROVE)
        assert (decision.approver, decision.reason, decision.max_rows) == ("bo", "backup b-771", 1204)
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
        result = await desk.decide("approve", "--wait", "0")
        who = f"bo ({fingerprint(public_of(SEEDS['bo']))})"
        question = f"Sign approval of R-1: DELETE on public.orders, at most 1,204 rows (as counted), as {who}? --yes"
        assert "   1 | DELETE FROM orders" in result.stderr
        assert result.stderr.splitlines()[-1] == question


async def test_the_approvers_own_ceiling_goes_before_the_count() -> None:
    async with office() as desk:
        desk.hold()
        result = await desk.decide("approve", "--max-rows", "20000", "--wait", "0")
        assert "at most 20,000 rows, as bo" in result.stderr
        assert desk.taken.max_rows == 20_000


async def test_any_number_of_rows_must_be_said() -> None:
    async with office() as desk:
        desk.hold(exact=None)
        refused = await desk.decide("approve", "--wait", "0")
        assert refused.exit_code == 2
        assert "no exact count" in refused.stderr
        assert "DROP is not previewed yet" in refused.stderr
        assert desk.desk.taken == []
        result = await desk.decide("approve", "--any-rows", "--wait", "0")
        assert "any number of rows" in result.stderr
        assert desk.taken.max_rows is None


async def test_an_estimate_is_no_ceiling() -> None:
    async with office() as desk:
        desk.hold(preview={"status": "partly", "estimate": 7, "took_us": 1})
        assert (await desk.decide("approve")).exit_code == 2
        assert desk.desk.taken == []


async def test_a_ceiling_and_any_rows_contradict_each_other() -> None:
    async with office() as desk:
        desk.hold()
        assert (await desk.decide("approve", "--any-rows", "--max-rows", "3")).exit_code == 2


async def test_a_denial_is_signed() -> None:
    async with office() as desk:
        desk.hold(exact=None)
        result = await desk.decide("deny")
        assert (result.exit_code, result.stdout) == (0, "denied  R-1  ledger #2\n")
        assert "Sign denial of R-1: DELETE on public.orders, as bo" in result.stderr
        assert (desk.taken.answer, desk.taken.max_rows) == (Answer.DENY, None)


@pytest.mark.parametrize(
    ("state", "rows", "words", "status"),
    [
        (State.ROLLED_BACK, 99, "rolled back: DELETE 99 (#14)", 1),
        (State.FAILED, None, "outcome: failed (#14)", 1),
        (State.UNKNOWN, None, "outcome: unknown (#14)", 1),
        (State.VOID, None, "not executed after all (#14)", 1),
    ],
)
async def test_an_approval_that_came_to_nothing_fails(state: State, rows: int | None, words: str, status: int) -> None:
    async with office() as desk:
        desk.hold()
        desk.desk.outcome = _ended(state, rows)
        result = await desk.decide("approve")
        assert (result.stdout.splitlines()[1], result.exit_code) == (words, status)


async def test_an_outcome_that_takes_longer_than_the_wait_is_pending() -> None:
    async with office() as desk:
        desk.hold()
        desk.desk.outcome = Ended("approved", None, 12)
        result = await desk.decide("approve", "--wait", "0.01")
        assert (result.stdout.splitlines()[1], result.exit_code) == ("no outcome yet: it is approved", 8)


async def test_in_an_open_block_it_is_enough_that_it_ran() -> None:
    async with office() as desk:
        desk.hold(block="open")
        desk.desk.outcome = _ended(State.EXECUTED)
        result = await desk.decide("approve", "--wait", "3600")
        assert result.stdout.splitlines()[1] == "executed: DELETE 1204, not committed yet (#14)"
        assert result.exit_code == 8


async def test_without_a_wait_the_decision_alone_counts() -> None:
    async with office() as desk:
        desk.hold()
        desk.desk.outcome = _ended(State.FAILED)
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
        leaf = desk.hold().leaf.hex()
        wrong = leaf[:7] + ("0" if leaf[7] != "0" else "1")
        result = await desk.decide("approve", prefix=wrong)
        assert (result.exit_code, desk.desk.taken) == (6, [])
        assert "look again" in result.stderr
        assert (await desk.decide("approve", "--wait", "0", prefix=leaf.upper())).exit_code == 0


@pytest.mark.parametrize("target", ["R-1@9b1f22a", "R-1@", "R-1@xxxxxxxx", "R-0", "1", "R-1@" + "a" * 65])
async def test_a_target_that_is_not_of_its_form_is_wrong_usage(target: str) -> None:
    async with office() as desk:
        desk.hold()
        result = await desk.run("approve", target, "-m", "why", "--yes")
        assert result.exit_code == 2
        assert "8 hex digits" in result.stderr


async def test_yes_needs_a_digest_and_no_yes_needs_a_terminal() -> None:
    async with office() as desk:
        desk.hold()
        key = key_file(desk.folder, "bo")
        without_digest = await desk.run("approve", "R-1", "-m", "why", "--yes", "--key", key)
        without_terminal = await desk.run("approve", "R-1", "-m", "why", "--key", key)
        assert (without_digest.exit_code, without_terminal.exit_code) == (2, 2)
        assert "--yes needs R-1@" in without_digest.stderr
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
        leaf = desk.hold().leaf.hex()
        key, other = key_file(desk.folder, "bo"), desk.folder / "other.vkey"
        other.write_text(notes.vkey(LEDGER, public_of(SEEDS["mallory"])))
        words = ("deny", f"R-1@{leaf}", "-m", "why", "--yes")
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


@pytest.mark.parametrize(("state", "status"), [(State.EXPIRED, 4), (State.WITHDRAWN, 4), (State.DENIED, 6)])
async def test_somebody_faster_is_told(state: State, status: int) -> None:
    async with office() as desk:
        desk.hold()
        leaf, key = desk.desk.open["R-1"].request.leaf.hex(), key_file(desk.folder, "bo")
        refusal = DecisionRefused("R-1 is not open")
        refusal.__cause__ = RequestMoved("R-1", state)
        desk.desk.refusal, desk.desk.waits_for = refusal, asyncio.Event()
        deciding = asyncio.create_task(desk.run("deny", f"R-1@{leaf}", "-m", "why", "--yes", "--key", key))
        while not desk.desk.heads:
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
    ("state", "status"), [(State.EXPIRED, 4), (State.ORPHANED, 4), (State.COMMITTED, 6), (State.APPROVED, 6)]
)
async def test_what_has_ended_cannot_be_approved(state: State, status: int) -> None:
    async with office() as desk:
        desk.desk.gone["R-1"] = _ended(state)
        assert (await desk.decide("approve", prefix="9b1f22aa")).exit_code == status


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


# Options.


async def test_the_configuration_names_the_socket_and_a_flag_beats_the_environment() -> None:
    async with office() as desk:
        desk.hold()
        config = desk.folder / "pgnotary.toml"
        config.write_text(f'[approval]\nsocket = "{desk.socket.name}"\n')
        nowhere = {"PGNOTARY_SOCKET": str(desk.folder / "nowhere")}
        assert (await desk.run("requests", "--config", config, env=nowhere)).exit_code == 0
        assert (await desk.run("requests", env=nowhere | {"PGNOTARY_CONFIG": str(config)})).exit_code == 7
        assert (await desk.run("requests", "--config", desk.folder / "none.toml")).exit_code == 1


async def test_without_a_place_it_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PGNOTARY_SOCKET", raising=False)
    monkeypatch.delenv("PGNOTARY_CONFIG", raising=False)
    result = CliRunner().invoke(_GROUP, ["requests"])
    assert result.exit_code == 2
    assert "--socket PATH or --config FILE" in result.stderr


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
async def test_a_private_key_that_others_can_read_is_refused(mode: int) -> None:
    async with office() as desk:
        leaf = desk.hold().leaf.hex()
        key = key_file(desk.folder, "bo", mode)
        result = await desk.run("deny", f"R-1@{leaf}", "-m", "why", "--yes", "--key", key)
        assert result.exit_code == 5
        assert f"mode {mode:04o}" in result.stderr
        assert desk.desk.taken == []


async def test_a_key_is_looked_for_at_home() -> None:
    async with office() as desk:
        leaf = desk.hold().leaf.hex()
        words = ("deny", f"R-1@{leaf}", "-m", "why", "--yes")
        result = await desk.run(*words)
        assert result.exit_code == 5
        assert "pgnotary key new" in result.stderr
        ssh = desk.folder / ".ssh"
        ssh.mkdir()
        key_file(desk.folder, "mallory").rename(ssh / "id_ed25519")
        assert "nobody on the roster" in (await desk.run(*words)).stderr
        own = desk.folder / ".config" / "pgnotary"
        own.mkdir(parents=True)
        key_file(desk.folder, "bo").rename(own / "id_ed25519")
        assert (await desk.run(*words)).exit_code == 0


@pytest.mark.parametrize("text", ["", "nonsense", "ssh-ed25519 AAAA"])
async def test_a_file_that_is_no_private_key_is_named(text: str) -> None:
    async with office() as desk:
        desk.hold()
        path = desk.folder / "key"
        path.write_text(text)
        path.chmod(0o600)
        result = await desk.run("deny", "R-1@9b1f22aa", "-m", "why", "--yes", "--key", path)
        assert result.exit_code == 5
        assert str(path) in result.stderr


# key new


def test_a_new_key_is_for_its_owner_alone_and_fits_the_roster(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bo"
    result = CliRunner().invoke(_GROUP, ["key", "new", "--out", str(path), "--person", "bo@corp"])
    assert result.exit_code == 0, result.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    private = read_private_key(path.read_text())
    [signer] = parse_roster(result.stdout).signers
    assert (signer.person, signer.public, signer.namespaces) == ("bo@corp", private.public, ("decision@pgnotary",))
    assert result.stdout.startswith('bo@corp namespaces="decision@pgnotary" ssh-ed25519 AAAA')
    assert read_public_line((tmp_path / "new" / "bo.pub").read_text()).public == private.public
    assert fingerprint(private.public) in result.stderr
    again = CliRunner().invoke(_GROUP, ["key", "new", "--out", str(path), "--person", "bo@corp"])
    assert again.exit_code == 1
    assert read_private_key(path.read_text()) == private


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_ssh_keygen_reads_a_new_key(tmp_path: Path) -> None:
    path = tmp_path / "bo"
    assert CliRunner().invoke(_GROUP, ["key", "new", "--out", str(path), "--person", "bo"]).exit_code == 0
    done = subprocess.run(["ssh-keygen", "-y", "-f", path], check=True, capture_output=True, text=True)
    assert done.stdout.split()[:2] == (tmp_path / "bo.pub").read_text().split()[:2]


@pytest.mark.parametrize("taken", ["bo", "bo.pub"])
def test_a_new_key_overwrites_nothing(taken: str, tmp_path: Path) -> None:
    (tmp_path / taken).write_text("precious")
    result = CliRunner().invoke(_GROUP, ["key", "new", "--out", str(tmp_path / "bo")])
    assert result.exit_code == 1
    assert "not overwritten" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "precious"


@pytest.mark.parametrize("name", ["two words", "*", "a,b", "bo\nana"])
def test_a_name_that_no_roster_can_hold_makes_no_key(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(_GROUP, ["key", "new", "--out", str(tmp_path / "bo"), "--person", name])
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())


# At a terminal.


def _spawn(desk: Desk, *words: str) -> "pexpect.spawn[str]":
    environment = {"PGNOTARY_SOCKET": str(desk.socket), "HOME": str(desk.folder), "TERM": "dumb", "PATH": "/bin"}
    return pexpect.spawn(
        sys.executable, ["-c", _PROGRAM, *words], env=environment, encoding="utf-8", timeout=30, dimensions=(50, 120)
    )


async def test_a_person_is_asked_and_yes_signs() -> None:
    async with office() as desk:
        desk.hold()
        desk.desk.outcome = _ended(State.COMMITTED)

        def scene() -> int:
            child = _spawn(desk, "approve", "R-1", "-m", "fine", "--key", str(key_file(desk.folder, "bo")))
            child.expect_exact("   2 | WHERE created_at < '2024-01-01'")
            child.expect(r"Sign approval of R-1: DELETE on public\.orders, at most 1,204 rows \(as counted\), as bo")
            child.expect_exact("? [y/N]: ")
            assert desk.desk.taken == []
            child.sendline("y")
            child.expect_exact("approved  R-1  ledger #2")
            child.expect_exact("executed: DELETE 1204, committed (#14)")
            child.expect(pexpect.EOF)
            child.close()
            return int(child.exitstatus or 0)

        assert await asyncio.to_thread(scene) == 0
        assert desk.taken.answer is Answer.APPROVE


@pytest.mark.parametrize("answer", ["", "n", "no"])
async def test_anything_but_yes_signs_nothing(answer: str) -> None:
    async with office() as desk:
        desk.hold()

        def scene() -> int:
            child = _spawn(desk, "deny", "R-1", "-m", "no", "--key", str(key_file(desk.folder, "bo")))
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
            words = ["-c", 'exec "$@" 2>"$ERR"', "sh", sys.executable, "-c", _PROGRAM, "deny", "R-1", "-m", "no"]
            environment = {"PGNOTARY_SOCKET": str(desk.socket), "ERR": str(desk.folder / "err"), "PATH": "/bin"}
            child = pexpect.spawn("/bin/sh", [*words, "--key", str(key)], env=environment, timeout=30)
            child.expect(pexpect.EOF)
            child.close()
            assert child.exitstatus == 2
            return (desk.folder / "err").read_text()

        assert "no terminal" in await asyncio.to_thread(scene)
        assert desk.desk.taken == []


async def test_watch_tells_what_is_held_and_what_ends_until_interrupted() -> None:
    async with office() as desk:
        desk.hold("R-1")
        child = await asyncio.to_thread(_spawn, desk, "watch")
        await asyncio.to_thread(child.expect_exact, "R-1  held  eva  shop  DELETE on public.orders  1,204  default/")
        desk.hold("R-2", relations=["\x1b[2J"])
        await asyncio.to_thread(child.expect_exact, "R-2  held  eva  shop  DELETE on \\u{1b}[2J  1,204")
        desk.desk.retire("R-1", State.DENIED)
        await asyncio.to_thread(child.expect, r"R-1  denied \(#\d+\)")
        child.sendintr()
        await asyncio.to_thread(child.expect, pexpect.EOF)
        child.close()
        assert child.exitstatus == 130


async def test_watch_writes_a_json_object_a_line_when_piped() -> None:
    async with office() as desk:
        asked = desk.hold("R-1")
        pipe = asyncio.subprocess.PIPE
        watching = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PROGRAM, "watch", env={"PGNOTARY_SOCKET": str(desk.socket)}, stdout=pipe, stderr=pipe
        )
        assert watching.stdout is not None
        assert watching.stderr is not None
        try:
            held = json.loads(await watching.stdout.readline())
            assert (held["event"], held["id"], held["request_leaf"]) == ("held", "R-1", asked.leaf.hex())
            desk.put_on_desk(*desk.ledger.hold("R-2"), {"statement": b"SELECT 1"})
            assert b"R-2: the opened statement" in await watching.stderr.readline()
            desk.desk.retire("R-1", State.EXPIRED)
            ended = json.loads(await watching.stdout.readline())
            assert ended == {"event": "ended", "id": "R-1", "state": "expired", "seq": 4}
        finally:
            watching.send_signal(signal.SIGINT)
        assert await watching.wait() == 130

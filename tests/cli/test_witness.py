"""Approvers as witnesses: what `approve` and `deny` remember, and what they refuse to sign over."""

import asyncio
import resource
import subprocess
import sys

import pytest
from tests.approval.office import LEDGER, SEEDS, VKEY, MemoryLedger, key_file, public_of
from tests.cli.office import Desk, office

from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.remembered import Remembered, read_heads
from pgnotary.verify.misbehaviour import Misbehaviour, examine


def remembered(desk: Desk) -> Remembered:
    [head] = read_heads(desk.heads.read_bytes())
    return head


def evidence(desk: Desk) -> Misbehaviour:
    [path] = desk.folder.glob("heads.misbehaviour-*.json")
    return examine(path.read_bytes(), VKEY)


async def seen_before(desk: Desk, more: int = 0) -> Remembered:
    """Let bo decide over R-1, so that a head is remembered; `more` requests are in the ledger by then."""
    for n in range(more):
        desk.ledger.hold(f"R-{n + 20}")
    desk.hold()
    assert (await desk.decide("deny")).exit_code == 0
    desk.desk.taken.clear()
    return remembered(desk)


def swap(desk: Desk, ledger: MemoryLedger) -> None:
    """Let the same proxy stand on another ledger under the same key, with R-1 open on it."""
    desk.ledger.raws[:], desk.ledger.states = ledger.raws, ledger.states
    desk.hold()


async def test_the_head_that_is_named_is_remembered_before_it_is_signed() -> None:
    async with office() as desk:
        desk.hold()
        result = await desk.decide("deny")
        assert result.exit_code == 0
        assert f"note          the first head of {LEDGER} seen here: it is remembered from now on" in result.stderr
        head = remembered(desk)
        assert (head.key, head.checkpoint.size, head.checkpoint.root) == (
            VKEY,
            desk.taken.seen.size,
            desk.taken.seen.root,
        )
        desk.hold("R-1")
        desk.desk.taken.clear()
        again = await desk.decide("deny")
        assert (again.exit_code, "first head" in again.stderr) == (0, False)
        assert remembered(desk).checkpoint.size == desk.taken.seen.size == 5


@pytest.mark.parametrize("state_home", [True, False])
async def test_heads_are_remembered_where_a_persons_state_is_kept(state_home: bool) -> None:
    async with office() as desk:
        desk.hold()
        said = str(desk.folder / "state") if state_home else "relative"
        key = key_file(desk.folder, "bo")
        environment = {"XDG_STATE_HOME": said, "PGNOTARY_HEADS": ""}
        words = ("deny", f"R-1@{desk.context()}", "-m", "no", "--yes", "--key", key)
        assert (await desk.run(*words, env=environment)).exit_code == 0
        path = (desk.folder / "state" if state_home else desk.folder / ".local/state") / "pgnotary/heads"
        assert len(read_heads(path.read_bytes())) == 1


# Attacks on history.


async def test_a_ledger_that_was_restored_from_an_older_copy_is_not_signed_over() -> None:
    async with office() as desk:
        old = MemoryLedger()
        old.hold("R-7")
        await seen_before(desk, more=5)
        before = desk.heads.read_bytes()
        swap(desk, old)
        result = await desk.decide("approve")
        assert (result.exit_code, desk.desk.taken) == (5, [])
        assert "has shrunk: it had 12 entries" in result.stderr
        assert "restored from an older copy, cut, or begun anew. Nothing was signed" in result.stderr
        assert not evidence(desk).proven
        assert desk.heads.read_bytes() == before


@pytest.mark.parametrize("verb", ["approve", "deny"])
async def test_a_fork_under_the_same_key_is_not_signed_over_and_both_heads_prove_it(verb: str) -> None:
    async with office() as desk:
        before = await seen_before(desk)
        fork = MemoryLedger()
        for n in range(10, 14):
            fork.hold(f"R-{n}", "SELECT 'another history'")
        swap(desk, fork)
        result = await desk.decide(verb)
        assert (result.exit_code, desk.desk.taken) == (5, [])
        assert "was rewritten, or is shown otherwise to others. Nothing was signed; both heads are in" in result.stderr
        assert evidence(desk).proven
        assert remembered(desk) == before


async def test_a_proxy_that_refuses_proofs_gets_no_signature() -> None:
    async with office() as desk:
        await seen_before(desk)
        desk.hold()

        async def none(older: int, entries: object) -> object:
            return await MemoryLedger.prove(desk.ledger, 0, [])

        desk.ledger.prove = none  # type: ignore[method-assign, assignment]
        result = await desk.decide("approve")
        assert (result.exit_code, desk.desk.taken) == (5, [])
        assert "does not prove that the ledger" in result.stderr


@pytest.mark.parametrize("pinned", [False, True])
async def test_a_known_ledger_under_another_key_is_refused_unless_the_approver_names_it(pinned: bool) -> None:
    async with office() as desk:
        await seen_before(desk)
        key = notes.vkey(LEDGER, public_of(SEEDS["mallory"]))
        (desk.folder / "proxy.vkey").write_text(key)

        def checkpoint() -> str:
            head = desk.ledger.head()
            return notes.sign(notes.Checkpoint(LEDGER, head.size, head.root), LEDGER, SEEDS["mallory"])

        desk.ledger.checkpoint = checkpoint  # type: ignore[method-assign]
        desk.hold()
        options = ("--proxy-key", desk.folder / "proxy.vkey") if pinned else ()
        result = await desk.decide("deny", *options)
        assert (result.exit_code, len(desk.desk.taken)) == ((0, 1) if pinned else (5, 0))
        said = "you name a new one" if pinned else "comes with another key than on"
        assert said in result.stderr
        assert len(read_heads(desk.heads.read_bytes())) == (2 if pinned else 1)


@pytest.mark.parametrize("pinned", [False, True])
async def test_a_proxy_that_passes_on_what_another_one_holds_has_nothing_signed(pinned: bool) -> None:
    async with office() as desk:
        staging, seed = "staging.example/ledger", SEEDS["mallory"]
        vkey = desk.folder / ("staging.vkey" if pinned else "proxy.vkey")
        vkey.write_text(notes.vkey(staging, public_of(seed)))

        def checkpoint() -> str:
            """Sign the other ledger's own head, so that what names it counts there."""
            head = desk.ledger.head()
            return notes.sign(notes.Checkpoint(LEDGER, head.size, head.root), staging, seed)

        desk.ledger.checkpoint = checkpoint  # type: ignore[method-assign]
        desk.hold()
        result = await desk.decide("approve", *(("--proxy-key", vkey) if pinned else ()))
        assert (result.exit_code, desk.desk.taken) == (5, [])
        assert f"is of the ledger {LEDGER}, and the proxy's key is that of {staging}" in result.stderr


async def test_who_takes_the_key_away_does_not_make_anybody_forget() -> None:
    async with office() as desk:
        before = await seen_before(desk)
        (desk.folder / "proxy.vkey").unlink()
        desk.hold()
        result = await desk.decide("deny")
        assert result.exit_code == 0
        assert "the proxy's key is the one that is remembered here" in result.stderr
        assert remembered(desk).checkpoint.size > before.checkpoint.size
        fork = MemoryLedger()
        for n in range(10, 20):
            fork.hold(f"R-{n}")
        swap(desk, fork)
        assert (await desk.decide("deny")).exit_code == 5


async def test_garbage_in_the_file_stops_the_signature_and_stays() -> None:
    async with office() as desk:
        await seen_before(desk)
        garbage = desk.heads.read_bytes()[:-3]
        desk.heads.write_bytes(garbage)
        desk.hold()
        result = await desk.decide("approve")
        assert (result.exit_code, desk.desk.taken) == (5, [])
        assert "line 1 has no end: the file was cut; nothing was signed" in result.stderr
        assert desk.heads.read_bytes() == garbage


# The machine itself.


def _command(desk: Desk, name: str) -> list[str]:
    key = str(key_file(desk.folder, "bo"))
    words = ["deny", f"{name}@{desk.context(name)}", "-m", "no", "--yes", "--key", key, "--socket", str(desk.socket)]
    return [sys.executable, "-m", "pgnotary.cli", *words, "--heads", str(desk.heads)]


async def test_on_a_full_disk_nothing_is_signed() -> None:
    async with office() as desk:
        before = await seen_before(desk)
        desk.hold()
        full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # noqa: E731
        done = await asyncio.to_thread(
            lambda: subprocess.run(
                _command(desk, "R-1"), capture_output=True, text=True, check=False, timeout=60, preexec_fn=full
            )
        )
        assert (done.returncode, desk.desk.taken, desk.desk.deciding) == (1, [], True)
        assert "the ledger's head cannot be written: File too large; nothing was signed" in done.stderr
        assert remembered(desk) == before


async def test_of_two_commands_of_one_approver_at_once_neither_forgets_the_longer_head() -> None:
    async with office() as desk:
        for n in range(1, 7):
            desk.hold(f"R-{n}")
        running = [
            await asyncio.create_subprocess_exec(
                *_command(desk, f"R-{n}"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for n in range(1, 7)
        ]
        assert [await each.wait() for each in running] == [0] * 6
        assert len(desk.desk.taken) == 6
        assert remembered(desk).checkpoint.size == max(head.size for head in desk.desk.heads)


async def test_a_command_that_waits_for_the_lock_checks_against_what_the_other_has_seen() -> None:
    """Two proxies show two histories to one person at one time: whichever is second gets no signature."""
    async with office() as one, office() as two:
        for n in range(8):
            two.ledger.hold(f"R-{n + 30}", "SELECT 'another history'")
        one.hold()
        two.hold()
        results = await asyncio.gather(
            *(
                asyncio.create_subprocess_exec(
                    *_command(desk, "R-1")[:-1],
                    str(one.heads),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                for desk in (one, two)
            )
        )
        assert sorted([await each.wait() for each in results]) == [0, 5]
        assert len(one.desk.taken) + len(two.desk.taken) == 1

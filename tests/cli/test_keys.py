"""Which key signs: files, passphrases, agents. OpenSSH's own agent and its own prompts."""

import asyncio
import json
from pathlib import Path

import pexpect
import pytest
from click.testing import CliRunner
from tests.approval.office import SEEDS, key_file, public_of
from tests.cli.office import Desk, office, spawn
from tests.ssh_agents import framed, needs_openssh, odd_agent, protect, stock_agent

from pgnotary.cli import pgnotary
from pgnotary.request.openssh import fingerprint, public_line
from pgnotary.request.roster import parse_roster

BO = fingerprint(public_of(SEEDS["bo"]))


@pytest.fixture(autouse=True)
def no_agent_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def _deny(desk: Desk, *more: str | Path) -> tuple[str | Path, ...]:
    return ("deny", f"R-1@{desk.context()}", "-m", "no", "--yes", *more)


def _pub(desk: Desk, person: str) -> Path:
    path = desk.folder / f"{person}.pub"
    path.write_text(public_line(public_of(SEEDS[person]), person) + "\n")
    return path


@needs_openssh
async def test_a_public_key_means_that_an_agent_holds_the_private_half() -> None:
    async with office() as desk:
        desk.hold()
        with stock_agent(key_file(desk.folder, "ana"), key_file(desk.folder, "bo")) as agent:
            result = await desk.run(*_deny(desk, "--key", _pub(desk, "bo")), env={"SSH_AUTH_SOCK": str(agent)})
            assert result.exit_code == 0, result.stderr
            assert f"signer        bo ({BO})" in result.stderr
            assert desk.taken.approver == "bo"


@needs_openssh
async def test_of_many_keys_of_an_agent_the_one_that_the_roster_knows_signs() -> None:
    async with office() as desk:
        desk.hold()
        with stock_agent(key_file(desk.folder, "mallory"), key_file(desk.folder, "bo")) as agent:
            result = await desk.run(*_deny(desk), env={"SSH_AUTH_SOCK": str(agent)})
        assert result.exit_code == 0, result.stderr
        assert desk.taken.approver == "bo"


@needs_openssh
@pytest.mark.parametrize(
    ("people", "told"),
    [(("ana", "bo"), "several of them may be on the roster"), (("mallory",), "nobody on the roster")],
)
async def test_which_key_of_an_agent_is_meant_is_never_guessed(people: tuple[str, ...], told: str) -> None:
    async with office() as desk:
        desk.hold()
        with stock_agent(*(key_file(desk.folder, each) for each in people)) as agent:
            result = await desk.run(*_deny(desk), env={"SSH_AUTH_SOCK": str(agent)})
        assert result.exit_code == 5
        assert told in result.stderr
        assert desk.desk.taken == []


@pytest.mark.parametrize("there", [True, False])
async def test_a_public_key_that_no_agent_holds_signs_nothing(there: bool) -> None:
    nothing = framed(b"\x0c\0\0\0\0")
    async with office() as desk:
        desk.hold()
        with odd_agent(lambda _: nothing) as agent:
            environment = {"SSH_AUTH_SOCK": str(agent)} if there else {}
            result = await desk.run(*_deny(desk, "--key", _pub(desk, "bo")), env=environment)
        assert result.exit_code == 5
        assert ("does not hold" if there else "no ssh-agent") in result.stderr
        assert desk.desk.taken == []


def _locked(desk: Desk) -> Path:
    key = key_file(desk.folder, "bo")
    protect(key, "correct horse")
    return key


def _spawn(desk: Desk, *words: str | Path) -> "pexpect.spawn[str]":
    return spawn(desk, *(str(each) for each in words))


@needs_openssh
async def test_a_passphrase_is_asked_for_in_a_terminal_once_and_leaves_no_agent_behind() -> None:
    async with office() as desk:
        desk.hold()
        key = _locked(desk)

        def scene() -> None:
            before = _agents()
            child = _spawn(desk, "deny", "R-1", "-m", "no", "--key", key)
            child.expect("Enter passphrase for [^:]*: ")
            child.sendline("wrong")
            child.expect("Bad passphrase, try again for [^:]*: ")
            child.sendline("correct horse")
            child.expect_exact("[y/N]: ")
            assert "correct horse" not in str(child.before)
            child.sendline("y")
            child.expect_exact("denied  R-1")
            child.expect(pexpect.EOF)
            child.close()
            assert child.exitstatus == 0
            assert _agents() == before

        await asyncio.to_thread(scene)
        assert desk.taken.approver == "bo"


@needs_openssh
async def test_without_the_passphrase_nothing_is_signed() -> None:
    async with office() as desk:
        desk.hold()
        key = _locked(desk)

        def scene() -> int:
            child = _spawn(desk, "deny", "R-1", "-m", "no", "--key", key)
            child.expect("Enter passphrase for [^:]*: ")
            child.sendline("")
            child.expect_exact("the passphrase is not the one of this key")
            child.expect(pexpect.EOF)
            child.close()
            return int(child.exitstatus or 0)

        assert await asyncio.to_thread(scene) == 5
        assert desk.desk.taken == []


@needs_openssh
async def test_a_passphrase_is_not_asked_for_if_the_agent_holds_the_key_already() -> None:
    async with office() as desk:
        desk.hold()
        with stock_agent(key_file(desk.folder, "bo")) as agent:
            key = _locked(desk)
            result = await desk.run(*_deny(desk, "--key", key), env={"SSH_AUTH_SOCK": str(agent)})
        assert result.exit_code == 0, result.stderr


def _agents() -> set[str]:
    """Return the processes that are agents of commands, by number."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"ssh-agent") and b"-D" not in words:
            found.add(each.parent.name)
    return found


# key list and key show


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def _run(*words: str) -> str:
    result = CliRunner().invoke(pgnotary, words, prog_name="pgnotary")
    assert result.exit_code == 0, result.stderr
    return result.stdout


def _ssh_key(home: Path, person: str) -> Path:
    (home / ".ssh").mkdir()
    return key_file(home, person).rename(home / ".ssh" / "id_ed25519")


@needs_openssh
def test_the_keys_at_hand_are_listed_from_files_and_agent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stock_agent(key_file(home, "ana")) as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        path = _ssh_key(home, "bo")
        assert _run("key", "list").splitlines() == [
            f"{BO}  {path}  bo",
            f"{fingerprint(public_of(SEEDS['ana']))}  ssh-agent {agent}  ana",
        ]
        listed = json.loads(_run("key", "list", "--json"))
        assert [each["where"] for each in listed] == [str(path), f"ssh-agent {agent}"]
        assert listed[0]["key"] == BO


@needs_openssh
def test_a_locked_key_is_listed_and_shown_without_its_passphrase(home: Path) -> None:
    path = _ssh_key(home, "bo")
    protect(path, "correct horse")
    assert _run("key", "list") == f"{BO}  {path} (its passphrase is asked for when it signs)\n"
    [signer] = parse_roster(_run("key", "show", "--person", "bo")).signers
    assert signer.public == public_of(SEEDS["bo"])


def test_a_key_that_others_can_read_is_listed_with_what_is_wrong(home: Path) -> None:
    path = _ssh_key(home, "bo")
    path.chmod(0o644)
    assert "others can read this private key" in _run("key", "list")


def test_an_agent_that_cannot_be_reached_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "none"))
    assert "cannot be asked" in _run("key", "list")


def test_a_comment_of_an_agent_reaches_no_terminal_as_it_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pgnotary.request.ssh_encoding import pack, public_blob

    hostile = pack(public_blob(public_of(SEEDS["bo"])), "\x1b[2J\u202eevil\nok".encode())
    with odd_agent(lambda _: framed(b"\x0c\0\0\0\1" + hostile)) as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        shown = _run("key", "list")
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("suffix", ["", ".pub"])
def test_key_show_prints_the_line_of_a_key_and_never_its_private_half(suffix: str, tmp_path: Path) -> None:
    assert CliRunner().invoke(pgnotary, ["key", "new", "--out", str(tmp_path / "bo"), "--person", "bo"]).exit_code == 0
    shown = _run("key", "show", "--key", str(tmp_path / f"bo{suffix}"), "--person", "bo@corp", "--redactor")
    [signer] = parse_roster(shown).signers
    assert (signer.person, signer.namespaces) == ("bo@corp", ("decision@pgnotary", "redaction@pgnotary"))
    assert "PRIVATE" not in shown
    told = json.loads(_run("key", "show", "--key", str(tmp_path / "bo"), "--person", "bo", "--json"))
    assert (told["key"], told["line"].split()[0]) == (fingerprint(signer.public), "bo")


def test_no_key_at_hand_is_said(home: Path) -> None:
    result = CliRunner().invoke(pgnotary, ["key", "show", "--person", "bo"])
    assert (result.exit_code, "pgnotary key new" in result.stderr) == (5, True)

"""docs/approvers.md is true: each of its commands is run, in its order, where an approver would run it."""

import asyncio
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from tests.approval.office import SEEDS, VKEY, key_file, public_of
from tests.cli.office import Desk, office, ran, spawn
from tests.pages import PAGES, Page

from pgnotary.cli.known_places import known_places
from pgnotary.request.life import State
from pgnotary.request.openssh import public_line
from pgnotary.request.roster import Signer

PAGE = "approvers.md"
TEXT = PAGES[PAGE].read_text(encoding="utf-8")
# What each must show, in the order of the page.
SHOWS = {
    "key new": "bo namespaces=",
    "key list": "SHA256:",
    "key show": "bo namespaces=",
    "requests": "DELETE",
    "show R-1": "   1 | DELETE FROM orders",
    "watch": "R-1  held",
    "wait": "R-1  held",
    "approve R-1": "approved  R-1",
    "deny": "denied  R-2",
    "approve R-3": "approved  R-3",
    "review": "Approve R-4",
    "withdraw": "withdrawn  R-5",
    "ledgers": "prod  server https://db.example:7443",
    "requests --at": "R-4",
    "show R-6": "wrote ",
    "sign": "signed    R-6",
    "submit": "approved  R-6",
    "approvers list": "ana",
    "approvers add": "added    bo2",
    "approvers revoke": "revoked  bo2",
    "completion bash": "_pgnotary_completion",
    "completion zsh": "_pgnotary_completion",
    "completion fish": "_pgnotary_completion",
}
ASKS = {"approve R-1": "y", "deny": "y", "sign": "y", "review": "q", "watch": ""}
"""Those that speak with a person, and the answer; `watch` is interrupted."""


def _kind(command: str) -> str:
    """Return the key of a command in `SHOWS`."""
    words = command.removeprefix("pgnotary ").replace("@DIGEST", "")
    return max((each for each in SHOWS if words.startswith(each)), key=len, default=words)


async def test_each_command_shows_what_the_page_says(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = [each for each in page.commands if each.text.startswith("pgnotary ")]
    assert [_kind(each.text) for each in commands] == list(SHOWS)
    async with office() as desk:
        for number in (1, 2, 3, 4, 6):
            desk.hold(f"R-{number}")
        desk.desk.outcome = ran(State.COMMITTED)
        _furnish(desk, monkeypatch)
        key_file(desk.folder, "eva")
        asked, shown = desk.ledger.hold("R-5")
        desk.desk.announce(asked, shown, lambda _: desk.desk.retire("R-5", State.WITHDRAWN))
        for command in commands:
            await _run(desk, page.take(command.text).text)


def _furnish(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put where the page says what the page names."""
    folder = desk.folder
    monkeypatch.chdir(folder)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (folder / ".ssh").mkdir()
    key_file(folder, "bo").rename(folder / ".ssh" / "id_ed25519")
    (folder / ".ssh" / "id_ed25519.pub").write_text(public_line(public_of(SEEDS["bo"])) + "\n")
    (folder / "bo.pub").write_text(public_line(public_of(SEEDS["bo"])) + "\n")
    (folder / "proxy.vkey").write_text(VKEY + "\n")
    (folder / "allowed_signers").write_text(Signer("ana", public_of(SEEDS["ana"])).line + "\n")
    (folder / "pgnotary.toml").write_text(f'[approval]\nsocket = "{desk.socket.name}"\n')
    (folder / ".config" / "pgnotary").mkdir(parents=True)
    listed = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)[0].replace(
        "/run/pgnotary/approvals.sock", str(desk.socket)
    )
    (folder / ".config" / "pgnotary" / "config.toml").write_text(listed)


async def _run(desk: Desk, command: str) -> None:
    kind = _kind(command)
    if "@DIGEST" in command:
        command = command.replace("DIGEST", desk.context("R-3"))
    words = shlex.split(command.replace("--timeout 60", "--timeout 0"))[1:]
    if kind in ASKS:
        words = [str(desk.folder / each) if (desk.folder / each).is_file() else each for each in words]
        words = [str(desk.folder / each) if each.endswith(".signed") else each for each in words]
        # Another machine remembers other heads.
        words += ["--heads", str(desk.folder / "offline.heads")] if kind == "sign" else []
        shown = await asyncio.to_thread(_spoken, desk, kind, words)
    else:
        words = [each.replace("~", str(desk.folder)) for each in words]
        env = {"PGNOTARY_SOCKET": None} if kind == "requests --at" else {}
        done = await desk.run(*words, env=env)  # type: ignore[arg-type]
        shown = done.stdout + done.stderr
        assert done.exit_code == (8 if kind == "wait" else 0), (command, shown)
    assert SHOWS[kind] in shown, (command, shown)
    if kind == "key new":
        # The person of the page goes on with the key that the roster knows.
        (desk.folder / ".config" / "pgnotary" / "id_ed25519").unlink()


def _spoken(desk: Desk, kind: str, words: list[str]) -> str:
    child = spawn(desk, *words)
    if kind == "watch":
        child.expect_exact(SHOWS[kind])
        shown = str(child.after)
        child.sendintr()
    else:
        child.expect(r"\[y/N\]: |\[y,n,d,s,q,\?\] ")
        shown = str(child.before)
        child.sendline(ASKS[kind])
    child.expect(pexpect.EOF)
    shown += str(child.before)
    child.close()
    return shown


def test_what_the_page_puts_into_bashrc_completes(page: Page) -> None:
    command = f"{page.take('eval ').text}; complete -p pgnotary"
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "--norc", "-ec", command], env={"PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "complete -o nosort -F _pgnotary_completion pgnotary\n"


def test_the_list_of_ledgers_on_the_page_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "pgnotary").mkdir()
    (tmp_path / "pgnotary" / "config.toml").write_text(re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)[0])
    assert [each.name for each in known_places()] == ["prod", "here"]

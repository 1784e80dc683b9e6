"""Keys with a passphrase, asked for at a terminal by OpenSSH itself."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest

from pgnotary.request import sshsig
from pgnotary.request.openssh import read_public_line

pytestmark = pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="OpenSSH is not installed")

SIGNING = """
import sys, time
from pathlib import Path
from pgnotary.cli.unlocking import unlocked
key = unlocked(Path(sys.argv[1]))
print(key.sign(b"x", "decision@pgnotary"), end="", flush=True)
print("signed", key.agent, flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    # Few rounds: what is tried is not how long bcrypt takes.
    made = ["ssh-keygen", "-q", "-t", "ed25519", "-a", "1", "-N", "open sesame", "-C", "", "-f", str(path)]
    subprocess.run(made, check=True, capture_output=True)
    return path


def at_terminal(key: Path, wait_s: float = 0) -> "pexpect.spawn[str]":
    return pexpect.spawn(sys.executable, ["-c", SIGNING, str(key), str(wait_s)], encoding="utf-8", timeout=20)


def test_the_passphrase_is_asked_for_and_the_key_signs(key: Path) -> None:
    with at_terminal(key) as command:
        command.expect("Enter passphrase for")
        command.sendline("open sesame")
        command.expect("(-----BEGIN SSH SIGNATURE-----.*-----END SSH SIGNATURE-----\r\n)signed (.*)\r\n")
        assert command.match is not None
        armored, agent = command.match[1].replace("\r\n", "\n"), Path(command.match[2])
        command.expect(pexpect.EOF)
        command.wait()
    public = read_public_line(key.with_suffix(".pub").read_text()).public
    assert sshsig.verify(armored, b"x", "decision@pgnotary") == public
    assert "sesame" not in (command.before or "")
    assert not agent.parent.exists()


def test_another_passphrase_opens_nothing(key: Path) -> None:
    with at_terminal(key) as command:
        for prompt in ("Enter passphrase for", "Bad passphrase", "Bad passphrase"):
            command.expect(prompt)
            command.sendline("open says me")
        # An empty one gives up.
        command.expect("Bad passphrase")
        command.sendline("")
        command.expect("BadKey: .*the passphrase is not the one of this key")


def test_without_a_terminal_nobody_is_asked(key: Path) -> None:
    command = [sys.executable, "-c", SIGNING, str(key), "0"]
    environment = {name: value for name, value in os.environ.items() if "ASKPASS" not in name}
    ran = subprocess.run(
        command, env=environment, start_new_session=True, capture_output=True, text=True, check=False, timeout=20
    )
    assert "there is no terminal to ask for it: `ssh-add` it to your ssh-agent before" in ran.stderr


@pytest.mark.long
def test_the_agent_ends_with_a_command_that_is_killed(key: Path) -> None:
    """Nobody may find the open key in an agent that was left behind."""
    with at_terminal(key, 60) as command:
        command.expect("Enter passphrase for")
        command.sendline("open sesame")
        command.expect("signed (.*)\r\n")
        assert command.match is not None
        agent = command.match[1]
        assert _listens(agent)
        command.kill(9)
        # OpenSSH's agent looks every ten seconds whether the process that it runs for still lives.
        end = time.monotonic() + 25
        while _listens(agent) and time.monotonic() < end:
            time.sleep(0.2)
        assert not _listens(agent)


def _listens(place: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(place) == 0

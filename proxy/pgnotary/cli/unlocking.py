"""A private key that is protected by a passphrase, for as long as one command runs.

The key's file enters, an ssh-agent of our own leaves that holds it until the command ends. OpenSSH asks for the
passphrase and decrypts: the passphrase never passes through this program, and the key is nowhere in the clear but in
that agent's memory. The agent ends with us, however we end: it runs for a process that waits for the end of a pipe that
only we hold.
"""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import click

from pgnotary.approval.ssh_agent import AgentKey, SshAgent
from pgnotary.errors import BadKey

__all__ = ["unlocked"]

_FOR_US = 'echo "$SSH_AGENT_PID"; exec cat'


def unlocked(path: Path) -> AgentKey:
    """Have the passphrase asked for, and return the key; raises BadKey, UsageError where nobody can be asked."""
    agent, add = (shutil.which(name) for name in ("ssh-agent", "ssh-add"))
    if agent is None or add is None:
        raise BadKey(
            f"{path}: this private key is protected by a passphrase, which OpenSSH's ssh-add asks for: install "
            "OpenSSH, or name a key without one (`pgnotary key new`)"
        )
    if not _can_be_asked():
        raise click.UsageError(
            f"{path}: this private key is protected by a passphrase, and there is no terminal to ask for it: "
            "`ssh-add` it to your ssh-agent before"
        )
    place = _agent(agent)
    told = {**os.environ, "SSH_AUTH_SOCK": str(place)}
    # Its own questions and complaints go to the terminal.
    if subprocess.run([add, "-q", path], env=told, check=False).returncode:
        raise BadKey(f"{path}: the passphrase is not the one of this key, or it cannot be read; ssh-add says why")
    if not (keys := SshAgent(place).keys()):
        raise BadKey(f"{path}: not an Ed25519 key: make one with `pgnotary key new`")
    return keys[0]


def _can_be_asked() -> bool:
    """Say whether ssh-add finds somebody to ask: at the terminal, or by a program that its user has set for that."""
    if os.environ.get("SSH_ASKPASS_REQUIRE") == "force" and os.environ.get("SSH_ASKPASS"):
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _agent(program: str) -> Path:
    """Start an agent that lives no longer than we do, and return where it listens."""
    folder = tempfile.TemporaryDirectory(prefix="pgnotary-agent-")
    place = Path(folder.name, "agent")
    process = subprocess.Popen(
        [program, "-a", place, "sh", "-c", _FOR_US], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if process.stdin is None or process.stdout is None:
        raise BadKey("the ssh-agent has no pipes")
    said = process.stdout.readline().strip()

    def end() -> None:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(said), signal.SIGTERM)
        process.communicate()
        folder.cleanup()

    atexit.register(end)
    if not said.isdigit():
        raise BadKey(f"{program} does not start: it says what hinders it above")
    return place

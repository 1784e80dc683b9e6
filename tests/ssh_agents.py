"""Agents for tests: OpenSSH's own, and one that answers whatever a test wants."""

import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

__all__ = ["framed", "needs_openssh", "odd_agent", "protect", "stock_agent"]

needs_openssh = pytest.mark.skipif(
    not all(shutil.which(name) for name in ("ssh-agent", "ssh-add", "ssh-keygen")),
    reason="needs OpenSSH's ssh-agent, ssh-add and ssh-keygen",
)


@contextmanager
def stock_agent(*keys: Path) -> Iterator[Path]:
    """Run OpenSSH's agent with these keys, and lend its socket."""
    with TemporaryDirectory(prefix="pgnotary-") as folder:
        path = Path(folder, "agent")
        with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            running.stdout.readline()
            try:
                for key in keys:
                    environment = os.environ | {"SSH_AUTH_SOCK": str(path)}
                    subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True, stdin=subprocess.DEVNULL)
                yield path
            finally:
                running.terminate()


def framed(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


@contextmanager
def odd_agent(answer: Callable[[bytes], bytes]) -> Iterator[Path]:
    """Run an agent that answers each message with the bytes that `answer` makes of it, and hangs up."""
    with TemporaryDirectory(prefix="pgnotary-") as folder:
        path = Path(folder, "agent")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(str(path))
            listening.listen()

            def serve() -> None:
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        (length,) = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))
                        message = connection.recv(length, socket.MSG_WAITALL)
                        if message == b"end":
                            return
                        with suppress(BrokenPipeError):  # Whoever asked has had enough.
                            connection.sendall(answer(message))

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                yield path
            finally:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as last:
                    last.connect(str(path))
                    last.sendall(framed(b"end"))
                thread.join(10)


def protect(key: Path, passphrase: str) -> None:
    """Put a passphrase on a private key."""
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase, "-f", str(key)], check=True)

"""Signatures by keys in an ssh-agent: OpenSSH's own, and some that no honest agent gives."""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pgnotary.approval.ssh_agent import SshAgent, agent_at_hand
from pgnotary.errors import BadKey
from pgnotary.request import sshsig
from pgnotary.request.openssh import private_key_file, read_private_key
from pgnotary.request.ssh_encoding import pack, public_blob

SEED, OTHER = bytes(range(32)), bytes(range(1, 33))
PUBLIC, OTHERS = (read_private_key(private_key_file(seed, "", 1)).public for seed in (SEED, OTHER))
NAMESPACE = sshsig.DECISION_NAMESPACE


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[Path]:
    """The socket of OpenSSH's agent."""
    program = shutil.which("ssh-agent")
    if program is None:
        pytest.skip("OpenSSH's ssh-agent is not installed")
    path = tmp_path / "agent"
    process = subprocess.Popen([program, "-D", "-a", path], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # Printed once it listens.
        yield path
    finally:
        process.terminate()
        process.communicate()


def add(agent: Path, tmp_path: Path, text: str, *words: str) -> None:
    key = tmp_path / "key"
    key.write_text(text)
    key.chmod(0o600)
    subprocess.run(
        ["ssh-add", "-q", *words, key], env=os.environ | {"SSH_AUTH_SOCK": str(agent)}, check=True, capture_output=True
    )


def test_a_key_in_openssh_s_agent_signs(stock: Path, tmp_path: Path) -> None:
    assert SshAgent(stock).keys() == []
    add(stock, tmp_path, private_key_file(SEED, "ana at home", 7))
    (key,) = SshAgent(stock).keys()
    assert (key.public, key.comment) == (PUBLIC, "ana at home")
    armored = key.sign(b"what is signed", NAMESPACE)
    assert sshsig.verify(armored, b"what is signed", NAMESPACE) == PUBLIC
    # Ed25519 is deterministic: nobody can tell by which way it was signed.
    assert armored == sshsig.sign(b"what is signed", SEED, NAMESPACE)


def test_keys_of_other_types_are_passed_over(stock: Path, tmp_path: Path) -> None:
    made = subprocess.run(
        ["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "ecdsa"], check=True, capture_output=True
    )
    assert made.returncode == 0
    add(stock, tmp_path, (tmp_path / "ecdsa").read_text())
    assert SshAgent(stock).keys() == []


def test_a_key_that_is_not_there_is_said(stock: Path) -> None:
    with pytest.raises(BadKey, match=r"refuses: it has no such key, or its owner has refused; `ssh-add -l`"):
        SshAgent(stock).sign(PUBLIC, b"x", NAMESPACE)


def test_a_locked_agent_has_no_keys_and_signs_nothing(stock: Path, tmp_path: Path) -> None:
    add(stock, tmp_path, private_key_file(SEED, "", 7))
    (key,) = SshAgent(stock).keys()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(stock))
        connection.sendall(pack(bytes([22]) + pack(b"secret")))
        assert connection.recv(5) == b"\0\0\0\1\6"
    assert SshAgent(stock).keys() == []
    with pytest.raises(BadKey, match="refuses"):
        key.sign(b"x", NAMESPACE)


def test_the_agent_at_hand_is_the_one_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert agent_at_hand() is None
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere/agent")
    with pytest.raises(BadKey, match=r"at /nowhere/agent cannot be asked: No such file or directory; SSH_AUTH_SOCK"):
        (agent_at_hand() or pytest.fail("none")).keys()


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Callable[[bytes], SshAgent]]:
    """An agent that gives one answer to whatever it is asked, then ends the connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "a"))
    listener.listen()
    threads: list[threading.Thread] = []

    def answer_with(answer: bytes) -> SshAgent:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return SshAgent(tmp_path / "a", patience_s=5)

    yield answer_with
    for thread in threads:
        thread.join()
    listener.close()


def signature(seed: bytes, message: bytes = b"x", namespace: str = NAMESPACE, kind: str = "ssh-ed25519") -> bytes:
    from nacl.signing import SigningKey

    made = SigningKey(seed).sign(sshsig.to_sign(message, namespace)).signature
    return pack(bytes([14]) + pack(pack(kind.encode(), made)))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (signature(OTHER), "that does not hold: the signature is wrong"),
        (signature(SEED, b"y"), "that does not hold: the signature is wrong"),
        (signature(SEED, namespace="redaction@pgnotary"), "that does not hold: the signature is wrong"),
        (signature(SEED, kind="ssh-rsa"), "that does not hold: the signature's type"),
        (pack(bytes([14]) + pack(b"")), "that does not hold"),
        (pack(bytes([14])), "cannot be read: cut short"),
        (pack(bytes([14]) + pack(b"x") + b"more"), "cannot be read: 4 bytes too many"),
        (pack(bytes([12]) + b"\0\0\0\0"), "of type 12, expected 14"),
        (b"\0\0\0\0", "answers with 0 bytes"),
        (b"\xff\xff\xff\xff", "answers with 4294967295 bytes"),
        (b"\0\0\0\x09\x0e", "has ended the connection before its answer"),
        (b"", "has ended the connection before its answer"),
    ],
)
def test_an_agent_that_lies_is_told_here(answering: Callable[[bytes], SshAgent], answer: bytes, why: str) -> None:
    with pytest.raises(BadKey, match=why):
        answering(answer).sign(PUBLIC, b"x", NAMESPACE)


def test_an_agent_that_claims_more_keys_than_it_lists_is_not_understood(
    answering: Callable[[bytes], SshAgent],
) -> None:
    listed = b"\xff\xff\xff\xff" + pack(public_blob(OTHERS), b"one")
    with pytest.raises(BadKey, match="cannot be read: cut short"):
        answering(pack(bytes([12]) + listed)).keys()


def test_an_agent_that_says_nothing_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "a"))
        listener.listen()
        with pytest.raises(BadKey, match=r"has not answered for 0\.05 s"):
            SshAgent(tmp_path / "a", patience_s=0.05).keys()


def test_an_agent_that_drips_its_answer_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    gone = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "a"))
        listener.listen()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall((1_000).to_bytes(4, "big"))
                while not gone.wait(0.05):
                    connection.sendall(b"\x0c")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(BadKey, match=r"has not answered for 0\.3 s"):
                SshAgent(tmp_path / "a", patience_s=0.3).keys()
        finally:
            gone.set()
            thread.join()

"""Keys that an ssh-agent holds: a message enters, a signature leaves, the private half never does.

Speaks the protocol of ssh-agent (draft-ietf-sshm-ssh-agent) over its Unix socket: which keys it has, and one signature
at a time. Nothing that it says is believed: its answers are bounded, and a signature is verified before it is handed
on, so that a wrong one is told here and not by the proxy.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pgnotary.errors import BadKey, BadSignature
from pgnotary.request import sshsig
from pgnotary.request.openssh import fingerprint
from pgnotary.request.ssh_encoding import Fields, Public, pack, public_blob, read_public_blob

__all__ = ["AgentKey", "SshAgent", "agent_at_hand"]

_FAILURE = 5
_REQUEST_IDENTITIES, _IDENTITIES_ANSWER = 11, 12
_SIGN_REQUEST, _SIGN_RESPONSE = 13, 14

# OpenSSH's own limit for a message of its agent.
_MAX_ANSWER_BYTES = 256 * 1024
# It may ask its owner first (ssh-add -c), or wait for a touch.
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class AgentKey:
    """An Ed25519 key in an agent, or one that an agent has a FIDO authenticator sign with."""

    agent: "SshAgent"
    public: Public
    comment: str = ""

    def sign(self, message: bytes, namespace: str) -> str:
        """Return the armored signature over `message`, good in `namespace` only; raises BadKey if there is none."""
        return self.agent.sign(self.public, message, namespace)


class SshAgent:
    """The agent whose socket is at `path`; each question is a connection of its own."""

    def __init__(self, path: Path, patience_s: float = _PATIENCE_S) -> None:
        self._path = path
        self._patience_s = patience_s

    def __str__(self) -> str:
        return str(self._path)

    def keys(self) -> list[AgentKey]:
        """Return its Ed25519 keys, in its order; those of other types are left out. Raises BadKey."""
        answer = self._asked(bytes([_REQUEST_IDENTITIES]), _IDENTITIES_ANSWER)
        with self._understood():
            found = []
            for _ in range(answer.uint32()):
                blob, comment = answer.string(), answer.string()
                try:
                    public = read_public_blob(blob)
                except BadKey:
                    continue
                found.append(AgentKey(self, public, comment.decode(errors="replace")))
            answer.end()
            return found

    def sign(self, public: Public, message: bytes, namespace: str) -> str:
        """Return the armored signature of one of its keys over `message`; raises BadKey if it gives none that holds."""
        key = public_blob(public)
        flags = 0
        asked = pack(key, sshsig.to_sign(message, namespace)) + flags.to_bytes(4, "big")
        answer = self._asked(bytes([_SIGN_REQUEST]) + asked, _SIGN_RESPONSE)
        with self._understood():
            signature = answer.string()
            answer.end()
        armored = sshsig.assembled(key, signature, namespace)
        try:
            if sshsig.verify(armored, message, namespace) != public:
                raise BadSignature("it is another key's")
        except BadSignature as error:
            why = f"the ssh-agent at {self} has given a signature by {fingerprint(public)} that does not hold: {error}"
            raise BadKey(why) from error
        return armored

    def _asked(self, question: bytes, expected: int) -> Fields:
        """Return what an answer of the type that is expected holds; raises BadKey."""
        deadline = time.monotonic() + self._patience_s
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self._patience_s)
                connection.connect(str(self._path))
                connection.sendall(pack(question))
                length = int.from_bytes(_exactly(connection, 4, deadline), "big")
                if not 1 <= length <= _MAX_ANSWER_BYTES:
                    raise BadKey(f"the ssh-agent at {self} answers with {length} bytes")
                answer = _exactly(connection, length, deadline)
        except TimeoutError as error:
            raise BadKey(f"the ssh-agent at {self} has not answered for {self._patience_s:g} s") from error
        except OSError as error:
            why = f"{error.strerror or error}; SSH_AUTH_SOCK says where it is"
            raise BadKey(f"the ssh-agent at {self} cannot be asked: {why}") from error
        if answer[0] == _FAILURE:
            what = "has no such key, or its owner has refused" if question[0] == _SIGN_REQUEST else "is locked"
            raise BadKey(f"the ssh-agent at {self} refuses: it {what}; `ssh-add -l` lists what it has")
        if answer[0] != expected:
            raise BadKey(f"the ssh-agent at {self} answers with a message of type {answer[0]}, expected {expected}")
        return Fields(answer[1:])

    @contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except BadKey as error:
            raise BadKey(f"the answer of the ssh-agent at {self} cannot be read: {error}") from error


def agent_at_hand() -> SshAgent | None:
    """Return the agent that SSH_AUTH_SOCK names, if it names one."""
    path = os.environ.get("SSH_AUTH_SOCK", "")
    return SshAgent(Path(path)) if path else None


def _exactly(connection: socket.socket, count: int, deadline: float) -> bytes:
    # Of the whole answer: one that drips keeps nobody waiting.
    got = bytearray()
    while len(got) < count:
        if (left := deadline - time.monotonic()) <= 0:
            raise TimeoutError
        connection.settimeout(left)
        piece = connection.recv(count - len(got))
        if not piece:
            raise ConnectionResetError("it has ended the connection before its answer")
        got += piece
    return bytes(got)

"""Who can sign: a key in a file, or one that never leaves an ssh-agent. No code.

A message and a namespace enter, an armored SSH signature leaves. Who asks never sees the private half.
"""

from typing import Protocol

from pgnotary.request.ssh_encoding import Public

__all__ = ["Signs"]


class Signs(Protocol):
    """An Ed25519 key at work, in a file, an agent or a FIDO authenticator."""

    @property
    def public(self) -> Public:
        """The public key."""
        ...

    def sign(self, message: bytes, namespace: str) -> str:
        """Return the armored signature (`pgnotary.request.sshsig`) over `message`, good in `namespace` only."""
        ...

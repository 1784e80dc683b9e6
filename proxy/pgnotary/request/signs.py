"""Who can sign: a key in a file, or one that never leaves an ssh-agent. No code.

A message and a namespace enter, an armored SSH signature leaves. Who asks never sees the private half.
"""

from typing import Protocol

__all__ = ["Signs"]


class Signs(Protocol):
    """An Ed25519 key at work."""

    @property
    def public(self) -> bytes:
        """The 32-byte public key."""
        ...

    def sign(self, message: bytes, namespace: str) -> str:
        """Return the armored signature (`pgnotary.request.sshsig`) over `message`, good in `namespace` only."""
        ...

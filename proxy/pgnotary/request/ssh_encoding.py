"""The binary fields of SSH: what keys and signatures are made of.

Bytes enter, fields leave, or BadKey; and the other way round. Follows RFC 4251 section 5, RFC 8709 for Ed25519 in SSH,
and PROTOCOL.u2f of OpenSSH for the keys that a FIDO authenticator keeps. Nothing here knows of files, armor, or who may
sign.

A public key is a `Public`: the 32 bytes of a plain one, or a `SecurityKey`. The two are never equal, have different
fingerprints and sign different bytes, so that neither passes for the other, though their points be the same.
"""

import re
from dataclasses import dataclass
from typing import TypeAlias

from pgnotary.errors import BadKey

__all__ = [
    "KEY_TYPE",
    "PUBLIC_BYTES",
    "SK_KEY_TYPE",
    "Fields",
    "Public",
    "SecurityKey",
    "check_type",
    "key_type",
    "pack",
    "public_blob",
    "read_public_blob",
]

KEY_TYPE = "ssh-ed25519"
SK_KEY_TYPE = "sk-ssh-ed25519@openssh.com"
PUBLIC_BYTES = 32

# As ssh-keygen demands it. Any other application may be that of a web site, which can have the key sign.
_APPLICATION = re.compile(r"ssh:[\x21-\x7e]{0,200}")


@dataclass(frozen=True, slots=True)
class SecurityKey:
    """The public half of an Ed25519 key that a FIDO authenticator keeps, and signs with at a touch."""

    public: bytes
    """32 bytes."""
    application: str
    """What it signs for, `ssh:` unless its owner chose more; part of its identity."""


Public: TypeAlias = bytes | SecurityKey
"""Who may have signed: a plain key's 32 bytes, or a security key."""


class Fields:
    """Reads the binary fields of RFC 4251 one after another; raises BadKey where they end too soon."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise BadKey(f"cut short: {count} bytes expected, {len(taken)} left")
        self._at += count
        return taken

    def uint32(self) -> int:
        """The next four bytes as a number."""
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        """The next bytes that carry their own length."""
        return self.take(self.uint32())

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        """Raise BadKey if anything is left."""
        if left := self.rest():
            raise BadKey(f"{len(left)} bytes too many")


def pack(*strings: bytes) -> bytes:
    """Each string behind its length, as RFC 4251 writes them."""
    return b"".join(len(each).to_bytes(4, "big") + each for each in strings)


def key_type(public: Public) -> str:
    """The name of the kind of key, as SSH writes it before each one."""
    return SK_KEY_TYPE if isinstance(public, SecurityKey) else KEY_TYPE


def public_blob(public: Public) -> bytes:
    """A public key as SSH writes it on the wire (RFC 8709 section 4, PROTOCOL.u2f)."""
    if isinstance(public, SecurityKey):
        _check_application(public.application)
        return pack(SK_KEY_TYPE.encode(), _checked(public.public), public.application.encode())
    return pack(KEY_TYPE.encode(), _checked(public))


def read_public_blob(blob: bytes) -> Public:
    """The public key in a blob; raises BadKey for another type of key."""
    fields = Fields(blob)
    kind = fields.string()
    check_type(kind)
    public = _checked(fields.string())
    if kind == KEY_TYPE.encode():
        fields.end()
        return public
    application = fields.string().decode(errors="replace")
    fields.end()
    _check_application(application)
    return SecurityKey(public, application)


def check_type(kind: bytes) -> None:
    """Raise BadKey for a type of key that is not ours."""
    if kind not in (KEY_TYPE.encode(), SK_KEY_TYPE.encode()):
        raise BadKey(
            f"a key of type {kind.decode(errors='replace')!r:.60}; only {KEY_TYPE} and {SK_KEY_TYPE} are supported"
        )


def _checked(public: bytes) -> bytes:
    if len(public) != PUBLIC_BYTES:
        raise BadKey(f"an Ed25519 public key has {PUBLIC_BYTES} bytes, not {len(public)}")
    return public


def _check_application(application: str) -> None:
    if not _APPLICATION.fullmatch(application):
        raise BadKey(
            f"a security key for the application {application!r:.60}, expected ssh: and no more than 200 printable ones"
        )

"""A FIDO authenticator made of software: a seed enters, what a touch of the real thing would sign leaves.

Written from PROTOCOL.u2f and PROTOCOL.sshsig of OpenSSH, not from what is tested. It does what no authenticator does
as well: it signs without a touch, and puts other things into the blob than it signed.
"""

import base64
import hashlib

from nacl.signing import SigningKey

from pgnotary.request.ssh_encoding import SecurityKey

__all__ = ["APPLICATION", "armor", "security_key", "sk_blob", "string", "touch", "wrapped"]

APPLICATION = "ssh:"
_KIND = b"sk-ssh-ed25519@openssh.com"


def string(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def security_key(seed: bytes, application: str = APPLICATION) -> SecurityKey:
    return SecurityKey(bytes(SigningKey(seed).verify_key), application)


def sk_blob(seed: bytes, application: str = APPLICATION) -> bytes:
    return string(_KIND) + string(bytes(SigningKey(seed).verify_key)) + string(application.encode())


def wrapped(message: bytes, namespace: str) -> bytes:
    """What SSHSIG has a key sign."""
    hashed = hashlib.sha512(message).digest()
    return b"SSHSIG" + string(namespace.encode()) + string(b"") + string(b"sha512") + string(hashed)


def touch(
    message: bytes,
    seed: bytes,
    namespace: str,
    *,
    application: str = APPLICATION,
    flags: int = 0x01,
    counter: int = 7,
    said_application: str | None = None,
    said_flags: int | None = None,
    said_counter: int | None = None,
    kind: bytes = _KIND,
    key: bytes | None = None,
    behind: bytes = b"",
) -> str:
    """The armored signature; `said_...` stands in the blob and was not signed."""
    hashed = hashlib.sha256(wrapped(message, namespace)).digest()
    signed = hashlib.sha256(application.encode()).digest() + bytes([flags]) + counter.to_bytes(4, "big") + hashed
    raw = SigningKey(seed).sign(signed).signature
    flags = flags if said_flags is None else said_flags
    counter = counter if said_counter is None else said_counter
    inner = string(kind) + string(raw) + bytes([flags]) + counter.to_bytes(4, "big") + behind
    application = application if said_application is None else said_application
    return armor(sk_blob(seed, application) if key is None else key, namespace, inner)


def armor(key: bytes, namespace: str, inner: bytes) -> str:
    blob = b"SSHSIG\0\0\0\1" + string(key) + string(namespace.encode()) + string(b"") + string(b"sha512")
    text = base64.b64encode(blob + string(inner)).decode()
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])

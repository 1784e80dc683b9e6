"""SSH signatures: how an approver signs a decision, and how everybody checks it.

A message, a seed and a namespace enter `sign`, an armored text leaves; the text, the message and the namespace
enter `verify`, the public key that made it leaves, or BadSignature. Whether that key may sign is the roster's
question, not this module's. Follows PROTOCOL.sshsig of OpenSSH, version 1, with Ed25519 and SHA-512 only:
`ssh-keygen -Y verify` accepts what is signed here and `ssh-keygen -Y sign` makes what is accepted here. Parsing is
strict, so one signature has one blob: nothing may stand before, behind or between what the format names.

A key that a FIDO authenticator keeps signs other bytes (PROTOCOL.u2f, "SSH U2F signatures"): the hash of its
application, flags, a counter and the hash of the message. One made without a touch is refused, which ssh-keygen
leaves to its caller. Its counter is signed, and not compared: nobody keeps the last one.
"""

import re
from dataclasses import dataclass
from hashlib import sha256, sha512

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from pgnotary.errors import BadKey, BadSignature, NotCanonical
from pgnotary.ledger.canonical import b64, unb64
from pgnotary.request.ssh_encoding import (
    KEY_TYPE,
    Fields,
    Public,
    SecurityKey,
    key_type,
    pack,
    public_blob,
    read_public_blob,
)

__all__ = [
    "DECISION_NAMESPACE",
    "MAX_ARMORED_CHARS",
    "REDACTION_NAMESPACE",
    "REQUEST_NAMESPACE",
    "armor",
    "assembled",
    "bare",
    "claimed_key",
    "sign",
    "to_sign",
    "verify",
]

# What is signed for one purpose must not pass for another: the namespace is part of the signed bytes.
DECISION_NAMESPACE = "decision@pgnotary"
REDACTION_NAMESPACE = "redaction@pgnotary"
REQUEST_NAMESPACE = "request@pgnotary"
"""Of calls of the approval API."""

# An Ed25519 signature takes about 300; the rest is room for a long namespace.
MAX_ARMORED_CHARS = 4_096

_MAGIC = b"SSHSIG"
_VERSION = 1
_HASH = b"sha512"
_RESERVED = b""
_SIGNATURE_BYTES = 64

# Web Authentication, section 6.1: somebody touched it; what follows the counter, which SSH has no place for.
_USER_PRESENT = 0x01
_MORE_FOLLOWS = 0x40 | 0x80

# sshsig_armor of OpenSSH writes 70 characters a line; PROTOCOL.sshsig speaks of 76.
_WIDTH = 70
_ARMOR = re.compile(r"-----BEGIN SSH SIGNATURE-----\n((?:[A-Za-z0-9+/=]{1,76}\n)+)-----END SSH SIGNATURE-----\n?")


@dataclass(frozen=True, slots=True)
class _Signature:
    """What a blob says, which may be wrong."""

    public: Public
    namespace: bytes
    raw: bytes
    flags: bytes = b""
    """One byte, of a security key; and so is the counter's four."""
    counter: bytes = b""

    def signed(self, message: bytes) -> tuple[VerifyKey, bytes]:
        """The Ed25519 key, and the bytes that its signature must be over."""
        if not isinstance(self.public, SecurityKey):
            return VerifyKey(self.public), message
        application = sha256(self.public.application.encode()).digest()
        return VerifyKey(self.public.public), application + self.flags + self.counter + sha256(message).digest()


def sign(message: bytes, seed: bytes, namespace: str) -> str:
    """The armored signature over `message` by the key with this 32-byte seed, good in `namespace` only."""
    key = SigningKey(seed)
    signature = key.sign(to_sign(message, namespace)).signature
    return assembled(public_blob(bytes(key.verify_key)), pack(KEY_TYPE.encode(), signature), namespace)


def assembled(key: bytes, signature: bytes, namespace: str) -> str:
    """The armored text of a signature: the blobs of a public key and of what it signed, as an ssh-agent gives them."""
    fields = pack(key, namespace.encode(), _RESERVED, _HASH, signature)
    return armor(b64(_MAGIC + _VERSION.to_bytes(4, "big") + fields))


def armor(text: str) -> str:
    """The base64 of a signature as ssh-keygen writes it into a file."""
    lines = [text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def bare(armored: str) -> str:
    """The base64 of an armored signature in one line; raises BadSignature if it is none."""
    found = _ARMOR.fullmatch(armored) if len(armored) <= MAX_ARMORED_CHARS else None
    if not found:
        raise BadSignature("not an armored SSH signature: expected what ssh-keygen -Y sign writes, and no more")
    return found[1].replace("\n", "")


def verify(armored: str, message: bytes, namespace: str) -> Public:
    """The public key that signed exactly `message` in `namespace`; raises BadSignature otherwise."""
    found = _read(armored)
    if found.namespace != namespace.encode():
        raise BadSignature(
            f"the signature is for namespace {found.namespace.decode(errors='replace')!r:.60}, expected {namespace!r}"
        )
    try:
        key, signed = found.signed(to_sign(message, namespace))
        key.verify(signed, found.raw)
    except BadSignatureError as error:
        raise BadSignature("the signature is wrong: it was not made over these bytes by this key") from error
    return found.public


def claimed_key(armored: str) -> Public:
    """The public key that a signature names; nothing says yet that it was made by it."""
    return _read(armored).public


def _read(armored: str) -> _Signature:
    try:
        return _parse(unb64(bare(armored)))
    except (BadKey, NotCanonical) as error:
        raise BadSignature(f"the signature cannot be read: {error}") from error


def to_sign(message: bytes, namespace: str) -> bytes:
    """The bytes that are really signed for a message (PROTOCOL.sshsig section 3)."""
    if not namespace:
        raise ValueError("a namespace must not be empty")
    return _MAGIC + pack(namespace.encode(), _RESERVED, _HASH, sha512(message).digest())


def _parse(blob: bytes) -> _Signature:
    """What is written in a blob (PROTOCOL.sshsig section 2)."""
    fields = Fields(blob)
    if fields.take(len(_MAGIC)) != _MAGIC:
        raise BadSignature("not an SSH signature: it does not begin with SSHSIG")
    if (version := fields.uint32()) != _VERSION:
        raise BadSignature(f"an SSH signature of version {version}, expected {_VERSION}")
    public = read_public_blob(fields.string())
    namespace, reserved, hashed_with = fields.string(), fields.string(), fields.string()
    # PROTOCOL.sshsig lets readers ignore what is reserved; nobody we know writes it, and it would be signed unread.
    if reserved:
        raise BadSignature("the reserved field of the signature is not empty")
    if hashed_with != _HASH:
        raise BadSignature(f"the message was hashed with {hashed_with.decode(errors='replace')!r:.60}, not sha512")
    inner = Fields(fields.string())
    fields.end()
    if inner.string() != key_type(public).encode():
        raise BadSignature(f"the signature's type is not {key_type(public)}, as its key's is")
    signature = inner.string()
    if len(signature) != _SIGNATURE_BYTES:
        raise BadSignature(f"an Ed25519 signature has {_SIGNATURE_BYTES} bytes, not {len(signature)}")
    flags, counter = (inner.take(1), inner.take(4)) if isinstance(public, SecurityKey) else (b"", b"")
    inner.end()
    if flags:
        _check_flags(flags[0])
    return _Signature(public, namespace, signature, flags, counter)


def _check_flags(flags: int) -> None:
    if not flags & _USER_PRESENT:
        raise BadSignature(
            f"nobody touched the security key: its flags are 0x{flags:02x}, without user presence (0x01)"
        )
    if flags & _MORE_FOLLOWS:
        raise BadSignature(f"the security key signed more than SSH has a place for: its flags are 0x{flags:02x}")

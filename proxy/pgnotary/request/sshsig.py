"""SSH signatures: how an approver signs a decision, and how everybody checks it.

A message, a seed and a namespace enter `sign`, an armored text leaves; the text, the message and the namespace
enter `verify`, the public key that made it leaves, or BadSignature. Whether that key may sign is the roster's
question, not this module's. Follows PROTOCOL.sshsig of OpenSSH, version 1, with Ed25519 and SHA-512 only:
`ssh-keygen -Y verify` accepts what is signed here and `ssh-keygen -Y sign` makes what is accepted here. Parsing is
strict, so one signature has one blob: nothing may stand before, behind or between what the format names.
"""

import re
from hashlib import sha512

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from pgnotary.errors import BadKey, BadSignature, NotCanonical
from pgnotary.ledger.canonical import b64, unb64
from pgnotary.request.ssh_encoding import KEY_TYPE, Fields, pack, public_blob, read_public_blob

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

# sshsig_armor of OpenSSH writes 70 characters a line; PROTOCOL.sshsig speaks of 76.
_WIDTH = 70
_ARMOR = re.compile(r"-----BEGIN SSH SIGNATURE-----\n((?:[A-Za-z0-9+/=]{1,76}\n)+)-----END SSH SIGNATURE-----\n?")


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


def verify(armored: str, message: bytes, namespace: str) -> bytes:
    """The 32-byte public key that signed exactly `message` in `namespace`; raises BadSignature otherwise."""
    public, claimed, signature = _read(armored)
    if claimed != namespace.encode():
        raise BadSignature(
            f"the signature is for namespace {claimed.decode(errors='replace')!r:.60}, expected {namespace!r}"
        )
    try:
        VerifyKey(public).verify(to_sign(message, namespace), signature)
    except BadSignatureError as error:
        raise BadSignature("the signature is wrong: it was not made over these bytes by this key") from error
    return public


def claimed_key(armored: str) -> bytes:
    """The 32-byte public key that a signature names; nothing says yet that it was made by it."""
    return _read(armored)[0]


def _read(armored: str) -> tuple[bytes, bytes, bytes]:
    try:
        return _parse(unb64(bare(armored)))
    except (BadKey, NotCanonical) as error:
        raise BadSignature(f"the signature cannot be read: {error}") from error


def to_sign(message: bytes, namespace: str) -> bytes:
    """The bytes that are really signed for a message (PROTOCOL.sshsig section 3)."""
    if not namespace:
        raise ValueError("a namespace must not be empty")
    return _MAGIC + pack(namespace.encode(), _RESERVED, _HASH, sha512(message).digest())


def _parse(blob: bytes) -> tuple[bytes, bytes, bytes]:
    """Public key, namespace and raw signature (PROTOCOL.sshsig section 2)."""
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
    if inner.string() != KEY_TYPE.encode():
        raise BadSignature(f"the signature's type is not {KEY_TYPE}, as its key's is")
    signature = inner.string()
    inner.end()
    if len(signature) != _SIGNATURE_BYTES:
        raise BadSignature(f"an Ed25519 signature has {_SIGNATURE_BYTES} bytes, not {len(signature)}")
    return public, namespace, signature

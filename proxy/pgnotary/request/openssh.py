"""OpenSSH's Ed25519 keys: private key files, public key lines, fingerprints.

Raw 32-byte seeds and public keys enter, the texts that `ssh-keygen` writes leave; the same texts enter and keys
leave, or BadKey says what was found instead. Follows PROTOCOL.key of OpenSSH, RFC 8709 for Ed25519 in SSH,
PROTOCOL.u2f for the keys that a FIDO authenticator keeps, and RFC 4251 section 5 for the binary fields. Only
unencrypted private keys can be read: passphrases are ssh-agent's and ssh-keygen's business, and a key in an
authenticator never leaves it. A seed never appears in a message or a repr.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from nacl.signing import SigningKey

from pgnotary.errors import BadKey, KeyLocked, NotCanonical
from pgnotary.ledger.canonical import b64, unb64
from pgnotary.request import sshsig
from pgnotary.request.ssh_encoding import (
    KEY_TYPE,
    Fields,
    Public,
    SecurityKey,
    check_type,
    key_type,
    pack,
    public_blob,
    read_public_blob,
)

__all__ = [
    "SEED_BYTES",
    "PrivateKey",
    "PublicKey",
    "fingerprint",
    "private_key_file",
    "public_line",
    "read_private_key",
    "read_public_line",
]

SEED_BYTES = 32

_BEGIN = "-----BEGIN OPENSSH PRIVATE KEY-----"
_END = "-----END OPENSSH PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"

# PROTOCOL.key section 3: the padding fills a cipher block, and the cipher "none" counts as 8 bytes wide.
_BLOCK_BYTES = 8
_PADDING = bytes(range(1, _BLOCK_BYTES))

# sshbuf_dtob64 of OpenSSH, so that our files look like ssh-keygen's own.
_ARMOR_WIDTH = 70

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key, and the comment that came with it (often empty)."""

    public: Public
    comment: str = ""


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An Ed25519 key that can sign: its 32-byte seed, the public key that follows from it, its comment."""

    seed: bytes = field(repr=False)
    public: bytes
    comment: str = ""

    def sign(self, message: bytes, namespace: str) -> str:
        """The armored signature over `message`, good in `namespace` only."""
        return sshsig.sign(message, self.seed, namespace)


def public_line(public: Public, comment: str = "") -> str:
    """The key as in a `.pub` file, without the newline."""
    _check_comment(comment)
    return " ".join([key_type(public), b64(public_blob(public)), *([comment] if comment else [])])


def read_public_line(text: str) -> PublicKey:
    """The key in the text of a `.pub` file: one line, type, base64 and a comment; raises BadKey."""
    line = text.strip(" \t\r\n")
    if "PRIVATE KEY" in line:
        raise BadKey("this is a private key; the public one is expected, usually beside it with the suffix .pub")
    kind, _, rest = line.replace("\t", " ").partition(" ")
    encoded, _, comment = rest.lstrip(" ").partition(" ")
    comment = comment.strip(" ")
    check_type(kind.encode(errors="replace"))
    _check_comment(comment)
    try:
        public = read_public_blob(unb64(encoded))
    except (NotCanonical, BadKey) as error:
        raise BadKey(f"the public key cannot be read: {error}") from error
    if key_type(public) != kind:
        raise BadKey(f"the line says {kind}, its key is a {key_type(public)}")
    return PublicKey(public, comment)


def fingerprint(public: Public) -> str:
    """The key's name among people, as `ssh-keygen -l` prints it: `SHA256:` and unpadded base64."""
    return "SHA256:" + b64(sha256(public_blob(public)).digest()).rstrip("=")


def private_key_file(seed: bytes, comment: str, checkint: int) -> str:
    """The text of an unencrypted private key file for a 32-byte seed; keep it readable by its owner alone.

    `checkint` is any 32-bit number; OpenSSH draws it at random to notice a wrong passphrase.
    """
    _check_comment(comment)
    public = _public_of(seed)
    private = checkint.to_bytes(4, "big") * 2 + pack(KEY_TYPE.encode(), public, seed + public) + pack(comment.encode())
    private += _PADDING[: -len(private) % _BLOCK_BYTES]
    keys = 1
    blob = _MAGIC + pack(b"none", b"none", b"") + keys.to_bytes(4, "big") + pack(public_blob(public), private)
    return "\n".join([_BEGIN, *_wrapped(b64(blob)), _END, ""])


def read_private_key(text: str) -> PrivateKey:
    """The key in the text of a private key file; raises BadKey for anything we cannot sign with, saying why."""
    lines = [line.strip() for line in text.strip().split("\n")]
    if lines[0] != _BEGIN or lines[-1] != _END:
        raise BadKey(_what_it_is_instead(lines[0]))
    try:
        return _read_private_blob(unb64("".join(lines[1:-1])))
    except NotCanonical as error:
        raise BadKey(f"the private key cannot be read: {error}") from error


def _read_private_blob(blob: bytes) -> PrivateKey:
    fields = Fields(blob)
    if fields.take(len(_MAGIC)) != _MAGIC:
        raise BadKey("the private key cannot be read: not in OpenSSH's version 1 format")
    cipher, kdf, options = fields.string(), fields.string(), fields.string()
    if fields.uint32() != 1:
        raise BadKey("the private key file holds several keys, expected one")
    listed = fields.string()
    # Before the passphrase: someone with another type of key should not be told to remove it first.
    public = read_public_blob(listed)
    if isinstance(public, SecurityKey):
        raise BadKey(
            "the file holds no private key but names one in a FIDO authenticator: sign with ssh-keygen -Y sign"
        )
    if cipher != b"none":
        raise KeyLocked(
            "the private key is protected by a passphrase: ssh-add gives it to an agent, which signs with it", listed
        )
    if kdf != b"none" or options:
        raise BadKey("the private key is not encrypted, yet names a key derivation")
    private = Fields(fields.string())
    fields.end()
    if private.uint32() != private.uint32():
        raise BadKey("the private key is damaged: its two check numbers differ")
    if private.string() != KEY_TYPE.encode():
        raise BadKey("the private key is damaged: it is of another type than its public half")
    again, pair, comment = private.string(), private.string(), private.string()
    padding = private.rest()
    if padding != _PADDING[: len(padding)]:
        raise BadKey("the private key is damaged: its padding is wrong")
    seed = pair[:SEED_BYTES]
    if len(seed) != SEED_BYTES or _public_of(seed) != public or again != public or pair[SEED_BYTES:] != public:
        raise BadKey("the private key is damaged: its private and public halves do not belong together")
    return PrivateKey(seed, public, comment.decode(errors="replace"))


def _public_of(seed: bytes) -> bytes:
    if len(seed) != SEED_BYTES:
        raise BadKey(f"an Ed25519 seed has {SEED_BYTES} bytes, not {len(seed)}")
    return bytes(SigningKey(seed).verify_key)


def _what_it_is_instead(first_line: str) -> str:
    if first_line.startswith(("ssh-", "ecdsa-", "sk-")):
        return "this is a public key; the private one is expected, usually beside it without the suffix .pub"
    if first_line == _BEGIN:
        return "the private key is cut short: its last line is missing"
    if first_line.startswith("-----BEGIN ") and first_line.endswith("PRIVATE KEY-----"):
        return (
            f"the private key is in the format {first_line[11:-5]}; expected OpenSSH's: ssh-keygen -t ed25519 makes it"
        )
    return f"not a private key: it does not begin with {_BEGIN}"


def _check_comment(comment: str) -> None:
    # A newline in a comment would be another line, and so another key, in the file that it is pasted into.
    if _CONTROL.search(comment) or comment != comment.strip():
        raise BadKey(f"a key's comment is one line of text without spaces around it, not {comment!r:.60}")


def _wrapped(text: str) -> Iterable[str]:
    return (text[at : at + _ARMOR_WIDTH] for at in range(0, len(text), _ARMOR_WIDTH))

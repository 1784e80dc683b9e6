"""The file that holds the proxy's signing key, in the form that the transparency-log field uses.

A name and a 32-byte Ed25519 seed enter `skey`, one line leaves; the line enters `parse_skey`, a `SigningKeyFile`
leaves or BadCheckpoint. The form is the one of golang.org/x/mod/sumdb/note: `PRIVATE+KEY+<name>+<key id>+<base64(0x01
|| seed)>`. Nothing here ever says what the seed is in an error.
"""

from dataclasses import dataclass

from nacl.signing import SigningKey

from pgnotary.errors import BadCheckpoint, NotCanonical
from pgnotary.ledger.canonical import b64, unb64
from pgnotary.ledger.checkpoint import NoteKey

__all__ = ["SigningKeyFile", "parse_skey", "skey"]

_PREFIX = "PRIVATE+KEY+"
_ED25519 = b"\x01"


@dataclass(frozen=True, slots=True, repr=False)
class SigningKeyFile:
    """A name and the seed that signs under it."""

    name: str
    seed: bytes

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return bytes(SigningKey(self.seed).verify_key)

    def __repr__(self) -> str:
        return f"SigningKeyFile({self.name!r})"


def skey(name: str, seed: bytes) -> str:
    """Return the line that a key file holds, without its newline."""
    key_id = NoteKey(name, bytes(SigningKey(seed).verify_key)).key_id
    return f"{_PREFIX}{name}+{key_id.hex()}+{b64(_ED25519 + seed)}"


def parse_skey(text: str) -> SigningKeyFile:
    """Read a key file."""
    line = text.strip()
    name, _, rest = line.removeprefix(_PREFIX).partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        decoded = unb64(encoded)
    except NotCanonical as error:
        raise BadCheckpoint("not a signing key: its last part is not base64") from error
    if not line.startswith(_PREFIX) or decoded[:1] != _ED25519 or len(decoded) != 33:
        raise BadCheckpoint(f"not an Ed25519 signing key: expected one line that begins with {_PREFIX}")
    found = SigningKeyFile(name, decoded[1:])
    if NoteKey(name, found.public).key_id.hex() != key_id:
        raise BadCheckpoint(f"the key id in the signing key of {name} is not that of its name and key")
    return found

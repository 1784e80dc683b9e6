"""Checkpoints: the ledger's size and root as a note under the proxy's Ed25519 key, and how anyone checks one.

A checkpoint and a seed enter `sign`, a text leaves; a text and a verifier key enter `verify`, a checkpoint
leaves or BadCheckpoint. The formats are C2SP's signed-note (https://c2sp.org/signed-note) and tlog-checkpoint
(https://c2sp.org/tlog-checkpoint), without extension lines, so existing log tools and witnesses read them.
A note is refused unless the key asked for signed it; what other keys say is ignored, and nothing in it is
believed before that.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from pgnotary.errors import BadCheckpoint, NotCanonical
from pgnotary.ledger.canonical import b64, unb64
from pgnotary.ledger.tree import EMPTY_ROOT, HASH_BYTES

__all__ = [
    "MAX_NOTE_BYTES",
    "Checkpoint",
    "NoteKey",
    "claimed_size",
    "open_note",
    "parse_vkey",
    "sign",
    "verify",
    "vkey",
]

# Room for well over the 16 signatures that signed-note asks verifiers to accept, post-quantum ones included.
MAX_NOTE_BYTES = 131_072

# signed-note, "Signature types": 0x01 is Ed25519 over the note's text.
_ED25519 = b"\x01"
_KEY_ID_BYTES = 4
_PUBLIC_BYTES = 32

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIGNATURE = re.compile(r"\u2014 (?P<name>[^ ]+) (?P<value>[^ ]+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log claims: `root` is the tree's root over the first `size` entries of the log `origin`."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{b64(self.root)}\n"


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A name and the Ed25519 public key whose signatures under that name are believed."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that say which key to try; a hint that anyone can imitate, never evidence."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_KEY_ID_BYTES]

    @property
    def text(self) -> str:
        """The key as auditors pin it: `name+key id+base64`."""
        return f"{self.name}+{self.key_id.hex()}+{b64(_ED25519 + self.public)}"


def vkey(name: str, public: bytes) -> str:
    """The verifier key, one line without its newline, for a 32-byte Ed25519 public key."""
    _check_name(name)
    if len(public) != _PUBLIC_BYTES:
        raise BadCheckpoint(f"an Ed25519 public key has {_PUBLIC_BYTES} bytes, not {len(public)}")
    return NoteKey(name, public).text


def parse_vkey(text: str) -> NoteKey:
    """The key that `vkey` writes as `text`; raises BadCheckpoint for any other kind or a wrong id."""
    # The base64 may hold a "+" of its own; the name may not.
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    _check_name(name)
    try:
        decoded = unb64(encoded)
    except NotCanonical as error:
        raise BadCheckpoint(f"the verifier key of {name} is {error}") from error
    if decoded[:1] != _ED25519 or len(decoded) != 1 + _PUBLIC_BYTES:
        raise BadCheckpoint(f"the verifier key of {name} is not an Ed25519 key")
    key = NoteKey(name, decoded[1:])
    if key_id != key.key_id.hex():
        raise BadCheckpoint(f"the key id of {name} is {key.key_id.hex()}, not {key_id!r:.20}")
    return key


def sign(checkpoint: Checkpoint, name: str, seed: bytes) -> str:
    """The checkpoint as a note signed under `name` with a 32-byte Ed25519 seed.

    Raises BadCheckpoint for what is not one. It cannot know what was signed before: the caller makes sure
    that no two checkpoints of one origin contradict each other, and that what they cover is durable.
    """
    _check_name(name)
    text = checkpoint.text
    _check_characters(text)
    _parse(text)
    key, key_id = _signer(name, seed)
    signature = key.sign(text.encode()).signature
    return f"{text}\n\u2014 {name} {b64(key_id + signature)}\n"


@lru_cache(maxsize=4)
def _signer(name: str, seed: bytes) -> tuple[SigningKey, bytes]:
    """A key and its id; a proxy signs with one key for each COMMIT, and deriving it takes as long as signing."""
    key = SigningKey(seed)
    return key, NoteKey(name, bytes(key.verify_key)).key_id


def claimed_size(note: str) -> int:
    """The size that a note's text claims, not yet believed, or -1 if it claims none."""
    size = note.split("\n", 2)[1:2]
    return int(size[0]) if size and size[0].isascii() and size[0].isdigit() and len(size[0]) < 20 else -1


def verify(note: str, vkey: str) -> Checkpoint:
    """The checkpoint in `note`, once the key `vkey` has been seen to have signed it.

    Raises BadCheckpoint. Whether the origin is the log one wanted is for the caller to compare.
    """
    return _parse(open_note(note, vkey))


def open_note(note: str, vkey: str) -> str:
    """The text of a signed note, ending in a newline, once the key `vkey` has been seen to have signed it.

    Signatures by other keys are ignored, as signed-note demands; one that claims to be by this key and is
    wrong spoils the whole note. Raises BadCheckpoint.
    """
    key = parse_vkey(vkey)
    _check_characters(note)
    body, blank, tail = note.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise BadCheckpoint("not a signed note: expected a text, an empty line and signature lines")
    text = body + "\n"
    signatures = [_signature(line) for line in tail[:-1].split("\n")]
    ours = [value for name, key_id, value in signatures if (name, key_id) == (key.name, key.key_id)]
    if not ours:
        raise BadCheckpoint(f"no signature by {key.name}+{key.key_id.hex()} on this note")
    for value in ours:
        try:
            VerifyKey(key.public).verify(text.encode(), value)
        # ValueError: a signature that has not 64 bytes.
        except (BadSignatureError, ValueError) as error:
            raise BadCheckpoint(f"wrong signature by {key.name}: the note was changed or forged") from error
    return text


def _signature(line: str) -> tuple[str, bytes, bytes]:
    """Name, key id and signature of a note's signature line."""
    found = _SIGNATURE.fullmatch(line)
    if not found:
        raise BadCheckpoint(f"not a signature line: {line!r:.60}")
    _check_name(found["name"])
    try:
        value = unb64(found["value"])
    except NotCanonical as error:
        raise BadCheckpoint(f"the signature by {found['name']} is {error}") from error
    if len(value) <= _KEY_ID_BYTES:
        raise BadCheckpoint(f"the signature by {found['name']} is too short")
    return found["name"], value[:_KEY_ID_BYTES], value[_KEY_ID_BYTES:]


def _parse(text: str) -> Checkpoint:
    """The checkpoint that a note's text spells."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise BadCheckpoint(f"expected three lines (origin, size, root), found {len(lines) - 1}")
    origin, size, encoded, _ = lines
    if not origin:
        raise BadCheckpoint("the origin is empty")
    if not _SIZE.fullmatch(size):
        raise BadCheckpoint(f"not a tree size: {size!r:.40}")
    try:
        root = unb64(encoded)
    except NotCanonical as error:
        raise BadCheckpoint(f"the root is {error}") from error
    if len(root) != HASH_BYTES:
        raise BadCheckpoint(f"a root has {HASH_BYTES} bytes, not {len(root)}")
    if size == "0" and root != EMPTY_ROOT:
        raise BadCheckpoint("a root of nothing that is not the empty tree's")
    return Checkpoint(origin, int(size), root)


def _check_name(name: str) -> None:
    # signed-note, "Format": non-empty, no Unicode spaces, no plus.
    if not name or "+" in name or any(each.isspace() for each in name):
        raise BadCheckpoint(f"not a key name: {name!r:.60} (it has no spaces and no plus)")
    _check_characters(name)


def _check_characters(text: str) -> None:
    """Refuse what no note may hold: control characters except newline, what is not UTF-8, endless text."""
    if _CONTROL.search(text):
        raise BadCheckpoint("a control character in a note")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadCheckpoint("a note that is not UTF-8") from error
    if size > MAX_NOTE_BYTES:
        raise BadCheckpoint(f"a note of {size} bytes, expected at most {MAX_NOTE_BYTES}")

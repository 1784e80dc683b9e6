"""Proof of misbehaviour: two heads under one key that cannot both be of one ledger that only grows.

Two signed notes enter, with a consistency proof if there is one, and a document leaves; a document and, if at hand, the
key enter, and what it shows leaves. Whoever reads it needs nothing else: no ledger, no proxy, no word of the finder's.
The document is canonical JSON:

    v            "pgnotary/misbehaviour/1"
    key          the verifier key under which both notes are
    remembered   the note that was seen first
    shown        the note that was shown later, or the newest one of the ledger that was checked
    found_at     when, by the finder's clock; nothing depends on it
    older_root, consistency   if there are any: another root (hex) over as many entries as the shorter note covers, and
                 the proof (base64, as in RFC 9162) that leads from there to the root of the longer one

It is a proof if both notes are signed, and
    1. both are over the same number of entries, and their roots differ; or
    2. `consistency` leads from `older_root` to the root of the longer note, and `older_root` is not the root of the
       shorter one: then the longer note's own entries begin otherwise than those that the shorter note covers.
Otherwise it is only evidence: the notes are genuine; that the shorter one was shown later, or that no proof led from
the shorter to the longer one, is the finder's word. A ledger with all entries of the longer note decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pgnotary.errors import BadCheckpoint, BadProof, NotCanonical
from pgnotary.ledger.canonical import JSON, b64, decode, encode, parse_timestamp, timestamp, unb64
from pgnotary.ledger.checkpoint import Checkpoint, parse_vkey, verify
from pgnotary.ledger.tree import verify_consistency

__all__ = ["MAX_PROOF_BYTES", "MISBEHAVIOUR_FORMAT", "Misbehaviour", "document", "examine"]

MISBEHAVIOUR_FORMAT = "pgnotary/misbehaviour/1"
# Two notes of the greatest length, and 128 hashes.
MAX_PROOF_BYTES = 512 << 10

_FIELDS = frozenset({"v", "key", "remembered", "shown", "found_at"})
_OF_PROOF = frozenset({"older_root", "consistency"})


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """What a document shows."""

    remembered: Checkpoint
    shown: Checkpoint
    key: str
    proven: bool
    """Whether the document shows by itself that the key's holder has signed two histories."""

    @property
    def words(self) -> str:
        """What it shows, in one line."""
        one, two = self.remembered, self.shown
        if one.size == two.size:
            roots = f"{_short(one)}, {_short(two)}"
            return f"two roots of {one.origin} for the same {one.size} entries, both signed: {roots}"
        short, long = sorted((one, two), key=lambda each: each.size)
        if self.proven:
            return (
                f"two histories of {one.origin}, both signed: the head over {long.size} entries does not begin with "
                f"the {short.size} entries under {_short(short)}"
            )
        return (
            f"two heads of {one.origin}, both signed, over {one.size} entries and then {two.size}: evidence, but no "
            f"proof by itself; a ledger with {long.size} entries decides (verify --heads)"
        )


def _short(checkpoint: Checkpoint) -> str:
    return checkpoint.root.hex()[:16]


def document(
    remembered: str,
    shown: str,
    key: str,
    found_at: datetime,
    *,
    older_root: bytes | None = None,
    consistency: Sequence[bytes] = (),
) -> bytes:
    """Return the document over two notes; with `older_root` if a proof leads from there to the longer note's root."""
    fields: dict[str, JSON] = {
        "v": MISBEHAVIOUR_FORMAT,
        "key": key,
        "remembered": remembered,
        "shown": shown,
        "found_at": timestamp(found_at),
    }
    if older_root is not None:
        fields |= {"older_root": older_root.hex(), "consistency": [b64(each) for each in consistency]}
    return encode(fields)


def examine(raw: bytes, vkey: str | None = None) -> Misbehaviour:
    """Return what a document shows; with `vkey` only if both notes are under that key.

    Raises NotCanonical if it is no such document, BadCheckpoint if a note is not signed, BadProof if nothing in it
    contradicts anything.
    """
    if len(raw) > MAX_PROOF_BYTES:
        raise NotCanonical(f"{len(raw)} bytes, a proof has at most {MAX_PROOF_BYTES}")
    fields = decode(raw)
    if fields.get("v") != MISBEHAVIOUR_FORMAT or fields.keys() not in (_FIELDS, _FIELDS | _OF_PROOF):
        raise NotCanonical(f"not {MISBEHAVIOUR_FORMAT} with the fields that it has")
    key = parse_vkey(_text(fields, "key")).text
    if vkey is not None and key != parse_vkey(vkey).text:
        raise BadCheckpoint(f"it is about the key {key}, not about {vkey}")
    parse_timestamp(_text(fields, "found_at"))
    remembered, shown = (verify(_text(fields, name), key) for name in ("remembered", "shown"))
    if remembered.origin != shown.origin:
        raise BadProof(f"heads of two ledgers, {remembered.origin!r} and {shown.origin!r}")
    proven = _is_proven(remembered, shown, fields)
    return Misbehaviour(remembered, shown, key, proven)


def _is_proven(remembered: Checkpoint, shown: Checkpoint, fields: dict[str, JSON]) -> bool:
    """Say whether the two contradict each other; raises BadProof if they agree, or if a proof does not hold."""
    if remembered.size == shown.size:
        if remembered.root == shown.root:
            raise BadProof("both notes say the same")
        return True
    if "older_root" not in fields:
        return False
    short, long = sorted((remembered, shown), key=lambda each: each.size)
    older_root, consistency = _hash(fields["older_root"]), fields["consistency"]
    if not isinstance(consistency, list):
        raise NotCanonical("consistency is no list")
    verify_consistency(short.size, older_root, long.size, long.root, [unb64(_known(each)) for each in consistency])
    if older_root == short.root:
        raise BadProof(f"the head over {long.size} entries extends the one over {short.size}")
    return True


def _text(fields: dict[str, JSON], name: str) -> str:
    return _known(fields[name])


def _known(value: JSON) -> str:
    if not isinstance(value, str):
        raise NotCanonical(f"{value!r:.40} is no text")
    return value


def _hash(value: JSON) -> bytes:
    text = _known(value)
    if len(text) != 64 or text.strip("0123456789abcdef"):
        raise NotCanonical("older_root is no hash in hex")
    return bytes.fromhex(text)

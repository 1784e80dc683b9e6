"""What a person signs to have sealed values erased: one canonical document that names each value, and its signature.

Entries, names and a reason enter, a document leaves; a document and a signature enter, a `Redaction` or an error
leaves. No value ever enters here: a redaction names an entry by its leaf hash and a value by its name.

    v             "pgnotary/redaction/1"
    ledger        the ledger's name
    values        what is erased, by entry: a list of {"seq", "leaf" (hex), "seals" (names, sorted)}, by rising seq
    reason        why, in clear and for ever: one line
    redactor      the person, as in the roster
    head          {"size", "root"} of the checkpoint seen; it covers every entry that is named
    redacted_at   by the redactor's clock, UTC
    nonce         16 bytes, hex
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pgnotary.errors import BadSignature, RedactionRefused
from pgnotary.ledger.canonical import JSON, encode, parse_timestamp, timestamp
from pgnotary.ledger.entries import Entry, EntryType
from pgnotary.request import sshsig
from pgnotary.request.decision import Seen
from pgnotary.request.fields import hexadecimal, is_line, number, text
from pgnotary.request.form import Form
from pgnotary.request.life import State
from pgnotary.request.roster import Roster, Signer

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "MAX_ENTRIES",
    "MAX_REASON_CHARS",
    "NEEDED_IN",
    "REDACTION_FORMAT",
    "Redaction",
    "Target",
    "Values",
    "check",
    "document",
    "misfits",
    "read",
    "redaction_in",
]

REDACTION_FORMAT = "pgnotary/redaction/1"

# As many entries as one call can prove to be under a head.
MAX_ENTRIES = 8
MAX_REASON_CHARS = 1_000
# Its entry has the document in base64, and its values and reason once more.
MAX_DOCUMENT_BYTES = 16_384

NEEDED_IN = frozenset({State.HELD, State.APPROVED, State.INTENT, State.EXECUTED, State.PREPARED})
"""While a request stands here somebody still needs to read what it asks: an approver, or who runs it."""

_FORM = Form(
    "a redaction",
    REDACTION_FORMAT,
    frozenset("v ledger values reason redactor head redacted_at nonce".split()),
    MAX_DOCUMENT_BYTES,
    RedactionRefused,
)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Values:
    """Sealed values of one entry."""

    seq: int
    leaf: bytes
    """The entry's leaf hash, 32 bytes."""
    seals: tuple[str, ...]
    """The names of its seals, sorted."""

    @property
    def fields(self) -> dict[str, JSON]:
        """As they stand in a document, and in its entry."""
        return {"seq": self.seq, "leaf": self.leaf.hex(), "seals": list(self.seals)}


@dataclass(frozen=True, slots=True)
class Redaction:
    """A document that was read; its signature may still be wrong."""

    ledger: str
    values: tuple[Values, ...]
    reason: str
    redactor: str
    seen: Seen
    redacted_at: datetime
    raw: bytes
    """The canonical document: what was signed."""


@dataclass(frozen=True, slots=True)
class Target:
    """An entry as far as a redaction is held against it."""

    seq: int
    leaf: bytes
    seals: frozenset[str]
    person: str
    """Who made what it holds: asked for the request, or ran the statements; empty if nobody knows."""
    request: str | None = None
    is_evidence: bool = False
    """Whether it is kept against whoever sent it, whom nobody knows: a decision that did not count."""

    @classmethod
    def of(cls, entry: Entry, person: str) -> "Target":
        """Return an entry as a target."""
        is_evidence = entry.type is EntryType.REJECTED
        return cls(entry.position.seq, entry.leaf, frozenset(entry.seals), person, entry.request, is_evidence)


def document(
    ledger: str,
    values: Iterable[Values],
    *,
    reason: str,
    redactor: str,
    seen: Seen,
    redacted_at: datetime,
    nonce: bytes,
) -> bytes:
    """Return the document to sign."""
    return encode(
        {
            "v": REDACTION_FORMAT,
            "ledger": ledger,
            "values": [each.fields for each in values],
            "reason": reason,
            "redactor": redactor,
            "head": seen.fields,
            "redacted_at": timestamp(redacted_at),
            "nonce": nonce.hex(),
        }
    )


def read(raw: bytes) -> Redaction:
    """Read a document; raises RedactionRefused naming what is wrong with it."""
    return _FORM.read(raw, _redaction)


def redaction_in(entry: Entry) -> tuple[Redaction, str]:
    """Return the document and the signature that a `redacted` entry holds; raises RedactionRefused if it has none."""
    raw, signature = _FORM.kept_in(entry)
    return read(raw), signature


def _redaction(fields: dict[str, JSON], raw: bytes) -> Redaction:
    seen, listed = Seen.of(fields, RedactionRefused), fields["values"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_ENTRIES:
        raise RedactionRefused(f"document whose values are no list of 1 to {MAX_ENTRIES} entries")
    values = tuple(_values(each) for each in listed)
    places = [each.seq for each in values]
    if places != sorted(set(places)):
        raise RedactionRefused("document whose entries do not stand in their order, once each")
    reason = text(fields, "reason")
    if not is_line(reason, MAX_REASON_CHARS):
        raise RedactionRefused(f"document whose reason is not one line of 1 to {MAX_REASON_CHARS} characters")
    hexadecimal(fields, "nonce", 16)
    return Redaction(
        ledger=text(fields, "ledger"),
        values=values,
        reason=reason,
        redactor=text(fields, "redactor"),
        seen=seen,
        redacted_at=parse_timestamp(text(fields, "redacted_at")),
        raw=raw,
    )


def _values(listed: JSON) -> Values:
    if not isinstance(listed, dict) or listed.keys() != {"seq", "leaf", "seals"}:
        raise RedactionRefused("document that names an entry by other fields than seq, leaf and seals")
    seals = listed["seals"]
    names = [each for each in seals if isinstance(each, str)] if isinstance(seals, list) else []
    if not names or names != seals or names != sorted(set(names)) or not all(map(_NAME.fullmatch, names)):
        raise RedactionRefused("document whose seals are no sorted list of names, once each")
    return Values(number(listed, "seq"), hexadecimal(listed, "leaf", 32), tuple(names))


def check(redaction: Redaction, signature: str, roster: Roster, at: datetime) -> Signer:
    """Return who signed, or raise RedactionRefused. `at` is when the redaction counts: its entry's time.

    1. the signature is an SSHSIG by an Ed25519 key over exactly these bytes, in the namespace of redactions;
    2. the roster gives that key to the person the document names, at this time, and for redactions in so many words:
       a line without `namespaces` lets a person decide, and erase nothing.
    """
    try:
        public = sshsig.verify(signature, redaction.raw, sshsig.REDACTION_NAMESPACE)  # 1
        signer = roster.find(public, at, sshsig.REDACTION_NAMESPACE)  # 2
    except BadSignature as error:
        raise RedactionRefused(str(error)) from error
    if signer.namespaces is None:
        raise RedactionRefused(
            f'{signer.person} may not redact: the roster must give the key namespaces="{sshsig.REDACTION_NAMESPACE}"'
        )
    if signer.person != redaction.redactor:
        raise RedactionRefused(f"signed by {signer.person}'s key, but the document says {redaction.redactor!r:.80}")
    return signer


def misfits(
    redactor: str, named: Sequence[Values], targets: Sequence[Target | None], gone: Collection[tuple[bytes, str]]
) -> list[str]:
    """Return what speaks against a redaction of `named` by `redactor`; `targets` are its entries, None: there is none.

    `gone` are the values, by leaf and name, that were redacted before.
    """
    found: list[str] = []
    for values, target in zip(named, targets, strict=True):
        where = f"#{values.seq}"
        if target is None or (target.seq, target.leaf) != (values.seq, values.leaf):
            found.append(f"there is no entry {where} with leaf {values.leaf.hex()[:8]} before it")
            continue
        for name in values.seals:
            if name not in target.seals:
                found.append(f"{where} has no sealed {name:.60}")
            elif (values.leaf, name) in gone:
                found.append(f"{name:.60} of {where} was redacted before")
        if target.is_evidence:
            found.append(f"{where} is a rejected decision, kept as evidence against whoever sent it")
        if target.person.casefold() == redactor.casefold():
            found.append(f"{where} is {target.person}'s own doing: somebody else must redact it")
    return found

"""What somebody signs who has looked at a statement that one person alone has let run: a document and its signature.

The entry of the decision that broke the glass, a person and words enter, a document leaves; a document and a signature
enter, a `Review` or an error leaves. It is signed like a decision, by whoever may decide, and its format keeps it from
being one.

    v             "pgnotary/review/1"
    ledger        the ledger's name
    request       the request, e.g. "R-17"
    decision      leaf hash of the decision that broke the glass, hex
    words         what the reviewer says to it, in clear and for ever: one line
    reviewer      the person, as in the roster: neither who asked nor who broke the glass
    head          {"size", "root"} of the checkpoint seen; it covers that decision
    reviewed_at   by the reviewer's clock, UTC
    nonce         16 bytes, hex
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgnotary.errors import BadSignature, NotCanonical, ReviewRefused
from pgnotary.ledger.canonical import JSON, decode, encode, parse_timestamp, timestamp, unb64
from pgnotary.ledger.entries import Entry
from pgnotary.request import sshsig
from pgnotary.request.decision import Seen
from pgnotary.request.fields import hexadecimal, number, text
from pgnotary.request.roster import Roster, Signer

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "REVIEW_FORMAT",
    "REVIEW_WITHIN",
    "Broken",
    "Review",
    "check",
    "document",
    "read",
    "review_in",
]

REVIEW_FORMAT = "pgnotary/review/1"
MAX_DOCUMENT_BYTES = 16_384
REVIEW_WITHIN = timedelta(hours=24)
"""Who has broken the glass longer ago, and was not reviewed, breaks it no more."""

_FIELDS = frozenset("v ledger request decision words reviewer head reviewed_at nonce".split())
_NO_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MAX_WORDS = 1_000


@dataclass(frozen=True, slots=True)
class Review:
    """A document that was read; its signature may still be wrong."""

    ledger: str
    request: str
    decision: bytes
    words: str
    reviewer: str
    seen: Seen
    reviewed_at: datetime
    raw: bytes
    """The canonical document: what was signed."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A decision that broke the glass, as far as its review is held against it."""

    request: str
    seq: int
    leaf: bytes
    breaker: str
    requester: str
    at: datetime

    @classmethod
    def of(cls, decision: Entry, requester: str) -> "Broken":
        """Return it out of the decision's entry."""
        breaker = str(decision.body.get("approver", ""))
        position = decision.position
        return cls(decision.request or "", position.seq, decision.leaf, breaker, requester, position.time)

    def is_by(self, person: str) -> bool:
        """Say whether somebody has broken it."""
        return self.breaker.casefold() == person.casefold()

    def may_not_review(self, person: str) -> str:
        """Say why somebody may not review it; empty if they may."""
        if self.is_by(person):
            return f"{person} has broken the glass for {self.request}: somebody else must review it"
        if self.requester.casefold() == person.casefold():
            return f"{person} asked for {self.request}: somebody else must review it"
        return ""


def document(
    ledger: str,
    broken: Entry,
    *,
    words: str,
    reviewer: str,
    seen: Seen,
    reviewed_at: datetime,
    nonce: bytes,
) -> bytes:
    """Return the document to sign over the entry of a decision that broke the glass."""
    return encode(
        {
            "v": REVIEW_FORMAT,
            "ledger": ledger,
            "request": broken.request or "",
            "decision": broken.leaf.hex(),
            "words": words,
            "reviewer": reviewer,
            "head": {"size": seen.size, "root": seen.root.hex()},
            "reviewed_at": timestamp(reviewed_at),
            "nonce": nonce.hex(),
        }
    )


def read(raw: bytes) -> Review:
    """Read a document; raises ReviewRefused naming what is wrong with it."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise ReviewRefused(f"document of {len(raw)} bytes, at most {MAX_DOCUMENT_BYTES} are read")
    try:
        fields = decode(raw)
        if fields.get("v") != REVIEW_FORMAT:
            raise ReviewRefused(f"document of format {fields.get('v')!r:.40}, expected {REVIEW_FORMAT!r}")
        if fields.keys() != _FIELDS:
            odd = ", ".join(sorted(fields.keys() ^ _FIELDS))
            raise ReviewRefused(f"document with missing or unknown fields: {odd:.200}")
        return _review(fields, raw)
    except NotCanonical as error:
        raise ReviewRefused(f"document that cannot be read: {error}") from error


def _review(fields: dict[str, JSON], raw: bytes) -> Review:
    head, words = fields["head"], text(fields, "words")
    if not isinstance(head, dict) or head.keys() != {"size", "root"}:
        raise ReviewRefused("document whose head is not a size and a root")
    if not 1 <= len(words) <= _MAX_WORDS or not words.strip() or _NO_LINE.search(words):
        raise ReviewRefused(f"document whose words are not one line of 1 to {_MAX_WORDS} characters")
    hexadecimal(fields, "nonce", 16)
    return Review(
        ledger=text(fields, "ledger"),
        request=text(fields, "request"),
        decision=hexadecimal(fields, "decision", 32),
        words=words,
        reviewer=text(fields, "reviewer"),
        seen=Seen(number(head, "size"), hexadecimal(head, "root", 32)),
        reviewed_at=parse_timestamp(text(fields, "reviewed_at")),
        raw=raw,
    )


def review_in(entry: Entry) -> tuple[Review, str]:
    """Return the document and the signature that a `reviewed` entry holds; raises ReviewRefused if it has none."""
    raw, signature = entry.body.get("document"), entry.body.get("signature")
    if not isinstance(raw, str) or not isinstance(signature, str):
        raise ReviewRefused("a review without document or signature")
    try:
        return read(unb64(raw)), signature
    except NotCanonical as error:
        raise ReviewRefused(f"the document is {error}") from error


def check(review: Review, signature: str, roster: Roster, at: datetime) -> Signer:
    """Return who signed, or raise ReviewRefused. `at` is when the review counts: its entry's time."""
    try:
        public = sshsig.verify(signature, review.raw, sshsig.DECISION_NAMESPACE)
        signer = roster.find(public, at)
    except BadSignature as error:
        raise ReviewRefused(str(error)) from error
    if signer.person != review.reviewer:
        raise ReviewRefused(f"signed by {signer.person}'s key, but the document says {review.reviewer!r:.80}")
    return signer

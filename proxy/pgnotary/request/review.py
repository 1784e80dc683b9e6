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

from dataclasses import dataclass
from datetime import datetime, timedelta

from pgnotary.errors import BadSignature, ReviewRefused
from pgnotary.ledger.canonical import JSON, encode, parse_timestamp, timestamp
from pgnotary.ledger.entries import Entry
from pgnotary.request import sshsig
from pgnotary.request.decision import Seen
from pgnotary.request.fields import hexadecimal, is_line, text
from pgnotary.request.form import Form
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

_FORM = Form(
    "a review",
    REVIEW_FORMAT,
    frozenset("v ledger request decision words reviewer head reviewed_at nonce".split()),
    MAX_DOCUMENT_BYTES,
    ReviewRefused,
)
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
    key: str
    """The fingerprint of the key that it was broken with."""
    requester: str
    at: datetime

    @classmethod
    def of(cls, decision: Entry, requester: str) -> "Broken":
        """Return it out of the decision's entry."""
        breaker, key = (str(decision.body.get(name, "")) for name in ("approver", "key"))
        position = decision.position
        return cls(decision.request or "", position.seq, decision.leaf, breaker, key, requester, position.time)

    def is_by(self, person: str, key: str) -> bool:
        """Say whether somebody, who signs with the key of this fingerprint, has broken it.

        A roster may give the key another name since: whoever has it is who broke the glass.
        """
        return self.breaker.casefold() == person.casefold() or key == self.key

    def may_not_review(self, person: str, key: str) -> str:
        """Say why somebody may not review it with the key of this fingerprint; empty if they may."""
        if self.is_by(person, key):
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
            "head": seen.fields,
            "reviewed_at": timestamp(reviewed_at),
            "nonce": nonce.hex(),
        }
    )


def read(raw: bytes) -> Review:
    """Read a document; raises ReviewRefused naming what is wrong with it."""
    return _FORM.read(raw, _review)


def _review(fields: dict[str, JSON], raw: bytes) -> Review:
    seen, words = Seen.of(fields, ReviewRefused), text(fields, "words")
    if not is_line(words, _MAX_WORDS) or not words.strip():
        raise ReviewRefused(f"document whose words are not one line of 1 to {_MAX_WORDS} characters")
    hexadecimal(fields, "nonce", 16)
    return Review(
        ledger=text(fields, "ledger"),
        request=text(fields, "request"),
        decision=hexadecimal(fields, "decision", 32),
        words=words,
        reviewer=text(fields, "reviewer"),
        seen=seen,
        reviewed_at=parse_timestamp(text(fields, "reviewed_at")),
        raw=raw,
    )


def review_in(entry: Entry) -> tuple[Review, str]:
    """Return the document and the signature that a `reviewed` entry holds; raises ReviewRefused if it has none."""
    raw, signature = _FORM.kept_in(entry)
    return read(raw), signature


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

"""What an approver signs: one canonical document that names exactly what was shown, and its signature.

A request's entries and an answer enter, a document leaves; a document and a signature enter, a `Decision` or an error
leaves. The document binds the digest of the context that was shown, and the leaf hashes of the request and of its
preview; it repeats what a person must recognise years later, and `check` demands that the repeats agree. It
also names the ledger's head that the approver saw.

    v             "pgnotary/decision/1"; "pgnotary/decision/2" of one that breaks the glass
    ledger        the ledger's name
    request       its id, e.g. "R-17"
    request_leaf, preview_leaf   leaf hashes, hex
    context       digest of the document that the page was drawn from (`pgnotary.request.signed_context`), hex
    user, database, kind         as in the request
    statement     commitment of the statement's text, base64
    decision      "approve", "deny" or "break-glass"
    max_rows      unless "deny": the highest row count allowed of its own targets; absent: any, anywhere
    max_other_rows    with max_rows: the highest row count allowed elsewhere, or "any"; absent: 0
    reason        the approver's words; with "break-glass" there are some
    approver      the person, as in the roster
    head          {"size", "root"} of the checkpoint seen
    decided_at    by the approver's clock, UTC
    nonce         16 bytes, hex
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pgnotary.errors import BadSignature, DecisionRefused, NotCanonical, PgnotaryError
from pgnotary.ledger.canonical import JSON, b64, decode, encode, parse_timestamp, timestamp
from pgnotary.ledger.entries import BREAK_GLASS, Entry
from pgnotary.request import sshsig
from pgnotary.request.ceiling import ANY, Ceiling
from pgnotary.request.fields import hexadecimal, number, text
from pgnotary.request.quorum import people_in
from pgnotary.request.roster import Roster, Signer
from pgnotary.request.signed_context import context_digest, context_document

__all__ = ["BREAKING_FORMAT", "DECISION_FORMAT", "Answer", "Decision", "Seen", "check", "document", "read"]

DECISION_FORMAT = "pgnotary/decision/1"
BREAKING_FORMAT = "pgnotary/decision/2"
"""Its own, so that nobody who does not know of it takes one for an approval like any other."""

_FIELDS = frozenset(
    "v ledger request request_leaf preview_leaf context user database kind statement "
    "decision reason approver head decided_at nonce".split()
)
_OF_CEILING = frozenset({"max_rows", "max_other_rows"})


class Answer(StrEnum):
    """What an approver says."""

    APPROVE = "approve"
    DENY = "deny"
    BREAK_GLASS = BREAK_GLASS
    """It may run, on one person's word alone: an emergency, to be reviewed by somebody else afterwards."""

    @property
    def allows(self) -> bool:
        """Whether it lets the statement run."""
        return self is not Answer.DENY


@dataclass(frozen=True, slots=True)
class Seen:
    """The head of the ledger that the approver verified before signing."""

    size: int
    root: bytes

    @classmethod
    def of(cls, fields: Mapping[str, JSON], refused: type[PgnotaryError]) -> "Seen":
        """Return the head that the fields of a document name; raises `refused`, or NotCanonical."""
        head = fields["head"]
        if not isinstance(head, dict) or head.keys() != {"size", "root"}:
            raise refused("document whose head is not a size and a root")
        return cls(number(head, "size"), hexadecimal(head, "root", 32))

    @property
    def fields(self) -> dict[str, JSON]:
        """As it stands in a document."""
        return {"size": self.size, "root": self.root.hex()}


@dataclass(frozen=True, slots=True)
class Decision:
    """A document that was read; its signature may still be wrong."""

    request: str
    request_leaf: bytes
    preview_leaf: bytes
    context: bytes
    """The digest of the document that was shown, 32 bytes."""
    answer: Answer
    ceiling: Ceiling | None
    """How many rows may change; None: any number, anywhere."""
    reason: str
    approver: str
    seen: Seen
    decided_at: datetime
    raw: bytes
    """The canonical document: what was signed."""


def document(
    request: Entry,
    preview: Entry,
    answer: Answer,
    *,
    approver: str,
    reason: str,
    ceiling: Ceiling | None,
    seen: Seen,
    decided_at: datetime,
    nonce: bytes,
) -> bytes:
    """Return the document to sign for a request as its entries tell it."""
    fields = _repeats(request, preview, answer) | {
        "decision": answer.value,
        "reason": reason,
        "approver": approver,
        "head": seen.fields,
        "decided_at": timestamp(decided_at),
        "nonce": nonce.hex(),
    }
    return encode(fields | (ceiling.fields if ceiling else {}))


def _format(answer: Answer) -> str:
    return BREAKING_FORMAT if answer is Answer.BREAK_GLASS else DECISION_FORMAT


def _repeats(request: Entry, preview: Entry, answer: Answer) -> dict[str, JSON]:
    """Return the fields of a document that follow from the entries."""
    return {
        "v": _format(answer),
        "ledger": request.position.ledger,
        "request": request.request or "",
        "request_leaf": request.leaf.hex(),
        "preview_leaf": preview.leaf.hex(),
        "context": context_digest(context_document(request, preview)).hex(),
        "user": request.body["user"],
        "database": request.body["database"],
        "kind": request.body["kind"],
        "statement": b64(request.seals["statement"]),
    }


def read(raw: bytes) -> Decision:
    """Read a document; raises DecisionRefused naming what is wrong with it."""
    try:
        fields = decode(raw)
        if fields.get("v") not in (DECISION_FORMAT, BREAKING_FORMAT):
            raise DecisionRefused(f"document of format {fields.get('v')!r}, expected {DECISION_FORMAT!r}")
        if fields.keys() - _OF_CEILING != _FIELDS:
            odd = ", ".join(sorted((fields.keys() - _OF_CEILING) ^ _FIELDS))
            raise DecisionRefused(f"document with missing or unknown fields: {odd}")
        return _decision(fields, raw)
    except (NotCanonical, ValueError, TypeError, KeyError) as error:
        raise DecisionRefused(f"document that cannot be read: {error}") from error


def _decision(fields: dict[str, JSON], raw: bytes) -> Decision:
    seen = Seen.of(fields, DecisionRefused)
    ceiling = _ceiling(fields)
    answer = Answer(text(fields, "decision"))
    if fields["v"] != _format(answer):
        raise DecisionRefused(f"document of format {fields['v']!r} that says {answer}")
    if answer is Answer.BREAK_GLASS and not text(fields, "reason").strip():
        raise DecisionRefused("a document that breaks the glass without a reason")
    if answer is Answer.DENY and ceiling is not None:
        raise DecisionRefused("a denial that allows rows")
    hexadecimal(fields, "nonce", 16)
    return Decision(
        request=text(fields, "request"),
        request_leaf=hexadecimal(fields, "request_leaf", 32),
        preview_leaf=hexadecimal(fields, "preview_leaf", 32),
        context=hexadecimal(fields, "context", 32),
        answer=answer,
        ceiling=ceiling,
        reason=text(fields, "reason"),
        approver=text(fields, "approver"),
        seen=seen,
        decided_at=parse_timestamp(text(fields, "decided_at")),
        raw=raw,
    )


def _ceiling(fields: Mapping[str, JSON]) -> Ceiling | None:
    if "max_rows" not in fields:
        if "max_other_rows" in fields:
            raise DecisionRefused("document with max_other_rows, but without max_rows")
        return None
    max_rows = number(fields, "max_rows")
    if "max_other_rows" not in fields:
        return Ceiling(max_rows)
    if fields["max_other_rows"] == ANY:
        return Ceiling(max_rows, None)
    return Ceiling(max_rows, number(fields, "max_other_rows"))


def check(decision: Decision, signature: str, request: Entry, preview: Entry, roster: Roster, at: datetime) -> Signer:
    """Return who signed, or raise DecisionRefused: every field must be that of the request, the key must be in force.

    `at` is when the decision counts: its entry's time. The checks, in order:
    1. the signature is an SSHSIG by an Ed25519 key over exactly these bytes, in the namespace of decisions;
    2. the roster gives that key to the person the document names, for this namespace, at this time;
    3. request, preview and all repeated fields are those of the entries;
    4. the requester is another person; or it breaks the glass, and the request says that this person may;
    5. a highest row count is given only where the rows can be counted.
    """
    try:
        public = sshsig.verify(signature, decision.raw, sshsig.DECISION_NAMESPACE)  # 1
        signer = roster.find(public, at)  # 2
    except BadSignature as error:
        raise DecisionRefused(str(error)) from error
    if signer.person != decision.approver:
        raise DecisionRefused(f"signed by {signer.person}'s key, but the document says {decision.approver}")
    fields = decode(decision.raw)
    for name, expected in _repeats(request, preview, decision.answer).items():  # 3
        if fields[name] != expected:
            raise DecisionRefused(f"{name} is {fields[name]!r} in the document and {expected!r} in the request")
    if decision.answer is Answer.BREAK_GLASS:  # 4
        _check_breaker(signer.person, request)
    elif signer.person.casefold() == str(request.body["person"]).casefold():
        raise DecisionRefused(f"{signer.person} asked for it: somebody else must decide")
    if decision.ceiling is not None and request.body.get("countable") is False:  # 5
        raise DecisionRefused("a highest row count, but its rows cannot be counted: allow any number of them")
    return signer


def _check_breaker(person: str, request: Entry) -> None:
    try:
        people = people_in(request.body)
    except NotCanonical as error:
        raise DecisionRefused(f"nobody knows who may break the glass: {error}") from error
    if person.casefold() not in map(str.casefold, people):
        who = f"only {', '.join(people)}" if people else "nobody here"
        raise DecisionRefused(f"{person} may not break the glass: {who} may (policy.break_glass)")

"""What a caller of the approval API signs: one canonical document for each call, and its signature.

A call and a key enter `signed`, two headers leave; the same headers and the call as it came enter `read` and `check`, a
`Call` leaves, or CallRefused says what differs; the roster and the key enter `caller`, whose it is leaves. A signature
is good for one call of one proxy, at one time: whoever overhears it can do nothing with it but repeat that call, and
`nonce` is there to be remembered against that.

    v             "pgnotary/call/1"
    proxy         the verifier key of the ledger, as its checkpoints are signed: name, hash and key
    method        GET or POST
    target        path and query, as they stand in the request line
    body          SHA-256 of the body, hex; of no bytes if there is none
    called_at     by the caller's clock, UTC
    nonce         16 bytes, hex
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from pgnotary.errors import BadSignature, CallRefused, NotCanonical
from pgnotary.ledger.canonical import b64, decode, encode, parse_timestamp, timestamp, unb64
from pgnotary.request import sshsig
from pgnotary.request.fields import hexadecimal, text
from pgnotary.request.roster import Roster, Signer
from pgnotary.request.signs import Signs
from pgnotary.request.ssh_encoding import Public

__all__ = [
    "CALL_FORMAT",
    "CALL_HEADER",
    "SIGNATURE_HEADER",
    "Call",
    "caller",
    "check",
    "claimed_key",
    "parsed",
    "read",
    "signed",
    "signer_of",
    "verify",
]

CALL_FORMAT = "pgnotary/call/1"
CALL_HEADER = "Pgnotary-Call"
SIGNATURE_HEADER = "Pgnotary-Signature"

_MAX_HEADER_CHARS = 4_096
_FIELDS = frozenset("v proxy method target body called_at nonce".split())
# Who may sign a decision, or a redaction, may ask for what it is about.
_NAMESPACES = (sshsig.REQUEST_NAMESPACE, sshsig.DECISION_NAMESPACE, sshsig.REDACTION_NAMESPACE)


@dataclass(frozen=True, slots=True)
class Call:
    """A document that was read, and the signature that came with it, which may still be wrong."""

    proxy: str
    method: str
    target: str
    body: bytes
    """SHA-256 of the body."""
    called_at: datetime
    nonce: bytes
    raw: bytes
    """The canonical document: what was signed."""
    signature: str
    """Armored."""


def signed(
    key: Signs, proxy: str, method: str, target: str, body: bytes, *, called_at: datetime, nonce: bytes
) -> dict[str, str]:
    """Return the headers that go with a call."""
    document = encode(
        {
            "v": CALL_FORMAT,
            "proxy": proxy,
            "method": method,
            "target": target,
            "body": sha256(body).hexdigest(),
            "called_at": timestamp(called_at),
            "nonce": nonce.hex(),
        }
    )
    armored = key.sign(document, sshsig.REQUEST_NAMESPACE)
    return {CALL_HEADER: b64(document), SIGNATURE_HEADER: sshsig.bare(armored)}


def read(document: str, signature: str) -> Call:
    """Read the two headers; raises CallRefused naming what is wrong with them."""
    try:
        if max(len(document), len(signature)) > _MAX_HEADER_CHARS:
            raise CallRefused(f"headers of a signed call longer than {_MAX_HEADER_CHARS} characters")
        return parsed(unb64(document), sshsig.armor(signature))
    except (NotCanonical, ValueError) as error:
        raise CallRefused(f"{CALL_HEADER} cannot be read: {error}") from error


def parsed(raw: bytes, signature: str) -> Call:
    """Read a document, beside its armored signature; raises CallRefused naming what is wrong with it."""
    try:
        fields = decode(raw)
        if fields.get("v") != CALL_FORMAT:
            raise CallRefused(f"a call of format {fields.get('v')!r:.60}, expected {CALL_FORMAT!r}")
        if fields.keys() != _FIELDS:
            raise CallRefused(f"a call with missing or unknown fields: {', '.join(sorted(fields.keys() ^ _FIELDS))}")
        return Call(
            proxy=text(fields, "proxy"),
            method=text(fields, "method"),
            target=text(fields, "target"),
            body=hexadecimal(fields, "body", 32),
            called_at=parse_timestamp(text(fields, "called_at")),
            nonce=hexadecimal(fields, "nonce", 16),
            raw=raw,
            signature=signature,
        )
    except (NotCanonical, ValueError) as error:
        raise CallRefused(f"the call cannot be read: {error}") from error


def check(call: Call, proxy: str, method: str, target: str) -> None:
    """Raise CallRefused unless the document is of this proxy and of the call that it came with."""
    came: Mapping[str, tuple[str, str]] = {
        "proxy": (call.proxy, proxy),
        "method": (call.method, method),
        "target": (call.target, target),
    }
    for name, (said, found) in came.items():
        if said != found:
            raise CallRefused(f"signed for the {name} {said!r:.200}, but this is {found!r:.200}")


def claimed_key(call: Call) -> Public:
    """Return the public key that the signature names, whether or not it has made it; raises CallRefused."""
    try:
        return sshsig.claimed_key(call.signature)
    except BadSignature as error:
        raise CallRefused(str(error)) from error


def verify(call: Call, body: bytes) -> Public:
    """Return the public key that signed the call with this body; raises CallRefused."""
    if call.body != sha256(body).digest():
        raise CallRefused("signed over another body")
    return signer_of(call)


def signer_of(call: Call) -> Public:
    """Return the public key that signed the document; raises CallRefused."""
    try:
        return sshsig.verify(call.signature, call.raw, sshsig.REQUEST_NAMESPACE)
    except BadSignature as error:
        raise CallRefused(str(error)) from error


def caller(roster: Roster, public: Public, at: datetime) -> Signer:
    """Return whose key it is, if the roster lets it sign calls at that time; raises CallRefused."""
    said: list[str] = []
    for namespace in _NAMESPACES:
        try:
            return roster.find(public, at, namespace)
        except BadSignature as error:
            said.append(str(error))
    raise CallRefused(said[0])

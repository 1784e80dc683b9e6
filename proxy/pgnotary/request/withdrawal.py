"""What an engineer signs to take a request back: the very call that does it, kept in the entry that ends the request.

A call that was admitted enters `told` with the request's entry and the roster, the fields of a `withdrawn` or a `void`
entry leave; such an entry enters `call_in`, its call leaves and enters `check`: who signed it, or CallRefused. What an
entry is given as evidence is what `check` takes: an honest proxy is never accused of it.

    by            "requester"
    person, key   who, as on the roster, and the key's fingerprint
    document      the call (`pgnotary.request.call`), base64
    signature     SSHSIG, armored
"""

from datetime import datetime, timedelta

from pgnotary.errors import CallRefused, NotCanonical
from pgnotary.ledger.canonical import JSON, b64, timestamp, unb64
from pgnotary.ledger.entries import Entry
from pgnotary.request import call as calls
from pgnotary.request.call import Call
from pgnotary.request.openssh import fingerprint
from pgnotary.request.roster import Roster, Signer

__all__ = ["REQUESTER", "WITHIN", "call_in", "check", "target_of", "told"]

REQUESTER = "requester"
"""What the ledger says of who has ended a hold by a signed call."""

_METHOD = "POST"

WITHIN = timedelta(minutes=6)
"""How far a call's time may be before the request, or behind the entry: the minute that the API admits, and five by
which a clock may have been set back meanwhile (Kerberos allows the same, RFC 4120, 8.2)."""


def target_of(request: str) -> str:
    """Return the target of the call that takes a request back."""
    return f"/v1/requests/{request}/withdraw"


def told(call: Call, person: str, key: str, request: Entry, roster: Roster, at: datetime) -> dict[str, JSON]:
    """Return what an entry of this time says of who takes the request back.

    Without the evidence if that would not count for a verifier: the key has left the roster since the call was
    admitted, or the clock was set back.
    """
    try:
        signer = check(call, call.proxy, request, roster, at)
    except CallRefused:
        return {"by": REQUESTER, "person": person, "key": key}
    evidence: dict[str, JSON] = {"document": b64(call.raw), "signature": call.signature}
    return {"by": REQUESTER, "person": signer.person, "key": fingerprint(signer.public), **evidence}


def call_in(entry: Entry) -> Call | None:
    """Return the call that an entry holds, None if it holds none; raises CallRefused if it cannot be read."""
    if entry.body.keys().isdisjoint({"document", "signature"}):
        return None
    document, signature = entry.body.get("document"), entry.body.get("signature")
    if not isinstance(document, str) or not isinstance(signature, str):
        raise CallRefused("a withdrawal without document or signature")
    try:
        return calls.parsed(unb64(document), signature)
    except NotCanonical as error:
        raise CallRefused(f"the document is {error}") from error


def check(call: Call, proxy: str, request: Entry, roster: Roster, at: datetime) -> Signer:
    """Return who has signed that this request is taken back, or raise CallRefused; `at` is the time of its end.

    How long before its end it was signed is no matter, as long as that was not before the request: who signs says which
    one they mean by its id, and a ledger that lost its end gives ids again.
    """
    calls.check(call, proxy, _METHOD, target_of(request.request or ""))
    asked_at = request.position.time
    if max(asked_at - call.called_at, call.called_at - at) > WITHIN:
        said = f"signed at {timestamp(call.called_at)}, asked for at {timestamp(asked_at)}"
        raise CallRefused(f"{said}, taken back at {timestamp(at)}: what was signed is another")
    public = calls.signer_of(call)
    signer = calls.caller(roster, public, call.called_at)
    if signer.person.casefold() != (asked := str(request.body.get("person"))).casefold():
        raise CallRefused(f"signed with {fingerprint(public)} of {signer.person}, but {asked} has asked for it")
    return signer

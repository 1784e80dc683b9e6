"""What an approver signed, as the entry of a decision holds it: an entry enters, document and signature leave."""

from pgnotary.errors import DecisionRefused, NotCanonical
from pgnotary.ledger.canonical import unb64
from pgnotary.ledger.entries import Entry
from pgnotary.request.decision import Decision, read

__all__ = ["signed"]


def signed(entry: Entry) -> tuple[Decision, str]:
    """Return the document and the signature that an entry holds; raises DecisionRefused if it holds none to read."""
    document, signature = entry.body.get("document"), entry.body.get("signature")
    if not isinstance(document, str) or not isinstance(signature, str):
        raise DecisionRefused("a decision without document or signature")
    try:
        raw = unb64(document)
    except NotCanonical as error:
        raise DecisionRefused(f"the document is {error}") from error
    return read(raw), signature

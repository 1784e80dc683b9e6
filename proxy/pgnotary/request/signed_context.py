"""What an approver is shown, as one canonical document: a request's two entries enter, it and its digest leave.

The document is made of the entries and of nothing else, so it is stored nowhere: whoever has them makes it again. It
holds the commitments of what is sealed, not the values, so its digest tells no secret, and values can be disclosed or
redacted one by one. A decision names the digest; the page that `pgnotary show` prints is drawn from the document and
the values that open its commitments.

    v           "pgnotary/context/1"
    ledger, request, session   where it belongs
    request_leaf, preview_leaf   leaf hashes of the two entries, hex
    held_at     the time of the `request` entry
    asked       the body of the `request` entry
    sealed      name -> commitment of its sealed values, base64
    measured    the body of the `preview` entry
    measured_sealed   the same of its sealed values
"""

from hashlib import sha256

from pgnotary.ledger.canonical import JSON, b64, encode, timestamp
from pgnotary.ledger.entries import Entry

__all__ = ["CONTEXT_FORMAT", "context_digest", "context_document"]

CONTEXT_FORMAT = "pgnotary/context/1"


def context_document(request: Entry, preview: Entry) -> bytes:
    """Return the canonical bytes that a decision over these two entries is about."""
    fields: dict[str, JSON] = {
        "v": CONTEXT_FORMAT,
        "ledger": request.position.ledger,
        "request": request.request or "",
        "session": request.session or "",
        "request_leaf": request.leaf.hex(),
        "preview_leaf": preview.leaf.hex(),
        "held_at": timestamp(request.position.time),
        "asked": request.body,
        "sealed": _commitments(request),
        "measured": preview.body,
        "measured_sealed": _commitments(preview),
    }
    return encode(fields)


def context_digest(document: bytes) -> bytes:
    """Return SHA-256 over the format's name, a line feed, and the document: 32 bytes."""
    return sha256(CONTEXT_FORMAT.encode() + b"\n" + document).digest()


def _commitments(entry: Entry) -> dict[str, JSON]:
    return {name: b64(value) for name, value in entry.seals.items()}

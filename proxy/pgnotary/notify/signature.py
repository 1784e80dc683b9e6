"""Whose a message is: an id, a time and a body enter, the three headers of Standard Webhooks leave.

Signed with Ed25519 (`v1a`) is `id.timestamp.body`. The id and the time are ours and have no full stop in them, so that
what is signed can be cut in one way only. https://www.standardwebhooks.com/
"""

from nacl.signing import SigningKey

from pgnotary.ledger.canonical import b64

__all__ = ["public_text", "signed_headers"]


def signed_headers(id_: str, at: int, body: bytes, seed: bytes) -> dict[str, str]:
    """Return the headers for an attempt at so many seconds since 1970."""
    if "." in id_:
        raise ValueError(f"the id of a message has a full stop in it: {id_!r}")
    signature = SigningKey(seed).sign(f"{id_}.{at}.".encode() + body).signature
    return {"webhook-id": id_, "webhook-timestamp": str(at), "webhook-signature": f"v1a,{b64(signature)}"}


def public_text(seed: bytes) -> str:
    """Return the public key as receivers are given it."""
    return f"whpk_{b64(bytes(SigningKey(seed).verify_key))}"

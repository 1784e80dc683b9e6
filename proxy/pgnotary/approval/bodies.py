"""What the approval API and its client say to each other, as JSON. Bytes travel as base64, absent is left out.

The truth about a request is the raw canonical bytes of its entries; nothing is repeated beside them that an approver
could read instead.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from pgnotary.judge.needs import MOST_APPROVALS
from pgnotary.request.redaction import MAX_DOCUMENT_BYTES, MAX_ENTRIES
from pgnotary.request.review import MAX_DOCUMENT_BYTES as MAX_REVIEW_BYTES
from pgnotary.request.sshsig import MAX_ARMORED_CHARS

__all__ = [
    "MAX_PROVEN",
    "UNFIT",
    "EntryPaper",
    "Erasure",
    "GlassPaper",
    "HeadNote",
    "HeadProof",
    "KeyOwner",
    "Problem",
    "Recorded",
    "RecordedRedaction",
    "RecordedReview",
    "RequestPaper",
    "SealedPaper",
    "SignedDecision",
    "SignedRedaction",
    "SignedReview",
    "Standing",
]

UNFIT = 502
"""The status of an ApiError over an answer that does not fit: Bad Gateway."""

MAX_PROVEN = MAX_ENTRIES
"""How many entries a head is proven to cover in one call: each costs the proxy a few hundred leaves to read."""

# Of a tree that no ledger ever grows to: 2^63 leaves.
_MAX_HASHES = 128

# The entry that will hold it in base64, signature and all, has at most 65,535 bytes.
_MAX_DOCUMENT_BYTES = 32_768


class EntryPaper(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry, and what of its sealed values may be shown."""

    entry: bytes
    """Its raw canonical bytes."""
    opened: dict[str, tuple[bytes, bytes]] = {}
    """Name -> (salt, value)."""


class RequestPaper(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is needed to decide over an open request."""

    id: str
    request: EntryPaper
    preview: EntryPaper
    decisions: Annotated[list[bytes], Meta(max_length=MOST_APPROVALS)] = []
    """The entries of the approvals that are there already and not enough, oldest first."""


class Standing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a request stands; an open one comes with its paper."""

    id: str
    state: str
    paper: RequestPaper | None = None
    rows: int | None = None
    """How many rows it changed, once that is known."""
    tags: list[str] = []
    """The server's command tags, once it has run."""
    fate: str = ""
    """Of a resolved one: what became of its transaction, `committed` or `rolled-back`."""
    sqlstate: str = ""
    why: str = ""
    seq: int | None = None
    """The entry that brought it there."""


class SignedDecision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision: the canonical document and the armored SSH signature over it."""

    document: Annotated[bytes, Meta(max_length=_MAX_DOCUMENT_BYTES)]
    signature: Annotated[str, Meta(max_length=MAX_ARMORED_CHARS)]


class Recorded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A decision that counts: the place of its entry, and the answer."""

    seq: int
    answer: str
    missing: str = ""
    """Whose approvals are still needed, in words; empty if none are."""


class SealedPaper(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry with seals, and how many bytes are kept of the value of each; none of a value that is gone."""

    entry: bytes
    """Its raw canonical bytes."""
    kept: dict[str, int] = {}


class SignedRedaction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A redaction: the canonical document and the armored SSH signature over it."""

    document: Annotated[bytes, Meta(max_length=MAX_DOCUMENT_BYTES)]
    signature: Annotated[str, Meta(max_length=MAX_ARMORED_CHARS)]


class RecordedRedaction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A redaction that counts: the place of its entry, and where else the same bytes are sealed."""

    seq: int
    copies: list[tuple[int, str]] = []
    """Entry and name, the first twenty."""


class GlassPaper(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one person alone has let run: the raw bytes of the request's entry, and of the decision's."""

    request: bytes
    decision: bytes


class SignedReview(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A review: the canonical document and the armored SSH signature over it."""

    document: Annotated[bytes, Meta(max_length=MAX_REVIEW_BYTES)]
    signature: Annotated[str, Meta(max_length=MAX_ARMORED_CHARS)]


class RecordedReview(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A review that counts: the place of its entry."""

    seq: int


class Erasure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether bytes of redacted values may still be in the ledger's files."""

    hindrance: str = ""
    """Why they may; empty if none are."""


class HeadNote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The newest checkpoint, a C2SP signed note."""

    note: str


class HeadProof(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The newest checkpoint, and RFC 6962 proofs that lead to its root, lowest hash first."""

    note: str
    older_root: bytes = b""
    """The root of the first `from` leaves, which `consistency` leads from; empty if there are not so many."""
    consistency: Annotated[list[bytes], Meta(max_length=_MAX_HASHES)] = []
    inclusion: Annotated[list[Annotated[list[bytes], Meta(max_length=_MAX_HASHES)]], Meta(max_length=MAX_PROVEN)] = []
    """Of each `entry` that was asked for, in that order."""


class KeyOwner(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The person who has a key, as the roster says."""

    person: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a call was refused."""

    error: str

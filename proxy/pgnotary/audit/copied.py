"""What a ledger knows of the data of COPY FROM STDIN: how much it was, and its digest. The data itself is never in it.

The body of an entry, or the fields of one execution in it, enter; `Copied` leaves, or None.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pgnotary.audit.body import number, text
from pgnotary.ledger.canonical import JSON

__all__ = ["Copied", "copied_in"]


@dataclass(frozen=True, slots=True)
class Copied:
    """The data of one COPY, as it was sent to the server."""

    bytes: int
    sha256: str
    """Of all that CopyData messages carried, joined; hexadecimal."""

    def __str__(self) -> str:
        noun = "byte" if self.bytes == 1 else "bytes"
        return (
            f"copied {self.bytes:,} {noun} with SHA-256 {self.sha256}; the data is not in the ledger, only its digest"
        )


def copied_in(body: Mapping[str, JSON]) -> Copied | None:
    """Return what is told of the data; None if nothing was copied, or what is told is incomplete."""
    size, digest = number(body, "copied_bytes"), text(body, "copied_sha256")
    return Copied(size, digest) if size is not None and digest else None

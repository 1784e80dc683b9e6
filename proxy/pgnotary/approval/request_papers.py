"""Open requests as they are sent: what lies on the desk enters, papers leave, all at once or piece by piece.

A paper has the entries as the ledger has them, and what of their sealed values was opened; nothing is told that is not
in the ledger. In a list long values are left out: they come with their request alone.
"""

from collections.abc import Iterable, Iterator

import msgspec

from pgnotary.approval.bodies import EntryPaper, RequestPaper
from pgnotary.approval.desk import OpenRequest
from pgnotary.ledger.entries import Filed

__all__ = ["MAX_LISTED_BYTES", "listed", "paper_of"]

# Longer values are left out of the list: a thousand long statements at once would stop the proxy for a second.
MAX_LISTED_BYTES = 16_384

_PIECE_BYTES = 16_384


def paper_of(opened: OpenRequest) -> RequestPaper:
    """Return the whole paper of an open request."""
    return _paper(opened, None)


def listed(opened: Iterable[OpenRequest]) -> Iterator[bytes]:
    """Yield the pieces of one JSON array of papers."""
    piece = bytearray(b"[")
    for number, each in enumerate(opened):
        piece += b"," if number else b""
        piece += msgspec.json.encode(_paper(each, MAX_LISTED_BYTES))
        if len(piece) > _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece + b"]")


def _paper(opened: OpenRequest, max_bytes: int | None) -> RequestPaper:
    return RequestPaper(
        id=opened.id,
        request=_entry_paper(opened.request, max_bytes),
        preview=_entry_paper(opened.preview, max_bytes),
        decisions=[filed.raw for filed in opened.decisions],
    )


def _entry_paper(filed: Filed, max_bytes: int | None) -> EntryPaper:
    shown = {
        name: (salt, value)
        for name, (salt, value) in filed.opened.items()
        if max_bytes is None or len(value) <= max_bytes
    }
    return EntryPaper(entry=filed.raw, opened=shown)

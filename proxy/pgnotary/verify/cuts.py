"""Whether a start went on from less than had been signed: an entry enters, what it gave up leaves as a lack or a note.

`abandoned` of `proxy-started` is what was found at the ledger's high-water mark when somebody chose to go on without
it: {why, size?, root?}, the head that had been signed before, if it could be read. The number is that of the checklist.
"""

from pgnotary.ledger.entries import Entry, EntryType
from pgnotary.verify.findings import Findings

__all__ = ["tell_cut"]


def tell_cut(entry: Entry, place: int, findings: Findings) -> None:
    """Report the head that the entry at `place` says it gave up, if it does."""
    # (24) no head was given up
    if entry.type is not EntryType.STARTED or "abandoned" not in entry.body:
        return
    given_up = entry.body["abandoned"]
    told = given_up if isinstance(given_up, dict) else {}
    size, root = told.get("size"), told.get("root")
    if isinstance(size, int) and not isinstance(size, bool) and isinstance(root, str):
        if told.get("why") == "archived":
            text = f"went on beside a high-water mark over {size:,} entries, root {root[:8]}: they were archived, and"
            findings.lack(place, f"{text} nobody compared them then")
            return
        findings.lack(
            place,
            f"gave up a head over {size:,} entries, root {root[:8]}, that had been signed before: what it covered "
            f"beyond #{place}, or instead of these entries, is not in this ledger",
        )
    else:
        findings.note(place, "went on without the high-water mark, which was missing")

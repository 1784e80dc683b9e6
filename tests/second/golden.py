"""The ledger of format 1 that must verify for ever, as it was once made: `python -m tests.second.golden FOLDER`.

It is an export with an entry of every type and a request with every end, and lies in `tests/vectors/golden/`, beside
the SHA-256 of each of its files. Nobody makes it anew: what a later version writes otherwise is no reason to change
what an earlier one has written. A format that gains something gets a golden ledger of its own beside this one.
"""

import sys
from pathlib import Path

from tests.archive.kept import tell_archive
from tests.second.test_difference import whole
from tests.verify.builder import VKEY, Ledger

from pgnotary.audit.export import export_folder
from pgnotary.ledger.entries import Draft, EntryType

__all__ = ["golden"]


def golden() -> Ledger:
    """Return the ledger; some 110 entries."""
    ledger = whole(60)
    ledger.append(
        Draft(
            EntryType.STARTED,
            {"version": "0.1", "profile": "default", "policy": "ab", "config": "cd", "heartbeat_s": 60},
        )
    )
    ledger.roster("ana", "bo", "rita")
    ledger.wait(55).beat(60_000)
    ledger.open_session("S-10000000")
    for number, end in enumerate((EntryType.WITHDRAWN, EntryType.EXPIRED, EntryType.ORPHANED), 901):
        ledger.ask(f"R-{number}", session="S-10000000")
        ledger.preview(f"R-{number}")
        ledger.step(end, f"R-{number}", why="nobody has decided")
    ledger.ask("R-904", session="S-10000000", statement="UPDATE orders SET note = 'x'", reason="PAY-2211")
    ledger.preview("R-904")
    ledger.decide("R-904", max_rows=2000)
    ledger.step(EntryType.VOID, "R-904", why="role is another")
    ledger.close_session("S-10000000", forwarded=0, held=4)
    ledger.append(Draft(EntryType.FULL, {"why": "no room"}))
    asked = ledger.requests["R-904"].position.seq
    ledger.redact(ledger.values(asked, "reason", "statement"))
    ledger.stop(up_ms=75_000)
    # Behind R-2: of R-3 nobody knows the end.
    tell_archive(ledger, ledger.requests["R-3"].position.seq)
    return ledger


def main(folder: Path) -> None:
    """Write it."""
    ledger = golden()
    ledger.notes.append(ledger.sign())
    export_folder(ledger, folder, VKEY, secrets=True)
    # It belongs to the verifier's version, not to the ledger's.
    (folder / "verify.py").unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The ledger of format 2 that must verify for ever, as it was once made: `python -m tests.second.golden_2 FOLDER`.

It is an export with all that format 2 has beside format 1: several approvals of groups, a denial beside one, broken
glass with and without its review, another policy, withdrawals that are signed. It lies in `tests/vectors/golden-2/` and
is never made anew.
"""

import sys
from pathlib import Path
from typing import Any

from tests.verify.builder import VKEY, Ledger

from pgnotary.audit.export import export_folder
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.ceiling import Ceiling

__all__ = ["golden_2"]

_DBA: dict[str, JSON] = {"count": 2, "group": "dba", "people": ["ana", "bo"]}
_OWNERS: dict[str, JSON] = {"count": 1, "group": "owners", "people": ["cy", "Ana"]}
_NEEDED: dict[str, Any] = {"needs": 3, "quorum": [_DBA, _OWNERS], "break_glass": ["Bo", "dan"]}


def golden_2() -> Ledger:
    """Return the ledger; some 50 entries."""
    ledger = Ledger().start("ana", "bo", "cy", "dan", "rita")
    ledger.open_session()
    ledger.open_session("S-00000002", "dan")
    _approved_by_three(ledger)
    _denied(ledger)
    ledger.append(
        Draft(EntryType.POLICY, {"profile": "default", "policy": "ef", "config": "01", "left": ["listen.address"]})
    )
    ledger.ask("R-3", needs=2, quorum=[{"count": 2, "group": "anyone"}])
    ledger.preview("R-3")
    ledger.decide("R-3", approver="dan", lacks=1)
    ledger.step(EntryType.EXPIRED, "R-3")
    _broken(ledger)
    ledger.close_session(forwarded=0, held=3)
    ledger.close_session("S-00000002", forwarded=0, held=2)
    _taken_back(ledger)
    ledger.stop()
    return ledger


def _approved_by_three(ledger: Ledger) -> None:
    ledger.ask("R-1", reason="PAY-2210 purge", **_NEEDED)
    ledger.preview("R-1")
    approvals = [
        ledger.decide("R-1", approver="ana", max_rows=2000, lacks=2),
        ledger.decide("R-1", approver="cy", ceiling=Ceiling(1300, None), lacks=1),
        ledger.decide("R-1", approver="bo"),
    ]
    ledger.run("R-1", 1204, "committed", *approvals)


def _denied(ledger: Ledger) -> None:
    ledger.ask("R-2", **_NEEDED)
    ledger.preview("R-2")
    ledger.decide("R-2", approver="bo", lacks=2)
    ledger.decide("R-2", "deny", approver="cy", reason="not on a Friday")


def _broken(ledger: Ledger) -> None:
    """Glass that dan breaks for his own, reviewed; and that bo breaks beside an approval, not reviewed."""
    ledger.ask("R-4", person="dan", session="S-00000002", **_NEEDED)
    ledger.preview("R-4")
    broken = ledger.decide("R-4", "break-glass", approver="dan", reason="the disk is full", max_rows=2000)
    ledger.run("R-4")
    ledger.wait(3_600).review(broken, reviewer="cy")
    asked = ledger.requests["R-4"].position.seq
    ledger.redact(ledger.values(asked, "statement"))
    ledger.ask("R-5", person="dan", session="S-00000002", **_NEEDED)
    ledger.preview("R-5")
    ledger.decide("R-5", approver="ana", max_rows=1, lacks=2)
    ledger.decide("R-5", "break-glass", approver="bo", reason="nobody is awake")
    ledger.run("R-5")


def _taken_back(ledger: Ledger) -> None:
    """By eva, who may only ask: what waits, and what is approved at that moment; by dan, who decides over others'."""
    ledger.roster("ana", "bo", "cy", "dan", "rita", "eva")
    ledger.open_session("S-00000003")
    for request in ("R-6", "R-7"):
        ledger.ask(request, session="S-00000003")
        ledger.preview(request)
    ledger.take_back("R-6")
    ledger.decide("R-7")
    ledger.take_back("R-7", EntryType.VOID, why="withdrawn by requester while it was being approved")
    ledger.open_session("S-00000004", "dan")
    ledger.ask("R-8", person="dan", session="S-00000004")
    ledger.preview("R-8")
    ledger.take_back("R-8", person="dan")
    ledger.close_session("S-00000003", forwarded=0, held=2)
    ledger.close_session("S-00000004", forwarded=0, held=1)


def main(folder: Path) -> None:
    """Write it."""
    ledger = golden_2()
    ledger.notes.append(ledger.sign())
    export_folder(ledger, folder, VKEY, secrets=True)
    # It belongs to the verifier's version, not to the ledger's.
    (folder / "verify.py").unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

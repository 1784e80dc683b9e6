"""One cell of the matrix: an attack on a copy of a ledger, and what both verifiers tell of it.

`verify` of the command line reads the file that the adversary leaves, with what people remember; then both verifiers
read an export of it. Fails unless the status is 1, the fault is told at its place, nothing is told of what lies before,
and the two agree.
"""

import re
from pathlib import Path

from tests.audit.running import run
from tests.second.agreement import both_over_folder
from tests.tamper.attacks import Attack, Told
from tests.tamper.ground import Ground

from pgnotary.audit import standalone
from pgnotary.audit.export import export_folder
from pgnotary.store.reader import SqliteReader

__all__ = ["attacked", "status_of_second"]

TAMPERED = 1


def attacked(attack: Attack, ground: Ground, folder: Path) -> None:
    """Run an attack and verify what is left; raises AssertionError if it is not told as it should be."""
    adversary = ground.adversary(folder / "ledger.db")
    told = attack.run(adversary, ground)
    heads = ground.heads(folder)
    (folder / "roster").write_text(ground.roster)
    known: list[str | Path] = ["--key", ground.vkey, "--allowed-signers", folder / "roster"]
    words: list[str | Path] = [*known, *(word for head in heads for word in ("--heads", head))]
    done = run("verify", "--ledger", adversary.path, *words)
    assert done.exit_code == TAMPERED, done.output
    _check(told, done.stdout)
    notes = [ground.bo.note, ground.ana.note]
    with SqliteReader(adversary.path) as reader:
        export_folder(reader, folder / "evidence", ground.vkey)
    faults, _ = both_over_folder(folder / "evidence", ground.vkey, notes)
    assert bool(faults) or not told.exported, "the export lost it"


def status_of_second(evidence: Path, ground: Ground, notes: list[str]) -> int:
    """Run the second verifier over an export, with the heads that are remembered; its exit status."""
    words = [str(evidence), "--key", ground.vkey, "--allowed-signers", str(evidence.parent / "roster"), "--quiet"]
    for number, note in enumerate(notes):
        path = evidence.parent / f"head-{number}"
        path.write_text(note)
        words += ["--checkpoint", str(path)]
    return standalone.main(words)


def _check(told: Told, said: str) -> None:
    faults = [line.removeprefix("FAIL  ") for line in said.splitlines() if line.startswith("FAIL  ")]
    begins = "" if told.place is None else f"#{told.place} "
    assert any(fault.startswith(begins) and told.says in fault for fault in faults), (told, faults)
    if told.place is not None:
        # An entry that has gone, or is another one now, no longer is what the next one names.
        first = min(int(found[1]) for fault in faults if (found := re.match(r"#(\d+) ", fault)))
        assert first >= told.place - 1 or "remembered head" in told.says, (told, faults)

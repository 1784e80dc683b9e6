"""Both verifiers over the same ledger: entries and notes enter, what the package's own says leaves.

It fails where the two differ: in whether there is a fault, in the places of the faults, or in what they count.
Faults of checkpoints are compared only as such: the package tells the first of each kind, the other one each.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from pgnotary.audit import standalone
from pgnotary.audit.check import check
from pgnotary.audit.folder import FolderReader
from pgnotary.audit.joined import joined
from pgnotary.errors import BadCheckpoint, LedgerBroken
from pgnotary.request.roster import Roster
from pgnotary.verify.checklist import Kept, Summary, verify

__all__ = ["Both", "both_over_folder", "ed25519_is_good", "sodium"]

ed25519_is_good = standalone.ed25519_is_good
# The same few signatures stand in thousands of samples, and each takes milliseconds; it depends on nothing else.
standalone.ed25519_is_good = cache(ed25519_is_good)

Found = list[tuple[int | None, str]]


def sodium(public: bytes, message: bytes, signature: bytes) -> bool:
    """What libsodium says of a signature: the package verifies with it."""
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def of_entries(
    entries: list[Kept], newest: str, vkey: str, kept: list[str], roster: Roster | None
) -> tuple[Found, standalone.Verification]:
    """What the second one finds."""
    found: Found = []

    def report(place: int | None, text: str) -> None:
        found.append((place, text))

    key = standalone.Key.read(vkey)
    checkpoints: list[standalone.Checkpoint] = []
    last = None
    for note in kept:
        try:
            checkpoints.append(standalone.Checkpoint.read(note, key))
        except standalone.Bad as error:
            report(None, f"a checkpoint: {error}")
    try:
        last = standalone.Checkpoint.read(newest, key)
    except standalone.Bad as error:
        report(None, f"the newest checkpoint: {error}")
    if [each.size for each in checkpoints] != sorted(each.size for each in checkpoints):
        report(None, "a checkpoint out of order: this is the package's own store")
    sizes, redacted = standalone.first_look(each.raw for each in entries)
    sizes |= {each.size for each in checkpoints}
    people = None if roster is None else standalone.read_roster(roster.text)
    verification = standalone.Verification(key, sizes, people, report, redacted)
    for each in entries:
        verification.take(each.raw, dict(each.opened))
    verification.finish(last, checkpoints)
    return found, verification


def places(faults: Iterable[str]) -> set[int]:
    """Where the package sees a fault of an entry."""
    return {int(fault.split()[0][1:]) for fault in faults if "checkpoint" not in fault}


def agree(faults: tuple[str, ...], summary: Summary | None, found: Found, second: standalone.Verification) -> None:
    assert bool(faults) == bool(found), (faults, found)
    assert places(faults) == {place for place, text in found if "checkpoint" not in text}, (faults, found)
    told = any("checkpoint" in fault for fault in faults), any("checkpoint" in text for _, text in found)
    assert told[0] == told[1], (faults, found)
    if summary is not None:
        assert same_counts(summary) == second.counts
        assert (summary.head, summary.entries, summary.ledger) == (second.root, second.size, second.ledger)
        assert (list(summary.unknown), list(summary.prepared)) == (
            second.standing("unknown"),
            second.standing("prepared"),
        )
        assert [lack.split()[0] for lack in summary.lacks] == [lack.split()[0] for lack in second.lacks]
        assert list(summary.open) == second.standing("held", "approved", "intent", "executed")


def same_counts(summary: Summary) -> dict[str, int]:
    names = "rosters requests decisions rejected executions committed forwarded refused opened withheld redacted"
    return {name: getattr(summary, name) for name in names.split()}


def torn(entries: list[Kept], broken: LedgerBroken) -> Iterator[Kept]:
    yield from entries
    raise broken


class Both:
    """Stands in for the package's `verify`, and counts how many ledgers both were given."""

    def __init__(self) -> None:
        self.compared = 0

    def __call__(
        self,
        entries: Iterable[Kept],
        checkpoint: str,
        vkey: str,
        *,
        ahead: Iterable[Kept],
        roster: Roster | None = None,
        checkpoints: Iterable[str] = (),
    ) -> Summary:
        if not isinstance(entries, list):
            read: list[Kept] = []
            try:
                read.extend(entries)
            except LedgerBroken as broken:
                # A storage that breaks while it is read is no ledger that the second one could be given.
                return verify(torn(read, broken), checkpoint, vkey, ahead=read, checkpoints=checkpoints)
            entries = read
        first, kept = list(ahead), list(checkpoints)
        try:
            standalone.Key.read(vkey)
        except standalone.Bad:
            with pytest.raises(BadCheckpoint) as refused:
                verify(entries, checkpoint, vkey, ahead=first)
            raise refused.value from None
        if [each.raw for each in first] != [each.raw for each in entries]:
            # Two readings that differ: the second one reads a folder twice by itself.
            return verify(entries, checkpoint, vkey, ahead=first, roster=roster, checkpoints=kept)
        found, second = of_entries(entries, checkpoint, vkey, kept, roster)
        self.compared += 1
        try:
            summary = verify(entries, checkpoint, vkey, ahead=first, roster=roster, checkpoints=kept)
        except LedgerBroken as broken:
            agree(broken.faults, None, found, second)
            raise
        agree((), summary, found, second)
        return summary


def both_over_folder(
    folder: Path, vkey: str, remembered: Iterable[str] = (), archives: Sequence[Path] = ()
) -> tuple[tuple[str, ...], Any]:
    """The package's faults in an exported folder, and what the second one found; fails where they differ."""
    found: Found = []
    notes = list(remembered)
    key = standalone.Key.read(vkey)
    second = standalone.check_folder(
        folder,
        key,
        None,
        [standalone.Checkpoint.read(note, key) for note in notes],
        lambda place, text: found.append((place, text)),
        archives,
    )
    try:
        summary = check(joined(FolderReader(folder), archives), vkey, remembered=notes)
    except LedgerBroken as broken:
        faults = broken.faults
        assert found, faults
        of_entries_ = {fault for fault in faults if fault.startswith("#") and "checkpoint" not in fault}
        told = {place for place, text in found if place is not None and "checkpoint" not in text}
        assert places(of_entries_) == told, (faults, found)
        others = [text for place, text in found if place is None and "checkpoint" not in text]
        files = [each for each in faults if not each.startswith("#") and "checkpoint" not in each]
        assert bool(files) == bool(others), (faults, found)
        return faults, found
    agree((), summary, found, second)
    return (), found

"""Silence across a cut: a run that goes on behind it is judged there as it was before; by both verifiers."""

import pytest
from tests.archive.kept import Pruned, tell_archive
from tests.archive.test_rule import both
from tests.verify.builder import VKEY, Ledger

from pgnotary.audit import standalone
from pgnotary.errors import NotCanonical
from pgnotary.ledger.base import read_base
from pgnotary.ledger.canonical import decode, encode, timestamp
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.store import LedgerReader
from pgnotary.verify.checklist import Summary, base_behind


def told(reader: LedgerReader) -> Summary:
    faults, summary = both(reader)
    assert faults == ()
    assert summary is not None
    return summary


def eventful() -> Ledger:
    """Every way in which a run can be silent, and what explains it.

    #3 frozen, #5 a clock that is set forward, #8 a full disk, #11 killed.
    """
    ledger = Ledger().start(heartbeat_s=60)
    ledger.wait(58).beat(60_000)
    ledger.open_session()
    ledger.wait(3_600).forward("select 1")
    ledger.wait(1).beat(3_662_000)
    ledger.wait(900).forward("select 2", first=2)
    ledger.wait(1).beat(3_665_000, clock=timestamp(ledger.clock))
    ledger.append(Draft(EntryType.FULL, {"why": "disk full"}))
    ledger.wait(700).beat(4_400_000)
    ledger.wait(10).beat(4_411_000)
    ledger.append(Draft(EntryType.FORWARDED, {"summaries": [ledger.summary()]}, "S-00000001"))
    ledger.wait(100_000).start(heartbeat_s=60)
    ledger.wait(58).beat(60_000)
    ledger.wait(200).stop(up_ms=261_000)
    return ledger


def test_wherever_a_ledger_is_cut_what_follows_is_told_as_before() -> None:
    size = len(eventful().stored)
    whole = told(eventful())
    # Not vacuous: each kind of silence is in it.
    assert [each.split()[0] for each in whole.lacks] == ["#3", "#14"]
    for part in ("the clock was set forward", "its disk was full", "has no end: it was killed"):
        assert any(part in each for each in whole.notes)
    carried = 0
    for cut in range(1, size + 1):
        ledger = eventful()
        base = tell_archive(ledger, cut)
        assert read_base(base.raw) == base
        rest = told(Pruned(ledger, base))
        carried += bool(base.run and base.run.silences)
        # What had already been told before the cut is in the archive; nothing else is missing, and nothing is new.
        alone = Ledger(stored=ledger.stored[:cut])
        before = told_before(alone)
        assert rest.lacks == tuple(each for each in whole.lacks if each not in before), cut
        silent = [each for each in whole.notes if "clock was set" in each or "disk" in each or "no end" in each]
        assert [each for each in silent if each in rest.notes] == [each for each in silent if each not in before], cut
    assert carried >= 2


def told_before(ledger: Ledger) -> list[str]:
    """What is told of a ledger whose silences are not settled by its end, since that is a cut."""
    base = base_behind(ledger.stored, VKEY, None)
    ledger.notes.append(ledger.sign())
    summary = told(ledger)
    pending = {f"#{after}" for after, _ in base.run.silences} if base.run else set()
    return [each for each in (*summary.lacks, *summary.notes) if each.split()[0] not in pending]


def test_a_run_that_was_killed_before_it_was_archived_was_not_silent_until_then() -> None:
    ledger = Ledger().start(heartbeat_s=60)
    ledger.wait(58).beat(60_000)
    ledger.wait(100_000)
    base = tell_archive(ledger, 2)
    ledger.wait(100_000).start(heartbeat_s=60)
    for reader in (ledger, Pruned(ledger, base)):
        summary = told(reader)
        assert summary.lacks == ()
        [note] = [each for each in summary.notes if "has no end" in each]
        assert note.startswith("#3 archives 100,001 s later, but the run from #0 has no end")


@pytest.mark.parametrize(
    "change",
    [
        {"heartbeat_s": 86_400},
        {"up_ms": 10**9},
        {"clock": "2026-11-20T00:00:00.000000Z"},
        {"full": True},
        {"silences": []},
        {"began": 1},
    ],
    ids=str,
)
def test_who_changes_what_is_carried_of_a_run_to_hide_a_silence_is_found_out(change: dict[str, object]) -> None:
    ledger = eventful()
    base = tell_archive(ledger, 5)
    assert base.run is not None
    assert base.run.silences == ((3, 3_601_000_000),)
    fields = decode(base.raw)
    run = fields["run"]
    assert isinstance(run, dict)
    forged = read_base(encode({**fields, "run": {**run, **change}}))  # type: ignore[dict-item]
    faults, _ = both(Pruned(ledger, forged))
    assert faults == ("#16 names another base at #5 than this ledger stands on: its base was changed",)


@pytest.mark.parametrize(
    "run",
    [
        [],
        "run",
        {"heartbeat_s": 60},
        {"every_s": 0},
        {"every_s": 86_401},
        {"every_s": 2**53 - 1},
        {"full": 1},
        {"up_ms": -1},
        {"began": True},
        {"clock": "noon"},
        {"silences": [[1]]},
        {"silences": [[1, "2"]]},
        {"silences": {}},
        {"more": 1},
    ],
    ids=repr,
)
def test_what_is_no_run_is_refused_by_both_readers(run: object) -> None:
    ledger = eventful()
    fields = decode(base_behind(ledger.stored[:5], VKEY, None).raw)
    good = fields["run"]
    assert isinstance(good, dict)
    if isinstance(run, dict):
        run = {"heartbeat_s": run["every_s"]} if "every_s" in run else run
        run = {**good, **run} if run != {"heartbeat_s": 60} else run
    raw = encode({**fields, "run": run})  # type: ignore[dict-item]
    with pytest.raises(NotCanonical):
        read_base(raw)
    with pytest.raises(standalone.Bad):
        standalone.Base.read(raw)

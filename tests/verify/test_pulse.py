"""Silence in a ledger: what was promised and not kept is told, what the clocks explain is not; by both verifiers."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.second.agreement import Both
from tests.verify.builder import VKEY, Ledger

from pgnotary.audit.check import gaps
from pgnotary.errors import LedgerBroken
from pgnotary.ledger.canonical import timestamp
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.verify.checklist import Summary


def checked(ledger: Ledger) -> Summary:
    return Both()(list(ledger.entries()), ledger.sign(), VKEY, ahead=list(ledger.entries()))


def promising(every_s: int = 60) -> Ledger:
    """A run that has begun, with one clock at 1 s after its start."""
    return Ledger().start(heartbeat_s=every_s)


def full(ledger: Ledger) -> None:
    ledger.append(Draft(EntryType.FULL, {"why": "disk full"}))


def test_a_run_that_keeps_its_promise_lacks_nothing() -> None:
    ledger = promising()
    for n in range(1, 4):
        ledger.wait(59).beat(60_000 * n + 1_000)
    ledger.wait(73).beat(255_000)
    ledger.wait(10).stop(up_ms=266_000)
    summary = checked(ledger)
    assert (summary.lacks, summary.notes) == ((), ())


def test_a_proxy_that_was_frozen_is_found_out_at_whatever_comes_next() -> None:
    ledger = promising()
    ledger.wait(59).beat(61_000)
    # SIGSTOP, or a machine that sleeps: both clocks go on.
    ledger.wait(3_599).open_session()
    ledger.wait(1).beat(3_663_000)
    [lack] = checked(ledger).lacks
    assert lack.startswith("#2 is followed by nothing for 3,600 s, although a heartbeat was promised every 60 s")
    assert "until #3" in lack
    assert lack in gaps(checked(ledger))


@pytest.mark.parametrize(("quiet", "lacks"), [(75, 0), (76, 1)])
def test_the_slack_is_fifteen_seconds(quiet: int, lacks: int) -> None:
    ledger = promising()
    ledger.wait(quiet - 1).beat((quiet + 1) * 1000)
    assert len(checked(ledger).lacks) == lacks


def test_a_ledger_that_promised_nothing_lacks_nothing() -> None:
    ledger = Ledger().start()
    ledger.wait(86_400).stop()
    assert checked(ledger).lacks == ()


@pytest.mark.parametrize("promise", [0, -5, True, "60", 86_401, 2**53 - 1], ids=repr)
def test_what_is_no_promise_is_none_and_stops_nobody(promise: int | str) -> None:
    ledger = Ledger().start(heartbeat_s=promise)
    ledger.wait(10_000_000).stop()
    assert checked(ledger).lacks == ()


def test_a_clock_that_was_set_forward_is_no_silence_and_is_noted() -> None:
    ledger = promising()
    ledger.wait(59).beat(61_000)
    # An hour is skipped between two entries that are a second apart.
    ledger.wait(3_600).open_session()
    ledger.wait(59).beat(61_000 + 1_000 + 60_000)
    summary = checked(ledger)
    assert summary.lacks == ()
    assert summary.notes == ("#2 comes right before #3: the clock was set forward by about 3,541 s",)


def test_a_clock_that_was_set_back_is_no_silence() -> None:
    ledger = promising()
    # The store lets times stand still until the clock is there again.
    for n in range(1, 60):
        ledger.wait(-1).beat(60_000 * n)
    ledger.wait(60).beat(60_000 * 60)
    summary = checked(ledger)
    assert (summary.lacks, summary.notes) == ((), ())


def test_entries_while_the_clock_stands_behind_take_nothing_from_a_step_that_follows() -> None:
    ledger = promising()
    # Set back by an hour: times stand still, `clock` does not.
    ledger.wait(-1).beat(60_000, clock=timestamp(ledger.clock - timedelta(hours=1)))
    ledger.wait(-1).open_session()
    # And forward by two, a minute later.
    ledger.wait(3_779).beat(180_000, clock=timestamp(ledger.clock + timedelta(seconds=1)))
    assert checked(ledger).lacks == ()


def test_a_clock_set_forward_and_back_between_two_heartbeats_is_no_silence() -> None:
    ledger = promising()
    ledger.wait(3_600).open_session()
    ledger.beat(60_000, clock=timestamp(ledger.clock - timedelta(seconds=3_540)))
    assert checked(ledger).lacks == ()


@pytest.mark.parametrize("clock", ["", "noon", "2026-02-30T00:00:00.000000Z", 5, True, {}], ids=repr)
def test_a_clock_that_is_no_time_is_passed_over_by_both(clock: str) -> None:
    ledger = promising()
    ledger.wait(3_599).beat(3_601_000, clock=clock)
    assert len(checked(ledger).lacks) == 1


def test_a_step_of_the_clock_does_not_excuse_a_silence_beside_it() -> None:
    ledger = promising()
    ledger.wait(3_600).open_session()
    ledger.wait(7_200).forward("select 1")
    # 3,600 s of these were the clock's.
    ledger.wait(59).beat(7_270_000)
    summary = checked(ledger)
    assert [lack.split()[0] for lack in summary.lacks] == ["#2"]
    assert [note.split()[0] for note in summary.notes] == ["#1"]


def test_a_run_that_was_killed_promises_nothing_beyond_its_last_entry_and_is_noted() -> None:
    ledger = promising()
    ledger.wait(59).beat(61_000)
    ledger.wait(7_199).start(heartbeat_s=60)
    summary = checked(ledger)
    assert summary.lacks == ()
    [note] = summary.notes
    assert note == "#3 starts 7,200 s later, but the run from #0 has no end: it was killed, or could not write"


def test_a_silence_at_the_end_of_what_there_is_stands_unless_a_clock_explains_it() -> None:
    ledger = promising()
    ledger.wait(600).open_session()
    assert len(checked(ledger).lacks) == 1


def test_a_full_disk_that_was_recorded_is_no_silence() -> None:
    ledger = promising()
    full(ledger)
    ledger.wait(7_199).open_session()
    summary = checked(ledger)
    assert summary.lacks == ()
    assert summary.notes == ("#2 says that its disk was full: nothing was recorded for 7,200 s",)


@pytest.mark.parametrize("up_ms", [-1, "1000", True, [], {}], ids=repr)
def test_a_heartbeat_that_says_nothing_is_a_fault(up_ms: str | int) -> None:
    ledger = promising()
    ledger.beat(up_ms)
    with pytest.raises(LedgerBroken, match="#2 a heartbeat that does not say how long its run has lasted"):
        checked(ledger)


def test_a_heartbeat_without_a_run_is_no_fault() -> None:
    ledger = Ledger()
    ledger.beat(2**53 - 1)
    ledger.wait(5_000).beat(0)
    assert checked(ledger).lacks == ()


@pytest.mark.parametrize("type_", [EntryType.HEARTBEAT, EntryType.FULL])
def test_a_heartbeat_that_belongs_to_a_request_is_a_fault(type_: EntryType) -> None:
    ledger = promising()
    ledger.append(Draft(type_, {"up_ms": 1}, None, "R-1"))
    with pytest.raises(LedgerBroken, match="belongs to no request"):
        checked(ledger)


@pytest.mark.parametrize(
    "cut",
    [
        lambda ledger: ledger.stored.pop(3),
        lambda ledger: (ledger.stored.pop(3), ledger.relink(resign=False)),
    ],
)
def test_a_heartbeat_cannot_be_taken_away_unnoticed(cut: Callable[[Ledger], object]) -> None:
    ledger = promising()
    for n in range(1, 4):
        ledger.wait(59).beat(60_000 * n)
    kept = ledger.sign()
    cut(ledger)
    with pytest.raises(LedgerBroken):
        Both()(list(ledger.entries()), kept, VKEY, ahead=list(ledger.entries()))


def test_a_heartbeat_that_the_keys_holder_takes_away_leaves_a_silence() -> None:
    ledger = promising()
    for n in range(1, 4):
        ledger.wait(59).beat(60_000 * n)
    ledger.stored.pop(3)
    ledger.relink()
    assert [lack.split()[0] for lack in checked(ledger).lacks] == ["#2"]


def test_a_head_that_was_given_up_is_told_for_ever() -> None:
    ledger = Ledger().start(abandoned={"why": "shorter", "size": 812, "root": "ab" * 32})
    ledger.stop()
    [lack] = checked(ledger).lacks
    assert lack.startswith("#0 gave up a head over 812 entries, root abababab")


@pytest.mark.parametrize(
    "abandoned", [{"why": "missing"}, [], "x", {"size": True, "root": "ab"}, {"size": 1}, {"size": 1, "root": 2}]
)
def test_a_mark_that_was_missing_is_noted(abandoned: dict[str, str]) -> None:
    summary = checked(Ledger().start(abandoned=abandoned))
    assert summary.lacks == ()
    assert summary.notes == ("#0 went on without the high-water mark, which was missing",)


def test_a_clock_that_was_set_back_over_a_silence_does_not_hide_it() -> None:
    ledger = promising()
    ledger.wait(59).beat(61_000)
    # The proxy is stopped for an hour, then the clock is set back by that hour, then it goes on.
    ledger.wait(59).beat(61_000 + 3_660_000)
    ledger.wait(5).stop(up_ms=61_000 + 3_666_000)
    [lack] = checked(ledger).lacks
    assert lack.startswith("#2 lies 3,660 s before #3 by a clock that nobody sets")


@pytest.mark.parametrize(("ms", "lacks"), [(150_000, 0), (150_001, 1)])
def test_a_clock_that_was_set_back_leaves_each_entry_its_time(ms: int, lacks: int) -> None:
    ledger = promising()
    ledger.wait(1).beat(ms)
    assert len(checked(ledger).lacks) == lacks


def test_a_run_that_says_it_became_younger_explains_no_silence() -> None:
    ledger = promising()
    ledger.wait(59).beat(61_000)
    ledger.wait(3_600).beat(12_000)
    assert len(checked(ledger).lacks) == 1

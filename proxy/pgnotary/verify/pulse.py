"""Whether silence was signed: entries enter in order; where a proxy said nothing for longer than it promised, leaves.

A run says in `proxy-started` how many seconds it lets pass without an entry (`heartbeat_s`). Between two of its entries
more may pass only by the slack, or its clock was set: heartbeats and `proxy-stopped` say how long the run has lasted by
a clock that nobody sets and that goes on while the machine sleeps (`up_ms`), and what the wall clock said (`clock`; the
time of an entry is another one while a clock that was set back stands behind the last entry). What the wall clock went
ahead of that one explains as much of the silences since the last time both were told, and all of them if no more than
the promised time has passed. After `ledger-full` nothing is promised until the next entry; `archived` is appended
while no proxy runs.

A clock that was set back over a silence hides it from the times of entries, and not from `up_ms`: where more has passed
than the entries in between may stand for, that is a lack, too.

What lies before a run, between two runs and behind the last entry is not known here. The number is that of the
checklist.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgnotary.errors import NotCanonical
from pgnotary.ledger.base import Base, CarriedRun
from pgnotary.ledger.canonical import parse_timestamp
from pgnotary.ledger.entries import Entry, EntryType
from pgnotary.verify.execution import number
from pgnotary.verify.findings import Findings
from pgnotary.verify.heads import Heads

__all__ = ["MOST_S", "SLACK", "Pulse"]

# A heartbeat is due when nothing has happened; the disk, a busy machine and the steps of a clock may keep it so long.
SLACK = timedelta(seconds=15)
# What promises less often than once a day promises nothing.
MOST_S = 86_400

_NO_TIME = timedelta(0)


@dataclass(slots=True)
class _Silence:
    """Two neighbours that are too far apart."""

    after: int
    before: int
    lasted: timedelta
    beyond: timedelta
    """What was promised."""


class Pulse:
    """Follows the runs of a proxy through a ledger."""

    def __init__(self, heads: Heads, findings: Findings, base: Base | None = None) -> None:
        self._heads = heads
        self._findings = findings
        self._every = _NO_TIME
        """What the run promised; nothing, or there is none, if it is zero."""
        self._began = 0
        self._last: datetime | None = base.time if base else None
        """The time of the entry before."""
        self._full = False
        """Whether that told of a full disk."""
        self._told: tuple[datetime, timedelta] | None = None
        """The last time when both clocks were known: by the wall, and since the run began."""
        self._told_at = 0
        """The place of the entry that did."""
        self._was_full = False
        """Whether a disk was full since then: that promises nothing."""
        self._silences: list[_Silence] = []
        """Since then."""
        if base and (run := base.run):
            self._every = timedelta(seconds=run.heartbeat_s)
            self._began, self._full = run.began, run.full
            self._told = (run.clock, timedelta(milliseconds=run.up_ms))
            self._told_at, self._was_full = run.told_at, run.was_full
            for after, lasted_us in run.silences:
                lasted = timedelta(microseconds=lasted_us)
                self._silences.append(_Silence(after, after + 1, lasted, lasted - self._every))

    def carried(self) -> CarriedRun | None:
        """Return what must be known of the run that goes on if the ledger is cut here."""
        if not self._every or self._told is None:
            return None
        clock, up = self._told
        return CarriedRun(
            heartbeat_s=self._every // timedelta(seconds=1),
            began=self._began,
            clock=clock,
            up_ms=up // timedelta(milliseconds=1),
            told_at=self._told_at,
            full=self._full,
            was_full=self._was_full,
            silences=tuple((each.after, each.lasted // timedelta(microseconds=1)) for each in self._silences),
        )

    def follow(self, entry: Entry) -> None:
        """Take the next entry; `heads` must reach up to the one before it."""
        # (23) no silence beyond what was promised
        match entry.type:
            case EntryType.STARTED:
                self._begin(entry)
            case EntryType.ARCHIVED:
                self._break_off(entry, "archives")
            case _:
                self._compare(entry)
        if entry.type is EntryType.STOPPED:
            self._settle(_NO_TIME)
            self._every = _NO_TIME
        self._last = _wall(entry)
        self._full = entry.type is EntryType.FULL

    def finish(self) -> None:
        """Report what nothing explained."""
        self._settle(_NO_TIME)

    def _break_off(self, entry: Entry, what: str) -> None:
        """End a run that has told of no end, at an entry that nobody appends while one lasts."""
        self._settle(_NO_TIME)
        if self._every and self._last is not None:
            passed = _spelled(_wall(entry) - self._last)
            ended = "it was killed, or could not write"
            text = f"{what} {passed} later, but the run from #{self._began} has no end: {ended}"
            self._findings.note(self._heads.size, text)
        self._every = _NO_TIME

    def _begin(self, entry: Entry) -> None:
        self._break_off(entry, "starts")
        promised_s = number(entry, "heartbeat_s") or 0
        self._every = timedelta(seconds=promised_s if 0 < promised_s <= MOST_S else 0)
        self._began = self._heads.size
        self._tell((_clock(entry), _NO_TIME))

    def _tell(self, clocks: tuple[datetime, timedelta]) -> None:
        self._told, self._told_at, self._was_full = clocks, self._heads.size, False

    def _compare(self, entry: Entry) -> None:
        self._was_full |= self._full
        if self._every and self._last is not None:
            lasted = _wall(entry) - self._last
            if lasted > self._every + SLACK:
                self._be_silent(_Silence(self._heads.size - 1, self._heads.size, lasted, lasted - self._every))
        if entry.type in (EntryType.HEARTBEAT, EntryType.STOPPED):
            up_ms = number(entry, "up_ms")
            if up_ms is not None and up_ms >= 0:
                now = (_clock(entry), timedelta(milliseconds=up_ms))
                self._look_behind(now[1])
                self._settle(self._gone_ahead(*now))
                self._tell(now)
            elif entry.type is EntryType.HEARTBEAT:
                self._findings.fault(self._heads.size, "a heartbeat that does not say how long its run has lasted")

    def _look_behind(self, up: timedelta) -> None:
        """Report a silence that the times of the entries since both clocks were told do not show."""
        if self._told is None or not self._every or self._was_full:
            return
        passed = up - self._told[1] - sum((each.beyond for each in self._silences), _NO_TIME)
        if passed > (self._heads.size - self._told_at) * (self._every + SLACK):
            self._findings.lack(
                self._told_at,
                f"lies {_spelled(up - self._told[1])} before #{self._heads.size} by a clock that nobody sets, longer "
                f"than the entries in between may stand for, although a heartbeat was promised every "
                f"{_spelled(self._every)}: the wall clock was set back over a silence",
            )

    def _gone_ahead(self, wall: datetime, up: timedelta) -> timedelta:
        """Return by how much the wall clock went ahead since both were told."""
        if self._told is None:
            return _NO_TIME
        passed = up - self._told[1]
        if passed < _NO_TIME:
            # No clock runs back that nobody sets: it explains nothing.
            return _NO_TIME
        if passed <= self._every + SLACK:
            # There was no time for a silence.
            return sum((each.beyond for each in self._silences), _NO_TIME)
        return (wall - self._told[0]) - passed

    def _be_silent(self, silence: _Silence) -> None:
        if self._full:
            passed = _spelled(silence.lasted)
            self._findings.note(silence.after, f"says that its disk was full: nothing was recorded for {passed}")
        else:
            self._silences.append(silence)

    def _settle(self, ahead: timedelta) -> None:
        """Report the silences that a wall clock which went ahead by so much does not explain."""
        for each in self._silences:
            if each.beyond - ahead <= SLACK:
                ahead -= each.beyond
                text = f"comes right before #{each.before}: the clock was set forward by about {_spelled(each.beyond)}"
                self._findings.note(each.after, text)
                continue
            self._findings.lack(
                each.after,
                f"is followed by nothing for {_spelled(each.lasted)}, although a heartbeat was promised every "
                f"{_spelled(self._every)}: until #{each.before} the proxy stood still, or its machine slept",
            )
        self._silences = []


def _wall(entry: Entry) -> datetime:
    return entry.position.time


def _clock(entry: Entry) -> datetime:
    with suppress(NotCanonical):
        return parse_timestamp(str(entry.body.get("clock")))
    return _wall(entry)


def _spelled(passed: timedelta) -> str:
    return f"{passed.total_seconds():,.0f} s"

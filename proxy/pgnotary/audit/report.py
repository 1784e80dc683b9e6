"""A report on a period, in Markdown: stories and a verification result enter, lines leave.

It says what an auditor asks first: how much was asked and decided, by whom and how fast, what ended badly, what nobody
knows, and whether the ledger that all this is taken from is whole. Cells hold text of clients and approvers with all of
Markdown's marks escaped; each line must be shown or written as one line, whatever characters it holds.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgnotary.audit.executions import Counted, executions
from pgnotary.audit.redactions import Redacted, Redactions
from pgnotary.audit.rosters import InForce, rosters
from pgnotary.audit.search import Search, Wanted
from pgnotary.audit.story import Story, stories
from pgnotary.audit.words import clock, decision_words, duration, outcome_words, preview_words, who
from pgnotary.request.life import State
from pgnotary.store import LedgerReader, base_of

__all__ = ["FAST", "Facts", "gather", "report"]

# Too fast to have read a statement and its preview.
FAST = timedelta(seconds=5)

# How the judge names sqlglot in the reason of a verdict.
_SECOND_READER = "second reader"

# Also what GitHub would make a link, a formula or a picture of, and what would begin a heading or a list.
_MARKS = re.compile(
    r"[\\`*_\[\]<>|~&@$]|^[+-]|#(?=\d)|^#|(?<=GH)-(?=\d)"
    r"|:(?=//)|(?<=mailto):|(?<=xmpp):|(?<=www)\.|:(?=(?:[\w+-]*[a-z_+-][\w+-]*|100|1234):)",
    re.IGNORECASE,
)

_COLUMNS = ("Request", "Asked", "Who", "What", "Preview", "Decision", "Time to decide", "Outcome")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a report is made of."""

    since: datetime | None
    until: datetime | None
    stories: Sequence[Story]
    forwarded: int
    counted: int
    """Of these, those of which the ledger keeps counts and a digest, and no text."""
    unheld: int
    """Of these, those that policy would have held, did it do more than observe."""
    refused: int
    rosters: Sequence[InForce]
    """Those in force at any time of the period, oldest first."""
    redactions: Sequence[Redacted]
    """Those of the period, whatever they have erased."""
    verification: Sequence[str]
    """What verifying the whole ledger said, a line each."""


def gather(reader: LedgerReader, since: datetime | None, until: datetime | None, verification: Sequence[str]) -> Facts:
    """Return the facts of a period, taken from a ledger that was verified with the given result."""
    wanted = Wanted(since=since, until=until)
    told = Search(wanted).executions(executions(reader.entries(), base=base_of(reader)))
    verdicts: Counter[str] = Counter()
    for each in told:
        if isinstance(each, Counted):
            verdicts["counted"] += each.executions
        else:
            verdicts["unheld" if each.would else each.verdict] += 1
    return Facts(
        since=since,
        until=until,
        stories=list(Search(wanted).stories(stories(reader.entries()))),
        forwarded=verdicts["forward"] + verdicts["unheld"] + verdicts["counted"],
        counted=verdicts["counted"],
        unheld=verdicts["unheld"],
        refused=verdicts["refuse"],
        redactions=[
            each
            for each in Redactions.of(reader.entries()).all
            if (since is None or each.at >= since) and (until is None or each.at < until)
        ],
        rosters=_in_force(rosters(reader.entries()), since, until),
        verification=verification,
    )


def _in_force(told: Iterable[InForce], since: datetime | None, until: datetime | None) -> list[InForce]:
    found: list[InForce] = []
    for each in told:
        if until is not None and each.at >= until:
            break
        if since is not None and each.at <= since:
            # Replaced before the period began.
            found.clear()
        found.append(each)
    return found


def report(facts: Facts) -> Iterator[str]:
    """Yield the lines of a Markdown document."""
    yield "# Ledger report"
    yield ""
    yield f"Period: {_period(facts)}"
    yield ""
    yield "Verification:"
    yield ""
    yield from (f"- {_cell(line)}" for line in facts.verification)
    yield from _section("Counts", _table(("What", "How many"), _counts(facts)))
    yield from _section("Requests", _stories(facts.stories))
    for title, chosen in _concerns(facts.stories):
        yield from _section(title, _stories(chosen))
    yield from _section("Decisions that did not count", _rejections(facts.stories))
    yield from _section("Redactions", _redactions(facts.redactions))
    yield from _section("Rosters in force", _rosters(facts.rosters))


def _period(facts: Facts) -> str:
    since = clock(facts.since) if facts.since else "the beginning"
    until = clock(facts.until) if facts.until else "the end of the ledger"
    return f"{since} to {until}"


def _counts(facts: Facts) -> list[tuple[str, str]]:
    states = Counter(story.state for story in facts.stories)
    approved = sum(
        len(story.approvals) + (story.decision is not None and story.decision.answer != "deny")
        for story in facts.stories
    )
    broken = sum(story.is_broken for story in facts.stories)
    committed = [story.rows for story in facts.stories if story.fate is State.COMMITTED]
    rows = sum(each for each in committed if each is not None)
    redacted = sum(len(values.seals) for each in facts.redactions for values in each.values)
    counts = [
        ("Statements forwarded without a decision", facts.forwarded),
        *([("of which only counts and a digest are kept", facts.counted)] if facts.counted else []),
        *([("of which policy, which observes, would have held", facts.unheld)] if facts.unheld else []),
        ("Statements refused at once", facts.refused),
        ("Requests", len(facts.stories)),
        *((f"Requests that are {state}", states[state]) for state in State if states[state]),
        ("Approvals signed", approved),
        *([("of which broke the glass", broken)] if broken else []),
        ("Rows committed by approved statements", rows),
        *([("Sealed values redacted", redacted)] if redacted else []),
    ]
    return [(name, f"{count:,}") for name, count in counts]


def _concerns(told: Sequence[Story]) -> list[tuple[str, list[Story]]]:
    def standing(*states: State) -> list[Story]:
        return [story for story in told if story.state in states]

    fast = [story for story in told if _is_fast(story)]
    return [
        ("Glass broken, and not reviewed", [story for story in told if story.is_broken and not story.reviewed]),
        ("Glass broken, and reviewed since", [story for story in told if story.is_broken and story.reviewed]),
        (f"Approved in less than {FAST.seconds} seconds", fast),
        ("Denied", standing(State.DENIED)),
        ("Expired, withdrawn or orphaned", standing(State.EXPIRED, State.WITHDRAWN, State.ORPHANED)),
        ("Approved and not run", standing(State.APPROVED, State.VOID)),
        ("Prepared, neither committed nor rolled back", standing(State.PREPARED)),
        ("Unknown outcomes", standing(State.UNKNOWN, State.INTENT, State.EXECUTED)),
        ("Held because the second reader disagreed", [story for story in told if _SECOND_READER in story.why]),
    ]


def _is_fast(story: Story) -> bool:
    return any(each.answer != "deny" and story.time_to(each) < FAST for each in story.carried_by)


def _stories(told: Iterable[Story]) -> list[str]:
    return _table(_COLUMNS, (_row(story) for story in told))


def _row(story: Story) -> tuple[str, ...]:
    took = story.time_to_decision
    words = f"{decision_words(story)}: {story.decision.reason}" if story.decision else decision_words(story)
    return (
        story.request,
        clock(story.asked_at),
        who(story.person, story.user),
        f"{story.what} in {story.database}",
        preview_words(story.preview),
        words,
        "" if took is None else duration(took),
        outcome_words(story),
    )


def _rejections(told: Sequence[Story]) -> list[str]:
    rows = [
        (story.request, clock(each.at), each.claimed or "not known", each.why)
        for story in told
        for each in story.rejected
    ]
    return _table(("Request", "When", "Claims to be by", "Why not"), rows)


def _redactions(told: Sequence[Redacted]) -> list[str]:
    rows = [
        (
            f"#{each.seq}",
            clock(each.at),
            each.by,
            "; ".join(f"{', '.join(v.seals)} of #{v.seq}" for v in each.values),
            each.reason,
        )
        for each in told
    ]
    return _table(("Entry", "When", "By", "What", "Why"), rows)


def _rosters(told: Sequence[InForce]) -> list[str]:
    rows = [(f"#{each.seq}", clock(each.at), person, key) for each in told for person, key in each.signers]
    return _table(("Entry", "In force from", "Person", "Key"), rows)


def _section(title: str, body: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *(body or ["None."])]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table, or nothing if it has no row."""
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}", *lines] if lines else []


def _cell(text: str) -> str:
    return _MARKS.sub(lambda mark: f"\\{mark[0]}", text)

"""What a foreign suite's tests came to, read from JUnit XML, and where one way's results differ from another's.

The text that pytest wrote enters; a dictionary from a test's name to its `Result` leaves. Nothing is run here.
"""

import xml.etree.ElementTree as Xml
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["ABSENT", "Difference", "Outcome", "Result", "Results", "by_reason", "differences", "read_results", "totals"]

_LONGEST_REASON = 200


class Outcome(IntEnum):
    """The worse one counts where a test has two: it passed, and then its clearing up failed."""

    ABSENT = 0
    PASSED = 1
    SKIPPED = 2
    FAILED = 3
    ERROR = 4

    @property
    def word(self) -> str:
        """As people read it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Result:
    """How one test ended; `reason` is the first line of its error, or why it was skipped."""

    outcome: Outcome
    reason: str = ""


ABSENT = Result(Outcome.ABSENT, "it did not run")
"""The suite was stopped before it, or gave it another name."""

Results = Mapping[str, Result]

_TAGS = {"skipped": Outcome.SKIPPED, "failure": Outcome.FAILED, "error": Outcome.ERROR}


@dataclass(frozen=True, slots=True)
class Difference:
    """A test that ended in two ways."""

    test: str
    expected: Result
    found: Result


def read_results(junit: str) -> Results:
    """Return each test's result; raises ParseError if the XML ends too early."""
    found: dict[str, Result] = {}
    for case in Xml.fromstring(junit).iter("testcase"):
        name = "::".join(part for part in (case.get("classname"), case.get("name")) if part)
        results = [Result(_TAGS[part.tag], _first_line(part)) for part in case if part.tag in _TAGS]
        result = max(results, key=lambda each: each.outcome, default=Result(Outcome.PASSED))
        found[name] = max(found.get(name, ABSENT), result, key=lambda each: each.outcome)
    return found


def totals(results: Results) -> Counter[Outcome]:
    """Return how many tests ended in which way."""
    return Counter(result.outcome for result in results.values())


def differences(expected: Results, found: Results) -> list[Difference]:
    """Return the tests whose outcomes differ, by name; why a test failed in both is not compared."""
    pairs = [
        Difference(name, expected.get(name, ABSENT), found.get(name, ABSENT)) for name in sorted({*expected, *found})
    ]
    return [pair for pair in pairs if pair.expected.outcome is not pair.found.outcome]


def by_reason(differing: Iterable[Difference]) -> list[tuple[str, list[Difference]]]:
    """Return the differences in groups that share a reason, the largest first."""
    groups: defaultdict[str, list[Difference]] = defaultdict(list)
    for each in differing:
        groups[each.found.reason or each.found.outcome.word].append(each)
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))


def _first_line(part: Xml.Element) -> str:
    lines = (part.get("message") or part.text or "").strip().splitlines()
    return lines[0].strip()[:_LONGEST_REASON] if lines else ""

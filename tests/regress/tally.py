"""Counts what became of the statements, keeps what was wrong with its place, and prints the table."""

import json
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["Finding", "Tally"]

# A reason names what it is about; the table is by the kind of reason.
_NAMES = re.compile(r"\b(calls|attribute|calls the operator|casts|relation|changes) \S+?(,?)(?= |$)|\b[0-9]+\b")
_TOP = 20


@dataclass(frozen=True)
class Finding:
    """A text that was judged wrong, or held."""

    script: str
    line: int
    text: str
    why: str


@dataclass
class Tally:
    """The figures of some scripts."""

    scripts: int = 0
    unexpected: list[str] = field(default_factory=list)
    """Scripts whose output is not quite what PostgreSQL's own tests expect of it: something came between."""
    absent: int = 0
    """Scripts that a schedule names and the source has not."""
    unparsed: int = 0
    """Texts that libpg_query cannot parse: the scripts have many that nobody should."""
    foreign: int = 0
    """Texts sent under a lexer setting or an encoding that no session behind the proxy has: not judged."""
    judged: int = 0
    harmless: int = 0
    executed: int = 0
    """Harmless ones run READ ONLY."""
    failed: int = 0
    """Of these, those that the server refused for another reason than that they write."""
    otherwise: Counter[str] = field(default_factory=Counter)
    """Of these, how often a trial ended with another SQLSTATE than the text when it ran."""
    untried: Counter[str] = field(default_factory=Counter)
    """Harmless ones that could not be run twice, by what hindered it."""
    reads: int = 0
    """Statements of a read's form that call nothing VOLATILE, and ran READ ONLY without an error or an id."""
    reads_of_volatile: int = 0
    """Held ones beside these, in which the server counted calls of a VOLATILE function that no text names."""
    seconds: float = 0.0
    judging_s: float = 0.0
    wrong: list[Finding] = field(default_factory=list)
    held: list[Finding] = field(default_factory=list)

    @property
    def held_share(self) -> float:
        """How many of the plain reads were held."""
        return len(self.held) / self.reads if self.reads else 0.0

    def rows(self) -> list[str]:
        """Return the table, by line."""
        as_expected = self.scripts - len(self.unexpected)
        figures = [
            ("scripts", f"{self.scripts}, {as_expected} with exactly the expected output, {self.absent} absent"),
            ("not parsed by libpg_query", f"{self.unparsed}"),
            ("not judged: foreign settings", f"{self.foreign}"),
            ("judged", f"{self.judged} in {self.judging_s:.1f} s"),
            ("called harmless", f"{self.harmless}"),
            ("executed READ ONLY", f"{self.executed}, {self.failed} with an error as such"),
            ("  which ended otherwise", f"{self.otherwise.total()} {dict(self.otherwise.most_common(_TOP)) or ''}"),
            ("harmless, cannot be tried", f"{self.untried.total()} {dict(self.untried.most_common()) or ''}"),
            ("wrong", f"{len(self.wrong)}"),
            ("plain reads", f"{self.reads}"),
            ("plain reads held", f"{len(self.held)} ({self.held_share:.2%})"),
            ("  held beside: ran a VOLATILE", f"{self.reads_of_volatile}"),
            ("time", f"{self.seconds:.0f} s"),
        ]
        reasons = Counter(_NAMES.sub(_blank, finding.why) for finding in self.held)
        exactly = Counter(finding.why for finding in self.held)
        return [
            *(f"  {name:<30}{value:>10}" if value.isdigit() else f"  {name:<30}{value}" for name, value in figures),
            *(f"  output not as expected: {name}" for name in self.unexpected),
            *(f"  wrong: {f.script}:{f.line} {f.why}: {_short(f.text)}" for f in self.wrong),
            *(["  held, by kind of reason:"] if reasons else []),
            *(f"    {count:6} {why}" for why, count in reasons.most_common(_TOP)),
            *(["  held, by reason:"] if reasons else []),
            *(f"    {count:6} {why}" for why, count in exactly.most_common(_TOP)),
        ]

    def write(self, folder: Path, name: str) -> None:
        """Write the wrong and the held ones, with place and whole text, as JSON lines."""
        for kind, findings in (("wrong", self.wrong), ("held", self.held)):
            lines = [json.dumps(asdict(finding), ensure_ascii=False) + "\n" for finding in findings]
            (folder / f"{name}-{kind}.jsonl").write_text("".join(lines), encoding="utf-8")


def _blank(match: re.Match[str]) -> str:
    return f"{match[1]} ...{match[2]}" if match[1] else "..."


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 160 else words[:157] + "..."

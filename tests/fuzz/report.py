"""What a fuzz comes to: findings, and how much was looked at.

Findings and counts enter as the run goes, lines for people leave, and rows for the corpus.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["FIGURES", "Finding", "Report"]

FIGURES = (
    "texts",
    "forwarded",
    "asked",
    "answered without error",
    "second reader differs on the raw text",
    "sessions lost",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be."""

    kind: str
    """`write`, `readers`, `slow`, `error`, `hang` or `crash`."""
    sql: str
    """The text, as short as it could be made."""
    did: str
    via: str = ""
    server: str = ""
    wall: str = ""
    """Whether a read-only block would have stopped it."""
    seed: int = 0
    number: int = 0
    """Which text of the seed showed it."""

    def row(self) -> str:
        """Return its line in the corpus."""
        told = {"sql": self.sql, "did": self.did, "via": self.via, "server": self.server, "wall": self.wall}
        return json.dumps({"name": f"{self.kind}: {self.via or self.did}"} | told)


@dataclass
class Report:
    """What a run came to."""

    seed: int
    seconds: float = 0.0
    figures: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    alike: Counter[str] = field(default_factory=Counter)
    """How often each kind of finding was met, those among them that the corpus knows as open."""

    def lines(self) -> Iterator[str]:
        yield (
            f"seed {self.seed}, {self.seconds:.0f} s: "
            + ", ".join(f"{name} {self.figures[name]}" for name in FIGURES)
            + f", findings {len(self.findings)}"
        )
        for alike, times in self.alike.most_common():
            yield f"  {times} times {alike}"
        for finding in self.findings:
            where = f" on {finding.server}, {finding.wall}" if finding.server else ""
            yield f"  {finding.kind} (text {finding.number} of seed {finding.seed}){where}: {finding.did}"
            yield f"    {finding.sql!r}"

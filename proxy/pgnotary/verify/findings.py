"""What a verification has found so far: faults and notes, each with the place of the entry that it is about.

A fault means that the ledger is not what it claims; a lack is evidence that was promised and is not there, whoever is
to blame; a note is something true that an auditor should know. Texts leave in the order of their places, each beginning
with it: `#813 ...`.
"""

__all__ = ["Findings"]


class Findings:
    """Faults, lacks and notes by place; the place of an entry is its number from 0."""

    def __init__(self) -> None:
        self._faults: list[tuple[int, str]] = []
        self._lacks: list[tuple[int, str]] = []
        self._notes: list[tuple[int, str]] = []

    def fault(self, place: int, text: str) -> None:
        """Add a fault."""
        self._faults.append((place, text))

    def lack(self, place: int, text: str) -> None:
        """Add what is not there to be seen."""
        self._lacks.append((place, text))

    def note(self, place: int, text: str) -> None:
        """Add a note."""
        self._notes.append((place, text))

    @property
    def faults(self) -> tuple[str, ...]:
        """All faults, in the order of their places."""
        return _in_order(self._faults)

    @property
    def lacks(self) -> tuple[str, ...]:
        """All lacks, in the order of their places."""
        return _in_order(self._lacks)

    @property
    def notes(self) -> tuple[str, ...]:
        """All notes, in the order of their places."""
        return _in_order(self._notes)


def _in_order(found: list[tuple[int, str]]) -> tuple[str, ...]:
    # The newest checkpoint is often also the last kept one: what is wrong with it is said once.
    return tuple(f"#{place} {text}" for place, text in sorted(dict.fromkeys(found), key=lambda each: each[0]))

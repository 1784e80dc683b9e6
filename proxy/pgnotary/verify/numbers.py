"""Which request ids were used: ids enter, whether they are new leaves.

Only the highest number and the gaps below it are kept. Two sessions may append in another order than they drew their
numbers, and a number may be drawn and never used; so gaps are legal, and few.
"""

from pgnotary.ledger.base import Ranges, merged

__all__ = ["Numbers"]


class Numbers:
    """A set of request ids that costs memory for its gaps only."""

    def __init__(self, highest: int = 0, free: Ranges = ()) -> None:
        self._highest = highest
        self._gaps = [range(first, last + 1) for first, last in free]

    @property
    def highest(self) -> int:
        """The highest number that was used, or 0."""
        return self._highest

    @property
    def free(self) -> Ranges:
        """The numbers below it that were not."""
        return merged((gap.start, gap.stop - 1) for gap in self._gaps)

    def take(self, request: str) -> bool:
        """Mark an id as used; False if it is not one or was used before."""
        number = _parse(request)
        if number is None or self.taken(request):
            return False
        if number > self._highest:
            if number > self._highest + 1:
                self._gaps.append(range(self._highest + 1, number))
            self._highest = number
            return True
        self._gaps = [part for gap in self._gaps for part in _without(gap, number)]
        return True

    def taken(self, request: str) -> bool:
        """Whether an id was used."""
        number = _parse(request)
        return number is not None and number <= self._highest and not any(number in gap for gap in self._gaps)


def _parse(request: str) -> int | None:
    digits = request.removeprefix("R-")
    # At most 15 digits: what JSON's numbers could say, and no text that takes long to convert.
    well_formed = request.startswith("R-") and digits.isascii() and digits.isdigit() and len(digits) <= 15
    return int(digits) if well_formed and not digits.startswith("0") else None


def _without(gap: range, number: int) -> list[range]:
    if number not in gap:
        return [gap]
    return [part for part in (range(gap.start, number), range(number + 1, gap.stop)) if part]

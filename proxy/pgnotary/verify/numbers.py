"""Which request ids were used: ids enter, whether they are new leaves.

Only the highest number and the gaps below it are kept. Two sessions may append in another order than they drew their
numbers, and a number may be drawn and never used; so gaps are legal, and few.
"""

from bisect import bisect_right

from pgnotary.ledger.base import Ranges, merged

__all__ = ["Numbers"]


class Numbers:
    """A set of request ids that costs memory for its gaps only."""

    def __init__(self, highest: int = 0, free: Ranges = ()) -> None:
        self._highest = highest
        # Below it, where those begin and end that were not; sorted, so that a ledger full of gaps takes no longer.
        self._starts = [first for first, _ in free]
        self._stops = [last + 1 for _, last in free]

    @property
    def highest(self) -> int:
        """The highest number that was used, or 0."""
        return self._highest

    @property
    def free(self) -> Ranges:
        """The numbers below it that were not."""
        return merged((start, stop - 1) for start, stop in zip(self._starts, self._stops, strict=True))

    def take(self, request: str) -> bool:
        """Mark an id as used; False if it is not one or was used before."""
        number = _parse(request)
        if number is None:
            return False
        if number > self._highest:
            if number > self._highest + 1:
                self._starts.append(self._highest + 1)
                self._stops.append(number)
            self._highest = number
            return True
        gap = self._gap(number)
        if gap is None:
            return False
        left, right = (self._starts[gap], number), (number + 1, self._stops[gap])
        parts = [(start, stop) for start, stop in (left, right) if start < stop]
        self._starts[gap : gap + 1] = [start for start, _ in parts]
        self._stops[gap : gap + 1] = [stop for _, stop in parts]
        return True

    def taken(self, request: str) -> bool:
        """Whether an id was used."""
        number = _parse(request)
        return number is not None and number <= self._highest and self._gap(number) is None

    def _gap(self, number: int) -> int | None:
        """Return the place of the gap that a number lies in."""
        place = bisect_right(self._starts, number) - 1
        return place if place >= 0 and number < self._stops[place] else None


def _parse(request: str) -> int | None:
    digits = request.removeprefix("R-")
    # At most 15 digits: what JSON's numbers could say, and no text that takes long to convert.
    well_formed = request.startswith("R-") and digits.isascii() and digits.isdigit() and len(digits) <= 15
    return int(digits) if well_formed and not digits.startswith("0") else None

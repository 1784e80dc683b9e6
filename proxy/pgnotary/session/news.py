"""What has come for a statement that waits: decisions, endings and what is taken back enter, what to go on with leaves.

A decision comes first, whatever else has come: what somebody has signed is never passed over for the end of a hold. One
that lost its request is never taken for one over another. The end of the session outweighs a cancel.
"""

from pgnotary.session.events import Decided, Now, TakenBack
from pgnotary.session.steps import AwaitDecision, Ending

__all__ = ["News"]


class News:
    """The news of one session; each is told once."""

    def __init__(self) -> None:
        self._decided: dict[str, Decided] = {}
        """By request."""
        self._ending: Ending | None = None
        self._taken_back: TakenBack | None = None
        """What came last from elsewhere about a request that is, or was, held here."""

    def decide(self, decided: Decided) -> None:
        """Learn of a decision that is durable."""
        self._decided[decided.request] = decided

    def take_back(self, taken_back: TakenBack) -> None:
        """Learn that a request is taken back from elsewhere."""
        self._taken_back = taken_back

    def end(self, ending: Ending) -> None:
        """Learn of what ends a hold."""
        if self._ending is None or ending is not Ending.CANCEL:
            self._ending = ending

    def begin(self) -> None:
        """Forget an ending: it was meant for what was under way before."""
        self._ending = None

    def take_ending(self) -> Ending | None:
        """Return what has ended a wait, if anything has."""
        ending, self._ending = self._ending, None
        return ending

    def take(self, held: AwaitDecision, now: Now) -> Decided | Ending | TakenBack | None:
        """Return what has come for a held statement, if anything has."""
        if (decided := self._decided.pop(held.request, None)) is not None:
            return decided
        if (ending := self.take_ending()) is not None:
            return ending
        if (back := self._taken_back) is not None and back.request == held.request:
            self._taken_back = None
            return back
        if now.monotonic >= held.deadline:
            return Ending.EXPIRED
        return Ending.REMINDER if now.monotonic >= held.remind_at else None

"""Places for holds: how many statements may wait for a decision at once, of one person and in all.

A session that wants to hold a statement enters and leaves; TooManyHeld says that there is no place. A session holds at
most one statement, so a place is known by its session. Counting is exact as long as one thread does it: nothing here
waits, so two sessions cannot both take the last place.
"""

from collections import Counter

from pgnotary.errors import StatementError

__all__ = ["Places", "TooManyHeld"]


class TooManyHeld(StatementError):
    """As many statements wait for a decision as may wait."""

    sqlstate = "53300"


class Places:
    """The places of one proxy, shared by its sessions."""

    def __init__(self, per_person: int, in_all: int) -> None:
        self._per_person = per_person
        self._in_all = in_all
        self._taken: dict[str, str] = {}
        """Session -> person, in the roster's sense: names that differ only in case are one."""
        self._by_person: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._taken)

    def limit(self, per_person: int, in_all: int) -> None:
        """Let so many wait from now on; who has a place keeps it."""
        self._per_person, self._in_all = per_person, in_all

    def enter(self, session: str, person: str) -> None:
        """Take a place for a session that has none; raises TooManyHeld, and then none is taken."""
        if session in self._taken:
            raise ValueError(f"{session} holds a statement already")
        who = person.casefold()
        if self._by_person[who] >= self._per_person:
            waiting = _waiting(self._by_person[who], f" of {person}")
            raise TooManyHeld(
                f"{waiting} for approval already, at most {self._per_person} may (policy.max_held_per_person)",
                detail="Nothing was sent.",
                hint="Wait until one of them is decided, or withdraw one with Ctrl-C in its session, then try again.",
            )
        if len(self._taken) >= self._in_all:
            raise TooManyHeld(
                f"{_waiting(len(self._taken))} for approval already, at most {self._in_all} may (policy.max_held)",
                detail="Nothing was sent.",
                hint="Try again when some of them are decided; `pgnotary requests` lists them for approvers.",
            )
        self._taken[session] = who
        self._by_person[who] += 1

    def leave(self, session: str) -> None:
        """Give back a session's place, if it has one."""
        if (who := self._taken.pop(session, None)) is not None:
            self._by_person[who] -= 1
            if not self._by_person[who]:
                del self._by_person[who]


def _waiting(count: int, whose: str = "") -> str:
    return f"{count} statement{'s' * (count != 1)}{whose} wait{'s' * (count == 1)}"

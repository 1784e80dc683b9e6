"""Whose approvals a request needs, as its own entry says it, and what is still missing.

What policy needs enters, fields of a `request` entry leave; the entry's body and the people who have approved enter,
what they are good for and what is missing leaves. People count, not keys, in any spelling of upper and lower case; each
once altogether, and for one need only. The entry has the people of each group as they were when it was held, so that
whoever has the ledger can check it without the configuration.

    needs        how many approvals in all
    quorum       a list of {"count", "group", "people"}; absent: `needs` of anybody on the roster. Without `people`, in
                 the group "anyone", it is anybody on the roster
    break_glass  the people who may approve alone; absent: nobody
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pgnotary.errors import NotCanonical, TooLarge
from pgnotary.judge.needs import ANYONE, MOST_APPROVALS, MOST_PEOPLE, ONE_OF_ANYONE, Need, seated
from pgnotary.judge.rules import Policy
from pgnotary.ledger.canonical import JSON

__all__ = ["BREAK_GLASS", "QUORUM", "Quorum", "Seats", "check_needs", "people_in", "quorum_fields", "quorum_in"]

QUORUM, BREAK_GLASS = "quorum", "break_glass"

_FIELDS = frozenset({"count", "group"})


def check_needs(needs: Sequence[Need]) -> None:
    """Raise TooLarge if one text needs more approvals than can be asked for, by rules for several of its parts."""
    if (total := sum(need.count for need in needs)) > MOST_APPROVALS:
        raise TooLarge(
            f"its statements need {total} approvals together: at most {MOST_APPROVALS} can be asked for at once",
            hint="Send its statements one by one.",
        )


def quorum_fields(needs: Sequence[Need], policy: Policy) -> dict[str, JSON]:
    """Return what a `request` entry says of it; `needs` empty: one of anybody."""
    wanted = needs or ONE_OF_ANYONE
    fields: dict[str, JSON] = {"needs": sum(need.count for need in wanted)}
    if tuple(wanted) != ONE_OF_ANYONE:
        fields[QUORUM] = [_written(need, policy) for need in wanted]
    if policy.break_glass:
        fields[BREAK_GLASS] = list(policy.break_glass)
    return fields


def _written(need: Need, policy: Policy) -> JSON:
    fields: dict[str, JSON] = {"count": need.count, "group": need.group}
    return fields if need.group == ANYONE else fields | {"people": list(policy.people_of(need.group))}


@dataclass(frozen=True, slots=True)
class Seats:
    """So many approvals of a group."""

    count: int
    group: str
    people: tuple[str, ...] | None
    """None: anybody on the roster."""

    def has(self, person: str) -> bool:
        """Say whether somebody is in the group."""
        return self.people is None or person.casefold() in map(str.casefold, self.people)

    def words(self, requester: str) -> str:
        """Return it for people, without the one who asks: `2 of dba (ana, bo)`."""
        if self.people is None:
            return f"{self.count} of {self.group} on the roster"
        others = [person for person in self.people if person.casefold() != requester.casefold()]
        return f"{self.count} of {self.group} ({', '.join(others) or 'nobody but who asks'})"


@dataclass(frozen=True, slots=True)
class Quorum:
    """All that one request needs."""

    seats: tuple[Seats, ...]

    @property
    def total(self) -> int:
        """How many approvals that is."""
        return sum(each.count for each in self.seats)

    @property
    def is_usual(self) -> bool:
        """Whether one approval by anybody is enough."""
        return self.total == 1 and self.seats[0].people is None

    def lacks(self, people: Iterable[str]) -> int:
        """Return how many approvals are missing when these people have approved."""
        return self.total - len(self._seated(people))

    def takes(self, people: Sequence[str], person: str) -> bool:
        """Say whether somebody's approval is good for anything beside those of `people`.

        If it is not, it never will be: whoever has found a seat keeps one, so that more people only leave less room.
        """
        return self.lacks((*people, person)) < self.lacks(people)

    def missing(self, people: Sequence[str]) -> tuple[Seats, ...]:
        """Return what is still needed when these people have approved, and of whom."""
        taken, had = self._seated(people), {person.casefold() for person in people}
        left, at = [], 0
        for each in self.seats:
            free = sum(place not in taken for place in range(at, at + each.count))
            at += each.count
            if free:
                others = None if each.people is None else tuple(who for who in each.people if who.casefold() not in had)
                left.append(Seats(free, each.group, others))
        return tuple(left)

    def _seated(self, people: Iterable[str]) -> dict[int, str]:
        chairs = [
            None if each.people is None else frozenset(map(str.casefold, each.people))
            for each in self.seats
            for _ in range(each.count)
        ]
        return seated(map(str.casefold, people), chairs)

    def words(self, requester: str) -> str:
        """Return what is needed for people: `2 of dba (ana, bo) and 1 of owners (cy)`."""
        return " and ".join(each.words(requester) for each in self.seats)

    def missing_words(self, people: Sequence[str]) -> str:
        """Return what is still needed: `1 more of dba and 1 more of owners`; empty if nothing is."""
        return " and ".join(f"{each.count} more of {each.group}" for each in self.missing(people))


def quorum_in(body: Mapping[str, JSON]) -> Quorum:
    """Return what a `request` entry's body says is needed; raises NotCanonical if that cannot be read."""
    total = body.get("needs", 1)
    if type(total) is not int or not 1 <= total <= MOST_APPROVALS:
        raise NotCanonical(f"needs {total!r:.60} approvals, expected 1 to {MOST_APPROVALS}")
    if QUORUM not in body:
        return Quorum((Seats(total, ANYONE, None),))
    listed = body[QUORUM]
    if not isinstance(listed, list) or not listed:
        raise NotCanonical("a quorum that is no list of groups")
    seats = tuple(map(_seats, listed))
    if len({each.group for each in seats}) != len(seats):
        raise NotCanonical("a quorum that names a group twice")
    if sum(each.count for each in seats) != total:
        raise NotCanonical(f"needs {total} approvals, its quorum {sum(each.count for each in seats)}")
    return Quorum(seats)


def _seats(listed: JSON) -> Seats:
    if not isinstance(listed, dict) or listed.keys() - {"people"} != _FIELDS:
        raise NotCanonical("a quorum of something else than count, group and people")
    count, group = listed["count"], listed["group"]
    if type(count) is not int or count < 1 or not isinstance(group, str):
        raise NotCanonical(f"a quorum of {count!r:.40} of {group!r:.40}, expected a number of a group")
    if ("people" in listed) is (group == ANYONE):
        raise NotCanonical(f"a quorum of {group!r:.80} that should have people, or should not")
    return Seats(count, group, _people(listed["people"]) if "people" in listed else None)


def people_in(body: Mapping[str, JSON]) -> tuple[str, ...]:
    """Return who may approve alone; raises NotCanonical if that cannot be read."""
    return _people(body[BREAK_GLASS]) if BREAK_GLASS in body else ()


def _people(listed: JSON) -> tuple[str, ...]:
    people = tuple(each for each in listed if isinstance(each, str)) if isinstance(listed, list) else ()
    if not 1 <= len(people) <= MOST_PEOPLE or list(people) != listed:
        raise NotCanonical("people that are no list of names")
    if len(set(map(str.casefold, people))) != len(people):
        raise NotCanonical("people of whom one stands there twice")
    return people

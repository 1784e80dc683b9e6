"""How many approvals of whom a held statement needs: groups and needs as a file writes them, and the strictest of some.

Tables and words enter (`"2 of dba"`), `Group`s and `Need`s leave. A group that nobody has named, one that is too small
for what is needed of it, and needs that the same few people would have to meet twice are errors: what can never be met
is told at the start, and not by a statement that waits in vain.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from pgnotary.errors import ConfigError

__all__ = [
    "ANYONE",
    "MOST_APPROVALS",
    "MOST_PEOPLE",
    "ONE_OF_ANYONE",
    "Group",
    "GroupTable",
    "Need",
    "groups_of",
    "needs_of",
    "seated",
    "strictest",
]

ANYONE = "anyone"
"""Everybody on the roster, whoever that is when it is decided."""

MOST_PEOPLE = 64
MOST_APPROVALS = 16
"""What is needed stands in the request's entry, with the people."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
# As on the roster (`pgnotary.request.roster`).
_PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+:/-]{0,127}")
_NEED = re.compile(r"([1-9][0-9]?) of (\S+)")


class GroupTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One [[group]]: people as on the roster."""

    name: str
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """People who may be needed as such."""

    name: str
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Need:
    """So many approvals by people of a group, of different people each."""

    count: int
    group: str = ANYONE


ONE_OF_ANYONE = (Need(1),)


def groups_of(tables: Sequence[GroupTable]) -> tuple[Group, ...]:
    """Return the groups that the tables write; raises ConfigError, whose message begins with the key."""
    groups: list[Group] = []
    for at, table in enumerate(tables):
        key = f"group[{at}]"
        if not _NAME.fullmatch(table.name) or table.name == ANYONE:
            raise ConfigError(
                f"{key}.name is {table.name!r}: expected lower-case letters, digits and . _ -, at most 63, "
                f"and not {ANYONE!r}, which is everybody on the roster"
            )
        if any(table.name == other.name for other in groups):
            raise ConfigError(f"{key}.name is {table.name!r}: expected another one, it stands there twice")
        if not 1 <= len(table.people) <= MOST_PEOPLE:
            raise ConfigError(f"{key}.people are {len(table.people)}: expected 1 to {MOST_PEOPLE} people")
        seen: set[str] = set()
        for person in table.people:
            if not _PERSON.fullmatch(person):
                raise ConfigError(f"{key}.people has {person!r:.140}: expected the name of one person on the roster")
            if person.casefold() in seen:
                raise ConfigError(f"{key}.people has {person!r} twice: expected each person once")
            seen.add(person.casefold())
        groups.append(Group(table.name, table.people))
    return tuple(groups)


def needs_of(key: str, words: Iterable[str], groups: Sequence[Group]) -> tuple[Need, ...]:
    """Return the needs that words write; raises ConfigError if they cannot be read, or can never be met."""
    needs: list[Need] = []
    known = {group.name: group.people for group in groups}
    for word in words:
        found = _NEED.fullmatch(word)
        if found is None:
            raise ConfigError(f'{key} is {word!r}: expected a number and a group, as in "2 of dba" or "1 of {ANYONE}"')
        need = Need(int(found[1]), found[2])
        if need.group != ANYONE and need.group not in known:
            listed = ", ".join([*known, ANYONE])
            raise ConfigError(f"{key} is {word!r}: there is no group {need.group!r}: expected one of {listed}")
        if any(need.group == other.group for other in needs):
            raise ConfigError(f"{key} is {word!r}: {need.group} stands there twice, expected each group once")
        needs.append(need)
    total = sum(need.count for need in needs)
    if total > MOST_APPROVALS:
        raise ConfigError(f"{key} are {total} approvals: expected at most {MOST_APPROVALS}")
    _require_possible(key, needs, known)
    return tuple(needs)


def _require_possible(key: str, needs: Sequence[Need], known: Mapping[str, Sequence[str]]) -> None:
    """Raise if not even everybody together could meet them; of `anyone` there may be as many as one likes."""
    named = [need for need in needs if need.group != ANYONE]
    for need in named:
        if len(known[need.group]) < need.count:
            raise ConfigError(
                f"{key} is '{need.count} of {need.group}': {need.group} has {len(known[need.group])} "
                f"({', '.join(known[need.group])}), so that nobody could ever meet it"
            )
    people = [person.casefold() for need in named for person in known[need.group]]
    seats = [frozenset(person.casefold() for person in known[need.group]) for need in named for _ in range(need.count)]
    if len(seated(people, seats)) < len(seats):
        told = ", ".join(f"{need.count} of {need.group}" for need in named)
        raise ConfigError(f"{key} are {told}: these groups have too few different people to meet all of that")


def strictest(each: Iterable[Sequence[Need]]) -> tuple[Need, ...]:
    """Return needs that meet all of these at once, the parts of one text being approved together.

    Of each group the highest number; of anybody as many as are missing to the highest total. Whoever meets that has,
    for each of them, as many different people of its groups as it asks for, and as many in all.
    """
    several = [*each]
    highest: dict[str, int] = {}
    for need in (need for needs in several for need in needs):
        highest[need.group] = max(need.count, highest.get(need.group, 0))
    highest.pop(ANYONE, None)
    total = max((sum(need.count for need in needs) for needs in several), default=0)
    needs = [Need(count, group) for group, count in highest.items()]
    missing = total - sum(highest.values())
    return tuple([*needs, Need(missing)] if missing > 0 else needs)


def seated(people: Iterable[str], seats: Sequence[frozenset[str] | None]) -> dict[int, str]:
    """Return who takes which seat, as many of the people as can, one seat each; None: a seat for anybody.

    Exact: who sits in the way of another is moved on, as long as there is anywhere to move (augmenting paths). Whoever
    has found a seat keeps one, whoever comes later.
    """
    taken: dict[int, str] = {}

    def seat(person: str, tried: set[int]) -> bool:
        for at, allowed in enumerate(seats):
            if at in tried or (allowed is not None and person not in allowed):
                continue
            tried.add(at)
            if at not in taken or seat(taken[at], tried):
                taken[at] = person
                return True
        return False

    for person in dict.fromkeys(people):
        seat(person, set())
    return taken

"""Rules and profiles: what policy is made of, and which rule speaks for a part of a statement.

A rule that forwards must name every qualifier that it lets through, and every relation must be one of its own: what it
does not name, it does not match. A rule that holds or refuses matches as soon as one of what it names is there. So a
rule that says too little lets too little pass.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from pgnotary.judge.identifiers import qualified
from pgnotary.judge.needs import ONE_OF_ANYONE, Group, Need
from pgnotary.judge.statement import Part, Qualifier, StatementClass

__all__ = [
    "NO_WISHES",
    "PROFILES",
    "USUAL",
    "Action",
    "Policy",
    "Profile",
    "Record",
    "Rule",
    "Subject",
    "Terms",
    "Wishes",
    "policy_of",
]


class Action(StrEnum):
    """What happens to a statement."""

    FORWARD = "forward"
    HOLD = "hold"
    REFUSE = "refuse"


class Record(StrEnum):
    """What the ledger keeps of a statement that is forwarded and runs without an error."""

    EACH = "each"
    SUMMARY = "summary"
    """Counts and a digest, not its text."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks, and where; "" is nobody in particular."""

    database: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a rule wants what it holds to be held; what is None or empty is as policy says."""

    hold_s: float | None = None
    preview: bool = True
    sample_rows: int | None = None
    mask: tuple[str, ...] = ()
    """Columns that approvers are not shown, beside those of `policy.mask`."""
    approvals: tuple[Need, ...] = ()


NO_WISHES = Wishes()


@dataclass(frozen=True, slots=True)
class Terms:
    """How something is held."""

    hold_s: float = 900.0
    preview: bool = True
    sample_rows: int = 5
    """How many of the rows that it would meet approvers are shown."""
    mask: tuple[str, ...] = ()
    """Columns that they are not shown, beside those of `policy.mask`."""
    approvals: tuple[Need, ...] = ()
    """How many of whom it needs; empty: one of anybody."""


USUAL = Terms()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; what is empty matches anything."""

    name: str
    result: Action
    classes: tuple[StatementClass, ...] = ()
    qualifiers: tuple[Qualifier, ...] = ()
    relations: tuple[str, ...] = ()
    """Whole names, with * and ? as in a shell: public.orders, audit.*"""
    databases: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    min_rows: int = 0
    """It holds or refuses only what may change that many rows, as far as the preview knows."""
    wishes: Wishes = NO_WISHES
    record: Record = Record.EACH
    """Only a rule that forwards may say `SUMMARY`."""

    @property
    def forwards_anything(self) -> bool:
        """Whether it lets everybody do whatever a part may be found to do."""
        narrow = self.classes or self.relations or self.databases or self.users
        return self.result is Action.FORWARD and not narrow and frozenset(self.qualifiers) == frozenset(Qualifier)

    def matches(self, part: Part, subject: Subject) -> bool:
        """Say whether the rule speaks for a part, whatever number of rows it changes."""
        if self.classes and not self._speaks_of(part):
            return False
        if (self.databases and subject.database not in self.databases) or (
            self.users and subject.user not in self.users
        ):
            return False
        names = [qualified(name) for name in part.resolved]
        if self.result is Action.FORWARD:
            listed = _is_about_relations(part) and all(map(self._lists, names)) if self.relations else True
            return listed and part.qualifiers <= set(self.qualifiers)
        if self.relations and not any(self._lists(name) for name in names):
            return False
        return not self.qualifiers or not part.qualifiers.isdisjoint(self.qualifiers)

    def _speaks_of(self, part: Part) -> bool:
        if self.result is Action.FORWARD:
            return part.classes.issubset(self.classes)
        return not part.classes.isdisjoint(self.classes)

    def _lists(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.relations)


def _is_about_relations(part: Part) -> bool:
    """Say whether a part names relations, and changes nothing but such as it names.

    DO and DROP SCHEMA name none; CREATE TABLE AS and SELECT INTO make one out of others; GRANT, COPY to a program and
    ALTER do more than the relation says that they name.
    """
    if Qualifier.WRITE not in part.qualifiers:
        return bool(part.resolved)
    return bool(part.targets) and set(map(qualified, part.targets)) >= set(part.written)


@dataclass(frozen=True, slots=True)
class Profile:
    """A named set of rules; what none of them forwards is held, or merely noted if `holds` is False."""

    name: str
    rules: tuple[Rule, ...]
    holds: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules in order, the profile's last."""

    profile: str
    rules: tuple[Rule, ...]
    holds: bool
    digest: str
    """SHA-256 over all of it, in hex."""
    approvals: tuple[Need, ...] = ONE_OF_ANYONE
    """What is needed where no rule says otherwise."""
    groups: tuple[Group, ...] = ()
    usual: Terms = USUAL
    """How something is held whose rule has no wishes. Its numbers are in no digest: they do not say what is held."""
    break_glass: tuple[str, ...] = ()
    """The people who may approve alone, and their own, in an emergency; empty: nobody."""

    def people_of(self, group: str) -> tuple[str, ...]:
        """Return who is in a group."""
        return next(each.people for each in self.groups if each.name == group)


_Q = Qualifier
_TOOLS = (
    _Q.LOCKING,
    _Q.SEQUENCE,
    _Q.ADVISORY_LOCK,
    _Q.TEMP,
    _Q.ACCESS_SHARE,
    _Q.NOTIFY,
    _Q.ROLE,
    _Q.SESSION,
)
_DEFAULT = (
    Rule("default/harmless", Action.FORWARD, qualifiers=(_Q.SINGLE_READER,)),
    Rule("default/tools", Action.FORWARD, qualifiers=(*_TOOLS, _Q.SINGLE_READER)),
    Rule("default/insert", Action.FORWARD, (StatementClass.INSERT,), (*_TOOLS, _Q.WRITE)),
)

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("default", _DEFAULT),
        Profile("strict", (Rule("strict/harmless", Action.FORWARD),)),
        Profile("observe", _DEFAULT, holds=False),
        Profile("forward-all", (Rule("forward-all/everything", Action.FORWARD, qualifiers=tuple(_Q)),)),
    )
}
"""`strict` forwards what has no effect; `default` what tools live on, too, and plain inserts; `observe` judges as
`default` and notes what that would hold; `forward-all` holds nothing."""


def policy_of(
    profile: Profile,
    own: Sequence[Rule] = (),
    *,
    groups: Sequence[Group] = (),
    approvals: tuple[Need, ...] = ONE_OF_ANYONE,
    break_glass: str = "",
    usual: Terms = USUAL,
) -> Policy:
    """Return the policy of one's own rules before a profile's; `break_glass` names one of the groups, or none."""
    rules = (*own, *profile.rules)
    listed: dict[str, Any] = {
        "profile": profile.name,
        "holds": profile.holds,
        "rules": [_written(rule) for rule in rules],
    }
    # What says nothing is not there: a policy without any of this has the digest that it had before there was any.
    if groups:
        listed["groups"] = [asdict(group) for group in groups]
    if approvals != ONE_OF_ANYONE:
        listed["approvals"] = [asdict(need) for need in approvals]
    if break_glass:
        listed["break_glass"] = break_glass
    digest = hashlib.sha256(b"pgnotary/policy/1\n" + json.dumps(listed, sort_keys=True).encode()).hexdigest()
    policy = Policy(profile.name, rules, profile.holds, digest, approvals, tuple(groups), usual)
    return replace(policy, break_glass=policy.people_of(break_glass)) if break_glass else policy


def _written(rule: Rule) -> dict[str, Any]:
    """Return what the digest is over; a rule that says nothing of what came later is written as it was before."""
    fields = asdict(rule)
    if rule.record is Record.EACH:
        del fields["record"]
    wishes = fields.pop("wishes")
    for name in ("sample_rows", "mask"):
        if not wishes[name] and wishes[name] != 0:
            del wishes[name]
    if not wishes["approvals"]:
        del wishes["approvals"]
    return fields | {"terms": wishes}

"""Policy: a `Statement` enters, a `Verdict` leaves, with the reason an engineer and an auditor can read.

Two built-in profiles for now. Both forward only what both readers prove harmless, and hold everything else; their
digest goes into every request, so that a signature says under which policy it was asked for. `strict` stays so;
`default` will forward more once the catalog can tell what a plain INSERT reaches.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from pgnotary.judge.gate import first_word
from pgnotary.judge.settings import Ruling, ruling
from pgnotary.judge.statement import Control, Part, Statement, StatementClass

__all__ = ["PROFILES", "Action", "Profile", "Verdict", "verdict"]


class Action(StrEnum):
    """What happens to a statement."""

    FORWARD = "forward"
    HOLD = "hold"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Profile:
    """A named set of rules."""

    name: str
    single_reader: Action
    """What to do with a read that only PostgreSQL's own grammar can read."""
    digest: str
    """SHA-256 over the rules, in hex."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of policy, with its reason in one sentence."""

    action: Action
    kind: StatementClass
    rule: str
    reason: str


def _profile(name: str, single_reader: Action) -> Profile:
    rules = f"pgnotary/policy/0\n{name}\nsingle_reader={single_reader}\n"
    return Profile(name, single_reader, hashlib.sha256(rules.encode()).hexdigest())


# What may change the session or the transaction behind our back if nobody can read the rest of it.
_UNREAD_REFUSED = frozenset(
    """
    abort begin close commit deallocate declare discard end execute fetch move prepare release reset rollback savepoint
    set start
    """.split()
)

PROFILES = {profile.name: profile for profile in (_profile("default", Action.HOLD), _profile("strict", Action.HOLD))}


def verdict(statement: Statement, profile: Profile) -> Verdict:
    """Judge a whole text: it is forwarded, held or refused as one."""
    if refusal := _refusal(statement):
        return refusal
    part = statement.weightiest
    if part.harmless:
        return Verdict(
            Action.FORWARD,
            part.kind,
            f"{profile.name}/harmless",
            "both readers read it and all of it is harmless",
        )
    if all(part.doubt_about_reader for part in statement.parts if part.doubt):
        reason = f"PostgreSQL's grammar reads it as harmless, but {part.doubt}"
        return Verdict(profile.single_reader, part.kind, f"{profile.name}/single-reader", reason)
    return Verdict(Action.HOLD, part.kind, f"{profile.name}/hold-{part.kind}", _sentence(statement, part))


def _sentence(statement: Statement, part: Part) -> str:
    """Return the doubt about a part as a sentence that names the part; some doubts are about the text or a reader."""
    whole = part.doubt.startswith("the ")
    if len(statement.parts) == 1:
        return part.doubt if whole else f"it {part.doubt}"
    place = f"statement {statement.parts.index(part) + 1} of {len(statement.parts)}"
    return f"in {place}, {part.doubt}" if whole else f"{place} {part.doubt}"


def _refusal(statement: Statement) -> Verdict | None:
    if statement.unreadable and (word := first_word(statement.text)) in _UNREAD_REFUSED:
        reason = f"it begins with {word.upper()}, whose effect must be known, and {statement.parts[0].doubt}"
        return _refuse(statement.parts[0], "unreadable-control", reason)
    for part in statement.parts:
        if part.control is Control.TWO_PHASE:
            return _refuse(part, "two-phase", "two-phase commit is not carried yet")
        if part.savepoint.startswith("pgnotary_"):
            reason = f"savepoints whose names begin with pgnotary_ are pgnotary's own: {part.savepoint}"
            return _refuse(part, "savepoint-name", reason)
        if part.setting and ruling(part.setting) is Ruling.REFUSE:
            return _refuse(
                part,
                "pinned-setting",
                f"{part.setting.name} decides what a signature means; pgnotary keeps it as it is",
            )
        if part.node == "VariableSetStmt" and part.kind is StatementClass.SESSION and part.setting is None:
            return _refuse(part, "session-characteristics", _sentence(statement, part))
        if part.wants_copy_data:
            return _refuse(part, "copy-from-stdin", "COPY FROM STDIN is not carried yet")
        if part.outside_block_only:
            return _refuse(
                part,
                "outside-block",
                "it cannot run inside a transaction block, where an approved statement runs for now",
            )
    if any(part.node == "VariableSetStmt" for part in statement.parts) and any(part.doubt for part in statement.parts):
        part = next(part for part in statement.parts if part.node == "VariableSetStmt")
        if len(statement.parts) > 1 and not part.control:
            reason = "a setting changes what is held in the same message: send it before, in a message of its own"
            return _refuse(part, "setting-mix", reason)
    if len(statement.parts) > 1 and any(part.control for part in statement.parts) and not _is_bracketed(statement):
        part = next(part for part in statement.parts if part.control)
        return _refuse(
            part,
            "transaction-mix",
            "transaction control may share a message with other statements only as BEGIN; ...; COMMIT",
        )
    return None


def _refuse(part: Part, rule: str, reason: str) -> Verdict:
    return Verdict(Action.REFUSE, part.kind, f"refuse/{rule}", reason)


def _is_bracketed(statement: Statement) -> bool:
    first, *inner, last = statement.parts
    return (
        first.control is Control.BEGIN
        and last.control in (Control.COMMIT, Control.ROLLBACK)
        and not last.chained
        and not any(part.control for part in inner)
    )

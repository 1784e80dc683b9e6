"""Policy: a `Statement` enters, a `Verdict` leaves, with the reason an engineer and an auditor can read.

Some statements are refused under every policy: what would break a promise, or is not carried. For each part of the
others the first rule that matches speaks, and the strictest answer is that of the text. What no rule speaks for is
held. The policy's digest goes into every request, so that a signature says under which policy it was asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from pgnotary.judge.needs import ONE_OF_ANYONE, strictest
from pgnotary.judge.refusals import prepare_behind, refusal, sentence, setting_beside
from pgnotary.judge.rules import NO_WISHES, USUAL, Action, Policy, Record, Rule, Subject, Terms
from pgnotary.judge.statement import Finding, Part, Qualifier, Statement, StatementClass

__all__ = ["Counted", "Verdict", "counted", "held_terms", "verdict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of policy, with its reason in one sentence."""

    action: Action
    kind: StatementClass
    rule: str
    reason: str
    terms: Terms = USUAL
    """How it is held, if it is."""
    judge: str = ""
    """Who saw what the reason says."""
    unwalled: bool = False
    """Policy lets it write: nothing of it that may write runs behind the read-only wall."""
    would: str = ""
    """The rule that would have held it, if policy only observes."""
    certain: bool = False
    """It is forwarded whatever a catalog says of its names."""
    record: Record = Record.EACH
    """What the ledger keeps of it, if it is forwarded and runs without an error."""


_NOBODY = Subject()
_WRITES_BY_CODE = frozenset({Qualifier.WRITE, Qualifier.FUNCTION})


def verdict(statement: Statement, policy: Policy, subject: Subject = _NOBODY) -> Verdict:
    """Judge a whole text: it is forwarded, held or refused as one."""
    if (refused := refusal(statement)) is not None:
        return Verdict(Action.REFUSE, refused.part.kind, refused.rule, refused.reason)
    judged = [(part, _first(part, policy, subject)) for part in statement.parts]
    for action in (Action.REFUSE, Action.HOLD):
        for part, rule in judged:
            if (rule.result if rule else Action.HOLD) is action:
                return _stopped(statement, part, rule, policy, [found for _, found in judged])
    part, rule = next(((each, found) for each, found in judged if each.findings), judged[0])
    name = rule.name if rule else ""
    # One rule that wants each listed is enough: a text is recorded as a whole.
    summed = all(found is not None and found.record is Record.SUMMARY for _, found in judged)
    record = Record.SUMMARY if summed else Record.EACH
    if not part.findings:
        reason = "both readers read it and all of it is harmless"
        return Verdict(Action.FORWARD, part.kind, name, reason, record=record)
    finding = part.findings[0]
    unwalled = any(found is not None and set(found.qualifiers) >= _WRITES_BY_CODE for _, found in judged)
    reason = sentence(statement, part, finding)
    certain = bool(policy.rules) and policy.rules[0].forwards_anything
    return Verdict(
        Action.FORWARD,
        part.kind,
        name,
        reason,
        judge=finding.judge,
        unwalled=unwalled,
        certain=certain,
        record=record,
    )


def _first(part: Part, policy: Policy, subject: Subject) -> Rule | None:
    return next((rule for rule in policy.rules if not rule.min_rows and rule.matches(part, subject)), None)


def _stopped(
    statement: Statement, part: Part, rule: Rule | None, policy: Policy, found: Sequence[Rule | None]
) -> Verdict:
    """Return the verdict over a text that one of its parts stops; `found` are the rules that speak for its parts."""
    name = rule.name if rule else f"{policy.profile}/hold-{part.kind}"
    finding = (
        _weightiest(part, policy) if part.findings else Finding(Qualifier.UNREAD, "is what the rule is about", "policy")
    )
    reason = sentence(statement, part, finding)
    if rule is not None and rule.result is Action.REFUSE:
        return Verdict(Action.REFUSE, part.kind, name, reason, judge=finding.judge)
    if not policy.holds:
        return Verdict(Action.FORWARD, part.kind, name, reason, judge=finding.judge, unwalled=True, would=name)
    if (refused := setting_beside(statement) or prepare_behind(statement)) is not None:
        return Verdict(Action.REFUSE, refused.part.kind, refused.rule, refused.reason)
    return Verdict(Action.HOLD, part.kind, name, reason, held_terms(policy, found), finding.judge)


def held_terms(policy: Policy, found: Sequence[Rule | None] = (None,)) -> Terms:
    """Return how a text is held of whose parts `found` are the rules that speak for them; None: the profile holds it.

    All parts are shown, approved and run together, so the strictest of those that are held counts in each respect: a
    second statement behind a harmless one is approved by no fewer, and what its rule masks is masked.
    """
    usual = policy.usual
    held = [each.wishes if each else NO_WISHES for each in found if each is None or each.result is Action.HOLD]
    needed = strictest(each.approvals or policy.approvals for each in held)
    return Terms(
        hold_s=min(usual.hold_s if each.hold_s is None else each.hold_s for each in held),
        preview=all(each.preview for each in held),
        sample_rows=min(usual.sample_rows if each.sample_rows is None else each.sample_rows for each in held),
        mask=tuple(dict.fromkeys(chain.from_iterable(each.mask for each in held))),
        approvals=() if needed == ONE_OF_ANYONE else needed,
    )


def _weightiest(part: Part, policy: Policy) -> Finding:
    """Return what says most about why a part is not forwarded: what no rule that forwards lets through."""
    if not part.findings:
        return Finding(Qualifier.UNREAD, "is what the rule is about", "policy")
    passed: set[Qualifier] = set()
    for rule in policy.rules:
        if rule.result is Action.FORWARD and (not rule.classes or (part.runs or part.kind) in rule.classes):
            passed.update(rule.qualifiers)
    return next((each for each in part.findings if each.qualifier not in passed), part.findings[0])


@dataclass(frozen=True, slots=True)
class Counted:
    """What policy says of something held, once its preview is known."""

    action: Action
    rule: str


def counted(statement: Statement, policy: Policy, subject: Subject, rows: int | None, held: Verdict) -> Counted:
    """Say what the number of rows adds to a verdict that holds; None rows are as many as any rule asks for."""
    for part in statement.parts:
        for rule in policy.rules:
            enough = rows is None or rows >= rule.min_rows
            if rule.min_rows and rule.result is not Action.FORWARD and enough and rule.matches(part, subject):
                return Counted(rule.result, rule.name)
    return Counted(Action.HOLD, held.rule)

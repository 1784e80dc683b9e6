"""What a held statement would change, asked of the server: `Questions` enter, `Figures` leave.

All of it happens inside the read-only frame of an examination. A number stands as `exact` only if nothing is known that
could make the change another one; `obtained` says when and how each was had.
"""

from collections.abc import Callable, Generator
from typing import Any

from pgnotary.judge.rules import Terms
from pgnotary.ledger.canonical import JSON, MAX_INT
from pgnotary.request.cascades import MOST, Bound, Cascade
from pgnotary.request.caveats import EARLIER, VIEW_ROWS, events_of
from pgnotary.request.facts import Facts, Trigger, read_facts
from pgnotary.request.preview import Questions, cascades, is_askable, read_estimate, worth
from pgnotary.session.figures import Figures, total
from pgnotary.session.sampling import sample, sample_emptied
from pgnotary.session.steps import Flow, Step
from pgnotary.session.weighing import weigh

__all__ = ["measure"]

_MAX_RULE = 1_000
"""Characters of a rule's text."""


def measure(
    found: Figures,
    asked: Questions,
    terms: Terms,
    believed: Callable[[Facts | None], Questions] | None = None,
) -> Generator[Step, Any, Facts | None]:
    """Ask what may be asked of one statement, note it, and return what the catalog has said of its relations.

    What is bound several times is measured once for each, and summed up. `terms` say what may be shown of the rows;
    `believed` gives the questions with what the relations say about statements that run before it.
    """
    if asked.unavailable:
        found.why.append(asked.unavailable)
    facts = yield from _facts(found, asked)
    if believed is not None:
        asked = believed(facts)
    values = (value for each in found.sent.bounds for value in each.values)
    bound, caveats = worth(asked, facts, found.sent.executions, values)
    if asked.explain and "rule" not in caveats:
        yield from _estimate(found, asked)
    if asked.spelled is not None and bound is not Bound.UNKNOWN:
        found.took_us = 0
        found.set(bound.value, asked.spelled * found.sent.executions, "text")
    elif is_askable(asked, caveats):
        if VIEW_ROWS not in caveats:
            yield from _count(found, asked, bound)
        yield from sample(found, asked, facts, caveats, terms)
    # Of what changes no rows nothing was looked at, and only what runs before it is a reason to doubt.
    if told := caveats if asked.facts else caveats & {EARLIER}:
        found.body["caveats"] = sorted(told)
    if facts is not None:
        yield from _surroundings(found, asked, facts, bound, caveats)
    if asked.subject is not None:
        emptied = yield from weigh(found, asked.subject, settled=EARLIER not in caveats)
        if emptied is not None:
            yield from sample_emptied(found, asked, emptied, terms)
    return facts


def _facts(found: Figures, asked: Questions) -> Generator[Step, Any, Facts | None]:
    if not asked.facts:
        return None
    answer = yield from found.ask("the question about its relations", asked.facts, ours=True)
    if answer is None:
        return None
    try:
        (text,) = answer
        return read_facts(text)
    except ValueError:
        found.why.append("the answer about its relations cannot be read")
        return None


def _estimate(found: Figures, asked: Questions) -> Flow:
    explained = yield from found.ask("EXPLAIN", asked.explain)
    if explained is not None and (rows := total(map(read_estimate, explained))) is not None:
        found.set("estimate", rows, "explain")


def _count(found: Figures, asked: Questions, bound: Bound) -> Flow:
    counted = yield from found.ask("the count", asked.count)
    if counted is not None and (rows := found.number(counted)) is not None:
        found.set("estimate" if bound is Bound.UNKNOWN else bound.value, rows, "count")


def _surroundings(found: Figures, asked: Questions, facts: Facts, bound: Bound, caveats: frozenset[str]) -> Flow:
    """Note what stands around the change: its cascades, triggers and row security."""
    lists: dict[str, list[JSON]] = {"cascades": [], "triggers": [], "rules": [], "row_security": []}
    if facts.target_rows is not None:
        found.body["relation_rows"] = min(facts.target_rows, MAX_INT)
    if found.sent.executions > 1 and bound is Bound.EXACT:
        bound = Bound.AT_MOST
    fired: list[Trigger] = []
    for each in cascades(asked, facts, bound, caveats):
        # The first that is more than can be shown is not counted, but it is told that there is more.
        wanted = each.count and len(lists["cascades"]) < MOST
        rows = (yield from _reached(found, each)) if wanted else None
        lists["cascades"].append(_cascade(each, rows))
        event = "delete" if each.deletes else "update"
        fired += [trigger for trigger in each.key.triggers if event in trigger.events]
    events = events_of(asked.part) if asked.part is not None else frozenset()
    triggers = [each for relation in facts.targets for each in relation.triggers if events & set(each.events)]
    lists["rules"] = [
        rule.text[:_MAX_RULE] for relation in facts.targets for rule in relation.rules if rule.event in events
    ]
    lists["triggers"] = [each.fields for each in dict.fromkeys([*triggers, *fired])]
    secured = [each.spelled for each in facts.relations if each.secured and each.how != "child"]
    lists["row_security"] = list(dict.fromkeys(secured))
    found.lists |= lists


def _reached(found: Figures, cascade: Cascade) -> Generator[Step, Any, int | None]:
    """Return how many rows a cascade reaches; None if nobody could say."""
    name = cascade.key.target_name
    if found.is_late:
        found.why.append(f"no time was left to count the rows of {name}")
        return None
    answer = yield from found.ask(f"the count of what it takes along in {name}", cascade.count)
    return None if answer is None else found.number(answer)


def _cascade(each: Cascade, rows: int | None) -> JSON:
    counted: dict[str, JSON] = {} if rows is None else {each.bound.value: min(rows, MAX_INT)}
    return {
        "from": each.key.source_name,
        "to": each.key.target_name,
        "constraint": each.key.name,
        "action": each.action,
        "depth": each.depth,
        "rows": counted,
        "indexed": each.key.indexed,
    }

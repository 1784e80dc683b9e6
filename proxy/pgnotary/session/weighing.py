"""What a held statement takes beside rows, asked of the server: a `Subject` enters, `Figures` leave.

Who holds what it would wait for is asked first: the sizes of what is locked that hard cannot be had. Where every row of
a table goes, its rows are counted; where they cannot be, the planner's number stands, as an estimate.
"""

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from pgnotary.judge.statement import Name
from pgnotary.ledger.canonical import JSON, MAX_INT
from pgnotary.request.cascades import MOST
from pgnotary.request.facts import read_facts
from pgnotary.request.facts_question import facts_question
from pgnotary.request.subject import Subject
from pgnotary.request.things import (
    Holder,
    Taken,
    Things,
    holders_question,
    read_holders,
    read_things,
    things_question,
)
from pgnotary.session.figures import Figures, total
from pgnotary.session.steps import Flow, Step

__all__ = ["weigh"]

_T = TypeVar("_T")


def weigh(found: Figures, subject: Subject, *, settled: bool = True) -> Generator[Step, Any, Name | None]:
    """Note how it locks, who is in its way, what it takes and how much that is.

    What was counted stands as an estimate unless it is settled: what runs before it may change that. Return the first
    table, by its whole name, that is known to lose rows.
    """
    if subject.locking is not None:
        lock: dict[str, JSON] = {"mode": subject.locking.mode.name}
        found.body["lock"] = lock | ({"work": subject.locking.work.value} if subject.locking.work else {})
        yield from _holders(found, subject)
    return None if subject.changes_rows else (yield from _things(found, subject, settled=settled))


def _holders(found: Figures, subject: Subject) -> Flow:
    question = holders_question(subject)
    if not question:
        return
    holders = yield from _read(found, "the question who holds its locks", question, read_holders)
    if holders is not None:
        found.lists["holders"] = list(map(_holder, holders))


def _read(found: Figures, what: str, question: bytes, read: Callable[[str], _T]) -> Generator[Step, Any, _T | None]:
    """Return what an answer says; None if the question failed or the answer cannot be read, which is then noted."""
    answer = yield from found.ask(what, question, ours=True)
    if answer is None:
        return None
    try:
        return read("".join(answer))
    except ValueError as error:
        found.why.append(str(error))
        return None


def _holder(each: Holder) -> JSON:
    told: dict[str, JSON] = {
        "pid": each.pid,
        "role": each.role,
        "mode": each.mode.name,
        "relation": each.relation,
        "granted": each.granted,
    }
    return told if each.since_s is None else told | {"since_s": min(each.since_s, MAX_INT)}


def _things(found: Figures, subject: Subject, *, settled: bool) -> Generator[Step, Any, Name | None]:
    things = yield from _read(found, "the question what it takes", things_question(subject), read_things)
    if things is None:
        return None
    rows: list[int | None] = []
    if subject.emptied:
        rows = yield from _rows(found, things, settled=settled)
    found.lists["takes"] = [
        _taken(each, rows[place] if place < len(rows) else None, settled=settled)
        for place, each in enumerate(things.relations)
    ]
    found.lists["dependents"] = list(things.dependents)
    if subject.emptied and not subject.dropped:
        yield from _triggers(found, things)
    return next((each.name for each, number in zip(things.relations, rows, strict=False) if number), None)


def _triggers(found: Figures, things: Things) -> Flow:
    """Note the triggers that fire when these are emptied; DROP fires none."""
    question = facts_question([each.name for each in things.relations], (), (), (), only=True)
    facts = yield from _read(found, "the question about its triggers", question, read_facts)
    if facts is not None:
        triggers = [trigger for relation in facts.targets for trigger in relation.triggers]
        found.lists["triggers"] = [each.fields for each in triggers if "truncate" in each.events]


def _rows(found: Figures, things: Things, *, settled: bool) -> Generator[Step, Any, list[int | None]]:
    """Count the rows of all that goes; return them by place, None of what keeps none or could not be counted."""
    rows: list[int | None] = []
    took_us = 0
    for each in things.relations[:MOST]:
        rows.append((yield from _count(found, each)))
        took_us += found.took_us
    kept = [place for place, each in enumerate(things.relations) if each.keeps_rows]
    counted = total(rows[place] if place < len(rows) else None for place in kept)
    believed = total(
        rows[place] if place < len(rows) and rows[place] is not None else things.relations[place].rows for place in kept
    )
    if counted is not None:
        found.took_us = took_us
        found.set("exact" if settled else "estimate", counted, "count")
    elif believed is not None:
        found.took_us = 0
        found.set("estimate", believed, "statistics")
    return rows


def _count(found: Figures, each: Taken) -> Generator[Step, Any, int | None]:
    if not each.is_countable:
        if each.keeps_rows:
            found.why.append(f"the rows of {each.spelled} cannot be counted: {each.why_uncountable}")
        return None
    if found.is_late:
        found.why.append(f"no time was left to count the rows of {each.spelled}")
        return None
    answer = yield from found.ask(f"the count of {each.spelled}", each.count, ours=True)
    return None if answer is None else found.number(answer)


def _taken(each: Taken, rows: int | None, *, settled: bool) -> JSON:
    known: dict[str, JSON] = {}
    if rows is not None:
        known["exact" if settled else "estimate"] = min(rows, MAX_INT)
    elif each.keeps_rows and each.rows is not None:
        known["estimate"] = min(each.rows, MAX_INT)
    return {
        "relation": each.spelled,
        "kind": each.kind,
        "how": each.how,
        "bytes": min(each.size, MAX_INT),
        "rows": known,
    }

"""What a held statement would change, asked of the server: `Questions` enter, a `preview` entry leaves.

All of it happens inside the read-only frame of an examination. Each question has a savepoint and a limit of time of its
own, so that one that fails leaves the next ones asked, and is shown as a failure, never as zero. A number stands as
`exact` only if nothing is known that could make the change another one; `obtained` says when and how each was had.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgnotary.ledger.canonical import JSON, MAX_INT, encode, timestamp
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.cascades import MOST, Bound, Cascade
from pgnotary.request.caveats import events_of
from pgnotary.request.facts import Facts, Trigger, read_facts
from pgnotary.request.preview import Questions, cascades, is_askable, read_estimate, worth
from pgnotary.session.inject import put
from pgnotary.session.parameters import bound_to
from pgnotary.session.sent import Sent
from pgnotary.session.state import SessionState
from pgnotary.session.steps import Answer, Flow, Step, ask

__all__ = ["measure"]

_FIRST = b"SAVEPOINT pgnotary_figure"
_NEXT = b"ROLLBACK TO SAVEPOINT pgnotary_figure"
# JIT would take a hundred times as long to compile the question about the catalog as the server takes to answer it.
_NO_JIT = b"SET LOCAL jit = off"
_BUDGET = 5
"""How many limits of one question all of them may take together; what is left is not asked."""
_MAX_LISTS_BYTES = 48_000
_MAX_WHY = 2_000


@dataclass(slots=True)
class _Preview:
    """What is known so far."""

    state: SessionState
    types: Sequence[int]
    sent: Sent
    started: float
    body: dict[str, JSON] = field(default_factory=dict)
    obtained: dict[str, JSON] = field(default_factory=dict)
    why: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    asked: int = 0
    took_us: int = 0
    """What the last question took."""

    def set(self, figure: str, rows: int, how: str) -> None:
        """Keep a number of rows; there may be more than a ledger's numbers can say."""
        self.body[figure] = min(rows, MAX_INT)
        self.obtained[figure] = {"at": timestamp(self.state.now.wall), "took_us": self.took_us, "how": how}

    def ask(self, what: str, text: bytes, *, ours: bool = False) -> Generator[Step, Any, list[str] | None]:
        """Return the only column of an answer, row by row; None if the question failed, which is then noted."""
        limit = b"SET LOCAL statement_timeout = %d" % self.state.rules.preview_timeout_ms
        frame = (_NEXT if self.asked else _FIRST, limit, *((_NO_JIT,) if ours else ()))
        self.asked += 1
        started = self.state.now.monotonic
        answer = yield from put(self.state, *frame)
        if answer.error is None:
            answer = yield from self._put(text, ours=ours)
        self.took_us = int((self.state.now.monotonic - started) * 1_000_000)
        if answer.error is not None:
            self.why.append(f"{what} failed with SQLSTATE {answer.error.sqlstate}")
            self.errors.append(str(answer.error))
            return None
        return [row[0] or "" for row in answer.rows if row]

    def _put(self, text: bytes, *, ours: bool) -> Generator[Step, Any, Answer]:
        """Put a question; of one that is made of the client's text, once for each time that it is bound."""
        if self.sent.extended and not ours:
            return (yield from ask(bound_to(text, self.types, self.sent)))
        return (yield from put(self.state, text))

    @property
    def is_late(self) -> bool:
        """Whether the questions have taken all the time that they may."""
        return self.state.now.monotonic - self.started > _BUDGET * self.state.rules.preview_timeout_ms / 1_000


def measure(
    state: SessionState, request: str, after: bytes, asked: Questions, types: Sequence[int], sent: Sent
) -> Generator[Step, Any, Draft]:
    """Ask what may be asked and return the `preview` entry.

    What is bound several times is measured once for each, and summed up.
    """
    found = _Preview(state, types, sent, state.now.monotonic)
    if asked.unavailable:
        found.why.append(asked.unavailable)
    facts = yield from _facts(found, asked)
    values = (value for each in sent.bounds for value in each.values)
    bound, caveats = worth(asked, facts, sent.executions, values)
    if asked.explain and "rule" not in caveats:
        yield from _estimate(found, asked)
    if asked.spelled is not None and bound is not Bound.UNKNOWN:
        found.took_us = 0
        found.set(bound.value, asked.spelled * sent.executions, "text")
    elif is_askable(asked, caveats):
        yield from _count(found, asked, bound)
    if caveats and asked.facts:
        found.body["caveats"] = sorted(caveats)
    if facts is not None:
        yield from _surroundings(found, asked, facts, bound, caveats)
    return _draft(found, request, after)


def _draft(found: _Preview, request: str, after: bytes) -> Draft:
    body, state = found.body, found.state
    counted = body.keys() & {"exact", "at_most"}
    if found.why:
        body["why"] = "; ".join(found.why)[:_MAX_WHY]
    partly = counted or "estimate" in body
    body["status"] = "measured" if counted and not found.why else "partly" if partly else "unavailable"
    if found.obtained:
        body["obtained"] = found.obtained
    body["took_us"] = int((state.now.monotonic - found.started) * 1_000_000)
    # The server's words may quote data.
    sealed = {"error": "\n".join(found.errors).encode()} if found.errors else {}
    return Draft(EntryType.PREVIEW, body, session=state.who.session, request=request, after=after, sealed=sealed)


def _facts(found: _Preview, asked: Questions) -> Generator[Step, Any, Facts | None]:
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


def _estimate(found: _Preview, asked: Questions) -> Flow:
    explained = yield from found.ask("EXPLAIN", asked.explain)
    if explained is not None and (rows := _sum(map(read_estimate, explained))) is not None:
        found.set("estimate", rows, "explain")


def _count(found: _Preview, asked: Questions, bound: Bound) -> Flow:
    counted = yield from found.ask("the count", asked.count)
    if counted is not None and (rows := _sum(map(_number, counted))) is not None:
        found.set("estimate" if bound is Bound.UNKNOWN else bound.value, rows, "count")


def _number(text: str) -> int | None:
    return int(text) if text else None


def _sum(counts: Iterable[int | None]) -> int | None:
    """Return the sum, or None if there is nothing or something is not known."""
    found = list(counts)
    known = [count for count in found if count is not None]
    return sum(known) if known and len(known) == len(found) else None


def _surroundings(found: _Preview, asked: Questions, facts: Facts, bound: Bound, caveats: frozenset[str]) -> Flow:
    """Note what stands around the change: its cascades, triggers and row security."""
    lists: dict[str, list[JSON]] = {"cascades": [], "triggers": [], "row_security": []}
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
    lists["triggers"] = [
        {
            "relation": each.relation,
            "name": each.name,
            "when": each.when,
            "each": each.each,
            "events": list(each.events),
            "function": each.function,
        }
        for each in dict.fromkeys([*triggers, *fired])
    ]
    secured = [each.spelled for each in facts.relations if each.secured and each.how != "child"]
    lists["row_security"] = list(dict.fromkeys(secured))
    found.body |= _cut(lists)


def _reached(found: _Preview, cascade: Cascade) -> Generator[Step, Any, int | None]:
    """Return how many rows a cascade reaches; None if nobody could say."""
    name = cascade.key.target_name
    if found.is_late:
        found.why.append(f"no time was left to count the rows of {name}")
        return None
    answer = yield from found.ask(f"the count of what it takes along in {name}", cascade.count)
    return None if answer is None else _sum(map(_number, answer))


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


def _cut(lists: Mapping[str, list[JSON]]) -> dict[str, JSON]:
    """Return what fits of these lists, without those that are empty; `name_more` says how many are left out."""
    shown = {name: items[:MOST] for name, items in lists.items() if items}
    while sum(len(encode(items)) for items in shown.values()) > _MAX_LISTS_BYTES:
        longest = max(shown, key=lambda name: len(encode(shown[name])))
        shown[longest] = shown[longest][: len(shown[longest]) // 2]
    more = {f"{name}_more": len(lists[name]) - len(items) for name, items in shown.items()}
    body: dict[str, JSON] = dict(shown.items())
    return body | {name: number for name, number in more.items() if number}

"""Why a count may not be what then changes: words that stand in a preview, and what each means to people.

The tree of a count, what it names, and `Facts` enter; words leave. A count is exact only if nothing but other people's
writing can make the change another one: it calls nothing that asks the clock, the dice or the session, it takes no rows
by their place in an order that is not told, and no trigger, rule or policy stands between it and the change.

Source: PostgreSQL 18, "Function Volatility Categories", "Overview of Trigger Behavior", rowsecurity.c
(`get_row_security_policies`: other relations than the target are read under their SELECT policies by every command).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pgnotary.judge import grammar
from pgnotary.judge.catalog import Catalog
from pgnotary.judge.grammar import Message
from pgnotary.judge.statement import Control, Part, StatementClass
from pgnotary.request.clock import CLOCK_IN_BODIES, asks_clock, may_ask_clock
from pgnotary.request.facts import Facts
from pgnotary.request.selects import bare

__all__ = [
    "ADDRESS",
    "AT_MOST",
    "CAVEATS",
    "EARLIER",
    "NEVER",
    "VIEW_ROWS",
    "called_by",
    "columns_in",
    "earlier_parts",
    "events_of",
    "of_facts",
    "of_text",
    "of_values",
]

CAVEATS = {
    "before-trigger": "a BEFORE trigger may keep rows from being changed, or set what it likes in them",
    "instead-trigger": "an INSTEAD OF trigger does something else in place of the change",
    "rule": "a rule adds to the statement or takes its place",
    "row-security": "row security lets the role change other rows than it sees",
    "foreign": "rows are on another server, which was not asked",
    "conflict": "ON CONFLICT may leave rows as they are",
    "volatile": "what it asks (the clock, the session, chance) may be answered otherwise when it runs",
    "calls": "it calls what may change the rows that it meets",
    "set": "a function in its VALUES may give any number of rows",
    "order": "it takes rows by their place in an order, so which ones is settled only when it runs",
    "earlier-parts": "what stands before it in the same text runs first, and may change what it meets",
    "several": "several parts of it may change the same rows, and each row is changed once",
    "executions": "it runs several times, and each run may change what the next one meets",
    "view-rows": "it joins the rows of a view, which nobody can tell from each other",
    "unseen": "the server did not say what else stands between the statement and its rows",
}
"""Each word with its sentence."""

VIEW_ROWS = "view-rows"
"""With it the rows cannot be counted, but shown."""
EARLIER = "earlier-parts"
"""What is believed of no count is believed of no number of rows that go with a table either."""
NEVER = frozenset({"instead-trigger", "rule", "row-security", "foreign"})
"""With one of these no count says anything about the change."""
AT_MOST = frozenset({"before-trigger", "conflict"})
"""With one of these, and no other, a count is an upper bound."""

ADDRESS = frozenset({"tableoid", "ctid"})
"""Where a row of a table is stored; a view may have columns of these names that say something else."""
# Which transactions have met a row: a foreign key that is checked is one.
_MET = frozenset({"xmin", "xmax", "cmin", "cmax"})
_ORDER_WORDS = frozenset({"limit", "offset", "fetch", "tablesample", "over"})
# Aggregates that give another value when their rows come in another order.
_ORDERED = frozenset(
    """
    any_value array_agg json_agg json_agg_strict json_object_agg json_object_agg_strict json_object_agg_unique
    json_object_agg_unique_strict jsonb_agg jsonb_agg_strict jsonb_object_agg jsonb_object_agg_strict string_agg xmlagg
    """.split()
)
_BEFORE = frozenset({Control.BEGIN, Control.SAVEPOINT, Control.RELEASE, Control.COMMIT})


def of_text(node: str, tree: Mapping[str, Any]) -> set[str]:
    """Return what the tree of a query says; raises Unreadable for what the grammar does not know."""
    found = set()
    messages = list(grammar.messages(node, tree))
    # `= ANY (ARRAY(...))` asks for no order.
    unordered = {id(message.fields["rexpr"].get("SubLink")) for message in messages if _asks_any(message)}
    for message in messages:
        fields = message.fields
        match message.type:
            case "SQLValueFunction" if "TIME" in fields.get("op", "") or "DATE" in fields.get("op", ""):
                found.add("volatile")
            case "SelectStmt" if {"limitCount", "limitOffset"} & fields.keys() or any(fields.get("distinctClause", ())):
                found.add("order")
            case "RangeTableSample":
                found.add("order")
            case "FuncCall" if "over" in fields or _takes_order(fields):
                found.add("order")
            case "SubLink" if fields.get("subLinkType") == "ARRAY_SUBLINK" and id(fields) not in unordered:
                found.add("order")
            case "JsonArrayAgg" | "JsonObjectAgg" | "JsonArrayQueryConstructor":
                found.add("order")
        if asks_clock(message):
            found.add("volatile")
    return found | ({"volatile"} if _MET & _columns(messages) else set())


def columns_in(node: str, tree: Mapping[str, Any]) -> set[str]:
    """Return the last names of all columns that the tree of a query seems to read; raises Unreadable."""
    return _columns(grammar.messages(node, tree))


def _columns(messages: Iterable[Message]) -> set[str]:
    last = (message.fields["fields"][-1] for message in messages if message.type == "ColumnRef")
    return {name["String"]["sval"] for name in last if "String" in name}


def _asks_any(message: Message) -> bool:
    return message.type == "A_Expr" and message.fields.get("kind") in ("AEXPR_OP_ANY", "AEXPR_OP_ALL")


def _takes_order(call: Mapping[str, Any]) -> bool:
    """Say whether an aggregate depends on the order of its rows: unless it is that of what it takes, rows may tie."""
    if call["funcname"][-1].get("String", {}).get("sval") not in _ORDERED:
        return False
    by = [each["SortBy"]["node"] for each in call.get("agg_order", ())]
    return bool(bare(by[:1]) != bare(call.get("args", [])[:1]))


def of_values(values: Iterable[bytes | None]) -> set[str]:
    """Return what bound values say: one that is the word `now` is another time at each Bind."""
    return {"volatile"} if any(value and may_ask_clock(value.decode(errors="replace")) for value in values) else set()


def called_by(functions: Iterable[str], catalog: Catalog) -> tuple[set[str], set[str]]:
    """Return the names of all that these functions, and those in their bodies, may call; and what their texts say."""
    seen, waiting, words = set(functions), list(functions), set[str]()
    while waiting:
        body = catalog.bodies.get(waiting.pop(), frozenset())
        words |= body
        waiting += (body & catalog.bodies.keys()) - seen
        seen |= body
    # What a view in a body shows was not looked at.
    views = any(relation.kind == "v" for word in words for relation in catalog.relations.get(word, {}).values())
    odd = {word.lower() for word in words}
    found = {"volatile"} if views or odd & CLOCK_IN_BODIES else set()
    return seen, found | ({"order"} if odd & _ORDER_WORDS else set())


def earlier_parts(parts: Iterable[Part]) -> set[str]:
    """Return whether what stands before a part in its text may change what the part means or meets."""
    if all(part.control in _BEFORE or _only_reads(part) for part in parts):
        return set()
    return {"earlier-parts"}


def _only_reads(part: Part) -> bool:
    return part.kind in (StatementClass.SELECT, StatementClass.SHOW) and not part.findings and not part.rescopes


def events_of(part: Part) -> frozenset[str]:
    """Return the events for which triggers may fire."""
    found = {each.value for each in part.changes | {part.kind}} & {"insert", "update", "delete", "merge"}
    if "merge" in found:
        found |= {"insert", "update", "delete"}
    # INSERT ... ON CONFLICT DO UPDATE is of the class update.
    return frozenset(found | {"insert"} if part.node == "InsertStmt" else found)


def _meet(facts: Facts, changes: int) -> bool:
    """Say whether one change may reach the rows of another: in a common table, by a trigger, or over a foreign key."""
    targets = [each.oid for each in facts.targets]
    named = sum(each.how == "named" for each in facts.targets)
    if named < changes or len(set(targets)) < len(targets) or any(each.triggers for each in facts.targets):
        return True
    # Each relation stands here once, from wherever it is reached: two views have a base in common, two parents a child.
    if any(each.kind == "v" or each.how == "base" or each.parents > 1 for each in facts.targets):
        return True
    family = {*targets, *facts.ancestors}
    reached, keys = set(family), [each for each in facts.keys if each.on_delete in "cnd" or each.on_update in "cnd"]
    while further := [each for each in keys if each.source in reached]:
        keys = [each for each in keys if each.source not in reached]
        if any(not family.isdisjoint(each.family) for each in further):
            return True
        reached.update(*(each.family for each in further))
    return False


def of_facts(facts: Facts, part: Part, changes: int = 1) -> list[str]:
    """Return what the catalog says about a statement that makes so many changes."""
    found = {"several"} if changes > 1 and _meet(facts, changes) else set[str]()
    inserts = part.node == "InsertStmt" and changes == 1
    events = events_of(part)
    met = set(events)
    # A row that an UPDATE moves to another partition is deleted here and inserted there.
    met |= {"insert", "delete"} if "update" in met else set()
    for each in facts.targets:
        if any(rule.event in events for rule in each.rules):
            found.add("rule")
        if each.kind == "f":
            found.add("foreign")
        for trigger in each.triggers:
            if trigger.each == "row" and met & set(trigger.events):
                found |= {"before": {"before-trigger"}, "instead of": {"instead-trigger"}}.get(trigger.when, set())
        if each.secured and each.how != "child" and not each.one_sight and not inserts:
            found.add("row-security")
    if any(each.kind == "f" for each in facts.relations):
        found.add("foreign")
    if facts.unsteady or facts.texts or any(each.unsteady for each in facts.relations):
        found.add("volatile")
    return sorted(found)

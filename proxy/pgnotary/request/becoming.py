"""What an UPDATE makes of a row, as far as it is certain: the statement and `Facts` enter, `Doubts` leave.

A new value is shown only if it is what then stands. It is not if it depends on the clock, the dice or the session, if a
trigger may set another one, or if another part or another run of the statement may meet the same row. What other
people write meanwhile is not looked at, as with counts: that shows in the text itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pgnotary.judge import grammar
from pgnotary.judge.catalog import Catalog
from pgnotary.judge.naming import names_of
from pgnotary.request.caveats import called_by, of_text
from pgnotary.request.clock import read_as_times
from pgnotary.request.counting import Source
from pgnotary.request.facts import Facts
from pgnotary.request.facts_question import facts_question

__all__ = ["Doubts", "doubts_of", "facts_of_settings_question"]

_ELSEWHERE = frozenset({"calls", "several", "earlier-parts", "unseen"})
"""Caveats with which something else may change a row, before or after."""
_GIVEN = frozenset({"A_Const", "ParamRef"})


@dataclass(frozen=True, slots=True)
class Doubts:
    """What cannot be said of the columns of a row that is changed."""

    all: bool = False
    """No new value is certain."""
    set: frozenset[str] = frozenset()
    """Columns of whose new values that is so."""
    beside: frozenset[str] | None = frozenset()
    """Columns that are not set and may change all the same; None if that may be each."""


def facts_of_settings_question(source: Source, catalog: Catalog) -> bytes:
    """Return the question about what the values that an UPDATE sets are made of; raises Unreadable."""
    whole = list(grammar.messages(source.node, source.tree))
    trees = [message for _, tree in _settings(source) for message in grammar.messages("Node", tree)]
    names = names_of(trees)
    functions = {name[-1] for name in names.functions if name} | (names.attributes & set(catalog.proven))
    called, _ = called_by(functions, catalog)
    operators = {name[-1] for name in names.operators if name}
    return facts_question((), sorted(names_of(whole).relations), called, operators, read_as_times(trees), only=False)


def doubts_of(
    source: Source,
    catalog: Catalog,
    facts: Facts,
    made_of: Facts,
    caveats: frozenset[str],
    *,
    clock_bound: bool,
    repeated: bool,
) -> Doubts:
    """Return what cannot be said; raises Unreadable.

    `facts` are those of the statement, `made_of` those of the values that it sets. `clock_bound`: a bound value is a
    word that the clock gives a meaning. `repeated`: it runs several times, and each run reads what those before it have
    left.
    """
    if source.node != "UpdateStmt":
        return Doubts()
    joined = source.tree.keys() & {"fromClause", "withClause"} or any(each.kind == "v" for each in facts.targets)
    unsteady = bool(joined and (repeated or caveats & {"volatile", "order"}))
    found = {
        name
        for name, tree in _settings(source)
        if (unsteady and not tree.keys() <= _GIVEN)
        or (repeated and _reads_rows(tree, catalog))
        or _is_doubtful(tree, catalog, made_of, clock_bound=clock_bound)
    }
    if caveats & _ELSEWHERE or _is_meddled_with(facts):
        return Doubts(all=True, beside=None)
    return Doubts("executions" in caveats, frozenset(found), _beside(facts))


def _settings(source: Source) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each column that is set, and what to."""
    for item in source.tree["targetList"]:
        fields = item["ResTarget"]
        tree = fields["val"]
        if "MultiAssignRef" in tree:
            several = tree["MultiAssignRef"]
            row = several["source"].get("RowExpr")
            tree = several["source"] if row is None else row["args"][several["colno"] - 1]
        yield str(fields["name"]), tree


def _reads_rows(tree: Mapping[str, Any], catalog: Catalog) -> bool:
    """Say whether a value is made of other rows than the one that is changed."""
    messages = list(grammar.messages("Node", tree))
    names = names_of(messages)
    called = {name[-1] for name in names.functions if name} | names.attributes
    return any(message.type == "SubLink" for message in messages) or any(map(catalog.reads_tables, called))


def _is_doubtful(tree: Mapping[str, Any], catalog: Catalog, made_of: Facts, *, clock_bound: bool) -> bool:
    messages = list(grammar.messages("Node", tree))
    kinds = {message.type for message in messages}
    if of_text("Node", tree) or (clock_bound and "ParamRef" in kinds):
        return True
    names = names_of(messages)
    functions = {name[-1] for name in names.functions if name} | (names.attributes & set(catalog.proven))
    called, words = called_by(functions, catalog)
    unsteady = set(made_of.unsteady)
    if words or unsteady & (called | {name[-1] for name in names.operators if name}):
        return True
    if "a cast" in unsteady and not tree.keys() <= _GIVEN:
        return True
    return (made_of.texts and bool(read_as_times(messages))) or (
        "RangeVar" in kinds and any(each.unsteady for each in made_of.relations)
    )


def _is_meddled_with(facts: Facts) -> bool:
    """Say whether a trigger may set something else: where a row is changed, or in the partition that it moves to.

    One that fires afterwards may update the row once more, and so may those of tables that foreign keys lead to.
    """
    moves = bool(facts.ancestors) or any(each.kind == "p" for each in facts.targets)
    events = {"update", "insert"} if moves else {"update"}
    return any(events & set(trigger.events) for each in facts.targets for trigger in each.triggers) or any(
        key.triggers for key in facts.keys if key.on_update in "cnd"
    )


def _beside(facts: Facts) -> frozenset[str] | None:
    """Return the columns that may change though nobody sets them: a view's second name of one, a key's other end."""
    targets = {each.oid for each in facts.targets}
    keys = [key for key in facts.keys if key.on_update in "cnd" and not targets.isdisjoint(key.family)]
    # A view may have a column twice, or under another name.
    if any(each.twice or (keys and each.renames) for each in facts.targets):
        return None
    return frozenset(own for key in keys for own, _, _ in key.columns)

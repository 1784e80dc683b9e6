"""A few of the rows that a held statement would meet, asked of the server: `Questions` and `Facts` enter, rows leave.

The values are sealed, their columns stand in the preview. Where there is no sample the preview says why; there is none,
and no word, where the text itself spells the rows out or where no row would be met.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from pgnotary.judge import grammar
from pgnotary.judge.catalog import Catalog
from pgnotary.judge.rules import Terms
from pgnotary.judge.statement import Name
from pgnotary.request.becoming import Doubts, doubts_of, facts_of_settings_question
from pgnotary.request.caveats import of_values
from pgnotary.request.columns import Columns, columns_question, read_columns
from pgnotary.request.counting import Source
from pgnotary.request.facts import Facts, read_facts
from pgnotary.request.masks import Masks
from pgnotary.request.preview import Questions, is_plain_read
from pgnotary.request.sample import Becomes, Sample, sealed_rows, without
from pgnotary.request.sampled_rows import emptied
from pgnotary.request.sampling import (
    Sampling,
    addresses_of,
    differing,
    named_in,
    read_rows,
    sampling_of,
)
from pgnotary.request.selects import Uncounted
from pgnotary.session.figures import Figures
from pgnotary.session.steps import Flow, Step

__all__ = ["sample", "sample_emptied"]

_RENAMED = "what runs before it may rename what is masked"
_MOST_EXECUTIONS = 100
"""Of more it is not asked whether several meet the same row."""
_MOST_TIMES = 1_000
"""So often the rows that are shown may be met in one run."""


def sample(found: Figures, asked: Questions, facts: Facts | None, caveats: frozenset[str], terms: Terms) -> Flow:
    """Ask for a few of the rows that a change would meet, and note them or why there are none."""
    if asked.sampled is None or facts is None or 0 in (found.body.get("exact"), found.body.get("at_most")):
        return
    taking = _of_change(found, asked, asked.sampled, facts, caveats, terms)
    yield from _noted(found, terms, taking, renamed=asked.renamed)


def sample_emptied(found: Figures, asked: Questions, table: Name, terms: Terms) -> Flow:
    """Ask for a few of the rows of a table that loses all, and note them or why there are none."""
    yield from _noted(found, terms, _of_table(found, table, terms), renamed=asked.renamed)


def _noted(found: Figures, terms: Terms, asking: Flow, *, renamed: bool) -> Flow:
    why = _RENAMED if renamed else ""
    why = "policy asks for none" if terms.sample_rows == 0 else "no time was left" if found.is_late else why
    try:
        if why:
            raise Uncounted(why)
        yield from asking
    except Uncounted as none:
        found.body["sample"] = msgspec.to_builtins(Sample(why=str(none)))


def _masks(found: Figures, terms: Terms, catalog: Catalog) -> Masks:
    return Masks((*found.state.rules.mask, *terms.mask), catalog.reads_tables)


def _of_change(
    found: Figures, asked: Questions, source: Source, facts: Facts, caveats: frozenset[str], terms: Terms
) -> Flow:
    columns, most = (yield from _columns(found, named_in(source))), terms.sample_rows
    masks = _masks(found, terms, asked.catalog).of(columns.values())
    doubts = yield from _doubts(found, asked, source, facts, caveats)
    met_often = _is_joined(source) or found.sent.executions > 1
    if met_often and not facts.only_tables:
        doubts = replace(doubts, all=True)
    sampling = _sampling(asked, source, columns, masks, most, doubts, joined=met_often and facts.only_tables)
    yield from _take(found, sampling, ours=False)


def _doubts(
    found: Figures, asked: Questions, source: Source, facts: Facts, caveats: frozenset[str]
) -> Generator[Step, Any, Doubts]:
    """Return of which columns it is not certain what they become."""
    if source.node != "UpdateStmt":
        return Doubts()
    try:
        question = facts_of_settings_question(source, asked.catalog)
        answer = yield from found.ask("the question about what it sets", question, ours=True)
        made_of = read_facts("".join(answer)) if answer is not None else None
        bound = of_values(value for each in found.sent.bounds for value in each.values)
        if made_of is not None:
            return doubts_of(
                source,
                asked.catalog,
                facts,
                made_of,
                caveats,
                clock_bound=bool(bound),
                repeated=found.sent.executions > 1,
            )
    except (grammar.Unreadable, ValueError):
        found.why.append("what it sets cannot be looked into")
    return Doubts(all=True)


def _of_table(found: Figures, table: Name, terms: Terms) -> Flow:
    columns = yield from _columns(found, [table])
    if table not in columns:
        raise Uncounted("its columns are not known")
    masks = _masks(found, terms, found.state.catalog)
    if masks.hides_behind(columns[table]):
        raise Uncounted("it is made of masked columns")
    # A table whose rows were counted: to read one runs nobody's code, since PostgreSQL lets no generated column that is
    # computed then call a function of one's own.
    yield from _take(found, emptied(columns[table], masks, terms.sample_rows), ours=True)


def _take(found: Figures, sampling: Sampling, *, ours: bool) -> Flow:
    """Ask for rows and note them; of what is bound, for as many executions as rows are shown."""
    answer = yield from found.rows("the sample of its rows", sampling.question, ours=ours, executions=sampling.rows)
    if answer is None:
        raise Uncounted("the question failed")
    try:
        rows = read_rows(sampling, answer)
    except ValueError as error:
        raise Uncounted(str(error)) from error
    if not rows:
        raise Uncounted("it met no row")
    found.note_time("sample", "select")
    untold = yield from _untold(found, sampling, answer)
    shown, rows = without(sampling.sample, rows, untold)
    found.sealed["sample"] = sealed_rows(rows)
    found.body["sample"] = msgspec.to_builtins(msgspec.structs.replace(shown, rows=len(rows)))


def _untold(
    found: Figures, sampling: Sampling, answer: Sequence[Sequence[str | None]]
) -> Generator[Step, Any, set[str]]:
    """Return the columns of which rows that are met several times leave it open what they become.

    Where not all was seen that meets the rows that are shown, it is asked for.
    """
    becoming = {column.name for column in sampling.sample.columns if column.becomes is Becomes.SHOWN}
    if not sampling.every or not becoming:
        return set()
    executions, met = found.sent.executions, answer
    addresses = addresses_of(sampling, answer)
    if executions > 1 or len(answer) >= sampling.limit:
        if executions > _MOST_EXECUTIONS or found.is_late:
            return becoming
        question = sampling.of_rows(addresses, _MOST_TIMES)
        asked = yield from found.rows("the question what meets its rows", question, executions=executions)
        if asked is None or len(asked) >= _MOST_TIMES:
            return becoming
        met = asked
    return differing(sampling, addresses, met, once=executions > 1)


def _columns(found: Figures, names: list[Name]) -> Generator[Step, Any, dict[Name, Columns]]:
    answer = yield from found.ask("the question about its columns", columns_question(names), ours=True)
    if answer is None:
        raise Uncounted("the question about its columns failed")
    try:
        return read_columns("".join(answer), names)
    except ValueError as error:
        raise Uncounted(str(error)) from error


def _sampling(
    asked: Questions,
    source: Source,
    columns: dict[Name, Columns],
    masks: Masks,
    most: int,
    doubts: Doubts,
    *,
    joined: bool,
) -> Sampling:
    """Return how the sample is had: with what columns become, if that is a plain read, else without."""
    for each in (doubts, replace(doubts, all=True)):
        sampling = sampling_of(source, columns, masks, most, each, joined=joined)
        further = [sampling.of_rows([("0", "(0,0)")], 1)] if sampling.every else []
        if all(is_plain_read(text, asked.catalog, asked.scope) for text in (sampling.question, *further)):
            return sampling
    raise Uncounted("what was built for it is not a plain read")


def _is_joined(source: Source) -> bool:
    """Say whether one run may meet a row of the target several times."""
    return source.node == "MergeStmt" or bool(source.tree.get("fromClause") or source.tree.get("usingClause"))

"""A few of the rows that a held statement would meet, asked of the server: `Questions` and `Facts` enter, rows leave.

The values are sealed, their columns stand in the preview. Where there is no sample the preview says why; there is none,
and no word, where the text itself spells the rows out or where no row would be met.
"""

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import msgspec

from pgnotary.judge.catalog import BUILT_IN, Catalog
from pgnotary.judge.rules import Terms
from pgnotary.judge.statement import Name
from pgnotary.request.columns import Columns, columns_question, read_columns
from pgnotary.request.counting import Source
from pgnotary.request.facts import Facts
from pgnotary.request.masks import Masks
from pgnotary.request.preview import Questions, is_plain_read
from pgnotary.request.sample import Sample, sealed_rows
from pgnotary.request.sampled_rows import emptied
from pgnotary.request.sampling import Sampling, named_in, read_rows, sampling_of
from pgnotary.request.selects import Uncounted
from pgnotary.session.figures import Figures
from pgnotary.session.steps import Flow, Step

__all__ = ["sample", "sample_emptied"]


def sample(found: Figures, asked: Questions, facts: Facts | None, terms: Terms) -> Flow:
    """Ask for a few of the rows that a change would meet, and note them or why there are none."""
    if asked.sampled is None or facts is None or 0 in (found.body.get("exact"), found.body.get("at_most")):
        return
    yield from _noted(found, terms, _of_change(found, asked, asked.sampled, facts, terms))


def sample_emptied(found: Figures, table: Name, terms: Terms) -> Flow:
    """Ask for a few of the rows of a table that loses all, and note them or why there are none."""
    yield from _noted(found, terms, _of_table(found, table, terms))


def _noted(found: Figures, terms: Terms, asking: Flow) -> Flow:
    why = "policy asks for none" if _most(found, terms) == 0 else "no time was left" if found.is_late else ""
    try:
        if why:
            raise Uncounted(why)
        yield from asking
    except Uncounted as none:
        found.body["sample"] = msgspec.to_builtins(Sample(why=str(none)))


def _most(found: Figures, terms: Terms) -> int:
    return found.state.rules.sample_rows if terms.sample_rows is None else terms.sample_rows


def _masks(found: Figures, terms: Terms, catalog: Catalog = BUILT_IN) -> Masks:
    return Masks((*found.state.rules.mask, *terms.mask), catalog.reads_tables)


def _of_change(found: Figures, asked: Questions, source: Source, facts: Facts, terms: Terms) -> Flow:
    columns, most = (yield from _columns(found, named_in(source))), _most(found, terms)
    known = frozenset(column.name for relation in columns.values() for column in relation.columns)
    masks = replace(_masks(found, terms, asked.catalog), known=known)
    sampling = _sampling(asked, source, columns, masks, most, joined=_is_joined(source, facts))
    yield from _take(found, sampling, ours=False)


def _of_table(found: Figures, table: Name, terms: Terms) -> Flow:
    columns = yield from _columns(found, [table])
    if table not in columns:
        raise Uncounted("its columns are not known")
    # A table whose rows were counted: to read one runs nobody's code, since PostgreSQL lets no generated column that is
    # computed then call a function of one's own.
    yield from _take(found, emptied(columns[table], _masks(found, terms), _most(found, terms)), ours=True)


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
    found.sealed["sample"] = sealed_rows(rows)
    found.body["sample"] = msgspec.to_builtins(msgspec.structs.replace(sampling.sample, rows=len(rows)))
    found.note_time("sample", "select")


def _columns(found: Figures, names: list[Name]) -> Generator[Step, Any, dict[Name, Columns]]:
    answer = yield from found.ask("the question about its columns", columns_question(names), ours=True)
    if answer is None:
        raise Uncounted("the question about its columns failed")
    try:
        return read_columns("".join(answer), names)
    except ValueError as error:
        raise Uncounted(str(error)) from error


def _sampling(
    asked: Questions, source: Source, columns: dict[Name, Columns], masks: Masks, most: int, *, joined: bool
) -> Sampling:
    """Return how the sample is had: with what columns become, if that is a plain read, else without."""
    for new in (True, False):
        sampling = sampling_of(source, columns, masks, most, joined=joined, new=new)
        if is_plain_read(sampling.question, asked.catalog, asked.scope):
            return sampling
    raise Uncounted("what was built for it is not a plain read")


def _is_joined(source: Source, facts: Facts) -> bool:
    """Say whether a row of the target may be met several times, and has an address by which to tell it."""
    further = source.node == "MergeStmt" or source.tree.get("fromClause") or source.tree.get("usingClause")
    return bool(further) and all(each.kind in ("r", "p") for each in facts.targets)

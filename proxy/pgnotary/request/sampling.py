"""A few of the rows that a change would meet: its rows, columns and masks enter, one SELECT leaves, and its reading.

Of UPDATE, DELETE and MERGE these are rows as they stand; beside a column that UPDATE sets stands what it would become.
Of INSERT they are what its query gives. The inner SELECT is the client's own grammar, read again as every count is.
What is masked, or what the role may not read, is never among what is asked for. The text must be judged a plain read,
as a count must.
"""

from collections.abc import Iterable, Mapping, Sequence

from pgnotary.judge import grammar
from pgnotary.judge.naming import relation
from pgnotary.judge.statement import Name
from pgnotary.request.becoming import Doubts
from pgnotary.request.columns import Columns
from pgnotary.request.counting import Source
from pgnotary.request.masks import Masks
from pgnotary.request.sample import MAX_CHARACTERS, Becomes, Row, Value
from pgnotary.request.sample_text import Sampling
from pgnotary.request.sampled_query import given, starred_in
from pgnotary.request.sampled_rows import IDENTITY, merged, standing
from pgnotary.request.selects import Uncounted, queries_in

__all__ = ["Sampling", "addresses_of", "differing", "named_in", "read_rows", "sampling_of"]


def named_in(source: Source) -> list[Name]:
    """Return the relations that it names, whose columns must be known; raises Uncounted."""
    queries = queries_in(source.tree)
    try:
        found = {
            relation(message.fields): None
            for message in grammar.messages(source.node, source.tree)
            if message.type == "RangeVar"
        }
    except grammar.Unreadable as doubt:
        raise Uncounted(f"the text {doubt}") from doubt
    target = relation(source.tree["relation"])
    return [name for name in found if name == target or len(name) > 1 or name[0] not in queries]


def sampling_of(
    source: Source, columns: Mapping[Name, Columns], masks: Masks, rows: int, doubts: Doubts, *, joined: bool
) -> Sampling:
    """Return how the sample is had; raises Uncounted with the reason if it cannot be.

    `joined`: a row of the target may be met several times, and can be told from others. What columns become is asked
    for as far as there are no doubts.
    """
    target = columns.get(relation(source.tree["relation"]))
    if target is None:
        raise Uncounted("the columns of its target are not known")
    if masks.hides_behind(target):
        raise Uncounted("its target is a view that reads masked columns")
    renamed = any(map(masks.hides_behind, columns.values()))
    try:
        if source.node == "InsertStmt":
            starred = starred_in(source)
            return given(source, target, columns.get(starred) if starred else None, masks, rows, renamed=renamed)
        if source.node == "MergeStmt":
            return merged(source, target, masks, rows, joined=joined)
        return standing(source, target, masks, rows, doubts, joined=joined, renamed=renamed)
    except grammar.Unreadable as doubt:
        raise Uncounted(f"the text {doubt}") from doubt


def addresses_of(sampling: Sampling, rows: Iterable[Sequence[str | None]]) -> list[tuple[str, str]]:
    """Return the addresses of the rows that are shown, in their order; raises ValueError if they have not its shape."""
    found: dict[tuple[str, str], None] = {}
    for row in rows:
        table, place = row[: len(IDENTITY)]
        found.setdefault((table or "", place or ""))
    return list(found)[: sampling.rows]


def differing(
    sampling: Sampling, addresses: Sequence[tuple[str, str]], rows: Iterable[Sequence[str | None]], *, once: bool
) -> set[str]:
    """Return the columns of which it is not certain what they become, from all times that rows are met.

    `once`: a row that is met twice may become something else then. Raises ValueError if a row has not its shape.
    """
    becoming = [column.name for column in sampling.sample.columns if column.becomes is Becomes.SHOWN]
    met: dict[tuple[str | None, ...], list[tuple[str | None, ...]]] = {}
    for row in rows:
        lead, new = tuple(row[: len(IDENTITY)]), tuple(row[len(IDENTITY) + len(sampling.sample.columns) :])
        if len(new) != len(becoming):
            raise ValueError(f"a row of the sample has {len(new)} new values, not {len(becoming)}")
        met.setdefault(lead, []).append(new)
    if any(not met.get(each) or (once and len(met[each]) > 1) for each in addresses):
        return set(becoming)
    return {
        name
        for each in addresses
        for place, name in enumerate(becoming)
        if len({new[place] for new in met[each]}) > 1
        # Of what is cut nobody knows whether it goes on alike.
        or (len(met[each]) > 1 and len(met[each][0][place] or "") > MAX_CHARACTERS)
    }


def read_rows(sampling: Sampling, rows: Iterable[Sequence[str | None]]) -> tuple[Row, ...]:
    """Return the rows of an answer, each row of the target once; raises ValueError if they have not its shape."""
    found: dict[object, Row] = {}
    lead = len(IDENTITY) if sampling.is_identified else 0
    for place, row in enumerate(rows):
        if len(row) != lead + sampling.sample.width:
            raise ValueError(f"a row of the sample has {len(row)} values, not {lead + sampling.sample.width}")
        found.setdefault(tuple(row[:lead]) if lead else place, tuple(map(_value, row[lead:])))
    return tuple(found.values())[: sampling.rows]


def _value(text: str | None) -> Value:
    if text is None or len(text) <= MAX_CHARACTERS:
        return Value(text)
    return Value(text[:MAX_CHARACTERS], is_cut=True)

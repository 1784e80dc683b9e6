"""The text of a sample: values of an inner SELECT enter, one around it leaves that spells them as text, cut to size.

Only casts of ours and a limit to the length of each value stand around what is the client's own grammar.
"""

from collections.abc import Collection
from dataclasses import dataclass

from pgnotary.judge.identifiers import qualified, quoted
from pgnotary.request.assigned import as_text
from pgnotary.request.columns import Column, Columns
from pgnotary.request.sample import MAX_CHARACTERS, Sample

__all__ = ["Sampling", "around_sample", "spelled", "whole_name"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a sample is had."""

    question: bytes
    sample: Sample
    """All of it but its rows."""
    rows: int
    """How many are shown at the most."""
    is_identified: bool = False
    """The first two values of each row say which row of the target it is."""
    every: bytes = b""
    """Of those: the question without a limit, to which `of_rows` gives another one."""
    limit: int = 0
    """After so many rows of the inner SELECT there may be more."""

    def of_rows(self, addresses: Collection[tuple[str, str]], most: int) -> bytes:
        """Return the question about rows of the target by their addresses, however often each is met."""
        tables, places = (sorted(set(each)) for each in zip(*addresses, strict=True))
        of_tables, at_places = ",".join(tables), ",".join(map(quoted, places))
        found = (
            f" WHERE pgnotary_sample.c0 OPERATOR(pg_catalog.=) ANY ('{{{of_tables}}}'::pg_catalog.oid[])"
            f" AND pgnotary_sample.c1 OPERATOR(pg_catalog.=) ANY ('{{{at_places}}}'::pg_catalog.tid[]) LIMIT {most}"
        )
        return self.every + found.encode()


def whole_name(columns: Columns) -> str:
    """Return a relation's whole name as PostgreSQL spells it."""
    return qualified(columns.relation)


def spelled(place: int, into: Column | None = None) -> str:
    """Return a value of an inner SELECT as text, cut to one character more than is shown; first as a column has it."""
    value = f"pgnotary_sample.c{place}"
    made = value if into is None else as_text(value, into)
    most = MAX_CHARACTERS + 1
    # Not IS NULL, which is true of a composite whose fields are all NULL.
    return f"CASE WHEN {value} IS DISTINCT FROM NULL THEN pg_catalog.left(pg_catalog.format('%s', {made}), {most}) END"


def around_sample(text: bytes, values: Collection[str], columns: int | None = None) -> bytes:
    """Return a SELECT of values over the columns c0, c1, ... of an inner one, as many as it is said to have."""
    names = ", ".join(f"c{place}" for place in range(len(values) if columns is None else columns))
    opening = f"SELECT {', '.join(values)} FROM ("  # noqa: S608  # of texts of ours
    return opening.encode() + text + f") AS pgnotary_sample ({names})".encode()

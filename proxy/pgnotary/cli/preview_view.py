"""What a preview saw, in words: a `Measured` enters, labels and texts leave, in the order in which they are read.

No number can be taken for what it is not: counted, AT MOST so many, or about so many. Texts hold names of the
database's own; who shows them makes them safe.
"""

from collections.abc import Iterator

from pgnotary.approval.papers import Cascade, Measured, Reached, Trigger
from pgnotary.audit.words import counted, row_count
from pgnotary.ledger.canonical import parse_timestamp
from pgnotary.request.caveats import CAVEATS

__all__ = ["preview_lines", "rows_in_words"]

_HOW = {"count": "counted", "explain": "the planner's estimate", "text": "as the statement spells them out"}
_FIGURES = {"exact": "the count", "at_most": "the upper bound", "estimate": "the estimate"}


def preview_lines(measured: Measured) -> Iterator[tuple[str, str]]:
    """Yield what the preview saw."""
    yield "preview", f"{rows_in_words(measured)}; {measured.status}, in {measured.took_us / 1_000:,.0f} ms"
    for figure, had in measured.obtained.items():
        at = parse_timestamp(had.at)
        how = f"{_HOW.get(had.how, had.how)}, {at:%H:%M:%S} UTC, in {had.took_us / 1_000:,.0f} ms"
        yield "obtained", f"{_FIGURES.get(figure, figure)}: {how}"
    if measured.why:
        yield "preview why", measured.why
    for caveat in measured.caveats:
        yield "caveat", f"{caveat}: {CAVEATS.get(caveat, 'this version does not know the word')}"
    yield from (("cascade", _cascade(each)) for each in measured.cascades)
    yield from _more("cascade", measured.cascades_more)
    yield from (("trigger", _trigger(each)) for each in measured.triggers)
    yield from _more("trigger", measured.triggers_more)
    if measured.row_security:
        yield "row security", f"in force on {', '.join(measured.row_security)}"
    yield from _more("row security", measured.row_security_more)


def rows_in_words(measured: Measured) -> str:
    """Return how many rows the preview saw, and how it knows."""
    known = []
    if measured.exact is not None:
        known.append(f"{row_count(measured.exact)} counted")
    if measured.at_most is not None:
        known.append(f"AT MOST {row_count(measured.at_most)}")
    if measured.estimate is not None:
        how = "counted, but may be others when it runs" if measured.is_guess_counted else "estimated"
        known.append(f"about {row_count(measured.estimate)} {how}")
    if measured.relation_rows is not None:
        known.append(f"of about {measured.relation_rows:,}{_share(measured)}")
    return ", ".join(known) or row_count(None)


def _share(measured: Measured) -> str:
    rows = measured.estimate if measured.bound is None else measured.bound
    if rows is None or not measured.relation_rows or rows > measured.relation_rows:
        return ""
    return f" ({100 * rows / measured.relation_rows:.1f} %)"


def _cascade(each: Cascade) -> str:
    scans = "" if each.indexed else "; NOT INDEXED, so each row is looked for in the whole of it"
    key = f"{each.constraint}, level {each.depth}"
    return f"{each.source} -> {each.to}, {each.action}: {_reached(each.rows)} ({key}){scans}"


def _reached(rows: Reached) -> str:
    if rows.exact is not None:
        return f"{row_count(rows.exact)} counted"
    if rows.at_most is not None:
        return f"AT MOST {row_count(rows.at_most)}"
    return f"about {row_count(rows.estimate)}" if rows.estimate is not None else "ROWS UNKNOWN"


def _trigger(each: Trigger) -> str:
    events = " or ".join(each.events).upper()
    return f"{each.name} {each.when.upper()} {events} on {each.relation}, for each {each.each}: calls {each.function}"


def _more(label: str, more: int) -> Iterator[tuple[str, str]]:
    if more:
        yield label, f"AND {counted(more, 'MORE', 'MORE')} that are not listed"

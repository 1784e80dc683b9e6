"""What a preview saw, in words: a `Measured` enters, labels and texts leave, in the order in which they are read.

No number can be taken for what it is not: counted, AT MOST so many, or about so many. Texts hold names of the
database's own; who shows them makes them safe.
"""

from collections.abc import Iterator

from pgnotary.approval.papers import Cascade, Holder, Measured, Reached, TableLock, Taken, Trigger
from pgnotary.audit.words import counted, row_count
from pgnotary.ledger.canonical import parse_timestamp
from pgnotary.request.caveats import CAVEATS

__all__ = ["preview_lines", "rows_in_words"]

_HOW = {
    "count": "counted",
    "explain": "the planner's estimate",
    "select": "read",
    "text": "as the statement spells them out",
    "statistics": "by the server's statistics",
}
_FIGURES = {"exact": "the count", "at_most": "the upper bound", "estimate": "the estimate", "sample": "the sample"}
_KEEP_ROWS = frozenset({"table", "materialized view", "foreign table"})
_BECAUSE = {
    "named": "named",
    "child": "a child or a partition",
    "refers": "it refers to what is emptied",
    "along": "it goes along",
}
_WORK = {"scan": "reads every row", "rewrite": "writes every row anew, or may"}
_STOPS = {
    "RowExclusiveLock": ": others read and write meanwhile",
    "ShareUpdateExclusiveLock": ": others read and write meanwhile",
    "ShareLock": ": others only read meanwhile",
    "ShareRowExclusiveLock": ": others only read meanwhile",
    "ExclusiveLock": ": others only read meanwhile",
    "AccessExclusiveLock": ": NOBODY READS OR WRITES MEANWHILE",
}


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
    yield from (("rule", each) for each in measured.rules)
    yield from _more("rule", measured.rules_more)
    if measured.row_security:
        yield "row security", f"in force on {', '.join(measured.row_security)}"
    yield from _more("row security", measured.row_security_more)
    yield from (("takes", _taken(each)) for each in measured.takes)
    yield from _more("takes", measured.takes_more)
    yield from (("dependent", f"{each}: goes along under CASCADE, stops it without") for each in measured.dependents)
    yield from _more("dependent", measured.dependents_more)
    if measured.lock is not None:
        yield "lock", _lock(measured.lock)
    yield from (("in its way", _holder(each)) for each in measured.holders)
    yield from _more("in its way", measured.holders_more)


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


def _taken(each: Taken) -> str:
    rows = f", {_reached(each.rows)}" if each.kind in _KEEP_ROWS else ""
    return f"{each.kind} {each.relation}, {_BECAUSE.get(each.how, each.how)}: {_size(each.bytes)}{rows}"


def _size(size: int) -> str:
    """Return a size as pg_size_pretty() would write it."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 10_240 or unit == "TB":
            break
        size = (size + 512) // 1_024
    return f"{size:,} {unit}"


def _lock(lock: TableLock) -> str:
    stops = _STOPS.get(lock.mode, "")
    work = f"; {_WORK.get(lock.work, lock.work)}" if lock.work else ""
    return f"{lock.mode}{stops}{work}"


def _holder(each: Holder) -> str:
    does = "holds" if each.granted else "waits for"
    since = "" if each.since_s is None else f", in a transaction of {each.since_s:,} s"
    return f"pid {each.pid} ({each.role}) {does} {each.mode} on {each.relation}{since}"


def _more(label: str, more: int) -> Iterator[tuple[str, str]]:
    if more:
        yield label, f"AND {counted(more, 'MORE', 'MORE')} that are not listed"

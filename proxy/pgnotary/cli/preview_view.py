"""What a preview saw of one change, in words: a `Seen` enters, labels and texts leave, in the order of reading.

No number can be taken for what it is not: counted, AT MOST so many, or about so many. Texts hold names of the
database's own; who shows them makes them safe.
"""

from collections.abc import Iterator, Sequence

from pgnotary.approval.papers import Cascade, Holder, Reached, Seen, TableLock, Taken, Trigger
from pgnotary.audit.sample_words import sample_lines
from pgnotary.audit.words import counted, row_count
from pgnotary.ledger.canonical import parse_timestamp
from pgnotary.request.caveats import CAVEATS
from pgnotary.request.sample import Row

__all__ = ["preview_lines", "rows_in_words"]

_HOW = {
    "count": "counted",
    "explain": "the planner's estimate",
    "select": "read",
    "text": "as the statement spells them out",
    "statistics": "by the server's statistics",
}
_FIGURES = {"exact": "the count", "at_most": "the upper bound", "estimate": "the estimate", "sample": "the sample"}
_SUM = "sum"
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


def preview_lines(seen: Seen, rows: Sequence[Row], label: str = "preview", what: str = "") -> Iterator[tuple[str, str]]:
    """Yield what the preview saw: how many rows, which (`rows` are its sample), what else, and how it knows."""
    yield label, f"{what}{rows_in_words(seen)}; {seen.status}, in {seen.took_us / 1_000:,.0f} ms"
    if seen.why:
        yield "preview why", seen.why
    for caveat in seen.caveats:
        yield "caveat", f"{caveat}: {CAVEATS.get(caveat, 'this version does not know the word')}"
    yield from sample_lines(seen.sample, rows)
    yield from (("cascade", _cascade(each)) for each in seen.cascades)
    yield from _more("cascade", seen.cascades_more)
    yield from (("trigger", _trigger(each)) for each in seen.triggers)
    yield from _more("trigger", seen.triggers_more)
    yield from (("rule", each) for each in seen.rules)
    yield from _more("rule", seen.rules_more)
    if seen.row_security:
        yield "row security", f"in force on {', '.join(seen.row_security)}"
    yield from _more("row security", seen.row_security_more)
    yield from (("takes", _taken(each)) for each in seen.takes)
    yield from _more("takes", seen.takes_more)
    yield from (("dependent", f"{each}: goes along under CASCADE, stops it without") for each in seen.dependents)
    yield from _more("dependent", seen.dependents_more)
    if seen.lock is not None:
        yield "lock", _lock(seen.lock)
    yield from (("in its way", _holder(each)) for each in seen.holders)
    yield from _more("in its way", seen.holders_more)
    for figure, had in seen.obtained.items():
        if had.how == _SUM:
            continue  # The numbers that it is of say how they were had.
        at = parse_timestamp(had.at)
        how = f"{_HOW.get(had.how, had.how)}, {at:%H:%M:%S} UTC, in {had.took_us / 1_000:,.0f} ms"
        yield "obtained", f"{_FIGURES.get(figure, figure)}: {how}"


def rows_in_words(seen: Seen) -> str:
    """Return how many rows the preview saw, and how it knows."""
    known = []
    if seen.exact is not None:
        known.append(f"{row_count(seen.exact)} counted")
    if seen.at_most is not None:
        known.append(f"AT MOST {row_count(seen.at_most)}")
    if seen.estimate is not None:
        known.append(f"about {row_count(seen.estimate)} {_guessed(seen)}")
    if seen.relation_rows is not None:
        known.append(f"of about {seen.relation_rows:,}{_share(seen)}")
    return ", ".join(known) or row_count(None)


def _guessed(seen: Seen) -> str:
    if seen.is_summed:
        return "in all, but may be others when it runs"
    return "counted, but may be others when it runs" if seen.is_guess_counted else "estimated"


def _share(seen: Seen) -> str:
    rows = seen.estimate if seen.bound is None else seen.bound
    if rows is None or not seen.relation_rows or rows > seen.relation_rows:
        return ""
    return f" ({100 * rows / seen.relation_rows:.1f} %)"


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
